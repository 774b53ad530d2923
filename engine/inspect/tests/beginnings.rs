//! What both directions of a connection begin with, against what it is taken for.
#[allow(dead_code)] // each test uses its part
mod dialogue;

use dialogue::{policy, Dialogue};
use serde_json::json;

const RULES: &str = "\
alert ip any any -> any any (flow:established; app-layer-event:applayer_detect_protocol_only_one_direction; sid:1;)
alert ip any any -> any any (flow:established; app-layer-event:applayer_mismatch_protocol_both_directions; sid:2;)
alert ip any any -> any any (flow:established; app-layer-event:applayer_no_tls_after_starttls; sid:3;)
alert ip any any -> any any (flow:established; app-layer-event:applayer_unexpected_protocol; sid:4;)
";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";

fn open() -> Dialogue {
    Dialogue::open(policy(RULES, "detect", json!({})))
}

#[test]
fn nothing_is_odd_where_both_directions_speak_the_same() {
    let mut dialogue = open();
    dialogue.client(REQUEST);
    dialogue.server(b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    dialogue.client(REQUEST);
    assert!(dialogue.alerts().is_empty());
}

#[test]
fn an_answer_that_is_nothing_known_is_told_once() {
    let mut dialogue = open();
    dialogue.client(REQUEST);
    assert!(dialogue.alerts().is_empty());
    dialogue.server(b"<html>old</html>\n");
    dialogue.server(b"<html>more</html>\n");
    assert_eq!(vec![1], dialogue.alerts());
}

#[test]
fn an_answer_that_does_not_begin_with_a_known_version_is_none_of_http() {
    for answer in [
        &b"HTTP/1.2 200 OK\r\n\r\n"[..],
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let mut dialogue = open();
        dialogue.client(REQUEST);
        dialogue.server(answer);
        assert_eq!(vec![1], dialogue.alerts());
    }
}

#[test]
fn a_greeting_that_says_nothing_counts_when_the_client_tells_the_protocol() {
    let mut dialogue = open();
    dialogue.server(b"220 hello\r\n");
    assert!(dialogue.alerts().is_empty());
    dialogue.client(b"USER anonymous\r\n");
    assert_eq!(vec![1], dialogue.alerts());
}

#[test]
fn an_answer_in_another_protocol_is_a_mismatch() {
    let mut dialogue = open();
    dialogue.client(REQUEST);
    dialogue.server(b"SSH-2.0-OpenSSH_9.6\r\n");
    assert_eq!(vec![2], dialogue.alerts());
}

#[test]
fn what_follows_starttls_is_tls() {
    let mut dialogue = open();
    dialogue.server(b"220 (mail) ESMTP\r\n");
    dialogue.client(b"EHLO a\r\n");
    dialogue.server(b"250 STARTTLS\r\n");
    dialogue.client(b"STARTTLS\r\n");
    dialogue.server(b"220 go on\r\n");
    let before = dialogue.alerts().len();
    dialogue.client(REQUEST);
    assert_eq!(vec![3, 4], dialogue.alerts()[before..]);
}

#[test]
fn a_method_of_no_standard_leaves_it_to_the_answer() {
    let mut dialogue = open();
    dialogue.client(b"WEIRD / HTTP/1.1\r\nHost: web\r\n\r\n");
    dialogue.server(b"HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(vec![1], dialogue.alerts());
}
