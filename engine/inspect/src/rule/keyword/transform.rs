//! Transforms.
use super::super::lexer::quoted;
use super::super::transform::{Capturing, Transform};
use super::super::Reason;
use super::{Keyword, Meaning};

pub(super) const KEYWORDS: &[Keyword] = &[
    Keyword {
        names: &["dotprefix"],
        meaning: Meaning::PlainTransform(Transform::DotPrefix),
    },
    Keyword {
        names: &["to_lowercase"],
        meaning: Meaning::PlainTransform(Transform::ToLowercase),
    },
    Keyword {
        names: &["to_uppercase"],
        meaning: Meaning::PlainTransform(Transform::ToUppercase),
    },
    Keyword {
        names: &["strip_whitespace"],
        meaning: Meaning::PlainTransform(Transform::StripWhitespace),
    },
    Keyword {
        names: &["compress_whitespace"],
        meaning: Meaning::PlainTransform(Transform::CompressWhitespace),
    },
    Keyword {
        names: &["url_decode"],
        meaning: Meaning::PlainTransform(Transform::UrlDecode),
    },
    Keyword {
        names: &["header_lowercase"],
        meaning: Meaning::PlainTransform(Transform::HeaderLowercase),
    },
    Keyword {
        names: &["strip_pseudo_headers"],
        meaning: Meaning::PlainTransform(Transform::StripPseudoHeaders),
    },
    Keyword {
        names: &["to_md5"],
        meaning: Meaning::PlainTransform(Transform::Md5),
    },
    Keyword {
        names: &["to_sha1"],
        meaning: Meaning::PlainTransform(Transform::Sha1),
    },
    Keyword {
        names: &["to_sha256"],
        meaning: Meaning::PlainTransform(Transform::Sha256),
    },
    Keyword {
        names: &["pcrexform"],
        meaning: Meaning::Transform(pcrexform),
    },
    Keyword {
        names: &["xor"],
        meaning: Meaning::Transform(xor),
    },
];

fn pcrexform(keyword: &str, value: &[u8]) -> Result<Transform, Reason> {
    let expression = quoted(keyword, value)?;
    Capturing::new(keyword, expression).map(Transform::Captured)
}

fn xor(keyword: &str, value: &[u8]) -> Result<Transform, Reason> {
    let digits = quoted(keyword, value)?;
    let key: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => {
                let digit = |byte: &u8| (*byte as char).to_digit(16);
                Some((digit(high)? << 4 | digit(low)?) as u8)
            }
            _ => None,
        })
        .collect();
    match key {
        Some(key) if !key.is_empty() => Ok(Transform::Xor(key)),
        _ => Err(Reason::bad_value(keyword, "the key is not hexadecimal")),
    }
}
