//! Counts, for every guest of a flow, what passed, what was not looked at and what was blocked.
use crate::flow::Flow;
use crate::wire::Packet;
use crate::Direction;

use super::conversation::Conversation;
use super::{Arrival, Desk, Reason};

impl Desk {
    pub(super) fn count_bytes(
        &mut self,
        flow: &Flow<Conversation>,
        arrival: &Arrival,
        packet: &Packet<'_>,
        direction: Direction,
    ) {
        let bytes = packet.ip_bytes().len() as u64;
        let tcp = flow.data.tcp.as_deref();
        let encrypted = tcp.is_some_and(|tcp| tcp.app.is_encrypted());
        let unseen = tcp.is_some_and(|tcp| tcp.session.looks_away(direction));
        let reason = if arrival.truncated {
            Some(Reason::Truncated)
        } else if encrypted {
            Some(Reason::Encrypted)
        } else if unseen && !packet.payload.is_empty() {
            Some(Reason::Steered)
        } else if flow.midstream && self.settings.inline {
            Some(Reason::Midstream)
        } else {
            None
        };
        for side in &flow.data.sides {
            if let Some(guest) = self.counters.guest(side.shield) {
                guest.bytes += bytes;
                if let Some(reason) = reason {
                    guest.uninspected[reason as usize] += bytes;
                }
            }
        }
    }

    pub(super) fn count_uninspected(
        &mut self,
        conversation: &Conversation,
        reason: Reason,
        bytes: u64,
    ) {
        if bytes == 0 {
            return;
        }
        for side in &conversation.sides {
            if let Some(guest) = self.counters.guest(side.shield) {
                guest.uninspected[reason as usize] += bytes;
            }
        }
    }

    pub(super) fn count_blocked(&mut self, conversation: &Conversation) {
        for side in &conversation.sides {
            if let Some(guest) = self.counters.guest(side.shield) {
                guest.blocked += 1;
            }
        }
    }
}
