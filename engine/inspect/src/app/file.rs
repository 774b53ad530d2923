//! Files in transit: what a protocol carries that would be a file at its end.
//!
//! A parser opens a [`File`], appends what comes and closes it. What is kept of it is bounded; its size and its
//! hashes are over all bytes. Hashes are computed only where a signature or a record asks for them.
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use super::magic;
use crate::room::make_room;

/// Bytes of a file from which on it is said what it is, or at its end (Suricata's figure).
const MAGIC_BYTES: usize = 512;

/// At most so much room is made at once.
const ROOM_BYTES: usize = 1 << 20;

/// How files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Bytes kept of each file.
    pub depth_bytes: usize,
    /// Hashes that are computed.
    pub hashes: HashKinds,
    /// Records say what a file is by its first bytes.
    pub magic: bool,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            depth_bytes: 1 << 20,
            hashes: HashKinds::NONE,
            magic: false,
        }
    }
}

/// Kinds of hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashKinds {
    /// MD5.
    pub md5: bool,
    /// SHA-1.
    pub sha1: bool,
    /// SHA-256.
    pub sha256: bool,
}

impl HashKinds {
    /// No hash.
    pub const NONE: Self = Self {
        md5: false,
        sha1: false,
        sha256: false,
    };

    /// Those in either.
    pub fn or(self, other: Self) -> Self {
        Self {
            md5: self.md5 || other.md5,
            sha1: self.sha1 || other.sha1,
            sha256: self.sha256 || other.sha256,
        }
    }
}

/// A file, kept up to the inspection depth.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name as sent; empty where it has none.
    pub name: Vec<u8>,
    /// Its bytes from the start, at most the depth; what a gap swallowed is left out.
    pub bytes: Vec<u8>,
    /// Its size so far, gaps included.
    pub seen: u64,
    /// Bytes that gaps swallowed, among `seen`.
    pub lost: u64,
    /// How it stands.
    pub state: FileState,
    /// Its hashes: those asked for, once it is closed, unless some of it was lost.
    pub hashes: Hashes,
    depth: usize,
    magic: bool,
    hashers: Option<Box<Hashers>>,
}

/// How a file stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileState {
    /// More may come.
    #[default]
    Open,
    /// It came whole.
    Closed,
    /// Parts of it were lost, or it ended early.
    Truncated,
}

/// Hashes of a whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    /// MD5 (RFC 1321).
    pub md5: Option<[u8; 16]>,
    /// SHA-1 (FIPS 180-4).
    pub sha1: Option<[u8; 20]>,
    /// SHA-256 (FIPS 180-4).
    pub sha256: Option<[u8; 32]>,
}

#[derive(Clone, Debug)]
struct Hashers {
    md5: Option<Md5>,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
}

impl Default for File {
    fn default() -> Self {
        Self::open(&[], &FileSettings::default())
    }
}

impl File {
    /// A file of which nothing came yet.
    pub fn open(name: &[u8], settings: &FileSettings) -> Self {
        Self {
            name: name.to_vec(),
            bytes: Vec::new(),
            seen: 0,
            lost: 0,
            state: FileState::Open,
            hashes: Hashes::default(),
            depth: settings.depth_bytes,
            magic: settings.magic,
            hashers: Hashers::new(settings.hashes),
        }
    }

    /// How it is kept, before any of it came.
    pub fn settings(&self) -> FileSettings {
        FileSettings {
            depth_bytes: self.depth,
            hashes: self
                .hashers
                .as_ref()
                .map_or(HashKinds::NONE, |it| it.kinds()),
            magic: self.magic,
        }
    }

    /// An empty file kept to the same depth, without hashes.
    pub fn sibling(&self) -> Self {
        let settings = FileSettings {
            hashes: HashKinds::NONE,
            ..self.settings()
        };
        Self::open(&self.name, &settings)
    }

    /// Adds its next bytes; nothing once it is closed.
    pub fn append(&mut self, bytes: &[u8]) {
        self.append_keeping(bytes, usize::MAX);
    }

    /// The same, where no more than `most` of them are to be kept.
    pub fn append_keeping(&mut self, bytes: &[u8], most: usize) {
        if self.state != FileState::Open {
            return;
        }
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        let held = self.bytes.len();
        let room = self.depth.saturating_sub(held).min(most);
        let kept = &bytes[..bytes.len().min(room)];
        make_room(&mut self.bytes, kept.len(), held + room.min(ROOM_BYTES));
        self.bytes.extend_from_slice(kept);
        if let Some(hashers) = &mut self.hashers {
            hashers.update(bytes);
        }
    }

    /// Adds bytes that came behind its announced end; they are no part of its hashes.
    pub fn append_behind(&mut self, bytes: &[u8]) {
        let state = std::mem::replace(&mut self.state, FileState::Open);
        self.append(bytes);
        self.state = state;
    }

    /// Says that its next `len` bytes were never seen: it has no hash then, and cannot be whole.
    pub fn gap(&mut self, len: u64) {
        if self.state == FileState::Open && len > 0 {
            self.seen = self.seen.saturating_add(len);
            self.lost = self.lost.saturating_add(len);
            self.hashers = None;
        }
    }

