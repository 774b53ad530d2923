//! Where in a text one of a few short patterns may begin.
//!
//! Each of the first [`DEPTH`] bytes of a pattern allows some low and some high half-bytes at its position. A bit
//! a group of patterns, eight groups to a byte, the table of a half-byte says which groups allow it; a text's
//! offset is worth a look if some group allows all the half-bytes there. With AVX2 a table is one register and 32
//! offsets are looked at together, with AVX-512 64 (the idea of Hyperscan's Teddy; Wang et al., NSDI 2019).

use crate::groups::{grouped, Allowed};
use crate::windows::{scan_by_processor, search, with_window, Steps};

/// How many bytes of a pattern are looked at.
pub const DEPTH: usize = 4;
/// With AVX2 32 offsets are looked at together.
const STEPS: Steps = Steps {
    places: 32,
    stride: 1,
    least: 1,
};
/// How many bytes those take.
const WINDOW: usize = STEPS.places + DEPTH - 1;
/// The same with AVX-512.
const WIDE_STEPS: Steps = Steps {
    places: 64,
    ..STEPS
};

/// Tells offsets where none of the patterns begins from those where one may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starts {
    /// By position in a pattern and low half of a byte: the groups that allow it.
    low: [[u8; 16]; DEPTH],
    /// By the high half.
    high: [[u8; 16]; DEPTH],
}

