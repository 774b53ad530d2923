//! However a stream is cut, repeated and reordered, signatures say the same of it, in every mode.
#[allow(dead_code)] // each test uses its part
mod dialogue;

use dialogue::{policy, Dialogue};
use inspect::detect::SharedState;
use inspect::engine::{Engine, Settings};
use inspect::stream::StreamConfig;
use proptest::prelude::*;
use serde_json::json;

const RULES: &str = r#"
alert http any any -> any any (flow:established,to_server; http.uri; content:"/one"; sid:1;)
alert http any any -> any any (flow:established,to_server; http.header; content:"X-Two|3a 20|2"; sid:2;)
alert http any any -> any any (flow:established,to_server; http.request_body; content:"three"; sid:3;)
alert tcp any any -> any 80 (flow:established,to_server; content:"POST"; content:"three"; distance:0; sid:4;)
alert http any any -> any any (flow:established,to_server; http.uri; content:"/never"; sid:5;)
"#;
const STREAM: &[u8] =
    b"POST /one HTTP/1.1\r\nHost: web\r\nX-Two: 2\r\nContent-Length: 15\r\n\r\none, two, three";

fn settings(mode: u8) -> Settings {
    let live = Settings::live([1, 2]);
    match mode {
        0 => live,
        1 => Settings {
            stream: StreamConfig::rewrite(),
            ..live
        },
        _ => Settings {
            inline: false,
            stream: StreamConfig::detect(),
            ..live
        },
    }
}

/// The signatures that alerted, each once.
fn alerts_of(mode: u8, pieces: &[(usize, usize)]) -> Vec<u64> {
    let mut dialogue = Dialogue::new(policy(RULES, "as-written", json!({})));
    let compiled = dialogue.engine.policy().clone();
    dialogue.engine = Engine::new(settings(mode), compiled, SharedState::default().into());
    dialogue.handshake();
    let (client_seq, server_seq) = dialogue.sequences();
    let mut have = [false; STREAM.len()];
    for (start, end) in pieces {
        let bytes = &STREAM[*start..*end];
        dialogue.raw(true, client_seq + *start as u32, server_seq, 0x18, bytes);
        have[*start..*end].fill(true);
        let acked = have.iter().take_while(|seen| **seen).count() as u32;
        dialogue.raw(false, server_seq, client_seq + acked, 0x10, b"");
    }
    dialogue
        .engine
        .finish(&Default::default(), &mut dialogue.events);
    let mut alerts = dialogue.alerts();
    alerts.sort_unstable();
    alerts.dedup();
    alerts
}

/// Pieces (start, end) that cover the stream, some of them twice or overlapping, in any order.
fn segmentation() -> impl Strategy<Value = Vec<(usize, usize)>> {
    let length = STREAM.len();
    let cuts = prop::collection::btree_set(1..length, 0..20);
    let more = prop::collection::vec((0..length, 1..length), 0..8);
    (cuts, more).prop_flat_map(move |(cuts, more)| {
        let mut edges: Vec<usize> = std::iter::once(0).chain(cuts).collect();
        edges.push(length);
        let mut pieces: Vec<_> = edges.windows(2).map(|pair| (pair[0], pair[1])).collect();
        pieces.extend(
            more.into_iter()
                .map(|(start, n)| (start, (start + n).min(length))),
        );
        Just(pieces).prop_shuffle()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_segmentation_gives_the_same_alerts(pieces in segmentation(), mode in 0u8..3) {
        prop_assert_eq!(vec![1, 2, 3, 4], alerts_of(mode, &pieces));
    }
}

#[test]
fn one_byte_a_segment_backwards_gives_the_same_alerts() {
    let pieces: Vec<_> = (0..STREAM.len()).rev().map(|at| (at, at + 1)).collect();
    for mode in 0..3 {
        assert_eq!(vec![1, 2, 3, 4], alerts_of(mode, &pieces), "mode {mode}");
    }
}
