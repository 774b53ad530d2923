//! Before a connection is established.

use super::side::after;
use super::{Segment, State, Tracker};
use crate::wire::{flags, PacketEvent as Event};

/// How many different SYN/ACKs to one SYN are remembered (Suricata's `stream.max-synack-queued`).
const MAX_ANSWERS: usize = 5;
/// How many different SYNs of one client are remembered (Suricata's `stream.max-syn-queued`).
const MAX_SYNS: usize = 10;

/// Openings that differ from the one at hand; the ends may have taken any of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    syns: Vec<Opening>,
    answers: Vec<Opening>,
}

/// What a SYN or SYN/ACK said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opening {
    seq: u32,
    ack: u32,
    window: u16,
    scale: Option<u8>,
    timestamp: Option<u32>,
    time_s: u32,
}

impl Opening {
    fn of(segment: &Segment<'_>) -> Self {
        Self {
            seq: segment.seq,
            ack: segment.ack,
            window: segment.tcp.window(),
            scale: segment.options.window_scale,
            timestamp: segment.options.timestamps.map(|(value, _)| value),
            time_s: segment.time_s,
        }
    }

    /// Whether another says the same, whenever it came.
    fn repeats(&self, other: &Self) -> bool {
        Self {
            time_s: other.time_s,
            ..*self
        } == *other
    }
}

impl Tracker {
    /// The first segment that could be followed.
    pub(super) fn in_none(&mut self, segment: &mut Segment<'_>) -> bool {
        if segment.has(flags::RST) {
            return segment.refuse(Event::StreamRstButNoSession);
        }
        if segment.has(flags::FIN) {
            return segment.refuse(Event::StreamFinButNoSession);
        }
        if segment.has(flags::SYN | flags::ACK) {
            return self.config.midstream && self.take_up_answered(segment);
        }
        if segment.has(flags::SYN) {
            self.begin(segment);
            return true;
        }
        self.config.midstream && segment.has(flags::ACK) && self.take_up(segment)
    }

    fn begin(&mut self, segment: &Segment<'_>) {
        self.state = State::SynSent;
        let opening = Opening::of(segment);
        self.syn(segment, opening);
        let client = self.sender_mut(segment);
        client.next_seq = client.next_seq.wrapping_add(segment.len);
        self.open_early = segment.options.fast_open.is_some();
        self.fast_open = segment.len > 0 && segment.options.fast_open.is_some();
        if !self.fast_open {
            let client = self.sender_mut(segment);
            client.next_seq = client.isn.wrapping_add(1);
        }
    }

    /// Takes the connection for one that this SYN opens.
    fn syn(&mut self, segment: &Segment<'_>, syn: Opening) {
        let side = segment.direction as usize;
        self.sides[side].open(syn.seq);
        if let Some(value) = syn.timestamp {
            self.sides[side].begin_timestamps(value, syn.time_s);
        }
        self.timestamps = syn.timestamp.is_some();
        let other = &mut self.sides[1 - side];
        other.scale = syn.scale.unwrap_or(0);
        other.window = u32::from(syn.window);
    }

    /// A SYN/ACK whose SYN was not seen.
    fn take_up_answered(&mut self, segment: &Segment<'_>) -> bool {
        self.midstream = true;
        self.receiver_mut(segment).open(segment.ack.wrapping_sub(1));
        self.timestamps = segment.options.timestamps.is_some();
        // Whether the client offered to scale its windows is not known.
        self.receiver_mut(segment).scale = segment.options.window_scale.unwrap_or(0);
        self.sender_mut(segment).scale = segment.options.window_scale.map_or(0, |_| MAX_SCALE);
        self.answer(segment, Opening::of(segment));
        true
    }

    /// A segment of a connection whose handshake was not seen.
    fn take_up(&mut self, segment: &Segment<'_>) -> bool {
        self.midstream = true;
        self.confirmed = true;
        self.state = State::Established;
        self.sender_mut(segment).open(segment.seq.wrapping_sub(1));
        self.receiver_mut(segment).open(segment.ack.wrapping_sub(1));
        for side in &mut self.sides {
            side.scale = MAX_SCALE;
        }
        let end = segment.end();
        let sender = self.sender_mut(segment);
        sender.next_seq = end;
        sender.next_win = end;
        self.acknowledge(segment);
        true
    }

