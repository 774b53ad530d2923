//! The signatures that look at one place, found by their pattern and by the ports that they ask for.
//!
//! Most signatures on raw payload ask for few ports. Looking for their patterns everywhere would cost every
//! other connection, so each run of ports has a prefilter of its own beside the one for all ports.
use std::collections::HashMap;

use super::address::PortTest;
use super::address_index::Segments;
use super::port_index::{narrow_end, PortIndex, PortIndexBuilder, PortPages};
use super::prefilter::{Builder, Pattern, Prefilter};

/// How many runs one signature's range may lie over; a wider one is looked for at every port.
const MAX_SPAN: usize = 64;
/// How often each pattern may on average be held by the prefilters of runs; past it, all are looked for at every
/// port. A bound for hostile rules.
const MAX_COPIES: usize = 8;

/// Signatures that look at one place: those with a pattern in it, and those without, in order.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Patterns that are looked for at every port.
    wide: Prefilter,
    /// Those of signatures that ask for few ports, by source and by destination.
    narrow: [ByPort; 2],
    always: PortIndex,
    overlap: usize,
}

/// A prefilter for each run of ports.
#[derive(Debug, Default)]
struct ByPort {
    /// Where each run begins; it reaches to the next one.
    starts: Box<[u16]>,
    pages: PortPages,
    /// The prefilter of each run, [`NONE`] where there is nothing to look for.
    which: Box<[u32]>,
    prefilters: Box<[Prefilter]>,
}

const NONE: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct LaneBuilder<'p> {
    patterns: Vec<(Pattern<'p>, u32)>,
    /// Indices of `patterns`.
    wide: Vec<u32>,
    /// First and last port, and the index of the pattern.
    narrow: [Vec<(u16, u16, u32)>; 2],
    always: PortIndexBuilder,
}

impl<'p> LaneBuilder<'p> {
    /// `ports`: those without which it cannot match, see [`PortIndexBuilder::add`].
    pub(super) fn add(
        &mut self,
        pattern: Option<&Pattern<'p>>,
        ports: Option<[&PortTest; 2]>,
        signature: u32,
    ) {
        let Some(pattern) = pattern else {
            self.always.add(signature, ports);
            return;
        };
        let index = self.patterns.len() as u32;
        self.patterns.push((pattern.clone(), signature));
        match ports.and_then(narrow_end) {
            Some((end, test)) => {
                let ranges = test.ranges().iter();
                self.narrow[end].extend(ranges.map(|(first, last)| (*first, *last, index)));
            }
            None => self.wide.push(index),
        }
    }

    pub(super) fn build(self) -> Lane {
        let (patterns, mut wide) = (self.patterns, self.wide);
        let narrow = self
            .narrow
            .map(|entries| ByPort::new(&entries, &patterns, &mut wide));
        wide.sort_unstable();
        wide.dedup();
        let wide = prefilter(&wide, &patterns);
        let held = narrow.iter().flat_map(|it| &it.prefilters);
        let overlap = held
            .map(Prefilter::overlap)
            .fold(wide.overlap(), usize::max);
        Lane {
            wide,
            narrow,
            always: self.always.build(),
            overlap,
        }
    }
}

