//! Record marking: one direction's bytes cut into RPC messages.
//!
//! A message comes in one fragment or several. It is shown whole; one that is longer than [`LOOK_BYTES`] is shown
//! with its first [`LOOK_BYTES`] too, and whoever sees it says what the rest is for: a file's bytes, more of the
//! message (up to [`MESSAGE_BYTES`]), or nothing. Source: RFC 5531, 11.
use super::rpc::{self, CallHeader};
use crate::app::cursor::Cursor;
use crate::Direction;

/// So much of a message is waited for before it is looked at.
pub const LOOK_BYTES: usize = 4 << 10;
/// No more of a message is kept than this.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// A fragment that claims to be longer is not believed.
const FRAGMENT_BYTES: u32 = 64 << 20;
/// What is searched for after a gap: a mark, and a call up to its procedure.
const SEARCH_BYTES: usize = 4 + rpc::CALL_BYTES;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// A message, of which more is to come unless it is `whole`.
    Message {
        /// Its bytes so far.
        bytes: &'a [u8],
        /// Nothing of it is to come.
        whole: bool,
    },
    /// More of the file whose bytes a message brings.
    File(&'a [u8]),
}

/// What the rest of a message that was not whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The file's bytes, and what follows them.
    File,
    /// It is of use only when whole.
    Wait,
}

/// What is to be done with a message's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// They are kept.
    #[default]
    Keep,
    /// They are kept, and were looked at in part.
    KeepWhole,
    /// They are a file's.
    File,
    /// They are of no interest.
    Skip,
    /// A gap was met: a message is searched for.
    Lost,
}

/// One direction's framing.
#[derive(Debug, Default)]
pub struct Framer {
    mode: Mode,
    /// The mark in front of a fragment, as far as it came.
    mark: [u8; 4],
    marked: usize,
    /// Bytes of the fragment that are to come, and whether it is its message's last.
    left: u32,
    last: bool,
    kept: Vec<u8>,
    /// Some message was too long to be kept.
    truncated: bool,
}

impl Framer {
    /// Cuts `bytes` into messages and shows them; false: they are none, and nothing more can be read that way.
    pub fn feed(
        &mut self,
        direction: Direction,
        mut bytes: &[u8],
        mut see: impl FnMut(Shown<'_>) -> Rest,
    ) -> bool {
        while !bytes.is_empty() {
            if self.mode == Mode::Lost {
                match self.search(direction, bytes) {
                    Some(others) => bytes = others,
                    None => return true,
                }
            } else if self.left == 0 {
                let (own, others) = bytes.split_at(bytes.len().min(4 - self.marked));
                self.mark[self.marked..self.marked + own.len()].copy_from_slice(own);
                self.marked += own.len();
                bytes = others;
                if self.marked == 4 && !self.begin(&mut see) {
                    return false;
                }
            } else {
                let (own, others) = bytes.split_at(bytes.len().min(self.left as usize));
                self.left -= own.len() as u32;
                self.take(own, &mut see);
                bytes = others;
            }
        }
        true
    }

    /// Notes that `len` bytes were lost; what is there of a message is looked at. Returns how many were a file's.
    pub fn gap(&mut self, len: u64, mut see: impl FnMut(Shown<'_>) -> Rest) -> u64 {
        if self.left > 0 && matches!(self.mode, Mode::Keep | Mode::KeepWhole) {
            let rest = see(Shown::Message {
                bytes: &self.kept,
                whole: false,
            });
            self.kept.clear();
            self.mode = match rest {
                Rest::File => Mode::File,
                Rest::Wait => Mode::Skip,
            };
        }
        let lost = u32::try_from(len).unwrap_or(u32::MAX).min(self.left);
        let in_file = self.mode == Mode::File;
        if len < u64::from(self.left) {
            self.left -= lost;
        } else {
            *self = Self {
                mode: Mode::Lost,
                truncated: self.truncated,
                ..Self::default()
            };
        }
        if in_file {
            lost.into()
        } else {
            0
        }
    }

    /// A message was longer than is kept, so that something in it went unseen.
    pub fn has_truncated(&self) -> bool {
        self.truncated
    }

    /// Bytes of heap held.
    pub fn heap_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// Begins the fragment whose mark is there; false: it is none.
    fn begin(&mut self, see: &mut impl FnMut(Shown<'_>) -> Rest) -> bool {
        let mark = u32::from_be_bytes(self.mark);
        self.marked = 0;
        self.last = mark >> 31 != 0;
        self.left = mark & 0x7fff_ffff;
        if self.left > FRAGMENT_BYTES {
            self.left = 0;
            return false;
        }
        if self.left == 0 {
            self.take(&[], see);
        }
        true
    }

    /// Takes a fragment's next bytes.
    fn take(&mut self, bytes: &[u8], see: &mut impl FnMut(Shown<'_>) -> Rest) {
        let whole = self.left == 0 && self.last;
        match self.mode {
            Mode::Keep | Mode::KeepWhole => {
                self.kept.extend_from_slice(bytes);
                let due = self.mode == Mode::Keep && self.kept.len() >= LOOK_BYTES;
                if whole || due {
                    let rest = see(Shown::Message {
                        bytes: &self.kept,
                        whole,
                    });
                    self.mode = match rest {
                        Rest::File => Mode::File,
                        Rest::Wait => Mode::KeepWhole,
                    };
                }
                if self.kept.len() > MESSAGE_BYTES {
                    self.truncated = true;
                    self.mode = Mode::Skip;
                }
            }
            Mode::File => {
                see(Shown::File(bytes));
            }
            Mode::Skip | Mode::Lost => {}
        }
        if whole {
            self.mode = Mode::Keep;
        }
        if self.mode == Mode::Keep && whole || matches!(self.mode, Mode::File | Mode::Skip) {
            self.kept.clear();
            self.kept.shrink_to(LOOK_BYTES);
        }
    }

    /// Looks for a message after a gap; returns what follows the bytes that told it.
    fn search<'a>(&mut self, direction: Direction, bytes: &'a [u8]) -> Option<&'a [u8]> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.kept.len() == SEARCH_BYTES {
                self.kept.remove(0);
            }
            self.kept.push(*byte);
            if self.has_found(direction) {
                let found = std::mem::take(&mut self.kept);
                let mark = u32::from_be_bytes([found[0], found[1], found[2], found[3]]);
                self.kept.extend_from_slice(&found[4..]);
                self.mode = Mode::Keep;
                self.last = true;
                self.left = (mark & 0x7fff_ffff) - self.kept.len() as u32;
                return Some(&bytes[at + 1..]);
            }
        }
        None
    }

