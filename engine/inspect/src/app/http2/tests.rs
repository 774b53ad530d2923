//! Whole connections.
use proptest::prelude::*;

use super::frame::{flag, kind, PREFACE};
use super::*;
use crate::app::http::{self, Settings};
use crate::app::{AppProto, FileState, Parser, Purpose, Stage, Transaction as _};
use crate::Direction::{self, ToClient, ToServer};

type Steps = Vec<(Direction, Vec<u8>)>;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// A field that is written out and not added to the table.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| {
        u8::try_from(text.len())
            .ok()
            .filter(|it| *it < 127)
            .unwrap()
    };
    let (name_length, value_length) = (length(name), length(value));
    [
        &[0, name_length],
        name.as_bytes(),
        &[value_length],
        value.as_bytes(),
    ]
    .concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| field(name, value))
        .collect()
}

const REQUEST: &[(&str, &str)] = &[
    (":method", "POST"),
    (":path", "/a%2fb"),
    (":authority", "User@Host.example:8080"),
    ("cookie", "a=1"),
    ("cookie", "b=2"),
];
const RESPONSE: &[(&str, &str)] = &[(":status", "200"), ("server", "x")];
const END_BOTH: u8 = flag::END_HEADERS | flag::END_STREAM;

fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, &block(fields))
}

fn begun() -> Vec<u8> {
    [PREFACE, &frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])].concat()
}

/// A POST in two pieces on stream 1, answered behind an interim response, with trailers.
fn exchange() -> Steps {
    let request = block(REQUEST);
    let (front, back) = request.split_at(7);
    let client = [
        begun(),
        frame(kind::HEADERS, 0, 1, front),
        frame(kind::CONTINUATION, flag::END_HEADERS, 1, back),
        frame(kind::DATA, flag::PADDED, 1, b"\x02hel\0\0"),
        frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]),
        frame(kind::DATA, flag::END_STREAM, 1, b"lo"),
    ];
    let server = [
        headers(flag::END_HEADERS, 1, &[(":status", "103"), ("link", "l")]),
        headers(flag::END_HEADERS, 1, RESPONSE),
        frame(kind::DATA, 0, 1, b"answer"),
        headers(END_BOTH, 1, &[("x-trailer", "t")]),
    ];
    vec![(ToServer, client.concat()), (ToClient, server.concat())]
}

fn fed(steps: &[(Direction, Vec<u8>)], piece: usize) -> Connection {
    let mut connection = Connection::new(Settings::default());
    for (direction, bytes) in steps {
        for bytes in bytes.chunks(piece) {
            connection.feed(*direction, bytes);
        }
    }
    connection
}

/// The streams that are open or were not taken yet, in order.
fn streams(connection: &Connection) -> Vec<&Stream> {
    let transactions = connection.transactions();
    let open = transactions.ids().filter_map(|id| transactions.find(id));
    open.map(|it| crate::app::of(it).unwrap()).collect()
}

/// All that a stream shows, as text.
fn shown(stream: &Stream) -> String {
    let mut out = format!("{} {:?}", stream.number, stream.head().events);
    for direction in [ToServer, ToClient] {
        let side = stream.side(direction);
        let fields: Vec<_> = side
            .fields
            .iter()
            .map(|it| format!("{}={}", Bytes(&it.name), Bytes(&it.value)))
            .collect();
        out += &format!(
            " | {:?} {} {} {:?}",
            stream.stage(direction),
            fields.join(","),
            Bytes(&side.body.file.bytes),
            side.windows.0,
        );
    }
    out
}

struct Bytes<'a>(&'a [u8]);

impl std::fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}

#[test]
fn a_stream_is_a_transaction_however_its_bytes_come() {
    let whole = fed(&exchange(), usize::MAX);
    let expected = "1 [] | Complete :method=POST,:path=/a%2fb,:authority=User@Host.example:8080,\
        cookie=a=1,cookie=b=2 hello [9] | Complete :status=103,link=l,:status=200,server=x,x-trailer=t answer []";
    let expected = expected.replace("1 []", "1 [\"userinfo_in_uri\"]");
    assert_eq!(shown(streams(&whole)[1]), expected);
    for piece in 1..60 {
        let pieces = fed(&exchange(), piece);
        let texts = |it: &Connection| streams(it).into_iter().map(shown).collect::<Vec<_>>();
        assert_eq!(texts(&pieces), texts(&whole), "in pieces of {piece}");
    }
}