fn prefilter(indices: &[u32], patterns: &[(Pattern<'_>, u32)]) -> Prefilter {
    let mut builder = Builder::default();
    for (pattern, signature) in indices.iter().filter_map(|at| patterns.get(*at as usize)) {
        builder.add(pattern, *signature);
    }
    builder.build()
}

impl ByPort {
    /// Of ports' ranges with the indices of patterns; those that would take too much room become `wide`.
    fn new(
        entries: &[(u16, u16, u32)],
        patterns: &[(Pattern<'_>, u32)],
        wide: &mut Vec<u32>,
    ) -> Self {
        let segments = Segments::new(entries, |last| last.checked_add(1), MAX_SPAN, wide);
        if segments.len() > MAX_COPIES * entries.len() {
            wide.extend(entries.iter().map(|(_, _, index)| index));
            return Self::default();
        }
        let mut known: HashMap<&[u32], u32> = HashMap::new();
        let mut prefilters = Vec::new();
        let (mut starts, mut which) = (Vec::new(), Vec::new());
        for (start, indices) in segments.iter() {
            starts.push(start);
            which.push(match indices.is_empty() {
                true => NONE,
                false => *known.entry(indices).or_insert_with(|| {
                    prefilters.push(prefilter(indices, patterns));
                    prefilters.len() as u32 - 1
                }),
            });
        }
        Self {
            pages: PortPages::new(&starts),
            starts: starts.into(),
            which: which.into(),
            prefilters: prefilters.into(),
        }
    }

    fn at(&self, port: u16) -> Option<&Prefilter> {
        let after = self.pages.after(&self.starts, port);
        let which = self.which.get(after.checked_sub(1)?)?;
        self.prefilters.get(*which as usize)
    }
}

impl Lane {
    /// Calls `see` with every signature that looks for no pattern and may match between `ports` (source and
    /// destination), more than once perhaps.
    pub(super) fn unpatterned(&self, ports: (u16, u16), see: impl FnMut(u32)) {
        self.always.find(ports, see);
    }

    /// Calls `see` with every signature whose pattern is in `bytes`, see [`Prefilter::scan`], and that may match
    /// between `ports`.
    pub(super) fn scan(
        &self,
        ports: (u16, u16),
        bytes: &[u8],
        from: usize,
        base: u64,
        mut see: impl FnMut(u32, u64),
    ) {
        if from >= bytes.len() {
            return;
        }
        self.wide.scan(bytes, from, base, &mut see);
        for (by_port, port) in self.narrow.iter().zip([ports.0, ports.1]) {
            if let Some(prefilter) = by_port.at(port) {
                prefilter.scan(bytes, from, base, &mut see);
            }
        }
    }

    /// How many bytes before a growing buffer's new ones must be looked at again.
    pub(super) fn overlap(&self) -> usize {
        self.overlap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::buffer::Test;
    use crate::rule::content::Content;
    use crate::rule::group::Group;
    use crate::rule::{PortRange, Variables};

    fn ports(first: u16, last: u16) -> PortTest {
        PortTest::new(
            &Group::One(PortRange { first, last }),
            &Variables::default(),
        )
    }

    fn pattern(tests: &[Test]) -> Pattern<'_> {
        Pattern::all_of(tests).next().unwrap().1
    }

    fn found(lane: &Lane, ports: (u16, u16), bytes: &[u8]) -> Vec<u32> {
        let mut found = Vec::new();
        lane.scan(ports, bytes, 0, 0, |signature, _| found.push(signature));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_signature_for_few_ports_is_found_at_them_alone() {
        let tests = [Test::Content(Content::new(b"needle".to_vec(), false))];
        let pattern = pattern(&tests);
        let (any, web, mail) = (ports(0, u16::MAX), ports(80, 80), ports(25, 110));
        let mut builder = LaneBuilder::default();
        builder.add(Some(&pattern), Some([&any, &any]), 0);
        builder.add(Some(&pattern), Some([&any, &web]), 1);
        builder.add(Some(&pattern), Some([&mail, &any]), 2);
        builder.add(Some(&pattern), None, 3);
        let lane = builder.build();
        assert_eq!(found(&lane, (1, 80), b"a needle"), [0, 1, 3]);
        assert_eq!(found(&lane, (80, 1), b"a needle"), [0, 2, 3]);
        assert_eq!(found(&lane, (25, 80), b"a needle"), [0, 1, 2, 3]);
        assert_eq!(found(&lane, (24, 81), b"a needle"), [0, 3]);
    }

    #[test]
    fn overlapping_ranges_do_not_take_room_by_their_product() {
        let needle = [Test::Content(Content::new(b"needle".to_vec(), false))];
        let (pattern, any) = (pattern(&needle), ports(0, u16::MAX));
        let mut builder = LaneBuilder::default();
        let tests: Vec<_> = (0..2_000).map(|at| ports(at, at + 9_000)).collect();
        for (signature, test) in (0..).zip(&tests) {
            builder.add(Some(&pattern), Some([&any, test]), signature);
        }
        let lane = builder.build();
        assert!(lane.narrow.iter().all(|it| it.prefilters.len() < 64));
        assert_eq!(found(&lane, (1, 10_000), b"needle").len(), 2_000);
    }
}
