//! Whole connections.
use proptest::prelude::*;

use super::certificate::tests::{message, DER};
use super::hello::tests::{client, extension, sni};
use super::*;
use crate::app::{AppProto, Parser, Purpose, Stage, Transaction as _};
use crate::Direction::{self, ToClient, ToServer};

fn record(content: u8, body: &[u8]) -> Vec<u8> {
    [
        &[content, 3, 3][..],
        &(body.len() as u16).to_be_bytes(),
        body,
    ]
    .concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[kind][..], &len[1..], body].concat()
}

fn client_hello(name: &[u8]) -> Vec<u8> {
    handshake(1, &client(&[sni(name), extension(43, &[2, 3, 3])]))
}

fn server_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[9; 32], &[2, 1, 2], &[0x13, 1, 0]].concat();
    handshake(2, &body)
}

/// What matters of a transaction, as text.
fn state(connection: &mut Connection) -> String {
    let tx = connection.transactions().find(0);
    let tx = crate::app::of::<Transaction>(tx.unwrap()).unwrap().clone();
    let peers = [&tx.client, &tx.server].map(|peer| {
        let chain: Vec<_> = (0..peer.chain.len()).map(|at| peer.chain.get(at)).collect();
        format!(
            "{:04x} {:?} {chain:?} {:?}",
            peer.version, peer.hello, peer.chain.first
        )
    });
    format!(
        "{peers:?} {:?} {} {} {}",
        tx.head.events, tx.done, tx.resumed, tx.hides_certificates
    )
}

