//! Whole connections.
use proptest::prelude::*;

use super::*;
use crate::app::{Parser, Purpose, Stage, Transaction as _};
use crate::Direction::{self, ToClient, ToServer};

fn packet(message: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 2).to_be_bytes();
    [&len[..], &[0, message], body].concat()
}

fn key_exchange() -> Vec<u8> {
    let names: [&[u8]; 10] = [
        b"kex", b"rsa", b"c", b"s", b"mc", b"ms", b"zc", b"zs", b"", b"",
    ];
    let mut body = vec![0; 16];
    for name in names {
        body.extend((name.len() as u32).to_be_bytes());
        body.extend(name);
    }
    body.extend([0; 5]);
    packet(20, &body)
}

fn stream(software: &[u8]) -> Vec<u8> {
    let banner = [b"SSH-2.0-", software, b"\r\n"].concat();
    [
        banner,
        key_exchange(),
        packet(30, b"dh"),
        packet(21, b""),
        vec![0xee; 50],
    ]
    .concat()
}

fn fed(turns: &[(Direction, &[u8])], piece: usize) -> Connection {
    let mut connection = Connection::new(true);
    for (direction, bytes) in turns {
        for bytes in bytes.chunks(piece) {
            connection.feed(*direction, bytes);
        }
    }
    connection
}

fn seen(connection: &Connection) -> &Transaction {
    crate::app::of(connection.transactions().find(0).unwrap()).unwrap()
}

#[test]
fn lines_before_the_servers_banner_are_passed_over() {
    let (client, server) = (stream(b"PuTTY_0.7 x"), stream(b"OpenSSH_9.2p1"));
    let before = [
        b"Authorized use only\r\n".to_vec(),
        vec![b'x'; 1_000],
        b"\n".to_vec(),
        server,
    ]
    .concat();
    for piece in [1, 7, 10_000] {
        let connection = fed(&[(ToClient, &before), (ToServer, &client)], piece);
        let tx = seen(&connection);
        assert_eq!(tx.server.software, b"OpenSSH_9.2p1");
        assert_eq!(tx.client.software, b"PuTTY_0.7");
        assert_eq!(tx.head.events[..], ["invalid_banner"]);
    }
    let endless = b"no banner\n".repeat(1_100);
    let connection = fed(&[(ToClient, &endless), (ToServer, &client)], 10_000);
    assert!(seen(&connection).client.software.is_empty());
}

#[test]
fn reads_banners_and_what_both_offer() {
    let (client, server) = (stream(b"PuTTY_0.7 x"), stream(b"OpenSSH_9.2p1"));
    let connection = fed(&[(ToServer, &client), (ToClient, &server)], 10_000);
    let tx = seen(&connection);
    assert_eq!(tx.client.protocol, b"2.0");
    assert_eq!(tx.client.software, b"PuTTY_0.7");
    assert_eq!(tx.server.software, b"OpenSSH_9.2p1");
    assert_eq!(tx.client.hassh.as_ref().unwrap().string, b"kex;c;mc;zc");
    assert_eq!(tx.server.hassh.as_ref().unwrap().string, b"kex;s;ms;zs");
    assert!(connection.is_encrypted() && tx.head.events.is_empty());
    assert_eq!(connection.skippable(ToServer), u64::MAX);
}

#[test]
fn its_record_is_due_with_both_banners_and_where_fingerprints_are_made_with_both_new_keys() {
    for (hassh, banners) in [(false, true), (true, false)] {
        let mut connection = Connection::new(hassh);
        connection.feed(ToServer, b"SSH-2.0-a\r\n");
        assert!(!seen(&connection).is_tellable());
        assert!(seen(&connection).describe(Purpose::Record).is_none());
        connection.feed(ToClient, b"SSH-2.0-b\r\n");
        assert_eq!(seen(&connection).is_tellable(), banners);
        for direction in [ToServer, ToClient] {
            connection.feed(direction, &[key_exchange(), packet(21, b"")].concat());
        }
        assert!(seen(&connection).is_tellable());
        assert_eq!(seen(&connection).client.hassh.is_some(), hassh);
    }
}

#[test]
fn notes_what_is_odd() {
    let long = [b"SSH-2.0-", &[b'x'; 400][..], b"\n"].concat();
    let rows: &[(&str, &[u8])] = &[
        (INVALID_BANNER, b"HELO SSH\r\n"),
        (INVALID_BANNER, b"SSH-2.0\r\n"),
        (LONG_BANNER, &long),
        (INVALID_RECORD, b"SSH-2.0-a\r\n\0\0\0\x01\0\x14"),
    ];
    for (wanted, bytes) in rows {
        for piece in [1, 7, 1_000] {
            let connection = fed(&[(ToServer, bytes)], piece);
            assert_eq!(seen(&connection).head.events[..], [*wanted]);
        }
    }
}

#[test]
fn a_gap_ends_reading_that_way_only() {
    let mut connection = fed(&[(ToServer, b"SSH-2.0-a\r\n")], 100);
    connection.gap(ToServer, 100);
    connection.feed(ToServer, &[0xff; 50]);
    connection.feed(ToClient, &stream(b"b"));
    assert_eq!(connection.skippable(ToServer), u64::MAX);
    assert!(seen(&connection).server.hassh.is_some());
    assert!(seen(&connection).head.events.is_empty());
}

#[test]
fn a_long_banner_is_told_at_its_end() {
    let start = [b"SSH-2.0-", &[b'x'; 400][..]].concat();
    let mut connection = fed(&[(ToServer, &start)], 1_000);
    assert_eq!(seen(&connection).stage(ToServer), Stage::Line);
    connection.feed(ToServer, b"\n");
    assert_eq!(seen(&connection).stage(ToServer), Stage::Headers);
    assert_eq!(seen(&connection).client.software.len(), 248);
}

proptest! {
    #[test]
    fn any_splitting_gives_the_same_transaction(piece in 1_usize..200) {
        let (client, server) = (stream(b"a"), stream(b"b"));
        let turns: [(_, &[u8]); 2] = [(ToServer, &client), (ToClient, &server)];
        let (whole, pieces) = (fed(&turns, 10_000), fed(&turns, piece));
        prop_assert_eq!(&seen(&whole).client, &seen(&pieces).client);
        prop_assert_eq!(&seen(&whole).server, &seen(&pieces).server);
        prop_assert_eq!(seen(&whole).head.stages, seen(&pieces).head.stages);
    }

    #[test]
    fn any_bytes_never_panic_and_stay_within_the_bound(banner: bool, bytes: Vec<u8>, piece in 1_usize..50) {
        let start: &[u8] = if banner { b"SSH-2.0-x\n" } else { b"" };
        let stream = [start, &bytes].concat();
        let connection = fed(&[(ToServer, &stream), (ToClient, &stream)], piece);
        prop_assert!(connection.heap_bytes() < 4_096 + 16 * stream.len());
    }
}
