//! One TCP connection.
//!
//! The states follow what the two ends must believe, not every flag: `New` once a SYN is seen, `Established`
//! when the SYN/ACK is answered (or the connection was taken up midstream), `Closing` when one direction is
//! complete up to its FIN, `Closed` when both are or a RST counted.
//!
//! | in | SYN | SYN/ACK | bytes, ACK | FIN in order | RST that counts |
//! |---|---|---|---|---|---|
//! | None | New | midstream: New | midstream: Established | midstream: Closing | None |
//! | New | remembered | New | Established | Closing | Closed |
//! | Established | remembered | remembered SYN answered: another connection | Established | Closing | Closed |
//! | Closing | remembered | as above | Closing | Closed | Closed |
//! | Closed | another connection | as above | Closed | Closed | Closed |
//!
//! A *remembered* SYN carries another sequence number than the connection's own. An end that still knows the
//! connection answers it with a challenge ACK (RFC 5961, 4), one that has forgotten it with a SYN/ACK; only
//! the latter makes it another connection. So neither a stray nor a forged SYN ends inspection.
//!
//! That is how the live path sees it; a capture's connections are followed by the [tracker](super::tracker).
//!
//! Inline, what was accepted is the stream, whatever the receiver made of it: should it have discarded a
//! segment (checksum, timestamp), it can only be given the same bytes again, since others are dropped.
//!
//! Urgent data stays in the stream like any other byte (RFC 6093), with an event. A receiver that takes it out
//! of band sees one byte less per urgent pointer; a signature that must not be split that way can match the
//! event.

use super::half::{Admission, Half};
use super::outcome::SegmentOutcome;
use super::tracker::{Tracker, TrackerConfig};
use super::{DropReason, Limits, Mode, StreamConfig, StreamEvent, Undecided, Verdict};
use std::sync::Arc;

use crate::wire::{flags, PacketEvent, PacketEvents, Tcp};
use crate::Direction;

/// How long a direction is in doubt after its first segment behind bytes that may have passed: in that time what was on
/// its way then has arrived, or was sent again, by Linux three times.
const DOUBT_NS: u64 = 2_000_000_000;

/// The shift assumed for windows of a connection whose handshake was not seen: the largest (RFC 7323, 2.3).
const MIDSTREAM_WINDOW_SCALE: u8 = 14;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcpState {
    /// Nothing that could be followed was seen (no SYN, and `midstream` is off).
    #[default]
    None,
    /// A SYN was seen.
    New,
    /// The handshake is complete, or the connection was taken up midstream.
    Established,
    /// One end has sent its FIN.
    Closing,
    /// Both FINs, or a RST.
    Closed,
}

/// One TCP connection: segments in, two streams of bytes out.
///
/// After each segment, for both directions (an ACK makes the *other* direction's bytes readable in Detect
/// mode): read and consume, and where [`TcpSession::gap`] says so and all before it is consumed,
/// [`TcpSession::skip_gap`] and read on.
#[derive(Debug)]
pub struct TcpSession {
    pub(super) config: Arc<StreamConfig>,
    pub(super) tracker: Tracker,
    pub(super) state: TcpState,
    /// What the client (index 0) and the server (1) send.
    halves: [Half; 2],
    pub(super) midstream: bool,
    pub(super) reset: bool,
    /// The last segment is one of an established connection.
    pub(super) established: bool,
    /// Segments were seen while in state `None`.
    pub(super) untracked: bool,
    /// A SYN with another sequence number, until it is answered or the session ends.
    remembered: Option<OtherSyn>,
    /// Whether each direction's bytes are shown.
    sight: [Sight; 2],
    /// Whether what was not shown of a direction last passed without our having asked for that.
    lost_sight: [bool; 2],
    /// Holes that became certain with bytes behind them, by direction; a packet the other way tells them.
    pub(super) holes_untold: [bool; 2],
    pub(super) holes_quiet: bool,
    /// A RST came in a direction whose bytes are not shown: nobody can say whether it counts.
    doubted: bool,
}

/// Whether a direction's bytes are shown, inline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sight {
    /// They are.
    #[default]
    Shown,
    /// They may pass without being shown; SYN, FIN and RST come in any case.
    Unseen,
    /// They are from its next segment on.
    Resuming,
    /// They are, but some may have passed that were not: wherever a segment goes on, the stream does.
    Doubted,
    /// The same, after the first segment: until then.
    DoubtedUntil(u64),
}

