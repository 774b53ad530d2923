//! HPACK's Huffman code. Source: RFC 7541, 5.2 and Appendix B.
//!
//! The code is canonical: codes of one length count up in the order of their symbols, and go on, shifted, where
//! the shorter ones ended. So the lengths say it all.

use std::sync::OnceLock;

/// Bits of the longest code.
const MAX_BITS: usize = 30;
/// The symbol that never stands in a string; its first bits fill the last byte.
const END: u16 = 256;

/// Bits of each symbol's code; the last is the end's.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, // 0x00
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, // 0x10
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, // 0x20
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, // 0x30
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, // 0x40
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, // 0x50
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, // 0x60
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, // 0x70
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, // 0x80
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, // 0x90
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, // 0xa0
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, // 0xb0
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, // 0xc0
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, // 0xd0
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, // 0xe0
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, // 0xf0
    30,
];

/// The codes, by length.
struct Code {
    /// Of each length: its first code, and where its symbols begin.
    lengths: [(u32, usize, usize); MAX_BITS + 1],
    /// The symbols, in the order of their codes.
    symbols: [u16; 257],
}

impl Code {
    fn get() -> &'static Self {
        static CODE: OnceLock<Code> = OnceLock::new();
        CODE.get_or_init(Self::new)
    }

    fn new() -> Self {
        let mut symbols = [0; 257];
        for (at, symbol) in symbols.iter_mut().enumerate() {
            *symbol = at as u16;
        }
        symbols.sort_by_key(|symbol| LENGTHS[usize::from(*symbol)]);
        let mut lengths = [(0, 0, 0); MAX_BITS + 1];
        let (mut next, mut start) = (0u32, 0);
        for (bits, row) in lengths.iter_mut().enumerate() {
            let count = LENGTHS.iter().filter(|it| usize::from(**it) == bits);
            let count = if bits == 0 { 0 } else { count.count() };
            next <<= 1;
            *row = (next, start, count);
            next += count as u32;
            start += count;
        }
        Self { lengths, symbols }
    }
}

/// The string that `coded` stands for; `None` where it is none: the end's symbol, a code that was cut off, or
/// filled up with other than ones.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let code = Code::get();
    let mut out = Vec::with_capacity(coded.len().saturating_mul(8) / 5);
    let (mut bits, mut length) = (0u32, 0);
    for byte in coded {
        for shift in (0..8).rev() {
            bits = bits << 1 | u32::from(byte >> shift & 1);
            length += 1;
            let (first, start, count) = *code.lengths.get(length)?;
            let at = bits.wrapping_sub(first) as usize;
            if bits >= first && at < count {
                match code.symbols[start + at] {
                    END => return None,
                    symbol => out.push(symbol as u8),
                }
                (bits, length) = (0, 0);
            }
        }
    }
    let filled = length < 8 && bits == (1 << length) - 1;
    filled.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_examples_of_the_rfc() {
        let rows: &[(&[u8], &str)] = &[
            (
                b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
                "www.example.com",
            ),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (b"\x64\x02", "302"),
            (b"", ""),
        ];
        for (coded, text) in rows {
            assert_eq!(decode(coded).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn refuses_what_is_no_code() {
        for coded in [
            &b"\xff"[..],
            b"\xff\xff\xff\xff",
            b"\x00",
            b"\xa8\xeb\x10\x64\x9c\xbe",
        ] {
            assert_eq!(decode(coded), None, "{coded:x?}");
        }
    }
}
