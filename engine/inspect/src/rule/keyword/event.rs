//! `decode-event`, `stream-event` and `engine-event`: what is odd about a packet. `app-layer-event` asks here for what
//! is odd about how its connection began.
use super::super::condition::{Operand, PacketTest};
use super::super::draft::Draft;
use super::super::lexer::unquote;
use super::super::Reason;
use super::{text, value, Keyword};
use crate::wire::PacketEvent;

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["decode-event"], |draft, keyword, value| {
        add(draft, keyword, "decoder.", value)
    }),
    value(&["stream-event"], |draft, keyword, value| {
        add(draft, keyword, "stream.", value)
    }),
    value(&["engine-event"], |draft, keyword, value| {
        add(draft, keyword, "", value)
    }),
];

/// Names that rules still use, and today's.
const FORMER_NAMES: [(&str, PacketEvent); 2] = [
    (
        "stream.3whs_synack_resend_with_different_ack",
        PacketEvent::Stream3whsSynackResendWithDiffAck,
    ),
    (
        "stream.est_synack_resend_with_different_ack",
        PacketEvent::StreamEstSynackResendWithDiffAck,
    ),
];

fn add(draft: &mut Draft, keyword: &str, family: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let name = format!("{family}{}", value.trim()).to_ascii_lowercase();
    let former = FORMER_NAMES.iter().find(|(former, _)| *former == name);
    let event = former
        .map(|(_, event)| *event)
        .or_else(|| PacketEvent::from_name(&name).filter(|event| !event.is_applayer()))
        .ok_or_else(|| Reason::bad_value(keyword, format!("'{value}' is no event")))?;
    ask_for(draft, event);
    Ok(())
}

/// The event that `app-layer-event` calls `applayer_…`, which belongs to no protocol.
pub(super) fn applayer(name: &str) -> Option<PacketEvent> {
    PacketEvent::from_name(&name.to_ascii_lowercase()).filter(|event| event.is_applayer())
}

/// Adds the condition that a packet carries `event`.
pub(super) fn ask_for(draft: &mut Draft, event: PacketEvent) {
    draft.needs_packet = true;
    draft.packet_tests.push(PacketTest {
        keyword: "engine-event",
        needs_header: true,
        holds: |packet, _, operand| match operand {
            Operand::Event(event) => packet.events.contains(*event),
            _ => false,
        },
        operand: Operand::Event(event),
    });
}