#[test]
fn the_buffers_of_http_show_a_stream() {
    let connection = fed(&exchange(), usize::MAX);
    let stream = streams(&connection)[1];
    let text = |fill: &dyn Fn(&mut Vec<u8>) -> bool| {
        let mut out = Vec::new();
        fill(&mut out).then(|| String::from_utf8(out).unwrap())
    };
    let (request, response) = (stream.side(ToServer), stream.side(ToClient));
    assert_eq!(
        buffers::uri(stream, 0, &mut Vec::new()),
        Some(&b"/a%2fb"[..])
    );
    assert_eq!(buffers::uri(stream, 1, &mut Vec::new()), Some(&b"/a/b"[..]));
    assert_eq!(buffers::uri(stream, 2, &mut Vec::new()), None);
    assert_eq!(
        buffers::host_raw(stream),
        Some(&b"User@Host.example:8080"[..])
    );
    let rows: [(&dyn Fn(&mut Vec<u8>) -> bool, Option<&str>); 5] = [
        (&|out| buffers::host(stream, out), Some("host.example")),
        (
            &|out| buffers::value(request, "Cookie", out),
            Some("a=1, b=2"),
        ),
        (&|out| buffers::value(request, "accept", out), None),
        (
            &|out| buffers::header_block(response, out),
            Some(":status: 103\r\nlink: l\r\n:status: 200\r\nserver: x\r\nx-trailer: t\r\n"),
        ),
        (
            &|out| buffers::header_names(response, out),
            Some("\r\n:status\r\nlink\r\n:status\r\nserver\r\nx-trailer\r\n\r\n"),
        ),
    ];
    for (fill, expected) in rows {
        assert_eq!(text(fill).as_deref(), expected);
    }
    let line = |direction| {
        let mut out = Vec::new();
        buffers::first_line(stream, direction, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(line(ToServer), "POST /a%2fb HTTP/2\r\n");
    assert_eq!(line(ToClient), "HTTP/2 200\r\n");
    assert_eq!(response.status(), Some(&b"200"[..]));
}

#[test]
fn a_frame_about_the_connection_is_a_transaction_of_its_own() {
    let frames = [
        begun(),
        frame(kind::PING, 0, 0, &[0; 8]),
        frame(kind::SETTINGS, flag::ACK, 0, &[]),
        frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 11]),
        frame(200, 0, 0, b"unknown"),
        frame(kind::WINDOW_UPDATE, 0, 0, &[1]),
    ];
    let connection = fed(&[(ToServer, frames.concat())], usize::MAX);
    let streams = streams(&connection);
    assert_eq!(streams.len(), 4);
    assert!(streams.iter().all(|it| it.is_complete()));
    assert_eq!(streams[0].side(ToServer).settings.as_slice(), [(3, 100)]);
    assert!(streams[1].side(ToServer).has_frame(kind::PING));
    assert_eq!(streams[2].side(ToServer).errors.0.as_slice(), [11]);
    let (_, object) = streams[2].describe(Purpose::Alert).unwrap();
    let shown = serde_json::to_value(object).unwrap();
    assert_eq!(shown["http2"]["request"]["error_code"], "ENHANCEYOURCALM");
    assert!(streams[3].has_event(events::INVALID_FRAME_LENGTH));
    assert!(!connection.is_blind());
}

#[test]
fn a_reset_ends_a_stream_and_a_push_promises_one() {
    let promise = [&[0, 0, 0, 2][..], &block(&[(":path", "/pushed")])].concat();
    let steps = [
        (
            ToServer,
            [begun(), headers(flag::END_HEADERS, 1, REQUEST)].concat(),
        ),
        (
            ToClient,
            frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &promise),
        ),
        (ToClient, headers(END_BOTH, 2, RESPONSE)),
        (ToServer, frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])),
    ];
    let connection = fed(&steps, usize::MAX);
    let streams = streams(&connection);
    assert_eq!(
        shown(streams[2]),
        "2 [] | Complete   [] | Complete :path=/pushed,:status=200,server=x  []"
    );
    assert!(streams[1].is_complete());
    assert_eq!(
        streams[1].side(ToServer).body.file.state,
        FileState::Truncated
    );
}

