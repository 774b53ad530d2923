//! Where in a text one of many grams may stand.
//!
//! A blocked Bloom filter: a gram's hash names a word of the filter and two bits of it. With AVX2 eight grams are
//! hashed together and their words are loaded by one instruction, so that a miss of the nearest cache is waited for
//! once, not once a gram; with AVX-512 sixteen are.

use crate::windows::{scan_by_processor, search, with_window, Steps};

/// Length of a gram, in bytes.
pub const GRAM: usize = 4;
/// Only every second offset is asked about.
pub const STRIDE: usize = 2;
/// With AVX2 eight grams are asked about together.
const STEPS: Steps = Steps {
    places: 8,
    stride: STRIDE,
    least: GRAM,
};
/// How many bytes those take: they are cut out of loads of 16 bytes, four out of each.
const WINDOW: usize = 24;
/// The same with AVX-512.
const WIDE_STEPS: Steps = Steps {
    places: 16,
    ..STEPS
};
/// Grams are compared with this bit of every byte set, so that letters of either case are alike.
const FOLD: u32 = 0x2020_2020;
/// Knuth's multiplicative hashing.
const FACTOR: u32 = 0x9e37_79b1;
/// Bits that number a word's bits.
const BIT: u32 = 5;
/// A filter has room for all grams at two bits each if it has as many words; more would leave the nearer caches.
const MAX_WORDS: usize = 1 << 14;

/// A set of grams that answers "no" or "perhaps".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GramSet {
    /// A power of two of them, [`Self::shift`] leaves its bits of a hash.
    words: Box<[u32]>,
    shift: u32,
}

/// A gram as it is compared: its letters in one case.
pub fn folded(bytes: [u8; GRAM]) -> u32 {
    u32::from_le_bytes(bytes) | FOLD
}

impl GramSet {
    /// Of folded grams, `distinct` of which differ.
    pub fn new(grams: impl Iterator<Item = u32>, distinct: usize) -> Self {
        let words = (distinct / 2).next_power_of_two().clamp(2, MAX_WORDS);
        let mut made = Self {
            words: vec![0; words].into(),
            shift: u32::BITS - words.trailing_zeros(),
        };
        for gram in grams {
            let (word, bits) = made.place(gram);
            made.words[word] |= bits;
        }
        made
    }

    /// Whether a folded gram may be one of the set.
    pub fn may_hold(&self, gram: u32) -> bool {
        let (word, bits) = self.place(gram);
        self.words[word] & bits == bits
    }

    /// A gram's word and the bits it has there.
    fn place(&self, gram: u32) -> (usize, u32) {
        let hash = gram.wrapping_mul(FACTOR);
        let word = (hash >> self.shift) as usize;
        let bit = (hash >> (self.shift - BIT)) & 31;
        let second = (hash >> (self.shift - 2 * BIT)) & 31;
        (word, 1 << bit | 1 << second)
    }

    /// Goes through a text from `from` on in runs of offsets, at every second of which a gram of the set may stand, and
    /// calls `see` with those where one may: where the run starts, and a bit for each such offset's half.
    pub fn scan(&self, text: &[u8], from: usize, see: &mut dyn FnMut(usize, u64)) {
        scan_by_processor!(self, text, from, see; self.scan_plainly(text, from, see))
    }

    fn scan_plainly(&self, text: &[u8], from: usize, see: &mut dyn FnMut(usize, u64)) {
        let asked = |ahead: &[u8]| with_window(ahead, |window| self.window(window));
        search(text, from, STEPS, asked, see)
    }

