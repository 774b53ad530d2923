//! Transforms: what is done to a buffer before it is inspected.

use std::sync::Arc;

use sha2::Digest;

use super::expression::{Expression, Room};
use super::{pcre, Reason};

/// One transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// A dot is put before it.
    DotPrefix,
    /// ASCII letters become lower-case.
    ToLowercase,
    /// ASCII letters become upper-case.
    ToUppercase,
    /// White space is taken out.
    StripWhitespace,
    /// Each run of white space becomes one space.
    CompressWhitespace,
    /// Percent-encoding is undone once, and `+` becomes a space.
    UrlDecode,
    /// Header names, up to each line's colon, become lower-case.
    HeaderLowercase,
    /// Lines that begin with a colon, HTTP/2's pseudo headers, are taken out.
    StripPseudoHeaders,
    /// What the first group of an expression captures; all where it does not match.
    Captured(Capturing),
    /// Its MD5 hash, 16 bytes.
    Md5,
    /// Its SHA-1 hash, 20 bytes.
    Sha1,
    /// Its SHA-256 hash, 32 bytes.
    Sha256,
    /// Each byte is exclusive-or'd with the key, over and over.
    Xor(Vec<u8>),
}

/// The expression of `pcrexform`.
#[derive(Clone, Debug)]
pub struct Capturing(Arc<Expression>);

impl Capturing {
    /// An expression without slashes or flags.
    ///
    /// Errors: PCRE2's own word on it, or it has no group or several.
    pub fn new(keyword: &str, expression: &[u8]) -> Result<Self, Reason> {
        let expression = pcre::compile_plain(keyword, expression)?;
        // Group 0 is the whole.
        match expression.group_names().len() {
            2 => Ok(Self(Arc::new(expression))),
            _ => Err(Reason::bad_value(keyword, "needs exactly one group")),
        }
    }

    fn capture<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        let searched = self.0.find_at(input, 0, &mut Room::default());
        let found = searched.found.ok().flatten();
        let groups = found.and_then(|found| self.0.groups(input, found));
        let (start, end) = groups
            .and_then(|groups| groups.get(1))
            .unwrap_or((0, input.len()));
        input.get(start..end).unwrap_or(input)
    }
}

impl PartialEq for Capturing {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Capturing {}

/// What C's `isspace` counts as white space.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

impl Transform {
    /// Whether bytes like these can come out of it.
    pub fn may_leave(&self, bytes: &[u8]) -> bool {
        match self {
            Self::ToLowercase => !bytes.iter().any(u8::is_ascii_uppercase),
            Self::ToUppercase => !bytes.iter().any(u8::is_ascii_lowercase),
            Self::StripWhitespace => !bytes.iter().copied().any(is_space),
            Self::CompressWhitespace => !bytes
                .windows(2)
                .any(|pair| is_space(pair[0]) && is_space(pair[1])),
            _ => true,
        }
    }

    /// Appends what becomes of `input` to `out`.
    pub fn apply(&self, input: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::DotPrefix => {
                out.push(b'.');
                out.extend_from_slice(input);
            }
            Self::ToLowercase => out.extend(input.iter().map(u8::to_ascii_lowercase)),
            Self::ToUppercase => out.extend(input.iter().map(u8::to_ascii_uppercase)),
            Self::StripWhitespace => out.extend(input.iter().filter(|byte| !is_space(**byte))),
            Self::CompressWhitespace => {
                let mut in_space = false;
                for byte in input {
                    let space = is_space(*byte);
                    if !(space && in_space) {
                        out.push(if space { b' ' } else { *byte });
                    }
                    in_space = space;
                }
            }
            Self::UrlDecode => url_decode(input, out),
            Self::HeaderLowercase => {
                let mut in_name = true;
                out.extend(input.iter().map(|byte| {
                    in_name = *byte == b'\n' || in_name && *byte != b':';
                    if in_name {
                        byte.to_ascii_lowercase()
                    } else {
                        *byte
                    }
                }));
            }
            Self::StripPseudoHeaders => {
                let lines = input.split_inclusive(|byte| *byte == b'\n');
                lines
                    .filter(|line| line[0] != b':')
                    .for_each(|line| out.extend_from_slice(line));
            }
            Self::Md5 => out.extend_from_slice(&md5::Md5::digest(input)),
            Self::Sha1 => out.extend_from_slice(&sha1::Sha1::digest(input)),
            Self::Sha256 => out.extend_from_slice(&sha2::Sha256::digest(input)),
            Self::Captured(expression) => out.extend_from_slice(expression.capture(input)),
            Self::Xor(key) => {
                out.extend(
                    input
                        .iter()
                        .zip(key.iter().cycle())
                        .map(|(byte, key)| byte ^ key),
                );
            }
        }
    }
}

fn url_decode(input: &[u8], out: &mut Vec<u8>) {
    let hex = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut rest = input;
    while let Some((first, after)) = rest.split_first() {
        let pair = after
            .first()
            .zip(after.get(1))
            .and_then(|(h, l)| hex(*h).zip(hex(*l)));
        match (first, pair) {
            (b'%', Some((high, low))) => {
                out.push(high << 4 | low);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*first),
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(transform: Transform, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        transform.apply(input, &mut out);
        out
    }

    #[test]
    fn transforms_as_documented() {
        assert_eq!(apply(Transform::DotPrefix, b"a.b"), b".a.b");
        assert_eq!(apply(Transform::ToLowercase, b"aBC1"), b"abc1");
        assert_eq!(apply(Transform::StripWhitespace, b" a \x0b\tb\r\n"), b"ab");
        assert_eq!(apply(Transform::CompressWhitespace, b"a \r\n b  "), b"a b ");
        assert_eq!(apply(Transform::UrlDecode, b"%41+%zz%4%"), b"A %zz%4%");
        assert_eq!(
            apply(Transform::HeaderLowercase, b"Ab: Cd\r\nE: F"),
            b"ab: Cd\r\ne: F"
        );
        let captured = |input| {
            let expression = Capturing::new("pcrexform", b"k=(.)").unwrap();
            apply(Transform::Captured(expression), input)
        };
        assert_eq!(
            (captured(b"ak=bc"), captured(b"no")),
            (b"b".to_vec(), b"no".to_vec())
        );
        assert_eq!(
            apply(Transform::Xor(vec![1, 2]), b"abc"),
            [b'a' ^ 1, b'b' ^ 2, b'c' ^ 1]
        );
    }
}
