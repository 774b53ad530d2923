//! HTTP's buffers.
use super::super::buffer::{Buffer, Extract, Stage, Transaction};
use super::super::content::Content;
use super::{given, modifier, sticky, Keyword};
use crate::app::http::{self, buffers};
use crate::app::http2::{self, buffers as buffers2};
use crate::app::{of, AppProto, AppSet};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["http.method"], &METHOD),
    modifier(&["http_method"], &METHOD),
    sticky(&["http.uri"], &URI),
    modifier(&["http_uri"], &URI),
    sticky(&["http.uri.raw"], &URI_RAW),
    modifier(&["http_raw_uri"], &URI_RAW),
    sticky(&["http.request_body"], &REQUEST_BODY),
    modifier(&["http_client_body"], &REQUEST_BODY),
    sticky(&["http.response_body"], &RESPONSE_BODY),
    modifier(&["http_server_body"], &RESPONSE_BODY),
    sticky(&["http.header"], &HEADER),
    modifier(&["http_header"], &HEADER),
    sticky(&["http.header.raw"], &HEADER_RAW),
    modifier(&["http_raw_header"], &HEADER_RAW),
    sticky(&["http.header_names", "http_header_names"], &HEADER_NAMES),
    sticky(&["http.request_header"], &REQUEST_HEADER),
    sticky(&["http.response_header"], &RESPONSE_HEADER),
    sticky(&["http.host"], &HOST),
    modifier(&["http_host"], &HOST),
    sticky(&["http.host.raw"], &HOST_RAW),
    modifier(&["http_raw_host"], &HOST_RAW),
    sticky(&["http.user_agent"], &USER_AGENT),
    modifier(&["http_user_agent"], &USER_AGENT),
    sticky(&["http.cookie"], &COOKIE),
    modifier(&["http_cookie"], &COOKIE),
    sticky(&["http.content_type", "http_content_type"], &CONTENT_TYPE),
    sticky(&["http.content_len", "http_content_len"], &CONTENT_LEN),
    sticky(&["http.referer", "http_referer"], &REFERER),
    sticky(&["http.accept", "http_accept"], &ACCEPT),
    sticky(&["http.accept_lang", "http_accept_lang"], &ACCEPT_LANG),
    sticky(&["http.accept_enc", "http_accept_enc"], &ACCEPT_ENC),
    sticky(&["http.connection", "http_connection"], &CONNECTION),
    sticky(&["http.start", "http_start"], &START),
    sticky(&["http.request_line", "http_request_line"], &REQUEST_LINE),
    sticky(
        &["http.response_line", "http_response_line"],
        &RESPONSE_LINE,
    ),
    sticky(&["http.stat_code"], &STAT_CODE),
    modifier(&["http_stat_code"], &STAT_CODE),
    sticky(&["http.stat_msg"], &STAT_MSG),
    modifier(&["http_stat_msg"], &STAT_MSG),
    sticky(&["http.protocol", "http_protocol"], &PROTOCOL),
    sticky(&["http.location"], &LOCATION),
    sticky(&["http.server"], &SERVER),
];

const HTTP: AppSet = AppSet::of(&[AppProto::Http, AppProto::Http2]);

/// A buffer of both sides; see the `const fn`s below for the others.
const fn both(name: &'static str, stage: Stage, extract: Extract) -> Buffer {
    Buffer {
        to_server: Some(stage),
        to_client: Some(stage),
        ..Buffer::both(name, HTTP, extract)
    }
}

const fn request(name: &'static str, stage: Stage, extract: Extract) -> Buffer {
    Buffer {
        to_client: None,
        ..both(name, stage, extract)
    }
}

const fn response(name: &'static str, stage: Stage, extract: Extract) -> Buffer {
    Buffer {
        to_server: None,
        ..both(name, stage, extract)
    }
}

