//! Suricata's sticky buffers that are not a plain field of a transaction.
//!
//! Every function appends to `out`, which the caller clears and reuses, or borrows from the transaction.

use super::transaction::{Headers, Transaction};
use crate::Direction;

/// `http.header`: `Name: value\r\n` a field, repeated fields joined, without Cookie and Set-Cookie.
pub fn header_block(headers: &Headers, out: &mut Vec<u8>) {
    let _ = (headers, out);
}

/// `http.header.raw`: the block as sent.
pub fn header_raw(headers: &Headers) -> &[u8] {
    &headers.raw
}

/// `http.header_names`: `\r\nHost\r\nUser-Agent\r\n\r\n`.
pub fn header_names(headers: &Headers, out: &mut Vec<u8>) {
    let _ = (headers, out);
}

/// The value of one field as the buffers show it, repeated fields joined with `, `; false if there is none.
///
/// `http.user_agent`, `http.content_type`, `http.accept`, `http.accept_enc`, `http.accept_lang`, `http.referer`,
/// `http.connection`, `http.content_len`, `http.location`, `http.server` are `value(headers, "user-agent", out)`
/// and so on.
pub fn value(headers: &Headers, name: &str, out: &mut Vec<u8>) -> bool {
    let _ = (headers, name, out);
    false
}

/// `http.cookie`: Cookie of the request, Set-Cookie of the response; false if there is none.
pub fn cookie(transaction: &Transaction, direction: Direction, out: &mut Vec<u8>) -> bool {
    let _ = (transaction, direction, out);
    false
}

/// `http.start`: the first line and the header block as sent, with `\r\n` ends and the empty line.
pub fn start(transaction: &Transaction, direction: Direction, out: &mut Vec<u8>) {
    let _ = (transaction, direction, out);
}

/// `http.request_line`, `http.response_line`: as sent.
pub fn first_line(transaction: &Transaction, direction: Direction) -> &[u8] {
    match direction {
        Direction::ToServer => &transaction.request.line,
        Direction::ToClient => &transaction.response.line,
    }
}

/// The header block of one side.
pub fn headers(transaction: &Transaction, direction: Direction) -> &Headers {
    match direction {
        Direction::ToServer => &transaction.request.headers,
        Direction::ToClient => &transaction.response.headers,
    }
}

/// The sticky buffer that shows one header field by `value`, and that field's name; `None` for another buffer.
pub fn field_of_buffer(buffer: &str) -> Option<&'static str> {
    Some(match buffer {
        "http.user_agent" => "user-agent",
        "http.content_type" => "content-type",
        "http.accept" => "accept",
        "http.accept_enc" => "accept-encoding",
        "http.accept_lang" => "accept-language",
        "http.referer" => "referer",
        "http.connection" => "connection",
        "http.content_len" => "content-length",
        "http.location" => "location",
        "http.server" => "server",
        _ => return None,
    })
}
