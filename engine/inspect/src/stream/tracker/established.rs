//! While both ends send.

use super::side::after;
use super::{Segment, State, Tracker};
use crate::wire::{flags, PacketEvent as Event};

impl Tracker {
    /// After the handshake.
    pub(super) fn in_established(&mut self, segment: &mut Segment<'_>) -> bool {
        let odd = flags::SYN | flags::FIN | flags::RST;
        if segment.tcp.flags() & odd == 0 {
            return match segment.has(flags::ACK) {
                true => self.data(segment),
                false => segment.ignore(),
            };
        }
        if segment.has(flags::RST) {
            return self.reset(segment);
        }
        if segment.has(flags::FIN) {
            return self.fin(segment);
        }
        if segment.has(flags::ACK) {
            return self.late_answer(segment);
        }
        segment.refuse(match segment.to_server() {
            false => Event::StreamEstSynToclient,
            true if segment.seq != self.sender(segment).isn => Event::StreamEstSynResendDiffSeq,
            true => Event::StreamEstSynResend,
        })
    }

    /// A SYN/ACK of an established connection.
    fn late_answer(&mut self, segment: &mut Segment<'_>) -> bool {
        if segment.to_server() {
            return segment.refuse(Event::StreamEstSynackToserver);
        }
        if segment.ack != self.receiver(segment).last_ack {
            return segment.refuse(Event::StreamEstSynackResendWithDiffAck);
        }
        if segment.seq != self.sender(segment).isn {
            return segment.refuse(Event::StreamEstSynackResendWithDiffSeq);
        }
        // While the client's answer to the first may have been lost, the server repeats it.
        if self.confirmed {
            return segment.refuse(Event::StreamEstSynackResend);
        }
        true
    }

    fn data(&mut self, segment: &mut Segment<'_>) -> bool {
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        if !self.acceptable_ack(segment) {
            return segment.disregard(Event::StreamEstInvalidAck);
        }
        let end = segment.end();
        let sender = self.sender(segment);
        if segment.len <= 1 && segment.seq == sender.next_seq.wrapping_sub(1) {
            return true;
        }
        // What was acknowledged and never seen may still come.
        let unseen = after(sender.last_ack, sender.next_seq) && after(end, sender.next_seq);
        if after(sender.last_ack, end) && !unseen {
            return segment.disregard(Event::StreamEstPktBeforeLastAck);
        }
        let sender = self.sender(segment);
        let window_probe = segment.len == 1 && segment.seq == sender.next_seq && sender.window == 0;
        let allowed = window_probe || self.midstream || sender.allows(end);
        self.advance(segment);
        if !allowed {
            return segment.disregard(Event::StreamEstPacketOutOfWindow);
        }
        self.acknowledge(segment);
        self.confirmed |= !segment.to_server();
        true
    }

    /// Moves on what is expected next, across what is missing: so far the sender has come.
    pub(super) fn advance(&mut self, segment: &Segment<'_>) {
        let end = segment.end();
        let sender = self.sender_mut(segment);
        if after(end, sender.next_seq) {
            sender.next_seq = end;
        }
    }

    /// The first FIN.
    pub(super) fn fin(&mut self, segment: &mut Segment<'_>) -> bool {
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        if !self.acceptable_ack(segment) {
            return segment.refuse(Event::StreamFinInvalidAck);
        }
        let sender = self.sender(segment);
        if after(sender.last_ack, segment.seq) || !sender.allows(segment.seq) {
            return segment.refuse(Event::StreamFinOutOfWindow);
        }
        self.state = match segment.to_server() {
            true => State::CloseWait,
            false => State::FinWait1,
        };
        self.take_fin(segment);
        // The server's FIN is counted, the client's is not.
        let counted = u32::from(!segment.to_server());
        self.sender_mut(segment).next_seq = segment.end().wrapping_add(counted);
        true
    }

    /// Takes note of a FIN's bytes and acknowledgment.
    pub(super) fn take_fin(&mut self, segment: &Segment<'_>) {
        let end = segment.end();
        let sender = self.sender_mut(segment);
        if segment.seq == sender.next_seq {
            sender.next_seq = end;
        }
        self.acknowledge(segment);
        self.catch_up(segment);
    }

    /// What the receiver acknowledged it has, whether it was seen or not.
    pub(super) fn catch_up(&mut self, segment: &Segment<'_>) {
        let receiver = self.receiver_mut(segment);
        if segment.has(flags::ACK) && after(segment.ack, receiver.next_seq) {
            receiver.next_seq = segment.ack;
        }
    }
}
