//! What cannot be inspected: counted, reported, and answered by the operator's failure policy.
use crate::policy::{OpenOrClosed, Shield};

use super::conversation::Conversation;
use super::report::Scene;
use super::{Arrival, Desk, EventSink, Outcome, Reason};

impl Desk {
    /// A packet for which there is no time: counted for the guests at its two ports, and answered by the failure
    /// policy for a full queue.
    pub(super) fn shed(&mut self, arrival: &Arrival, bytes: u64) -> Outcome {
        self.counters.failure("shed");
        let block = self.closes(arrival, |shield| shield.failure.queue_full);
        for port in [arrival.in_port, arrival.out_port] {
            let shield = self.policy.port(port).map(|port| port.shield);
            let Some(guest) = shield.and_then(|shield| self.counters.guest(shield)) else {
                continue;
            };
            guest.bytes += bytes;
            match block {
                true => guest.shed_dropped += bytes,
                false => guest.uninspected[Reason::Shed as usize] += bytes,
            }
        }
        Outcome {
            block,
            ..Outcome::default()
        }
    }

    /// The strictest of the failure policies of the guests at a packet's two ports.
    pub(super) fn closes(&self, arrival: &Arrival, which: fn(&Shield) -> OpenOrClosed) -> bool {
        [arrival.in_port, arrival.out_port]
            .iter()
            .filter_map(|port| self.shield_at(*port))
            .any(|shield| which(shield).closes())
    }

    /// Bytes that no signature was shown, for they could not be read: a malformed packet, one that was copied in
    /// part, a refused fragment, a tunnel too deep. A receiver may read them otherwise, so they never reach a guest that is to be protected;
    /// for others the failure policy decides.
    pub(super) fn hidden(&mut self, arrival: &Arrival) -> Outcome {
        self.counters.failure("malformed");
        let ports = [arrival.in_port, arrival.out_port];
        let guarded = |port: &u32| self.shield_at(*port).is_some_and(Shield::can_block);
        let closes = self.closes(arrival, |shield| shield.failure.malformed);
        Outcome {
            block: self.settings.inline && (closes || ports.iter().any(guarded)),
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

    /// Whether the flow's receiver is a guest with a blocking signature, rather than a capture's.
    pub(super) fn guards(&self, conversation: &Conversation) -> bool {
        let guest = |shield: &Shield| !shield.guest.is_empty() && shield.can_block();
        self.settings.inline && self.shields(conversation).any(guest)
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
