//! A connection of a capture: what belongs to it, and in which state it is, is the tracker's to say.
//!
//! Beside the ends ([`Mode::Detect`]) bytes are held until they are acknowledged, since until then an overlap may
//! replace them. Between them ([`Mode::Rewrite`]) what came first is the stream, and a later segment that differs is
//! overwritten with it before it goes on.

use super::half::{Admission, Half};
use super::outcome::SegmentOutcome;
use super::tracker::State;
use super::{DropReason, Mode, StreamEvent, TcpSession, TcpState, Undecided, Verdict};
use crate::wire::{flags, PacketEvent, Tcp};
use crate::Direction;

impl TcpSession {
    /// Takes one segment of a capture.
    pub(super) fn follow(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload: &[u8],
        time_s: u32,
    ) -> SegmentOutcome {
        let mut outcome = SegmentOutcome::accept();
        let known = self.tracker.state();
        if known == State::None && self.untracked && is_first_syn(tcp)
            || self.tracker.is_replaced_by(direction, tcp)
        {
            outcome.verdict = Verdict::NewSession;
            return outcome;
        }
        let tracked = self
            .tracker
            .on_segment(direction, tcp, payload.len(), time_s);
        outcome.found = tracked.events;
        self.settle(direction, known, payload);
        if known == State::None && self.tracker.state() == State::None {
            self.untracked = true;
        }
        if tracked.belongs {
            outcome.belongs = true;
            self.take_followed(direction, tcp, payload, &mut outcome);
        } else if self.config.mode == Mode::Rewrite && !tracked.ignored {
            outcome.verdict = Verdict::Drop(DropReason::OutOfWindow);
        }
        outcome
    }

    /// Brings what the session says of itself in line with the tracker.
    fn settle(&mut self, direction: Direction, known: State, payload: &[u8]) {
        let state = self.tracker.state();
        self.state = match state {
            State::None => TcpState::None,
            State::SynSent | State::SynRecv => TcpState::New,
            State::Established => TcpState::Established,
            State::FinWait1 | State::FinWait2 | State::CloseWait | State::Closing => {
                TcpState::Closing
            }
            State::LastAck | State::TimeWait | State::Closed => TcpState::Closed,
        };
        self.midstream = self.tracker.midstream();
        // The segment that completes the handshake is one of the connection if it brings something.
        let completes = match direction {
            Direction::ToServer => !payload.is_empty() || self.tracker.is_open_early(),
            Direction::ToClient => self.tracker.is_open_early(),
        };
        let completes = completes && state == State::Established;
        self.established = known >= State::Established || completes;
        for direction in Direction::BOTH {
            if let Some(first) = self.tracker.first_seq(direction) {
                let half = self.half_mut(direction);
                if half.base != Some(first) && half.is_untouched() {
                    half.base = Some(first);
                }
            }
        }
    }

    fn take_followed(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) {
        let reset = self.tracker.state() == State::Closed && tcp.has(flags::RST);
        self.reset = reset && !self.tracker.is_reset_doubted();
        let syn = tcp.has(flags::SYN);
        let taken = match () {
            () if tcp.has(flags::RST) || syn && !self.tracker.takes_data_on_syn() => &[][..],
            () => payload,
        };
        if taken.len() < payload.len() {
            outcome.belongs = false;
        }
        let seq = tcp.seq().wrapping_add(u32::from(syn));
        // A segment that starts before the SYN is passed over whole, as Suricata does.
        let offset = self.half(direction).offset_of(seq);
        if let Some(offset) = offset.filter(|offset| *offset >= -1) {
            match self.config.mode {
                Mode::Detect(_) => self.hold(direction, offset, tcp, taken, outcome),
                Mode::Rewrite | Mode::Inline => {
                    self.overwrite(direction, offset, tcp, taken, outcome)
                }
            }
        }
        let other = direction.reverse();
        // Whether bytes are held at all is told at once, and most segments find none behind a hole.
        let shows_hole = |half: &Half| half.has_hole() && half.gap().is_some();
        self.holes_untold[direction as usize] |=
            !self.holes_quiet && shows_hole(self.half(direction));
        let untold = std::mem::take(&mut self.holes_untold[other as usize]);
        // What only a FIN follows is none to Suricata.
        let shown = shows_hole(self.half(other));
        if tcp.has(flags::ACK) {
            self.acknowledge_followed(other, tcp.ack());
        }
        let found = !shown && shows_hole(self.half(other));
        if untold || found && !self.holes_quiet {
            outcome.found.insert(PacketEvent::StreamReassemblySeqGap);
        }
        if self.reset {
            self.flush();
        }
    }

    /// What the tracker accepted as acknowledged is.
    fn acknowledge_followed(&mut self, direction: Direction, ack: u32) {
        let detect = matches!(self.config.mode, Mode::Detect(_));
        let half = self.half_mut(direction);
        let Some(acked) = half.offset_of(ack).and_then(|it| u64::try_from(it).ok()) else {
            return;
        };
        // The FIN takes one number after the last byte.
        let acked = acked - u64::from(half.fin.is_some_and(|fin| acked == fin + 1));
        if acked > half.acked {
            half.acked = acked;
            if detect {
                half.release();
            }
        }
    }

    fn hold(
        &mut self,
        direction: Direction,
        offset: i64,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) {
        let Mode::Detect(os) = self.config.mode else {
            return;
        };
        let (half, limits) = self.half_and_limits(direction);
        let end = offset + payload.len() as i64;
        match half.hold(offset, payload, os, limits) {
            Some(false) => {}
            Some(true) => outcome
                .found
                .insert(PacketEvent::StreamReassemblyOverlapDifferentData),
            None => outcome.events.push(StreamEvent::MemoryLimit),
        }
        if tcp.has(flags::FIN) && half.fin.is_none() && end >= half.highest() as i64 {
            half.fin = Some(end.max(0) as u64);
        }
    }

    fn overwrite(
        &mut self,
        direction: Direction,
        offset: i64,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) {
        let window = self.tracker.window(direction);
        let (half, limits) = self.half_and_limits(direction);
        half.advertise(window, 0);
        let end = offset + payload.len() as i64;
        let mut taken = payload;
        let rewritten = half.overwritten(offset, payload);
        if let Some(bytes) = &rewritten {
            outcome
                .found
                .insert(PacketEvent::StreamReassemblyOverlapDifferentData);
            taken = bytes;
        }
        match half.admit(offset, taken, limits) {
            Admission::Taken { .. } => {
                if tcp.has(flags::FIN) && half.fin.is_none() && end >= half.highest() as i64 {
                    half.fin = Some(end.max(0) as u64);
                }
            }
            Admission::PendingLimit | Admission::PastHistory | Admission::Unread => {
                outcome.events.push(StreamEvent::MemoryLimit);
                outcome.verdict = Verdict::Undecided(Undecided::PastHistory);
            }
            Admission::Differs | Admission::OutOfWindow | Admission::Unseen => {}
        }
        outcome.rewritten = rewritten;
    }
}

fn is_first_syn(tcp: &Tcp<'_>) -> bool {
    tcp.flags() & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN
}
