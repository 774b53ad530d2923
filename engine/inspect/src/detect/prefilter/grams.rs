//! Where in a text a gram of some pattern stands.
use std::collections::HashMap;

use crate::rule::content::commonness;

use super::short::Short;

/// Length of a gram, in bytes. Patterns that are not longer have none: see [`super::short`].
pub const GRAM: usize = 4;
/// A longer pattern has two grams, one at each of two offsets that follow each other: whichever place it stands
/// at, one of them is at an even offset, so that only these are asked about.
const STRIDE: usize = 2;
/// Grams are compared with this bit of every byte set, so that letters of either case are alike.
const FOLD: u32 = 0x2020_2020;
/// Grams that a bitmap of each size is made for: of thirty-two random grams at most one is looked up for nothing.
const IN_SMALL: usize = 1 << 7;
const IN_MIDDLE: usize = 1 << 11;
/// How many offsets are looked at in one step, and how many bytes those take: two words.
const STEP: usize = 8;
const STEP_BYTES: usize = STEP / 2 + 8;
/// Room for what is left where no whole step is, filled up with zeros.
const REST_BYTES: usize = STEP + STEP_BYTES;

/// The grams of some patterns.
#[derive(Debug)]
pub struct Grams {
    long: Option<Long>,
    short: Option<Short>,
}

/// Those of patterns longer than [`GRAM`] bytes.
#[derive(Debug)]
struct Long {
    bitmap: Bitmap,
    /// How many bits are set before each word of the bitmap.
    ranks: Vec<u32>,
    /// Where the entries of each set bit begin; one more at the end.
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

/// A bit for the hash of each gram. Of a few sizes, known to the compiler, since each byte of traffic asks it.
#[derive(Debug)]
enum Bitmap {
    Small(Box<[u32; 1 << 7]>),
    Middle(Box<[u32; 1 << 11]>),
    Large(Box<[u32; 1 << 14]>),
}

impl Bitmap {
    fn new(grams: usize) -> Self {
        if grams <= IN_SMALL {
            Self::Small(Box::new([0; 1 << 7]))
        } else if grams <= IN_MIDDLE {
            Self::Middle(Box::new([0; 1 << 11]))
        } else {
            Self::Large(Box::new([0; 1 << 14]))
        }
    }

    fn words(&self) -> &[u32] {
        match self {
            Self::Small(words) => &words[..],
            Self::Middle(words) => &words[..],
            Self::Large(words) => &words[..],
        }
    }

    fn words_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Small(words) => &mut words[..],
            Self::Middle(words) => &mut words[..],
            Self::Large(words) => &mut words[..],
        }
    }

    /// The number of a gram's bit.
    fn hash(&self, gram: u32) -> usize {
        hash(gram, self.words().len())
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    gram: u32,
    text: u32,
    /// How many bytes of the text stand before the gram.
    before: u8,
}

/// Collects grams.
#[derive(Debug, Default)]
pub struct Builder<'t> {
    entries: Vec<Entry>,
    /// How many patterns have each gram.
    shared: HashMap<u32, u32>,
    /// Shorter patterns, with whether the case of their letters does not count.
    short: Vec<(&'t [u8], bool, u32)>,
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
        let grams = |window: &[u8]| [gram_of(window) | FOLD, gram_of(&window[1..]) | FOLD];
        let windows = bytes.windows(GRAM + STRIDE - 1).map(grams).enumerate();
        let best = windows.min_by_key(|(_, [even, odd])| price(*even) + price(*odd));
        let Some((before, grams)) = best else {
            self.short.push((bytes, nocase, text));
            return;
        };
        for (before, gram) in (before as u8..).zip(grams) {
            *self.shared.entry(gram).or_default() += 1;
            self.entries.push(Entry { gram, text, before });
        }
    }

    /// The finished grams.
    pub fn build(self) -> Grams {
        Grams {
            long: (!self.entries.is_empty()).then(|| Long::new(self.entries, self.shared.len())),
            short: (!self.short.is_empty()).then(|| Short::new(&self.short)),
        }
    }
}

impl Long {
    fn new(mut entries: Vec<Entry>, distinct: usize) -> Self {
        let mut bitmap = Bitmap::new(distinct);
        entries.sort_unstable_by_key(|entry| (bitmap.hash(entry.gram), entry.gram, entry.text));
        let mut starts = Vec::new();
        let mut before = None;
        for (at, entry) in (0u32..).zip(&entries) {
            let hash = bitmap.hash(entry.gram);
            if before != Some(hash) {
                before = Some(hash);
                bitmap.words_mut()[hash / 32] |= 1 << (hash % 32);
                starts.push(at);
            }
        }
        starts.push(entries.len() as u32);
        entries.shrink_to_fit();
        let mut rank = 0;
        let ranks = bitmap.words().iter().map(|word| {
            rank += word.count_ones();
            rank - word.count_ones()
        });
        Self {
            ranks: ranks.collect(),
            bitmap,
            starts,
            entries,
        }
    }