fn fed(turns: &[(Direction, Vec<u8>)], piece: usize) -> Connection {
    let mut connection = Connection::default();
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

/// A handshake of TLS 1.2 up to the first data.
fn dialogue() -> Vec<(Direction, Vec<u8>)> {
    let hello = client_hello(b"a.example");
    let (start, end) = hello.split_at(40);
    let greeting = [server_hello(), handshake(11, &message(&[DER, b"ca"]))].concat();
    let greeting = [
        record(22, &greeting),
        record(22, &handshake(12, b"key")),
        record(22, &handshake(14, b"")),
    ];
    vec![
        (ToServer, [record(22, start), record(22, end)].concat()),
        (ToClient, greeting.concat()),
        (
            ToServer,
            [
                record(22, &handshake(16, b"key")),
                record(20, b"\x01"),
                record(22, b"encrypted, so no length"),
            ]
            .concat(),
        ),
        (
            ToClient,
            [record(20, b"\x01"), record(22, b"finished")].concat(),
        ),
        (ToServer, record(23, &[7; 300])),
        (ToClient, record(23, &[8; 300])),
    ]
}

#[test]
fn puts_a_hello_together_that_two_records_hold() {
    let connection = fed(&dialogue()[..2], 10_000);
    let tx = seen(&connection);
    let hello = tx.client.hello.as_deref().unwrap();
    assert_eq!(hello.sni.as_deref(), Some(&b"a.example"[..]));
    assert_eq!(tx.server.chain.len(), 2);
    assert!(tx.head.events.is_empty() && tx.done);
    assert_eq!(tx.state, State::ServerKeyExchange);
}

#[test]
fn a_client_that_was_asked_for_its_certificate_is_judged_by_it_and_not_before() {
    let mut turns = dialogue()[..2].to_vec();
    turns.push((ToClient, record(22, &handshake(13, b"asks"))));
    let mut connection = fed(&turns, 10_000);
    let certificate = record(22, &handshake(11, &message(&[DER])));
    for piece in certificate.chunks(100) {
        assert_eq!(seen(&connection).stage(ToServer), Stage::Headers);
        connection.feed(ToServer, piece);
    }
    assert_eq!(seen(&connection).stage(ToServer), Stage::Body);
    let mut without = fed(&turns, 10_000);
    without.feed(ToServer, &record(22, &handshake(16, b"key")));
    assert_eq!(seen(&without).stage(ToServer), Stage::Body);
}

#[test]
fn its_record_is_due_with_the_certificates_that_come() {
    let turns = dialogue();
    assert!(!seen(&fed(&turns[..1], 10_000)).is_tellable());
    assert!(seen(&fed(&turns[..2], 10_000)).is_tellable());
    let mut asked = turns[..2].to_vec();
    asked.push((ToClient, record(22, &handshake(13, b"asks"))));
    assert!(!seen(&fed(&asked, 10_000)).is_tellable());
    asked.push((ToServer, record(22, &handshake(11, &message(&[DER])))));
    assert!(seen(&fed(&asked, 10_000)).is_tellable());
}

#[test]
fn its_record_names_what_the_peers_spoke_before() {
    let mut connection = Connection::default();
    connection.come_from(AppProto::Smtp);
    for (direction, bytes) in &dialogue()[..2] {
        connection.feed(*direction, bytes);
    }
    let said = |purpose| {
        let (_, object) = seen(&connection).describe(purpose).unwrap();
        serde_json::to_value(object).unwrap()["from_proto"].clone()
    };
    assert_eq!(said(Purpose::Record), "smtp");
    assert_eq!(said(Purpose::Alert), serde_json::Value::Null);
}

#[test]
fn ja4_is_shown_in_alerts_of_signatures_that_ask_for_it() {
    let connection = fed(&dialogue()[..2], 10_000);
    let shows = |purpose| {
        let (_, object) = seen(&connection).describe(purpose).unwrap();
        serde_json::to_value(object).unwrap().get("ja4").is_some()
    };
    assert!(shows(Purpose::AlertOnJa4));
    assert!(!shows(Purpose::Alert) && !shows(Purpose::Record));
}

#[test]
fn says_that_it_is_encrypted_and_lets_the_chain_go() {
    let mut connection = fed(&dialogue()[..4], 10_000);
    assert!(!connection.is_encrypted());
    connection = fed(&dialogue(), 10_000);
    assert!(connection.is_encrypted());
    for direction in [ToServer, ToClient, ToServer] {
        let touched = connection.feed(direction, &record(23, &[1; 50])[..25]);
        connection.feed(direction, &record(23, &[1; 50])[25..]);
        let _ = touched;
    }
    let tx = seen(&connection);
    assert!(tx.server.chain.is_empty() && tx.server.chain.first.is_some());
    assert!(connection.feed(ToServer, &record(23, b"x")).is_empty());
    connection.feed(ToClient, &record(23, &[1; 50])[..25]);
    assert_eq!(connection.skippable(ToClient), 30);
}

#[test]
fn the_first_of_two_hellos_counts() {
    let both = [client_hello(b"a"), client_hello(b"b")].map(|it| record(22, &it));
    let connection = fed(&[(ToServer, both.concat())], 10_000);
    let tx = seen(&connection);
    let hello = tx.client.hello.as_deref().unwrap();
    assert_eq!(hello.sni.as_deref(), Some(&b"a"[..]));
    assert_eq!(tx.head.events[..], [event::MULTIPLE_SNI_EXTENSIONS]);
}

#[test]
fn an_ssl_2_hello_may_be_answered_by_tls() {
    let hello = b"\x80\x0b\x01\x03\x01\x00\x00\x00\x00\x00\x02ab";
    let greeting = [server_hello(), handshake(11, &message(&[DER]))].concat();
    let turns = [
        (ToServer, hello.to_vec()),
        (ToClient, record(22, &greeting)),
        (ToServer, record(22, &handshake(16, b"key"))),
    ];
    let connection = fed(&turns, 10_000);
    let tx = seen(&connection);
    assert_eq!(tx.client.version, 0x0303);
    assert_eq!(tx.server.chain.first.as_ref().unwrap().serial, "0A:1B:2C");
    assert_eq!(tx.state, State::ClientKeyExchange);
    assert!(tx.head.events.is_empty());
}

#[test]
fn notes_what_is_odd() {
    let change = record(20, b"\x01");
    let rows: &[(&str, &[(Direction, Vec<u8>)])] = &[
        (
            event::INVALID_RECORD_TYPE,
            &[(ToServer, record(0x19, b"x"))],
        ),
        (
            event::INVALID_SSL_RECORD,
            &[(ToServer, record(22, b"\x01\x00"))],
        ),
        (
            event::INVALID_HANDSHAKE_MESSAGE,
            &[(ToServer, record(22, &handshake(99, b"x")))],
        ),
        (
            event::OVERFLOW_HEARTBEAT_MESSAGE,
            &[(ToServer, record(24, b"\x01\x40\x00"))],
        ),
        (
            event::INVALID_HEARTBEAT_MESSAGE,
            &[(ToServer, record(24, b"\x03\x00\x00"))],
        ),
        (
            event::INVALID_HEARTBEAT_MESSAGE,
            &[(ToServer, record(24, b"\x01\x00\x01x"))],
        ),
        (
            event::DATALEAK_HEARTBEAT_MISMATCH,
            &[
                (ToServer, [change.clone(), record(24, &[7; 40])].concat()),
                (ToClient, record(24, &[7; 4000])),
            ],
        ),
        (
            event::ERROR_MESSAGE_ENCOUNTERED,
            &[(ToServer, b"\x80\x03\x00\x00\x01".to_vec())],
        ),
        (
            event::CERTIFICATE_INVALID_DER,
            &[(
                ToClient,
                record(22, &handshake(11, &message(&[b"\x02\x01\x05"]))),
            )],
        ),
    ];
    for (wanted, turns) in rows {
        for piece in [1, 10_000] {
            assert_eq!(
                seen(&fed(turns, piece)).head.events[..],
                [*wanted],
                "by {piece}"
            );
        }
    }
}

#[test]
fn a_hello_past_the_bound_is_passed_over_and_what_follows_is_read() {
    let long = handshake(2, &vec![0; 200_000]);
    let mut stream: Vec<u8> = long.chunks(16_000).flat_map(|it| record(22, it)).collect();
    stream.extend(record(22, &server_hello()));
    let connection = fed(&[(ToClient, stream)], 1_000);
    let tx = seen(&connection);
    assert_eq!(tx.head.events[..], [event::HANDSHAKE_INVALID_LENGTH]);
    assert!(tx.answered);
}

#[test]
fn of_a_chain_past_the_bound_the_beginning_is_read_and_what_follows_too() {
    let filler = vec![0; 60_000];
    let long = handshake(11, &message(&[DER, &filler, &filler, &filler]));
    let mut stream: Vec<u8> = long.chunks(16_000).flat_map(|it| record(22, it)).collect();
    stream.extend(record(22, &server_hello()));
    let connection = fed(&[(ToClient, stream)], 1_000);
    let tx = seen(&connection);
    assert!(tx.head.events.is_empty());
    assert_eq!(tx.server.chain.get(0), Some(DER));
    assert_eq!(tx.server.chain.len(), 3);
    assert!(tx.answered);
}

#[test]
fn a_gap_in_data_is_harmless_and_one_in_the_handshake_ends_reading_that_way() {
    let mut connection = fed(&dialogue(), 10_000);
    connection.feed(ToServer, &record(23, &[1; 50])[..25]);
    connection.gap(ToServer, 30);
    assert_eq!(connection.skippable(ToServer), 0);
    let mut connection = fed(&dialogue()[..1], 10_000);
    connection.gap(ToClient, 100);
    assert_eq!(connection.skippable(ToClient), u64::MAX);
    assert_eq!(connection.skippable(ToServer), 0);
}

#[test]
fn each_side_is_complete_when_its_end_has_come() {
    let mut connection = fed(&dialogue(), 10_000);
    connection.close(ToServer);
    assert_eq!(seen(&connection).stage(ToServer), Stage::Complete);
    assert_eq!(seen(&connection).stage(ToClient), Stage::Body);
    connection.close(ToClient);
    assert!(connection.transactions_mut().pop_finished().is_some());
}

proptest! {
    #[test]
    fn any_splitting_of_the_streams_gives_the_same_transaction(piece in 1_usize..400) {
        let whole = state(&mut fed(&dialogue()[..4], 100_000));
        prop_assert_eq!(state(&mut fed(&dialogue()[..4], piece)), whole);
    }

    #[test]
    fn any_bytes_never_panic_and_stay_within_the_bound(
        turns in proptest::collection::vec((any::<bool>(), 20_u8..26, any::<Vec<u8>>()), 0..20),
        raw: Vec<u8>,
    ) {
        let turns: Vec<_> = turns
            .into_iter()
            .map(|(way, content, body)| {
                (if way { ToServer } else { ToClient }, record(content, &body))
            })
            .chain([(ToServer, raw)])
            .collect();
        let total: usize = turns.iter().map(|(_, bytes)| bytes.len()).sum();
        let (whole, bytewise) = (fed(&turns, 100_000), fed(&turns, 1));
        prop_assert!(whole.heap_bytes() <= 40 * total + 4_096);
        let (mut whole, mut bytewise) = (whole, bytewise);
        prop_assert_eq!(state(&mut whole), state(&mut bytewise));
    }
}
