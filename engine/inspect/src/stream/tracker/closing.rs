//! From the first FIN on.

use super::side::after;
use super::{Segment, State, Tracker};
use crate::wire::{flags, PacketEvent as Event};

impl Tracker {
    /// What every state after the first FIN does alike; `Some` settles the matter.
    fn while_closing(&mut self, segment: &mut Segment<'_>) -> Option<bool> {
        if segment.has(flags::RST) {
            return Some(self.reset(segment));
        }
        if segment.has(flags::FIN) {
            return None;
        }
        if segment.has(flags::SYN) {
            return Some(segment.refuse(Event::StreamShutdownSynResend));
        }
        (!segment.has(flags::ACK)).then(|| segment.ignore())
    }

    /// The server has sent its FIN.
    pub(super) fn in_fin_wait_1(&mut self, segment: &mut Segment<'_>) -> bool {
        if let Some(settled) = self.while_closing(segment) {
            return settled;
        }
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        let again = self.is_retransmission(segment);
        if segment.has(flags::FIN) {
            let early = segment.seq == self.sender(segment).next_seq.wrapping_sub(1);
            if !again && !early && !self.sender(segment).awaits(segment.seq) {
                return segment.refuse(Event::StreamFin1FinWrongSeq);
            }
            if !self.acceptable_ack(segment) {
                return segment.refuse(Event::StreamFin1InvalidAck);
            }
            if !again {
                self.state = match segment.has(flags::ACK) {
                    true => State::TimeWait,
                    false => State::Closing,
                };
            }
            self.take_fin(segment);
            return true;
        }
        if !self.acceptable_ack(segment) {
            return segment.refuse(Event::StreamFin1InvalidAck);
        }
        if !again {
            let sender = self.sender(segment);
            if !segment.to_server() && !sender.allows(segment.end()) && !self.midstream {
                return segment.refuse(Event::StreamFin1AckWrongSeq);
            }
            if segment.to_server() && segment.seq == sender.next_seq {
                self.state = State::FinWait2;
            }
        }
        self.go_on(segment);
        true
    }

    /// The server's FIN was acknowledged.
    pub(super) fn in_fin_wait_2(&mut self, segment: &mut Segment<'_>) -> bool {
        if let Some(settled) = self.while_closing(segment) {
            return settled;
        }
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        if segment.has(flags::FIN) {
            return self.second_fin(segment, State::TimeWait);
        }
        let again = self.is_retransmission(segment);
        if !self.acceptable_ack(segment) {
            return segment.refuse(Event::StreamFin2InvalidAck);
        }
        if !again && !self.sender(segment).allows(segment.end()) && !self.midstream {
            return segment.refuse(Event::StreamFin2AckWrongSeq);
        }
        self.go_on(segment);
        true
    }

    fn second_fin(&mut self, segment: &mut Segment<'_>, next: State) -> bool {
        let (sender, receiver) = (self.sender(segment), self.receiver(segment));
        let repeats =
            segment.seq == sender.next_seq.wrapping_sub(1) && segment.ack == receiver.last_ack;
        if !repeats {
            let again = self.is_retransmission(segment);
            if !again && !self.sender(segment).awaits(segment.seq) {
                return segment.refuse(Event::StreamFin2FinWrongSeq);
            }
            if !self.acceptable_ack(segment) {
                return segment.refuse(Event::StreamFin2InvalidAck);
            }
            if !again {
                self.state = next;
            }
        }
        self.take_fin(segment);
        true
    }

    /// Both have sent their FIN, the client last.
    pub(super) fn in_time_wait(&mut self, segment: &mut Segment<'_>) -> bool {
        if let Some(settled) = self.while_closing(segment) {
            return settled;
        }
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        if segment.has(flags::FIN) {
            return segment.ignore();
        }
        let again = self.is_retransmission(segment);
        if !again && !self.is_last(segment) {
            return segment.refuse(Event::StreamTimewaitAckWrongSeq);
        }
        if !self.acceptable_ack(segment) {
            return segment.refuse(Event::StreamTimewaitInvalidAck);
        }
        if !again {
            self.state = State::Closed;
        }
        self.go_on(segment);
        true
    }

