//! Which patterns share one of the few groups of [`Starts`](crate::Starts).
//!
//! A group lets through every combination of what its patterns allow, so a pattern of one byte beside longer ones
//! would let nearly everything through. The patterns stand in order, alike ones side by side, and are cut where the
//! groups together let the least through.

use crate::starts::DEPTH;

/// How many groups there are: a bit of a byte for each.
pub const GROUPS: usize = 8;
/// Cuts lie between at most so many runs of patterns: the work grows with their square.
const MAX_RUNS: usize = 128;

/// The half-bytes that some patterns allow at each position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// A bit for each value of the low half.
    pub low: [u16; DEPTH],
    /// A bit for each value of the high half.
    pub high: [u16; DEPTH],
}

impl Allowed {
    /// Those of one pattern; behind its end it allows any. `nocase`: the case of its letters does not count.
    pub fn by(pattern: &[u8], nocase: bool) -> Self {
        let mut made = Self::default();
        for (at, (low, high)) in made.low.iter_mut().zip(&mut made.high).enumerate() {
            let Some(byte) = pattern.get(at).copied() else {
                (*low, *high) = (u16::MAX, u16::MAX);
                continue;
            };
            let (lower, upper) = match nocase {
                true => (byte.to_ascii_lowercase(), byte.to_ascii_uppercase()),
                false => (byte, byte),
            };
            for byte in [lower, upper] {
                *low |= 1 << (byte & 15);
                *high |= 1 << (byte >> 4);
            }
        }
        made
    }

    /// What either allows.
    pub fn or(self, other: Self) -> Self {
        Self {
            low: std::array::from_fn(|at| self.low[at] | other.low[at]),
            high: std::array::from_fn(|at| self.high[at] | other.high[at]),
        }
    }

    /// The part of random offsets that it lets through.
    fn share(&self) -> f64 {
        let bytes = |(low, high): (&u16, &u16)| low.count_ones() * high.count_ones();
        let each = self.low.iter().zip(&self.high).map(bytes);
        each.map(|bytes| f64::from(bytes) / 256.0).product()
    }
}

/// What each group allows, of patterns in order; those that are not needed allow nothing.
pub fn grouped(patterns: &[Allowed]) -> [Allowed; GROUPS] {
    let each = patterns.len().div_ceil(MAX_RUNS).max(1);
    let together = |run: &[Allowed]| run.iter().fold(Allowed::default(), |all, it| all.or(*it));
    let runs: Vec<Allowed> = patterns.chunks(each).map(together).collect();
    let mut groups = [Allowed::default(); GROUPS];
    let mut end = runs.len();
    for (group, cuts) in groups.iter_mut().zip(cuts(&runs).iter().rev()) {
        let begin = cuts[end];
        *group = together(&runs[begin..end]);
        end = begin;
    }
    groups
}

/// By how many groups there are and where the last of them ends: where it had best begin.
fn cuts(runs: &[Allowed]) -> [Vec<usize>; GROUPS] {
    let mut least = vec![f64::INFINITY; runs.len() + 1];
    least[0] = 0.0;
    std::array::from_fn(|_| {
        // A group may be empty.
        let mut next = least.clone();
        let mut begins: Vec<usize> = (0..=runs.len()).collect();
        for begin in 0..runs.len() {
            let mut group = Allowed::default();
            for (end, run) in (begin + 1..).zip(&runs[begin..]) {
                group = group.or(*run);
                let share = least[begin] + group.share();
                if share < next[end] {
                    (next[end], begins[end]) = (share, begin);
                }
            }
        }
        least = next;
        begins
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&[u8]]) -> Vec<Allowed> {
        patterns.iter().map(|it| Allowed::by(it, false)).collect()
    }

    fn share(groups: &[Allowed]) -> f64 {
        groups.iter().map(Allowed::share).sum()
    }

    #[test]
    fn a_pattern_of_one_byte_has_a_group_of_its_own() {
        let patterns = allowed(&[
            b"=", b"..", b"GET", b"POST", b"cmd", b"exec", b"from", b"list", b"site",
        ]);
        let groups = grouped(&patterns);
        assert!(groups.contains(&patterns[0]));
        assert!(share(&groups) < 1.01 / 256.0 + 1.0 / 65_536.0);
    }

    #[test]
    fn every_pattern_is_in_some_group_however_many_there_are() {
        for count in [0, 1, 7, 8, 9, 127, 129, 1_000] {
            let bytes: Vec<[u8; 2]> = (0..count)
                .map(|at: u32| [(at >> 8) as u8, at as u8])
                .collect();
            let patterns: Vec<Allowed> = bytes.iter().map(|it| Allowed::by(it, false)).collect();
            let groups = grouped(&patterns);
            let held = |it: &Allowed| groups.iter().any(|group| group.or(*it) == *group);
            assert!(patterns.iter().all(held), "{count} patterns");
        }
    }
}
