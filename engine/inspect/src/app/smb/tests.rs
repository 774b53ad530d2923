use proptest::prelude::*;

use super::frame::WHOLE_BYTES;
use super::transaction::{Command, Kind};
use super::*;
use crate::app::{FileSettings, FileState, Parser};
use crate::Direction::{self, ToClient, ToServer};

const GUID: [u8; 16] = *b"0123456789abcdef";

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// An SMB 2 message of session 5 and tree 1.
fn v2(command: u16, response: bool, status: u32, id: u64, body: &[u8]) -> Vec<u8> {
    let mut message = b"\xfeSMB\x40\0\0\0".to_vec();
    message.extend(status.to_le_bytes());
    message.extend(command.to_le_bytes());
    message.extend([0; 2]);
    message.extend(u32::from(response).to_le_bytes());
    message.extend([0; 4]);
    message.extend(id.to_le_bytes());
    message.extend([0; 4]);
    message.extend(1_u32.to_le_bytes());
    message.extend(5_u64.to_le_bytes());
    message.extend([0; 16]);
    message.extend_from_slice(body);
    message
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn tree_connect(id: u64, share: &str) -> Vec<u8> {
    let path = wide(share);
    let mut body = vec![9, 0, 0, 0, 72, 0];
    body.extend((path.len() as u16).to_le_bytes());
    body.extend(path);
    v2(3, false, 0, id, &body)
}

fn tree_connected(id: u64, share_type: u8) -> Vec<u8> {
    let mut body = vec![16, 0, share_type];
    body.extend([0; 13]);
    v2(3, true, 0, id, &body)
}

fn create(id: u64, name: &str) -> Vec<u8> {
    let name = wide(name);
    let mut body = vec![0; 44];
    body.extend(120_u16.to_le_bytes());
    body.extend((name.len() as u16).to_le_bytes());
    body.extend([0; 8]);
    body.extend(name);
    v2(5, false, 0, id, &body)
}

fn created(id: u64) -> Vec<u8> {
    let mut body = vec![0; 64];
    body.extend(GUID);
    body.extend([0; 8]);
    v2(5, true, 0, id, &body)
}

fn write(id: u64, offset: u64, len: u32, data: &[u8]) -> Vec<u8> {
    let mut body = vec![49, 0, 112, 0];
    body.extend(len.to_le_bytes());
    body.extend(offset.to_le_bytes());
    body.extend(GUID);
    body.extend([0; 16]);
    body.extend_from_slice(data);
    v2(9, false, 0, id, &body)
}

fn close(id: u64) -> Vec<u8> {
    let mut body = vec![24, 0, 0, 0, 0, 0, 0, 0];
    body.extend(GUID);
    v2(6, false, 0, id, &body)
}

fn rpc(kind: u8, call: u32, body: &[u8]) -> Vec<u8> {
    let mut unit = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
    unit.extend((16 + body.len() as u16).to_le_bytes());
    unit.extend([0; 2]);
    unit.extend(call.to_le_bytes());
    unit.extend_from_slice(body);
    unit
}

fn connection() -> Connection {
    Connection::new(FileSettings::default())
}

/// Feeds each step in pieces of `step` bytes and shows all transactions there are then.
fn play(steps: &[(Direction, Vec<u8>)], step: usize) -> Vec<String> {
    let mut connection = connection();
    for (direction, bytes) in steps {
        for piece in bytes.chunks(step.max(1)) {
            connection.feed(*direction, piece);
        }
    }
    show(&connection)
}

fn show(connection: &Connection) -> Vec<String> {
    let store = connection.transactions();
    let ids = store.ids();
    ids.filter_map(|id| {
        let tx = store.find(id)?;
        let mut json = Vec::new();
        let (_, record) = tx.describe(crate::app::Purpose::Record)?;
        let mut serializer = serde_json::Serializer::new(&mut json);
        erased_serde::serialize(record.as_ref(), &mut serializer).ok()?;
        let files: Vec<_> = [ToServer, ToClient]
            .iter()
            .flat_map(|way| tx.files(*way))
            .map(|file| (file.bytes.clone(), file.seen, file.state))
            .collect();
        Some(format!(
            "{} {files:?} {:?}",
            String::from_utf8_lossy(&json),
            tx.events()
        ))
    })
    .collect()
}

/// A share, a file written in two pieces, the second first, and closed.
fn a_written_file() -> Vec<(Direction, Vec<u8>)> {
    vec![
        (ToServer, framed(&tree_connect(1, "\\\\host\\share"))),
        (ToClient, framed(&tree_connected(1, 1))),
        (ToServer, framed(&create(2, "dir\\a.txt"))),
        (ToClient, framed(&created(2))),
        (ToServer, framed(&write(3, 5, 5, b"world"))),
        (ToServer, framed(&write(4, 0, 5, b"hello"))),
        (ToServer, framed(&close(5))),
    ]
}

fn file_of(connection: &Connection, direction: Direction) -> (Vec<u8>, Vec<u8>, FileState) {
    let store = connection.transactions();
    let ids = store.ids();
    let file = ids
        .filter_map(|id| store.find(id))
        .find_map(|tx| tx.files(direction).first())
        .expect("a file");
    (file.name.clone(), file.bytes.clone(), file.state)
}

#[test]
fn a_record_is_due_with_the_answer_whichever_side_is_looked_at_next() {
    let mut connection = connection();
    let steps = a_written_file();
    connection.feed(steps[0].0, &steps[0].1);
    let is_due = |connection: &Connection| connection.transactions().find(0).unwrap().is_tellable();
    assert!(!is_due(&connection));
    connection.feed(steps[1].0, &steps[1].1);
    assert!(is_due(&connection));
}

#[test]
fn pieces_that_come_early_wait_for_those_before() {
    let mut connection = connection();
    for (direction, bytes) in a_written_file() {
        connection.feed(direction, &bytes);
    }
    let (name, bytes, state) = file_of(&connection, ToServer);
    assert_eq!(name, b"dir\\a.txt");
    assert_eq!(
        (bytes.as_slice(), state),
        (&b"helloworld"[..], FileState::Closed)
    );
}

#[test]
fn a_piece_that_comes_again_is_left_alone_and_noted() {
    let mut connection = connection();
    connection.feed(ToServer, &framed(&write(1, 0, 4, b"good")));
    connection.feed(ToServer, &framed(&write(2, 0, 4, b"evil")));
    let (_, bytes, _) = file_of(&connection, ToServer);
    assert_eq!(bytes, b"good");
    let store = connection.transactions();
    assert!(store.ids().any(|id| store
        .find(id)
        .is_some_and(|tx| tx.has_event("file_overlap"))));
}

#[test]
fn a_large_write_is_shown_as_it_comes_and_what_is_lost_of_it_is_missed() {
    let data = vec![b'x'; 3 * WHOLE_BYTES];
    let record = framed(&write(1, 0, data.len() as u32, &data));
    let mut connection = connection();
    connection.feed(ToServer, &record[..2 * WHOLE_BYTES]);
    let (_, bytes, _) = file_of(&connection, ToServer);
    assert_eq!(bytes.len(), 2 * WHOLE_BYTES - 4 - 112);
    connection.gap(ToServer, 10);
    connection.feed(ToServer, &record[2 * WHOLE_BYTES + 10..]);
    connection.feed(ToServer, &framed(&close(2)));
    let (_, bytes, state) = file_of(&connection, ToServer);
    assert_eq!(
        (bytes.len(), state),
        (data.len() - 10, FileState::Truncated)
    );
}

#[test]
fn after_a_gap_the_next_record_is_found() {
    let mut connection = connection();
    connection.feed(ToServer, &framed(&tree_connect(1, "\\\\h\\s"))[..40]);
    connection.gap(ToServer, 1000);
    connection.feed(ToServer, b"rest of something lost");
    connection.feed(ToServer, &framed(&write(4, 0, 5, b"hello")));
    assert_eq!(file_of(&connection, ToServer).1, b"hello");
}

#[test]
fn a_call_through_a_pipe_is_one_transaction_whatever_its_fragments() {
    let mut bind = vec![0; 8];
    bind.extend([1, 0, 0, 0, 0, 0, 1, 0]);
    bind.extend(*b"\x81\xbb\x7a\x36\x44\x98\xf1\x35\xad\x32\x98\xf0\x38\x00\x10\x03");
    bind.extend([2, 0, 0, 0]);
    bind.extend([0; 20]);
    let mut call = vec![0; 4];
    call.extend([0, 0, 15, 0]);
    call.extend(*b"argument");
    let bind = rpc(11, 1, &bind);
    let call = rpc(0, 2, &call);
    let mut connection = connection();
    connection.feed(ToServer, &framed(&tree_connect(1, "\\\\h\\IPC$")));
    connection.feed(ToClient, &framed(&tree_connected(1, 2)));
    connection.feed(ToServer, &framed(&create(2, "svcctl")));
    connection.feed(ToClient, &framed(&created(2)));
    connection.feed(ToServer, &framed(&write(3, 0, bind.len() as u32, &bind)));
    connection.feed(ToServer, &framed(&write(4, 0, call.len() as u32, &call)));
    let store = connection.transactions();
    let last = store.find(store.ids().end - 1).expect("a transaction");
    let tx = crate::app::of::<Transaction>(last).expect("SMB's");
    assert_eq!(tx.command, Command::V2(9));
    let rpc = tx.rpc().expect("a call");
    assert_eq!((rpc.opnum, rpc.stub[0].as_slice()), (15, &b"argument"[..]));
    let uuid = tx.session.interfaces.as_ref().expect("an interface")[0].uuid;
    assert_eq!(
        crate::app::dcerpc::uuid_text(&uuid),
        "367abb81-9844-35f1-ad32-98f038001003"
    );
}

#[test]
fn no_more_than_the_bound_is_open_at_once() {
    let mut connection = connection();
    for id in 0..3 * state::MAX_OPEN as u64 {
        connection.feed(ToServer, &framed(&v2(14, false, 0, id, &[])));
        while connection.transactions_mut().pop_finished().is_some() {}
    }
    assert!(connection.transactions().ids().count() <= 2 * state::MAX_OPEN);
}

#[test]
fn smb1_chains_are_read_command_by_command() {
    let mut message = b"\xffSMB\x75\0\0\0\0\x18\x01\x80".to_vec();
    message.extend([0; 12]);
    message.extend([0, 0, 1, 0, 2, 0, 3, 0]);
    // TREE_CONNECT_ANDX, which names itself as the next command, further behind.
    message.extend([4, 0x75, 0, 60, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(wide("\0"));
    message.resize(60, 0);
    message.extend([4, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(wide("\\\\h\\c$\0"));
    message.extend(b"?????\0");
    let mut connection = connection();
    connection.feed(ToServer, &framed(&message));
    let store = connection.transactions();
    let shares: Vec<_> = store
        .ids()
        .filter_map(|id| crate::app::of::<Transaction>(store.find(id)?))
        .filter_map(|tx| match &tx.kind {
            Kind::TreeConnect(tree) => Some(tree.share.clone()),
            _ => None,
        })
        .collect();
    assert!(shares.contains(&b"\\h\\c$".to_vec()), "{shares:?}");
}

proptest! {
    #[test]
    fn any_splitting_gives_the_same_transactions(step in 1_usize..200) {
        prop_assert_eq!(play(&a_written_file(), step), play(&a_written_file(), usize::MAX));
    }

    #[test]
    fn any_bytes_never_panic_and_stay_within_the_bound(
        bodies in prop::collection::vec((any::<bool>(), 0_u16..20, prop::collection::vec(any::<u8>(), 0..120)), 0..40),
        junk: Vec<u8>,
        lost in 0_u64..300,
    ) {
        let mut connection = connection();
        for (response, command, body) in &bodies {
            let way = if *response { ToClient } else { ToServer };
            connection.feed(way, &framed(&v2(*command, *response, 0, 1, body)));
            let mut old = b"\xffSMB".to_vec();
            old.extend([*command as u8 * 9, 0, 0, 0, 0, u8::from(*response) << 7, 0, 0xc0]);
            old.extend([0; 20]);
            old.extend_from_slice(body);
            connection.feed(way, &framed(&old));
        }
        connection.feed(ToServer, &junk);
        connection.gap(ToServer, lost);
        connection.feed(ToServer, &junk);
        connection.close(ToServer);
        connection.close(ToClient);
        prop_assert!(connection.heap_bytes() < 8 << 20);
    }

    #[test]
    fn any_bytes_behind_a_good_header_never_panic(body: Vec<u8>, command: u8, wide: bool) {
        let mut message = b"\xffSMB".to_vec();
        message.extend([command, 0, 0, 0, 0, 0, 0, if wide { 0x80 } else { 0 }]);
        message.extend([0; 20]);
        message.extend_from_slice(&body);
        let mut connection = connection();
        connection.feed(ToServer, &framed(&message));
        message[9] = 0x80;
        connection.feed(ToClient, &framed(&message));
    }
}