    /// After a SYN.
    pub(super) fn in_syn_sent(&mut self, segment: &mut Segment<'_>) -> bool {
        if self.echoes_another(segment) {
            return segment.refuse(Event::StreamPktInvalidTimestamp);
        }
        if segment.has(flags::RST) {
            return self.refused(segment);
        }
        if segment.has(flags::FIN) && !segment.has(flags::SYN) {
            return segment.ignore();
        }
        if segment.has(flags::SYN | flags::ACK) {
            return self.answered(segment);
        }
        if segment.has(flags::SYN) {
            return self.another_syn(segment);
        }
        segment.ignore()
    }

    fn syns(&self) -> &[Opening] {
        self.queue.as_ref().map_or(&[], |queue| &queue.syns)
    }

    fn answers(&self) -> &[Opening] {
        self.queue.as_ref().map_or(&[], |queue| &queue.answers)
    }

    /// An answer that echoes a timestamp which no SYN bore is not the receiver's.
    fn echoes_another(&self, segment: &Segment<'_>) -> bool {
        let asked = self.receiver(segment).timestamp();
        let echo = segment.options.timestamps.map_or(0, |(_, echo)| echo);
        let mut syns = self.syns().iter();
        !segment.to_server()
            && echo != 0
            && echo != asked
            && !(asked == 0 && self.timestamps)
            && !syns.any(|syn| syn.timestamp == Some(echo))
    }

    /// A reset in place of an answer to the SYN.
    fn refused(&mut self, segment: &mut Segment<'_>) -> bool {
        if !self.acceptable_reset(segment) {
            return false;
        }
        if !segment.to_server() {
            self.before_reset = self.state;
            self.state = State::Closed;
            self.sender_mut(segment).doubted = true;
        }
        true
    }

    fn another_syn(&mut self, segment: &mut Segment<'_>) -> bool {
        if !segment.to_server() {
            self.simultaneous = true;
            let opening = Opening::of(segment);
            self.sender_mut(segment).open(opening.seq);
            return true;
        }
        let opening = Opening::of(segment);
        let known = self.syns().iter().any(|syn| syn.repeats(&opening));
        if known || opening.timestamp.is_none() {
            return true;
        }
        if self.syns().len() >= MAX_SYNS {
            return segment.refuse(Event::Stream3whsSynFlood);
        }
        self.queue.get_or_insert_default().syns.push(opening);
        true
    }

    fn answered(&mut self, segment: &mut Segment<'_>) -> bool {
        if self.simultaneous && segment.to_server() {
            return self.answered_simultaneously(segment);
        }
        if segment.to_server() {
            return segment.refuse(Event::Stream3whsSynackInWrongDirection);
        }
        let client = self.receiver(segment);
        let data = self.fast_open && segment.ack == client.next_seq;
        if segment.ack != client.isn.wrapping_add(1) {
            if !data {
                return segment.refuse(Event::Stream3whsSynackWithWrongAck);
            }
        } else if self.fast_open {
            segment.events.insert(Event::Stream3whsSynackTfoDataIgnored);
            self.fast_open = false;
            let client = self.receiver_mut(segment);
            client.next_seq = client.isn.wrapping_add(1);
        }
        self.answer(segment, Opening::of(segment));
        true
    }

    /// Takes the connection for one that is answered so.
    fn answer(&mut self, segment: &Segment<'_>, answer: Opening) {
        self.state = State::SynRecv;
        self.open_early |= segment.options.fast_open.is_some();
        self.timestamps &= answer.timestamp.is_some();
        let server = self.sender_mut(segment);
        server.open(answer.seq);
        if let Some(value) = answer.timestamp {
            server.begin_timestamps(value, answer.time_s);
        }
        // The window on a SYN is not scaled (RFC 7323, 2.2).
        server.move_window();
        let client = self.receiver_mut(segment);
        client.window = u32::from(answer.window);
        client.scale = answer.scale.unwrap_or(0);
        client.last_ack = answer.ack;
        client.next_win = answer.ack.wrapping_add(client.window);
    }

    fn answered_simultaneously(&mut self, segment: &mut Segment<'_>) -> bool {
        let (client, server) = (self.sender(segment), self.receiver(segment));
        if segment.ack != server.isn.wrapping_add(1) {
            return segment.refuse(Event::Stream4whsSynackWithWrongAck);
        }
        if segment.seq != client.isn {
            return segment.refuse(Event::Stream4whsSynackWithWrongSyn);
        }
        self.state = State::SynRecv;
        let window = u32::from(segment.tcp.window());
        let server = self.receiver_mut(segment);
        server.window = window;
        server.move_window();
        self.sender_mut(segment).move_window();
        true
    }