/// What HTTP/1's transactions and HTTP/2's streams have in common.
enum Message<'a> {
    One(&'a http::Transaction),
    Two(&'a http2::Stream),
}

impl<'a> Message<'a> {
    /// The transaction, if it is one of these.
    fn of(view: &'a dyn Transaction) -> Option<Self> {
        match of::<http::Transaction>(view) {
            Some(tx) => Some(Self::One(tx)),
            None => of::<http2::Stream>(view).map(Self::Two),
        }
    }
}

/// An extractor for one field of a request or response, as is: HTTP/1's, or the value of HTTP/2's.
macro_rules! field {
    ($side:ident . $field:ident, $two:expr) => {
        |view, _, index, _| {
            if index > 0 {
                return None;
            }
            match Message::of(view)? {
                Message::One(tx) => given(&tx.$side.$field),
                Message::Two(stream) => $two(stream),
            }
        }
    };
}

/// An extractor for what is put together of either version: both append, and say whether there is anything.
macro_rules! built {
    ($one:expr, $two:expr) => {
        |view, direction, index, out| {
            let found = match Message::of(view)? {
                _ if index > 0 => false,
                Message::One(tx) => $one(tx, direction, out),
                Message::Two(stream) => $two(stream.side(direction), out),
            };
            found.then_some(out.as_slice())
        }
    };
}

/// An extractor for the value of one header.
macro_rules! header {
    ($name:literal) => {
        built!(
            |tx, direction, out| buffers::value(buffers::headers(tx, direction), $name, out),
            |side, out| buffers2::value(side, $name, out)
        )
    };
}

/// A pseudo-field of a stream's request.
fn pseudo<'a>(stream: &'a http2::Stream, name: &'static [u8]) -> Option<&'a [u8]> {
    stream.side(Direction::ToServer).value(name)
}

fn status(stream: &http2::Stream) -> Option<&[u8]> {
    stream.side(Direction::ToClient).status()
}

/// `http.method`.
pub(super) static METHOD: Buffer = Buffer {
    validate: method_content,
    ..request(
        "http.method",
        Stage::Line,
        field!(request.method, |stream| pseudo(stream, b":method")),
    )
};
/// `http.uri`.
pub(super) static URI: Buffer = Buffer {
    multiple: true,
    joined: true,
    ..request(
        "http.uri",
        Stage::Line,
        |view, _, index, out| match Message::of(view)? {
            Message::One(tx) => (index == 0).then_some(&tx.request.uri),
            Message::Two(stream) => buffers2::uri(stream, index, out),
        },
    )
};
/// `http.uri.raw`.
pub(super) static URI_RAW: Buffer = request(
    "http.uri.raw",
    Stage::Line,
    field!(request.uri_raw, |stream| pseudo(stream, b":path")),
);
/// `http.host`.
pub(super) static HOST: Buffer = Buffer {
    validate: host_content,
    ..request("http.host", Stage::Headers, |view, _, index, out| {
        if index > 0 {
            return None;
        }
        match Message::of(view)? {
            Message::One(tx) => (!tx.request.host.is_empty()).then_some(&tx.request.host),
            Message::Two(stream) => buffers2::host(stream, out).then_some(out),
        }
    })
};
/// `http.host.raw`.
pub(super) static HOST_RAW: Buffer =
    request("http.host.raw", Stage::Headers, |view, _, index, _| {
        let host = match Message::of(view)? {
            Message::One(tx) => tx.request.host_raw.as_slice(),
            Message::Two(stream) => buffers2::host_raw(stream)?,
        };
        (index == 0 && !host.is_empty()).then_some(host)
    });
/// `http.request_body`.
pub(super) static REQUEST_BODY: Buffer = Buffer {
    grows: true,
    multiple: true,
    joined: true,
    ..request("http.request_body", Stage::Body, body)
};
/// `http.response_body`.
pub(super) static RESPONSE_BODY: Buffer = Buffer {
    grows: true,
    multiple: true,
    joined: true,
    ..response("http.response_body", Stage::Body, body)
};
/// `http.header`.
pub(super) static HEADER: Buffer = both(
    "http.header",
    Stage::Headers,
    built!(
        |tx, direction, out: &mut Vec<u8>| {
            buffers::header_block(buffers::headers(tx, direction), direction, out);
            !out.is_empty()
        },
        buffers2::header_block
    ),
);
/// `http.header.raw`.
pub(super) static HEADER_RAW: Buffer = both(
    "http.header.raw",
    Stage::Headers,
    |view, direction, index, out| match Message::of(view)? {
        _ if index > 0 => None,
        Message::One(tx) => {
            let raw = buffers::header_raw(buffers::headers(tx, direction));
            (!raw.is_empty()).then_some(raw)
        }
        Message::Two(stream) => {
            buffers2::header_raw(stream.side(direction), out).then_some(out.as_slice())
        }
    },
);
static HEADER_NAMES: Buffer = both(
    "http.header_names",
    Stage::Headers,
    built!(
        |tx, direction, out: &mut Vec<u8>| {
            buffers::header_names(buffers::headers(tx, direction), out);
            !out.is_empty()
        },
        buffers2::header_names
    ),
);
static REQUEST_HEADER: Buffer = Buffer {
    multiple: true,
    ..request("http.request_header", Stage::Headers, one_header)
};
static RESPONSE_HEADER: Buffer = Buffer {
    multiple: true,
    ..response("http.response_header", Stage::Headers, one_header)
};
/// `http.cookie`.
pub(super) static COOKIE: Buffer = both(
    "http.cookie",
    Stage::Headers,
    |view, direction, index, out| {
        if index > 0 {
            return None;
        }
        let found = match Message::of(view)? {
            Message::One(tx) => buffers::cookie(tx, direction, out),
            Message::Two(stream) => {
                buffers2::value(stream.side(direction), buffers::cookie_name(direction), out)
            }
        };
        found.then_some(out.as_slice())
    },
);
/// `http.user_agent`.
pub(super) static USER_AGENT: Buffer =
    request("http.user_agent", Stage::Headers, header!("user-agent"));
static CONTENT_TYPE: Buffer = both("http.content_type", Stage::Headers, header!("content-type"));
static CONTENT_LEN: Buffer = both(
    "http.content_len",
    Stage::Headers,
    header!("content-length"),
);
static CONNECTION: Buffer = both("http.connection", Stage::Headers, header!("connection"));
static REFERER: Buffer = request("http.referer", Stage::Headers, header!("referer"));
static ACCEPT: Buffer = request("http.accept", Stage::Headers, header!("accept"));
static ACCEPT_LANG: Buffer = request(
    "http.accept_lang",
    Stage::Headers,
    header!("accept-language"),
);
static ACCEPT_ENC: Buffer = request(
    "http.accept_enc",
    Stage::Headers,
    header!("accept-encoding"),
);
static LOCATION: Buffer = response("http.location", Stage::Headers, header!("location"));
static SERVER: Buffer = response("http.server", Stage::Headers, header!("server"));
/// HTTP/1 alone: a stream has no first line that header fields follow.
static START: Buffer = Buffer {
    apps: AppSet::of(&[AppProto::Http]),
    ..both(
        "http.start",
        Stage::Headers,
        |view, direction, index, out| {
            let tx = of::<http::Transaction>(view)?;
            buffers::start(tx, direction, out);
            (index == 0 && !out.is_empty()).then_some(out.as_slice())
        },
    )
};
static REQUEST_LINE: Buffer = request("http.request_line", Stage::Line, first_line);
static RESPONSE_LINE: Buffer = response("http.response_line", Stage::Line, first_line);
/// `http.stat_code`.
pub(super) static STAT_CODE: Buffer = response(
    "http.stat_code",
    Stage::Line,
    field!(response.status, status),
);
/// `http.stat_msg`.
pub(super) static STAT_MSG: Buffer = response(
    "http.stat_msg",
    Stage::Line,
    field!(response.reason, |_| None),
);
static PROTOCOL: Buffer = both("http.protocol", Stage::Line, |view, direction, index, _| {
    let protocol = match (Message::of(view)?, direction) {
        (Message::One(tx), Direction::ToServer) => tx.request.protocol.as_slice(),
        (Message::One(tx), Direction::ToClient) => tx.response.protocol.as_slice(),
        (Message::Two(_), _) => b"HTTP/2",
    };
    (index == 0 && !protocol.is_empty()).then_some(protocol)
});

fn first_line<'a>(
    view: &'a dyn Transaction,
    direction: Direction,
    index: u32,
    out: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    if index > 0 {
        return None;
    }
    match Message::of(view)? {
        // A response that never came has no line.
        Message::One(tx) => given(buffers::first_line(tx, direction)),
        Message::Two(stream) => {
            buffers2::first_line(stream, direction, out);
            Some(out)
        }
    }
}

