use proptest::prelude::*;
use serde_json::{json, Value};

use super::message::Message;
use super::name::{self, Budget, MAX_NAME_BYTES};
use super::*;
use crate::app::{Carrier, Parser, Purpose, Transaction as _};
use crate::Direction::{self, ToClient, ToServer};

/// A message with these counts and this body.
fn message(flags: u16, counts: [u16; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = 7_u16.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    bytes.extend_from_slice(body);
    bytes
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn question(name: &str, rrtype: u8) -> Vec<u8> {
    [&labels(name)[..], &[0, rrtype, 0, 1]].concat()
}

/// An answer for the first question's name.
fn record(rrtype: u8, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    [&[0xc0, 12, 0, rrtype, 0, 1, 0, 0, 0, 60][..], &length, data].concat()
}

fn query(name: &str) -> Vec<u8> {
    message(0x0100, [1, 0, 0, 0], &question(name, 1))
}

fn answer(rrtype: u8, data: &[u8]) -> Vec<u8> {
    let body = [question("a.example", rrtype), record(rrtype, data)].concat();
    message(0x8180, [1, 1, 0, 0], &body)
}

/// What came of it: way, questions, events.
type Seen = (Direction, Vec<String>, Vec<&'static str>);

fn take(connection: &mut Connection) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(finished) = connection.transactions_mut().pop_finished() {
        let transaction = crate::app::of::<Transaction>(finished.as_ref()).unwrap();
        let names = transaction.message.questions.iter();
        seen.push((
            transaction.direction,
            names
                .map(|it| String::from_utf8_lossy(&it.name).into_owned())
                .collect(),
            transaction.head().events.to_vec(),
        ));
    }
    seen
}

fn datagram(direction: Direction, bytes: &[u8]) -> Vec<Seen> {
    let mut connection = Connection::new(Carrier::Datagrams);
    connection.feed(direction, bytes);
    take(&mut connection)
}

fn events(bytes: &[u8]) -> Vec<&'static str> {
    let seen = datagram(ToServer, bytes);
    seen.first().map(|it| it.2.clone()).unwrap_or_default()
}

/// The record of a message and its object in an alert.
fn described(direction: Direction, bytes: &[u8]) -> (Value, Value) {
    let mut connection = Connection::new(Carrier::Datagrams);
    connection.feed(direction, bytes);
    let finished = connection.transactions_mut().pop_finished().unwrap();
    let value = |purpose| serde_json::to_value(finished.describe(purpose).unwrap().1).unwrap();
    (value(Purpose::Record), value(Purpose::Alert))
}

#[test]
fn every_message_is_a_transaction_of_its_own() {
    let mut connection = Connection::new(Carrier::Datagrams);
    connection.feed(ToServer, &query("a.example"));
    connection.feed(ToClient, &answer(1, &[10, 0, 0, 1]));
    let seen = take(&mut connection);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].0, ToServer);
    assert_eq!(seen[1].0, ToClient);
}

#[test]
fn names_are_put_together_across_pointers() {
    let body = [
        question("a.example", 1),
        b"\x01b\xc0\x0c\0\x01\0\x01".to_vec(),
    ]
    .concat();
    let seen = datagram(ToServer, &message(0, [2, 0, 0, 0], &body));
    assert_eq!(seen[0].1, ["a.example", "b.a.example"]);
}

#[test]
fn pointers_that_lead_nowhere_are_malformed() {
    for body in [
        &b"\xc0\x0c\0\x01\0\x01"[..],
        b"\xc0\xff\0\x01\0\x01",
        b"\x40a\0\0\x01\0\x01",
    ] {
        assert_eq!(datagram(ToServer, &message(0, [1, 0, 0, 0], body)), []);
    }
}

#[test]
fn a_loop_is_cut_and_told() {
    let looped = message(0, [1, 0, 0, 0], b"\x01a\xc0\x0c\0\x01\0\x01");
    assert_eq!(events(&looped), ["name_too_long", "too_many_labels"]);
    let to_itself = [question("a.b", 1), b"\xc0\x1b\0\x01\0\x01\xc0\x1b".to_vec()].concat();
    let seen = datagram(ToServer, &message(0, [2, 0, 0, 0], &to_itself));
    assert_eq!(seen[0].2, ["infinite_loop"]);
}

#[test]
fn a_long_name_is_cut_at_its_bound() {
    let long = vec!["a".repeat(63); 20].join(".");
    let seen = datagram(ToServer, &query(&long));
    assert_eq!(seen[0].1[0].len(), MAX_NAME_BYTES);
    assert_eq!(seen[0].2, ["name_too_long"]);
}

