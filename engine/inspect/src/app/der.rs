//! Elements of BER and DER, as far as network protocols need them. Source: X.690, 8.1.

use super::cursor::Cursor;

/// Bytes of a length that is written in several: more is no message.
const LENGTH_BYTES: usize = 4;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Class and number: `0x30` a sequence, `0x60 + n` an application's, `0xa0 + n` one by its place.
    pub tag: u8,
    /// What it holds.
    pub value: &'a [u8],
}

/// Elements one behind the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Elements<'a>(pub Cursor<'a>);

impl<'a> Elements<'a> {
    /// Those in `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(Cursor(bytes))
    }

    /// Those in the sequence that `bytes` is.
    pub fn of_sequence(bytes: &'a [u8]) -> Option<Self> {
        let whole = Self::of(bytes).next()?;
        (whole.tag == 0x30).then(|| Self::of(whole.value))
    }

    /// The value of the element at a place in a sequence (`[0]`, `[1]`, …), if there is one.
    pub fn at(self, place: u8) -> Option<&'a [u8]> {
        let mut all = self;
        all.find(|element| element.tag == 0xa0 + place)
            .map(|element| element.value)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    /// `None` at the end, and where the next element is cut short.
    fn next(&mut self) -> Option<Element<'a>> {
        let mut rest = self.0;
        let tag = rest.u8()?;
        // Numbers past 30 go on in further bytes; no protocol read here has one.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let first = usize::from(rest.u8()?);
        let len = match first {
            0..0x80 => first,
            _ if first & 0x7f > LENGTH_BYTES => return None,
            _ => rest
                .take(first & 0x7f)?
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte)),
        };
        let value = rest.take(len)?;
        self.0 = rest;
        Some(Element { tag, value })
    }
}

/// The number that `bytes`, an INTEGER or ENUMERATED, stands for.
pub(crate) fn integer(bytes: &[u8]) -> Option<i32> {
    let element = Elements::of(bytes).next()?;
    if !matches!(element.tag, 2 | 10) || !(1..=4).contains(&element.value.len()) {
        return None;
    }
    let negative = element.value[0] & 0x80 != 0;
    let start = if negative { -1 } else { 0 };
    let shifted = element
        .value
        .iter()
        .fold(start, |number: i32, byte| number << 8 | i32::from(*byte));
    Some(shifted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn walks_through_elements() {
        let bytes = b"\x30\x08\xa0\x03\x02\x01\x05\xa2\x01x\x30\x81\x01y";
        let inner = Elements::of_sequence(bytes).unwrap();
        assert_eq!(inner.at(0).and_then(integer), Some(5));
        assert_eq!((inner.at(1), inner.at(2)), (None, Some(&b"x"[..])));
        let all: Vec<_> = Elements::of(bytes).map(|it| it.value.len()).collect();
        assert_eq!(all, [8, 1]);
        assert_eq!(integer(b"\x02\x01\xff"), Some(-1));
        assert_eq!(integer(b"\x02\x02\xff\x79"), Some(-135));
        assert_eq!(integer(b"\x02\x05\x01\x01\x01\x01\x01"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let held: usize = Elements::of(&bytes).map(|it| it.value.len() + 2).sum();
            prop_assert!(held <= bytes.len());
            let _ = integer(&bytes);
        }
    }
}
