//! Suricata's sticky buffers that are not a plain field of a transaction.
//!
//! Every function appends to `out`, which the caller clears and reuses, or borrows from the transaction.

use super::headers::{Header, Headers};
use super::transaction::Transaction;
use crate::Direction;

/// `http.header`: `Name: value\r\n` a field, without Cookie (requests) and Set-Cookie (responses).
///
/// A repeated field appears once, where it came first, its values joined with `, `; of several Content-Lengths
/// only the first. A line that had no colon is `: line\r\n`.
pub fn header_block(headers: &Headers, direction: Direction, out: &mut Vec<u8>) {
    let hidden = cookie_name(direction).as_bytes();
    fields(
        headers,
        |field| !field.name.eq_ignore_ascii_case(hidden),
        out,
    );
}

/// `Name: value\r\n` for each field that is to be shown.
fn fields(headers: &Headers, shown: impl Fn(&Header) -> bool, out: &mut Vec<u8>) {
    for (at, field) in headers.firsts().filter(|(_, field)| shown(field)) {
        name_and_value(headers, at, field, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// `http.request_header`, `http.response_header`: `Name: value` of the `number`-th field, repeated fields joined; false
/// if there are not so many.
pub fn one_header(headers: &Headers, number: usize, out: &mut Vec<u8>) -> bool {
    let found = headers.nth_first(number);
    if let Some((at, field)) = found {
        name_and_value(headers, at, field, out);
    }
    found.is_some()
}

fn name_and_value(headers: &Headers, at: usize, field: &Header, out: &mut Vec<u8>) {
    out.extend_from_slice(&field.name);
    out.extend_from_slice(b": ");
    join(headers, at, out);
}

/// `http.header.raw`: the block as sent, with the empty line that ends it.
pub fn header_raw(headers: &Headers) -> &[u8] {
    &headers.raw
}

/// `http.header_names`: `\r\nHost\r\nUser-Agent\r\n\r\n`; empty without fields.
pub fn header_names(headers: &Headers, out: &mut Vec<u8>) {
    if headers.fields().is_empty() {
        return;
    }
    out.extend_from_slice(b"\r\n");
    for (_, field) in headers.firsts() {
        out.extend_from_slice(&field.name);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The value of one field as the buffers show it, repeated fields joined with `, `; false if there is none.
///
/// `http.user_agent`, `http.content_type` and the other buffers of [`field_of_buffer`].
pub fn value(headers: &Headers, name: &str, out: &mut Vec<u8>) -> bool {
    let first = headers.find(name.as_bytes());
    if let Some(first) = first {
        join(headers, first, out);
    }
    first.is_some()
}

/// `http.cookie`: Cookie of the request, Set-Cookie of the response; false if there is none.
pub fn cookie(transaction: &Transaction, direction: Direction, out: &mut Vec<u8>) -> bool {
    value(headers(transaction, direction), cookie_name(direction), out)
}

/// `http.start`: the first line, the fields as in `http.header` with their cookies, and an empty line; without fields
/// there is none.
pub fn start(transaction: &Transaction, direction: Direction, out: &mut Vec<u8>) {
    let line = first_line(transaction, direction);
    if line.is_empty() {
        return;
    }
    out.extend_from_slice(line);
    out.extend_from_slice(b"\r\n");
    let headers = headers(transaction, direction);
    fields(headers, |_| true, out);
    if !headers.fields().is_empty() {
        out.extend_from_slice(b"\r\n");
    }
}

/// `http.request_line`, `http.response_line`: as sent, without the line's end.
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

/// The field that `http.cookie` shows and `http.header` hides.
pub fn cookie_name(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "cookie",
        Direction::ToClient => "set-cookie",
    }
}

/// The value of the field at `first` and of the later fields of its name; of several Content-Lengths the first.
fn join(headers: &Headers, first: usize, out: &mut Vec<u8>) {
    for (at, field) in headers.same(first).enumerate() {
        if at > 0 && field.name.eq_ignore_ascii_case(b"content-length") {
            return;
        }
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(&field.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers_with(rows: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in rows {
            headers.push(Header {
                name: (*name).into(),
                value: (*value).into(),
            });
        }
        headers
    }

    fn filled(fill: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        fill(&mut out);
        String::from_utf8(out).unwrap()
    }

    const ROWS: &[(&str, &str)] = &[
        ("Host", "a"),
        ("Cookie", "x=1"),
        ("X-A", "1"),
        ("", "junk"),
        ("x-a", "2"),
        ("Content-Length", "5"),
        ("content-length", "6"),
    ];

    #[test]
    fn the_header_block_leaves_cookies_out_and_joins_repetitions() {
        let headers = headers_with(ROWS);
        assert_eq!(
            filled(|out| header_block(&headers, Direction::ToServer, out)),
            "Host: a\r\nX-A: 1, 2\r\n: junk\r\nContent-Length: 5\r\n"
        );
        let response = headers_with(&[("Set-Cookie", "a"), ("Cookie", "b")]);
        assert_eq!(
            filled(|out| header_block(&response, Direction::ToClient, out)),
            "Cookie: b\r\n"
        );
    }

    #[test]
    fn a_repeated_header_is_one_with_its_values_joined() {
        let headers = headers_with(ROWS);
        let shown: Vec<_> = (0..6)
            .map(|number| filled(|out| assert_eq!(one_header(&headers, number, out), number < 5)))
            .collect();
        let expected = ["Host: a", "Cookie: x=1", "X-A: 1, 2", ": junk"];
        assert_eq!(shown[..4], expected);
        assert_eq!(shown[4..], ["Content-Length: 5", ""]);
    }

    #[test]
    fn header_names_are_framed_by_line_ends() {
        assert_eq!(
            filled(|out| header_names(&headers_with(ROWS), out)),
            "\r\nHost\r\nCookie\r\nX-A\r\n\r\nContent-Length\r\n\r\n"
        );
        assert_eq!(filled(|out| header_names(&Headers::default(), out)), "");
    }

    #[test]
    fn a_cookie_is_the_side_s_own() {
        let mut transaction = Transaction::default();
        transaction.request.headers = headers_with(&[("cookie", "a=1"), ("Cookie", "b=2")]);
        transaction.response.headers = headers_with(&[("Set-Cookie", "c=3")]);
        assert_eq!(
            filled(|out| assert!(cookie(&transaction, Direction::ToServer, out))),
            "a=1, b=2"
        );
        assert_eq!(
            filled(|out| assert!(cookie(&transaction, Direction::ToClient, out))),
            "c=3"
        );
    }
}
