use super::*;
use crate::app::{FileSettings, Transaction as _};
use proptest::prelude::*;
use Direction::{ToClient, ToServer};

fn talk(script: &[(Direction, &[u8])]) -> Connection {
    let mut connection = Connection::new(false);
    connection.meet("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    for (direction, bytes) in script {
        connection.feed(*direction, bytes);
    }
    connection
}

fn record(transaction: &Transaction) -> String {
    let (_, object) = transaction.describe(crate::app::Purpose::Record).unwrap();
    serde_json::to_string(&object).unwrap()
}

#[test]
fn pairs_commands_with_replies_of_several_lines() {
    let connection = talk(&[
        (ToClient, b"220-hi\r\n220 there\r\n"),
        (ToServer, b"USER a\r\nRETR x\r\n"),
        (
            ToClient,
            b"331-one\r\n 220 two\r\n331 three\r\n150 wait\r\n226 done\r\n",
        ),
    ]);
    let all: Vec<_> = connection.store.iter().collect();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|it| it.is_complete()));
    assert_eq!(
        record(all[1]),
        r#"{"command":"USER","command_data":"a","command_truncated":false,"completion_code":["331","331"],"#.to_owned()
            + r#""reply":["one"," 220 two","three"],"reply_received":"yes","reply_truncated":false}"#
    );
    assert!(record(all[2]).contains(r#""completion_code":["150","226"]"#));
}

#[test]
fn a_transfer_announces_its_connection() {
    let mut connection = talk(&[
        (ToServer, b"PASV\r\n"),
        (ToClient, b"227 ok (10,0,0,2,4,1)\r\n"),
        (ToServer, b"RETR a.bin\r\nEPSV\r\n"),
        (ToClient, b"226 done\r\n229 ok (|||1026|)\r\n"),
        (
            ToServer,
            b"STOR b\r\nPORT 10,0,0,1,4,3\r\nSTOR c\r\nRETR unannounced\r\n",
        ),
    ]);
    let agreed: Vec<_> = std::iter::from_fn(|| connection.take_expected()).collect();
    let rows: Vec<_> = agreed
        .iter()
        .map(|it| (it.listener, it.port, &it.note[..]))
        .collect();
    let wanted: [(_, _, &[u8]); 3] = [
        (ToServer, 1025, b"\x01a.bin"),
        (ToServer, 1026, b"\x02b"),
        (ToClient, 1027, b"\x02c"),
    ];
    assert_eq!(rows, wanted);
    assert_eq!(agreed[1].address, None);
}

#[test]
fn a_client_that_names_another_host_bounces() {
    let bounces = |line: &[u8]| {
        let connection = talk(&[(ToServer, line)]);
        let bounces = connection.store.iter().next().unwrap().bounces();
        bounces
    };
    assert!(bounces(b"PORT 10,0,0,9,4,1\r\n"));
    assert!(!bounces(b"PORT 10,0,0,1,4,1\r\n"));
    assert!(!bounces(b"PORT nonsense\r\n"));
}

#[test]
fn auth_tls_hands_the_connection_over() {
    let connection = talk(&[
        (ToServer, b"AUTH TLS\r\n"),
        (ToClient, b"234 go\r\n\x16\x03"),
    ]);
    assert!(connection.has_switched());
    let connection = talk(&[(ToServer, b"AUTH TLS\r\n"), (ToClient, b"500 no\r\n")]);
    assert!(!connection.has_switched());
}

#[test]
fn a_held_command_is_shown_with_what_follows_its_answer_or_at_the_end() {
    let mut connection = Connection::new(true);
    let shown = |it: &Connection| -> Vec<_> {
        let shown = |it: &Transaction| (it.head.stages[0] == Stage::Complete, it.head.late);
        it.store.iter().map(shown).collect()
    };
    connection.feed(ToServer, b"USER a\r\n");
    connection.feed(ToClient, b"331 go on\r\n");
    assert_eq!(shown(&connection), [(false, false)]);
    connection.feed(ToServer, b"PASS b\r\n");
    assert_eq!(shown(&connection), [(true, false), (false, false)]);
    connection.close(ToServer);
    assert_eq!(shown(&connection), [(true, false), (true, true)]);
}

#[test]
fn a_held_command_is_shown_though_its_server_closes_first() {
    let mut connection = Connection::new(true);
    connection.feed(ToServer, b"QUIT\r\n");
    connection.close(ToClient);
    assert!(connection.store.iter().all(|it| !it.is_complete()));
    connection.close(ToServer);
    assert!(connection.store.iter().all(|it| it.is_complete()));
}

#[test]
fn long_lines_are_said_to_be() {
    let long = [&b"CWD "[..], &[b'a'; 5000], b"\r\n"].concat();
    let reply = [&b"250 "[..], &[b'a'; 5000], b"\r\n"].concat();
    let connection = talk(&[(ToServer, &long), (ToClient, &reply)]);
    let only = connection.store.iter().next().unwrap();
    assert_eq!(only.head.events[..], *EVENTS);
    assert!(only.is_complete());
    assert_eq!(connection.store.iter().len(), 1);
}

#[test]
fn a_data_connection_is_one_file() {
    let mut data = DataConnection::new(b"\x01name", FileSettings::default());
    data.feed(ToClient, b"ab");
    data.feed(ToClient, &vec![b'x'; 2 << 20]);
    data.close(ToServer);
    data.close(ToClient);
    let only = data.transactions_mut().pop_finished().unwrap();
    let file = &only.files(ToClient)[0];
    assert_eq!((&file.name[..], file.seen), (&b"name"[..], 2 + (2 << 20)));
    assert_eq!(file.bytes.len(), 1 << 20);
    assert!(only.files(ToServer).is_empty());
}

fn pieces() -> impl Strategy<Value = Vec<(Direction, Vec<u8>)>> {
    let text = prop_oneof![
        Just(b"USER a\r\n".to_vec()),
        Just(b"PASV\r\nEPSV\n".to_vec()),
        Just(b"RETR x\r\n".to_vec()),
        Just(b"PORT 1,2,3,4,5,6\r\n".to_vec()),
        Just(b"AUTH TLS\r\n".to_vec()),
        Just(b"220-a\r\n220 b\r\n".to_vec()),
        Just(b"227 (1,2,3,4,5,6)\r\n".to_vec()),
        Just(b"234 x\r\n150 y\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let step = (any::<bool>(), text)
        .prop_map(|(server, bytes)| (if server { ToClient } else { ToServer }, bytes));
    proptest::collection::vec(step, 0..20)
}

proptest! {
    #[test]
    fn any_splitting_gives_the_same_transactions(script in pieces(), size in 1usize..9, held: bool) {
        let mut whole = Connection::new(held);
        let mut cut = Connection::new(held);
        for (direction, bytes) in &script {
            whole.feed(*direction, bytes);
            for piece in bytes.chunks(size) {
                cut.feed(*direction, piece);
            }
        }
        let all = |it: &Connection| it.store.iter().map(record).collect::<Vec<_>>();
        prop_assert_eq!(all(&whole), all(&cut));
        prop_assert_eq!(whole.expected, cut.expected);
    }

    #[test]
    fn any_bytes_and_gaps_stay_within_the_bound(script in pieces(), lost in 0u64..50, held: bool) {
        let mut connection = Connection::new(held);
        for (at, (direction, bytes)) in script.iter().enumerate() {
            connection.feed(*direction, bytes);
            if at % 3 == 2 {
                connection.gap(*direction, lost);
            }
        }
        connection.close(ToServer);
        connection.close(ToClient);
        prop_assert!(connection.store.iter().all(|it| it.is_complete()));
        prop_assert!(connection.heap_bytes() < 1 << 20);
    }
}
