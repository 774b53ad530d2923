//! Whole connections.
use proptest::prelude::*;

use super::*;
use crate::app::{self, Parser, Purpose, Stage};
use crate::Direction::{self, ToClient, ToServer};

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let more = if left > 0x7f { 0x80 } else { 0 };
        bytes.push(left as u8 & 0x7f | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

/// A CONNECT with everything that there can be.
fn connect(version: u8) -> Vec<u8> {
    let properties: &[u8] = if version == 5 { b"\x03\x21\0\x14" } else { b"" };
    let will: &[u8] = if version == 5 { b"\0" } else { b"" };
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend([version, 0xc6, 0, 60]);
    body.extend_from_slice(properties);
    body.extend(text(b"client"));
    body.extend_from_slice(will);
    for part in [&b"gone"[..], b"bye", b"user", b"pass"] {
        body.extend(text(part));
    }
    packet(0x10, &body)
}

fn connack(version: u8) -> Vec<u8> {
    packet(0x20, if version == 5 { b"\0\0\0" } else { b"\0\0" })
}

/// Version 3.1.1: topic `t`, message `m`.
fn publish(qos: u8, id: u16) -> Vec<u8> {
    let id = id.to_be_bytes();
    let id = if qos == 0 { &[][..] } else { &id };
    packet(0x30 | qos << 1, &[b"\0\x01t", id, b"m"].concat())
}

fn introduced() -> Connection {
    let mut connection = Connection::new();
    connection.feed(ToServer, &connect(4));
    connection.feed(ToClient, &connack(4));
    connection
}

/// What is there of a connection, in JSON, with events.
fn seen(connection: &mut Connection) -> Vec<(String, Vec<&'static str>)> {
    for direction in [ToServer, ToClient] {
        connection.close(direction);
    }
    let mut all = Vec::new();
    while let Some(tx) = connection.transactions_mut().pop_finished() {
        let (_, object) = tx.describe(Purpose::Record).unwrap();
        let json = serde_json::to_string(&object).unwrap();
        all.push((json, tx.events().to_vec()));
    }
    all
}

fn events(connection: &mut Connection) -> Vec<Vec<&'static str>> {
    let all = seen(connection).into_iter();
    all.map(|(_, events)| events).collect()
}

#[test]
fn reads_all_of_a_connect() {
    let mut connection = Connection::new();
    connection.feed(ToServer, &connect(5));
    connection.feed(ToClient, &connack(5));
    let all = seen(&mut connection);
    let wanted = concat!(
        r#"{"connect":{"qos":0,"retain":false,"dup":false,"protocol_string":"MQTT","#,
        r#""protocol_version":5,"client_id":"client","flags":{"username":true,"password":true,"#,
        r#""will_retain":false,"will":true,"clean_session":true},"username":"user","#,
        r#""password":"pass","will":{"topic":"gone","message":"bye"},"#,
        r#""properties":{"receive_maximum":20}},"connack":{"qos":0,"retain":false,"#,
        r#""dup":false,"session_present":false,"return_code":0}}"#,
    );
    assert_eq!(all, [(wanted.to_owned(), vec![])]);
}

#[test]
fn what_acknowledges_belongs_to_what_it_acknowledges() {
    let mut connection = introduced();
    connection.feed(ToServer, &publish(2, 7));
    connection.feed(ToClient, &packet(0x50, b"\0\x07"));
    connection.feed(ToServer, &packet(0x62, b"\0\x07"));
    let waits = connection.transactions().find(1).unwrap();
    assert!(!app::of::<Transaction>(waits).unwrap().is_whole());
    connection.feed(ToClient, &packet(0x70, b"\0\x07"));
    let tx = connection.transactions().find(1).unwrap();
    let tx = app::of::<Transaction>(tx).unwrap();
    let kinds: Vec<_> = tx.messages.iter().map(Message::kind).collect();
    assert!(tx.is_whole());
    assert_eq!(kinds, [3, 5, 6, 7]);
}

