//! Finds the signatures that may match, many patterns in one pass.
use aho_corasick::automaton::Automaton;
use aho_corasick::automaton::OverlappingState;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, Input};
use std::collections::HashMap;

/// Longest piece of a content that is looked for; the whole content is verified afterwards.
const MAX_PIECE: usize = 24;

/// The patterns of one buffer, each with the signatures that need it. Case does not count here.
#[derive(Debug, Default)]
pub struct Prefilter {
    automaton: Option<NFA>,
    signatures: Vec<Box<[u32]>>,
    longest: usize,
}

/// Collects patterns.
#[derive(Debug, Default)]
pub struct Builder {
    patterns: HashMap<Vec<u8>, Vec<u32>>,
}

impl Builder {
    /// `signature` can match only where `pattern` is found.
    pub fn add(&mut self, pattern: &[u8], signature: u32) {
        let piece = best_piece(pattern).to_ascii_lowercase();
        let signatures = self.patterns.entry(piece).or_default();
        if signatures.last() != Some(&signature) {
            signatures.push(signature);
        }
    }

    /// The finished prefilter.
    pub fn build(self) -> Prefilter {
        let mut patterns: Vec<_> = self.patterns.into_iter().collect();
        patterns.sort_unstable();
        let longest = patterns
            .iter()
            .map(|(pattern, _)| pattern.len())
            .max()
            .unwrap_or(0);
        let texts = patterns.iter().map(|(pattern, _)| pattern);
        // Building fails only past billions of states, which the bound on rule files excludes.
        let automaton = (longest > 0)
            .then(|| {
                NFA::builder()
                    .ascii_case_insensitive(true)
                    .build(texts)
                    .ok()
            })
            .flatten();
        let signatures = patterns
            .into_iter()
            .map(|(_, signatures)| signatures.into())
            .collect();
        Prefilter {
            automaton,
            signatures,
            longest,
        }
    }
}

/// The piece of a long pattern with the most distinct bytes.
fn best_piece(pattern: &[u8]) -> &[u8] {
    if pattern.len() <= MAX_PIECE {
        return pattern;
    }
    pattern
        .windows(MAX_PIECE)
        .max_by_key(|piece| distinct(piece))
        .unwrap_or(pattern)
}

/// How many different bytes there are, without regard to case.
pub fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [0u64; 4];
    for byte in bytes.iter().map(u8::to_ascii_lowercase) {
        seen[usize::from(byte) / 64] |= 1 << (byte % 64);
    }
    seen.iter().map(|word| word.count_ones() as usize).sum()
}

impl Prefilter {
    /// Calls `see` with every signature whose pattern is in `bytes`; more than once where it is there often.
    pub fn scan(&self, bytes: &[u8], mut see: impl FnMut(u32)) {
        let Some(automaton) = &self.automaton else {
            return;
        };
        let input = Input::new(bytes).anchored(Anchored::No);
        let mut state = OverlappingState::start();
        loop {
            // An unanchored search over a standard automaton cannot fail.
            if automaton.try_find_overlapping(&input, &mut state).is_err() {
                return;
            }
            match state.get_match() {
                Some(found) => self.signatures[found.pattern().as_usize()]
                    .iter()
                    .for_each(|it| see(*it)),
                None => return,
            }
        }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// How many bytes before a growing buffer's new ones must be looked at again.
    pub fn overlap(&self) -> usize {
        self.longest.saturating_sub(1)
    }
}
