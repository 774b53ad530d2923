//! Where in a text a gram of some pattern stands.
use std::collections::HashMap;

use crate::rule::content::commonness;

/// Length of a gram, in bytes. Shorter patterns are known by their first two bytes, or their only one.
pub const GRAM: usize = 4;
/// Grams are compared with this bit of every byte set, so that letters of either case are alike.
const FOLD: u32 = 0x2020_2020;
/// Grams that a bitmap of each size is made for: of sixteen random grams at most one is looked up for nothing.
const IN_SMALL: usize = 1 << 8;
const IN_MIDDLE: usize = 1 << 12;
/// How many offsets are looked at in one step, and how many bytes those take.
const STEP: usize = 4;
const STEP_BYTES: usize = 2 * GRAM;

/// The grams of some patterns.
#[derive(Debug)]
pub struct Grams {
    long: Long,
    short: Option<Short>,
}

/// Those of patterns of at least [`GRAM`] bytes.
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

/// Those of shorter patterns.
#[derive(Debug)]
struct Short {
    /// By the two bytes at an offset, the first one lower.
    bitmap: Box<[u32; 1 << 11]>,
    /// Where the entries of each first byte begin; one more at the end.
    starts: Vec<u32>,
    /// A text's second byte, where it has one, and the text.
    entries: Vec<(Option<u8>, u32)>,
}

/// Collects grams.
#[derive(Debug, Default)]
pub struct Builder {
    entries: Vec<Entry>,
    /// How many patterns have each gram.
    shared: HashMap<u32, u32>,
    /// Shorter patterns and their texts.
    short: Vec<(Box<[u8]>, u32)>,
}

impl Builder {
    /// Adds a text by the gram that is rarest in traffic and among the grams of other texts.
    pub fn add(&mut self, bytes: &[u8], text: u32) {
        let price = |gram: u32| {
            // Folded, zero is a blank: as common.
            let bytes = gram.to_le_bytes();
            let common: u32 = bytes.iter().map(|byte| u32::from(commonness(*byte))).sum();
            let shared = self.shared.get(&gram).copied().unwrap_or(0);
            common + shared.saturating_mul(2)
        };
        let grams = bytes
            .windows(GRAM)
            .map(|window| gram_of(window) | FOLD)
            .enumerate();
        let Some((before, gram)) = grams.min_by_key(|(_, gram)| price(*gram)) else {
            self.short.push((bytes.into(), text));
            return;
        };
        *self.shared.entry(gram).or_default() += 1;
        let before = before as u8;
        self.entries.push(Entry { gram, text, before });
    }

