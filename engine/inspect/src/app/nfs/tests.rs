//! Whole flows.
use super::*;
use crate::app::{of, AppProto, Carrier, FileSettings, FileState, Parser};
use crate::Direction::{self, ToClient, ToServer};
use proptest::prelude::*;

fn word(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn hyper(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn opaque(bytes: &[u8]) -> Vec<u8> {
    let padding = vec![0; bytes.len().wrapping_neg() % 4];
    [word(bytes.len() as u32), bytes.to_vec(), padding].concat()
}

fn call(xid: u32, version: u32, procedure: u32, arguments: &[Vec<u8>]) -> Vec<u8> {
    let unix = [word(7), opaque(b"host"), word(1000), word(100), word(0)].concat();
    let head = [xid, 0, 2, rpc::NFS_PROGRAM, version, procedure, 1].map(word);
    let arguments = arguments.concat();
    [head.concat(), opaque(&unix), word(0), word(0), arguments].concat()
}

fn reply(xid: u32, results: &[Vec<u8>]) -> Vec<u8> {
    [[xid, 1, 0, 0, 0, 0].map(word).concat(), results.concat()].concat()
}

fn record(message: &[u8]) -> Vec<u8> {
    [word(message.len() as u32 | 1 << 31), message.to_vec()].concat()
}

/// A flow of NFS 3 over TCP: a name is looked up, its file read in two pieces, another made and written.
fn version3() -> Vec<(Direction, Vec<u8>)> {
    let steps = [
        (ToServer, call(1, 3, 3, &[opaque(b"dir"), opaque(b"a.txt")])),
        (
            ToClient,
            reply(1, &[word(0), opaque(b"ahandle"), word(0), word(0)]),
        ),
        (
            ToServer,
            call(2, 3, 6, &[opaque(b"ahandle"), hyper(0), word(4)]),
        ),
        (
            ToClient,
            reply(2, &[word(0), word(0), word(4), word(0), opaque(b"evil")]),
        ),
        (
            ToServer,
            call(3, 3, 6, &[opaque(b"ahandle"), hyper(4), word(4)]),
        ),
        (
            ToClient,
            reply(3, &[word(0), word(0), word(3), word(1), opaque(b"ish")]),
        ),
        (ToServer, call(4, 3, 8, &[opaque(b"dir"), opaque(b"new")])),
        (ToClient, reply(4, &[word(0), word(1), opaque(b"nhandle")])),
        (
            ToServer,
            call(
                5,
                3,
                7,
                &[
                    opaque(b"nhandle"),
                    hyper(0),
                    word(5),
                    word(0),
                    opaque(b"first"),
                ],
            ),
        ),
        (ToClient, reply(5, &[word(0)])),
        (
            ToServer,
            call(
                6,
                3,
                7,
                &[
                    opaque(b"nhandle"),
                    hyper(5),
                    word(4),
                    word(2),
                    opaque(b"last"),
                ],
            ),
        ),
        (ToClient, reply(6, &[word(0)])),
        (
            ToServer,
            call(
                7,
                3,
                14,
                &[
                    opaque(b"dir"),
                    opaque(b"new"),
                    opaque(b"dir"),
                    opaque(b"old"),
                ],
            ),
        ),
        (ToClient, reply(7, &[word(70)])),
    ];
    let record = |(direction, message): (Direction, Vec<u8>)| (direction, record(&message));
    steps.map(record).to_vec()
}

/// What a flow's transactions come to, in order of their numbers.
fn run(
    carrier: Carrier,
    steps: &[(Direction, Vec<u8>)],
    cut: usize,
) -> Vec<Box<dyn crate::app::Transaction>> {
    let mut parser = Connection::new(carrier, FileSettings::default());
    let mut done = Vec::new();
    for (direction, bytes) in steps {
        for piece in bytes.chunks(cut) {
            parser.feed(*direction, piece);
            while let Some(tx) = parser.transactions_mut().pop_finished() {
                done.push(tx);
            }
        }
    }
    for direction in [ToServer, ToClient] {
        parser.close(direction);
    }
    while let Some(tx) = parser.transactions_mut().pop_finished() {
        done.push(tx);
    }
    done
}

fn nfs(tx: &dyn crate::app::Transaction) -> &Transaction {
    of::<Transaction>(tx).expect("NFS's")
}

fn record_of(tx: &dyn crate::app::Transaction) -> (String, String) {
    let (_, nfs) = tx.describe(crate::app::Purpose::Alert).expect("a record");
    let (_, rpc) = tx
        .describe_also(crate::app::Purpose::Alert)
        .expect("a record");
    let text = |it| serde_json::to_string(it).expect("JSON");
    (text(&nfs), text(&rpc))
}

#[test]
fn a_flow_reads_the_same_in_any_pieces() {
    for cut in [1, 3, 7, 50, usize::MAX] {
        let all = run(Carrier::Stream, &version3(), cut);
        let about: Vec<_> = all
            .iter()
            .map(|tx| (nfs(tx.as_ref()).procedure, nfs(tx.as_ref()).name.as_slice()))
            .collect();
        let expected: [(u32, &[u8]); 5] = [
            (3, b"a.txt"),
            (6, b"a.txt"),
            (8, b"new"),
            (7, b"new"),
            (14, b"new"),
        ];
        assert_eq!(about, expected, "{cut}");
        let read = &all[1].files(ToClient)[0];
        assert_eq!(
            (read.bytes.as_slice(), read.state),
            (&b"evilish"[..], FileState::Closed)
        );
        let written = &all[3].files(ToServer)[0];
        assert_eq!(
            (written.bytes.as_slice(), written.state),
            (&b"firstlast"[..], FileState::Closed)
        );
    }
}

#[test]
fn records_are_those_of_suricata() {
    let all = run(Carrier::Stream, &version3(), usize::MAX);
    let rpc = r#""status":"ACCEPTED","auth_type":"UNIX","creds":{"machine_name":"host","uid":1000,"gid":100}}"#;
    let (nfs, own) = record_of(all[1].as_ref());
    assert_eq!(
        nfs,
        r#"{"version":3,"procedure":"READ","filename":"a.txt","hhash":"90ef1955","id":2,"file_tx":true,"type":"response","status":"OK","read":{"first":true,"last":true,"last_xid":3,"chunks":2}}"#
    );
    assert_eq!(own, format!(r#"{{"xid":2,{rpc}"#));
    let (nfs, _) = record_of(all[4].as_ref());
    assert_eq!(
        nfs,
        r#"{"version":3,"procedure":"RENAME","filename":"new","hhash":"baab7a10","id":5,"file_tx":false,"type":"response","status":"ERR_STALE","rename":{"from":"new","to":"old"}}"#
    );
}

#[test]
fn a_large_write_is_seen_while_it_arrives() {
    let data = vec![b'x'; 100_000];
    let write = call(
        1,
        3,
        7,
        &[
            opaque(b"h"),
            hyper(0),
            word(100_000),
            word(2),
            opaque(&data),
        ],
    );
    let bytes = record(&write);
    let mut parser = Connection::new(Carrier::Stream, FileSettings::default());
    parser.feed(ToServer, &bytes[..50_000]);
    let seen = parser
        .transactions()
        .find(0)
        .expect("a file")
        .files(ToServer)[0]
        .seen;
    assert!(seen > 49_000, "{seen}");
    parser.feed(ToServer, &bytes[50_000..]);
    let file = &parser
        .transactions()
        .find(0)
        .expect("a file")
        .files(ToServer)[0];
    assert_eq!((file.seen, file.state), (100_000, FileState::Closed));
    assert!(parser.heap_bytes() < 400_000, "{}", parser.heap_bytes());
}

#[test]
fn a_gap_in_a_file_is_no_end() {
    let data = vec![b'x'; 10_000];
    let write = record(&call(
        1,
        3,
        7,
        &[opaque(b"h"), hyper(0), word(10_000), word(2), opaque(&data)],
    ));
    let mut parser = Connection::new(Carrier::Stream, FileSettings::default());
    parser.feed(ToServer, &write[..6000]);
    parser.gap(ToServer, 1000);
    parser.feed(ToServer, &write[7000..]);
    let file = &parser
        .transactions()
        .find(0)
        .expect("a file")
        .files(ToServer)[0];
    assert_eq!(
        (file.seen, file.lost, file.state),
        (10_000, 1000, FileState::Truncated)
    );
    parser.gap(ToServer, 70);
    parser.feed(ToServer, b"no record");
    parser.feed(
        ToServer,
        &record(&call(2, 3, 3, &[opaque(b"dir"), opaque(b"later")])),
    );
    let next = parser.transactions().find(1).expect("a call after the gap");
    assert_eq!(nfs(next).name, b"later");
}

#[test]
fn compounds_bring_files_and_make_transactions() {
    let compound = |operations: &[Vec<u8>]| {
        [
            opaque(b""),
            word(1),
            word(operations.len() as u32),
            operations.concat(),
        ]
    };
    let put = |handle: &[u8]| [word(22), opaque(handle)].concat();
    let state = [0; 16].to_vec();
    let open = [
        [18, 1, 1, 0].map(word).concat(),
        hyper(7),
        opaque(b"owner"),
        word(0),
        word(0),
        opaque(b"opened"),
    ];
    let opened = [
        word(18),
        word(0),
        state.clone(),
        vec![0; 24],
        word(0),
        word(0),
    ]
    .concat();
    let write = [word(38), state.clone(), hyper(0), word(2), opaque(b"evil")].concat();
    let remove = [word(28), opaque(b"gone")].concat();
    let steps = [
        (
            ToServer,
            call(1, 4, 1, &compound(&[put(b"d"), open.concat(), word(10)])),
        ),
        (
            ToClient,
            reply(
                1,
                &[
                    word(0),
                    opaque(b""),
                    word(3),
                    [22, 0].map(word).concat(),
                    opened,
                    [word(10), word(0), opaque(b"handle")].concat(),
                ],
            ),
        ),
        (ToServer, call(2, 4, 1, &compound(&[put(b"handle"), write]))),
        (ToServer, call(3, 4, 1, &compound(&[put(b"d"), remove]))),
        (
            ToClient,
            reply(
                3,
                &[
                    word(13),
                    opaque(b""),
                    word(2),
                    word(22),
                    word(0),
                    word(28),
                    word(13),
                ],
            ),
        ),
    ]
    .map(|(direction, message)| (direction, record(&message)));
    let all = run(Carrier::Stream, &steps, usize::MAX);
    let about: Vec<_> = all
        .iter()
        .map(|tx| nfs(tx.as_ref()))
        .map(|tx| (tx.procedure, tx.name.as_slice(), tx.status))
        .collect();
    let expected: [(u32, &[u8], u32); 2] = [(38, b"opened", 0), (28, b"gone", 13)];
    assert_eq!(about, expected);
    assert_eq!(all[0].files(ToServer)[0].bytes, b"evil");
}

#[test]
fn a_stream_is_told_by_its_first_call() {
    let bytes = record(&call(1, 3, 0, &[]));
    for end in 0..28 {
        assert_eq!(rpc::is_stream(&bytes[..end]), None, "{end}");
    }
    assert_eq!(rpc::is_stream(&bytes), Some(true));
    assert_eq!(rpc::is_stream(b"\x16\x03\x01\x00\xa5\x01"), Some(false));
    let other = [[9, 0, 2, 100_005, 3, 0].map(word).concat(), vec![0; 16]].concat();
    assert_eq!(rpc::is_stream(&record(&other)), Some(false));
}

#[test]
fn every_prefix_of_a_message_is_read_or_refused() {
    for (direction, bytes) in version3() {
        let message = &bytes[4..];
        for end in 0..message.len() {
            let mut parser = Connection::new(Carrier::Datagrams, FileSettings::default());
            parser.feed(direction, &message[..end]);
        }
    }
}

proptest! {
    #[test]
    fn any_change_of_a_flow_is_read_or_refused(step in 0_usize..14, at: prop::sample::Index, byte: u8, cut in 1_usize..100) {
        let mut steps = version3();
        let bytes = &mut steps[step].1;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for tx in run(Carrier::Stream, &steps, cut) {
            prop_assert_eq!(tx.app(), AppProto::Nfs);
            record_of(tx.as_ref());
        }
    }
}
