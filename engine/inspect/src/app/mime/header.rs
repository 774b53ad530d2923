//! Header fields' parameters and encoded words.
use std::borrow::Cow;

use super::transfer::{hex, Transfer};

/// Bytes of a parameter that are kept.
pub const MAX_PARAMETER_BYTES: usize = 255;
/// Numbered sections of one parameter that are joined. Source: RFC 2231, 3.
const MAX_SECTIONS: u32 = 64;

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// At most [`MAX_PARAMETER_BYTES`] of it.
    pub value: Vec<u8>,
    /// There was more.
    pub cut: bool,
}

/// The value of the parameter `name` in a field such as `attachment; filename="a b.txt"`.
///
/// Sections (`name*0`, `name*1*`) are joined in order, percent escapes of extended ones read.
/// Source: RFC 2045, 5.1; RFC 2231, 3 and 4.
pub fn parameter(field: &[u8], name: &str) -> Option<Parameter> {
    let mut plain = None;
    let mut sections: Vec<(u32, Vec<u8>)> = Vec::new();
    for (key, value) in Parameters(skip_first(field)) {
        match section_of(key, name) {
            None => {}
            Some((None, false)) => plain = plain.or(Some(value.into_owned())),
            Some((number, extended)) => {
                let number = number.unwrap_or(0);
                let seen = sections.iter().any(|(known, _)| *known == number);
                if number < MAX_SECTIONS && !seen {
                    let value = if extended {
                        percent_decoded(&value, number == 0)
                    } else {
                        value.into_owned()
                    };
                    sections.push((number, value));
                }
            }
        }
    }
    sections.sort_by_key(|(number, _)| *number);
    let in_order = sections
        .iter()
        .zip(0..)
        .take_while(|((at, _), want)| at == want);
    let joined: Vec<u8> = in_order.flat_map(|((_, value), _)| value.clone()).collect();
    let mut value = match plain {
        Some(plain) if joined.is_empty() => decoded_words(&plain).into_owned(),
        _ if joined.is_empty() => return None,
        _ => joined,
    };
    let cut = value.len() > MAX_PARAMETER_BYTES;
    value.truncate(MAX_PARAMETER_BYTES);
    Some(Parameter { value, cut })
}

/// What a field says before its first parameter: `text/plain`.
pub fn first_word(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == b';');
    field[..end.unwrap_or(field.len())].trim_ascii()
}

/// Reads the encoded words (`=?charset?B?text?=`) of a value: their bytes, in their character set.
///
/// Source: RFC 2047, 2.
pub fn decoded_words(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memmem::find(value, b"=?").is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    let mut after_word = false;
    while let Some(at) = memchr::memmem::find(rest, b"=?") {
        let (before, word) = rest.split_at(at);
        let Some((text, after)) = encoded_word(word) else {
            out.extend_from_slice(before);
            out.extend_from_slice(b"=?");
            rest = &word[2..];
            after_word = false;
            continue;
        };
        if !(after_word && before.trim_ascii().is_empty()) {
            out.extend_from_slice(before);
        }
        out.extend_from_slice(&text);
        rest = after;
        after_word = true;
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// One encoded word at the front, and what follows it.
fn encoded_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut parts = text.get(2..)?.splitn(3, |byte| *byte == b'?');
    let (_charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let end = memchr::memmem::find(rest, b"?=")?;
    let (encoded, after) = (&rest[..end], &rest[end + 2..]);
    let mut out = Vec::new();
    let mut transfer = match encoding {
        b"B" | b"b" => Transfer::named(b"base64"),
        b"Q" | b"q" => Transfer::named(b"quoted-printable"),
        _ => return None,
    };
    let spaced: Vec<u8>;
    let encoded = match transfer {
        Transfer::QuotedPrintable(_) => {
            spaced = encoded
                .iter()
                .map(|byte| if *byte == b'_' { b' ' } else { *byte })
                .collect();
            &spaced
        }
        _ => encoded,
    };
    transfer.decode(encoded, b"", &mut out);
    transfer.finish(&mut out);
    Some((out, after))
}

/// Whether `key` is `name`, and then its section and whether that is extended.
fn section_of(key: &[u8], name: &str) -> Option<(Option<u32>, bool)> {
    let (word, tail) = key.split_at_checked(name.len())?;
    if !word.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    let (tail, extended) = match tail {
        [] => return Some((None, false)),
        [b'*'] => return Some((None, true)),
        [b'*', digits @ .., b'*'] => (digits, true),
        [b'*', digits @ ..] => (digits, false),
        _ => return None,
    };
    let number = std::str::from_utf8(tail).ok()?.parse().ok()?;
    Some((Some(number), extended))
}

/// Percent escapes read; the first section's character set and language left out.
fn percent_decoded(value: &[u8], first: bool) -> Vec<u8> {
    let mut text = value;
    if first {
        let mut quotes = memchr::memchr_iter(b'\'', value);
        if let (Some(_), Some(second)) = (quotes.next(), quotes.next()) {
            text = &value[second + 1..];
        }
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if *byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

fn skip_first(field: &[u8]) -> &[u8] {
    let start = memchr::memchr(b';', field).map_or(field.len(), |at| at + 1);
    &field[start..]
}

/// `key=value` pairs, parted by semicolons that are not within quotes.
struct Parameters<'a>(&'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], Cow<'a, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = self.0.trim_ascii_start();
            let end = text.iter().position(|byte| matches!(byte, b'=' | b';'))?;
            // Behind a comment, if there is one (RFC 5322, 3.2.2).
            let key = text[..end].rsplit(|byte| *byte == b')').next()?;
            let key = key.trim_ascii();
            let after = &text[end + 1..];
            if text[end] == b';' {
                self.0 = after;
                continue;
            }
            let value = after.trim_ascii_start();
            let (value, rest) = match value.split_first() {
                Some((b'"', quoted)) => unquoted(quoted),
                _ => {
                    let end = value.iter().position(|byte| *byte == b';');
                    let (word, rest) = value.split_at(end.unwrap_or(value.len()));
                    (Cow::Borrowed(word.trim_ascii_end()), rest)
                }
            };
            let next = memchr::memchr(b';', rest).map_or(rest.len(), |at| at + 1);
            self.0 = &rest[next..];
            return Some((key, value));
        }
    }
}

