//! Transforms: what is done to a buffer before it is inspected.

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
    /// Each byte is exclusive-or'd with the key, over and over.
    Xor(Vec<u8>),
}

/// What C's `isspace` counts as white space.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

impl Transform {
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
            apply(Transform::Xor(vec![1, 2]), b"abc"),
            [b'a' ^ 1, b'b' ^ 2, b'c' ^ 1]
        );
    }
}
