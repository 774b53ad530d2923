//! What signatures ask of files besides their bytes.
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::app::{File, FileState, HashKinds};

use super::lexer::excerpt;
use super::number::Range;

/// A condition on one file as a whole.
#[derive(Clone, PartialEq, Eq)]
pub enum FileTest {
    /// There is one.
    Exists,
    /// Its size compares.
    Size(Range),
    /// A hash of it is (or, negated, is not) in a list.
    Hash {
        /// Which hash.
        kind: HashKind,
        /// The list.
        list: Arc<HashList>,
        /// It is not.
        negated: bool,
    },
}

/// Hashes of one kind.
pub type HashList = HashSet<Box<[u8]>>;

/// One kind of hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// `filemd5`
    Md5,
    /// `filesha1`
    Sha1,
    /// `filesha256`
    Sha256,
}

impl HashKind {
    /// Length in bytes.
    fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn of(self, file: &File) -> Option<&[u8]> {
        match self {
            Self::Md5 => file.hashes.md5.as_ref().map(|it| &it[..]),
            Self::Sha1 => file.hashes.sha1.as_ref().map(|it| &it[..]),
            Self::Sha256 => file.hashes.sha256.as_ref().map(|it| &it[..]),
        }
    }

    /// Reads a list: a hash in hexadecimal at the beginning of each line, whatever behind it; lines that are
    /// empty or begin with `#` are skipped.
    ///
    /// Errors: the number of the line that does not begin with a hash, and what it begins with.
    pub fn read_list(self, text: &[u8]) -> Result<HashList, String> {
        let mut list = HashSet::new();
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let hash = line.get(..2 * self.len()).and_then(from_hex);
            list.insert(hash.ok_or_else(|| {
                format!(
                    "line {number}: {} does not begin with such a hash",
                    excerpt(line)
                )
            })?);
        }
        Ok(list)
    }
}

fn from_hex(digits: &[u8]) -> Option<Box<[u8]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8))
        .collect()
}

impl FileTest {
    /// Whether the file fulfils it by now.
    pub fn holds(&self, file: &File) -> bool {
        match self {
            Self::Exists => true,
            // Only a lower bound can be certain before the end; of a file that lost some, nothing else ever is.
            Self::Size(range) => match (file.state, range) {
                (FileState::Closed, range) => range.holds(file.seen),
                (_, Range::Within(low, u64::MAX)) => file.seen >= *low,
                _ => false,
            },
            Self::Hash {
                kind,
                list,
                negated,
            } => kind
                .of(file)
                .is_some_and(|hash| list.contains(hash) != *negated),
        }
    }

    /// The hashes it compares.
    pub fn hashes(&self) -> HashKinds {
        let of = |wanted| matches!(self, Self::Hash { kind, .. } if *kind == wanted);
        HashKinds {
            md5: of(HashKind::Md5),
            sha1: of(HashKind::Sha1),
            sha256: of(HashKind::Sha256),
        }
    }
}

impl fmt::Debug for FileTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("exists"),
            Self::Size(range) => write!(f, "size {range:?}"),
            Self::Hash {
                kind,
                list,
                negated,
            } => {
                let not = if *negated { "not " } else { "" };
                write!(f, "{kind:?} {not}of {}", list.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::FileSettings;

    #[test]
    fn a_list_of_hashes_may_hold_names_and_comments() {
        let text = b"# known\r\n900150983cd24fb0d6963f7d28e17f72  abc.txt\r\n\n\
            900150983CD24FB0D6963F7D28E17F73\n";
        let list = HashKind::Md5.read_list(text).unwrap();
        assert_eq!(list.len(), 2);
        assert!(HashKind::Sha1.read_list(text).is_err());
        assert!(HashKind::Md5.read_list(b"xyz").is_err());
    }

    #[test]
    fn a_hash_compares_once_the_file_is_whole() {
        let settings = FileSettings {
            hashes: HashKinds {
                md5: true,
                ..HashKinds::NONE
            },
            ..FileSettings::default()
        };
        let list = HashKind::Md5
            .read_list(b"900150983cd24fb0d6963f7d28e17f72")
            .unwrap();
        let test = |negated| FileTest::Hash {
            kind: HashKind::Md5,
            list: Arc::new(list.clone()),
            negated,
        };
        let mut file = File::open(b"", &settings);
        file.append(b"abc");
        assert!(!test(false).holds(&file) && !test(true).holds(&file));
        file.close();
        assert!(test(false).holds(&file) && !test(true).holds(&file));
    }

    #[test]
    fn before_the_end_only_a_lower_bound_of_the_size_is_certain() {
        let mut file = File::open(b"", &FileSettings::default());
        file.append(b"12345");
        let holds =
            |text: &[u8], file: &File| FileTest::Size(Range::parse(text).unwrap()).holds(file);
        assert!(holds(b">4", &file));
        for text in [&b"5"[..], b"<9", b"<=5", b"4<>6", b">5", b"!9"] {
            assert!(!holds(text, &file), "{}", text.escape_ascii());
        }
        file.close();
        for text in [&b"5"[..], b"<9", b"<=5", b"4<>6", b">4", b"!9"] {
            assert!(holds(text, &file), "{}", text.escape_ascii());
        }
    }
}
