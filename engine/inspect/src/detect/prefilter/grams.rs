//! Where in a text a gram of some pattern stands.
use std::collections::HashMap;

use vector::{folded, GramSet, GRAM, STRIDE};

use crate::rule::content::commonness;

use super::short::{Short, Sought};

/// Up to so many patterns are looked for as if they were short: with few of them [`vector::Starts`] sees as little
/// where there is nothing as [`GramSet`] does, at less than half the cost.
const FEW: usize = 40;

/// The grams of some patterns.
#[derive(Debug)]
pub struct Grams {
    long: Option<Long>,
    short: Option<Short>,
}

/// Those of patterns longer than [`GRAM`] bytes.
///
/// A pattern has two grams, one at each of two offsets that follow each other: whichever place it stands at, one of
/// them is at an even offset, so that only these are asked about.
#[derive(Debug)]
struct Long {
    set: GramSet,
    /// Where the entries of each bucket begin, a power of two of them; one more at the end.
    starts: Box<[u32]>,
    entries: Box<[Entry]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    text: u32,
    /// What the text has in [`view`] of the gram, folded, and which of its bits: most texts that share a gram are
    /// told apart by what stands around it, without a look at the whole text.
    around: u64,
    mask: u64,
    /// How many bytes of the text stand before the gram.
    before: u8,
}

/// How many bytes before a gram are in view.
const VIEW_BEFORE: usize = 2;
const VIEW: usize = 8;
const FOLD: u64 = 0x2020_2020_2020_2020;

/// The bytes around the gram at `at`, folded, zeros where the text has none.
fn view(bytes: &[u8], at: usize) -> u64 {
    let whole = at
        .checked_sub(VIEW_BEFORE)
        .and_then(|start| bytes.get(start..)?.first_chunk());
    let view = whole.copied().unwrap_or_else(|| {
        std::array::from_fn(|place| {
            let here = (at + place).checked_sub(VIEW_BEFORE);
            here.and_then(|here| bytes.get(here)).copied().unwrap_or(0)
        })
    });
    u64::from_le_bytes(view) | FOLD
}

impl Entry {
    fn new(bytes: &[u8], text: u32, before: usize) -> Self {
        let held = |place: &usize| {
            (before + place)
                .checked_sub(VIEW_BEFORE)
                .is_some_and(|at| at < bytes.len())
        };
        let mask = (0..VIEW)
            .filter(held)
            .fold(0, |mask, place| mask | 0xff << (8 * place));
        let around = view(bytes, before);
        Self {
            text,
            around: around & mask,
            mask,
            before: before as u8,
        }
    }

    fn gram(&self) -> u32 {
        gram_in(self.around)
    }
}

/// The gram that is in view.
fn gram_in(view: u64) -> u32 {
    (view >> (8 * VIEW_BEFORE)) as u32
}

/// Collects grams.
#[derive(Debug, Default)]
pub struct Builder<'t> {
    entries: Vec<Entry>,
    /// How many patterns have each gram.
    shared: HashMap<u32, u32>,
    /// Shorter patterns.
    short: Vec<Sought<'t>>,
    /// What would be looked for of the others if they were few.
    few: Vec<Sought<'t>>,
}

impl<'t> Builder<'t> {
    /// Adds a text by the grams that are rarest in traffic and among the grams of other texts. `nocase`: the case
    /// of its letters does not count.
    pub fn add(&mut self, bytes: &'t [u8], nocase: bool, text: u32) {
        let price = |gram: u32| {
            // Folded, zero is a blank: as common.
            let bytes = gram.to_le_bytes();
            let common: u32 = bytes.iter().map(|byte| u32::from(commonness(*byte))).sum();
            let shared = self.shared.get(&gram).copied().unwrap_or(0);
            common + shared.saturating_mul(2)
        };
        let grams = |window: &[u8]| [gram_of(window), gram_of(&window[1..])];
        let windows = bytes.windows(GRAM + STRIDE - 1).map(grams).enumerate();
        let best = windows.min_by_key(|(_, [even, odd])| price(*even) + price(*odd));
        let sought = |before| Sought {
            bytes,
            nocase,
            before,
            text,
        };
        let Some((before, grams)) = best else {
            self.short.push(sought(0));
            return;
        };
        if self.few.len() <= FEW {
            self.few.push(sought(before));
        }
        for (before, gram) in (before..).zip(grams) {
            *self.shared.entry(gram).or_default() += 1;
            self.entries.push(Entry::new(bytes, text, before));
        }
    }

