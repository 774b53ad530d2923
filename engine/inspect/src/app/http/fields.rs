//! Header lines into fields.

use super::ambiguity;
use super::events::{Events, HttpEvent};
use super::headers::{Header, Headers};

/// Times one name may come before that is an event (libhtp's figure).
const REPETITIONS: usize = 64;

/// Whose headers: the two sides read them with different leniency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A NUL before the colon hides it.
    Request,
    /// A folded line with a colon is a field of its own, from HTTP/1.1 on.
    Response { http_1_1: bool },
}

/// Where the fields of one block end up, and within which bounds.
pub(super) struct Target<'a> {
    pub side: Side,
    pub headers: &'a mut Headers,
    pub events: &'a mut Events,
    /// Set where servers disagree on what a line is; of requests only.
    pub ambiguous: &'a mut bool,
    /// Fields kept.
    pub max_fields: usize,
    /// Bytes kept of a folded field, and of the whole block.
    pub max_field_bytes: usize,
    pub max_block_bytes: usize,
}

/// A header block being read: the field whose continuation may still come.
#[derive(Debug, Default)]
pub(super) struct Fields {
    open: Option<Vec<u8>>,
}

impl Fields {
    /// Adds one line, without its end; `raw` is the same with it.
    ///
    /// White space at its beginning, or a NUL, makes it the continuation of the line before.
    pub(super) fn add_line(&mut self, text: &[u8], raw: &[u8], target: &mut Target<'_>) {
        if target.headers.raw.len() + raw.len() > target.max_block_bytes {
            target.events.raise(target.side.too_long());
            return;
        }
        target.headers.raw.extend_from_slice(raw);
        *target.ambiguous |= target.side == Side::Request && ambiguity::is_odd_line(text);
        if !matches!(text.first(), Some(b' ' | b'\t' | 0)) {
            self.finish(target);
            self.open = Some(text.to_vec());
            return;
        }
        match &mut self.open {
            None => {
                target.events.raise(target.side.bad_folding());
                self.open = Some(text.trim_ascii_start().to_vec());
            }
            Some(open) if target.side.unfolds(open, text) => {
                target.events.raise(target.side.bad_folding());
                let next = text[1..].to_vec();
                self.finish(target);
                self.open = Some(next);
            }
            Some(open) => {
                *target.ambiguous |= target.side == Side::Request && ambiguity::is_framing(open);
                let room = target.max_field_bytes.saturating_sub(open.len());
                if text.len() > room {
                    target.events.raise(target.side.too_long());
                }
                open.extend_from_slice(&text[..text.len().min(room)]);
            }
        }
    }

    /// Ends the block.
    pub(super) fn finish(&mut self, target: &mut Target<'_>) {
        let Some(line) = self.open.take() else { return };
        let field = parse_field(&line, target.side, target.events);
        if target.side == Side::Request {
            let name = &line[..memchr::memchr(b':', &line).unwrap_or(line.len())];
            *target.ambiguous |= ambiguity::is_odd_name(name);
        }
        if target.headers.fields().len() >= target.max_fields {
            target.events.raise(target.side.too_many());
            return;
        }
        if target.headers.count(&field.name) >= REPETITIONS {
            target.events.raise(target.side.repetition());
            return;
        }
        target.headers.push(field);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, Vec::capacity)
    }
}

impl Side {
    /// Whether a folded line is a field of its own all the same.
    fn unfolds(self, open: &[u8], line: &[u8]) -> bool {
        self == Self::Response { http_1_1: true } && line.contains(&b':') && open.contains(&b':')
    }

    fn pick(self, request: HttpEvent, response: HttpEvent) -> HttpEvent {
        match self {
            Self::Request => request,
            Self::Response { .. } => response,
        }
    }

    pub(super) fn too_long(self) -> HttpEvent {
        self.pick(
            HttpEvent::RequestFieldTooLong,
            HttpEvent::ResponseFieldTooLong,
        )
    }

