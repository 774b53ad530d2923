//! Patterns that can stand at one offset only.
//!
//! Many signatures say how a message begins. Such a pattern is compared where it would stand and looked for
//! nowhere else.

/// Length of what texts are told apart by, in bytes.
const HEAD: usize = 4;
/// Heads are compared with this bit of every byte set, so that letters of either case are alike.
const FOLD: u8 = 0x20;
/// How many first bytes are told apart.
const FIRSTS: usize = 256;

/// Texts by the offset at which they stand.
#[derive(Debug, Default)]
pub struct Anchored {
    /// In order of offsets.
    places: Vec<Place>,
    heads: Vec<Head>,
}

/// The texts of one offset.
#[derive(Debug)]
struct Place {
    offset: u32,
    /// Where their heads begin; they end where the next place's begin.
    heads: u32,
    /// A bit for the first byte of each head.
    firsts: [u64; FIRSTS / 64],
    /// A bit for each length that heads have.
    lengths: u8,
}

/// The first bytes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
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

/// Where the bit of a first byte is: word and bit.
fn first_of(byte: u8) -> (usize, u64) {
    let number = usize::from(byte | FOLD) % FIRSTS;
    (number / 64, 1 << (number % 64))
}

impl Anchored {
    /// Of texts with their offsets and bytes.
    pub fn new<'a>(texts: impl Iterator<Item = (u32, &'a [u8], u32)>) -> Self {
        let mut all: Vec<_> = texts
            .map(|(offset, bytes, text)| {
                let key = key(bytes);
                (offset, Head { key, text }, bytes.first().copied())
            })
            .collect();
        all.sort_unstable();
        let mut places: Vec<Place> = Vec::new();
        for (at, (offset, head, first)) in (0u32..).zip(&all) {
            if places.last().is_none_or(|last| last.offset != *offset) {
                places.push(Place {
                    offset: *offset,
                    heads: at,
                    firsts: [0; FIRSTS / 64],
                    lengths: 0,
                });
            }
            if let Some(place) = places.last_mut() {
                let (word, bit) = first_of(first.unwrap_or_default());
                place.firsts[word] |= bit;
                place.lengths |= 1 << (head.key >> 32);
            }
        }
        let heads = all.into_iter().map(|(_, head, _)| head).collect();
        Self { places, heads }
    }

    /// Calls `see` with each text whose head stands at its offset, if that is at or past `from`, and where in
    /// `bytes` that is. `base`: the offset of `bytes[0]`.
    pub fn scan(&self, bytes: &[u8], from: usize, base: u64, mut see: impl FnMut(u32, usize)) {
        let first = base.saturating_add(from as u64);
        let begin = self
            .places
            .partition_point(|place| u64::from(place.offset) < first);
        for (number, place) in self.places.iter().enumerate().skip(begin) {
            let start = (u64::from(place.offset) - base) as usize;
            let Some(found) = bytes.get(start..).filter(|found| !found.is_empty()) else {
                return;
            };
            let (word, bit) = first_of(found[0]);
            if place.firsts[word] & bit == 0 {
                continue;
            }
            let next = self.places.get(number + 1);
            let end = next.map_or(self.heads.len(), |next| next.heads as usize);
            let heads = &self.heads[place.heads as usize..end];
            for length in 1..=HEAD.min(found.len()) {
                if place.lengths >> length & 1 != 0 {
                    let wanted = key(&found[..length]);
                    let from = heads.partition_point(|head| head.key < wanted);
                    let same = heads[from..].iter();
                    same.take_while(|head| head.key == wanted)
                        .for_each(|head| see(head.text, start));
                }
            }
        }
    }
}