#[test]
fn odd_headers_raise_events() {
    let with = |flags| events(&message(flags, [1, 0, 0, 0], &question("a.b", 1)));
    assert_eq!(with(0x0040), ["z_flag_set"]);
    assert_eq!(with(0x3800), ["invalid_opcode"]);
    assert_eq!(with(0x3000), [""; 0]);
}

#[test]
fn what_goes_the_wrong_way_is_told_of_the_message_before() {
    let mut connection = Connection::new(Carrier::Datagrams);
    connection.feed(ToServer, &query("a.b"));
    connection.feed(ToServer, &answer(1, &[10, 0, 0, 1]));
    assert_eq!(take(&mut connection)[0].2, ["not_request"]);
    connection.feed(ToClient, &query("a.b"));
    let seen = take(&mut connection);
    assert_eq!(seen.len(), 1);
}

#[test]
fn the_cost_of_one_message_is_bounded() {
    // A chain of pointers, which every record begins to walk anew.
    let mut body = Vec::new();
    for at in 0..250_u16 {
        body.extend((0xc000 | (14 + 2 * at)).to_be_bytes());
    }
    let mut bytes = message(0x8000, [0, 5000, 0, 0], &body);
    for _ in 0..5000 {
        bytes.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x01x");
    }
    assert!(Message::read(&bytes).is_err());
    let mut budget = Budget::default();
    let walks = (0..).take_while(|_| {
        let mut out = Vec::new();
        name::read(&bytes, 12, usize::MAX, &mut budget, &mut out).is_ok()
    });
    assert!(walks.count() < 300);
}

#[test]
fn questions_cannot_be_blown_up() {
    let mut body = question(&vec!["a".repeat(63); 15].join("."), 1);
    for _ in 0..1000 {
        body.extend_from_slice(b"\xc0\x0c\0\x01\0\x01");
    }
    assert!(Message::read(&message(0, [1001, 0, 0, 0], &body)).is_err());
}

#[test]
fn describes_a_query_as_suricata_does() {
    let (record, alert) = described(ToServer, &query("a.b"));
    assert_eq!(
        record,
        json!({"version": 2, "type": "query", "id": 7, "rrname": "a.b", "rrtype": "A", "tx_id": 0, "opcode": 0})
    );
    assert_eq!(
        alert,
        json!({"version": 2, "query": [
            {"type": "query", "id": 7, "rrname": "a.b", "rrtype": "A", "tx_id": 0, "opcode": 0}
        ]})
    );
}

