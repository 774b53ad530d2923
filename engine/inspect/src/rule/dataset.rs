//! Data sets: values that signatures look up, and reputations of values.
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::engine::general_purpose::STANDARD;
use base64::Engine;

use super::lexer::excerpt;

/// Data sets of one load, by name.
const MAX_SETS: usize = 4_096;
/// Values of all of them together: some hundreds of megabytes.
const MAX_VALUES: usize = 4 << 20;
/// Longest name, in bytes. Suricata's bound.
const MAX_NAME: usize = 63;

/// What a set's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any bytes; base64 in files.
    Text,
    /// MD5 hashes; hexadecimal in files.
    Md5,
    /// SHA-256 hashes; likewise.
    Sha256,
    /// IPv4 addresses.
    Ip4,
    /// IPv6 addresses, IPv4's as those that stand for them.
    Ip6,
    /// Addresses of either family.
    Ip,
}

impl Kind {
    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::Text,
            "md5" => Self::Md5,
            "sha256" => Self::Sha256,
            "ipv4" => Self::Ip4,
            "ipv6" => Self::Ip6,
            "ip" => Self::Ip,
            _ => return None,
        })
    }

    /// What a line of a file must be.
    fn form(self) -> &'static str {
        match self {
            Self::Text => "base64",
            Self::Md5 => "a hash of 32 hexadecimal digits",
            Self::Sha256 => "a hash of 64 hexadecimal digits",
            Self::Ip4 => "an IPv4 address",
            Self::Ip6 | Self::Ip => "an address",
        }
    }

    /// The form in which a buffer's bytes are looked up; `None` where they are no such value.
    pub fn key<'a>(self, bytes: &'a [u8], room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let fits = match self {
            Self::Text => !bytes.is_empty(),
            Self::Md5 => bytes.len() == 16,
            Self::Sha256 => bytes.len() == 32,
            Self::Ip4 => bytes.len() == 4,
            Self::Ip6 => bytes.len() == 16,
            Self::Ip => matches!(bytes.len(), 4 | 16),
        };
        if self == Self::Ip && bytes.len() == 16 {
            let octets: [u8; 16] = bytes.try_into().ok()?;
            push_address(IpAddr::from(octets), room);
            return Some(room);
        }
        fits.then_some(bytes)
    }

    /// The value as a file has it.
    fn read(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Text => STANDARD.decode(text).ok().filter(|value| !value.is_empty()),
            Self::Md5 => hexadecimal(text).filter(|value| value.len() == 16),
            Self::Sha256 => hexadecimal(text).filter(|value| value.len() == 32),
            Self::Ip4 => {
                let address: Ipv4Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
                Some(address.octets().to_vec())
            }
            Self::Ip6 => {
                let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
                let octets = match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                Some(octets.to_vec())
            }
            Self::Ip => {
                let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
                let mut value = Vec::new();
                push_address(address, &mut value);
                Some(value)
            }
        }
    }
}

/// Addresses that stand for IPv4 ones are those.
fn push_address(address: IpAddr, out: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
    }
}

fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    });
    pairs.collect()
}

/// How much a set may hold. Suricata's way of counting: a bucket and an entry have their sizes, and so many entries
/// are made in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// `memcap`, in bytes.
    pub memory: u64,
    /// `hashsize`, in buckets.
    pub buckets: u64,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            memory: 100 << 20,
            buckets: 4_096,
        }
    }
}

impl Capacity {
    const BUCKET_BYTES: u64 = 64;
    const ENTRY_BYTES: u64 = 88;
    const ENTRIES_IN_ADVANCE: u64 = 1_000;

    /// How many entries there is room for; `None`: not even for those made in advance.
    fn entries(self) -> Option<u64> {
        let base = self
            .buckets
            .checked_mul(Self::BUCKET_BYTES)?
            .checked_add(Self::ENTRIES_IN_ADVANCE * Self::ENTRY_BYTES)?;
        let more = self.memory.checked_sub(base)?;
        Some(Self::ENTRIES_IN_ADVANCE + more / Self::ENTRY_BYTES)
    }
}

