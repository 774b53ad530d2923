//! `content`: bytes to be found.
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use memchr::{memchr2_iter, memmem};

use super::buffer::Number;
use super::lexer::printable;
use super::Reason;

/// Longest pattern, in bytes.
pub const MAX_PATTERN: usize = 8_192;

/// How `fast_pattern` was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastPattern {
    /// Not given: this content may be chosen.
    Unsaid,
    /// This content.
    This,
    /// This content, and finding it suffices.
    Only,
    /// Bytes of this content, from an offset, so many.
    Part(usize, usize),
}

/// One `content` with its modifiers.
#[derive(Clone, Debug)]
pub struct Content {
    /// What is looked for.
    pub needle: Needle,
    /// It must not be found.
    pub negated: bool,
    /// First byte at or past this offset of the buffer.
    pub offset: Option<Number>,
    /// Last byte before `offset` + this.
    pub depth: Option<Number>,
    /// First byte at or past the last match's end + this.
    pub distance: Option<Number>,
    /// Last byte before the last match's end + `distance` + this.
    pub within: Option<Number>,
    /// At the buffer's first byte.
    pub startswith: bool,
    /// `rawbytes`, which changes nothing.
    pub rawbytes: bool,
    /// Its last byte is the buffer's.
    pub endswith: bool,
    /// Whether the prefilter looks for it.
    pub fast_pattern: FastPattern,
}

impl Content {
    /// A content without modifiers.
    pub fn new(pattern: Vec<u8>, negated: bool) -> Self {
        Self {
            needle: Needle::new(pattern, false),
            negated,
            offset: None,
            depth: None,
            distance: None,
            within: None,
            startswith: false,
            rawbytes: false,
            endswith: false,
            fast_pattern: FastPattern::Unsaid,
        }
    }

    /// Whether its place depends on the last match.
    pub fn is_relative(&self) -> bool {
        self.distance.is_some() || self.within.is_some()
    }
}

/// A byte pattern, ready to be searched for. Clones share it: signatures look for the same ones.
#[derive(Clone, Debug)]
pub struct Needle(Arc<Searcher>);

#[derive(Debug)]
struct Searcher {
    bytes: Box<[u8]>,
    nocase: bool,
    /// Offset of the byte that is expected to be rarest, for searches without regard to case.
    rare: usize,
    finder: Option<Box<memmem::Finder<'static>>>,
}

impl PartialEq for Needle {
    fn eq(&self, other: &Self) -> bool {
        self.0.nocase == other.0.nocase && self.0.bytes == other.0.bytes
    }
}

impl Eq for Needle {}

impl Hash for Needle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.0.bytes, self.0.nocase).hash(state);
    }
}

impl Needle {
    /// A pattern; ASCII letters of either case match where `nocase`.
    pub fn new(pattern: Vec<u8>, nocase: bool) -> Self {
        let mut bytes = pattern.into_boxed_slice();
        if nocase {
            bytes.make_ascii_lowercase();
        }
        let rare = (0..bytes.len())
            .min_by_key(|at| commonness(bytes[*at]))
            .unwrap_or(0);
        let finder = (!nocase).then(|| Box::new(memmem::Finder::new(&bytes).into_owned()));
        Self(Arc::new(Searcher {
            bytes,
            nocase,
            rare,
            finder,
        }))
    }

    /// The same pattern without regard to case.
    pub fn without_case(&self) -> Self {
        Self::new(self.0.bytes.to_vec(), true)
    }

    /// The bytes; lower-case where case doesn't count.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Whether case doesn't count.
    pub fn nocase(&self) -> bool {
        self.0.nocase
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.bytes.len()
    }

    /// Whether `text` is the pattern.
    pub fn equals(&self, text: &[u8]) -> bool {
        if self.0.nocase {
            text.eq_ignore_ascii_case(&self.0.bytes)
        } else {
            *text == *self.0.bytes
        }
    }

