//! Requests on whose end servers disagree ("request smuggling").
//!
//! What is shown is one reading. Another server may find the message's end elsewhere and take what is shown as a
//! body for a request. An honest client sends none of this, and careful servers (nginx) answer 400 or 501; so a
//! guest that blocks is not handed it. Source: RFC 9112, 6.1, 6.3, 7.1 and 11.2; nginx 1.22's answers.

/// The codings that may stand before `chunked`.
const CODINGS: [&str; 5] = ["gzip", "x-gzip", "deflate", "compress", "x-compress"];

/// Whether a Transfer-Encoding (repeated ones joined) is one that every server reads as `chunked`.
pub(super) fn is_plainly_chunked(value: &[u8]) -> bool {
    let mut codings = value.split(|byte| *byte == b',').rev();
    let is = |coding: &[u8], word: &str| {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = coding.iter().position(|byte| !blank(byte));
        let end = coding.iter().rposition(|byte| !blank(byte));
        let word_of = start
            .zip(end)
            .and_then(|(start, end)| coding.get(start..=end));
        word_of.is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
    };
    codings.next().is_some_and(|last| is(last, "chunked"))
        && codings.all(|coding| CODINGS.iter().any(|word| is(coding, word)))
}

/// Whether a Content-Length is digits and nothing else.
pub(super) fn is_plain_length(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(u8::is_ascii_digit)
}

/// Whether a header line is ended differently by different servers: a CR within, or nothing but white space.
pub(super) fn is_odd_line(text: &[u8]) -> bool {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r' | 0);
    text.contains(&b'\r') || !text.is_empty() && text.iter().all(blank)
}

/// Whether a field's name, as it stands before the colon, is only to some servers that of a field which says
/// where the body ends.
pub(super) fn is_odd_name(name: &[u8]) -> bool {
    let meant = name
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        .map(|byte| match byte {
            b'_' => b'-',
            other => other.to_ascii_lowercase(),
        });
    let is = |word: &&str| meant.clone().eq(word.bytes());
    let word = ["transfer-encoding", "content-length"].into_iter().find(is);
    word.is_some_and(|word| !name.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether the field that a line begins says where the body ends.
pub(super) fn is_framing(line: &[u8]) -> bool {
    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
    let name = line[..colon].trim_ascii();
    ["transfer-encoding", "content-length"]
        .iter()
        .any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether a chunk's length line, without its LF, is read alike by all: digits, an extension, a CR.
pub(super) fn is_plain_chunk_line(line: &[u8]) -> bool {
    let (line, has_cr) = match line.strip_suffix(b"\r") {
        Some(line) => (line, true),
        None => (line, false),
    };
    let digits = line.iter().take_while(|it| it.is_ascii_hexdigit()).count();
    let behind = line[digits..].trim_ascii_start();
    let extension = behind.first() == Some(&b';');
    digits > 0
        && !line.contains(&b'\r')
        && (behind.is_empty() || extension)
        && (has_cr || !extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_all_servers_read_alike() {
        type Row<'a> = (fn(&[u8]) -> bool, &'a [&'a str], &'a [&'a str]);
        let rows: &[Row<'_>] = &[
            (
                is_plainly_chunked,
                &["chunked", " Chunked ", "gzip, chunked"],
                &[
                    "",
                    "identity",
                    "xchunked",
                    "chunked, identity",
                    "identity, chunked",
                    "\x0bchunked",
                    "chunked;x",
                    "\"chunked\"",
                    "chunked, chunked",
                    "chunked\0",
                ],
            ),
            (
                is_plain_length,
                &["0", "005"],
                &["", "+5", "-5", "5, 5", "0x5", "5 "],
            ),
            (
                is_odd_line,
                &["a\rb", " ", "\r", "\x0c"],
                &["", "a: b", " b"],
            ),
            (
                is_odd_name,
                &[
                    "Transfer-Encoding ",
                    "Content_Length",
                    "content-length\0",
                    "\x0bTransfer-Encoding",
                ],
                &[
                    "Transfer-Encoding",
                    "content-length",
                    "X-Content-Length",
                    "Host ",
                ],
            ),
            (
                is_plain_chunk_line,
                &["5\r", "5", "5 \r", "5;a=b\r", "5 ; a\r", "0\r"],
                &["", "\r", " 5\r", "0x5\r", "-5\r", "5\rX\r", "5;a", "5 5\r"],
            ),
        ];
        for (is, yes, no) in rows {
            for text in *yes {
                assert!(is(text.as_bytes()), "{text:?}");
            }
            for text in *no {
                assert!(!is(text.as_bytes()), "{text:?}");
            }
        }
    }
}
