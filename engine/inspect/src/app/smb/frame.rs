//! NetBIOS session messages: one direction's bytes cut into records.
//!
//! A record is shown once it is whole. One that is longer than [`WHOLE_BYTES`] is shown with its first
//! [`WHOLE_BYTES`] bytes; whoever sees it says what the rest is for: pieces of a file, more of the record
//! (up to [`RECORD_BYTES`]), or nothing. Source: RFC 1002, 4.3; MS-SMB2, 2.1.

/// A record up to this size is shown whole and at once.
pub const WHOLE_BYTES: usize = 64 << 10;
/// No more of a record is kept than this.
pub const RECORD_BYTES: usize = 1 << 20;
/// NetBIOS's own header.
const HEADER_BYTES: usize = 4;

/// A message that carries SMB.
const SESSION_MESSAGE: u8 = 0x00;
/// Session request, its positive, negative and retargeting answers, and the keep-alive.
const OTHER_MESSAGES: std::ops::RangeInclusive<u8> = 0x81..=0x85;

/// What is to be done with the bytes that follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// They are a record.
    #[default]
    Record,
    /// So many are the rest of a file's piece.
    File(u32),
    /// So many are of no interest.
    Skip(u32),
    /// A gap was met: they are searched for a record.
    Lost,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An SMB message, without NetBIOS's header, of which `missing` bytes are still to come.
    Message {
        /// Its bytes so far.
        bytes: &'a [u8],
        /// How many are to come.
        missing: u32,
    },
    /// More of the file whose piece did not fit its record.
    File(&'a [u8]),
    /// Bytes that are no NetBIOS message.
    Malformed,
}

/// What the rest of a record that was not whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The piece of the file goes on.
    File,
    /// Wait for it: the record is of use only when whole.
    Wait,
    /// Of no interest.
    Skip,
}

/// One direction's framing.
#[derive(Debug, Default)]
pub struct Framer {
    kept: Vec<u8>,
    mode: Mode,
    /// The record that is being kept was shown in part already, and is to be shown again when it is whole.
    waits: bool,
    /// Some record was too long to be kept.
    truncated: bool,
}

impl Framer {
    /// Cuts `bytes` into frames and shows them; `see` answers what the rest of a record in parts is.
    ///
    /// Returns false when the bytes are no NetBIOS messages: nothing more can be read that way.
    pub fn feed(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame<'_>) -> Rest) -> bool {
        while !bytes.is_empty() {
            match self.mode {
                Mode::File(left) | Mode::Skip(left) => {
                    let len = bytes.len().min(left as usize);
                    let (own, others) = bytes.split_at(len);
                    if let Mode::File(_) = self.mode {
                        see(Frame::File(own));
                    }
                    self.pass(len as u32);
                    bytes = others;
                }
                Mode::Lost => match self.search(bytes) {
                    Some(others) => bytes = others,
                    None => return true,
                },
                Mode::Record => match self.record(bytes, &mut see) {
                    Some(others) => bytes = others,
                    None => return false,
                },
            }
        }
        true
    }

