//! What is remembered of hosts and of pairs of hosts: bits, and tags.
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::rule::{HostChange, HostStep, HostTest, Owner, Tag};

use super::bounded::{Bounded, Entry};
use super::tag::{self, TagState, Tags};

/// Bits kept in all.
const MAX_BITS: usize = 65_536;
/// Hosts whose packets are tagged.
const MAX_TAGGED: usize = 4_096;
const NS_PER_S: u64 = 1_000_000_000;

/// Whose bit: guest, and one address or two in order.
type Key = (u32, IpAddr, Option<IpAddr>, u64);
/// Guest, and address.
type Host = (u32, IpAddr);

#[derive(Clone, Copy, Debug)]
struct Bit {
    since_ns: u64,
    until_ns: u64,
}

impl Entry<Key> for Bit {
    fn guest(&self, key: &Key) -> u32 {
        key.0
    }

    fn since_ns(&self) -> u64 {
        self.since_ns
    }

    fn until_ns(&self) -> u64 {
        self.until_ns
    }
}

/// The tags on one host.
#[derive(Debug, Default)]
struct Tagged {
    tags: Tags,
    since_ns: u64,
}

impl Entry<Host> for Tagged {
    fn guest(&self, key: &Host) -> u32 {
        key.0
    }

    fn since_ns(&self) -> u64 {
        self.since_ns
    }

    fn until_ns(&self) -> u64 {
        match self.tags.is_empty() {
            true => 0,
            false => u64::MAX,
        }
    }
}

/// The bits and tags of hosts, shared by all workers and bounded; a guest's are apart from another's.
#[derive(Debug)]
pub struct Hosts {
    bits: Mutex<Bounded<Key, Bit>>,
    tagged: Mutex<Bounded<Host, Tagged>>,
    /// A host was tagged, ever: until then no packet asks for the lock.
    any_tagged: AtomicBool,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            bits: Mutex::new(Bounded::new(MAX_BITS)),
            tagged: Mutex::new(Bounded::new(MAX_TAGGED)),
            any_tagged: AtomicBool::new(false),
        }
    }
}

/// A packet's addresses, and the guest for which it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The guest's number.
    pub guest: u32,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
}

impl Ends {
    fn key(&self, owner: Owner, name: u64) -> Key {
        let (first, second) = match owner {
            Owner::Source => (self.src, None),
            Owner::Destination => (self.dst, None),
            Owner::Pair => (self.src.min(self.dst), Some(self.src.max(self.dst))),
        };
        (self.guest, first, second, name)
    }
}

/// Seconds are counted whole, as Suricata does.
fn is_set(bit: Option<&Bit>, now_ns: u64) -> bool {
    bit.is_some_and(|bit| bit.until_ns / NS_PER_S >= now_ns / NS_PER_S)
}

/// A worker that panicked leaves counts behind, not broken invariants.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hosts {
    /// Whether a bit is as it should be.
    pub(super) fn fits(&self, test: &HostTest, ends: &Ends, now_ns: u64) -> bool {
        let bits = lock(&self.bits);
        is_set(bits.get(&ends.key(test.owner, test.name)), now_ns) != test.negated
    }

    /// Changes a bit.
    pub(super) fn change(&self, change: &HostChange, ends: &Ends, now_ns: u64) {
        let key = ends.key(change.owner, change.name);
        let mut bits = lock(&self.bits);
        let sets = match change.step {
            HostStep::Set => true,
            HostStep::Unset => false,
            HostStep::Toggle => !is_set(bits.get(&key), now_ns),
        };
        if !sets {
            bits.remove(&key);
            return;
        }
        let period_ns = u64::from(change.expire_s) * NS_PER_S;
        let fresh = Bit {
            since_ns: now_ns,
            until_ns: now_ns.saturating_add(period_ns),
        };
        *bits.entry(key, fresh, now_ns) = fresh;
    }

    /// Tags a host's packets.
    pub(super) fn tag(&self, host: IpAddr, guest: u32, tag: &Tag, signature: u64, now_ns: u64) {
        let fresh = Tagged {
            since_ns: now_ns,
            ..Tagged::default()
        };
        let mut tagged = lock(&self.tagged);
        let host = tagged.entry((guest, host), fresh, now_ns);
        tag::add(&mut host.tags, TagState::new(tag, signature, now_ns));
        self.any_tagged.store(true, Ordering::Relaxed);
    }

    /// Whether a host was tagged, ever.
    pub(super) fn any_tagged(&self) -> bool {
        self.any_tagged.load(Ordering::Relaxed)
    }

    /// Counts a packet for the tags on its ends; whether it is to be logged.
    pub(super) fn is_tagged(&self, ends: &Ends, frame_bytes: u32, now_ns: u64) -> bool {
        let mut tagged = lock(&self.tagged);
        if tagged.is_empty() {
            return false;
        }
        let both: SmallVec<[IpAddr; 2]> = match ends.src == ends.dst {
            true => [ends.src].into_iter().collect(),
            false => [ends.src, ends.dst].into_iter().collect(),
        };
        let mut found = false;
        for address in both {
            let key = (ends.guest, address);
            let Some(host) = tagged.get_mut(&key) else {
                continue;
            };
            found |= tag::count(&mut host.tags, frame_bytes, now_ns);
            if host.tags.is_empty() {
                tagged.remove(&key);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const SECOND: u64 = NS_PER_S;

    fn ends(src: u32, dst: u32) -> Ends {
        Ends {
            guest: 0,
            src: Ipv4Addr::from(src).into(),
            dst: Ipv4Addr::from(dst).into(),
        }
    }

    fn test(owner: Owner) -> HostTest {
        HostTest {
            owner,
            name: 1,
            negated: false,
            hostbits: false,
        }
    }

    fn change(owner: Owner, step: HostStep) -> HostChange {
        HostChange {
            owner,
            name: 1,
            step,
            expire_s: 10,
            hostbits: false,
        }
    }

    #[test]
    fn a_pairs_bit_is_the_same_both_ways_and_lasts_its_time() {
        let hosts = Hosts::default();
        hosts.change(&change(Owner::Pair, HostStep::Set), &ends(1, 2), SECOND);
        let fits = |ends, now| hosts.fits(&test(Owner::Pair), &ends, now);
        assert!(fits(ends(2, 1), 11 * SECOND + SECOND / 2));
        assert!(!fits(ends(2, 1), 12 * SECOND));
        assert!(!fits(ends(1, 3), SECOND));
    }

    #[test]
    fn a_hosts_bit_is_found_at_whichever_end_the_host_is() {
        let hosts = Hosts::default();
        hosts.change(&change(Owner::Destination, HostStep::Set), &ends(1, 2), 0);
        assert!(hosts.fits(&test(Owner::Source), &ends(2, 9), 0));
        assert!(!hosts.fits(&test(Owner::Source), &ends(1, 9), 0));
        let other_guest = Ends {
            guest: 1,
            ..ends(2, 9)
        };
        assert!(!hosts.fits(&test(Owner::Source), &other_guest, 0));
        hosts.change(&change(Owner::Source, HostStep::Toggle), &ends(2, 1), 0);
        assert!(!hosts.fits(&test(Owner::Source), &ends(2, 9), 0));
    }

    #[test]
    fn never_holds_more_bits_than_its_bound() {
        let hosts = Hosts::default();
        for host in 0..MAX_BITS as u32 + 1_000 {
            let set = change(Owner::Source, HostStep::Set);
            hosts.change(&set, &ends(host, 0), u64::from(host));
        }
        assert!(lock(&hosts.bits).len() <= MAX_BITS);
    }
}
