use super::*;
use proptest::prelude::*;
use Direction::{ToClient, ToServer};

const ALL: [&str; 20] = [
    "ctl",
    "stream",
    "request",
    "response",
    "pdu",
    "hdr",
    "data",
    "alert",
    "header",
    "nbss.pdu",
    "nbss.hdr",
    "nbss.data",
    "smb2.pdu",
    "smb2.hdr",
    "smb2.data",
    "request.line",
    "request.headers",
    "request.body",
    "ssl2.hdr",
    "ssl2.pdu",
];

type Seen = Vec<(&'static str, Vec<u8>)>;

/// The frames, whole, that the pieces of one direction make; `None` stands for a gap of three bytes.
fn frames(app: AppProto, direction: Direction, pieces: &[Option<&[u8]>]) -> Seen {
    let mut frames = Frames::new(app, ALL.into_iter().collect());
    let mut seen = Seen::new();
    let mut see = |frame: &mut Frame| {
        assert!(frame.bytes.len() <= MAX_FRAME_BYTES);
        if frame.is_over() {
            seen.push((frame.name, frame.bytes.clone()));
        }
    };
    for piece in pieces {
        match piece {
            Some(bytes) => frames.feed(direction, bytes, &mut see),
            None => frames.gap(direction, 3),
        }
        assert!(frames.heap_bytes() < 8 * (MAX_FRAME_BYTES + MAX_HELD_BYTES));
    }
    frames.close(direction, &mut see);
    seen.sort();
    seen
}

fn named<'a>(seen: &'a Seen, name: &str) -> Vec<&'a [u8]> {
    let all = seen.iter().filter(|it| it.0 == name);
    all.map(|it| &it.1[..]).collect()
}

#[test]
fn records_are_header_and_data() {
    let stream = b"\x16\x03\x01\x00\x02ab\x15\x03\x01\x00\x01c";
    let seen = frames(AppProto::Tls, ToServer, &[Some(stream)]);
    assert_eq!(named(&seen, "data"), [&b"ab"[..], b"c"]);
    assert_eq!(named(&seen, "alert"), [b"c"]);
    assert_eq!(named(&seen, "stream"), [stream]);
    assert_eq!(named(&seen, "pdu").len(), 2);
}

#[test]
fn http_messages_end_where_their_bodies_do() {
    let stream = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n\
POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\nGET /z HTTP/1.0\n\n";
    let seen = frames(AppProto::Http, ToServer, &[Some(stream)]);
    let requests = named(&seen, "request");
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().any(|it| it.ends_with(b"\r\n\r\nabc")));
    assert!(requests.iter().any(|it| it.ends_with(b"xy\r\n0\r\n\r\n")));
    let answer = b"HTTP/1.1 200 OK\r\n\r\nuntil the end";
    let seen = frames(AppProto::Http, ToClient, &[Some(answer)]);
    assert_eq!(named(&seen, "response"), [answer]);
}

#[test]
fn compounds_are_told_apart() {
    let mut first = b"\xfeSMB".to_vec();
    first.resize(64, 1);
    first[20..24].copy_from_slice(&72u32.to_le_bytes());
    first.extend_from_slice(b"12345678");
    let mut second = b"\xfeSMB".to_vec();
    second.resize(64, 0);
    second.extend_from_slice(b"rest");
    let message = [first, second].concat();
    let stream = [&(message.len() as u32).to_be_bytes()[..], &message].concat();
    let seen = frames(AppProto::Smb, ToServer, &[Some(&stream)]);
    assert_eq!(named(&seen, "smb2.data"), [&b"12345678"[..], b"rest"]);
    assert_eq!(named(&seen, "nbss.data"), [message]);
}

#[test]
fn what_follows_a_gap_is_looked_at_by_itself() {
    let pieces: [Option<&[u8]>; 3] = [Some(b"\x30\x08ab"), None, Some(b"xyz\x30\x01q")];
    let seen = frames(AppProto::Mqtt, ToServer, &pieces);
    assert_eq!(named(&seen, "pdu"), [&b"\x30\x01q"[..], b"xyz"]);
}

#[test]
fn a_text_datagram_is_line_headers_and_body() {
    let mut frames = Frames::new(AppProto::Sip, ALL.into_iter().collect());
    let mut seen = Seen::new();
    let message = b"INVITE x\r\nVia: y\r\n\r\nbody";
    frames.datagram(ToServer, message, |frame| {
        seen.push((frame.name, frame.bytes.clone()))
    });
    assert_eq!(named(&seen, "pdu"), [message]);
    assert_eq!(named(&seen, "request.line"), [b"INVITE x\r\n"]);
    assert_eq!(named(&seen, "request.headers"), [b"Via: y\r\n"]);
    assert_eq!(named(&seen, "request.body"), [b"body"]);
}

#[test]
fn commands_lines_and_prompts_are_told_apart() {
    let stream = b"\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0motd\r\nlogin: ";
    let seen = frames(AppProto::Telnet, ToClient, &[Some(stream)]);
    let commands: [&[u8]; 3] = [b"\xff\xf0", b"\xff\xfa\x18\x01", b"\xff\xfd\x18"];
    assert_eq!(named(&seen, "ctl"), commands);
    assert_eq!(named(&seen, "data"), [&b"login: "[..], b"motd\r\n"]);
    assert_eq!(named(&seen, "pdu").len(), 5);
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        Just(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()),
        Just(b"\x16\x03\x01\x00\x02ab".to_vec()),
        Just(b"\x00\x00\x00\x08\xffSMBabcd".to_vec()),
        Just(b"\x30\x02ab".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Those whose framing does not rest on datagrams.
const STREAMED: [AppProto; 7] = [
    AppProto::Http,
    AppProto::Tls,
    AppProto::Smb,
    AppProto::Mqtt,
    AppProto::Dns,
    AppProto::Rfb,
    AppProto::Telnet,
];

proptest! {
    #[test]
    fn any_splitting_gives_the_same_frames(stream in streams(), size in 1usize..9) {
        for app in STREAMED {
            for direction in [ToServer, ToClient] {
                let pieces: Vec<_> = stream.chunks(size).map(Some).collect();
                let whole = frames(app, direction, &[Some(&stream)]);
                prop_assert_eq!(whole, frames(app, direction, &pieces));
            }
        }
    }

    #[test]
    fn any_bytes_and_gaps_stay_within_the_bound(stream in streams(), size in 1usize..30) {
        for app in STREAMED {
            let mut pieces: Vec<_> = stream.chunks(size).map(Some).collect();
            pieces.insert(pieces.len() / 2, None);
            frames(app, ToClient, &pieces);
        }
    }
}

#[test]
fn frames_go_on_with_the_first_message_behind_a_gap() {
    let request = &b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"[..];
    let smb = &b"\0\0\0\x08\xfeSMB1234"[..];
    for (app, name, message) in [
        (AppProto::Http, "request", request),
        (AppProto::Smb, "nbss.pdu", smb),
    ] {
        let pieces = [message, &message[..5], b"the rest of another", message];
        let mut pieces = pieces.map(Some).to_vec();
        pieces.insert(2, None);
        let seen = frames(app, ToServer, &pieces);
        let whole = seen
            .iter()
            .filter(|(it, bytes)| (*it, &bytes[..]) == (name, message));
        assert_eq!(whole.count(), 2, "{name}: {seen:?}");
    }
}