#[test]
fn a_transaction_is_shown_only_the_way_it_began() {
    let mut connection = introduced();
    connection.feed(ToServer, &publish(1, 7));
    connection.feed(ToClient, &packet(0x40, b"\0\x07"));
    let tx = connection.transactions().find(1).unwrap();
    assert_eq!(tx.stage(ToClient), Stage::NotStarted);
    assert_eq!(tx.stage(ToServer), Stage::Body);
    connection.feed(ToServer, &packet(0xc0, b""));
    let tx = connection.transactions().find(1).unwrap();
    assert_eq!(tx.stage(ToServer), Stage::Complete);
}

#[test]
fn notes_what_is_odd() {
    let rows: &[(&[&str], Direction, &[u8])] = &[
        (&[MISSING_CONNECT], ToClient, b"\x20\x02\0\0"),
        (&[MISSING_PUBLISH], ToClient, b"\x40\x02\0\x09"),
        (&[MISSING_PUBLISH], ToServer, b"\x62\x02\0\x09"),
        (&[MISSING_SUBSCRIBE], ToClient, b"\x90\x03\0\x09\0"),
        (&[MISSING_UNSUBSCRIBE], ToClient, b"\xb0\x02\0\x09"),
        (&[DOUBLE_CONNECT], ToServer, &connect(4)),
        (&[INVALID_QOS], ToServer, &publish(3, 1)),
        (&[UNASSIGNED_TYPE], ToServer, b"\x00\x01x"),
        (&[MALFORMED], ToServer, b"\x30\x02\0\x09"),
        (&[MALFORMED], ToServer, b"\x30\xff\xff\xff\xff\x01"),
        (&[], ToServer, b"\xc0\x00"),
    ];
    for (wanted, direction, bytes) in rows {
        let mut connection = introduced();
        connection.feed(*direction, bytes);
        assert_eq!(events(&mut connection)[1], *wanted, "{bytes:x?}");
    }
    let mut connection = Connection::new();
    connection.feed(ToServer, &publish(0, 0));
    connection.feed(ToClient, b"\x40\x02\0\x09");
    let early = vec![vec![UNINTRODUCED], vec![MISSING_PUBLISH, UNINTRODUCED]];
    assert_eq!(events(&mut connection), early);
}

#[test]
fn nothing_is_read_behind_what_cannot_be_read() {
    let mut connection = introduced();
    connection.feed(ToServer, b"\x30\x02\0\x09");
    connection.feed(ToServer, &publish(0, 0));
    connection.feed(ToClient, &publish(0, 0));
    assert_eq!(seen(&mut connection).len(), 2);
    assert_eq!(connection.skippable(ToClient), u64::MAX);
}

#[test]
fn what_comes_behind_a_hole_ends_it_for_both_directions() {
    let mut connection = introduced();
    connection.gap(ToClient, 4);
    connection.feed(ToServer, &publish(0, 0));
    connection.feed(ToClient, b"\xd0\0");
    connection.feed(ToServer, &publish(0, 0));
    assert_eq!(seen(&mut connection).len(), 2);
}

