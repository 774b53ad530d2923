//! HTTP connections as dialogues: what the parser makes of them, in one piece and in every two.

use std::io::Write;

use inspect::app::http::{Connection, Headers, HttpEvent, Progress, Settings, Transaction};
use inspect::app::{Parser as _, Transaction as _};
use inspect::Direction::{self, ToClient, ToServer};

type Dialogue<'a> = &'a [(Direction, &'a [u8])];

fn play(dialogue: Dialogue<'_>) -> Connection {
    let mut connection = Connection::new(Settings::default());
    for (direction, bytes) in dialogue {
        connection.feed(*direction, bytes);
    }
    connection
}

fn play_and_close(dialogue: Dialogue<'_>) -> Connection {
    let mut connection = play(dialogue);
    connection.close(ToServer);
    connection.close(ToClient);
    connection
}

/// A transaction as text, detection's memory left out.
fn shown(transaction: &Transaction) -> String {
    let fields = |headers: &Headers| {
        let rows = headers
            .fields()
            .iter()
            .map(|f| format!("{}={}", f.name.escape_ascii(), f.value.escape_ascii()));
        rows.collect::<Vec<_>>().join("|")
    };
    let Transaction {
        request, response, ..
    } = transaction;
    format!(
        "#{} {:?} {} {} {} host={} [{}] body={}/{} -> {:?} {} {} {} [{}] [{}] body={}/{} {:?}",
        transaction.head.id,
        request.progress,
        request.line.escape_ascii(),
        request.method.escape_ascii(),
        request.uri.escape_ascii(),
        request.host.escape_ascii(),
        fields(&request.headers),
        request.body.file.bytes.escape_ascii(),
        request.body.file.seen,
        response.progress,
        response.line.escape_ascii(),
        response.status.escape_ascii(),
        response.reason.escape_ascii(),
        fields(&response.headers),
        fields(&response.trailers),
        response.body.file.bytes.escape_ascii(),
        response.body.file.seen,
        transaction.events.iter().collect::<Vec<_>>(),
    )
}

fn all_shown(connection: &Connection) -> Vec<String> {
    connection.transactions().map(shown).collect()
}

fn only(connection: &Connection) -> &Transaction {
    assert_eq!(
        connection.transactions().len(),
        1,
        "{:#?}",
        all_shown(connection)
    );
    connection.transactions().next().unwrap()
}

fn events(transaction: &Transaction) -> Vec<HttpEvent> {
    transaction.events.iter().collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A 200 with these header lines and body, and a Content-Length.
fn answer(lines: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\n{lines}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: Example.com:8080\r\nUser-Agent: x\r\n\r\n";

#[test]
fn reads_a_request_and_its_response() {
    let connection = play(&[
        (ToServer, GET),
        (
            ToClient,
            b"HTTP/1.1 200 Very OK\r\nContent-Length: 5\r\n\r\nhello",
        ),
    ]);
    let tx = only(&connection);
    assert_eq!(tx.request.method, b"GET");
    assert_eq!(tx.request.uri, b"/a?b=c");
    assert_eq!(tx.request.protocol, b"HTTP/1.1");
    assert_eq!(tx.request.host, b"example.com");
    assert_eq!(tx.request.host_raw, b"Example.com:8080");
    assert_eq!(tx.request.port, Some(8080));
    assert_eq!(
        tx.request.headers.raw,
        b"Host: Example.com:8080\r\nUser-Agent: x\r\n\r\n"
    );
    assert_eq!(
        (tx.response.status.as_slice(), tx.response.reason.as_slice()),
        (&b"200"[..], &b"Very OK"[..])
    );
    assert_eq!(tx.response.body.file.bytes, b"hello");
    assert!(tx.is_complete() && tx.events.is_empty());
}

#[test]
fn says_which_transactions_changed() {
    let mut connection = Connection::new(Settings::default());
    assert_eq!(connection.feed(ToServer, GET), 0..1);
    assert_eq!(connection.feed(ToServer, &[GET, GET].concat()), 1..3);
    assert!(connection.feed(ToServer, b"GE").is_empty());
    assert_eq!(
        connection.feed(ToClient, &[answer("", b"x"), answer("", b"y")].concat()),
        0..2
    );
    assert_eq!(connection.pop_finished().map(|tx| tx.head.id), Some(0));
    assert_eq!(connection.pop_finished().map(|tx| tx.head.id), Some(1));
    assert!(connection.pop_finished().is_none());
    assert_eq!(
        connection.transaction(2).map(|tx| tx.request.progress),
        Some(Progress::Complete)
    );
    assert!(connection.transaction(1).is_none());
}

/// Dialogues that are good, or odd in a way whose reading must not depend on segmentation.
fn dialogues() -> Vec<Vec<(Direction, Vec<u8>)>> {
    let to_server = |bytes: &[u8]| (ToServer, bytes.to_vec());
    let to_client = |bytes: &[u8]| (ToClient, bytes.to_vec());
    vec![
        vec![to_server(GET), to_client(&answer("", b"hello"))],
        vec![
            to_server(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na=b&cGET / HTTP/1.1\nHost: b\n\n"),
            to_client(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
            to_client(b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"),
        ],
        vec![
            to_server(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0006\r\n world\n0\r\nX: y\r\n\r\n"),
            to_client(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz"),
        ],
        vec![to_server(GET), to_client(&answer("Content-Encoding: gzip\r\n", &gzip(b"compressed, and compressed")))],
        vec![to_server(GET), to_client(&answer("Content-Encoding: deflate\r\n", &zlib(b"compressed, and compressed")))],
        vec![to_server(GET), to_client(&answer("Content-Encoding: gzip\r\n", b"plainly not compressed"))],
        vec![to_server(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")],
        vec![
            to_server(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03\x01 tunnelled"),
            to_client(b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03 tunnelled"),
        ],
        vec![
            to_server(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"),
            to_client(b"HTTP/1.1 407 Auth\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"),
        ],
        vec![
            to_server(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
            to_client(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"),
        ],
        vec![to_server(b"\r\n  GET\t/x\\..\\y   HTTP/1.0 \r\nA: b\r\n  folded\r\nno colon\r\nB : c\r\n\r\n"), to_client(b"\r\nHTTP/1.0 200 OK\r\n\r\nuntil close")],
        vec![to_server(GET), to_client(b"HTTP/1.1 200 OK\rA: b\n\rContent-Length: 3\r\r\n\r\nabc")],
        vec![to_server(GET), to_client(b"HTTP/1.1 200 OK\r\nA: b\r\n \nabc")],
        vec![to_server(b"GET /old\r\n"), to_client(b"Hello\nHTTP/1.1 is not spoken here\n")],
    ]
}

#[test]
fn every_split_reads_the_same() {
    for dialogue in dialogues() {
        let whole: Vec<_> = dialogue
            .iter()
            .map(|(direction, bytes)| (*direction, bytes.as_slice()))
            .collect();
        let wanted = all_shown(&play_and_close(&whole));
        for (turn, (_, bytes)) in dialogue.iter().enumerate() {
            for at in 0..=bytes.len() {
                let mut split = whole.clone();
                split[turn].1 = &bytes[..at];
                split.insert(turn + 1, (split[turn].0, &bytes[at..]));
                assert_eq!(
                    all_shown(&play_and_close(&split)),
                    wanted,
                    "turn {turn} split at {at}"
                );
            }
        }
        let single: Vec<_> = whole
            .iter()
            .flat_map(|(way, bytes)| bytes.chunks(1).map(move |byte| (*way, byte)))
            .collect();
        assert_eq!(all_shown(&play_and_close(&single)), wanted, "byte by byte");
    }
}

#[test]
fn every_prefix_ends_without_open_ends() {
    for dialogue in dialogues() {
        for turn in 0..dialogue.len() {
            for at in 0..dialogue[turn].1.len() {
                let mut prefix: Vec<_> = dialogue[..turn]
                    .iter()
                    .map(|(way, bytes)| (*way, bytes.as_slice()))
                    .collect();
                prefix.push((dialogue[turn].0, &dialogue[turn].1[..at]));
                let mut connection = play_and_close(&prefix);
                while connection.pop_finished().is_some() {}
                assert_eq!(
                    connection.transactions().len(),
                    0,
                    "{:#?}",
                    all_shown(&connection)
                );
            }
        }
    }
}

#[test]
fn request_lines_are_read_as_servers_read_them() {
    use HttpEvent::*;
    // line, method, target, protocol, events
    type Row<'a> = (&'a [u8], &'a str, &'a str, &'a str, &'a [HttpEvent]);
    let rows: &[Row<'_>] = &[
        (b"GET / HTTP/1.0", "GET", "/", "HTTP/1.0", &[]),
        (
            b"  GET / HTTP/1.0",
            "GET",
            "/",
            "HTTP/1.0",
            &[RequestLineLeadingWhitespace],
        ),
        (
            b"GET\t/ HTTP/1.0",
            "GET",
            "/",
            "HTTP/1.0",
            &[MethodDelimNonCompliant],
        ),
        (
            b"GET /\tHTTP/1.0",
            "GET",
            "/",
            "HTTP/1.0",
            &[UriDelimNonCompliant],
        ),
        (
            b"GET /a\tb HTTP/1.0",
            "GET",
            "/a\tb",
            "HTTP/1.0",
            &[UriDelimNonCompliant],
        ),
        (b"GET /a b HTTP/1.0", "GET", "/a", "b HTTP/1.0", &[]),
        (b"FROB    /x   HTTP/1.0", "FROB", "/x", "HTTP/1.0", &[]),
        (
            b"GET http://u@Host.:81/x HTTP/1.0",
            "GET",
            "http://u@Host.:81/x",
            "HTTP/1.0",
            &[],
        ),
        (b"GET /x\0y HTTP/1.0", "GET", "/x\0y", "HTTP/1.0", &[]),
    ];
    for (line, method, target, protocol, wanted) in rows {
        let connection = play(&[(ToServer, &[line, &b"\r\n\r\n"[..]].concat())]);
        let tx = only(&connection);
        assert_eq!(tx.request.line, *line);
        assert_eq!(tx.request.method, method.as_bytes());
        assert_eq!(tx.request.uri_raw, target.as_bytes());
        assert_eq!(tx.request.protocol, protocol.as_bytes());
        assert_eq!(events(tx), *wanted, "{}", line.escape_ascii());
    }
}

#[test]
fn hosts_come_from_the_target_or_else_the_header() {
    use HttpEvent::*;
    let rows: &[(&str, &str, Option<u16>, &[HttpEvent])] = &[
        ("GET / HTTP/1.1\r\nHost: A.b\r\n\r\n", "a.b", None, &[]),
        ("GET / HTTP/1.1\r\n\r\n", "", None, &[MissingHostHeader]),
        ("GET / HTTP/1.0\r\n\r\n", "", None, &[]),
        (
            "GET http://A.b.:81/ HTTP/1.1\r\nHost: a.b:81\r\n\r\n",
            "a.b",
            Some(81),
            &[],
        ),
        (
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            "a",
            None,
            &[HostHeaderAmbiguous],
        ),
        (
            "GET http://u:p@[::1]:81/ HTTP/1.1\r\nHost: [::1]:81\r\n\r\n",
            "[::1]",
            Some(81),
            &[],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "a, b",
            None,
            &[RequestHeaderHostInvalid],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n",
            "a",
            None,
            &[InvalidServerPortInRequest, RequestHeaderHostInvalid],
        ),
        (
            "GET / HTTP/1.1\r\nHost: ${jndi}\r\n\r\n",
            "${jndi}",
            None,
            &[RequestHeaderHostInvalid],
        ),
    ];
    for (request, host, port, wanted) in rows {
        let connection = play(&[(ToServer, request.as_bytes())]);
        let tx = only(&connection);
        assert_eq!(
            (tx.request.host.as_slice(), tx.request.port),
            (host.as_bytes(), *port),
            "{request:?}"
        );
        assert_eq!(events(tx), *wanted, "{request:?}");
    }
}

#[test]
fn http_0_9_is_one_line_and_a_body() {
    let connection = play_and_close(&[(ToServer, b"GET /old\r\n"), (ToClient, b"<p>hello")]);
    let tx = only(&connection);
    assert_eq!(
        (
            tx.request.uri.as_slice(),
            tx.response.body.file.bytes.as_slice()
        ),
        (&b"/old"[..], &b"<p>hello"[..])
    );
    assert!(tx.request.protocol.is_empty() && tx.events.is_empty());

    let connection = play(&[(ToServer, b"GET /x\r\nHost: a\r\n\r\n")]);
    assert_eq!(
        events(only(&connection)),
        [HttpEvent::RequestLineMissingProtocol]
    );
    assert_eq!(only(&connection).request.host, b"a");
}

#[test]
fn contradicting_lengths_are_events_and_the_first_one_counts() {
    let connection = play(&[
        (
            ToServer,
            b"POST / HTTP/1.0\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
        ),
        (
            ToClient,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\nok",
        ),
    ]);
    let tx = only(&connection);
    assert_eq!(
        (
            tx.request.body.file.bytes.as_slice(),
            tx.response.body.file.bytes.as_slice()
        ),
        (&b"abc"[..], &b"ok"[..])
    );
    assert!(tx.is_complete());
    use HttpEvent::*;
    assert_eq!(
        events(tx),
        [
            DuplicateContentLengthFieldInRequest,
            DuplicateContentLengthFieldInResponse
        ]
    );
}

#[test]
fn what_has_no_understandable_length_is_still_seen() {
    let connection = play_and_close(&[
        (
            ToServer,
            b"POST / HTTP/1.0\r\nContent-Length: x\r\n\r\nattack",
        ),
        (
            ToClient,
            b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nanswer",
        ),
    ]);
    let tx = only(&connection);
    assert_eq!(
        (
            tx.request.body.file.bytes.as_slice(),
            tx.response.body.file.bytes.as_slice()
        ),
        (&b"attack"[..], &b"answer"[..])
    );
    use HttpEvent::*;
    assert_eq!(
        events(tx),
        [
            InvalidContentLengthFieldInRequest,
            InvalidContentLengthFieldInResponse
        ]
    );
}

#[test]
fn chunked_beats_content_length_and_bad_chunks_end_the_framing() {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let connection = play(&[(ToServer, request)]);
    assert_eq!(only(&connection).request.body.file.bytes, b"ab");
    assert_eq!(only(&connection).request.progress, Progress::Complete);

    for (chunks, body, bad) in [
        (
            &b"2\r\nab\r\nzz\r\nattack"[..],
            &b"abzz\r\nattack"[..],
            true,
        ),
        (b"ffffffff\r\nattack", b"ffffffff\r\nattack", true),
        (b"-1\r\nattack", b"-1\r\nattack", true),
        (b" \t2 junk\r\nab\r\n0\r\n\r\n", b"ab", false),
        (b"\r\n\n2\nab\n0\n\n", b"ab", false),
    ] {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let connection =
            play_and_close(&[(ToServer, GET), (ToClient, &[&head[..], chunks].concat())]);
        let tx = only(&connection);
        assert_eq!(
            tx.response.body.file.bytes.escape_ascii().to_string(),
            body.escape_ascii().to_string()
        );
        assert_eq!(tx.events.contains(HttpEvent::InvalidResponseChunkLen), bad);
    }
}

#[test]
fn codings_are_undone_whatever_they_are_called() {
    let text = b"a body, a body, a body, a body".as_slice();
    let mut brotli = Vec::new();
    // An uncompressed brotli meta-block: window 16, one block of `text`, then the empty last one (RFC 7932, 9).
    let length = text.len() as u32 - 1;
    let header = length << 4 | 1 << 20;
    brotli.extend_from_slice(&header.to_le_bytes()[..3]);
    brotli.extend_from_slice(text);
    brotli.push(0x03);
    let rows: &[(&str, Vec<u8>)] = &[
        ("gzip", gzip(text)),
        ("GZip", gzip(text)),
        ("x-gzip", gzip(text)),
        ("gzip", zlib(text)),
        ("gzip", deflate(text)),
        ("deflate", deflate(text)),
        ("deflate", zlib(text)),
        ("deflate", gzip(text)),
        ("gzip, gzip", gzip(&gzip(text))),
        ("deflate, gzip", gzip(&deflate(text))),
        ("gzip", text.to_vec()),
        ("identity", text.to_vec()),
        ("br", brotli),
        ("gzip", [gzip(&text[..10]), gzip(&text[10..])].concat()),
    ];
    for (name, coded) in rows {
        let connection = play(&[
            (ToServer, GET),
            (
                ToClient,
                &answer(&format!("Content-Encoding: {name}\r\n"), coded),
            ),
        ]);
        let body = &only(&connection).response.body;
        assert_eq!(
            body.file.bytes.escape_ascii().to_string(),
            text.escape_ascii().to_string(),
            "{name}"
        );
        assert_eq!(body.coded, coded.len() as u64);
    }
}

#[test]
fn a_request_body_is_decoded_when_it_says_so() {
    let coded = gzip(b"attack");
    let head = format!(
        "POST / HTTP/1.0\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        coded.len()
    );
    let connection = play(&[(ToServer, &[head.as_bytes(), &coded].concat())]);
    assert_eq!(only(&connection).request.body.file.bytes, b"attack");
}

#[test]
fn a_cut_or_broken_gzip_body_shows_what_it_held() {
    let whole = gzip(&[&b"attack"[..], &b"filler ".repeat(500)].concat());
    let cut = &whole[..whole.len() - 12];
    let connection = play_and_close(&[
        (ToServer, GET),
        (ToClient, &answer("Content-Encoding: gzip\r\n", cut)),
    ]);
    assert!(only(&connection)
        .response
        .body
        .file
        .bytes
        .starts_with(b"attack"));
}

#[test]
fn too_many_layers_and_unknown_codings_are_events() {
    let triple = gzip(&gzip(&gzip(b"x")));
    let connection = play(&[
        (ToServer, GET),
        (
            ToClient,
            &answer("Content-Encoding: gzip, gzip, gzip\r\n", &triple),
        ),
    ]);
    assert_eq!(
        events(only(&connection)),
        [HttpEvent::TooManyEncodingLayers]
    );
    let connection = play(&[
        (ToServer, GET),
        (ToClient, &answer("Content-Encoding: frob\r\n", b"x")),
    ]);
    assert_eq!(events(only(&connection)), [HttpEvent::AbnormalCeHeader]);
}

fn brotli_of_zeros() -> Vec<u8> {
    const PIECES: [&str; 3] = [
        "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200dd",
        "fb3ffeffffc13f0110870500baf77ffcffff837f02200e0b0074effff8ffff07ff04401c1600",
        "e8defff1ffff0ffe0980382c00d0bdffe3ffff1ffc1300715800a07bff37",
    ];
    let digits = PIECES.concat();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn bombs_are_bounded_in_memory_and_work() {
    let settings = Settings {
        response_depth_bytes: 8 << 20,
        ..Settings::default()
    };
    let single = gzip(&vec![0; 64 << 20]);
    let double = gzip(&single);
    // One byte, then empty stored blocks: a layer that produces nothing from much.
    let idle = gzip(
        &[
            &b"\x00\x01\x00\xfe\xffA"[..],
            &b"\x00\x00\x00\xff\xff".repeat(8 << 20),
        ]
        .concat(),
    );
    // 64 MiB of zeros.
    let brotli = brotli_of_zeros();
    for (name, coded) in [
        ("gzip", &single),
        ("gzip, gzip", &double),
        ("deflate, gzip", &idle),
        ("br", &brotli),
        ("br, gzip", &gzip(&brotli)),
    ] {
        let mut connection = Connection::new(settings.clone());
        connection.feed(ToServer, GET);
        for piece in answer(&format!("Content-Encoding: {name}\r\n"), coded).chunks(1400) {
            connection.feed(ToClient, piece);
        }
        let tx = only(&connection);
        assert!(tx.response.body.file.bytes.len() <= settings.response_depth_bytes);
        assert!(connection.heap_bytes() <= 2 * settings.response_depth_bytes + (1 << 20));
        assert!(
            name == "gzip" || tx.events.contains(HttpEvent::CompressionBomb),
            "{name}"
        );
        assert!(tx.is_complete());
    }
}

#[test]
fn keeps_each_body_up_to_the_depth_and_counts_the_rest() {
    let settings = Settings {
        request_depth_bytes: 4,
        ..Settings::default()
    };
    let mut connection = Connection::new(settings);
    connection.feed(
        ToServer,
        b"POST / HTTP/1.0\r\nContent-Length: 10\r\n\r\n012",
    );
    assert_eq!(connection.skippable(ToServer), 0);
    connection.feed(ToServer, b"345");
    assert_eq!(connection.skippable(ToServer), 4);
    connection.gap(ToServer, 4);
    let body = &only(&connection).request.body;
    assert_eq!(
        (
            body.file.bytes.as_slice(),
            body.file.seen,
            body.coded,
            body.file.lost
        ),
        (&b"0123"[..], 10, 10, 0)
    );
    assert_eq!(only(&connection).request.progress, Progress::Complete);
    connection.feed(ToServer, b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(
        connection.transaction(1).unwrap().request.body.file.bytes,
        b"ab"
    );
}

#[test]
fn a_gap_in_a_body_loses_only_itself() {
    let mut connection = play(&[
        (ToServer, GET),
        (ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"),
    ]);
    assert_eq!(connection.gap(ToClient, 5), 0..1);
    connection.feed(ToClient, b"xyz");
    let body = &only(&connection).response.body;
    assert_eq!(
        (body.file.bytes.as_slice(), body.file.lost),
        (&b"abxyz"[..], 5)
    );
    assert!(only(&connection).is_complete());
}

#[test]
fn a_gap_between_messages_is_survived() {
    let mut connection = play(&[(ToServer, b"GET /a HTTP/1.1\r\nHo")]);
    connection.gap(ToServer, 100);
    connection.feed(ToServer, b"the middle of something\r\n");
    connection.feed(ToServer, b"GET /b HTTP/1.1\r\nHost: b\r\n\r\n");
    let uris: Vec<_> = connection
        .transactions()
        .map(|tx| tx.request.uri.clone())
        .collect();
    assert_eq!(uris, [b"/a", b"/b"]);
    assert!(connection
        .transaction(0)
        .unwrap()
        .events
        .contains(HttpEvent::LostInGap));
}

#[test]
fn a_response_nobody_asked_for_is_looked_at() {
    let connection = play(&[(ToClient, &answer("Server: x\r\n", b"hello"))]);
    let tx = only(&connection);
    assert_eq!(events(tx), [HttpEvent::UnableToMatchResponseToRequest]);
    assert_eq!(tx.request.uri, b"/libhtp::request_uri_not_seen");
    assert_eq!(tx.response.body.file.bytes, b"hello");
    assert!(tx.is_complete());
}

#[test]
fn bytes_behind_a_message_are_its_body_unless_they_begin_another() {
    let connection = play_and_close(&[
        (ToServer, GET),
        (
            ToClient,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore",
        ),
    ]);
    assert_eq!(only(&connection).response.body.file.bytes, b"okmore");
    let connection = play_and_close(&[(ToServer, b"POST / HTTP/1.0\r\n\r\na=attack\r\n")]);
    assert_eq!(only(&connection).request.body.file.bytes, b"a=attack\r\n");
    assert_eq!(
        events(only(&connection)),
        [HttpEvent::RequestBodyUnexpected]
    );
    let connection = play_and_close(&[(ToServer, GET), (ToClient, b"just a body\nof two lines")]);
    assert_eq!(
        only(&connection).response.body.file.bytes,
        b"just a body\nof two lines"
    );
}

#[test]
fn a_304_with_a_length_does_not_swallow_the_next_response() {
    let responses = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let connection = play(&[(ToServer, &[GET, GET].concat()), (ToClient, responses)]);
    let statuses: Vec<_> = connection
        .transactions()
        .map(|tx| tx.response.status.clone())
        .collect();
    assert_eq!(statuses, [b"304", b"200"]);
}

#[test]
fn a_tunnel_is_not_read() {
    let connection = play(&[
        (ToServer, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        (ToClient, b"HTTP/1.1 200 OK\r\n\r\n"),
        (ToServer, b"GET / HTTP/1.1\r\n\r\n"),
    ]);
    assert_eq!(only(&connection).request.host, b"a");
    assert!(
        connection.has_switched()
            && connection.is_opaque(ToServer)
            && connection.is_opaque(ToClient)
    );
    assert_eq!(connection.skippable(ToServer), u64::MAX);
}

#[test]
fn an_overlong_field_is_cut_and_hides_nothing() {
    let long = "x".repeat(100_000);
    let request = format!("GET /{long} HTTP/1.1\r\nHost: a\r\nLong: {long}\r\nContent-Length: 3\r\n\r\nabcGET /next HTTP/1.0\r\n\r\n");
    let connection = play(&[(ToServer, request.as_bytes())]);
    let tx = connection.transaction(0).unwrap();
    assert!(tx.events.contains(HttpEvent::RequestFieldTooLong));
    assert_eq!(
        connection.transactions().len(),
        2,
        "{:?}",
        connection
            .transactions()
            .map(|t| &t.request.method)
            .collect::<Vec<_>>()
    );
    assert_eq!(connection.transaction(1).unwrap().request.uri, b"/next");
    assert!(connection.heap_bytes() < 200_000);
}

#[test]
fn too_many_open_transactions_are_an_event_and_the_end() {
    let mut connection = Connection::new(Settings::default());
    for _ in 0..20 {
        connection.feed(ToServer, &GET.repeat(50));
    }
    assert_eq!(connection.transactions().len(), 512);
    assert!(connection.has_overflowed() && connection.is_opaque(ToServer));
    assert!(connection
        .transactions()
        .next_back()
        .unwrap()
        .events
        .contains(HttpEvent::TooManyTransactions));
}

/// The body as its buffers show it: decoded, and as sent.
fn readings(coding: &str, body: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut connection = Connection::new(Settings::default());
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.feed(ToServer, head.as_bytes());
    connection.feed(ToServer, body);
    let body = &only(&connection).request.body;
    let undecoded = body.undecoded.as_ref().map(|file| file.bytes.clone());
    (body.file.bytes.clone(), undecoded)
}

#[test]
fn a_body_that_is_not_coded_as_it_says_is_seen_as_sent() {
    for coding in ["gzip", "deflate", "br", "gzip, br", "x-gzip"] {
        for text in [
            &b"{\"attack\": 1, \"more\": \"text\"}"[..],
            b"<?php system('id');",
            b"a=b&c=d",
        ] {
            let (_, undecoded) = readings(coding, text);
            assert_eq!(undecoded.as_deref(), Some(text), "{coding}");
        }
    }
}

#[test]
fn a_body_coded_as_it_says_is_seen_decoded_only() {
    assert_eq!(
        readings("gzip", &gzip(b"attack")),
        (b"attack".to_vec(), None)
    );
    assert_eq!(
        readings("unheard-of", b"attack"),
        (b"attack".to_vec(), None)
    );
}

#[test]
fn bytes_behind_a_coded_body_s_end_are_seen_both_ways() {
    let body = [gzip(b"harmless"), b"attack".to_vec()].concat();
    let (decoded, undecoded) = readings("gzip", &body);
    assert_eq!(decoded, b"harmlessattack");
    assert_eq!(undecoded, Some(body));
}

#[test]
fn bytes_behind_the_depth_of_what_was_decoded_are_seen_as_sent() {
    let body = [gzip(&vec![b'x'; 2 << 20]), b"attack".to_vec()].concat();
    let (decoded, undecoded) = readings("gzip", &body);
    assert_eq!(decoded.len(), 1 << 20);
    assert!(undecoded.unwrap().ends_with(b"attack"));
}

/// The first request of a connection on which these bytes came.
fn first_request(bytes: &[u8]) -> Transaction {
    let mut connection = Connection::new(Settings::default());
    connection.feed(ToServer, bytes);
    let request = connection.transactions().next().unwrap();
    request.clone()
}

#[test]
fn a_request_that_servers_end_differently_is_ambiguous() {
    let post =
        |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let ambiguous = [
        post(
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        post("Transfer_Encoding: chunked\r\n", ""),
        post("Transfer-Encoding\0: chunked\r\n", ""),
        post("Transfer-Encoding: chunked\0\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        post(
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post("Content-Length: 5\r\nContent-Length: 0\r\n", "hello"),
        post("Content-Length: +5\r\n", "hello"),
        post("Content-Length: 99999999999999999999\r\n", "hello"),
        post("X: a\rContent-Length: 5\r\n", "hello"),
        post("\r\r\nContent-Length: 5\r\n", "hello"),
        post(" \r\n", ""),
        chunked("-5\r\nhello\r\n0\r\n\r\n"),
        chunked("0x5\r\nhello\r\n0\r\n\r\n"),
        chunked("\r\n5\r\nhello\r\n0\r\n\r\n"),
        chunked("5;a\nhello\r\n0\r\n\r\n"),
        chunked("5\rX\r\nhello\r\n0\r\n\r\n"),
        chunked("5\r\nhelloXX\r\n0\r\n\r\n"),
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "GET /first\r\nGET /second HTTP/1.1\r\n\r\n".into(),
    ];
    for bytes in &ambiguous {
        let request = first_request(bytes.as_bytes());
        assert!(
            request.ambiguous && inspect::app::Transaction::is_blind(&request),
            "{bytes:?}"
        );
    }
    let plain = [
        "GET / HTTP/1.1\nHost: a\n\n".into(),
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n".into(),
        post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        post("Transfer-Encoding: gzip, Chunked\r\n", "0\r\n\r\n"),
        chunked("5;a=b\r\nhello\r\n00000 \r\nX-Trailer: t\r\n\r\n"),
        chunked("5\nhello\n0\n\n"),
        "GET /first\r\n".into(),
    ];
    for bytes in &plain {
        assert!(!first_request(bytes.as_bytes()).ambiguous, "{bytes:?}");
    }
}

#[test]
fn trailers_are_fields_like_any_other_and_nuls_end_no_value() {
    let request = first_request(
        b"POST / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: d\r\nY: e\r\n\r\n",
    );
    let mut block = Vec::new();
    inspect::app::http::buffers::header_block(&request.request.headers, ToServer, &mut block);
    assert_eq!(
        block.escape_ascii().to_string(),
        r"Host: a\r\nX: b\x00c, d\r\nTransfer-Encoding: chunked\r\nY: e\r\n"
    );
    assert!(request
        .request
        .headers
        .raw
        .ends_with(b"X: d\r\nY: e\r\n\r\n"));
}