/// A quoted string's text, and what follows its closing quote.
fn unquoted(text: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let mut out = Cow::Borrowed(&text[..0]);
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return (out, &text[at + 1..]),
            // Only a quote or a backslash is ever escaped: Windows paths come with plain backslashes.
            b'\\' if matches!(text.get(at + 1), Some(b'"' | b'\\')) => {
                out.to_mut().push(text[at + 1]);
                at += 2;
                continue;
            }
            _ => match &mut out {
                Cow::Borrowed(front) => *front = &text[..at + 1],
                Cow::Owned(owned) => owned.push(*byte),
            },
        }
        at += 1;
    }
    (out, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file_name(field: &str) -> Option<String> {
        parameter(field.as_bytes(), "filename")
            .map(|found| String::from_utf8_lossy(&found.value).into_owned())
    }

    #[test]
    fn finds_file_names_in_every_form() {
        let rows = [
            ("attachment; filename=a.txt", "a.txt"),
            (
                "attachment; x=\"filename=no\"; FileName = \"a b.txt\" ; y=z",
                "a b.txt",
            ),
            ("attachment;filename=\"a\\\"b;c\"", "a\"b;c"),
            ("attachment; filename*=utf-8'en'a%20b%2Eexe", "a b.exe"),
            (
                "attachment; filename*0*=iso-8859-1''a%20; filename*1=\"b.e\"; filename*2=xe",
                "a b.exe",
            ),
            ("attachment; filename*1=b.exe; filename*0=a", "ab.exe"),
            ("attachment; filename=\"=?utf-8?B?YS5leGU=?=\"", "a.exe"),
            (
                "attachment; filename=\"=?utf-8?Q?a=5F?= =?utf-8?q?b_c?=.exe\"",
                "a_b c.exe",
            ),
            ("attachment; filename=\"C:\\x\\a.exe\"", "C:\\x\\a.exe"),
            ("attachment; filename=\"open", "open"),
            ("attachment; (a comment) filename=a", "a"),
        ];
        for (field, wanted) in rows {
            assert_eq!(file_name(field).as_deref(), Some(wanted), "{field}");
        }
        assert_eq!(file_name("attachment; filenames=a"), None);
        assert_eq!(file_name("filename=a"), None);
    }

    #[test]
    fn cuts_a_long_name() {
        let field = format!("attachment; filename={}", "a".repeat(300));
        let found = parameter(field.as_bytes(), "filename").unwrap();
        assert_eq!((found.value.len(), found.cut), (MAX_PARAMETER_BYTES, true));
    }

    proptest! {
        #[test]
        fn any_field_gives_a_bounded_value(field in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut field = field;
            field.splice(0..0, *b"a; name");
            if let Some(found) = parameter(&field, "name") {
                prop_assert!(found.value.len() <= MAX_PARAMETER_BYTES);
            }
            prop_assert!(decoded_words(&field).len() <= field.len());
        }

        #[test]
        fn any_parameters_give_a_bounded_value(field in "x(; ?name(\\*[0-9]\\*?)?=[a%'\"\\\\?=bB0-9;]{0,9}){0,6}") {
            if let Some(found) = parameter(field.as_bytes(), "name") {
                prop_assert!(found.value.len() <= field.len());
            }
        }
    }
}
