//! What `asn1` asks of ASN.1's objects. Source: X.690, 8.1.
use crate::app::cursor::Cursor;
use crate::rule::buffer::Asn1;

/// Objects that are looked at. Suricata's `asn1-max-frames`.
const MAX_OBJECTS: usize = 256;
/// Objects inside of objects inside of objects.
const MAX_DEPTH: usize = 16;
/// Bytes of a real number written in decimal that no receiver has room for.
const DECIMAL_BYTES: usize = 256;

const CONSTRUCTED: u8 = 0x20;
const BIT_STRING: u8 = 0x03;
const REAL: u8 = 0x09;
/// Length that says the content ends with an object of two zero bytes.
const INDEFINITE: u8 = 0x80;

/// Whether one of the objects that `bytes` begin with is as `asn1` asks.
pub fn holds(asn1: &Asn1, bytes: &[u8]) -> bool {
    let mut left = MAX_OBJECTS;
    any(asn1, &mut Cursor::new(bytes), MAX_DEPTH, &mut left).unwrap_or(false)
}

/// Looks at one object after another; `None`: nothing was found before what is no whole object.
fn any(asn1: &Asn1, input: &mut Cursor<'_>, depth: usize, left: &mut usize) -> Option<bool> {
    while !input.is_empty() && *left > 0 {
        *left -= 1;
        let tag = input.u8()?;
        if tag & 0x1f == 0x1f {
            while input.u8()? & 0x80 != 0 {}
        }
        let constructed = tag & CONSTRUCTED != 0;
        let content = match input.u8()? {
            INDEFINITE if constructed && depth > 0 => {
                if any(asn1, input, depth - 1, left)? {
                    return Some(true);
                }
                continue;
            }
            short @ 0..INDEFINITE => input.take(short.into())?,
            long => {
                let mut len = 0usize;
                for byte in input.take((long & 0x7f).into())? {
                    len = len.checked_mul(256)?.checked_add((*byte).into())?;
                }
                input.take(len)?
            }
        };
        // The end of a content of unknown length.
        if tag == 0 && content.is_empty() {
            return Some(false);
        }
        let inside = constructed && depth > 0;
        if fits(asn1, tag, content)
            || inside && any(asn1, &mut Cursor::new(content), depth - 1, left) == Some(true)
        {
            return Some(true);
        }
    }
    Some(false)
}

fn fits(asn1: &Asn1, tag: u8, content: &[u8]) -> bool {
    let too_long = asn1
        .oversize_bytes
        .is_some_and(|most| content.len() > most as usize);
    let first = content.first();
    let unused = first.is_some_and(|bits| usize::from(*bits) > content.len().saturating_mul(8));
    let decimal = first.is_some_and(|first| first & 0xc0 == 0);
    too_long
        || asn1.bitstring_overflow && tag == BIT_STRING && unused
        || asn1.double_overflow && tag == REAL && decimal && content.len() > DECIMAL_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTHING: Asn1 = Asn1 {
        oversize_bytes: None,
        bitstring_overflow: false,
        double_overflow: false,
        offset: 0,
        relative: false,
    };

    fn longer_than(most: u32) -> Asn1 {
        Asn1 {
            oversize_bytes: Some(most),
            ..NOTHING
        }
    }

    #[test]
    fn lengths_are_those_of_whole_objects_at_any_depth() {
        let rows: [(&[u8], u32, bool); 9] = [
            (b"\x04\x04abcd", 3, true),
            (b"\x04\x04abcd", 4, false),
            (b"\x30\x06\x04\x04abcd", 5, true),
            (b"\x30\x06\x04\x04abcd", 6, false),
            (b"\x04\x01a\x04\x04abcd", 3, true),
            (b"\x30\x80\x04\x04abcd\0\0", 3, true),
            (b"\x9f\x81\x01\x04abcd", 3, true),
            (b"\x30\x50\x04\x04abcd", 3, false),
            (b"\x04\x81\x80abcd", 3, false),
        ];
        for (bytes, most, found) in rows {
            assert_eq!(
                holds(&longer_than(most), bytes),
                found,
                "{bytes:02x?} {most}"
            );
        }
    }

    #[test]
    fn more_unused_bits_than_there_are_overflow() {
        let asn1 = Asn1 {
            bitstring_overflow: true,
            ..NOTHING
        };
        let rows: [(&[u8], bool); 4] = [
            (b"\x03\x02\x10a", false),
            (b"\x03\x02\x11a", true),
            (b"\x03\x01\x08", false),
            (b"\x03\x01\x09", true),
        ];
        for (bytes, found) in rows {
            assert_eq!(holds(&asn1, bytes), found, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_long_decimal_number_overflows() {
        let asn1 = Asn1 {
            double_overflow: true,
            ..NOTHING
        };
        for (first, len, found) in [(3, 257_u16, true), (3, 256, false), (0x80, 300, false)] {
            let mut bytes = vec![REAL, 0x82];
            bytes.extend(len.to_be_bytes());
            bytes.push(first);
            bytes.resize(4 + usize::from(len), b'1');
            assert_eq!(holds(&asn1, &bytes), found, "{first} {len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_objects_or_none(bytes: Vec<u8>) {
            holds(&longer_than(1000), &bytes);
        }
    }
}