    fn too_many(self) -> HttpEvent {
        self.pick(
            HttpEvent::RequestTooManyHeaders,
            HttpEvent::ResponseTooManyHeaders,
        )
    }

    fn repetition(self) -> HttpEvent {
        self.pick(
            HttpEvent::RequestHeaderRepetition,
            HttpEvent::ResponseHeaderRepetition,
        )
    }

    fn bad_folding(self) -> HttpEvent {
        self.pick(
            HttpEvent::InvalidRequestFieldFolding,
            HttpEvent::InvalidResponseFieldFolding,
        )
    }

    fn missing_colon(self) -> HttpEvent {
        self.pick(
            HttpEvent::RequestFieldMissingColon,
            HttpEvent::ResponseFieldMissingColon,
        )
    }

    fn invalid(self) -> HttpEvent {
        self.pick(
            HttpEvent::RequestHeaderInvalid,
            HttpEvent::ResponseHeaderInvalid,
        )
    }
}

/// One unfolded line as a field.
///
/// A line without a colon is a field without a name, so that its bytes are looked at. White space between name
/// and colon is dropped, with an event. In requests a NUL before the colon hides it. Source: RFC 9112, 5; libhtp.
fn parse_field(line: &[u8], side: Side, events: &mut Events) -> Header {
    let searched = match (side, memchr::memchr(0, line)) {
        (Side::Request, Some(nul)) => &line[..nul],
        _ => line,
    };
    let Some(colon) = memchr::memchr(b':', searched) else {
        events.raise(side.missing_colon());
        return Header {
            name: Vec::new(),
            value: trim(line).to_vec(),
        };
    };
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c);
    let end = line[..colon].iter().rposition(|byte| !is_space(byte));
    let name = &line[..end.map_or(0, |at| at + 1)];
    if name.is_empty() || name.len() < colon || !name.iter().copied().all(is_token) {
        events.raise(side.invalid());
    }
    let value = trim(&line[colon + 1..]);
    Header {
        name: name.to_vec(),
        value: value.to_vec(),
    }
}

/// The characters a header name may have. Source: RFC 9110, 5.6.2.
const TOKEN: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], b'!');
    while byte <= b'~' {
        table[byte as usize] = true;
        byte += 1;
    }
    let (separators, mut at) = (b"()<>@,;:\\\"/[]?={}", 0);
    while at < separators.len() {
        table[separators[at] as usize] = false;
        at += 1;
    }
    table
};

fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | b'\t'))
        .map_or(0, |at| at + 1);
    &bytes[..end]
}

fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = trim_end(bytes);
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t'))
        .unwrap_or(bytes.len());
    &bytes[start..]
}

/// Whether `bytes` is `word`, whatever the case, NULs skipped: some clients skip them, so do we where a field
/// decides how the body is read.
pub(super) fn is_word(bytes: &[u8], word: &str) -> bool {
    let visible = bytes
        .iter()
        .filter(|&&byte| byte != 0)
        .map(u8::to_ascii_lowercase);
    visible.eq(word.bytes())
}

/// The values of a field that decides how the body is read, joined with `, `; `None` if there is none.
///
/// NULs are dropped from names and values. `name` in lower case.
pub(super) fn framing_value(headers: &Headers, name: &str) -> Option<Vec<u8>> {
    let mut joined: Option<Vec<u8>> = None;
    for field in headers
        .fields()
        .iter()
        .filter(|field| is_word(&field.name, name))
    {
        let value = joined.get_or_insert_with(Vec::new);
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.extend(field.value.iter().filter(|&&byte| byte != 0));
    }
    joined
}

