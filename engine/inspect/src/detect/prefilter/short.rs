//! Where in a text a pattern stands that is too short for a gram, or one of few.
use vector::{Starts, DEPTH};

/// A pattern, and which bytes of it are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'t> {
    /// All of it.
    pub bytes: &'t [u8],
    /// Whether the case of its letters does not count.
    pub nocase: bool,
    /// How many bytes stand before those that are looked for.
    pub before: usize,
    /// Its number.
    pub text: u32,
}

impl<'t> Sought<'t> {
    fn head(&self) -> &'t [u8] {
        let head = self.bytes.get(self.before..).unwrap_or_default();
        &head[..head.len().min(DEPTH)]
    }
}

/// Short patterns.
#[derive(Debug)]
pub struct Short {
    starts: Starts,
    /// Where the entries of each first byte begin; one more at the end.
    firsts: Box<[u32]>,
    entries: Box<[Entry]>,
}

/// One way in which what is looked for of a text may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    first: u8,
    /// Its first bytes as a number, with the bits of [`Self::case`] set.
    head: u32,
    /// Which bits of the number it has.
    mask: u32,
    /// The bits that do not count.
    case: u32,
    text: u32,
    /// How many bytes of the text stand before these.
    before: u8,
}

/// A letter's bit that tells its case.
const CASE: u8 = 0x20;

/// The first bytes as a number, zeros for those behind the end.
fn head(bytes: &[u8]) -> u32 {
    match bytes.first_chunk() {
        Some(head) => u32::from_le_bytes(*head),
        None => {
            let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
            u32::from_le_bytes(std::array::from_fn(byte))
        }
    }
}

impl Short {
    /// Of texts; none is empty.
    pub fn new(texts: &[Sought<'_>]) -> Self {
        let mut entries = Vec::new();
        for sought in texts {
            let (bytes, nocase) = (sought.head(), sought.nocase);
            let Some(first) = bytes.first() else {
                continue;
            };
            let held = |at: usize| bytes.get(at).copied();
            let mask = |at: usize| held(at).map_or(0, |_| u8::MAX);
            let case = |at: usize| match held(at) {
                Some(byte) if nocase && byte.is_ascii_alphabetic() => CASE,
                _ => 0,
            };
            let [mask, case] = [&mask as &dyn Fn(usize) -> u8, &case]
                .map(|byte| u32::from_le_bytes(std::array::from_fn(byte)));
            for first in cases(*first, nocase) {
                entries.push(Entry {
                    first,
                    head: head(bytes) & mask | case,
                    mask,
                    case,
                    text: sought.text,
                    before: sought.before as u8,
                });
            }
        }
        entries.sort_unstable();
        entries.dedup();
        let first = |byte: u32| entries.partition_point(|entry| u32::from(entry.first) < byte);
        Self {
            starts: Starts::new(texts.iter().map(|sought| (sought.head(), sought.nocase))),
            firsts: (0..=256).map(|byte| first(byte) as u32).collect(),
            entries: entries.into(),
        }
    }

    /// Calls `see` with each text that may begin at or past `from`, and where; such a text may reach past the end.
    pub fn scan(&self, bytes: &[u8], from: usize, mut see: impl FnMut(u32, usize)) {
        self.starts.scan(bytes, from, &mut |block, mut found| {
            while found != 0 {
                let start = block + found.trailing_zeros() as usize;
                found &= found - 1;
                let rest = bytes.get(start..).unwrap_or_default();
                for entry in self.beginning(rest) {
                    match start.checked_sub(entry.before.into()) {
                        Some(place) if place >= from => see(entry.text, place),
                        _ => {}
                    }
                }
            }
        });
    }

    /// Those that `rest` begins with.
    fn beginning<'a>(&'a self, rest: &'a [u8]) -> impl Iterator<Item = &'a Entry> + 'a {
        let first = rest.first().map_or(256, |first| usize::from(*first));
        let end = self.firsts.get(first + 1).copied().unwrap_or_default() as usize;
        let begin = self.firsts[first] as usize;
        let entries = self.entries.get(begin..end).unwrap_or_default().iter();
        let here = head(rest);
        entries.filter(move |entry| here & entry.mask | entry.case == entry.head)
    }
}

/// A byte, or it lower-case and upper-case.
fn cases(byte: u8, nocase: bool) -> [u8; 2] {
    match nocase {
        true => [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()],
        false => [byte; 2],
    }
}
