//! Finds the signatures that may match, many patterns in one pass.
//!
//! Every pattern is known by a short run of its bytes, its *gram*, chosen to be rare in traffic. Scanning asks a
//! bitmap, small enough for the processor's nearer caches, about the grams of the text; where it says yes, the
//! patterns of that gram are compared as a whole. An offset costs at most as much as the patterns that share a
//! gram, which [`Builder`] keeps few. Patterns that can stand at one offset only are not looked for elsewhere.
mod anchored;
mod grams;
mod reach;
mod short;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::rule::buffer::Test;
use crate::rule::content::{commonness, Content, FastPattern};

use anchored::Anchored;
use grams::Grams;
use reach::{reaches, Reach};
use vector::GRAM;

/// Longest piece of a content that is looked for; the whole content is verified afterwards.
const MAX_PIECE: usize = 24;
/// Signatures on raw payload mostly say how a message begins: no more of it is looked through for these.
const NEAR: u64 = 256;
/// Pieces of one content that are weighed against each other.
const MAX_PIECES: usize = 1024;

/// What the prefilter looks for: a piece of one content, and where it may lie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern<'a> {
    bytes: &'a [u8],
    nocase: bool,
    reach: Reach,
}

impl<'a> Pattern<'a> {
    /// A pattern for each positive content of a chain of conditions: its rarest piece, or the part of it that
    /// `fast_pattern` names.
    pub fn all_of(tests: &'a [Test]) -> impl Iterator<Item = (&'a Content, Self)> {
        reaches(tests).map(|(content, reach)| (content, Self::of(content, reach)))
    }

    fn of(content: &'a Content, reach: Reach) -> Self {
        let whole = content.needle.bytes();
        let (skipped, bytes) = match content.fast_pattern {
            FastPattern::Part(offset, length) => match whole.get(offset..offset + length) {
                Some(part) => (offset, part),
                None => (0, whole),
            },
            _ => (0, whole),
        };
        let (further, piece) = best_piece(bytes);
        let before = skipped + further;
        Self {
            bytes: piece,
            nocase: content.needle.nocase(),
            reach: reach.of_part(before, whole.len() - before - piece.len()),
        }
    }

    /// How much looking for it spares: the greater, the rarer it is expected to be.
    pub fn rarity(&self) -> u32 {
        let mut seen = [false; 256];
        let score = |byte: &u8| {
            let again = std::mem::replace(&mut seen[usize::from(*byte)], true);
            u32::from(10 - commonness(*byte)) >> if again { 2 } else { 0 }
        };
        let rarity: u32 = self.bytes.iter().map(score).sum();
        let long_enough = self.bytes.len() >= GRAM;
        let placed = self.reach.is_bounded();
        rarity + if long_enough { 12 } else { 0 } + if placed { 8 } else { 0 }
    }
}

/// The patterns of one buffer, each with the signatures that need it.
#[derive(Debug, Default)]
pub struct Prefilter {
    /// Those that stand at one offset.
    anchored: Option<Anchored>,
    /// The others.
    grams: Option<Grams>,
    /// Those of them that can stand past [`NEAR`], where there are others.
    far: Far,
    texts: Vec<Text>,
    bytes: Vec<u8>,
    wanted: Vec<Wanted>,
    longest: usize,
    /// Bytes of the shortest pattern in `grams`.
    shortest: usize,
}

/// What is looked for past [`NEAR`].
#[derive(Debug, Default)]
enum Far {
    /// Whatever is looked for before.
    #[default]
    Same,
    /// Some of it.
    Fewer(Box<Grams>),
    Nothing,
}

#[derive(Debug)]
struct Text {
    start: u32,
    length: u8,
    nocase: bool,
    /// Where its signatures begin in `wanted`; they end where the next text's begin.
    wanted: u32,
}

/// One signature that needs a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    signature: u32,
    reach: Reach,
}

/// A pattern: the one offset where it can stand, its bytes, and whether case does not count.
type Key = (Option<u32>, Box<[u8]>, bool);

/// Collects patterns.
#[derive(Debug, Default)]
pub struct Builder {
    /// Who needs them.
    patterns: HashMap<Key, Vec<Wanted>>,
}

impl Builder {
    /// `signature` can match only where `pattern` is found.
    pub fn add(&mut self, pattern: &Pattern<'_>, signature: u32) {
        let letters = pattern.bytes.iter().any(u8::is_ascii_alphabetic);
        let reach = pattern.reach;
        let place = reach.only_place(pattern.bytes.len());
        let key = (place, pattern.bytes.into(), pattern.nocase && letters);
        let wanted = self.patterns.entry(key).or_default();
        let new = Wanted { signature, reach };
        if wanted.last() != Some(&new) {
            wanted.push(new);
        }
    }