#[test]
fn of_a_packet_that_is_too_long_the_header_is_read() {
    let mut connection = introduced();
    connection.feed(ToServer, b"\x30\x81\x80\x40");
    assert_eq!(connection.skippable(ToServer), (1 << 20) + 1);
    connection.gap(ToServer, 1 << 20);
    connection.feed(ToServer, &[b"x", &publish(0, 0)[..]].concat());
    let all = seen(&mut connection);
    assert!(all[1]
        .0
        .contains(r#""truncated":true,"skipped_length":1048581"#));
    assert!(all[2].0.contains(r#""message":"m""#));
}

#[test]
fn the_oldest_waits_no_longer_once_too_many_do() {
    let mut connection = introduced();
    for id in 1..=1025 {
        connection.feed(ToServer, &publish(1, id));
    }
    let all = events(&mut connection);
    assert_eq!(all[1], [TOO_MANY]);
    assert!(all[2].is_empty());
}

#[test]
fn every_prefix_is_open_until_it_is_certain() {
    let stream = connect(4);
    for end in 0..14 {
        let wanted = (end >= 8).then_some(true);
        assert_eq!(is_connect(&stream[..end]), wanted, "{end}");
    }
    for other in [
        &b"\x10\x20\0\x04HTTP"[..],
        b"GET ",
        b"\x10\xff\xff\xff\xff",
        b"\x16\x03\x01",
    ] {
        assert_eq!(is_connect(other), Some(false));
    }
    assert_eq!(is_packet(b"\x36\x02"), Some(false));
    assert_eq!(is_packet(b"\x30"), None);
    assert_eq!(is_packet(b"\x30\x02"), Some(true));
}

/// A client's and a server's stream that have every type of packet.
fn streams(version: u8) -> [Vec<u8>; 2] {
    let list: &[u8] = if version == 5 {
        b"\x05\x26\0\0\0\0"
    } else {
        b""
    };
    let with = |front: &[u8], back: &[u8]| [front, list, back].concat();
    let client = [
        connect(version),
        packet(0x32, &with(b"\0\x01t\0\x05", b"m")),
        packet(0x82, &with(b"\0\x06", b"\0\x01a\x01\0\x01b\0")),
        packet(0xa2, &with(b"\0\x07", b"\0\x01a\0\x01b")),
        packet(0xc0, b""),
        packet(0xf0, b"\x18\0"),
        packet(0xe0, &with(b"\0", b"")),
    ];
    let server = [
        connack(version),
        packet(0x40, &with(b"\0\x05\0", b"")),
        packet(0x90, &with(b"\0\x06", b"\0\x80")),
        packet(0xb0, &with(b"\0\x07", b"\0\x11")),
        packet(0xd0, b""),
    ];
    [client.concat(), server.concat()]
}

fn fed(streams: &[Vec<u8>; 2], piece: usize) -> Connection {
    let mut connection = Connection::new();
    for (direction, stream) in [(ToServer, &streams[0]), (ToClient, &streams[1])] {
        for bytes in stream.chunks(piece) {
            connection.feed(direction, bytes);
        }
    }
    connection
}

#[test]
fn every_prefix_of_a_stream_is_read_or_waited_for() {
    for version in [3, 4, 5] {
        let [client, server] = streams(version);
        for end in 0..=client.len() {
            let mut connection = fed(&[client[..end].to_vec(), server.clone()], 1_000);
            let all = events(&mut connection);
            assert!(
                !all.iter().any(|events| events.contains(&MALFORMED)),
                "{end}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_splitting_gives_the_same_transactions(piece in 1_usize..60, version in 3_u8..6) {
        let streams = streams(version);
        let whole = seen(&mut fed(&streams, 10_000));
        prop_assert_eq!(whole.len(), 8);
        prop_assert_eq!(whole, seen(&mut fed(&streams, piece)));
    }

    #[test]
    fn a_damaged_stream_never_panics(at in 0_usize..150, to: u8, tail: Vec<u8>, piece in 1_usize..60) {
        let mut streams = streams(5);
        let end = streams[0].len();
        streams[0][at % end] = to;
        streams[0].extend(tail);
        let mut connection = fed(&streams, piece);
        prop_assert!(connection.heap_bytes() < 16_384 + 64 * streams[0].len());
        seen(&mut connection);
    }

    #[test]
    fn any_bytes_never_panic(client: Vec<u8>, server: Vec<u8>, piece in 1_usize..60) {
        seen(&mut fed(&[client.clone(), server], piece));
        let _ = (is_connect(&client), is_packet(&client));
    }
}

#[test]
fn of_messages_that_nobody_answers_only_those_that_changed_are_looked_at() {
    let mut connection = introduced();
    for id in 1..=3_000 {
        let touched = connection.feed(ToServer, &publish(1, id));
        let transactions = connection.transactions_mut();
        let looked_at = touched
            .filter(|id| transactions.changed(*id).is_some())
            .count();
        assert!((1..=2).contains(&looked_at), "{looked_at} at {id}");
        while transactions.pop_finished().is_some() {}
    }
}
