//! What cannot be inspected: counted, reported, and answered by the operator's failure policy.
use crate::policy::{OpenOrClosed, Shield};
use crate::wire::{DefragEvent, Malformed, Packet};

use super::conversation::Conversation;
use super::report::Scene;
use super::{Arrival, Desk, EventSink, Outcome};

impl Desk {
    /// The strictest of the failure policies of the guests at a packet's two ports.
    pub(super) fn closes(&self, arrival: &Arrival, which: fn(&Shield) -> OpenOrClosed) -> bool {
        [arrival.in_port, arrival.out_port]
            .iter()
            .filter_map(|port| self.shield_at(*port))
            .any(|shield| which(shield).closes())
    }

    /// A packet that cannot be decoded: counted, reported, and answered by the failure policy.
    pub(super) fn malformed(
        &mut self,
        arrival: &Arrival,
        malformed: Malformed,
        sink: &mut dyn EventSink,
    ) -> Outcome {
        self.report_malformed(arrival, None, malformed, sink);
        // A receiver reads on where we stopped counting headers: what it would see was not inspected.
        let hides = malformed == Malformed::Ipv6TooManyExtensions;
        let ports = [arrival.in_port, arrival.out_port];
        let guarded = |port: &u32| self.shield_at(*port).is_some_and(Shield::can_block);
        if self.settings.inline && hides && ports.iter().any(guarded) {
            self.counters.failure("malformed");
            return Outcome {
                block: true,
                ..Outcome::default()
            };
        }
        self.failed("malformed", arrival, |shield| shield.failure.malformed)
    }

    /// A fragment that overlaps or overflows: never passed on where fragments are enforced.
    pub(super) fn refused_fragment(
        &mut self,
        arrival: &Arrival,
        packet: &Packet<'_>,
        event: DefragEvent,
        sink: &mut dyn EventSink,
    ) -> Outcome {
        self.report_fragment(arrival, packet, event, sink);
        self.failed("malformed", arrival, |shield| shield.failure.malformed)
    }

    pub(super) fn failed(
        &mut self,
        name: &'static str,
        arrival: &Arrival,
        which: fn(&Shield) -> OpenOrClosed,
    ) -> Outcome {
        self.counters.failure(name);
        Outcome {
            block: self.settings.inline && self.closes(arrival, which),
            ..Outcome::default()
        }
    }

    /// Drops one packet for a reason other than a signature.
    pub(super) fn refuse(
        &mut self,
        scene: &Scene<'_>,
        conversation: &mut Conversation,
        name: &'static str,
        reason: &str,
        sink: &mut dyn EventSink,
    ) -> Outcome {
        self.counters.failure(name);
        self.count_blocked(conversation);
        self.report_drop(scene, conversation, reason, None, sink);
        Outcome {
            block: true,
            ..Outcome::default()
        }
    }

    /// Whether anything of this flow may be blocked: offline in IPS mode, or a guest with a blocking signature.
    pub(super) fn enforces(&self, conversation: &Conversation) -> bool {
        self.settings.inline && self.shields(conversation).any(Shield::can_block)
    }

    pub(super) fn failed_closed(
        &mut self,
        conversation: &Conversation,
        name: &'static str,
        which: fn(&Shield) -> OpenOrClosed,
    ) -> bool {
        if !self.settings.inline {
            return false;
        }
        let closed = self
            .shields(conversation)
            .any(|shield| which(shield).closes());
        if !closed {
            self.counters.failure(name);
        }
        closed
    }

    pub(super) fn shields<'a>(
        &'a self,
        conversation: &'a Conversation,
    ) -> impl Iterator<Item = &'a Shield> {
        conversation
            .sides
            .iter()
            .filter_map(|side| self.policy.shields().get(side.shield as usize))
    }
}