/// One set as loaded. What is learned while inspecting is kept apart from it, see [`Dataset::id`].
#[derive(Debug)]
pub struct Dataset {
    /// Tells sets apart.
    pub id: u64,
    /// What its values are.
    pub kind: Kind,
    /// How many values it may hold in all.
    pub most: u64,
    source: Option<String>,
    values: HashMap<Box<[u8]>, u16>,
}

impl Dataset {
    /// The reputation of a value of the file it was loaded from; 0 where the file has none.
    pub fn get(&self, key: &[u8]) -> Option<u16> {
        self.values.get(key).copied()
    }

    /// How many values were loaded.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Takes in the values of a file, `room` at most. Errors: the line, and what is wrong with it.
    fn load(&mut self, text: &[u8], with_reputation: bool, room: usize) -> Result<(), String> {
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let bad = |what: &str| format!("line {number}: {} is not {what}", excerpt(line));
            let (value, reputation) = match line.iter().position(|byte| *byte == b',') {
                Some(at) => (line[..at].trim_ascii(), Some(line[at + 1..].trim_ascii())),
                None => (line, None),
            };
            let reputation = match reputation {
                Some(text) => std::str::from_utf8(text)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| bad("a value, a comma and a reputation up to 65535"))?,
                None if with_reputation => return Err(bad("a value, a comma and a reputation")),
                None => 0,
            };
            let value = self.kind.read(value);
            let value = value.ok_or_else(|| bad(self.kind.form()))?;
            self.values.insert(value.into(), reputation);
            if self.values.len() as u64 > self.most {
                return Err(format!("line {number}: it does not fit into its memcap"));
            }
            if self.values.len() > room {
                return Err(format!(
                    "line {number}: more than {MAX_VALUES} values in all sets"
                ));
            }
        }
        Ok(())
    }
}

/// What a rule says of a set.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// `type`.
    pub kind: Option<Kind>,
    /// The file it is loaded from.
    pub source: Option<String>,
    /// How much it may hold.
    pub capacity: Capacity,
}

/// The sets of one load; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Datasets(Arc<Mutex<HashMap<String, Arc<Dataset>>>>);

impl Datasets {
    /// The set that a rule describes: the one of that name, or a new one with what its file holds, which `read` reads.
    ///
    /// Errors: why it contradicts the one there is, or cannot be made.
    pub fn get<'t>(
        &self,
        described: &Described,
        with_reputation: bool,
        read: impl FnOnce(&str) -> Result<Cow<'t, [u8]>, String>,
    ) -> Result<Arc<Dataset>, String> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let name = &described.name;
        if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_whitespace) {
            return Err(format!("'{name}' is not a set's name"));
        }
        // Nothing is left half-done where a thread might have panicked.
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sets.get(name) {
            let same_kind = described.kind.is_none_or(|kind| kind == known.kind);
            let same_source = described.source.is_none() || described.source == known.source;
            return if same_kind && same_source {
                Ok(known.clone())
            } else {
                Err(format!("set '{name}' was described otherwise before"))
            };
        }
        let kind = described
            .kind
            .ok_or_else(|| format!("set '{name}' has no type"))?;
        if sets.len() >= MAX_SETS {
            return Err(format!("more than {MAX_SETS} sets"));
        }
        let most = described
            .capacity
            .entries()
            .ok_or("its memcap is too small for its hashsize")?;
        let mut set = Dataset {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            kind,
            most,
            source: described.source.clone(),
            values: HashMap::new(),
        };
        if let Some(source) = &described.source {
            let named = |why| format!("file '{source}': {why}");
            let text = read(source).map_err(named)?;
            let held: usize = sets.values().map(|set| set.len()).sum();
            let room = MAX_VALUES.saturating_sub(held);
            set.load(&text, with_reputation, room).map_err(named)?;
        }
        let set = Arc::new(set);
        sets.insert(name.clone(), set.clone());
        Ok(set)
    }
}

/// `dataset`.
#[derive(Clone, Debug)]
pub struct DatasetTest {
    /// The set.
    pub set: Arc<Dataset>,
    /// What is asked of it.
    pub command: Command,
}

/// What `dataset` asks of its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The value is in it.
    IsSet,
    /// It is not.
    IsNotSet,
    /// It was not, and now is.
    Set,
    /// It was, and is not any more.
    Unset,
}

