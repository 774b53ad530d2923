//! Content-Transfer-Encodings, decoded as the bytes come.
//!
//! Receivers read on past what is malformed (RFC 2045, 6.7 and 6.8), so this does too, and says that it did.

/// How a part's body is encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// As it is: 7bit, 8bit, binary, and what is not known.
    #[default]
    Identity,
    /// Base64. Source: RFC 2045, 6.8.
    Base64(Base64),
    /// Quoted-printable. Source: RFC 2045, 6.7.
    QuotedPrintable(QuotedPrintable),
}

/// The bits of a quantum that was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base64 {
    bits: u32,
    digits: u8,
}

/// A line that was cut within an escape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotedPrintable {
    /// `=`, or `=` and a digit, not decided yet.
    pending: Option<Option<u8>>,
}

impl Transfer {
    /// The encoding that a Content-Transfer-Encoding names.
    pub fn named(value: &[u8]) -> Self {
        let value = value.to_ascii_lowercase();
        if memchr::memmem::find(&value, b"base64").is_some() {
            Self::Base64(Base64::default())
        } else if memchr::memmem::find(&value, b"quoted-printable").is_some() {
            Self::QuotedPrintable(QuotedPrintable::default())
        } else {
            Self::Identity
        }
    }

    /// Decodes one line, or a piece of one, with what ended it, onto `out`; false where it was malformed.
    pub fn decode(&mut self, line: &[u8], end: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Self::Identity => {
                out.extend_from_slice(line);
                out.extend_from_slice(end);
                true
            }
            Self::Base64(state) => state.decode(line, out),
            Self::QuotedPrintable(state) => state.decode(line, end, out),
        }
    }

    /// Ends the body: a quantum that lacks its padding still gives its bytes. False where it cannot.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Base64(state) => state.end_quantum(out),
            _ => true,
        }
    }
}

impl Base64 {
    fn decode(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let mut fine = true;
        out.reserve(line.len() * 3 / 4);
        for byte in line {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    // What was padded may be followed by more, as where two encodings were joined.
                    fine &= self.end_quantum(out);
                    continue;
                }
                // Whatever else stands there is skipped (RFC 2045, 6.8), by receivers and so by senders of malice.
                _ => continue,
            };
            self.bits = self.bits << 6 | u32::from(digit);
            self.digits += 1;
            if self.digits == 4 {
                out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                *self = Self::default();
            }
        }
        fine
    }

    fn end_quantum(&mut self, out: &mut Vec<u8>) -> bool {
        let state = std::mem::take(self);
        match state.digits {
            2 => out.push((state.bits >> 4) as u8),
            3 => out.extend_from_slice(&((state.bits >> 2) as u16).to_be_bytes()),
            1 => return false,
            _ => {}
        }
        true
    }
}

impl QuotedPrintable {
    fn decode(&mut self, line: &[u8], end: &[u8], out: &mut Vec<u8>) -> bool {
        let mut fine = true;
        for byte in line {
            match self.pending.take() {
                None if *byte == b'=' => self.pending = Some(None),
                None => out.push(*byte),
                Some(None) if hex(*byte).is_some() => self.pending = Some(Some(*byte)),
                Some(None) => {
                    // White space after a soft break is padding that a transport added.
                    if !matches!(byte, b' ' | b'\t' | b'\r') {
                        fine = false;
                        out.extend_from_slice(&[b'=', *byte]);
                    } else {
                        self.pending = Some(None);
                    }
                }
                Some(Some(first)) => match (hex(first), hex(*byte)) {
                    (Some(high), Some(low)) => out.push(high << 4 | low),
                    _ => {
                        fine = false;
                        out.extend_from_slice(&[b'=', first, *byte]);
                    }
                },
            }
        }
        if end.is_empty() {
            return fine;
        }
        match self.pending.take() {
            Some(None) => {}
            Some(Some(first)) => {
                fine = false;
                out.extend_from_slice(&[b'=', first]);
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(b"\r\n"),
        }
        fine
    }
}

/// The value of a hexadecimal digit, in either case as receivers take it.
pub(super) fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::engine::general_purpose::STANDARD;
    use ::base64::Engine;
    use proptest::prelude::*;

    fn decode(name: &[u8], lines: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut transfer = Transfer::named(name);
        let mut out = Vec::new();
        let mut fine = true;
        for line in lines {
            fine &= transfer.decode(line, b"\r\n", &mut out);
        }
        fine &= transfer.finish(&mut out);
        (out, fine)
    }

    #[test]
    fn reads_base64_across_lines_and_past_rubbish() {
        assert_eq!(
            decode(b"BASE64", &[b"aGVs", b"bG8="]),
            (b"hello".to_vec(), true)
        );
        assert_eq!(
            decode(b"base64", &[b"aGV", b"s bG8"]),
            (b"hello".to_vec(), true)
        );
        assert_eq!(
            decode(b"base64", &[b"aGV*sbG8="]),
            (b"hello".to_vec(), true)
        );
        assert_eq!(decode(b"base64", &[b"aGVsb"]), (b"hel".to_vec(), false));
        assert_eq!(decode(b"base64", &[b"aA==aA=="]), (b"hh".to_vec(), true));
    }

    #[test]
    fn reads_quoted_printable_with_soft_breaks() {
        let (out, fine) = decode(b"quoted-printable", &[b"a=3Db=", b"c =\t", b"d", b"=3d"]);
        assert_eq!((&out[..], fine), (&b"a=bc d\r\n=\r\n"[..], true));
        let (out, fine) = decode(b"quoted-printable", &[b"=XY", b"=4"]);
        assert_eq!((&out[..], fine), (&b"=XY\r\n=4\r\n"[..], false));
    }

    proptest! {
        #[test]
        fn base64_in_any_pieces_gives_what_was_encoded(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), width in 1usize..80,
        ) {
            let text = STANDARD.encode(&bytes);
            let lines: Vec<_> = text.as_bytes().chunks(width).collect();
            prop_assert_eq!(decode(b"base64", &lines), (bytes, true));
        }

        #[test]
        fn cut_lines_decode_as_whole_ones(line in "[=A-Fa-f0-9xy \t]{0,30}", cut in 0usize..30) {
            let line = line.as_bytes();
            let (front, back) = line.split_at(cut.min(line.len()));
            for name in [&b"base64"[..], b"quoted-printable", b"8bit"] {
                let mut transfer = Transfer::named(name);
                let mut out = Vec::new();
                let fine = transfer.decode(front, b"", &mut out) & transfer.decode(back, b"\r\n", &mut out)
                    & transfer.finish(&mut out);
                prop_assert_eq!((out, fine), decode(name, &[line]));
            }
        }
    }
}
