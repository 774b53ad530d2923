//! Packets of a connection pass unseen and the engine lives on: what it makes of the stream behind them.
#[allow(dead_code)] // each test uses its part
mod dialogue;

use std::sync::Arc;

use dialogue::Dialogue;
use inspect::policy::Policy;
use serde_json::json;

const REQUESTS: &str = r#"alert http any any -> $HOME_NET any (flow:established,to_server; http.uri; content:"/evil"; sid:1;)
alert http $HOME_NET any -> any any (flow:established,to_client; http.stat_code; content:"500"; sid:2;)"#;
const RAW: &str =
    r#"alert tcp any any -> $HOME_NET 80 (flow:established,to_server; content:"evil"; sid:3;)"#;

const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nHost: web\r\n\r\n";
const EVIL: &[u8] = b"GET /evil HTTP/1.1\r\nHost: web\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BAD: &[u8] = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno";

fn prevent(rules: &str) -> Arc<Policy> {
    dialogue::policy(rules, "prevent", json!({}))
}

fn raw() -> Dialogue {
    let mut dialogue = Dialogue::open(prevent(RAW));
    assert!(!dialogue.client(b"begins").block);
    dialogue
}

#[test]
fn a_stream_goes_on_behind_what_passed_and_is_inspected() {
    let mut dialogue = raw();
    // As much as no receiver's window would hold.
    dialogue.pass_from_client(&vec![b'x'; 100 << 20]);
    dialogue.say_unseen();
    for _ in 0..2000 {
        assert!(!dialogue.client(&[b'x'; 1000]).block);
    }
    assert!(!dialogue.client(b"ev").block);
    assert!(dialogue.client(b"il").block);
    assert_eq!(dialogue.alerts(), [3]);
}

#[test]
fn what_is_said_of_all_connections_is_heeded_by_those_that_were_there() {
    let mut dialogue = raw();
    dialogue.pass_from_client(b"xxxx");
    dialogue.engine.note_unseen(1);
    assert!(!dialogue.client(b"ev").block);
    assert!(dialogue.client(b"il").block);
    let mut later = Dialogue::new(prevent(RAW));
    later.engine.note_unseen(1);
    later.handshake();
    assert!(!later.client_ahead(2, b"il").block);
    assert!(later.client(b"ev").block);
}

#[test]
fn a_hole_that_nobody_told_of_is_waited_for() {
    let mut dialogue = raw();
    assert!(!dialogue.client_ahead(2, b"il").block);
    assert!(dialogue.client(b"ev").block);
}

#[test]
fn a_packet_of_the_other_end_may_be_the_one_that_tells() {
    let mut dialogue = Dialogue::open(prevent(REQUESTS));
    dialogue.client(GOOD);
    dialogue.server(OK);
    dialogue.pass_from_client(GOOD);
    dialogue.say_unseen();
    assert!(
        !dialogue.server(OK).block,
        "it acknowledges what was not seen"
    );
    assert!(!dialogue.client(GOOD).block);
    assert!(!dialogue.server(OK).block);
    assert!(dialogue.client(EVIL).block);
}

#[test]
fn what_was_sent_again_may_be_the_packet_that_tells() {
    let mut dialogue = raw();
    let (seq, ack) = dialogue.sequences();
    dialogue.pass_from_client(b"passes, and more passes");
    // One that passed unseen is sent again, for its acknowledgment took long; then the rest would be missing.
    dialogue.say_unseen();
    assert!(!dialogue.raw(true, seq, ack, 0x18, b"passes").block);
    assert!(!dialogue.client(b"goes on, ev").block);
    assert!(dialogue.client(b"il").block);
}

#[test]
fn requests_are_read_on_whatever_passed_before_them() {
    // A conversation packet by packet: the first of each pair says who sends.
    let pairs = [GOOD, OK].map(|bytes| bytes.split_at(15));
    let [(head, rest), (status, body)] = pairs;
    let packets = [(true, head), (true, rest), (false, status), (false, body)].repeat(3);
    for from in 0..packets.len() {
        for to in from + 1..=packets.len() {
            let mut dialogue = Dialogue::open(prevent(REQUESTS));
            for (number, (by_client, bytes)) in packets.iter().enumerate() {
                let unseen = (from..to).contains(&number);
                match (by_client, unseen) {
                    (true, true) => dialogue.pass_from_client(bytes),
                    (false, true) => dialogue.pass_from_server(bytes),
                    (true, false) => assert!(!dialogue.client(bytes).block, "{from}..{to}"),
                    (false, false) => assert!(!dialogue.server(bytes).block, "{from}..{to}"),
                }
                if unseen {
                    dialogue.say_unseen();
                }
            }
            for (request, response) in [(GOOD, OK); 2] {
                assert!(!dialogue.client(request).block, "{from}..{to}");
                assert!(!dialogue.server(response).block, "{from}..{to}");
            }
            assert!(dialogue.client(EVIL).block, "{from}..{to}");
        }
    }
}

