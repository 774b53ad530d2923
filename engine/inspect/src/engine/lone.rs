//! Packets that belong to no flow: fragments, malformed ones, and those of protocols that are not decoded.
use crate::detect::Context;
use crate::wire::Packet;
use crate::Direction;

use super::conversation::Conversation;
use super::inspect::{take_sides, Sides};
use super::judge::{judge, Parties};
use super::report::Scene;
use super::views::packet_view;
use super::{Arrival, Desk, EventSink, Outcome};
use crate::detect::MAX_SIDES;
use crate::event::FlowSummary;

/// The number of a conversation that is no flow.
pub(super) const NO_FLOW: u64 = 0;

impl Desk {
    /// Shows the signatures a packet that stands alone.
    pub(super) fn lone_packet(
        &mut self,
        arrival: &Arrival,
        packet: &Packet<'_>,
        sink: &mut dyn EventSink,
    ) -> Outcome {
        let mut conversation = Conversation::new(NO_FLOW, arrival, None, false);
        conversation.observe(&self.policy, arrival, packet, Direction::ToServer, true);
        let nothing = packet.addresses().is_none() && packet.events.is_empty();
        if conversation.sides.is_empty() || nothing {
            return Outcome::default();
        }
        let mut view = packet_view(packet, Direction::ToServer, arrival.defragmented);
        view.undecoded = packet.addresses().is_none();
        view.in_stream = false;
        if packet.malformed.is_some() {
            view.payload = &[];
        }
        let scene = Scene {
            arrival,
            view: &view,
            ip_len: packet.ip_bytes().len() as u32,
            packet: Some(packet),
            summary: &FlowSummary::default(),
        };
        let policy = self.policy.clone();
        let shared = self.shared.clone();
        let mut sides = Sides::new();
        take_sides(&policy, &conversation, &mut sides);
        let context = Context {
            now_ns: arrival.now_ns,
            flow: None,
            packet: &view,
            sides: &sides,
            at_once: self.settings.inline,
            shared: &shared,
        };
        self.scratch.begin();
        let state = &mut conversation.detect;
        policy.matcher.packet(&context, state, &mut self.scratch);
        policy.matcher.finish(&context, state, &mut self.scratch);
        if self.scratch.hits().is_empty() {
            return Outcome::default();
        }
        let parties = Parties {
            shields: conversation.sides.iter().map(|side| side.shield).collect(),
            peers: [view.src; MAX_SIDES],
            wall_s: arrival.wall_ns / 1_000_000_000,
        };
        let judgement = judge(&policy, &parties, self.scratch.hits());
        self.report_hits(&scene, &mut conversation, &parties, sink);
        if !judgement.block || !self.settings.inline {
            return Outcome::default();
        }
        let by = Some((&judgement, &parties));
        self.report_drop(&scene, &mut conversation, "rules", by, sink);
        self.count_blocked(&conversation);
        Outcome {
            block: true,
            ..Outcome::default()
        }
    }
}
