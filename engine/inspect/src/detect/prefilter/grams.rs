//! Where in a text a gram of some pattern stands.
use std::collections::HashMap;

use crate::rule::content::commonness;

/// Longest gram, in bytes. Shorter patterns have grams of their own length.
pub const MAX_GRAM: usize = 4;
/// Grams are compared with this bit of every byte set, so that letters of either case are alike.
const FOLD: u32 = 0x2020_2020;
/// Bits of the bitmap for each gram in it: so many random texts in one pass for nothing.
const BITS_PER_GRAM: usize = 16;
/// Size of the bitmap, as a power of two: 512 bytes to 64 KiB.
const SMALLEST_BITMAP: u32 = 12;
const LARGEST_BITMAP: u32 = 19;

/// The grams of some patterns, all of one length.
#[derive(Debug)]
pub struct Grams {
    length: usize,
    /// A gram's hash is its product's top bits.
    shift: u32,
    bitmap: Vec<u32>,
    /// How many bits are set before each word of the bitmap.
    ranks: Vec<u32>,
    /// Where the entries of each set bit begin; one more at the end.
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    gram: u32,
    text: u32,
    /// How many bytes of the text stand before the gram.
    before: u8,
}

/// Collects grams of one length.
#[derive(Debug, Default)]
pub struct Builder {
    entries: Vec<Entry>,
    /// How many patterns have each gram.
    shared: HashMap<u32, u32>,
}

impl Builder {
    /// Adds a text by the gram that is rarest in traffic and among the grams of other texts.
    pub fn add(&mut self, bytes: &[u8], text: u32) {
        let length = bytes.len().min(MAX_GRAM);
        if length == 0 {
            return;
        }
        let price = |window: &[u8]| {
            let common: u32 = window.iter().map(|byte| u32::from(commonness(*byte))).sum();
            let shared = self.shared.get(&fold(window)).copied().unwrap_or(0);
            common + shared.saturating_mul(2)
        };
        let windows = bytes.windows(length).enumerate();
        let Some((before, window)) = windows.min_by_key(|(_, window)| price(window)) else {
            return;
        };
        let gram = fold(window);
        *self.shared.entry(gram).or_default() += 1;
        let before = before as u8;
        self.entries.push(Entry { gram, text, before });
    }

    /// The finished grams, `length` bytes long; `None` without any.
    pub fn build(self, length: usize) -> Option<Grams> {
        if self.entries.is_empty() {
            return None;
        }
        let wanted = (self.shared.len() * BITS_PER_GRAM).next_power_of_two();
        let power = wanted.ilog2().clamp(SMALLEST_BITMAP, LARGEST_BITMAP);
        let shift = u32::BITS - power;
        let mut entries = self.entries;
        entries.sort_unstable_by_key(|entry| (hash(entry.gram, shift), entry.gram, entry.text));
        let mut bitmap = vec![0u32; 1 << (power - 5)];
        let mut starts = Vec::new();
        let mut before = None;
        for (at, entry) in (0u32..).zip(&entries) {
            let hash = hash(entry.gram, shift);
            if before != Some(hash) {
                before = Some(hash);
                bitmap[hash as usize >> 5] |= 1 << (hash & 31);
                starts.push(at);
            }
        }
        starts.push(entries.len() as u32);
        let mut rank = 0;
        let ranks = bitmap.iter().map(|word| {
            rank += word.count_ones();
            rank - word.count_ones()
        });
        Some(Grams {
            length,
            shift,
            ranks: ranks.collect(),
            bitmap,
            starts,
            entries,
        })
    }
}

impl Grams {
    /// Calls `see` with each text whose gram is there and that would begin at or past `from`, and where.
    pub fn scan(&self, bytes: &[u8], from: usize, see: impl FnMut(u32, usize)) {
        match self.length {
            1 => self.scan_length::<1>(bytes, from, see),
            2 => self.scan_length::<2>(bytes, from, see),
            3 => self.scan_length::<3>(bytes, from, see),
            _ => self.scan_length::<MAX_GRAM>(bytes, from, see),
        }
    }

    fn scan_length<const LENGTH: usize>(
        &self,
        bytes: &[u8],
        from: usize,
        mut see: impl FnMut(u32, usize),
    ) {
        let windows = bytes.get(from..).unwrap_or_default().windows(LENGTH);
        for (at, window) in windows.enumerate() {
            let mut gram = [0; MAX_GRAM];
            gram[..LENGTH].copy_from_slice(window);
            let gram = u32::from_le_bytes(gram) | FOLD;
            let hash = hash(gram, self.shift);
            if self.bitmap[hash as usize >> 5] >> (hash & 31) & 1 != 0 {
                self.entries_of(gram, hash, |entry| {
                    if at >= usize::from(entry.before) {
                        see(entry.text, from + at - usize::from(entry.before));
                    }
                });
            }
        }
    }

    fn entries_of(&self, gram: u32, hash: u32, see: impl FnMut(&Entry)) {
        let word = hash as usize >> 5;
        let lower = self.bitmap[word] & ((1 << (hash & 31)) - 1);
        let set = (self.ranks[word] + lower.count_ones()) as usize;
        let entries = &self.entries[self.starts[set] as usize..self.starts[set + 1] as usize];
        entries
            .iter()
            .filter(|entry| entry.gram == gram)
            .for_each(see);
    }

    /// The most texts that one offset is compared with.
    #[cfg(test)]
    pub fn most_shared(&self) -> usize {
        let spans = self.starts.windows(2).map(|ends| ends[1] - ends[0]);
        spans.max().unwrap_or(0) as usize
    }
}

fn fold(window: &[u8]) -> u32 {
    let mut gram = [0; MAX_GRAM];
    gram[..window.len()].copy_from_slice(window);
    u32::from_le_bytes(gram) | FOLD
}

/// The upper bits of a product with a large odd number (Knuth's multiplicative hashing).
fn hash(gram: u32, shift: u32) -> u32 {
    gram.wrapping_mul(0x9e37_79b1) >> shift
}