#[test]
fn responses_are_read_on_likewise() {
    let mut dialogue = Dialogue::open(prevent(REQUESTS));
    dialogue.client(GOOD);
    dialogue.pass_from_server(OK);
    dialogue.say_unseen();
    assert!(!dialogue.client(GOOD).block);
    assert!(!dialogue.server(OK).block);
    assert!(!dialogue.client(GOOD).block);
    assert!(dialogue.server(BAD).block);
}

#[test]
fn a_connection_whose_opening_passed_in_part_is_followed() {
    let mut dialogue = Dialogue::new(prevent(REQUESTS));
    let (client, server) = dialogue.sequences();
    dialogue.raw(true, client, 0, 0x02, b"");
    // The SYN/ACK passes unseen.
    dialogue.pass_from_client(b"S");
    dialogue.pass_from_server(b"S");
    dialogue.say_unseen();
    assert!(!dialogue.raw(true, client + 1, server + 1, 0x10, b"").block);
    for _ in 0..100 {
        assert!(!dialogue.client(GOOD).block);
        assert!(!dialogue.server(OK).block);
    }
    assert!(dialogue.client(EVIL).block);
}

#[test]
fn what_passed_may_be_sent_again_for_a_while_whatever_is_said_of_midstream_and_is_looked_at() {
    for midstream in ["open", "closed"] {
        let failure = json!({"failure": {"midstream": midstream}});
        let mut dialogue = Dialogue::open(dialogue::policy(RAW, "prevent", failure));
        assert!(!dialogue.client(b"begins").block);
        let (seq, ack) = dialogue.sequences();
        dialogue.pass_from_client(b"passes");
        dialogue.say_unseen();
        assert!(!dialogue.client(b"goes on").block);
        assert!(!dialogue.raw(true, seq, ack, 0x18, b"passes").block);
        dialogue.wait_s(3);
        assert!(!dialogue.client(b"goes on").block);
        assert!(dialogue.raw(true, seq, ack, 0x18, b"passes").block);
    }
    let mut dialogue = raw();
    let (seq, ack) = dialogue.sequences();
    dialogue.pass_from_client(b"passes");
    dialogue.say_unseen();
    assert!(!dialogue.client(b"goes on").block);
    assert!(dialogue.raw(true, seq, ack, 0x18, b"evil").block);
    assert_eq!(dialogue.alerts(), [3]);
}

#[test]
fn whoever_skips_bytes_while_it_is_in_doubt_cannot_bring_them_later() {
    let mut dialogue = raw();
    dialogue.say_unseen();
    assert!(!dialogue.client_ahead(1 << 29, b"x").block);
    dialogue.wait_s(3);
    assert!(!dialogue.client_ahead((1 << 29) + 1, b"x").block);
    assert!(dialogue.client(b"evil").block);
}

#[test]
fn once_it_is_over_a_hole_is_waited_for_again() {
    let mut dialogue = raw();
    dialogue.pass_from_client(b"passes");
    dialogue.say_unseen();
    assert!(!dialogue.client(b"goes on").block);
    dialogue.wait_s(3);
    assert!(!dialogue.client_ahead(2, b"il").block);
    assert!(dialogue.client(b"ev").block);
}

#[test]
fn the_end_that_receives_an_attack_behind_what_passed_is_reset_where_it_stands() {
    let mut dialogue = raw();
    dialogue.pass_from_client(&[b'x'; 5000]);
    let (seq, _) = dialogue.sequences();
    dialogue.say_unseen();
    let outcome = dialogue.client(b"evil");
    assert!(outcome.block);
    let (_, to_server) = outcome
        .frames
        .iter()
        .find(|(port, _)| *port == dialogue::SERVER_PORT_IFINDEX)
        .expect("a reset");
    // Behind 14 bytes of Ethernet and 24 of IPv4 and ports.
    assert_eq!(to_server[38..42], seq.to_be_bytes());
}
