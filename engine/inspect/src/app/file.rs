//! Files in transit: what a protocol carries that would be a file at its end.

/// A file, kept up to the inspection depth.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Its name as sent; empty where it has none.
    pub name: Vec<u8>,
    /// Its bytes from the start, at most the depth.
    pub bytes: Vec<u8>,
    /// Bytes seen in all; more than `bytes.len()` once past the depth.
    pub seen: u64,
    /// How it stands.
    pub state: FileState,
    /// Its hashes, once it is closed and if they were asked for.
    pub hashes: Option<Box<Hashes>>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// MD5 (RFC 1321).
    pub md5: [u8; 16],
    /// SHA-1 (FIPS 180-4).
    pub sha1: [u8; 20],
    /// SHA-256 (FIPS 180-4).
    pub sha256: [u8; 32],
}

impl File {
    /// Whether what is kept of it grows no more.
    pub fn is_settled(&self) -> bool {
        self.state != FileState::Open || self.seen > self.bytes.len() as u64
    }
}