    /// Offset of the first place where it is in `haystack`.
    pub fn find(&self, haystack: &[u8]) -> Option<usize> {
        if let Some(finder) = &self.0.finder {
            return finder.find(haystack);
        }
        let last_start = haystack.len().checked_sub(self.0.bytes.len())?;
        let rare = *self.0.bytes.get(self.0.rare)?;
        memchr2_iter(
            rare,
            rare.to_ascii_uppercase(),
            &haystack[self.0.rare..=self.0.rare + last_start],
        )
        .find(|at| self.equals(&haystack[*at..*at + self.0.bytes.len()]))
    }
}

/// A guess at how often a byte occurs in text protocols.
pub(crate) fn commonness(byte: u8) -> u8 {
    match byte.to_ascii_lowercase() {
        b' ' | b'e' | b't' | 0 => 9,
        b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 8,
        b'h' | b'l' | b'd' | b'c' | b'u' | b'm' | b'p' | b'/' | b'.' | b'=' | b'-' => 7,
        b'\r' | b'\n' | b'0'..=b'9' | b':' | b'"' | b'<' | b'>' => 6,
        b'a'..=b'z' => 5,
        0x20..=0x7e => 4,
        _ => 3,
    }
}

/// Reads a content's value, without its quotes: text, `|hex|`, and backslash before `: ; " \`.
///
/// Errors: hexadecimal that does not close or is odd, an escape of something else, nothing, or too much.
pub fn parse_pattern(keyword: &str, text: &[u8]) -> Result<Vec<u8>, Reason> {
    let bad = |why: String| Reason::bad_value(keyword, why);
    let mut pattern = Vec::with_capacity(text.len());
    let (mut hex, mut half, mut escape) = (false, None::<u8>, false);
    for byte in text {
        match byte {
            b'|' if escape => return Err(bad("'\\|' is not an escape".into())),
            b'|' => {
                if half.is_some() {
                    return Err(bad("odd number of hexadecimal digits".into()));
                }
                hex = !hex;
            }
            b' ' if hex => {}
            _ if hex => {
                let digit = (*byte as char).to_digit(16);
                let digit = digit
                    .ok_or_else(|| bad(format!("'{}' is not hexadecimal", printable(&[*byte]))))?
                    as u8;
                half = match half {
                    None => Some(digit),
                    Some(high) => {
                        pattern.push(high << 4 | digit);
                        None
                    }
                };
            }
            b':' | b';' | b'\\' | b'"' if escape => {
                pattern.push(*byte);
                escape = false;
            }
            _ if escape => {
                return Err(bad(format!("'\\{}' is not an escape", printable(&[*byte]))))
            }
            b'\\' => escape = true,
            b'"' => return Err(bad("a '\"' within it is written '\\\"'".into())),
            _ => pattern.push(*byte),
        }
    }
    if hex {
        return Err(bad("hexadecimal without its closing '|'".into()));
    }
    if escape {
        return Err(bad("backslash at the end".into()));
    }
    match pattern.len() {
        0 => Err(bad("empty".into())),
        1..=MAX_PATTERN => Ok(pattern),
        _ => Err(bad(format!("longer than {MAX_PATTERN} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_text_hex_and_escapes() {
        let read = |text: &str| parse_pattern("content", text.as_bytes());
        assert_eq!(read("a|0d 0A|b").unwrap(), b"a\r\nb");
        assert_eq!(read(r#"\"\;\:\\"#).unwrap(), br#"";:\"#);
        assert_eq!(read("|414243|").unwrap(), b"ABC");
        for bad in ["", "|41", "|4|", "|4g|", r"\x", r"a\", "||"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            hay in "[aAbB]{0,40}", needle in "[aAbB]{1,4}", nocase: bool
        ) {
            let (hay, needle) = (hay.as_bytes(), needle.as_bytes());
            let same = |window: &[u8]| {
                if nocase { window.eq_ignore_ascii_case(needle) } else { window == needle }
            };
            let expected = hay.windows(needle.len()).position(same);
            prop_assert_eq!(Needle::new(needle.to_vec(), nocase).find(hay), expected);
        }

        #[test]
        fn never_panics_on_any_text(text: Vec<u8>) {
            let _ = parse_pattern("content", &text);
        }
    }
}