    /// The finished grams.
    pub fn build(mut self) -> Grams {
        if self.few.len() + self.short.len() <= FEW {
            self.short.append(&mut self.few);
            self.entries.clear();
        }
        Grams {
            long: (!self.entries.is_empty()).then(|| Long::new(self.entries, self.shared.len())),
            short: (!self.short.is_empty()).then(|| Short::new(&self.short)),
        }
    }
}

impl Long {
    fn new(mut entries: Vec<Entry>, distinct: usize) -> Self {
        let buckets = distinct.next_power_of_two();
        let of = |entry: &Entry| bucket(entry.gram(), buckets);
        entries.sort_unstable_by_key(|entry| (of(entry), entry.gram(), entry.text));
        let mut starts = vec![0; buckets + 1];
        entries.iter().for_each(|entry| starts[of(entry) + 1] += 1);
        (0..buckets).for_each(|at| starts[at + 1] += starts[at]);
        Self {
            set: GramSet::new(entries.iter().map(|entry| entry.gram()), distinct),
            starts: starts.into(),
            entries: entries.into(),
        }
    }

    /// The texts that have what is in view.
    fn entries_of(&self, view: u64) -> impl Iterator<Item = &Entry> {
        let bucket = bucket(gram_in(view), self.starts.len() - 1);
        let ends = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        let entries = self.entries[ends].iter();
        entries.filter(move |entry| view & entry.mask == entry.around)
    }

    fn scan(&self, bytes: &[u8], from: usize, mut see: impl FnMut(u32, usize)) {
        self.set.scan(bytes, from, &mut |start, mut found| {
            while found != 0 {
                let at = start + found.trailing_zeros() as usize * STRIDE;
                found &= found - 1;
                for entry in self.entries_of(view(bytes, at)) {
                    match at.checked_sub(entry.before.into()) {
                        Some(place) if place >= from => see(entry.text, place),
                        _ => {}
                    }
                }
            }
        });
    }
}

impl Grams {
    /// Calls `see` with each text whose gram is there, or that may begin there, at or past `from`, and where; such
    /// a text may reach past the end.
    pub fn scan(&self, bytes: &[u8], from: usize, mut see: impl FnMut(u32, usize)) {
        if let Some(long) = &self.long {
            long.scan(bytes, from, &mut see);
        }
        if let Some(short) = &self.short {
            short.scan(bytes, from, see);
        }
    }

    /// The most texts that one offset is compared with.
    #[cfg(test)]
    pub fn most_shared(&self) -> usize {
        let long = self.long.iter();
        let spans = long.flat_map(|long| long.starts.windows(2).map(|ends| ends[1] - ends[0]));
        spans.max().unwrap_or(0) as usize
    }
}

/// A gram's bucket, of a power of two of them. Not by the hash of [`GramSet`]: what that one confuses is told apart.
fn bucket(gram: u32, buckets: usize) -> usize {
    let mixed = (gram ^ gram >> 15).wrapping_mul(0x85eb_ca6b);
    (mixed ^ mixed >> 13) as usize & (buckets - 1)
}

/// The first gram of `window`, which has enough bytes.
fn gram_of(window: &[u8]) -> u32 {
    folded(window.first_chunk().copied().unwrap_or_default())
}
