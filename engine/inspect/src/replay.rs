//! A capture, inspected offline with fresh state.
use std::io::Read;
use std::sync::Arc;

use crate::detect::SharedState;
use crate::engine::{Arrival, Engine, EventSink, Settings};
use crate::policy::Policy;
use crate::wire::{decode_link, CaptureError, CaptureReader};

/// Inspects a capture file packet by packet; events go to `sink` as they are found.
///
/// Returns how many packets were inspected, and why reading stopped early, if it did: what came before a torn
/// end has been inspected.
///
/// Errors: the file is no capture at all, or cannot be read.
pub fn run(
    capture: impl Read,
    policy: &Arc<Policy>,
    settings: &Settings,
    sink: &mut dyn EventSink,
) -> Result<(u64, Option<CaptureError>), CaptureError> {
    let mut reader = CaptureReader::new(capture)?;
    let mut engine = Engine::new(
        settings.clone(),
        policy.clone(),
        Arc::new(SharedState::default()),
    );
    let mut arrival = Arrival::default();
    let mut torn = None;
    while let Some(record) = reader.next_record() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                torn = Some(error);
                break;
            }
        };
        // Timeouts must not run backwards when a capture's clock does.
        arrival.now_ns = arrival.now_ns.max(record.timestamp_ns);
        arrival.wall_ns = record.timestamp_ns;
        arrival.number = Some(arrival.number.unwrap_or(0) + 1);
        arrival.frame_bytes = record.original_bytes;
        arrival.truncated = (record.data.len() as u64) < u64::from(record.original_bytes);
        engine.packet(&arrival, decode_link(record.link_type, record.data), sink);
        engine.tick(&arrival, sink);
    }
    engine.finish(&arrival, sink);
    Ok((arrival.number.unwrap_or(0), torn))
}