#[test]
fn a_coded_body_is_shown_decoded_and_as_sent_where_that_fails() {
    let plain = [
        headers(
            flag::END_HEADERS,
            1,
            &[(":status", "200"), ("content-encoding", "gzip")],
        ),
        frame(kind::DATA, flag::END_STREAM, 1, b"no gzip at all"),
    ];
    let connection = fed(
        &[(ToServer, begun()), (ToClient, plain.concat())],
        usize::MAX,
    );
    let stream = streams(&connection)[1];
    assert!(stream.has_event(events::FAILED_DECOMPRESSION));
    let undecoded = stream.undecoded(ToClient).map(|file| file.bytes.as_slice());
    assert_eq!(undecoded, Some(&b"no gzip at all"[..]));
}

#[test]
fn what_no_peer_takes_makes_it_blind() {
    let rows: [(&str, Vec<u8>); 6] = [
        ("preface", b"PRI * HTTP/2.0\r\n\r\nXX".to_vec()),
        ("index", frame(kind::HEADERS, END_BOTH, 1, b"\xff\x7f")),
        (
            "cut field",
            frame(kind::HEADERS, END_BOTH, 1, b"\x00\x05ab"),
        ),
        (
            "interrupted block",
            [
                frame(kind::HEADERS, 0, 1, b""),
                frame(kind::PING, 0, 0, &[0; 8]),
            ]
            .concat(),
        ),
        (
            "continuation of nothing",
            frame(kind::CONTINUATION, 4, 1, b"\x82"),
        ),
        (
            "table",
            frame(kind::HEADERS, END_BOTH, 1, b"\x3f\xe2\xff\x03"),
        ),
    ];
    for (what, bytes) in rows {
        let front = if what == "preface" {
            Vec::new()
        } else {
            begun()
        };
        let connection = fed(&[(ToServer, [front, bytes].concat())], usize::MAX);
        assert!(connection.is_blind(), "{what}");
    }
    assert!(!fed(&exchange(), usize::MAX).is_blind());
}

#[test]
fn a_header_block_is_read_up_to_its_bound() {
    let at = |extra: usize| {
        let value =
            |len: usize| [&[0x00, 1, b'v', 0x7f, 0x81, 0x7d][..], &vec![b'x'; len]].concat();
        // Fields of 6 bytes and 16,128 of value (0x7f + 0x01 + (0x7d << 7)), and what fills the bound up.
        let mut bytes = value(16_128).repeat(6);
        let rest = half::MAX_BLOCK_BYTES + extra - bytes.len();
        for _ in 0..rest / 3 {
            bytes.extend([0x00, 0, 0]);
        }
        bytes.extend(std::iter::repeat_n(0x82, rest % 3));
        let frames: Vec<u8> = bytes
            .chunks(16_000)
            .flat_map(|piece| frame(kind::CONTINUATION, 0, 1, piece))
            .collect();
        let ended = frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[]);
        let first = frame(kind::HEADERS, 0, 1, &[]);
        let settings = Settings {
            header_fields: usize::MAX,
            ..Settings::default()
        };
        let mut connection = Connection::new(settings);
        connection.feed(ToServer, &[begun(), first, frames, ended].concat());
        (
            connection.is_blind(),
            streams(&connection)[1].has_event(events::REASSEMBLY_LIMIT_REACHED),
        )
    };
    assert_eq!(at(0), (false, false));
    assert_eq!(at(1), (true, true));
}

