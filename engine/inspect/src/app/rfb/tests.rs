//! Whole handshakes.
use proptest::prelude::*;

use super::handshake::Oddity;
use super::*;
use crate::app::{self, Parser, Transaction as _};
use crate::Direction::{self, ToClient, ToServer};

const VERSION: &[u8] = b"RFB 003.008\n";
const OK: &[u8] = b"\0\0\0\0";

/// A screen of 800 by 600 that is called `desk`.
const INIT: &[u8] =
    b"\x03\x20\x02\x58\x20\x18\0\x01\0\xff\0\xff\0\xff\x10\x08\0\0\0\0\0\0\0\x04desk";

type Turns<'a> = Vec<(Direction, &'a [u8])>;

fn authenticated<'a>() -> Turns<'a> {
    vec![
        (ToClient, VERSION),
        (ToServer, VERSION),
        (ToClient, b"\x01\x02"),
        (ToServer, b"\x02"),
        (ToClient, b"challenge 16 byt"),
        (ToServer, b"response 16 byte"),
        (ToClient, OK),
        (ToServer, b"\x01"),
        (ToClient, INIT),
    ]
}

fn fed(turns: &Turns<'_>, piece: usize) -> Connection {
    let mut connection = Connection::default();
    for (direction, bytes) in turns {
        for bytes in bytes.chunks(piece) {
            connection.feed(*direction, bytes);
        }
    }
    connection
}

fn seen(connection: &Connection) -> &Transaction {
    app::of(connection.transactions().find(0).unwrap()).unwrap()
}

#[test]
fn reads_a_handshake_with_a_password() {
    let connection = fed(&authenticated(), 1_000);
    let tx = seen(&connection);
    assert_eq!(tx.security_type(), Some(2));
    assert_eq!(tx.security_result(), Some(0));
    assert_eq!(tx.name(), Some(&b"desk"[..]));
    assert!(tx.events().is_empty());
    let json = serde_json::to_string(tx).unwrap();
    let wanted = concat!(
        r#"{"server_protocol_version":{"major":"003","minor":"008"},"#,
        r#""client_protocol_version":{"major":"003","minor":"008"},"#,
        r#""authentication":{"security_type":2,"vnc":{"#,
        r#""challenge":"6368616c6c656e676520313620627974","#,
        r#""response":"726573706f6e73652031362062797465"},"security_result":"OK"},"#,
        r#""screen_shared":true,"framebuffer":{"width":800,"height":600,"name":"desk","#,
        r#""pixel_format":{"bits_per_pixel":32,"depth":24,"big_endian":false,"#,
        r#""true_color":true,"red_max":255,"green_max":255,"blue_max":255,"#,
        r#""red_shift":16,"green_shift":8,"blue_shift":0}}}"#,
    );
    assert_eq!(json, wanted);
    assert_eq!(connection.skippable(ToClient), u64::MAX);
}

#[test]
fn without_a_password_only_version_8_has_a_result() {
    for (version, result) in [(&b"RFB 003.007\n"[..], None), (VERSION, Some(0))] {
        let mut turns: Turns<'_> = vec![
            (ToClient, version),
            (ToServer, version),
            (ToClient, b"\x02\x02\x01"),
            (ToServer, b"\x01"),
        ];
        if result.is_some() {
            turns.push((ToClient, OK));
        }
        turns.extend([(ToServer, &b"\0"[..]), (ToClient, INIT)]);
        let connection = fed(&turns, 1_000);
        assert_eq!(seen(&connection).name(), Some(&b"desk"[..]));
        assert_eq!(seen(&connection).security_result(), result);
    }
}

#[test]
fn before_version_7_the_server_chooses() {
    let turns: Turns<'_> = vec![
        (ToClient, VERSION),
        (ToServer, b"RFB 003.003\n"),
        (ToClient, b"\0\0\0\x01"),
        (ToServer, b"\x01"),
        (ToClient, INIT),
    ];
    assert_eq!(seen(&fed(&turns, 1_000)).security_type(), Some(1));
}

#[test]
fn notes_what_is_odd() {
    let rows: &[(Oddity, usize, Direction, &[u8])] = &[
        (Oddity::Confused, 0, ToServer, VERSION),
        (Oddity::Malformed, 1, ToServer, b"RFB 003,008\n"),
        (Oddity::Confused, 2, ToServer, b"\x02"),
        (Oddity::UnimplementedType, 3, ToServer, b"\x10"),
        (Oddity::UnknownResult, 6, ToClient, b"\0\0\0\x07"),
        (Oddity::Malformed, 8, ToClient, &[0xff; 24]),
    ];
    for (oddity, turns, direction, bytes) in rows {
        let mut all = authenticated();
        all.truncate(*turns);
        all.push((*direction, bytes));
        all.push((ToClient, b"what follows is not read"));
        let connection = fed(&all, 1_000);
        assert_eq!(seen(&connection).events()[..], [oddity.name()]);
    }
}

#[test]
fn a_refusal_has_a_reason() {
    let mut turns = authenticated();
    turns.truncate(6);
    turns.push((ToClient, b"\0\0\0\x01\0\0\0\x04oops"));
    let connection = fed(&turns, 1_000);
    assert_eq!(seen(&connection).failure.as_deref(), Some(&b"oops"[..]));
    assert_eq!(seen(&connection).security_type(), None);
}

proptest! {
    #[test]
    fn any_splitting_gives_the_same_handshake(piece in 1_usize..30) {
        let (whole, pieces) = (fed(&authenticated(), 1_000), fed(&authenticated(), piece));
        let json = |connection| serde_json::to_string(seen(connection)).unwrap();
        prop_assert_eq!(json(&whole), json(&pieces));
    }

    #[test]
    fn any_bytes_never_panic(turns in 0_usize..9, client: bool, bytes: Vec<u8>, piece in 1_usize..30) {
        let mut all = authenticated();
        all.truncate(turns);
        all.push((if client { ToServer } else { ToClient }, &bytes));
        all.push((ToClient, &bytes));
        let connection = fed(&all, piece);
        prop_assert!(connection.heap_bytes() < 8_192 + 4 * bytes.len());
        let _ = serde_json::to_string(seen(&connection)).unwrap();
    }
}