impl Starts {
    /// Of patterns, each with whether the case of its letters does not count. An empty pattern begins everywhere.
    pub fn new<'a>(patterns: impl Iterator<Item = (&'a [u8], bool)>) -> Self {
        let mut patterns: Vec<_> = patterns.collect();
        // Alike patterns side by side, as they are to share a group.
        patterns.sort_unstable();
        patterns.sort_by_key(|(bytes, _)| bytes.len().min(DEPTH));
        let allowed = patterns
            .iter()
            .map(|(bytes, nocase)| Allowed::by(bytes, *nocase));
        let groups = grouped(&allowed.collect::<Vec<_>>());
        let table = |halves: fn(&Allowed) -> &[u16; DEPTH]| {
            std::array::from_fn(|at| {
                std::array::from_fn(|half| {
                    let bits = groups
                        .iter()
                        .map(|group| (halves(group)[at] >> half & 1) as u8);
                    bits.enumerate()
                        .fold(0, |groups, (group, bit)| groups | bit << group)
                })
            })
        };
        Self {
            low: table(|it| &it.low),
            high: table(|it| &it.high),
        }
    }

    /// Goes through a text from `from` on in blocks of offsets, and calls `see` with those in which a pattern may begin:
    /// where the block starts, and a bit for each such offset. Bytes behind the text are taken for zeros.
    pub fn scan(&self, text: &[u8], from: usize, see: &mut dyn FnMut(usize, u64)) {
        scan_by_processor!(self, text, from, see; self.scan_plainly(text, from, see))
    }

    fn scan_plainly(&self, text: &[u8], from: usize, see: &mut dyn FnMut(usize, u64)) {
        let block = |ahead: &[u8]| with_window(ahead, |window| self.block(window));
        search(text, from, STEPS, block, see)
    }

    /// A bit for each offset of a window at which a pattern may begin.
    fn block(&self, window: &[u8; WINDOW]) -> u64 {
        (0..STEPS.places).fold(0, |found, at| {
            let bytes = window[at..at + DEPTH].iter();
            let tables = self.low.iter().zip(&self.high);
            let groups = bytes
                .zip(tables)
                .fold(u8::MAX, |groups, (byte, (low, high))| {
                    groups & low[usize::from(byte & 15)] & high[usize::from(byte >> 4)]
                });
            found | u64::from(groups != 0) << at
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{search, with_window, Starts, DEPTH, STEPS, WINDOW};

    #[target_feature(enable = "avx2")]
    pub fn scan(starts: &Starts, text: &[u8], from: usize, see: &mut dyn FnMut(usize, u64)) {
        let low: [__m256i; DEPTH] = std::array::from_fn(|at| table(&starts.low[at]));
        let high: [__m256i; DEPTH] = std::array::from_fn(|at| table(&starts.high[at]));
        let block = |ahead: &[u8]| with_window(ahead, |window| block(&low, &high, window));
        search(text, from, STEPS, block, see)
    }

    /// A table in both halves of a register: each half is looked up in its own.
    #[target_feature(enable = "avx2")]
    fn table(groups: &[u8; 16]) -> __m256i {
        let [low, high] = [0, 8].map(|at| {
            let word = groups[at..].first_chunk().copied();
            i64::from_le_bytes(word.unwrap_or_default())
        });
        _mm256_setr_epi64x(low, high, low, high)
    }

    #[target_feature(enable = "avx2")]
    fn block(low: &[__m256i; DEPTH], high: &[__m256i; DEPTH], window: &[u8; WINDOW]) -> u64 {
        let half = _mm256_set1_epi8(15);
        let mut groups = _mm256_set1_epi8(-1);
        for at in 0..DEPTH {
            let bytes = load(window, at);
            let lows = _mm256_and_si256(bytes, half);
            let highs = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), half);
            let allowed = _mm256_and_si256(
                _mm256_shuffle_epi8(low[at], lows),
                _mm256_shuffle_epi8(high[at], highs),
            );
            groups = _mm256_and_si256(groups, allowed);
        }
        let none = _mm256_cmpeq_epi8(groups, _mm256_setzero_si256());
        u64::from(!(_mm256_movemask_epi8(none) as u32))
    }

    /// The window's bytes from an offset; compiled to one load.
    #[target_feature(enable = "avx2")]
    fn load(window: &[u8; WINDOW], from: usize) -> __m256i {
        let word = |at: usize| {
            let bytes = window[from + at..].first_chunk().copied();
            i64::from_le_bytes(bytes.unwrap_or_default())
        };
        _mm256_setr_epi64x(word(0), word(8), word(16), word(24))
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{search, Starts, DEPTH, WIDE_STEPS};
    use crate::windows::load;

    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn scan(starts: &Starts, text: &[u8], from: usize, see: &mut dyn FnMut(usize, u64)) {
        let low: [__m512i; DEPTH] = std::array::from_fn(|at| table(&starts.low[at]));
        let high: [__m512i; DEPTH] = std::array::from_fn(|at| table(&starts.high[at]));
        let block = |ahead: &[u8]| block(&low, &high, ahead);
        search(text, from, WIDE_STEPS, block, see)
    }

    /// A table in each quarter of a register, which is looked up in its own.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn table(groups: &[u8; 16]) -> __m512i {
        // SAFETY: 16 bytes are loaded, which is what there are.
        #[allow(unsafe_code)]
        let table = unsafe { _mm_loadu_si128(groups.as_ptr().cast()) };
        _mm512_broadcast_i32x4(table)
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn block(low: &[__m512i; DEPTH], high: &[__m512i; DEPTH], ahead: &[u8]) -> u64 {
        let half = _mm512_set1_epi8(15);
        let mut groups = _mm512_set1_epi8(-1);
        for at in 0..DEPTH {
            let bytes = load(ahead.get(at..).unwrap_or_default());
            let lows = _mm512_and_si512(bytes, half);
            let highs = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), half);
            let allowed = _mm512_and_si512(
                _mm512_shuffle_epi8(low[at], lows),
                _mm512_shuffle_epi8(high[at], highs),
            );
            groups = _mm512_and_si512(groups, allowed);
        }
        _mm512_test_epi8_mask(groups, groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
        let text = prop_oneof![
            "[aAbB\\x00]{1,6}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 1..5)
        ];
        prop::collection::vec((text, any::<bool>()), 0..20)
    }

    /// All offsets that are worth a look.
    fn found(starts: &Starts, text: &[u8], from: usize) -> Vec<usize> {
        told(|see| starts.scan(text, from, see))
    }

    /// The offsets that a scan tells.
    fn told(scan: impl FnOnce(&mut dyn FnMut(usize, u64))) -> Vec<usize> {
        let mut all = Vec::new();
        scan(&mut |block, bits| {
            all.extend(
                (0..WIDE_STEPS.places)
                    .filter(|bit| bits >> bit & 1 != 0)
                    .map(|bit| block + bit),
            );
        });
        all
    }

    proptest! {
        #[test]
        fn no_beginning_of_a_pattern_is_missed(
            patterns in patterns(),
            text in prop_oneof![
                "[aAbB\\x00]{0,100}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..100),
            ],
            from in 0..120usize,
        ) {
            let starts = Starts::new(patterns.iter().map(|(bytes, nocase)| (bytes.as_slice(), *nocase)));
            let found = found(&starts, &text, from);
            for (at, rest) in (0..text.len()).map(|at| (at, &text[at..])).skip(from) {
                let begins = patterns.iter().any(|(bytes, nocase)| {
                    rest.get(..bytes.len()).is_some_and(|start| match nocase {
                        true => start.eq_ignore_ascii_case(bytes),
                        false => start == bytes,
                    })
                });
                prop_assert!(!begins || found.contains(&at), "offset {at}");
            }
            prop_assert!(found.iter().all(|at| *at >= from && *at < text.len()));
        }

        #[test]
        fn the_processors_instructions_tell_the_same_as_none(
            patterns in patterns(),
            text in prop::collection::vec(any::<u8>(), 0..200),
            from in 0..40usize,
        ) {
            let starts = Starts::new(patterns.iter().map(|(bytes, nocase)| (bytes.as_slice(), *nocase)));
            let plain = told(|see| starts.scan_plainly(&text, from, see));
            prop_assert_eq!(&plain, &told(|see| starts.scan(&text, from, see)));
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: asked.
                #[allow(unsafe_code)]
                let narrow = told(|see| unsafe { avx2::scan(&starts, &text, from, see) });
                prop_assert_eq!(plain, narrow);
            }
        }
    }

    #[test]
    fn a_few_patterns_leave_most_offsets_out() {
        let starts =
            Starts::new([(&b"\x7fELF"[..], false), (b"PE\0\0", false), (b"cmd", true)].into_iter());
        let text = b"the quick brown fox jumps over the lazy dog and CMD comes last";
        assert_eq!(found(&starts, text, 0), [48]);
    }
}