#[test]
fn fields_are_kept_up_to_their_bounds() {
    // An entry of 4,000 bytes, and references to it.
    let large = [&[0x40, 1, b'n', 0x7f, 0xa0, 0x1e][..], &[b'v'; 3999]].concat();
    let references = stream::MAX_FIELD_BYTES / 4000 - 1;
    let at = |count: usize, fields: usize| {
        let settings = Settings {
            header_fields: fields,
            ..Settings::default()
        };
        let mut connection = Connection::new(settings);
        let payload = [large.as_slice(), &vec![0xbe; count]].concat();
        connection.feed(
            ToServer,
            &[begun(), frame(kind::HEADERS, END_BOTH, 1, &payload)].concat(),
        );
        let kept = streams(&connection)[1].side(ToServer).fields.len();
        (connection.is_blind(), kept)
    };
    assert_eq!(at(references, 1024), (false, references + 1));
    assert_eq!(at(references + 1, 1024), (true, references + 1));
    assert_eq!(at(9, 10), (false, 10));
    assert_eq!(at(10, 10), (true, 10));
}

#[test]
fn streams_are_followed_up_to_their_bound() {
    let open = |count: usize| {
        let mut connection = fed(&[(ToServer, begun())], usize::MAX);
        while connection.transactions_mut().pop_finished().is_some() {}
        for at in 0..count {
            connection.feed(ToServer, &headers(END_BOTH, 2 * at as u32 + 1, REQUEST));
        }
        connection
    };
    assert!(!open(streams::MAX_STREAMS).is_blind());
    let over = open(streams::MAX_STREAMS + 1);
    assert!(over.is_blind());
    assert!(streams(&over)
        .last()
        .unwrap()
        .has_event(events::TOO_MANY_STREAMS));
    // Those that end make room, in whatever order they do.
    let mut connection = open(streams::MAX_STREAMS);
    connection.feed(ToClient, &headers(END_BOTH, 5, RESPONSE));
    assert!(connection.transactions_mut().pop_finished().is_some());
    connection.feed(ToServer, &headers(END_BOTH, 9999, REQUEST));
    assert!(!connection.is_blind());
}