/// A Content-Length: the first run of digits, whatever stands around it; `None` without digits or past `i64`.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let start = value.iter().position(u8::is_ascii_digit)?;
    let mut digits = value[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    digits
        .try_fold(0_i64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
        })
        .map(|n| n as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(side: Side, lines: &[&str]) -> (Vec<(String, String)>, Vec<HttpEvent>) {
        let (mut headers, mut events) = (Headers::default(), Events::default());
        let mut target = Target {
            side,
            headers: &mut headers,
            events: &mut events,
            ambiguous: &mut false,
            max_fields: 5,
            max_field_bytes: 100,
            max_block_bytes: 1000,
        };
        let mut fields = Fields::default();
        for line in lines {
            fields.add_line(
                line.as_bytes(),
                format!("{line}\r\n").as_bytes(),
                &mut target,
            );
        }
        fields.finish(&mut target);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            headers
                .fields()
                .iter()
                .map(|f| (text(&f.name), text(&f.value)))
                .collect(),
            events.iter().collect(),
        )
    }

    fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
        rows.iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn reads_fields_as_servers_do() {
        use HttpEvent::*;
        type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [HttpEvent]);
        let rows: &[Row<'_>] = &[
            (&["Host: a"], &[("Host", "a")], &[]),
            (&["Host:a\t "], &[("Host", "a")], &[]),
            (&["Host : a"], &[("Host", "a")], &[RequestHeaderInvalid]),
            (&["Host\x0b: a"], &[("Host", "a")], &[RequestHeaderInvalid]),
            (&["Host\x0c: a"], &[("Host", "a")], &[RequestHeaderInvalid]),
            (&["A b: c"], &[("A b", "c")], &[RequestHeaderInvalid]),
            (&[": c"], &[("", "c")], &[RequestHeaderInvalid]),
            (
                &["nonsense"],
                &[("", "nonsense")],
                &[RequestFieldMissingColon],
            ),
            (&["a: b", " c", "\td"], &[("a", "b c\td")], &[]),
            (
                &[" a: b", "c: d"],
                &[("a", "b"), ("c", "d")],
                &[InvalidRequestFieldFolding],
            ),
            (&["a: b\0c"], &[("a", "b\0c")], &[]),
            (&["a\0: b"], &[("", "a\0: b")], &[RequestFieldMissingColon]),
            (
                &["1:", "2:", "3:", "4:", "5:", "6:"],
                &[("1", ""), ("2", ""), ("3", ""), ("4", ""), ("5", "")],
                &[RequestTooManyHeaders],
            ),
        ];
        for (lines, fields, events) in rows {
            assert_eq!(
                parse(Side::Request, lines),
                (pairs(fields), events.to_vec()),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_response_field_with_white_space_before_it_is_no_continuation() {
        let side = Side::Response { http_1_1: true };
        let (fields, events) = parse(side, &["a: b", " Content-Encoding: gzip"]);
        assert_eq!(fields, pairs(&[("a", "b"), ("Content-Encoding", "gzip")]));
        assert_eq!(events, [HttpEvent::InvalidResponseFieldFolding]);
        let (fields, _) = parse(Side::Response { http_1_1: false }, &["a: b", " c: d"]);
        assert_eq!(fields, pairs(&[("a", "b c: d")]));
    }

    #[test]
    fn content_length_is_the_first_number() {
        let rows: &[(&str, Option<u64>)] = &[
            ("5", Some(5)),
            (" 5 ", Some(5)),
            ("5, 5", Some(5)),
            ("x5y", Some(5)),
            ("-5", Some(5)),
            ("", None),
            ("abc", None),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
        ];
        for (value, length) in rows {
            assert_eq!(content_length(value.as_bytes()), *length, "{value:?}");
        }
    }

    #[test]
    fn nuls_do_not_hide_framing_fields() {
        let mut headers = Headers::default();
        headers.push(Header {
            name: b"Transfer\0-Encoding".to_vec(),
            value: b"chu\0nked".to_vec(),
        });
        assert_eq!(
            framing_value(&headers, "transfer-encoding").as_deref(),
            Some(&b"chunked"[..])
        );
    }
}
