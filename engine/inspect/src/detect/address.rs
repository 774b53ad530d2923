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

/// Whether `value` is in one of sorted, disjoint ranges.
pub fn within<T: Ord>(ranges: &[(T, T)], value: &T) -> bool {
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
                let included = match include.is_empty() {
                    // What is only said not to be IPv4 addresses is others of IPv4.
                    true => exclude
                        .iter()
                        .any(|it| it.names_family_of(address, is_home, lists)),
                    false => include.iter().any(holds),
                };
                included && !exclude.iter().any(holds)
            }
        }
    }

    /// Whether it speaks of addresses of this one's family at all: of a guest's, always.
    fn names_family_of(&self, address: IpAddr, is_home: Option<bool>, lists: &HomeLists) -> bool {
        let named = |test: &Self| test.names_family_of(address, is_home, lists);
        match self {
            Self::Any => true,
            Self::Home => is_home.is_some() || named(&lists.home),
            Self::External => is_home.is_some() || named(&lists.external),
            Self::Ranges(four, six) => match address {
                IpAddr::V4(_) => !four.is_empty(),
                IpAddr::V6(_) => !six.is_empty(),
            },
            Self::List(include, exclude) => include.iter().chain(exclude).any(named),
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
        Self(ports(group, variables))
    }
}

const ALL_PORTS: (u16, u16) = (0, u16::MAX);

/// The ports of a group, as sorted ranges without overlaps: work grows with what is written, not with ports.
fn ports(group: &Group<PortRange>, variables: &Variables) -> Vec<(u16, u16)> {
    match group {
        Group::Any => vec![ALL_PORTS],
        Group::One(range) => vec![(range.first, range.last)],
        Group::Variable(name) => variables
            .ports(name)
            .map_or_else(|| vec![ALL_PORTS], |group| ports(group, variables)),
        Group::List { include, exclude } => {
            let all =
                |groups: &[_]| merged(groups.iter().flat_map(|it| ports(it, variables)).collect());
            let included = match include.is_empty() {
                true => vec![ALL_PORTS],
                false => all(include),
            };
            without(&included, &all(exclude))
        }
    }
}

/// What of `ranges` is in none of `holes`; both are sorted and without overlaps.
fn without(ranges: &[(u16, u16)], holes: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut left = Vec::with_capacity(ranges.len());
    let mut holes = holes.iter().peekable();
    for (first, last) in ranges.iter().copied() {
        let mut from = Some(first);
        while let Some((start, end)) = holes.peek().copied().copied() {
            if start > last {
                break;
            }
            if let Some(first) = from.filter(|first| *first < start) {
                left.push((first, start - 1));
            }
            from = from.and_then(|first| Some(first.max(end.checked_add(1)?)));
            if end > last {
                break;
            }
            holes.next();
        }
        left.extend(
            from.filter(|first| *first <= last)
                .map(|first| (first, last)),
        );
    }
    left.shrink_to_fit();
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::group;
    use proptest::prelude::*;

    /// Whether a port is in a group, by what the group says.
    fn says(group: &Group<PortRange>, port: u16) -> bool {
        match group {
            Group::Any | Group::Variable(_) => true,
            Group::One(range) => (range.first..=range.last).contains(&port),
            Group::List { include, exclude } => {
                (include.is_empty() || include.iter().any(|it| says(it, port)))
                    && !exclude.iter().any(|it| says(it, port))
            }
        }
    }

    fn test(text: &str) -> (Group<PortRange>, PortTest) {
        let group = group::parse(text).unwrap();
        let test = PortTest::new(&group, &Variables::default());
        (group, test)
    }

    #[test]
    fn excludes_ports_at_either_end() {
        assert_eq!(test("!0").1 .0, [(1, u16::MAX)]);
        assert_eq!(test("![1:65535]").1 .0, [(0, 0)]);
        assert_eq!(test("[80,!80]").1 .0, []);
        assert_eq!(
            test("[1:9,20:29,!5:22,!25]").1 .0,
            [(1, 4), (23, 24), (26, 29)]
        );
    }

    #[test]
    fn who_is_not_the_guest_may_have_an_address_of_either_family() {
        let lists = HomeLists {
            home: AddressTest::Ranges(vec![(0x0a00_0000, 0x0aff_ffff)], Vec::new()),
            external: AddressTest::Any,
        };
        let others = AddressTest::List(Vec::new(), vec![AddressTest::Home]);
        let [four, six] = ["192.0.2.1", "2001:db8::1"].map(|it| it.parse().unwrap());
        assert!([four, six].map(|it| others.holds(it, Some(false), &lists)) == [true; 2]);
        // Offline the list says what is home, of its own family only.
        assert!([four, six].map(|it| others.holds(it, None, &lists)) == [true, false]);
    }

    proptest! {
        #[test]
        fn holds_the_ports_that_the_group_says(
            lists in prop::collection::vec((any::<bool>(), prop::collection::vec((any::<bool>(), 0..40u16, 0..9u16), 1..6)), 1..4),
        ) {
            let members = lists.iter().map(|(not, list)| {
                let inner: Vec<_> = list.iter().map(|(not, first, more)| {
                    format!("{}{first}:{}", if *not { "!" } else { "" }, first + more)
                }).collect();
                format!("{}[{}]", if *not { "!" } else { "" }, inner.join(","))
            });
            let (group, test) = test(&format!("[{}]", members.collect::<Vec<_>>().join(",")));
            for port in 0..60 {
                prop_assert_eq!(test.holds(port), says(&group, port), "{}", port);
            }
        }
    }
}