    /// The texts that have this gram, and some others.
    fn entries_of(&self, gram: u32) -> &[Entry] {
        let hash = self.bitmap.hash(gram);
        let (word, bit) = (self.bitmap.words()[hash / 32], hash % 32);
        if word >> bit & 1 == 0 {
            return &[];
        }
        let lower = word & ((1 << bit) - 1);
        let set = (self.ranks[hash / 32] + lower.count_ones()) as usize;
        &self.entries[self.starts[set] as usize..self.starts[set + 1] as usize]
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

impl Long {
    fn scan(&self, bytes: &[u8], from: usize, mut see: impl FnMut(u32, usize)) {
        let new = bytes.get(from..).unwrap_or_default();
        let mut next = 0;
        while let Some((found, words)) = self.find(&new[next..]) {
            next += found;
            self.look(words, STEP_BYTES, next, |text, start| {
                see(text, from + start)
            });
            next += STEP;
        }
        next += whole_steps(new.len() - next) * STEP;
        let rest = &new[next..];
        let mut padded = [0; REST_BYTES];
        if let Some(start) = padded.get_mut(..rest.len()) {
            start.copy_from_slice(rest);
        }
        for at in (0..rest.len().saturating_sub(GRAM - 1)).step_by(STEP) {
            let words = words_of(&padded[at..]);
            self.look(words, rest.len() - at, next + at, |text, start| {
                see(text, from + start)
            });
        }
    }

    /// Looks at the first [`STEP`] offsets of `held` bytes, before which `passed` others stand.
    fn look(&self, words: [u64; 2], held: usize, passed: usize, mut see: impl FnMut(u32, usize)) {
        let gram = |at: usize| (words[at / (STEP / 2)] >> (8 * (at % (STEP / 2)))) as u32;
        for at in (0..STEP.min((held + 1).saturating_sub(GRAM))).step_by(STRIDE) {
            let gram = gram(at) | FOLD;
            let entries = self.entries_of(gram).iter();
            for entry in entries.filter(|entry| entry.gram == gram) {
                if let Some(start) = (passed + at).checked_sub(entry.before.into()) {
                    see(entry.text, start);
                }
            }
        }
    }

    /// The first offset, a multiple of [`STEP`], behind which some text may have its gram within a step.
    fn find(&self, bytes: &[u8]) -> Option<(usize, [u64; 2])> {
        match &self.bitmap {
            Bitmap::Small(words) => find(bytes, |gram| asks(words, gram)),
            Bitmap::Middle(words) => find(bytes, |gram| asks(words, gram)),
            Bitmap::Large(words) => find(bytes, |gram| asks(words, gram)),
        }
    }
}

/// The first bytes of `window`, of which there are enough.
fn gram_of(window: &[u8]) -> u32 {
    u32::from_le_bytes(window.first_chunk().copied().unwrap_or_default())
}

/// The words in which the grams of a step stand.
fn words_of(bytes: &[u8]) -> [u64; 2] {
    let step: [u8; STEP_BYTES] = bytes.first_chunk().copied().unwrap_or_default();
    [0, STEP / 2].map(|at| {
        let word = step[at..].first_chunk().copied();
        u64::from_le_bytes(word.unwrap_or_default())
    })
}

/// How many steps the bytes are enough for.
fn whole_steps(bytes: usize) -> usize {
    match bytes.checked_sub(STEP_BYTES) {
        Some(more) => more / STEP + 1,
        None => 0,
    }
}

/// The upper bits of a product with a large odd number (Knuth's multiplicative hashing), so many that each is
/// a bit in `words` words, which are a power of two.
fn hash(gram: u32, words: usize) -> usize {
    let bits = words.trailing_zeros() + u32::BITS.trailing_zeros();
    (gram.wrapping_mul(0x9e37_79b1) >> (u32::BITS - bits)) as usize
}

/// Whether a gram's bit is set, once it is folded; the answer is the lowest bit.
fn asks<const WORDS: usize>(bitmap: &[u32; WORDS], gram: u32) -> u32 {
    let hash = hash(gram | FOLD, WORDS);
    bitmap[hash / 32 % WORDS] >> (hash % 32)
}

/// The first whole step in which the lowest bit of `asks` says yes to a gram at an even offset: its offset and words.
fn find(bytes: &[u8], asks: impl Fn(u32) -> u32) -> Option<(usize, [u64; 2])> {
    let mut at = 0;
    while let Some(step) = bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<STEP_BYTES>())
    {
        let words = words_of(step);
        let mut asked = 0;
        for word in words {
            asked |= asks(word as u32) | asks((word >> 16) as u32);
        }
        if asked & 1 != 0 {
            return Some((at, words));
        }
        at += STEP;
    }
    None
}