    /// Says that its next `len` bytes came but are not to be looked at: they count, and it has no hash then.
    pub fn skip(&mut self, len: u64) {
        if self.state == FileState::Open && len > 0 {
            self.seen = self.seen.saturating_add(len);
            self.hashers = None;
        }
    }

    /// Says that nothing more comes: it is whole, unless some of it was lost.
    pub fn close(&mut self) {
        if self.state != FileState::Open {
            return;
        }
        self.state = if self.lost == 0 {
            FileState::Closed
        } else {
            FileState::Truncated
        };
        if let Some(hashers) = self.hashers.take() {
            self.hashes = hashers.finish();
        }
    }

    /// Says that it ended before its end.
    pub fn truncate(&mut self) {
        if self.state == FileState::Open {
            self.state = FileState::Truncated;
            self.hashers = None;
        }
    }

    /// What it is by its first bytes, in libmagic's words; `None` while too few came to say.
    pub fn magic(&self) -> Option<String> {
        let enough = self.state != FileState::Open || self.bytes.len() >= MAGIC_BYTES;
        enough.then(|| magic::describe(&self.bytes))
    }

    /// The same, where records are to say it.
    pub fn recorded_magic(&self) -> Option<String> {
        self.magic.then(|| self.magic()).flatten()
    }

    /// Whether what is kept of it grows no more.
    pub fn is_settled(&self) -> bool {
        self.state != FileState::Open || self.is_full()
    }

    /// Whether more of it came than is kept.
    pub fn is_full(&self) -> bool {
        self.seen - self.lost > self.bytes.len() as u64
    }

    /// Whether further bytes change something beside its size.
    pub fn wants_more(&self) -> bool {
        self.state == FileState::Open && (self.bytes.len() < self.depth || self.hashers.is_some())
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        let hashers = self.hashers.as_ref().map_or(0, |_| size_of::<Hashers>());
        self.name.capacity() + self.bytes.capacity() + hashers
    }
}

impl Hashers {
    fn new(kinds: HashKinds) -> Option<Box<Self>> {
        (kinds != HashKinds::NONE).then(|| {
            Box::new(Self {
                md5: kinds.md5.then(Md5::new),
                sha1: kinds.sha1.then(Sha1::new),
                sha256: kinds.sha256.then(Sha256::new),
            })
        })
    }

    fn kinds(&self) -> HashKinds {
        HashKinds {
            md5: self.md5.is_some(),
            sha1: self.sha1.is_some(),
            sha256: self.sha256.is_some(),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    fn finish(self) -> Hashes {
        Hashes {
            md5: self.md5.map(|it| it.finalize().into()),
            sha1: self.sha1.map(|it| it.finalize().into()),
            sha256: self.sha256.map(|it| it.finalize().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: HashKinds = HashKinds {
        md5: true,
        sha1: true,
        sha256: true,
    };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn hashes_are_over_all_bytes_and_what_is_kept_ends_at_the_depth() {
        let settings = FileSettings {
            depth_bytes: 2,
            hashes: ALL,
            magic: false,
        };
        let mut file = File::open(b"a.txt", &settings);
        file.append(b"ab");
        assert!(file.wants_more());
        file.append(b"c");
        file.close();
        assert!(file.is_full() && file.is_settled());
        assert_eq!((file.bytes.as_slice(), file.seen), (&b"ab"[..], 3));
        assert_eq!(file.state, FileState::Closed);
        assert_eq!(
            hex(&file.hashes.md5.unwrap()),
            "900150983cd24fb0d6963f7d28e17f72"
        );
        assert_eq!(
            hex(&file.hashes.sha1.unwrap()),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            hex(&file.hashes.sha256.unwrap()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_file_with_a_hole_is_truncated_and_has_no_hash() {
        let settings = FileSettings {
            hashes: ALL,
            ..FileSettings::default()
        };
        let mut file = File::open(b"", &settings);
        file.append(b"ab");
        file.gap(5);
        file.append(b"c");
        file.close();
        assert_eq!(
            (file.bytes.as_slice(), file.seen, file.lost),
            (&b"abc"[..], 8, 5)
        );
        assert_eq!(file.state, FileState::Truncated);
        assert_eq!(file.hashes, Hashes::default());
    }

    #[test]
    fn nothing_changes_a_file_that_was_closed() {
        let mut file = File::open(b"", &FileSettings::default());
        file.truncate();
        file.append(b"x");
        file.gap(1);
        file.close();
        assert_eq!((file.seen, file.state), (0, FileState::Truncated));
    }

    #[test]
    fn hashes_that_nobody_asked_for_are_not_computed() {
        let mut file = File::open(b"", &FileSettings::default());
        file.append(b"x");
        file.close();
        assert_eq!(file.hashes, Hashes::default());
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(pieces: Vec<Vec<u8>>, depth in 0_usize..50) {
            let settings = FileSettings { depth_bytes: depth, hashes: ALL, magic: false };
            let mut one = File::open(b"", &settings);
            one.append(&pieces.concat());
            one.close();
            let mut many = File::open(b"", &settings);
            pieces.iter().for_each(|piece| many.append(piece));
            many.close();
            prop_assert_eq!((&one.bytes, one.seen, one.hashes), (&many.bytes, many.seen, many.hashes));
            prop_assert!(one.bytes.len() <= depth);
        }
    }
}