/// A body decoded, and as sent where that went wrong.
fn body<'a>(
    view: &'a dyn Transaction,
    direction: Direction,
    index: u32,
    _: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    let body = match Message::of(view)? {
        Message::One(tx) => tx.body(direction),
        Message::Two(stream) => &stream.side(direction).body,
    };
    match index {
        0 => Some(&body.file.bytes),
        1 => body.undecoded.as_ref().map(|file| file.bytes.as_slice()),
        _ => None,
    }
}

/// `Name: value` of the `index`-th header; of HTTP/1 with the values of all that have its name.
fn one_header<'a>(
    view: &'a dyn Transaction,
    direction: Direction,
    index: u32,
    out: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    match Message::of(view)? {
        Message::One(tx) => {
            if !buffers::one_header(buffers::headers(tx, direction), index as usize, out) {
                return None;
            }
        }
        Message::Two(stream) => {
            if !buffers2::one_header(stream.side(direction), index, out) {
                return None;
            }
        }
    }
    Some(out)
}

fn method_content(content: &Content) -> Result<(), &'static str> {
    let bytes = content.needle.bytes();
    match (bytes.first(), bytes.last()) {
        (Some(b' ' | b'\t'), _) => Err("a method never begins with white space"),
        (_, Some(b' ' | b'\t')) => Err("a method never ends with white space"),
        _ => Ok(()),
    }
}

fn host_content(content: &Content) -> Result<(), &'static str> {
    let upper = content.needle.bytes().iter().any(u8::is_ascii_uppercase);
    if upper {
        return Err("the buffer is lower-case and the content is not");
    }
    if content.needle.nocase() {
        return Err("the buffer is lower-case, 'nocase' is not to be said");
    }
    Ok(())
}
