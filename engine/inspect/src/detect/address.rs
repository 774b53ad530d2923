//! Address and port groups, resolved and ready to be asked.
use std::net::IpAddr;

use crate::rule::group::Group;
use crate::rule::{AddressRange, PortRange, Variables, EXTERNAL_NET, HOME_NET};

/// A group of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AddressTest {
    /// Every address.
    Any,
    /// `$HOME_NET`.
    Home,
    /// `$EXTERNAL_NET`.
    External,
    /// Sorted, disjoint ranges of either family.
    Ranges(Vec<(u32, u32)>, Vec<(u128, u128)>),
    /// In some of the first (all, where that is empty) and in none of the second.
    List(Vec<AddressTest>, Vec<AddressTest>),
}

/// What `$HOME_NET` and `$EXTERNAL_NET` are where addresses decide it.
#[derive(Clone, Debug)]
pub struct HomeLists {
    /// `$HOME_NET`.
    pub home: AddressTest,
    /// `$EXTERNAL_NET`.
    pub external: AddressTest,
}

impl HomeLists {
    /// The lists behind the two variables.
    pub fn new(variables: &Variables) -> Self {
        let list = |name| {
            variables
                .addresses(name)
                .map_or(AddressTest::Any, |group| resolve(group, variables))
        };
        Self {
            home: list(HOME_NET),
            external: list(EXTERNAL_NET),
        }
    }
}

/// Resolves a group; variables other than the two symbolic ones are replaced by what they stand for.
pub fn resolve(group: &Group<AddressRange>, variables: &Variables) -> AddressTest {
    match group {
        Group::Any => AddressTest::Any,
        Group::One(range) => ranges(std::iter::once(range)),
        Group::Variable(name) if name == HOME_NET => AddressTest::Home,
        Group::Variable(name) if name == EXTERNAL_NET => AddressTest::External,
        Group::Variable(name) => variables
            .addresses(name)
            .map_or(AddressTest::Any, |group| resolve(group, variables)),
        Group::List { include, exclude } => {
            let list = AddressTest::List(members(include, variables), members(exclude, variables));
            match list {
                AddressTest::List(mut include, exclude)
                    if include.len() == 1 && exclude.is_empty() =>
                {
                    include.remove(0)
                }
                other => other,
            }
        }
    }
}

/// The members of a list, all plain ranges among them as one.
fn members(groups: &[Group<AddressRange>], variables: &Variables) -> Vec<AddressTest> {
    let plain = || {
        groups.iter().filter_map(|group| match group {
            Group::One(range) => Some(range),
            _ => None,
        })
    };
    let others = groups
        .iter()
        .filter(|group| !matches!(group, Group::One(_)));
    let mut found: Vec<_> = others.map(|group| resolve(group, variables)).collect();
    if plain().next().is_some() {
        found.push(ranges(plain()));
    }
    found
}

fn ranges<'a>(members: impl Iterator<Item = &'a AddressRange>) -> AddressTest {
    let (mut four, mut six) = (Vec::new(), Vec::new());
    for range in members {
        match (range.first, range.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => four.push((first.into(), last.into())),
            (IpAddr::V6(first), IpAddr::V6(last)) => six.push((first.into(), last.into())),
            _ => {}
        }
    }
    AddressTest::Ranges(merged(four), merged(six))
}

/// Sorted ranges without overlaps.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(open) if first <= open.1 => open.1 = open.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

fn within<T: Ord>(ranges: &[(T, T)], value: &T) -> bool {
    let after = ranges.partition_point(|(first, _)| first <= value);
    after > 0 && *value <= ranges[after - 1].1
}

impl AddressTest {
    /// Whether `address` is in the group; `is_home`: whose end it is, `None` where `lists` decide.
    pub fn holds(&self, address: IpAddr, is_home: Option<bool>, lists: &HomeLists) -> bool {
        match self {
            Self::Any => true,
            Self::Home => is_home.unwrap_or_else(|| lists.home.holds(address, None, lists)),
            Self::External => match is_home {
                Some(is_home) => !is_home,
                None => lists.external.holds(address, None, lists),
            },
            Self::Ranges(four, six) => match address {
                IpAddr::V4(address) => within(four, &address.into()),
                IpAddr::V6(address) => within(six, &address.into()),
            },
            Self::List(include, exclude) => {
                let holds = |test: &Self| test.holds(address, is_home, lists);
                (include.is_empty() || include.iter().any(holds)) && !exclude.iter().any(holds)
            }
        }
    }
}

/// Sorted, disjoint ranges of ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortTest(Vec<(u16, u16)>);

impl PortTest {
    /// Whether every port is.
    pub fn is_any(&self) -> bool {
        self.0 == [(0, u16::MAX)]
    }

    /// Whether `port` is among them.
    pub fn holds(&self, port: u16) -> bool {
        within(&self.0, &port)
    }

    /// The ranges.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// How many ports are among them.
    pub fn count(&self) -> usize {
        let lengths = self.0.iter();
        lengths
            .map(|(first, last)| usize::from(last - first) + 1)
            .sum()
    }

    /// Resolves a group.
    pub fn new(group: &Group<PortRange>, variables: &Variables) -> Self {
        if matches!(group, Group::Any) {
            return Self(vec![(0, u16::MAX)]);
        }
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        let holds = port_set(group, variables);
        for port in (0..=u16::MAX).filter(|port| holds.has(*port)) {
            match ranges.last_mut() {
                Some(open) if port > 0 && open.1 == port - 1 => open.1 = port,
                _ => ranges.push((port, port)),
            }
        }
        Self(ranges)
    }
}

/// One bit a port.
struct PortSet(Vec<u64>);

impl PortSet {
    const WORDS: usize = 1024;

    fn has(&self, port: u16) -> bool {
        self.0[usize::from(port) / 64] & (1 << (port % 64)) != 0
    }

    fn all() -> Self {
        Self(vec![u64::MAX; Self::WORDS])
    }
}

fn port_set(group: &Group<PortRange>, variables: &Variables) -> PortSet {
    match group {
        Group::Any => PortSet::all(),
        Group::One(range) => {
            let mut set = PortSet(vec![0; PortSet::WORDS]);
            for port in range.first..=range.last {
                set.0[usize::from(port) / 64] |= 1 << (port % 64);
            }
            set
        }
        Group::Variable(name) => variables
            .ports(name)
            .map_or_else(PortSet::all, |group| port_set(group, variables)),
        Group::List { include, exclude } => {
            let mut set = if include.is_empty() {
                PortSet::all()
            } else {
                PortSet(vec![0; PortSet::WORDS])
            };
            for group in include {
                let member = port_set(group, variables);
                set.0
                    .iter_mut()
                    .zip(member.0)
                    .for_each(|(word, more)| *word |= more);
            }
            for group in exclude {
                let member = port_set(group, variables);
                set.0
                    .iter_mut()
                    .zip(member.0)
                    .for_each(|(word, less)| *word &= !less);
            }
            set
        }
    }
}
