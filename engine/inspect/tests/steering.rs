//! What the engine says need not be shown any more, packet by packet; and that it misses nothing by it.
#[allow(dead_code)] // each test uses its part
mod dialogue;

use std::sync::Arc;

use dialogue::{policy, policy_of_generation, Dialogue};
use inspect::detect::SharedState;
use inspect::policy::Policy;
use serde_json::json;

const REQUESTS: &str = r#"alert http any any -> $HOME_NET any (flow:established,to_server; http.uri; content:"/evil"; sid:1;)"#;
const RESPONSES: &str = r#"alert http $HOME_NET any -> any any (flow:to_client; http.stat_code; content:"500"; sid:2;)"#;
const RAW: &str =
    r#"alert tcp any any -> $HOME_NET 80 (flow:established,to_server; content:"evil"; sid:3;)"#;
const MAIL: &str =
    r#"alert smtp any any -> $HOME_NET any (flow:to_server; content:"evil"; sid:4;)"#;

const EVIL: &[u8] = b"GET /evil HTTP/1.1\r\nHost: web\r\n\r\n";
const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nHost: web\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NOISE: &[u8] =
    b"\x00\x01\x02 no protocol anybody knows, of which there is enough to be sure\x00\xff";

const NOTHING: [bool; 2] = [false, false];
const ANSWERS: [bool; 2] = [false, true];
const ALL: [bool; 2] = [true, true];

fn prevent(rules: &str) -> Arc<Policy> {
    policy(rules, "prevent", json!({}))
}

fn swap(dialogue: &mut Dialogue, generation: u32, rules: &str) {
    let policy = policy_of_generation(generation, rules, "prevent", json!({}));
    dialogue
        .engine
        .swap(policy, Arc::new(SharedState::default()));
}

/// Many bytes that neither side has yet told a protocol by.
fn speak_noise(dialogue: &mut Dialogue) -> [bool; 2] {
    let mut clear = NOTHING;
    for _ in 0..200 {
        dialogue.client(NOISE);
        clear = dialogue.server(NOISE).clear.directions;
        if clear == ALL {
            break;
        }
    }
    clear
}

#[test]
fn responses_need_not_be_shown_where_only_requests_are_looked_at() {
    let mut dialogue = Dialogue::open(prevent(REQUESTS));
    assert_eq!(dialogue.client(GOOD).clear.directions, ANSWERS);
    for _ in 0..2000 {
        // The kernel keeps them: more open at once than there is room for, if they were waited for.
        dialogue.pass_from_server(OK);
        assert_eq!(dialogue.client(GOOD).clear.directions, ANSWERS);
    }
    assert!(dialogue.client(EVIL).block);
}

