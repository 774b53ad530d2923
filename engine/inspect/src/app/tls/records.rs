//! One direction's stream as records.

use smallvec::SmallVec;

/// Bytes of a TLS record's header: type, version, length. Source: RFC 8446, 5.1.
const HEADER_BYTES: usize = 5;

/// A record, as its header has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// SSL 3 and TLS.
    Tls {
        /// Content type.
        content: u8,
        /// Version as written.
        version: u16,
        /// Bytes of its body.
        len: usize,
    },
    /// SSL 2: two bytes of length, or three with padding.
    Ssl2 {
        /// Bytes of its body, padding included.
        len: usize,
    },
}

impl Record {
    /// Bytes of its body.
    pub fn body_bytes(self) -> usize {
        match self {
            Self::Tls { len, .. } | Self::Ssl2 { len } => len,
        }
    }

    /// Reads a header; `None` while it is not complete.
    fn read(header: &[u8]) -> Option<Self> {
        let first = *header.first()?;
        if is_ssl2(first) {
            let short = first & 0x80 != 0;
            if header.len() < if short { 2 } else { 3 } {
                return None;
            }
            let high = first & if short { 0x7f } else { 0x3f };
            let len = usize::from(u16::from_be_bytes([high, header[1]]));
            return Some(Self::Ssl2 { len });
        }
        let header: [u8; HEADER_BYTES] = header.try_into().ok()?;
        Some(Self::Tls {
            content: header[0],
            version: u16::from_be_bytes([header[1], header[2]]),
            len: usize::from(u16::from_be_bytes([header[3], header[4]])),
        })
    }
}

/// No TLS content type has one of the two upper bits, and every SSL 2 header has.
fn is_ssl2(first: u8) -> bool {
    first & 0xc0 != 0
}

/// The next thing that a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A record begins.
    Header(Record),
    /// Bytes of the current record's body.
    Body {
        /// Which.
        record: Record,
        /// The bytes, at least one.
        bytes: &'a [u8],
        /// How many of the record follow them.
        left: usize,
    },
}

/// Where one direction stands between two calls.
#[derive(Clone, Debug, Default)]
pub struct Records {
    header: SmallVec<[u8; HEADER_BYTES]>,
    record: Option<(Record, usize)>,
}

impl Records {
    /// The next step, taking its bytes from `input`; `None`: all are taken.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Step<'a>> {
        if let Some((record, left)) = self.record.take().filter(|(_, left)| *left > 0) {
            let (bytes, rest) = input.split_at(left.min(input.len()));
            *input = rest;
            let left = left - bytes.len();
            self.record = Some((record, left));
            return (!bytes.is_empty()).then_some(Step::Body {
                record,
                bytes,
                left,
            });
        }
        while let Some((byte, rest)) = input.split_first() {
            self.header.push(*byte);
            *input = rest;
            if let Some(record) = Record::read(&self.header) {
                self.header.clear();
                self.record = Some((record, record.body_bytes()));
                return Some(Step::Header(record));
            }
        }
        None
    }

    /// Whether the next byte begins a record.
    pub fn is_between(&self) -> bool {
        self.header.is_empty() && self.record.is_none_or(|(_, left)| left == 0)
    }

    /// The record that is being read, and how many of its bytes are still to come.
    pub fn current(&self) -> Option<(Record, usize)> {
        self.record
    }

    /// Passes over bytes of the current record's body that were not seen. False: the gap leads past it.
    pub fn skip(&mut self, len: u64) -> bool {
        match &mut self.record {
            Some((_, left)) if *left as u64 >= len => {
                *left -= len as usize;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> Vec<(Record, Vec<u8>)> {
        let mut records = Records::default();
        let mut found: Vec<(Record, Vec<u8>)> = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(step) = records.next(&mut input) {
                match step {
                    Step::Header(record) => found.push((record, Vec::new())),
                    Step::Body { bytes, .. } => {
                        found.last_mut().unwrap().1.extend_from_slice(bytes);
                    }
                }
            }
        }
        found
    }

    #[test]
    fn cuts_records_of_both_kinds() {
        let stream = b"\x16\x03\x01\x00\x02ab\x80\x03xyz\x40\x01\x00q\x17\x03\x03\x00\x00";
        let tls = |content, version, len| Record::Tls {
            content,
            version,
            len,
        };
        let wanted = [
            (tls(0x16, 0x301, 2), b"ab".to_vec()),
            (Record::Ssl2 { len: 3 }, b"xyz".to_vec()),
            (Record::Ssl2 { len: 1 }, b"q".to_vec()),
            (tls(0x17, 0x303, 0), Vec::new()),
        ];
        assert_eq!(all(&[stream]), wanted);
    }

    proptest! {
        #[test]
        fn any_splitting_gives_the_same_records(stream: Vec<u8>, cut in 0_usize..200) {
            let (a, b) = stream.split_at(cut.min(stream.len()));
            prop_assert_eq!(all(&[&stream]), all(&[a, b]));
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(all(&[&stream]), all(&bytes));
        }
    }
}