#[test]
fn describes_every_kind_of_answer_as_suricata_does() {
    let a_name = labels("b.c");
    let soa = [&a_name[..], &a_name, &[0; 16], &[0, 0, 0, 9]].concat();
    let rows: &[(u8, &[u8], &str, Value)] = &[
        (1, &[10, 0, 0, 1], "rdata", json!("10.0.0.1")),
        (
            28,
            &[0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            "rdata",
            json!("2001:0000:0000:0000:0000:0000:0000:0001"),
        ),
        (5, &a_name, "rdata", json!("b.c")),
        (2, &a_name, "rdata", json!("b.c")),
        (12, b"\xc0\x0c", "rdata", json!("a.example")),
        (15, b"\0\x05\xc0\x0c", "rdata", json!("a.example")),
        (16, b"\x03abc\x02de", "rdata", json!("abc")),
        (10, b"\xff!", "rdata", json!("\\xff!")),
        (
            33,
            b"\0\x01\0\x02\x01\xbb\xc0\x0c",
            "srv",
            json!({"priority": 1, "weight": 2, "port": 443, "name": "a.example"}),
        ),
        (
            44,
            b"\x01\x02\xab\xcd",
            "sshfp",
            json!({"fingerprint": "ab:cd", "algo": 1, "type": 2}),
        ),
        (
            6,
            &soa,
            "soa",
            json!({"mname": "b.c", "rname": "b.c", "serial": 0, "refresh": 0, "retry": 0, "expire": 0, "minimum": 9}),
        ),
    ];
    for (rrtype, data, key, shown) in rows {
        let (record, alert) = described(ToClient, &answer(*rrtype, data));
        assert_eq!(&record["answers"][0][key], shown);
        let name = record["rrtype"].as_str().unwrap();
        assert_eq!(&record["grouped"][name][0], shown);
        assert_eq!(record["flags"], "8180");
        assert_eq!(record["rcode"], "NOERROR");
        assert_eq!(alert["answer"].get("answers"), None);
    }
    let (record, _) = described(ToClient, &answer(16, b"\x03abc\x02de"));
    assert_eq!(record["grouped"]["TXT"], json!(["abc", "de"]));
    assert_eq!(record["answers"].as_array().unwrap().len(), 2);
}

#[test]
fn answers_whose_data_is_cut_short_are_malformed() {
    for (rrtype, data) in [
        (6, &b"\0\0"[..]),
        (16, b"\x05ab"),
        (1, b""),
        (44, b"\x01"),
        (33, b"\0"),
    ] {
        assert_eq!(datagram(ToClient, &answer(rrtype, data)), []);
    }
}

#[test]
fn on_its_own_port_anything_readable_is_dns_and_elsewhere_only_what_is_beyond_doubt() {
    let odd = message(0x3840, [1, 0, 0, 0], &question("a.b", 1));
    assert!(is_datagram(ToServer, &odd, (4000, 53)));
    assert!(!is_datagram(ToServer, &odd, (4000, 54)));
    assert!(is_datagram(ToServer, &query("a.b"), (4000, 54)));
    assert!(!is_datagram(ToServer, &query("a.b"), (5353, 5353)));
    assert!(!is_datagram(
        ToServer,
        &[query("a.b"), vec![0]].concat(),
        (4000, 54)
    ));
    assert!(!is_datagram(
        ToServer,
        &answer(1, &[10, 0, 0, 1]),
        (4000, 53)
    ));
}

#[test]
fn reading_goes_on_behind_lost_bytes() {
    let framed = |bytes: Vec<u8>| [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
    let mut connection = Connection::new(Carrier::Stream);
    connection.feed(ToServer, &framed(query("a.b"))[..9]);
    connection.gap(ToServer, 30);
    connection.feed(ToServer, &[0xff; 40]);
    connection.feed(ToServer, &framed(query("c.d")));
    assert_eq!(take(&mut connection)[0].1, ["c.d"]);
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_messages(
        names in prop::collection::vec("[a-z]{1,9}(\\.[a-z]{1,9}){0,3}", 1..6),
        cuts in prop::collection::vec(0_usize..200, 0..8),
    ) {
        let mut stream = Vec::new();
        for name in &names {
            let bytes = query(name);
            stream.extend([0, 0]);
            stream.extend((bytes.len() as u16).to_be_bytes());
            stream.extend(bytes);
        }
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut pieces = Connection::new(Carrier::Stream);
        let mut seen = Vec::new();
        for pair in cuts.windows(2) {
            pieces.feed(ToServer, &stream[pair[0]..pair[1]]);
            seen.extend(take(&mut pieces));
        }
        let wanted: Vec<Seen> = names.into_iter().map(|it| (ToServer, vec![it], vec![])).collect();
        prop_assert_eq!(seen, wanted);
    }

    #[test]
    fn any_bytes_stay_within_the_bound(bytes in prop::collection::vec(any::<u8>(), 0..600), way: bool, stream: bool) {
        let carrier = if stream { Carrier::Stream } else { Carrier::Datagrams };
        let direction = if way { ToServer } else { ToClient };
        let mut connection = Connection::new(carrier);
        connection.feed(direction, &bytes);
        prop_assert!(connection.heap_bytes() <= 200_000);
        while let Some(finished) = connection.transactions_mut().pop_finished() {
            for description in (0..).map_while(|index| finished.record(index)) {
                prop_assert!(serde_json::to_value(description.1).is_ok());
            }
        }
        is_datagram(direction, &bytes, (1, 53));
        is_datagram(direction, &bytes, (1, 54));
    }

    #[test]
    fn any_body_behind_a_header_is_read_or_refused(
        flags: u16,
        counts: [u8; 4],
        body in prop::collection::vec(prop_oneof![Just(0xc0_u8), 0_u8..20, any::<u8>()], 0..400),
    ) {
        let bytes = message(flags, counts.map(|count| u16::from(count % 5)), &body);
        let mut connection = Connection::new(Carrier::Datagrams);
        let way = if flags & 0x8000 == 0 { ToServer } else { ToClient };
        connection.feed(way, &bytes);
        while let Some(finished) = connection.transactions_mut().pop_finished() {
            for description in (0..).map_while(|index| finished.record(index)) {
                prop_assert!(serde_json::to_value(description.1).is_ok());
            }
        }
    }
}