/// A SYN that is not this connection's.
#[derive(Clone, Copy, Debug)]
struct OtherSyn {
    direction: Direction,
    seq: u32,
    window_scale: Option<u8>,
}

impl TcpSession {
    /// A connection of which nothing was seen yet.
    pub fn new(config: impl Into<Arc<StreamConfig>>) -> Self {
        let config = config.into();
        Self {
            tracker: Tracker::new(TrackerConfig::of(&config)),
            config,
            state: TcpState::None,
            established: false,
            halves: Default::default(),
            midstream: false,
            reset: false,
            untracked: false,
            remembered: None,
            sight: Default::default(),
            lost_sight: [false; 2],
            holes_untold: [false; 2],
            holes_quiet: false,
            doubted: false,
        }
    }

    /// Takes one segment. `payload` is all that the packet carries (up to 64 KiB with GSO).
    ///
    /// To reset a connection over this very segment, ask [`TcpSession::expected_seq`] *before*: what is
    /// accepted here counts as delivered, even if a signature then has the packet dropped.
    pub fn on_segment(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload: &[u8],
        now_ns: u64,
    ) -> SegmentOutcome {
        let time_s = (now_ns / 1_000_000_000) as u32;
        if self.config.mode != Mode::Inline {
            return self.follow(direction, tcp, payload, time_s);
        }
        let known = self.state;
        let mut outcome = SegmentOutcome::accept();
        self.infer_opening(direction, tcp);
        match self.sight[direction as usize] {
            Sight::Unseen if known != TcpState::None && !tcp.has(flags::SYN) => {
                return self.on_unseen(direction, tcp, payload)
            }
            Sight::Resuming => self.resume(direction, tcp, payload, &mut outcome),
            Sight::Doubted => self.doubt(direction, tcp, payload, None, now_ns, &mut outcome),
            Sight::DoubtedUntil(ns) => {
                self.doubt(direction, tcp, payload, Some(ns), now_ns, &mut outcome)
            }
            Sight::Shown | Sight::Unseen => {}
        }
        self.hear_acknowledgment(direction, tcp);
        let tracked = self
            .tracker
            .on_segment(direction, tcp, payload.len(), time_s);
        outcome.found = tracked.events;
        if !payload.is_empty() && self.is_thrown_away(direction, tracked.events) {
            outcome.verdict = Verdict::Drop(DropReason::NotBelieved);
            return outcome;
        }
        outcome.belongs = true;
        outcome.verdict = if tcp.has(flags::RST) {
            self.on_rst(direction, tcp, &mut outcome)
        } else if tcp.has(flags::SYN) {
            self.on_syn(direction, tcp, payload, &mut outcome)
        } else {
            self.on_data(direction, tcp, payload, &mut outcome)
        };
        let brings = self.state >= TcpState::Established && !payload.is_empty();
        self.established = known >= TcpState::Established || brings;
        let noticed = outcome.events.iter().filter_map(|event| event.found());
        noticed.for_each(|event| outcome.found.insert(event));
        outcome
    }

    /// The bytes travelling in `direction` that are in order and not yet consumed; ends at a gap.
    pub fn readable(&self, direction: Direction) -> &[u8] {
        self.half(direction).readable()
    }

    /// The bytes of `direction` from offset `from` to `to`, read or not, as far as they are held.
    pub fn between(&self, direction: Direction, from: u64, to: u64) -> &[u8] {
        self.half(direction).between(from, to)
    }

    /// Where `readable` starts, counted from the first byte of the stream (gaps included).
    pub fn offset(&self, direction: Direction) -> u64 {
        self.half(direction).read_offset()
    }

    /// Gives up the first `n` readable bytes (all, if there are fewer).
    pub fn consume(&mut self, direction: Direction, n: usize) {
        let (half, limits) = self.half_and_limits(direction);
        half.consume(n, limits);
    }

    /// The length of the hole that follows the readable bytes, when the receiver acknowledged past it (or a
    /// bound or [`TcpSession::flush`] forces the matter): those bytes will not come any more.
    pub fn gap(&self, direction: Direction) -> Option<u64> {
        self.half(direction).gap()
    }

    /// Gives up the hole that [`TcpSession::gap`] reports, once all before it is consumed; returns its length
    /// (0 when there was nothing to give up). Inline, whatever later claims to fill it is
    /// [`Undecided::PastHistory`].
    pub fn skip_gap(&mut self, direction: Direction) -> u64 {
        let inline = !matches!(self.config.mode, Mode::Detect(_));
        let length = self.half_mut(direction).skip_gap(inline);
        self.advance_state();
        length
    }

