//! What hostile rules and bodies cost at most, through the whole engine.
#[allow(dead_code)] // each test uses its part
mod dialogue;

use dialogue::{policy, Dialogue};
use serde_json::json;

/// Alerts for one packet and guest.
const MAX_ALERTS: usize = 15;
const RULES: usize = 4000;

#[test]
fn thousands_of_signatures_on_one_pattern_alert_a_few_times_a_packet_and_still_block() {
    let rules: String = (1..=RULES)
        .map(|sid| format!("alert tcp any any -> any any (content:\"samesame\"; sid:{sid};)\n"))
        .collect();
    let mut dialogue = Dialogue::open(policy(&rules, "prevent", json!({})));
    let outcome = dialogue.client(&b"samesame".repeat(180));
    assert!(outcome.block);
    assert_eq!(MAX_ALERTS, dialogue.alerts().len());
}

#[test]
fn the_segment_that_completes_a_match_in_the_middle_of_a_large_body_is_the_one_blocked() {
    const SEGMENT: usize = 100;
    const COMPLETES: usize = 400_050;
    let rules = [
        r#"content:"abcd"; content:"evil";"#,
        r#"content:"abcd"; content:"evil"; distance:0;"#,
        r#"content:"abcd"; pcre:"/dab.{0,4}evil/";"#,
    ];
    let mut body = b"abcd".repeat(200_000);
    body[COMPLETES - 4..COMPLETES].copy_from_slice(b"evil");
    for rule in rules {
        let rule = format!("alert http any any -> any any (http.request_body; {rule} sid:1;)");
        let mut dialogue = Dialogue::open(policy(&rule, "prevent", json!({})));
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        assert!(!dialogue.client(head.as_bytes()).block);
        let mut segments = body.chunks(SEGMENT);
        let blocked = segments.position(|segment| dialogue.client(segment).block);
        assert_eq!(Some(COMPLETES / SEGMENT), blocked, "{rule}");
    }
}