    fn has_found(&self, direction: Direction) -> bool {
        if self.kept.len() < SEARCH_BYTES || self.kept[0] != 0x80 {
            return false;
        }
        let len = u32::from_be_bytes([0, self.kept[1], self.kept[2], self.kept[3]]);
        let message = &self.kept[4..];
        let fits = match direction {
            Direction::ToServer => {
                CallHeader::read(&mut Cursor::new(message)).is_some_and(|it| it.is_nfs())
            }
            Direction::ToClient => rpc::is_reply(message),
        };
        fits && len as usize > message.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use Direction::ToServer;

    fn fragment(bytes: &[u8], last: bool) -> Vec<u8> {
        let mark = bytes.len() as u32 | if last { 1 << 31 } else { 0 };
        [&mark.to_be_bytes(), bytes].concat()
    }

    fn messages(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut framer = Framer::default();
        let mut seen = Vec::new();
        for piece in pieces {
            framer.feed(ToServer, piece, |shown| {
                if let Shown::Message { bytes, whole: true } = shown {
                    seen.push(bytes.to_vec());
                }
                Rest::Wait
            });
        }
        seen
    }

    #[test]
    fn a_message_may_come_in_fragments() {
        let bytes = [
            fragment(b"one ", false),
            fragment(b"", false),
            fragment(b"message", true),
            fragment(b"another", true),
            fragment(b"", true),
        ]
        .concat();
        let all: [&[u8]; 3] = [b"one message", b"another", b""];
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(messages(&[first, second]), all, "{cut}");
        }
    }

    #[test]
    fn a_mark_beyond_belief_ends_it() {
        let mut framer = Framer::default();
        assert!(!framer.feed(ToServer, &[0xff; 8], |_| Rest::Wait));
    }

    #[test]
    fn no_more_of_a_message_is_kept_than_the_bound() {
        let mut framer = Framer::default();
        framer.feed(ToServer, &[0x83, 0, 0, 0], |_| Rest::Wait);
        for _ in 0..(3 << 20) / 1024 {
            framer.feed(ToServer, &[0; 1024], |_| Rest::Wait);
            assert!(framer.heap_bytes() <= 2 * MESSAGE_BYTES + 4096);
        }
        assert!(framer.has_truncated());
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_messages_or_none(steps: Vec<(Vec<u8>, u8)>) {
            let mut framer = Framer::default();
            for (bytes, lost) in &steps {
                framer.feed(ToServer, bytes, |_| Rest::File);
                if lost & 1 == 0 {
                    framer.gap(u64::from(*lost), |_| Rest::File);
                }
            }
        }
    }
}
