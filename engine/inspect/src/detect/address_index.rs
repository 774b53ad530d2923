//! Finds the signatures on addresses alone whose lists hold an address, however many such signatures there are.
use std::net::IpAddr;

use super::address::AddressTest;

/// Signatures by the plain list of addresses at one of their ends.
#[derive(Debug, Default)]
pub(super) struct AddressIndex {
    /// By source and by destination; IPv4 and IPv6 of each.
    ends: [[Segments<u128>; 2]; 2],
    /// Signatures without a plain list at either end, or with a list that would take too much room.
    others: Box<[u32]>,
}

/// How many segments one range may lie over: what they hold grows with the ranges, not with their square.
const MAX_SPAN: usize = 64;

#[derive(Debug, Default)]
pub(super) struct AddressIndexBuilder {
    ends: [[Vec<Entry>; 2]; 2],
    others: Vec<u32>,
}

/// First and last address, and the signature.
type Entry = (u128, u128, u32);

/// The number line cut wherever some list begins or ends.
#[derive(Debug, Default)]
pub(super) struct Segments<K> {
    /// Where each segment begins; it reaches to the next one.
    starts: Box<[K]>,
    /// Where the signatures of each segment end; they begin where those of the one before end.
    ends: Box<[u32]>,
    signatures: Box<[u32]>,
}

impl AddressIndexBuilder {
    /// Adds a signature with what it asks of source and destination.
    pub(super) fn add(&mut self, signature: u32, ends: [&AddressTest; 2], both_ways: bool) {
        let plain = ends
            .iter()
            .position(|test| matches!(test, AddressTest::Ranges(..)));
        match (plain, both_ways) {
            (Some(end), false) => {
                let AddressTest::Ranges(four, six) = ends[end] else {
                    return;
                };
                let four = four
                    .iter()
                    .map(|(a, b)| (u128::from(*a), u128::from(*b), signature));
                self.ends[end][0].extend(four);
                self.ends[end][1].extend(six.iter().map(|(a, b)| (*a, *b, signature)));
            }
            _ => self.others.push(signature),
        }
    }

    pub(super) fn build(self) -> AddressIndex {
        let mut others = self.others;
        let ends = self.ends.map(|families| {
            families.map(|entries| {
                Segments::new(&entries, |last| last.checked_add(1), MAX_SPAN, &mut others)
            })
        });
        others.sort_unstable();
        others.dedup();
        AddressIndex {
            ends,
            others: others.into(),
        }
    }
}

impl AddressIndex {
    /// Calls `see` with every signature that may match between these addresses.
    pub(super) fn find(&self, src: IpAddr, dst: IpAddr, mut see: impl FnMut(u32)) {
        self.others.iter().for_each(|signature| see(*signature));
        for (families, address) in self.ends.iter().zip([src, dst]) {
            let found = match address {
                IpAddr::V4(address) => families[0].at(u32::from(address).into()),
                IpAddr::V6(address) => families[1].at(address.into()),
            };
            found.iter().for_each(|signature| see(*signature));
        }
    }
}

impl<K: Copy + Ord> Segments<K> {
    /// Cuts the line at both ends of every entry; signatures with a range over more than `most` segments become
    /// `others`. `after`: what follows a place.
    pub(super) fn new(
        entries: &[(K, K, u32)],
        after: impl Fn(K) -> Option<K>,
        most: usize,
        others: &mut Vec<u32>,
    ) -> Self {
        let ends = entries.iter().filter_map(|(_, last, _)| after(*last));
        let mut starts: Vec<K> = entries.iter().map(|entry| entry.0).chain(ends).collect();
        starts.sort_unstable();
        starts.dedup();
        let mut held: Vec<(u32, u32)> = Vec::new();
        for (first, last, signature) in entries {
            let from = starts.partition_point(|start| start < first);
            let to = starts.partition_point(|start| start <= last);
            match to - from > most {
                true => others.push(*signature),
                false => held.extend((from..to).map(|segment| (segment as u32, *signature))),
            }
        }
        held.sort_unstable();
        let end = |segment: usize| held.partition_point(|(at, _)| *at as usize <= segment) as u32;
        Self {
            ends: (0..starts.len()).map(end).collect(),
            signatures: held.iter().map(|(_, signature)| *signature).collect(),
            starts: starts.into(),
        }
    }

    /// How many signatures the segments hold together.
    pub(super) fn len(&self) -> usize {
        self.signatures.len()
    }

    /// Where each segment begins, and its signatures.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &[u32])> {
        let mut begin = 0;
        self.starts.iter().zip(&self.ends).map(move |(start, end)| {
            let signatures = &self.signatures[begin..*end as usize];
            begin = *end as usize;
            (*start, signatures)
        })
    }

    /// The signatures of the segment that a place is in.
    pub(super) fn at(&self, place: K) -> &[u32] {
        self.before(self.starts.partition_point(|start| *start <= place))
    }

    /// Where each segment begins.
    pub(super) fn starts(&self) -> &[K] {
        &self.starts
    }

    /// The signatures of the segment before the one with this number; none before the first.
    pub(super) fn before(&self, after: usize) -> &[u32] {
        let Some(segment) = after.checked_sub(1) else {
            return &[];
        };
        let begin = segment.checked_sub(1).map_or(0, |it| self.ends[it]);
        &self.signatures[begin as usize..self.ends[segment] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wide_ranges_over_many_narrow_ones_take_no_room_by_their_product() {
        let mut builder = AddressIndexBuilder::default();
        let (narrow, wide) = (5_000u32, 1_000u32);
        for signature in 0..narrow + wide {
            let range = match signature < narrow {
                true => (signature * 10, signature * 10 + 5),
                false => (0, u32::MAX),
            };
            let test = AddressTest::Ranges(vec![range], Vec::new());
            builder.add(signature, [&test, &AddressTest::Any], false);
        }
        let index = builder.build();
        assert!(index.ends[0][0].signatures.len() <= narrow as usize);
        let mut found = Vec::new();
        let end = IpAddr::V4(42.into());
        index.find(end, end, |signature| found.push(signature));
        assert_eq!(found.len(), wide as usize + 1);
    }

    proptest! {
        #[test]
        fn finds_what_asking_each_list_finds(
            lists in prop::collection::vec(prop::collection::vec((0..40u32, 0..8u32), 1..3), 0..8),
            address in 0..50u32,
        ) {
            let mut builder = AddressIndexBuilder::default();
            let holds = |list: &[(u32, u32)]| {
                list.iter().any(|(first, length)| (*first..=first + length).contains(&address))
            };
            for (index, list) in (0..).zip(&lists) {
                let ranges = list.iter().map(|(first, length)| (*first, first + length)).collect();
                let test = AddressTest::Ranges(ranges, Vec::new());
                builder.add(index, [&AddressTest::Any, &test], false);
            }
            let mut found = Vec::new();
            let end = IpAddr::V4(address.into());
            builder.build().find(end, end, |signature| found.push(signature));
            found.sort_unstable();
            found.dedup();
            let expected: Vec<u32> = (0..).zip(&lists).filter(|(_, it)| holds(it)).map(|it| it.0).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
