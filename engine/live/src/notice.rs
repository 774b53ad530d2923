//! What the inspector has to say about itself, as EVE lines (`event_type: engine`, as in Suricata's own log).

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{json, Value};

/// A line: `message` for people, `notice` and `details` under `sekisho` for programs.
pub(crate) fn line(notice: &str, message: &str, details: Value) -> Vec<u8> {
    let mut sekisho = json!({ "notice": notice });
    if let (Value::Object(into), Value::Object(from)) = (&mut sekisho, details) {
        into.extend(from);
    }
    let mut timestamp = String::new();
    inspect::event::append_timestamp(unix_ns(), &mut timestamp);
    json!({
        "timestamp": timestamp,
        "event_type": "engine",
        "engine": { "message": message },
        "sekisho": sekisho,
    })
    .to_string()
    .into_bytes()
}

pub(crate) fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