    /// After the SYN/ACK.
    pub(super) fn in_syn_recv(&mut self, segment: &mut Segment<'_>) -> bool {
        if segment.has(flags::RST) {
            return self.reset(segment);
        }
        if segment.has(flags::FIN) {
            return self.fin(segment);
        }
        if segment.has(flags::SYN | flags::ACK) {
            return self.another_answer(segment);
        }
        if segment.has(flags::SYN) {
            if !segment.to_server() {
                return segment.refuse(Event::Stream3whsSynToclientOnSynRecv);
            }
            if segment.seq != self.sender(segment).isn {
                return segment.refuse(Event::Stream3whsSynResendDiffSeqOnSynRecv);
            }
            return true;
        }
        match segment.has(flags::ACK) {
            true => self.confirm(segment),
            false => segment.ignore(),
        }
    }

    fn another_answer(&mut self, segment: &mut Segment<'_>) -> bool {
        if segment.to_server() {
            return segment.refuse(Event::Stream3whsSynackToserverOnSynRecv);
        }
        if segment.ack != self.receiver(segment).last_ack {
            return segment.refuse(Event::Stream3whsSynackResendWithDiffAck);
        }
        if segment.seq == self.sender(segment).isn {
            return true;
        }
        let opening = Opening::of(segment);
        if self.answers().iter().any(|it| it.repeats(&opening)) {
            return true;
        }
        if self.answers().len() >= MAX_ANSWERS {
            return segment.refuse(Event::Stream3whsSynackFlood);
        }
        self.queue.get_or_insert_default().answers.push(opening);
        true
    }

    /// The handshake's last segment, or what comes in its place.
    fn confirm(&mut self, segment: &mut Segment<'_>) -> bool {
        if segment.to_server() {
            let acks = |it: &Opening| segment.ack == it.seq.wrapping_add(1);
            let chosen = self.answers().iter().copied().find(acks);
            if let Some(answer) = chosen {
                let answering = Segment {
                    direction: segment.direction.reverse(),
                    ..*segment
                };
                self.answer(&answering, answer);
            }
        }
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        if self.simultaneous && !segment.to_server() {
            if segment.seq != self.sender(segment).next_seq {
                return segment.refuse(Event::Stream4whsWrongSeq);
            }
            if !self.acceptable_ack(segment) {
                return segment.refuse(Event::Stream4whsInvalidAck);
            }
            return self.establish(segment);
        }
        match segment.to_server() {
            true => self.confirmed_by_client(segment),
            false => self.server_goes_on(segment),
        }
    }

    fn confirmed_by_client(&mut self, segment: &mut Segment<'_>) -> bool {
        let (client, server) = (self.sender(segment), self.receiver(segment));
        let right_ack = segment.ack == server.next_seq;
        if segment.seq == client.next_seq {
            if !right_ack {
                return segment.refuse(Event::Stream3whsRightSeqWrongAckEvasion);
            }
            return self.establish(segment);
        }
        let ahead = after(segment.seq, client.next_seq) && client.allows(segment.seq);
        if ahead && right_ack {
            // The handshake's last segment was lost on the way to us.
            self.acknowledge(segment);
            return true;
        }
        segment.refuse(Event::Stream3whsWrongSeqWrongAck)
    }

    /// A server that goes on before we saw its SYN/ACK acknowledged.
    fn server_goes_on(&mut self, segment: &mut Segment<'_>) -> bool {
        let (server, client) = (self.sender(segment), self.receiver(segment));
        let in_order = segment.seq == server.next_seq;
        if self.config.inline && !self.open_early {
            let injected = in_order && segment.len > 0 && segment.ack == client.last_ack;
            return segment.refuse(match injected {
                true => Event::Stream3whsAckDataInject,
                false => Event::Stream3whsAckInWrongDir,
            });
        }
        if after(segment.ack, client.last_ack) {
            if client.allows(segment.ack) {
                // Then the client has answered, unseen.
                self.state = State::Established;
            }
            self.acknowledge(segment);
            return true;
        }
        if in_order && segment.ack == client.last_ack {
            return segment.len == 0 || self.establish(segment);
        }
        segment.refuse(Event::Stream3whsWrongSeqWrongAck)
    }

    fn establish(&mut self, segment: &Segment<'_>) -> bool {
        self.state = State::Established;
        self.acknowledge(segment);
        let end = segment.end();
        self.sender_mut(segment).next_seq = end;
        self.sender_mut(segment).move_window();
        true
    }
}

/// The shift assumed for windows of a connection whose handshake was not seen: the largest (RFC 7323, 2.3).
const MAX_SCALE: u8 = 14;