/// `datarep`.
#[derive(Clone, Debug)]
pub struct ReputationTest {
    /// The set.
    pub set: Arc<Dataset>,
    /// How a value's reputation compares with `with`; values without one never do.
    pub comparison: std::cmp::Ordering,
    /// With what.
    pub with: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str, kind: Kind) -> Described {
        Described {
            name: name.into(),
            kind: Some(kind),
            source: Some("list".into()),
            ..Described::default()
        }
    }

    fn no_values(_: &str) -> Result<Cow<'static, [u8]>, String> {
        Ok(Cow::default())
    }

    #[test]
    fn reads_each_kind_of_value() {
        let get = |kind, text: &str, key: &[u8]| {
            let sets = Datasets::default();
            let set = sets.get(&described("s", kind), false, |_| Ok(text.as_bytes().into()));
            set.map(|set| set.get(key))
        };
        assert_eq!(
            get(Kind::Text, "Zm9v\n# no\n\nYg==,7\r\n", b"b"),
            Ok(Some(7))
        );
        assert_eq!(get(Kind::Text, "Zm9v", b"fo"), Ok(None));
        assert_eq!(get(Kind::Ip4, "10.0.0.1", &[10, 0, 0, 1]), Ok(Some(0)));
        assert_eq!(
            get(Kind::Ip, "::ffff:10.0.0.1", &[10, 0, 0, 1]),
            Ok(Some(0))
        );
        assert_eq!(get(Kind::Md5, &"0a".repeat(16), &[10; 16]), Ok(Some(0)));
        for (kind, bad) in [
            (Kind::Text, "Zm9v!"),
            (Kind::Md5, "0a"),
            (Kind::Ip4, "::1"),
            (Kind::Text, "Zm9v,70000"),
        ] {
            assert!(get(kind, bad, b"").is_err(), "{bad}");
        }
    }

    #[test]
    fn says_where_a_file_is_wrong_and_shows_little_of_it() {
        let sets = Datasets::default();
        let text = "# names\nZm9v\nroot:\u{1b}x:0:0:root:/root:/bin/bash\n";
        let refused = sets.get(&described("s", Kind::Text), false, |_| {
            Ok(text.as_bytes().into())
        });
        assert_eq!(
            refused.unwrap_err(),
            "file 'list': line 3: 'root:\\x1bx:0:0:root:/ro…' is not base64"
        );
        let missing = sets.get(&described("s", Kind::Text), false, |_| Err("gone".into()));
        assert_eq!(missing.unwrap_err(), "file 'list': gone");
    }

    #[test]
    fn all_sets_together_hold_no_more_than_their_bound() {
        let mut set = Dataset {
            id: 0,
            kind: Kind::Ip4,
            most: 9,
            source: None,
            values: HashMap::new(),
        };
        let mut load = |room| set.load(b"10.0.0.1\n10.0.0.2\n", false, room);
        assert!(load(2).is_ok());
        assert!(load(1).unwrap_err().contains("in all sets"));
    }

    #[test]
    fn a_name_stands_for_one_set() {
        let sets = Datasets::default();
        let first = sets
            .get(&described("s", Kind::Text), false, no_values)
            .unwrap();
        let same = Described {
            name: "s".into(),
            ..Described::default()
        };
        assert_eq!(sets.get(&same, false, no_values).unwrap().id, first.id);
        assert!(sets
            .get(&described("s", Kind::Ip), false, no_values)
            .is_err());
        assert!(sets
            .get(&described("", Kind::Ip), false, no_values)
            .is_err());
    }

    #[test]
    fn a_set_holds_no_more_than_its_memcap() {
        let sets = Datasets::default();
        let small = Described {
            capacity: Capacity {
                memory: 88_064,
                buckets: 1,
            },
            ..described("s", Kind::Ip4)
        };
        let lines = |count: u32| {
            let lines = (0..count).map(|host| format!("{}\n", Ipv4Addr::from(host)));
            lines.collect::<String>()
        };
        let hold = |count| sets.get(&small, false, |_| Ok(lines(count).into_bytes().into()));
        assert!(hold(1_001).is_err());
        assert!(hold(1_000).is_ok());
        let smaller = Described {
            capacity: Capacity {
                memory: 88_063,
                buckets: 1,
            },
            ..described("t", Kind::Ip4)
        };
        assert!(sets.get(&smaller, false, no_values).is_err());
    }
}
