//! Rule text, whole: whatever it holds, each statement loads or is refused with a reason, and what loads can be
//! compiled and shown a packet. What stands behind a form feed is read as `threshold.config`.
#![no_main]

use std::sync::Arc;

use inspect::engine::{EventSink, Settings};
use inspect::policy::Policy;
use inspect::rule::{self, Variables};
use libfuzzer_sys::fuzz_target;

/// A capture of one request and its response.
const CAPTURE: &[u8] = include_bytes!("../request.pcap");

struct Nowhere;

impl EventSink for Nowhere {
    fn event(&mut self, _severity: u8, line: &[u8]) {
        assert!(line.ends_with(b"}\n"));
    }
}

fuzz_target!(|text: &[u8]| {
    let variables = Variables::default();
    let mut parts = text.splitn(2, |byte| *byte == b'\x0c');
    let names = ["fuzz.rules", "threshold.config"];
    let files: Vec<_> = names
        .into_iter()
        .map(|name| (name.to_owned(), parts.next().unwrap_or_default().to_vec()))
        .collect();
    let (signatures, refused) = rule::load(&files, &variables);
    for refusal in &refused {
        assert!(!refusal.reason.to_string().is_empty());
    }
    if signatures.is_empty() {
        return;
    }
    let policy = Arc::new(Policy::offline(signatures, &variables));
    inspect::replay::run(CAPTURE, &policy, &Settings::offline_ips(), &mut Nowhere)
        .expect("a capture");
});