    /// Both have sent their FIN, the server last.
    pub(super) fn in_last_ack(&mut self, segment: &mut Segment<'_>) -> bool {
        if let Some(settled) = self.while_closing(segment) {
            return settled;
        }
        if segment.has(flags::FIN) || !segment.to_server() {
            return segment.ignore();
        }
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        let again = self.is_retransmission(segment);
        if !self.acceptable_ack(segment) {
            return segment.refuse(Event::StreamLastackInvalidAck);
        }
        let sender = self.sender(segment);
        if !again && !after(sender.next_seq, segment.seq) {
            if !self.is_last(segment) {
                return segment.refuse(Event::StreamLastackAckWrongSeq);
            }
            self.state = State::Closed;
        }
        self.go_on(segment);
        true
    }

    /// The client has sent its FIN.
    pub(super) fn in_close_wait(&mut self, segment: &mut Segment<'_>) -> bool {
        if let Some(settled) = self.while_closing(segment) {
            return settled;
        }
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        let again = self.is_retransmission(segment);
        if segment.has(flags::FIN) {
            if !again && !self.sender(segment).awaits(segment.seq) {
                return segment.refuse(Event::StreamClosewaitFinOutOfWindow);
            }
            if !self.acceptable_ack(segment) {
                return segment.refuse(Event::StreamClosewaitInvalidAck);
            }
            if !again && !segment.to_server() {
                self.state = State::LastAck;
            }
            self.take_fin(segment);
            return true;
        }
        let sender = self.sender(segment);
        if segment.len > 0 && !after(segment.end(), sender.last_ack) {
            return segment.refuse(Event::StreamClosewaitPktBeforeLastAck);
        }
        if sender.is_beyond(segment.seq) {
            return segment.refuse(Event::StreamClosewaitAckOutOfWindow);
        }
        if !self.acceptable_ack(segment) {
            return segment.refuse(Event::StreamClosewaitInvalidAck);
        }
        self.go_on(segment);
        true
    }

    /// Both have sent their FIN at once.
    pub(super) fn in_closing(&mut self, segment: &mut Segment<'_>) -> bool {
        if let Some(settled) = self.while_closing(segment) {
            return settled;
        }
        if segment.has(flags::FIN) {
            return segment.ignore();
        }
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        if segment.seq != self.sender(segment).next_seq {
            return segment.refuse(Event::StreamClosingAckWrongSeq);
        }
        if !self.acceptable_ack(segment) {
            return segment.refuse(Event::StreamClosingInvalidAck);
        }
        self.state = State::TimeWait;
        self.go_on(segment);
        true
    }

    /// After the end. A reset that was signed for somebody else was ignored, if its sender goes on.
    pub(super) fn in_closed(&mut self, segment: &mut Segment<'_>) -> bool {
        if segment.has(flags::RST) || !std::mem::take(&mut self.sender_mut(segment).doubted) {
            return segment.ignore();
        }
        segment.events.insert(Event::StreamSuspectedRstInject);
        self.state = self.before_reset;
        self.in_state(segment)
    }

    /// Whether the segment stands at its sender's end, the FIN counted or not. The server's was counted with it.
    fn is_last(&self, segment: &Segment<'_>) -> bool {
        let end = self.sender(segment).next_seq;
        let counted = match segment.to_server() {
            true => end.wrapping_add(1),
            false => end.wrapping_sub(1),
        };
        segment.seq == end || segment.seq == counted
    }

    /// Takes note of a segment that only sends on.
    fn go_on(&mut self, segment: &Segment<'_>) {
        let end = segment.end();
        let sender = self.sender_mut(segment);
        if segment.seq == sender.next_seq {
            sender.next_seq = end;
        }
        self.acknowledge(segment);
        self.catch_up(segment);
    }
}