    /// The finished grams.
    pub fn build(self) -> Grams {
        Grams {
            long: Long::new(self.entries, self.shared.len()),
            short: (!self.short.is_empty()).then(|| Short::new(self.short)),
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

    /// The texts that have this gram.
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

impl Short {
    fn new(patterns: Vec<(Box<[u8]>, u32)>) -> Self {
        let mut bitmap = Box::new([0; 1 << 11]);
        let mut entries = Vec::new();
        for (bytes, text) in &patterns {
            let firsts = bytes.first().map(|byte| cases(*byte));
            for first in firsts.into_iter().flatten() {
                let seconds = bytes.get(1).map(|byte| cases(*byte));
                match seconds {
                    Some(seconds) => entries.extend(seconds.map(|it| (first, Some(it), *text))),
                    None => entries.push((first, None, *text)),
                }
            }
        }
        entries.sort_unstable();
        entries.dedup();
        for (first, second, _) in &entries {
            let seconds = second.map_or(0..=u8::MAX, |second| second..=second);
            for second in seconds {
                let pair = u16::from_le_bytes([*first, second]);
                bitmap[usize::from(pair >> 5)] |= 1 << (pair & 31);
            }
        }
        let start = |byte| entries.partition_point(|entry| u32::from(entry.0) < byte);
        Self {
            bitmap,
            starts: (0..=256).map(|byte| start(byte) as u32).collect(),
            entries: entries.iter().map(|entry| (entry.1, entry.2)).collect(),
        }
    }

    /// Whether some text may begin with the gram's first bytes; the answer is the lowest bit.
    fn asks(&self, gram: u32) -> u32 {
        let pair = gram as u16;
        self.bitmap[usize::from(pair >> 5)] >> (pair & 31)
    }

    /// The texts that begin with these bytes, as far as there are such.
    fn texts_of(&self, first: u8, second: Option<u8>) -> impl Iterator<Item = u32> + '_ {
        let first = usize::from(first);
        let entries = self.starts[first] as usize..self.starts[first + 1] as usize;
        let entries = self.entries[entries].iter();
        let begins = move |entry: &&(Option<u8>, u32)| entry.0.is_none() || entry.0 == second;
        entries.filter(begins).map(|entry| entry.1)
    }
}

/// A byte, lower-case and upper-case.
fn cases(byte: u8) -> [u8; 2] {
    [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()]
}

impl Grams {
    /// Calls `see` with each text whose gram is there and that would begin at or past `from`, and where.
    pub fn scan(&self, bytes: &[u8], from: usize, mut see: impl FnMut(u32, usize)) {
        let new = bytes.get(from..).unwrap_or_default();
        let mut next = 0;
        while let Some(found) = self.find(&new[next..]) {
            let at = next + found;
            let gram = gram_of(&new[at..]);
            let entries = self.long.entries_of(gram | FOLD).iter();
            for entry in entries.filter(|entry| entry.gram == gram | FOLD) {
                if let Some(start) = at.checked_sub(entry.before.into()) {
                    see(entry.text, from + start);
                }
            }
            if let Some(short) = self.short.as_ref().filter(|it| it.asks(gram) & 1 != 0) {
                let [first, second, ..] = gram.to_le_bytes();
                let texts = short.texts_of(first, Some(second));
                texts.for_each(|text| see(text, from + at));
            }
            next = at + 1;
        }
        // Too near the end for a whole gram.
        if let Some(short) = &self.short {
            let last = new.len().saturating_sub(GRAM - 1).max(next);
            for (at, byte) in new.iter().enumerate().skip(last) {
                let texts = short.texts_of(*byte, new.get(at + 1).copied());
                texts.for_each(|text| see(text, from + at));
            }
        }
    }

    /// The first offset that some text may have its gram at.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match (&self.long.bitmap, &self.short) {
            (Bitmap::Small(words), None) => find(bytes, |gram| asks(words, gram)),
            (Bitmap::Middle(words), None) => find(bytes, |gram| asks(words, gram)),
            (Bitmap::Large(words), None) => find(bytes, |gram| asks(words, gram)),
            (Bitmap::Small(words), Some(short)) => {
                find(bytes, |gram| asks(words, gram) | short.asks(gram))
            }
            (Bitmap::Middle(words), Some(short)) => {
                find(bytes, |gram| asks(words, gram) | short.asks(gram))
            }
            (Bitmap::Large(words), Some(short)) => {
                find(bytes, |gram| asks(words, gram) | short.asks(gram))
            }
        }
    }

    /// The most texts that one offset is compared with.
    #[cfg(test)]
    pub fn most_shared(&self) -> usize {
        let spans = self.long.starts.windows(2).map(|ends| ends[1] - ends[0]);
        spans.max().unwrap_or(0) as usize
    }
}

/// The first bytes of `window`, of which there are enough.
fn gram_of(window: &[u8]) -> u32 {
    u32::from_le_bytes(window.first_chunk().copied().unwrap_or_default())
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

/// The first offset whose gram `asks` says yes to, in its lowest bit; several are asked in one step.
fn find(bytes: &[u8], asks: impl Fn(u32) -> u32) -> Option<usize> {
    let mut at = 0;
    for window in bytes.windows(STEP_BYTES).step_by(STEP) {
        let word = u64::from_le_bytes(window.first_chunk().copied().unwrap_or_default());
        let grams = [word, word >> 8, word >> 16, word >> 24].map(|gram| gram as u32);
        let asked = grams.map(&asks);
        if (asked[0] | asked[1] | asked[2] | asked[3]) & 1 != 0 {
            return asked.iter().position(|it| it & 1 != 0).map(|it| at + it);
        }
        at += STEP;
    }
    let rest = bytes.get(at..)?.windows(GRAM);
    let found = rest.map(gram_of).position(|gram| asks(gram) & 1 != 0);
    found.map(|it| at + it)
}
