//! Patterns that can stand at one offset only.
//!
//! Many signatures say how a message begins. Such a pattern is compared where it would stand and looked for
//! nowhere else.

/// Length of what texts are told apart by, in bytes.
const HEAD: usize = 4;
/// Heads are compared with this bit of every byte set, so that letters of either case are alike.
const FOLD: u8 = 0x20;
/// How many first bytes are told apart: those that [`FOLD`] leaves.
const FIRSTS: usize = 128;

/// Texts by the offset at which they stand.
#[derive(Debug, Default)]
pub struct Anchored {
    /// In order of offsets.
    places: Vec<Place>,
    /// Where the heads of each place and first byte begin, in order of both; one more at the end.
    runs: Vec<u32>,
    heads: Vec<Head>,
}

/// The texts of one offset.
#[derive(Debug)]
struct Place {
    offset: u32,
    /// Its first run.
    runs: u32,
    /// How many of its runs are of the first word of [`Self::firsts`].
    lower: u32,
    /// A bit for the first byte of each run.
    firsts: [u64; FIRSTS / 64],
    /// A bit for each length that heads have.
    lengths: u8,
}

/// The first bytes of a text, in order of the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    first: u8,
    /// See [`key`].
    key: u64,
    text: u32,
}

/// At most [`HEAD`] bytes, folded, and how many: one number to compare.
fn key(bytes: &[u8]) -> u64 {
    let head = bytes.iter().take(HEAD);
    let folded = head.fold(0, |key, byte| key << 8 | u64::from(byte | FOLD));
    (bytes.len().min(HEAD) as u64) << 32 | folded
}

/// A first byte's number among those that [`FOLD`] leaves, in their order.
fn number_of(byte: u8) -> u8 {
    byte & 0x1f | byte >> 1 & 0x60
}

impl Place {
    fn new(offset: u32, runs: usize) -> Self {
        Self {
            offset,
            runs: runs as u32,
            lower: 0,
            firsts: [0; FIRSTS / 64],
            lengths: 0,
        }
    }

    /// Notes a head; whether it begins a run, being the first one with its first byte.
    fn add(&mut self, head: &Head) -> bool {
        self.lengths |= 1 << (head.key >> 32);
        let word = &mut self.firsts[usize::from(head.first / 64)];
        let bit = 1 << (head.first % 64);
        let begins = *word & bit == 0;
        *word |= bit;
        self.lower += u32::from(begins && head.first < 64);
        begins
    }

    /// The run of those that begin with `byte`.
    fn run(&self, byte: u8) -> Option<usize> {
        let number = number_of(byte);
        let word = self.firsts[usize::from(number / 64)];
        let bit = 1 << (number % 64);
        if word & bit == 0 {
            return None;
        }
        let before = (word & (bit - 1)).count_ones() + self.lower * u32::from(number >= 64);
        Some((self.runs + before) as usize)
    }
}

impl Anchored {
    /// Of texts with their offsets and bytes.
    pub fn new<'a>(texts: impl Iterator<Item = (u32, &'a [u8], u32)>) -> Self {
        let mut all: Vec<_> = texts
            .filter(|(_, bytes, _)| !bytes.is_empty())
            .map(|(offset, bytes, text)| {
                let first = number_of(bytes.first().copied().unwrap_or_default());
                let key = key(bytes);
                (offset, Head { first, key, text })
            })
            .collect();
        all.sort_unstable();
        let mut made = Self::default();
        for (at, (offset, head)) in (0u32..).zip(&all) {
            if made.places.last().is_none_or(|last| last.offset != *offset) {
                made.places.push(Place::new(*offset, made.runs.len()));
            }
            if made.places.last_mut().is_some_and(|place| place.add(head)) {
                made.runs.push(at);
            }
        }
        made.runs.push(all.len() as u32);
        made.heads = all.into_iter().map(|(_, head)| head).collect();
        made
    }

    /// Calls `see` with each text whose head stands at its offset, if that is at or past `from`, and where in
    /// `bytes` that is. `base`: the offset of `bytes[0]`.
    pub fn scan(&self, bytes: &[u8], from: usize, base: u64, mut see: impl FnMut(u32, usize)) {
        let first = base.saturating_add(from as u64);
        let begin = match first {
            0 => 0,
            _ => self
                .places
                .partition_point(|place| u64::from(place.offset) < first),
        };
        for place in &self.places[begin..] {
            let start = (u64::from(place.offset) - base) as usize;
            let Some(found) = bytes.get(start..).filter(|found| !found.is_empty()) else {
                return;
            };
            let Some(run) = place.run(found[0]) else {
                continue;
            };
            let heads = &self.heads[self.runs[run] as usize..self.runs[run + 1] as usize];
            let mut lengths = place.lengths;
            while lengths != 0 {
                let length = lengths.trailing_zeros() as usize;
                lengths &= lengths - 1;
                let Some(wanted) = found.get(..length).map(key) else {
                    break;
                };
                let from = heads.partition_point(|head| head.key < wanted);
                let same = heads[from..].iter();
                same.take_while(|head| head.key == wanted)
                    .for_each(|head| see(head.text, start));
            }
        }
    }
}
