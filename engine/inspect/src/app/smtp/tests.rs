use super::*;
use crate::app::Transaction as _;
use proptest::prelude::*;
use Direction::{ToClient, ToServer};

/// Feeds a dialogue: lines that begin with `S: ` are the server's, others the client's, `\n` after each.
fn talk(script: &[(Direction, &[u8])]) -> Connection {
    let mut connection = Connection::new(FileSettings::default());
    for (direction, bytes) in script {
        connection.feed(*direction, bytes);
    }
    connection
}

const OPENING: [(Direction, &[u8]); 6] = [
    (ToClient, b"220-a\r\n220 b ESMTP\r\n"),
    (ToServer, b"EHLO me\r\n"),
    (ToClient, b"250-hi\r\n250-PIPELINING\r\n250 ok\r\n"),
    (ToServer, b"MAIL FROM:<a@b> SIZE=1\r\nRCPT TO: <c@d>\r\n"),
    (ToClient, b"250 ok\r\n250 ok\r\n"),
    (ToServer, b"NOOP\r\n"),
];
const MAIL: &[u8] = b"From: x\r\nContent-Type: a/b; name=f\r\n\r\n..one\r\n.two\r\n.\r\n";

fn events(connection: &Connection) -> Vec<&'static str> {
    let all = connection.store.iter();
    all.flat_map(|mail| mail.head.events.clone()).collect()
}

#[test]
fn reads_a_mail_and_its_file() {
    let mut script = OPENING.to_vec();
    script.push((ToServer, b"DATA\r\n"));
    script.push((ToClient, b"250 ok\r\n354 go\r\n"));
    script.push((ToServer, MAIL));
    let mut connection = talk(&script);
    let mail = connection.store.iter().next().unwrap();
    assert_eq!(mail.helo.as_deref(), Some(&b"me"[..]));
    assert_eq!(mail.mail_from.as_deref(), Some(&b"<a@b>"[..]));
    assert_eq!(mail.rcpt_to, [b"<c@d>"]);
    assert_eq!(mail.files(ToServer)[0].bytes, b".one\r\ntwo");
    assert_eq!(mail.head.stages, [Stage::Complete, Stage::Body]);
    connection.feed(ToClient, b"250 ok\r\n");
    assert!(connection.store.pop_finished().is_some());
    assert!(events(&connection).is_empty());
}

#[test]
fn a_mail_sent_ahead_of_the_reply_is_read() {
    for offered in [false, true] {
        let mut script = OPENING.to_vec();
        if !offered {
            script[2].1 = b"250 ok\r\n";
        }
        let ahead = [b"DATA\r\n", MAIL].concat();
        script.push((ToServer, &ahead));
        script.push((ToClient, b"250 ok\r\n354 go\r\n250 ok\r\n"));
        let connection = talk(&script);
        let mail = connection.store.iter().next().unwrap();
        assert_eq!(mail.files(ToServer)[0].bytes, b".one\r\ntwo");
        assert!(mail.is_complete());
    }
}

#[test]
fn what_follows_a_refused_data_is_commands() {
    let mut script = OPENING.to_vec();
    script[2].1 = b"250 ok\r\n";
    script.push((ToServer, b"DATA\r\nRSET\r\n"));
    script.push((ToClient, b"250 ok\r\n503 no\r\n250 ok\r\n"));
    let connection = talk(&script);
    assert_eq!(
        events(&connection),
        ["invalid_pipelined_sequence", "data_command_rejected"]
    );
    assert!(connection.store.iter().next().unwrap().is_complete());
}

#[test]
fn a_reply_of_whatever_number_answers_its_command() {
    let mut script = OPENING.to_vec();
    script.push((ToServer, b"AUTH PLAIN x\r\n"));
    script.push((ToClient, b"535-5.7.8 not\r\n535 you\r\n"));
    script.push((ToServer, b"DATA\r\n"));
    script.push((ToClient, b"354 go\r\n"));
    script.push((ToServer, MAIL));
    let connection = talk(&script);
    let mail = connection.store.iter().next().unwrap();
    assert_eq!(mail.files(ToServer)[0].bytes, b".one\r\ntwo");
}

#[test]
fn reads_a_mail_in_chunks() {
    let (front, back) = MAIL.split_at(20);
    let mut script = OPENING.to_vec();
    let first = [format!("BDAT {}\r\n", front.len()).as_bytes(), front].concat();
    let second = [
        format!("bdat {} LAST\r\n", back.len()).as_bytes(),
        back,
        b"QUIT\r\n",
    ]
    .concat();
    script.push((ToServer, &first));
    script.push((ToServer, &second));
    let connection = talk(&script);
    let mail = connection.store.iter().next().unwrap();
    assert_eq!(mail.files(ToServer)[0].bytes, b"..one\r\n.two\r\n.");
    assert_eq!(events(&connection), ["bdat_chunk_len_exceeded"]);
}

#[test]
fn starttls_hands_the_connection_over() {
    let mut script = OPENING[..3].to_vec();
    script.push((ToServer, b"STARTTLS\r\n"));
    let mut refused = script.clone();
    script.push((ToClient, b"220 go\r\n"));
    let connection = talk(&script);
    assert!(connection.has_switched());
    assert!(connection.store.iter().all(|mail| mail.is_complete()));
    refused.push((ToClient, b"502 no\r\n"));
    let connection = talk(&refused);
    assert!(!connection.has_switched());
    assert_eq!(events(&connection), ["tls_rejected"]);
}

