//! A file's pieces, put in order.
//!
//! Reads and writes name their place. What comes early waits for what is missing, within bounds; what comes
//! again is left alone: the first bytes are the file.
use std::collections::BTreeMap;

use crate::app::{File, FileSettings};

/// Bytes of pieces that wait.
pub const MAX_WAITING_BYTES: usize = 4 << 20;
/// Pieces that wait.
pub const MAX_WAITING: usize = 64;

/// A file and the pieces of it that came early.
#[derive(Debug)]
pub struct Pieces {
    file: [File; 1],
    /// All before was seen.
    tracked: u64,
    /// By their place.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_bytes: usize,
    /// Where the piece that is arriving goes, and how much of it is to come.
    arriving: Option<(Place, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Next,
    Later(u64),
    Nowhere,
}

/// What was odd about a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Its place was filled already.
    Overlap,
    /// Too many wait.
    TooMany,
    /// Too much waits.
    TooMuch,
}

impl Pieces {
    /// A file of that name.
    pub fn new(name: &[u8], settings: &FileSettings) -> Self {
        Self {
            file: [File::open(name, settings)],
            tracked: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            arriving: None,
        }
    }

    /// The file so far.
    pub fn file(&self) -> &File {
        &self.file[0]
    }

    /// The same, for [`crate::app::Transaction::files`].
    pub fn as_files(&self) -> &[File] {
        &self.file
    }

    /// Begins a piece of `len` bytes at `offset`, of which `bytes` are there; [`Pieces::more`] brings the others.
    pub fn piece(&mut self, offset: u64, bytes: &[u8], len: u32) -> Option<Oddity> {
        self.arriving = None;
        let mut odd = (offset < self.tracked).then_some(Oddity::Overlap);
        let place = if offset == self.tracked {
            Place::Next
        } else if offset < self.tracked {
            Place::Nowhere
        } else if self.waiting.len() >= MAX_WAITING {
            odd = Some(Oddity::TooMany);
            Place::Nowhere
        } else if self.waiting_bytes + len as usize > MAX_WAITING_BYTES {
            odd = Some(Oddity::TooMuch);
            Place::Nowhere
        } else {
            Place::Later(offset)
        };
        if place == Place::Later(offset) && self.waiting.contains_key(&offset) {
            self.arriving = Some((Place::Nowhere, len));
        } else {
            self.arriving = Some((place, len));
        }
        self.more(bytes);
        odd
    }

    /// The next bytes of the piece that is arriving.
    pub fn more(&mut self, bytes: &[u8]) {
        let Some((place, left)) = self.arriving else {
            return;
        };
        let bytes = &bytes[..bytes.len().min(left as usize)];
        match place {
            Place::Next => {
                self.file[0].append(bytes);
                self.tracked = self.tracked.saturating_add(bytes.len() as u64);
            }
            Place::Later(offset) => {
                self.waiting_bytes += bytes.len();
                self.waiting
                    .entry(offset)
                    .or_default()
                    .extend_from_slice(bytes);
            }
            Place::Nowhere => {}
        }
        self.arrived(left - bytes.len() as u32, place);
    }

    /// So many bytes of the piece that is arriving were lost.
    pub fn lost(&mut self, len: u64) {
        let Some((place, left)) = self.arriving else {
            return;
        };
        let len = len.min(u64::from(left));
        match place {
            Place::Next => {
                self.file[0].gap(len);
                self.tracked = self.tracked.saturating_add(len);
            }
            // What waits has no holes.
            Place::Later(offset) => {
                if let Some(bytes) = self.waiting.remove(&offset) {
                    self.waiting_bytes -= bytes.len();
                }
                self.arriving = None;
                return;
            }
            Place::Nowhere => {}
        }
        self.arrived(left - len as u32, place);
    }

    /// Whether more of a piece is to come.
    pub fn is_arriving(&self) -> bool {
        self.arriving.is_some()
    }

    /// Says that nothing more comes.
    pub fn close(&mut self) {
        self.arriving = None;
        if self.waiting.is_empty() {
            self.file[0].close();
        } else {
            self.waiting.clear();
            self.waiting_bytes = 0;
            self.file[0].truncate();
        }
    }

    /// Says that it ends before its end.
    pub fn truncate(&mut self) {
        self.file[0].truncate();
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        self.file[0].heap_bytes() + self.waiting_bytes + 64 * self.waiting.len()
    }

    /// So much of a piece is to come; when nothing is, what waited for it may follow.
    fn arrived(&mut self, left: u32, place: Place) {
        if left > 0 {
            self.arriving = Some((place, left));
            return;
        }
        self.arriving = None;
        if place != Place::Next {
            return;
        }
        while let Some(bytes) = self.waiting.remove(&self.tracked) {
            self.waiting_bytes -= bytes.len();
            self.file[0].append(&bytes);
            self.tracked = self.tracked.saturating_add(bytes.len() as u64);
            if bytes.is_empty() {
                break;
            }
        }
    }
}
