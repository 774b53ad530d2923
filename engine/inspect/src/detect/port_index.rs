//! Finds the signatures that no pattern brings up by the ports that they ask for.
use super::address::PortTest;
use super::address_index::Segments;

/// Signatures that ask for more ports than this are looked at for every port.
const MANY_PORTS: usize = 1 << 14;

/// How many segments one range may lie over; a signature with a wider one is looked at for every port too.
const MAX_SPAN: usize = 1 << 10;

/// Signatures by the ports at one of their ends.
#[derive(Debug, Default)]
pub(super) struct PortIndex {
    /// By source and by destination.
    ends: [(Segments<u16>, PortPages); 2],
    /// Signatures that do not ask for few ports at either end.
    others: Vec<u32>,
}

/// The end (0: source) at which few ports are asked for, and which; of two, the one with fewer.
pub(super) fn narrow_end(ports: [&PortTest; 2]) -> Option<(usize, &PortTest)> {
    let ends = ports.into_iter().enumerate();
    let few = ends.filter(|(_, test)| test.count() <= MANY_PORTS);
    few.min_by_key(|(_, test)| test.count())
}

#[derive(Debug, Default)]
pub(super) struct PortIndexBuilder {
    ends: [Vec<(u16, u16, u32)>; 2],
    others: Vec<u32>,
}

impl PortIndexBuilder {
    /// Adds a signature with what it asks of source and destination port; `None` where the packets that it
    /// looks at may have none, or it looks both ways.
    pub(super) fn add(&mut self, signature: u32, ports: Option<[&PortTest; 2]>) {
        match ports.and_then(narrow_end) {
            Some((end, test)) => {
                let ranges = test.ranges().iter();
                self.ends[end].extend(ranges.map(|(first, last)| (*first, *last, signature)));
            }
            None if self.others.last() == Some(&signature) => {}
            None => self.others.push(signature),
        }
    }

    pub(super) fn build(self) -> PortIndex {
        let mut others = self.others;
        let ends = self.ends.map(|entries| {
            let segments =
                Segments::new(&entries, |last| last.checked_add(1), MAX_SPAN, &mut others);
            let pages = PortPages::new(segments.starts());
            (segments, pages)
        });
        others.sort_unstable();
        others.dedup();
        PortIndex { ends, others }
    }
}

impl PortIndex {
    /// Calls `see` with every signature that may match between these ports (source and destination), more than
    /// once perhaps.
    pub(super) fn find(&self, (src, dst): (u16, u16), mut see: impl FnMut(u32)) {
        self.others.iter().for_each(|signature| see(*signature));
        for ((segments, pages), port) in self.ends.iter().zip([src, dst]) {
            let after = pages.after(segments.starts(), port);
            let found = segments.before(after).iter();
            found.for_each(|signature| see(*signature));
        }
    }
}

/// A place in a sorted list of ports, found by the port's high byte first: most of these have few or none.
#[derive(Debug, Default)]
pub(super) struct PortPages {
    /// How many ports of the list are below each page of 256, and all of them at the end; nothing for no ports.
    below: Box<[u32]>,
}

impl PortPages {
    /// Of ports in order.
    pub(super) fn new(ports: &[u16]) -> Self {
        let below = |page: u32| ports.partition_point(|port| u32::from(*port) < page << 8) as u32;
        Self {
            below: match ports.is_empty() {
                true => Box::default(),
                false => (0..=256).map(below).collect(),
            },
        }
    }

    /// How many of `ports`, which this was made of, are at or below one.
    pub(super) fn after(&self, ports: &[u16], port: u16) -> usize {
        let page = usize::from(port >> 8);
        let Some([begin, end]) = self.below.get(page..).and_then(|it| it.first_chunk()) else {
            return 0;
        };
        let page = &ports[*begin as usize..*end as usize];
        *begin as usize + page.partition_point(|start| *start <= port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::group::Group;
    use crate::rule::{PortRange, Variables};
    use proptest::prelude::*;

    fn test_of(range: Option<(u16, u16)>) -> PortTest {
        let group = range.map_or(Group::Any, |(first, last)| {
            Group::One(PortRange { first, last })
        });
        PortTest::new(&group, &Variables::default())
    }

    fn range() -> impl Strategy<Value = Option<(u16, u16)>> {
        prop::option::of((0..40u16, 0..8u16).prop_map(|(first, more)| (first, first + more)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pages_count_as_the_whole_list_does(mut ports: Vec<u16>, other: u16) {
            ports.sort_unstable();
            let pages = PortPages::new(&ports);
            for port in ports.iter().flat_map(|it| [it.saturating_sub(1), *it]).chain([0, other, u16::MAX]) {
                prop_assert_eq!(pages.after(&ports, port), ports.iter().filter(|it| **it <= port).count());
            }
        }

        #[test]
        fn finds_what_asking_each_signature_finds(
            signatures in prop::collection::vec((range(), range()), 0..8),
            src in 0..50u16,
            dst in 0..50u16,
        ) {
            let tests: Vec<_> = signatures.iter().map(|(src, dst)| [test_of(*src), test_of(*dst)]).collect();
            let mut builder = PortIndexBuilder::default();
            for (index, test) in (0..).zip(&tests) {
                builder.add(index, Some([&test[0], &test[1]]));
            }
            let mut found = Vec::new();
            builder.build().find((src, dst), |signature| found.push(signature));
            for (index, test) in (0..).zip(&tests) {
                if test[0].holds(src) && test[1].holds(dst) {
                    prop_assert!(found.contains(&index));
                }
            }
        }
    }
}
