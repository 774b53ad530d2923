//! A stream under the names of Suricata's sticky buffers.
//!
//! Every function appends to `out`, which the caller clears and reuses, or borrows from the stream.
use super::hpack::Field;
use super::stream::{Side, Stream};
use crate::app::http::uri;
use crate::Direction;

/// `http.uri`: `:path` as sent, and, where that is another, as servers read it.
pub fn uri<'a>(stream: &'a Stream, index: u32, out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let path = stream.side(Direction::ToServer).value(b":path")?;
    if index == 0 {
        return Some(path);
    }
    uri::normalise(path, out);
    (index == 1 && out != path).then_some(out.as_slice())
}

/// `http.host`: the host of `:authority`, or else of Host, in lower case and without user and port.
pub fn host(stream: &Stream, out: &mut Vec<u8>) -> bool {
    let Some(authority) = host_raw(stream) else {
        return false;
    };
    let user = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
    out.extend(uri::host_port(&authority[user..]).host);
    !out.is_empty()
}

/// `http.host.raw`: `:authority`, or else Host, as sent.
pub fn host_raw(stream: &Stream) -> Option<&[u8]> {
    let side = stream.side(Direction::ToServer);
    side.value(b":authority").or_else(|| side.value(b"host"))
}

/// The first line that HTTP/1 would have: `GET / HTTP/2\r\n`, `HTTP/2 200\r\n`.
pub fn first_line(stream: &Stream, direction: Direction, out: &mut Vec<u8>) {
    let side = stream.side(direction);
    let words: [&[u8]; 3] = match direction {
        Direction::ToServer => [
            side.value(b":method").unwrap_or_default(),
            side.value(b":path").unwrap_or_default(),
            b"HTTP/2",
        ],
        Direction::ToClient => [b"HTTP/2", side.status().unwrap_or_default(), b""],
    };
    out.extend_from_slice(words.join(&b' ').trim_ascii_end());
    if direction == Direction::ToClient && side.status().is_none() {
        out.push(b' ');
    }
    out.extend_from_slice(b"\r\n");
}

/// `http.header`: `name: value\r\n` a field, in order, without cookies; false if there is none.
pub fn header_block(side: &Side, out: &mut Vec<u8>) -> bool {
    let hidden: [&[u8]; 2] = [b"cookie", b"set-cookie"];
    let shown = side
        .fields
        .iter()
        .filter(|field| !hidden.iter().any(|it| field.name.eq_ignore_ascii_case(it)));
    shown.for_each(|field| append(field, out));
    !out.is_empty()
}

/// `http.header.raw`: the same with cookies.
pub fn header_raw(side: &Side, out: &mut Vec<u8>) -> bool {
    side.fields.iter().for_each(|field| append(field, out));
    !out.is_empty()
}

/// `http.header_names`: `\r\n:method\r\nuser-agent\r\n\r\n`; false if there is none.
pub fn header_names(side: &Side, out: &mut Vec<u8>) -> bool {
    for field in &side.fields {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&field.name);
    }
    if out.is_empty() {
        return false;
    }
    out.extend_from_slice(b"\r\n\r\n");
    true
}

/// The value of one field, of repeated ones all joined with `, `; false if there is none.
pub fn value(side: &Side, name: &str, out: &mut Vec<u8>) -> bool {
    let mut found = false;
    for value in side.values(name.as_bytes()) {
        if std::mem::replace(&mut found, true) {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value);
    }
    found
}

/// `http.request_header`, `http.response_header`: `name: value` of the `index`-th field.
pub fn one_header(side: &Side, index: u32, out: &mut Vec<u8>) -> bool {
    let field = side.fields.get(index as usize);
    if let Some(field) = field {
        out.extend_from_slice(&field.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(&field.value);
    }
    field.is_some()
}

fn append(field: &Field, out: &mut Vec<u8>) {
    out.extend_from_slice(&field.name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(&field.value);
    out.extend_from_slice(b"\r\n");
}