    /// Makes everything that is held readable, acknowledged or not: the flow has ended or timed out.
    pub fn flush(&mut self) {
        self.halves.iter_mut().for_each(Half::force);
        self.advance_state();
    }

    /// Whether the last segment is one of an established connection: its handshake was complete before, or is
    /// completed by a segment that brings bytes.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// How far the connection has come.
    pub fn state(&self) -> TcpState {
        self.state
    }

    /// What EVE calls that; empty: nothing.
    pub fn state_name(&self) -> &'static str {
        match (self.tracker.state().name(), self.state) {
            // Between guests nobody asks the tracker.
            ("", TcpState::New) => "syn_sent",
            ("", TcpState::Established) => "established",
            ("", TcpState::Closing) => "closing",
            ("", TcpState::Closed) => "closed",
            (name, _) => name,
        }
    }

    /// Whether the stream in `direction` has ended (FIN or RST) and all its bytes are readable or consumed.
    pub fn ended(&self, direction: Direction) -> bool {
        let half = self.half(direction);
        let finished = half.fin.is_some_and(|fin| fin <= half.next());
        // Of a capture, where bytes may follow a FIN that its receiver ignored, Suricata ends neither before both are
        // acknowledged.
        self.reset || finished && (self.config.mode == Mode::Inline || self.tracker.is_closed())
    }

    /// Whether a RST ended the connection.
    pub fn was_reset(&self) -> bool {
        self.reset
    }

    /// Whether the handshake was not seen.
    pub fn midstream(&self) -> bool {
        self.midstream
    }

    /// The sequence number that the receiver of `direction` expects next: what a reset that seems to come
    /// from that direction's sender must carry. `None` before it is known.
    pub fn expected_seq(&self, direction: Direction) -> Option<u32> {
        self.half(direction).expected_seq()
    }

    /// How far the sequence numbers of `direction` have come, acknowledged or not, the SYN's included; of a capture.
    pub fn sent(&self, direction: Direction) -> u32 {
        self.tracker.sent(direction)
    }

    /// Whether bytes of `direction` are held past a hole.
    pub fn has_hole(&self, direction: Direction) -> bool {
        self.half(direction).has_hole()
    }

    /// Whether bytes of `direction` are held that are not readable: not acknowledged, or past a hole.
    pub fn holds_back(&self, direction: Direction) -> bool {
        let half = self.half(direction);
        half.highest() > half.read_offset() + half.readable().len() as u64
    }

    /// Whether one end has closed its side in a way in which Suricata has no bytes wait for more: the client has sent
    /// its FIN, or both have.
    pub fn is_hurried(&self) -> bool {
        use super::tracker::State::{CloseWait, Closed, Closing, LastAck};
        matches!(self.tracker.state(), LastAck | CloseWait | Closing | Closed)
    }

    /// Past the last byte that is held of `direction`, acknowledged or not.
    pub fn held_to(&self, direction: Direction) -> u64 {
        self.half(direction).highest()
    }

    /// Whether the handshake was complete and the connection was not closed.
    pub fn is_open(&self) -> bool {
        use super::tracker::State;
        let state = self.tracker.state();
        state >= State::Established && state != State::Closed
    }

    /// Lets go of what nobody will need of a connection that closed, or says nothing. settled: nothing will be sent
    /// again for want of an acknowledgment.
    pub fn retire(&mut self, settled: bool) {
        for half in &mut self.halves {
            half.retire(settled);
        }
    }

    /// About how many bytes of memory both directions' buffers hold.
    pub fn memory_bytes(&self) -> usize {
        self.halves.iter().map(Half::memory_bytes).sum()
    }

    /// Tells no further hole of a capture: nobody reads the bytes around them.
    pub fn keep_holes_quiet(&mut self) {
        self.holes_quiet = true;
    }

    /// The session that a [`Verdict::NewSession`] announced: same configuration, knowing the SYN that opened
    /// it, if that was in an earlier segment.
    pub fn successor(&self) -> Self {
        let mut next = Self::new(self.config.clone());
        if let Some(syn) = self.remembered {
            let half = next.half_mut(syn.direction);
            half.base = Some(syn.seq.wrapping_add(1));
            half.window_scale = syn.window_scale;
            next.state = TcpState::New;
        }
        next
    }

    pub(super) fn half(&self, direction: Direction) -> &Half {
        &self.halves[direction as usize]
    }

    pub(super) fn half_mut(&mut self, direction: Direction) -> &mut Half {
        &mut self.halves[direction as usize]
    }

    pub(super) fn half_and_limits(&mut self, direction: Direction) -> (&mut Half, &Limits) {
        (&mut self.halves[direction as usize], &self.config.limits)
    }

    fn on_syn(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) -> Verdict {
        let window_scale = tcp.options().window_scale;
        let first = tcp.seq().wrapping_add(1);
        if tcp.has(flags::ACK) {
            if let Some(verdict) = self.check_answer(direction, tcp, outcome) {
                return verdict;
            }
        } else if self.state == TcpState::Closed || self.untracked {
            // A finished connection's addresses and ports are used again; or the first SYN after segments that
            // could not be followed, whose direction was a guess.
            self.remembered = None;
            return Verdict::NewSession;
        }
        match self.half(direction).base {
            None => {
                let half = self.half_mut(direction);
                half.base = Some(first);
                half.window_scale = window_scale;
                self.state = self.state.max(TcpState::New);
            }
            Some(base) if base == first => {}
            Some(_) => return self.remember(direction, tcp, payload, outcome),
        }
        if !payload.is_empty() {
            outcome.events.push(StreamEvent::DataOnSyn);
        }
        self.half_mut(direction.reverse())
            .advertise(u32::from(tcp.window()), 0);
        self.take(direction, first, tcp, payload, outcome)
    }

    /// What a SYN/ACK answers; `Some` when that settles the verdict.
    fn check_answer(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        outcome: &mut SegmentOutcome,
    ) -> Option<Verdict> {
        let asked = direction.reverse();
        let answers =
            |syn: OtherSyn| syn.direction == asked && tcp.ack() == syn.seq.wrapping_add(1);
        if self.remembered.is_some_and(answers) {
            return Some(Verdict::NewSession);
        }
        if self.half(asked).base.is_none() {
            // The SYN went by unseen.
            if !self.config.midstream {
                return Some(self.not_followed(outcome));
            }
            self.half_mut(asked).base = Some(tcp.ack());
            self.midstream = true;
            outcome.events.push(StreamEvent::Midstream);
        }
        let sent = 0..=self.half(asked).highest() as i64;
        if !self
            .half(asked)
            .offset_of(tcp.ack())
            .is_some_and(|acked| sent.contains(&acked))
        {
            // Whoever opened the connection answers this with a RST; the real SYN/ACK may be on its way.
            outcome.events.push(StreamEvent::InvalidAck);
            return Some(Verdict::Drop(DropReason::OutOfWindow));
        }
        None
    }

    /// A SYN or SYN/ACK with another sequence number than this connection's.
    fn remember(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) -> Verdict {
        let established = self.state >= TcpState::Established;
        outcome.events.push(if established {
            StreamEvent::SynInEstablished
        } else {
            StreamEvent::SynDiffers
        });
        if tcp.has(flags::ACK) {
            return Verdict::Drop(DropReason::Differs);
        }
        self.remembered = Some(OtherSyn {
            direction,
            seq: tcp.seq(),
            window_scale: tcp.options().window_scale,
        });
        if payload.is_empty() {
            return Verdict::Accept;
        }
        outcome.events.push(StreamEvent::DataOnSyn);
        Verdict::Drop(DropReason::OutOfWindow)
    }

    fn on_rst(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        outcome: &mut SegmentOutcome,
    ) -> Verdict {
        let half = self.half(direction);
        let counts = match half.offset_of(tcp.seq()) {
            Some(offset) => {
                let exact = half.expected_seq() == Some(tcp.seq());
                let in_window =
                    offset >= (half.acked.min(half.next())) as i64 && offset <= half.edge() as i64;
                if !in_window {
                    outcome.events.push(StreamEvent::RstOutOfWindow);
                } else if !exact {
                    outcome.events.push(StreamEvent::RstNotExact);
                }
                in_window && exact
            }
            // Refuses our SYN: counts when it acknowledges it (RFC 9293, 3.10.7.3).
            None => {
                let asked = self.half(direction.reverse());
                let acked = asked.offset_of(tcp.ack()).filter(|_| tcp.has(flags::ACK));
                acked.is_some_and(|offset| (0..=asked.highest() as i64).contains(&offset))
            }
        };
        if counts {
            self.reset = true;
            self.state = TcpState::Closed;
        }
        Verdict::Accept
    }

    fn on_data(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) -> Verdict {
        if self.state == TcpState::None {
            if !self.config.midstream {
                return self.not_followed(outcome);
            }
            self.midstream = true;
            self.state = TcpState::Established;
            outcome.events.push(StreamEvent::Midstream);
        }
        if self.midstream {
            self.half_mut(direction).base.get_or_insert(tcp.seq());
            if tcp.has(flags::ACK) {
                self.half_mut(direction.reverse())
                    .base
                    .get_or_insert(tcp.ack());
            }
        }
        if self.half(direction).base.is_none() {
            // Bytes or an ACK before this end's SYN: an end that opens a connection discards them.
            return if payload.is_empty() {
                Verdict::Accept
            } else {
                self.not_followed(outcome)
            };
        }
        if self.state == TcpState::New && self.half(direction.reverse()).base.is_some() {
            self.state = TcpState::Established;
        }
        if self.reset && !payload.is_empty() {
            outcome.events.push(StreamEvent::DataAfterEnd);
            return Verdict::Drop(DropReason::Closed);
        }
        self.take(direction, tcp.seq(), tcp, payload, outcome)
    }

    /// A segment of a connection whose opening was not seen.
    fn not_followed(&mut self, outcome: &mut SegmentOutcome) -> Verdict {
        if !std::mem::replace(&mut self.untracked, self.state == TcpState::None) {
            outcome.events.push(StreamEvent::Midstream);
        }
        Verdict::Undecided(Undecided::Midstream)
    }

    /// Takes a segment's bytes, FIN, acknowledgment and window; `seq` is that of the first byte.
    fn take(
        &mut self,
        direction: Direction,
        seq: u32,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) -> Verdict {
        let Some(offset) = self.half(direction).offset_of(seq) else {
            return Verdict::Accept;
        };
        if tcp.has(flags::URG) {
            outcome.events.push(StreamEvent::Urgent);
        }
        let verdict = self.take_inline(direction, offset, tcp, payload, outcome);
        if verdict == Verdict::Accept {
            self.acknowledge(direction, tcp, outcome);
            self.advance_state();
        }
        verdict
    }

    fn take_inline(
        &mut self,
        direction: Direction,
        offset: i64,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) -> Verdict {
        let limits = self.config.limits;
        let unseen = self.why_undecided(direction);
        let from_middle = self.midstream || self.lost_sight[direction as usize];
        let fin = tcp.has(flags::FIN);
        if payload.is_empty() && !fin {
            // Nothing that could enter the stream; after a FIN such a segment stands one past the end.
            return Verdict::Accept;
        }
        let half = self.half_mut(direction);
        let end = offset + payload.len() as i64;
        let past_fin = half
            .fin
            .is_some_and(|known| end > known as i64 || (fin && end != known as i64));
        let cuts_short = fin && end < half.highest() as i64;
        if cuts_short && half.fin.is_none() && end < half.start() as i64 {
            outcome.events.push(StreamEvent::MemoryLimit);
            return Verdict::Undecided(Undecided::PastHistory);
        }
        if past_fin || (cuts_short && half.fin.is_none()) {
            outcome.events.push(StreamEvent::DataAfterEnd);
            return Verdict::Drop(DropReason::PastFin);
        }
        if fin && end > half.edge() as i64 {
            outcome.events.push(StreamEvent::OutOfWindow);
            return Verdict::Drop(DropReason::OutOfWindow);
        }
        let admission = half.admit(offset, payload, &limits);
        if fin && matches!(admission, Admission::Taken { .. }) {
            half.fin = Some(end.max(0) as u64);
        }
        // Before a connection's first byte there is nothing to take, but before the byte at which it was taken up
        // there may be bytes that its receiver still lacks: those that an inspector took along when it ended.
        if from_middle && offset < 0 && matches!(admission, Admission::Taken { .. }) {
            return Verdict::Undecided(unseen);
        }
        let (verdict, event) = match admission {
            Admission::Taken {
                retransmission: false,
            } => return Verdict::Accept,
            Admission::Taken {
                retransmission: true,
            } => (Verdict::Accept, StreamEvent::Retransmission),
            Admission::Differs => (
                Verdict::Drop(DropReason::Differs),
                StreamEvent::OverlapDiffers,
            ),
            Admission::OutOfWindow => (
                Verdict::Drop(DropReason::OutOfWindow),
                StreamEvent::OutOfWindow,
            ),
            Admission::PendingLimit => (
                Verdict::Drop(DropReason::PendingLimit),
                StreamEvent::MemoryLimit,
            ),
            Admission::Unseen => (Verdict::Undecided(unseen), StreamEvent::Retransmission),
            Admission::PastHistory => (
                Verdict::Undecided(Undecided::PastHistory),
                StreamEvent::MemoryLimit,
            ),
            Admission::Unread => (
                Verdict::Undecided(Undecided::Unread),
                StreamEvent::MemoryLimit,
            ),
        };
        outcome.events.push(event);
        verdict
    }

    /// Why it cannot be told of bytes among those that were not shown whether they are what passed.
    fn why_undecided(&self, direction: Direction) -> Undecided {
        match self.sight[direction as usize] {
            Sight::Doubted | Sight::DoubtedUntil(_) => Undecided::Unseen,
            // Whatever was on its way when sight was lost has arrived.
            _ if self.lost_sight[direction as usize] => Undecided::PastHistory,
            _ => Undecided::Midstream,
        }
    }

    /// Whether a receiver throws the segment's bytes away for its acknowledgment or its timestamp (RFC 9293,
    /// 3.10.7.4; RFC 7323, 5.3), so that they must not count as delivered. What is said of bytes that were not shown
    /// cannot be told.
    fn is_thrown_away(&self, direction: Direction, found: PacketEvents) -> bool {
        let acknowledges_shown = !self.was_unseen(direction.reverse());
        acknowledges_shown && found.contains(PacketEvent::StreamEstInvalidAck)
            || found.contains(PacketEvent::StreamPktInvalidTimestamp)
    }

    /// A segment of a direction whose bytes are not shown: it moves the connection on, and brings nothing.
    fn on_unseen(&mut self, direction: Direction, tcp: &Tcp<'_>, payload: &[u8]) -> SegmentOutcome {
        let mut outcome = SegmentOutcome::accept();
        if tcp.has(flags::RST) {
            self.doubted = true;
            return outcome;
        }
        let end = tcp.seq().wrapping_add(payload.len() as u32);
        let half = self.half_mut(direction);
        half.base.get_or_insert(end);
        if half.fin.is_none() && half.step_to(end).is_some() && tcp.has(flags::FIN) {
            half.fin = Some(half.next());
        }
        if self.state == TcpState::New && self.half(direction.reverse()).base.is_some() {
            self.state = TcpState::Established;
        }
        self.established = self.state >= TcpState::Established;
        self.acknowledge(direction, tcp, &mut outcome);
        self.advance_state();
        outcome
    }

    /// Goes on with the first segment that is shown again.
    fn resume(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) {
        if self.step_to(direction, tcp, payload, outcome) {
            self.sight[direction as usize] = Sight::Shown;
        }
    }

    /// A segment while nobody knows what passed before it. What is sent again may come before what passed, so the
    /// first segment does not end the doubt.
    fn doubt(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload: &[u8],
        until_ns: Option<u64>,
        now_ns: u64,
        outcome: &mut SegmentOutcome,
    ) {
        if until_ns.is_some_and(|until_ns| now_ns >= until_ns) {
            self.sight[direction as usize] = Sight::Shown;
            return;
        }
        if self.step_to(direction, tcp, payload, outcome) {
            let until_ns = until_ns.unwrap_or(now_ns + DOUBT_NS);
            self.sight[direction as usize] = Sight::DoubtedUntil(until_ns);
        }
    }

    /// Goes on where the segment stands; whether it brings anything, and not from before what is expected.
    fn step_to(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload: &[u8],
        outcome: &mut SegmentOutcome,
    ) -> bool {
        let brings = !payload.is_empty() || tcp.has(flags::FIN);
        if tcp.flags() & (flags::SYN | flags::RST) != 0 || !brings {
            return false;
        }
        let Some(unseen) = self.half_mut(direction).step_to(tcp.seq()) else {
            return false;
        };
        self.tracker.step_to(direction, tcp.seq());
        outcome.unseen_bytes = unseen;
        true
    }

    /// Where the other end stands whose SYN may have passed unseen, and how large its windows may be.
    fn infer_opening(&mut self, direction: Direction, tcp: &Tcp<'_>) {
        let other = direction.reverse();
        let tells = tcp.has(flags::ACK) && !tcp.has(flags::SYN) && self.state == TcpState::New;
        if tells && self.lost_sight[other as usize] && self.half(other).base.is_none() {
            let half = self.half_mut(other);
            half.base = Some(tcp.ack());
            half.window_scale = Some(MIDSTREAM_WINDOW_SCALE);
        }
    }

    /// Tells the tracker what was acknowledged by segments that brought nothing else and so were not shown.
    fn hear_acknowledgment(&mut self, direction: Direction, tcp: &Tcp<'_>) {
        let half = self.half(direction.reverse());
        let sent = half.highest() as i64 + i64::from(half.fin.is_some());
        let acked = half.offset_of(tcp.ack()).filter(|_| tcp.has(flags::ACK));
        if self.state >= TcpState::Established && acked.is_some_and(|acked| acked <= sent) {
            self.tracker.hear_of(direction.reverse(), tcp.ack());
        }
    }

    /// From now on the bytes of `direction` may pass without being shown (inline only).
    pub fn look_away(&mut self, direction: Direction) {
        self.sight[direction as usize] = Sight::Unseen;
    }

    /// From its next segment on the bytes of `direction` are shown again.
    pub fn look_again(&mut self, direction: Direction) {
        if self.sight[direction as usize] == Sight::Unseen {
            self.sight[direction as usize] = Sight::Resuming;
            self.lost_sight[direction as usize] = false;
        }
    }

    /// Bytes of `direction` may have passed that were not shown, nobody knows how many (inline only).
    pub fn lose_sight(&mut self, direction: Direction) {
        self.sight[direction as usize] = Sight::Doubted;
        self.lost_sight[direction as usize] = true;
    }

    /// Whether bytes of `direction` are not shown now.
    pub fn looks_away(&self, direction: Direction) -> bool {
        self.sight[direction as usize] == Sight::Unseen
    }

    /// Whether bytes of `direction` may have passed that were not shown, up to now.
    pub fn was_unseen(&self, direction: Direction) -> bool {
        self.sight[direction as usize] != Sight::Shown
    }

    /// Whether a reset may have ended the connection: it came where its number could not be checked.
    pub fn may_be_over(&self) -> bool {
        self.doubted
    }

    /// Takes note of what the sender of a segment acknowledges, and of its window.
    fn acknowledge(&mut self, direction: Direction, tcp: &Tcp<'_>, outcome: &mut SegmentOutcome) {
        if !tcp.has(flags::ACK) {
            return;
        }
        let shift = self.window_shift(direction, tcp);
        let window = u32::from(tcp.window()) << shift;
        let unseen = self.was_unseen(direction.reverse());
        let half = self.half_mut(direction.reverse());
        let Some(acked) = half.offset_of(tcp.ack()) else {
            return;
        };
        if acked > half.edge() as i64 || acked < -1 {
            if unseen {
                return half.advertise(window, shift);
            }
            outcome.events.push(StreamEvent::InvalidAck);
            return;
        }
        half.advertise(window, shift);
        // The FIN takes one number after the last byte.
        let acked = acked.max(0) as u64;
        let acked = if half.fin.is_some_and(|fin| acked == fin + 1) {
            acked - 1
        } else {
            acked
        };
        if acked <= half.acked {
            return;
        }
        let unseen_before = half.gap();
        half.acked = acked;
        if unseen_before.is_none() && half.gap().is_some() {
            outcome
                .events
                .push(StreamEvent::AckedUnseen(direction.reverse()));
        }
    }

    /// How far the windows that `direction`'s sender advertises are shifted (RFC 7323, 2.2): not on SYNs, and
    /// only when both ends offered it.
    fn window_shift(&self, direction: Direction, tcp: &Tcp<'_>) -> u8 {
        if tcp.has(flags::SYN) {
            return 0;
        }
        if self.midstream {
            return MIDSTREAM_WINDOW_SCALE;
        }
        let both = self
            .half(direction)
            .window_scale
            .zip(self.half(direction.reverse()).window_scale);
        both.map_or(0, |(own, _)| own)
    }

    fn advance_state(&mut self) {
        if self.config.mode != Mode::Inline {
            return;
        }
        let complete = Direction::BOTH.map(|direction| self.ended(direction));
        self.state = match complete {
            [true, true] => TcpState::Closed,
            [false, false] => self.state,
            _ => self.state.max(TcpState::Closing),
        };
    }
}