    /// A bit for each gram of a window that may be one of the set.
    fn window(&self, window: &[u8; WINDOW]) -> u64 {
        let gram = |at: usize| {
            let bytes = window[at * STRIDE..].first_chunk().copied();
            folded(bytes.unwrap_or_default())
        };
        (0..STEPS.places).fold(0, |found, at| {
            found | u64::from(self.may_hold(gram(at))) << at
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{search, with_window, GramSet, BIT, FACTOR, FOLD, STEPS, WINDOW};

    #[target_feature(enable = "avx2")]
    pub fn scan(set: &GramSet, text: &[u8], from: usize, see: &mut dyn FnMut(usize, u64)) {
        let asked = |ahead: &[u8]| with_window(ahead, |window| asked(set, window));
        search(text, from, STEPS, asked, see)
    }

    #[target_feature(enable = "avx2")]
    fn asked(set: &GramSet, window: &[u8; WINDOW]) -> u64 {
        let word = |at: usize| {
            let bytes = window[at..].first_chunk().copied();
            i64::from_le_bytes(bytes.unwrap_or_default())
        };
        let bytes = _mm256_setr_epi64x(word(0), word(8), word(8), word(16));
        let cut = _mm256_setr_epi8(
            0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9, //
            0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9,
        );
        let grams = _mm256_or_si256(
            _mm256_shuffle_epi8(bytes, cut),
            _mm256_set1_epi32(FOLD as i32),
        );
        let hashes = _mm256_mullo_epi32(grams, _mm256_set1_epi32(FACTOR as i32));
        let by = |bits: u32| _mm_cvtsi32_si128(bits as i32);
        let last = _mm256_set1_epi32(set.words.len() as i32 - 1);
        let words = _mm256_and_si256(_mm256_srl_epi32(hashes, by(set.shift)), last);
        // SAFETY: each index is at most the last one's, which `last` leaves no bit above: the words are a power of two.
        #[allow(unsafe_code)]
        let held = unsafe { _mm256_i32gather_epi32::<4>(set.words.as_ptr().cast(), words) };
        let one = _mm256_set1_epi32(1);
        let low = _mm256_set1_epi32(31);
        let first = _mm256_and_si256(_mm256_srl_epi32(hashes, by(set.shift - BIT)), low);
        let second = _mm256_and_si256(_mm256_srl_epi32(hashes, by(set.shift - 2 * BIT)), low);
        let bits = _mm256_or_si256(
            _mm256_sllv_epi32(one, first),
            _mm256_sllv_epi32(one, second),
        );
        let here = _mm256_cmpeq_epi32(_mm256_and_si256(held, bits), bits);
        u64::from(_mm256_movemask_ps(_mm256_castsi256_ps(here)) as u32)
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{search, GramSet, BIT, FACTOR, FOLD, WIDE_STEPS};
    use crate::windows::load;

    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn scan(set: &GramSet, text: &[u8], from: usize, see: &mut dyn FnMut(usize, u64)) {
        search(text, from, WIDE_STEPS, |ahead| asked(set, ahead), see)
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn asked(set: &GramSet, ahead: &[u8]) -> u64 {
        // Four grams are cut out of each 16 bytes, which begin eight apart.
        let bytes =
            _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 1, 2, 2, 3, 3, 4), load(ahead));
        let cut = _mm512_broadcast_i32x4(_mm_setr_epi8(
            0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9,
        ));
        let grams = _mm512_or_si512(
            _mm512_shuffle_epi8(bytes, cut),
            _mm512_set1_epi32(FOLD as i32),
        );
        let hashes = _mm512_mullo_epi32(grams, _mm512_set1_epi32(FACTOR as i32));
        let by = |bits: u32| _mm_cvtsi32_si128(bits as i32);
        let last = _mm512_set1_epi32(set.words.len() as i32 - 1);
        let words = _mm512_and_si512(_mm512_srl_epi32(hashes, by(set.shift)), last);
        // SAFETY: each index is at most the last one's, which `last` leaves no bit above: the words are a power of two.
        #[allow(unsafe_code)]
        let held = unsafe { _mm512_i32gather_epi32::<4>(words, set.words.as_ptr().cast()) };
        let one = _mm512_set1_epi32(1);
        // A rotation goes by the lowest five bits, which is as many as number a word's.
        let first = _mm512_rolv_epi32(one, _mm512_srl_epi32(hashes, by(set.shift - BIT)));
        let second = _mm512_rolv_epi32(one, _mm512_srl_epi32(hashes, by(set.shift - 2 * BIT)));
        let bits = _mm512_or_si512(first, second);
        u64::from(_mm512_cmpeq_epi32_mask(_mm512_and_si512(held, bits), bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All offsets at which a gram of the set may stand.
    fn found(set: &GramSet, text: &[u8], from: usize) -> Vec<usize> {
        told(|see| set.scan(text, from, see))
    }

    /// The offsets that a scan tells.
    fn told(scan: impl FnOnce(&mut dyn FnMut(usize, u64))) -> Vec<usize> {
        let mut all = Vec::new();
        scan(&mut |start, bits| {
            let here = (0..WIDE_STEPS.places).filter(|bit| bits >> bit & 1 != 0);
            all.extend(here.map(|bit| start + bit * STRIDE));
        });
        all
    }

    fn grams_of(texts: &[[u8; GRAM]]) -> GramSet {
        GramSet::new(texts.iter().map(|text| folded(*text)), texts.len())
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[aAbB\\x00]{0,100}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..100),
        ]
    }

    fn grams() -> impl Strategy<Value = Vec<[u8; GRAM]>> {
        let gram = prop_oneof![
            prop::array::uniform4(prop::sample::select(b"aAbB\0".as_slice())),
            any::<[u8; GRAM]>()
        ];
        prop::collection::vec(gram, 0..40)
    }

    proptest! {
        #[test]
        fn no_gram_at_every_second_offset_is_missed(grams in grams(), text in text(), from in 0..120usize) {
            let set = grams_of(&grams);
            let found = found(&set, &text, from);
            let wanted: Vec<_> = grams.iter().map(|gram| folded(*gram)).collect();
            for at in (from..(text.len() + 1).saturating_sub(GRAM)).step_by(STRIDE) {
                let here = folded(*text[at..].first_chunk().unwrap());
                prop_assert!(!wanted.contains(&here) || found.contains(&at), "offset {at}");
            }
            prop_assert!(found.iter().all(|at| *at >= from && at + GRAM <= text.len()));
        }

        #[test]
        fn the_processors_instructions_tell_the_same_as_none(grams in grams(), text in text(), from in 0..40usize) {
            let set = grams_of(&grams);
            let plain = told(|see| set.scan_plainly(&text, from, see));
            prop_assert_eq!(&plain, &told(|see| set.scan(&text, from, see)));
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: asked.
                #[allow(unsafe_code)]
                let narrow = told(|see| unsafe { avx2::scan(&set, &text, from, see) });
                prop_assert_eq!(plain, narrow);
            }
        }
    }

    #[test]
    fn many_grams_leave_most_offsets_out() {
        let grams: Vec<_> = (0..10_000u32)
            .map(|it| it.wrapping_mul(0x85eb_ca6b))
            .collect();
        let set = GramSet::new(
            grams.iter().map(|gram| folded(gram.to_le_bytes())),
            grams.len(),
        );
        let others = (0..10_000u32).map(|it| it.wrapping_mul(0xc2b2_ae35) ^ 0x5bd1_e995);
        let perhaps = others.filter(|gram| set.may_hold(folded(gram.to_le_bytes())));
        assert!(perhaps.count() < 500);
    }
}