    /// Notes that `len` bytes were lost; a record of which a part is there is shown as it is.
    pub fn gap(&mut self, len: u64, mut see: impl FnMut(Frame<'_>) -> Rest) {
        match self.mode {
            Mode::File(left) | Mode::Skip(left) if len <= u64::from(left) => self.pass(len as u32),
            Mode::Record if self.kept.len() > HEADER_BYTES && !self.waits => {
                let missing = (self.record_len() - self.kept.len()) as u32;
                let kept = std::mem::take(&mut self.kept);
                let bytes = &kept[HEADER_BYTES..];
                let rest = see(Frame::Message { bytes, missing });
                self.mode = match rest {
                    _ if len > u64::from(missing) => Mode::Lost,
                    Rest::File => Mode::File(missing),
                    Rest::Skip | Rest::Wait => Mode::Skip(missing),
                };
                if self.mode != Mode::Lost {
                    self.pass(len as u32);
                }
            }
            _ => {
                self.kept.clear();
                self.waits = false;
                self.mode = Mode::Lost;
            }
        }
    }

    /// How many of the next bytes belong to a file's piece or to nothing.
    pub fn left(&self) -> u64 {
        match self.mode {
            Mode::File(left) | Mode::Skip(left) => u64::from(left),
            Mode::Record | Mode::Lost => 0,
        }
    }

    /// A record was longer than is kept, so that something in it went unseen.
    pub fn has_truncated(&self) -> bool {
        self.truncated
    }

    /// Bytes of heap held.
    pub fn heap_bytes(&self) -> usize {
        self.kept.capacity()
    }

    fn pass(&mut self, len: u32) {
        self.mode = match self.mode {
            Mode::File(left) if left > len => Mode::File(left - len),
            Mode::Skip(left) if left > len => Mode::Skip(left - len),
            _ => Mode::Record,
        };
    }

    /// Bytes of the record at the front, NetBIOS's header included.
    fn record_len(&self) -> usize {
        match self.kept[..] {
            [_, a, b, c, ..] => HEADER_BYTES + u32::from_be_bytes([0, a, b, c]) as usize,
            _ => HEADER_BYTES,
        }
    }

    /// Takes what belongs to the record at the front, and shows it when it is due; returns what follows.
    /// `None`: it is no record.
    fn record<'a>(
        &mut self,
        bytes: &'a [u8],
        see: &mut impl FnMut(Frame<'_>) -> Rest,
    ) -> Option<&'a [u8]> {
        let (own, others) = self.keep(bytes, HEADER_BYTES);
        if !own {
            return Some(others);
        }
        let kind = self.kept[0];
        if kind != SESSION_MESSAGE && !OTHER_MESSAGES.contains(&kind) {
            see(Frame::Malformed);
            return None;
        }
        let len = self.record_len();
        if kind != SESSION_MESSAGE {
            self.kept.clear();
            self.skip(len - HEADER_BYTES);
            return Some(others);
        }
        let due = match self.waits {
            true => len.min(RECORD_BYTES),
            false => len.min(WHOLE_BYTES),
        };
        let (own, others) = self.keep(others, due);
        if self.kept.len() >= HEADER_BYTES + 4 && !is_smb(&self.kept[HEADER_BYTES..]) {
            see(Frame::Malformed);
            return None;
        }
        if own {
            self.show(len, see);
        }
        Some(others)
    }

    fn show(&mut self, len: usize, see: &mut impl FnMut(Frame<'_>) -> Rest) {
        let missing = len - self.kept.len();
        let kept = std::mem::take(&mut self.kept);
        let rest = see(Frame::Message {
            bytes: &kept[HEADER_BYTES..],
            missing: missing as u32,
        });
        match rest {
            _ if missing == 0 => self.waits = false,
            Rest::File => self.mode = Mode::File(missing as u32),
            Rest::Wait if !self.waits => {
                self.waits = true;
                self.kept = kept;
                return;
            }
            Rest::Wait => {
                self.waits = false;
                self.truncated = true;
                self.skip(missing);
            }
            Rest::Skip => self.skip(missing),
        }
        self.kept = kept;
        self.kept.clear();
        self.kept.shrink_to(4096);
    }

    fn skip(&mut self, len: usize) {
        if len > 0 {
            self.mode = Mode::Skip(len as u32);
        }
    }

    /// Keeps bytes until there are `wanted`; whether there are, and what follows.
    fn keep<'a>(&mut self, bytes: &'a [u8], wanted: usize) -> (bool, &'a [u8]) {
        let lacking = wanted.saturating_sub(self.kept.len());
        let (own, others) = bytes.split_at(lacking.min(bytes.len()));
        self.kept.extend_from_slice(own);
        (self.kept.len() >= wanted, others)
    }

    /// Looks for a record after a gap: NetBIOS's header, then SMB's first bytes.
    fn search<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.kept.len() == 8 {
                self.kept.remove(0);
            }
            self.kept.push(*byte);
            if begins_record(&self.kept) && self.record_len() >= self.kept.len() {
                self.mode = Mode::Record;
                return Some(&bytes[at + 1..]);
            }
        }
        None
    }
}

/// Whether a session message with one of SMB's in it begins there, as far as eight bytes tell.
pub(in crate::app) fn begins_record(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes[0] == SESSION_MESSAGE && is_smb(&bytes[4..])
}

/// Whether these are a message's first four bytes.
fn is_smb(bytes: &[u8]) -> bool {
    matches!(bytes, [0xfd..=0xff, b'S', b'M', b'B', ..])
}