#[test]
fn says_what_is_odd() {
    let long = [&b"NOOP "[..], &[b'x'; 5000], b"\r\n"].concat();
    let rows: [(&[(Direction, &[u8])], &str); 6] = [
        (&[(ToServer, b"EHLO a\r\n")], "no_server_welcome_message"),
        (
            &[(ToServer, b"EHLO a\r\n"), (ToClient, b"299 x\r\n")],
            "invalid_reply",
        ),
        (
            &[(ToServer, b"EHLO a\r\n"), (ToClient, b"x\r\n")],
            "invalid_reply",
        ),
        (&[(ToServer, b"EHLO a\r\nEHLO b\r\n")], "duplicate_fields"),
        (
            &[(ToServer, b"MAIL FROM:a\r\nMAIL FROM:b\r\n")],
            "duplicate_fields",
        ),
        (&[(ToServer, &long)], "truncated_line"),
    ];
    for (script, event) in rows {
        assert!(events(&talk(script)).contains(&event), "{event}");
    }
}

#[test]
fn a_mail_that_never_ended_is_followed_by_another() {
    let mut script = OPENING.to_vec();
    script.push((ToServer, b"DATA\r\n"));
    script.push((ToClient, b"250 ok\r\n503 no\r\n"));
    script.push((ToServer, b"DATA\r\n"));
    script.push((ToClient, b"354 go\r\n"));
    let mut connection = talk(&script);
    assert_eq!(connection.store.iter().len(), 1);
    connection.feed(ToServer, b"From: a\r\n");
    connection.gap(ToServer, 10);
    connection.feed(ToServer, b"\n.\r\nMAIL FROM:<x>\r\nDATA\r\n");
    assert_eq!(connection.store.iter().len(), 2);
    assert!(events(&connection).contains(&"unparsable_content"));
}

#[test]
fn memory_stays_bounded_whatever_the_client_sends_ahead() {
    let mut connection = Connection::new(FileSettings::default());
    connection.feed(ToServer, b"DATA\r\n");
    for _ in 0..100 {
        connection.feed(ToServer, &[b'x'; 10_000]);
    }
    assert!(connection.is_blind());
    assert!(connection.heap_bytes() < 3 * MAX_EARLY_BYTES);
    let mut connection = Connection::new(FileSettings::default());
    for _ in 0..2 * MAX_WAITING {
        connection.feed(ToServer, b"RCPT TO:<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa>\r\n");
    }
    assert!(connection.waiting.len() <= MAX_WAITING);
    assert!(connection.heap_bytes() < 4 * MAX_RECIPIENT_BYTES);
}

fn outcome(connection: &Connection) -> String {
    let mails = connection.store.iter().map(|mail| {
        let files: Vec<_> = mail
            .files(ToServer)
            .iter()
            .map(|file| file.bytes.clone())
            .collect();
        format!(
            "{:?} {:?} {:?} {:?} {files:?}",
            mail.helo, mail.mail_from, mail.rcpt_to, mail.head.events
        )
    });
    mails.collect::<Vec<_>>().join("\n")
}

fn pieces() -> impl Strategy<Value = Vec<(Direction, Vec<u8>)>> {
    let client = prop_oneof![
        Just(b"EHLO a\r\n".to_vec()),
        Just(b"MAIL FROM:<a> x\r\n".to_vec()),
        Just(b"RCPT TO:<b>\r\n".to_vec()),
        Just(b"DATA\r\n".to_vec()),
        Just(MAIL.to_vec()),
        Just(b"BDAT 9 LAST\r\n".to_vec()),
        Just(b"RSET\r\nSTARTTLS\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let server = prop_oneof![
        Just(b"220 x\r\n".to_vec()),
        Just(b"250-PIPELINING\r\n250 x\r\n".to_vec()),
        Just(b"354 go\r\n".to_vec()),
        Just(b"500 x\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    let both = prop_oneof![
        client.prop_map(|bytes| (ToServer, bytes)),
        server.prop_map(|bytes| (ToClient, bytes)),
    ];
    proptest::collection::vec(both, 0..20)
}

proptest! {
    #[test]
    fn any_splitting_gives_the_same_transactions(script in pieces(), size in 1usize..9) {
        let mut whole = Connection::new(FileSettings::default());
        let mut cut = Connection::new(FileSettings::default());
        for (direction, bytes) in &script {
            whole.feed(*direction, bytes);
            for piece in bytes.chunks(size) {
                cut.feed(*direction, piece);
            }
        }
        prop_assert_eq!(outcome(&whole), outcome(&cut));
    }

    #[test]
    fn any_bytes_and_gaps_stay_within_the_bound(script in pieces(), lost in 0u64..50) {
        let mut connection = Connection::new(FileSettings::default());
        for (at, (direction, bytes)) in script.iter().enumerate() {
            connection.feed(*direction, bytes);
            if at % 3 == 2 {
                connection.gap(*direction, lost);
            }
        }
        connection.close(ToServer);
        connection.close(ToClient);
        prop_assert!(connection.store.iter().all(|mail| mail.is_complete()));
        prop_assert!(connection.heap_bytes() < 1 << 20);
    }
}