#[test]
fn only_what_a_call_changed_is_looked_at() {
    let mut connection = fed(&[(ToServer, begun())], usize::MAX);
    for stream in [1, 3, 5] {
        connection.feed(ToServer, &headers(flag::END_HEADERS, stream, REQUEST));
    }
    let ids = connection.transactions().ids();
    for id in ids {
        connection.transactions_mut().changed(id);
    }
    let both = [frame(kind::DATA, 0, 1, b"x"), frame(kind::DATA, 0, 5, b"x")].concat();
    let touched = connection.feed(ToServer, &both);
    assert_eq!(touched, 1..4);
    let changed = touched.filter(|id| connection.transactions_mut().changed(*id).is_some());
    assert_eq!(changed.collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn bodies_of_one_connection_are_bounded_together() {
    let mut connection = fed(&[(ToServer, begun())], usize::MAX);
    let piece = vec![b'x'; 1 << 20];
    let streams_filled = streams::MAX_KEPT_BYTES / piece.len();
    for at in 0..streams_filled as u32 + 1 {
        assert!(!connection.is_blind(), "after {at}");
        connection.feed(ToServer, &headers(flag::END_HEADERS, 2 * at + 1, REQUEST));
        connection.feed(ToServer, &frame(kind::DATA, 0, 2 * at + 1, &piece));
    }
    let last = 2 * streams_filled as u32 + 1;
    connection.feed(ToServer, &frame(kind::DATA, 0, last, &piece));
    assert!(connection.is_blind());
    assert!(connection.heap_bytes() < 2 * streams::MAX_KEPT_BYTES);
}

#[test]
fn a_gap_within_data_is_skipped_and_any_other_ends_that_direction() {
    let begin = [begun(), headers(flag::END_HEADERS, 1, REQUEST)].concat();
    let mut connection = fed(&[(ToServer, begin)], usize::MAX);
    let data = frame(kind::DATA, flag::END_STREAM, 1, b"0123456789");
    connection.feed(ToServer, &data[..12]);
    connection.gap(ToServer, 7);
    let side = streams(&connection)[1].side(ToServer);
    assert_eq!(
        (side.body.file.bytes.as_slice(), side.body.file.lost),
        (&b"012"[..], 7)
    );
    assert_eq!(streams(&connection)[1].stage(ToServer), Stage::Complete);
    connection.gap(ToServer, 1);
    connection.feed(ToServer, &headers(END_BOTH, 3, REQUEST));
    assert_eq!(streams(&connection).len(), 2);
    assert_eq!(connection.skippable(ToServer), u64::MAX);
}

#[test]
fn a_body_past_its_depth_can_be_skipped_frame_by_frame() {
    let settings = Settings {
        request_depth_bytes: 4,
        ..Settings::default()
    };
    let mut connection = Connection::new(settings);
    let data = frame(kind::DATA, 0, 1, b"0123456789");
    let begin = [
        begun(),
        headers(flag::END_HEADERS, 1, REQUEST),
        data[..15].to_vec(),
    ]
    .concat();
    connection.feed(ToServer, &begin);
    assert_eq!(connection.skippable(ToServer), 4);
    connection.gap(ToServer, 4);
    connection.feed(ToServer, &headers(END_BOTH, 3, REQUEST));
    assert_eq!(streams(&connection).len(), 3);
    assert_eq!(streams(&connection)[1].side(ToServer).body.file.lost, 0);
}

const OFFER: &[u8] =
    b"GET /up HTTP/1.1\r\nHost: a.b\r\nUser-Agent: u\r\nConnection: Upgrade, HTTP2-Settings\r\n\
    Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
const AGREED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

#[test]
fn an_upgrade_goes_on_with_the_request_it_was_made_in() {
    let mut first = http::Connection::new(Settings::default());
    Parser::feed(&mut first, ToServer, OFFER);
    let behind = headers(END_BOTH, 1, RESPONSE);
    Parser::feed(&mut first, ToClient, &[AGREED, &behind].concat());
    assert_eq!(Parser::unread(&first), behind.len());
    let (app, mut second) = first.successor().unwrap();
    assert_eq!(app, AppProto::Http2);
    second.feed(ToClient, &behind);
    // The client's side of what was opened is looked at with the client's next bytes.
    assert_eq!(second.feed(ToServer, PREFACE), 0..2);
    let find = |id| crate::app::of::<Stream>(second.transactions().find(id).unwrap()).unwrap();
    assert_eq!(
        shown(find(0)),
        "1 [] | Complete :method=GET,:path=/up,:authority=a.b,User-Agent=u,\
            Connection=Upgrade, HTTP2-Settings,Upgrade=h2c  [] | Complete :status=200,server=x  []"
    );
    assert_eq!(
        find(1).side(ToServer).settings.as_slice(),
        [(3, 100), (4, 65535)]
    );
}

#[test]
fn a_preface_before_the_answer_to_an_upgrade_waits_for_it() {
    let early = [begun(), headers(END_BOTH, 3, REQUEST)].concat();
    let offered = || {
        let mut first = http::Connection::new(Settings::default());
        Parser::feed(&mut first, ToServer, OFFER);
        Parser::feed(&mut first, ToServer, &early);
        assert!(Parser::is_blind(&first));
        first
    };
    let mut agreed = offered();
    Parser::feed(&mut agreed, ToClient, AGREED);
    let (_, second) = agreed.successor().unwrap();
    let last = second.transactions().find(3).unwrap();
    assert_eq!(crate::app::of::<Stream>(last).unwrap().number, 3);
    let mut refused = offered();
    Parser::feed(
        &mut refused,
        ToClient,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(refused.successor().is_none());
    assert_eq!(refused.transaction(1).unwrap().request.method, b"PRI");
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        frames in prop::collection::vec((0_u8..11, any::<u8>(), 0_u32..6, prop::collection::vec(any::<u8>(), 0..30)), 0..20),
        piece in 1_usize..20,
    ) {
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload))
            .collect();
        let steps = vec![(ToServer, [PREFACE, &bytes].concat()), (ToClient, bytes)];
        let (whole, pieces) = (fed(&steps, usize::MAX), fed(&steps, piece));
        let texts = |it: &Connection| streams(it).into_iter().map(shown).collect::<Vec<_>>();
        prop_assert_eq!(texts(&whole), texts(&pieces));
        prop_assert_eq!(whole.is_blind(), pieces.is_blind());
    }
}