#[test]
fn responses_are_shown_while_one_looks_at_them() {
    let mut dialogue = Dialogue::open(prevent(&format!("{REQUESTS}\n{RESPONSES}")));
    assert_eq!(dialogue.client(GOOD).clear.directions, NOTHING);
    assert!(
        dialogue
            .server(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            .block
    );
}

#[test]
fn nothing_is_cleared_before_the_protocol_is_known() {
    let mut dialogue = Dialogue::open(prevent(REQUESTS));
    for byte in &GOOD[..3] {
        assert_eq!(dialogue.client(&[*byte]).clear.directions, NOTHING);
    }
}

#[test]
fn the_response_to_a_request_that_may_change_the_protocol_is_shown() {
    for request in [
        &b"CONNECT mail:25 HTTP/1.1\r\nHost: mail\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let mut dialogue = Dialogue::open(prevent(REQUESTS));
        dialogue.client(GOOD);
        dialogue.pass_from_server(OK);
        assert_eq!(dialogue.client(request).clear.directions, NOTHING);
        dialogue.server(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        assert!(dialogue.client(EVIL).block, "HTTP goes on");
    }
}

#[test]
fn what_is_tunnelled_behind_responses_that_were_not_shown_is_told_anew() {
    let mut dialogue = Dialogue::open(prevent(&format!("{REQUESTS}\n{MAIL}")));
    dialogue.client(GOOD);
    dialogue.pass_from_server(OK);
    dialogue.client(b"CONNECT mail:25 HTTP/1.1\r\nHost: mail\r\n\r\n");
    dialogue.server(b"HTTP/1.1 200 OK\r\n\r\n");
    dialogue.server(b"220 mail ESMTP\r\n");
    dialogue.client(b"EHLO a\r\n");
    dialogue.server(b"250 mail\r\n");
    assert!(dialogue.client(b"MAIL FROM:<evil@a>\r\n").block);
}

#[test]
fn a_response_taken_for_the_one_to_a_tunnel_does_not_hide_requests() {
    let mut dialogue = Dialogue::open(prevent(REQUESTS));
    dialogue.client(GOOD);
    // Its response is still to come when the tunnel is asked for, and is refused after it.
    dialogue.client(b"CONNECT mail:25 HTTP/1.1\r\nHost: mail\r\n\r\n");
    dialogue.server(b"HTTP/1.1 200 OK\r\n\r\n");
    for junk in [&b""[..], b"\r\n", b"\r\n\r\n"] {
        assert!(!dialogue.client(junk).block);
    }
    assert!(dialogue.client(EVIL).block);
}

#[test]
fn a_port_of_which_one_direction_is_looked_at_is_one_sided_from_the_beginning() {
    let mut dialogue = Dialogue::new(prevent(RAW));
    assert_eq!(dialogue.handshake().clear.directions, ANSWERS);
    for _ in 0..100 {
        dialogue.pass_from_server(&[b'x'; 1000]);
        assert_eq!(dialogue.client(b"word").clear.directions, ANSWERS);
    }
    assert!(dialogue.client(b"evil").block);
}

#[test]
fn a_connection_that_speaks_nothing_anybody_looks_at_is_cleared() {
    let mut dialogue = Dialogue::open(prevent(REQUESTS));
    assert_eq!(speak_noise(&mut dialogue), ALL);
}

#[test]
fn a_new_policy_looks_at_what_was_cleared_under_the_old_one() {
    let mut dialogue = Dialogue::open(prevent(MAIL));
    dialogue.client(GOOD);
    dialogue.pass_from_server(OK);
    swap(&mut dialogue, 2, REQUESTS);
    let outcome = dialogue.client(EVIL);
    assert_eq!(outcome.clear.directions, NOTHING);
    assert!(outcome.block);
}

#[test]
fn a_new_policy_tells_the_protocol_of_a_connection_of_which_nobody_asked() {
    let mut dialogue = Dialogue::open(prevent(RAW));
    dialogue.client(GOOD);
    dialogue.pass_from_server(OK);
    swap(&mut dialogue, 2, REQUESTS);
    assert!(dialogue.client(EVIL).block);
}

#[test]
fn a_new_policy_reads_responses_from_the_next_one_on() {
    let mut dialogue = Dialogue::open(prevent(REQUESTS));
    dialogue.client(GOOD);
    dialogue.pass_from_server(&[b'x'; 5000]);
    swap(&mut dialogue, 2, &format!("{REQUESTS}\n{RESPONSES}"));
    assert_eq!(dialogue.client(GOOD).clear.directions, NOTHING);
    assert!(
        dialogue
            .server(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            .block
    );
}

#[test]
fn what_follows_a_match_is_shown_if_it_is_logged_with_it() {
    let tags = REQUESTS.replace("sid:1", "tag:session,4,packets; sid:1");
    let mut dialogue = Dialogue::open(policy(&tags, "detect", json!({})));
    assert_eq!(dialogue.client(GOOD).clear.directions, ANSWERS);
    dialogue.pass_from_server(OK);
    assert_eq!(dialogue.client(EVIL).clear.directions, NOTHING);
    assert_eq!(dialogue.server(OK).clear.directions, NOTHING);
}

#[test]
fn who_opened_a_connection_that_was_found_midstream_is_not_guessed() {
    let mut dialogue = Dialogue::new(prevent(RAW));
    dialogue.server(b"banner");
    let outcome = dialogue.client(b"word");
    assert_eq!(outcome.clear.directions, NOTHING);
}