    /// The finished prefilter.
    pub fn build(self) -> Prefilter {
        let mut patterns: Vec<_> = self.patterns.into_iter().collect();
        patterns.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut made = Prefilter::default();
        let mut grams = grams::Builder::default();
        let (mut far, mut near) = (grams::Builder::default(), 0);
        made.shortest = usize::MAX;
        let mut anchors = Vec::new();
        for (text, ((place, bytes, nocase), wanted)) in (0u32..).zip(&patterns) {
            match place {
                Some(place) => anchors.push((*place, &**bytes, text)),
                None => {
                    made.shortest = made.shortest.min(bytes.len());
                    grams.add(bytes, *nocase, text);
                    match wanted
                        .iter()
                        .all(|wanted| u64::from(wanted.reach.to) <= NEAR)
                    {
                        true => near += 1,
                        false => far.add(bytes, *nocase, text),
                    }
                }
            }
            made.texts.push(Text {
                start: made.bytes.len() as u32,
                length: bytes.len() as u8,
                nocase: *nocase,
                wanted: made.wanted.len() as u32,
            });
            made.longest = made.longest.max(bytes.len());
            made.bytes.extend_from_slice(bytes);
            made.wanted.extend(wanted);
        }
        let unanchored = patterns.len() - anchors.len();
        made.grams = (unanchored > 0).then(|| grams.build());
        made.far = match near {
            0 => Far::Same,
            _ if near == unanchored => Far::Nothing,
            _ => Far::Fewer(Box::new(far.build())),
        };
        made.anchored = (!anchors.is_empty()).then(|| Anchored::new(anchors.into_iter()));
        made.texts.shrink_to_fit();
        made.bytes.shrink_to_fit();
        made.wanted.shrink_to_fit();
        made
    }
}

impl Prefilter {
    /// Calls `see` with every signature whose pattern is in `bytes`, beginning at or past `from`, and with the
    /// pattern's offset; more than once where it is there often.
    ///
    /// base: the offset of `bytes[0]`, from which signatures count.
    pub fn scan(&self, bytes: &[u8], from: usize, base: u64, mut see: impl FnMut(u32, u64)) {
        if let Some(anchored) = &self.anchored {
            anchored.scan(bytes, from, base, |text, start| {
                self.compare(bytes, text, start, base, &mut see);
            });
        }
        // Between guests that talk in small messages, most are shorter than any pattern.
        let fits = bytes.len().saturating_sub(from) >= self.shortest;
        let Some(grams) = self.grams.as_ref().filter(|_| fits) else {
            return;
        };
        let see = &mut |text, start| self.compare(bytes, text, start, base, &mut see);
        if matches!(self.far, Far::Same) {
            return grams.scan(bytes, from, see);
        }
        let near = NEAR.saturating_sub(base).min(bytes.len() as u64) as usize;
        if from < near {
            grams.scan(&bytes[..near], from, &mut *see);
        }
        if let Far::Fewer(far) = &self.far {
            if near < bytes.len() {
                far.scan(bytes, from.max(near.saturating_sub(self.overlap())), see);
            }
        }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// How many bytes before a growing buffer's new ones must be looked at again.
    pub fn overlap(&self) -> usize {
        self.longest.saturating_sub(1)
    }

    /// Compares one text as a whole; `start` is where it would begin.
    fn compare(
        &self,
        bytes: &[u8],
        index: u32,
        start: usize,
        base: u64,
        see: &mut impl FnMut(u32, u64),
    ) {
        let text = &self.texts[index as usize];
        let length = usize::from(text.length);
        let expected = &self.bytes[text.start as usize..][..length];
        let Some(found) = bytes.get(start..start + length) else {
            return;
        };
        let same = match text.nocase {
            true => found.eq_ignore_ascii_case(expected),
            false => found == expected,
        };
        if !same {
            return;
        }
        let next = self.texts.get(index as usize + 1);
        let last = next.map_or(self.wanted.len(), |next| next.wanted as usize);
        let place = base + start as u64;
        for wanted in &self.wanted[text.wanted as usize..last] {
            if wanted.reach.holds(place, length) {
                see(wanted.signature, place);
            }
        }
    }
}

/// The rarest piece of a long pattern, and how many bytes stand before it.
fn best_piece(pattern: &[u8]) -> (usize, &[u8]) {
    if pattern.len() <= MAX_PIECE {
        return (0, pattern);
    }
    let rarity = |piece: &[u8]| -> u32 {
        let scores = piece.iter().map(|byte| u32::from(10 - commonness(*byte)));
        scores.sum()
    };
    let pieces = pattern.windows(MAX_PIECE).enumerate().take(MAX_PIECES);
    let best = pieces.max_by_key(|(_, piece)| rarity(piece));
    best.unwrap_or((0, pattern))
}
