//! Puts IP fragments together, within bounds.
//!
//! Nothing is decided about a datagram before it is whole, so a first fragment that is too short for its
//! transport header (RFC 1858) hides nothing here.
//!
//! A datagram that is refused is remembered until its timeout, so that no later fragment of it passes either.
//! With [`DefragPolicy::Strict`] the fragments that came before have been let through: were such a datagram
//! forgotten for want of room, its receiver could complete it unseen. So at a bound the strict policy refuses
//! new datagrams, the others give up the oldest.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::checksum::Sum;
use super::ip6::IPV6_HEADER_BYTES;
use super::{Fragment, Network, Packet, PacketEvent, PacketEvents};
use crate::pieces::Pieces;

/// Which bytes win where fragments overlap (Novak, "Target-Based Fragmentation Reassembly", 2005).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefragPolicy {
    /// Inline: fragments that repeat bytes exactly are accepted, a differing overlap condemns the datagram.
    Strict,
    /// What arrived first wins. HP-UX 11, macOS.
    First,
    /// What arrived last wins.
    Last,
    /// The fragment that starts further left wins; of two with one start, the first. FreeBSD, IRIX, HP-UX 10.
    Bsd,
    /// The later fragment wins unless it starts further left. HP's printers.
    BsdRight,
    /// As `Bsd`, but of two with one start, the last.
    Linux,
    /// What arrived first wins, unless the later fragment starts left of it and ends with it or right of it.
    Solaris,
    /// What arrived first wins, unless the later fragment starts left of it and ends right of it. The default of
    /// Debian's configuration of Suricata.
    #[default]
    Windows,
}

/// Bounds of a [`Defragmenter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefragLimits {
    /// Datagrams in pieces at one time.
    pub max_datagrams: usize,
    /// Fragment payload held at one time, over all datagrams.
    pub max_memory_bytes: usize,
    /// Fragments of one datagram; 65,535 bytes in 1,400-byte pieces are 47.
    pub max_fragments: usize,
    /// How long a datagram may stay in pieces.
    pub timeout_s: u32,
}

impl Default for DefragLimits {
    fn default() -> Self {
        Self {
            max_datagrams: 4096,
            max_memory_bytes: 16 << 20,
            max_fragments: 1024,
            timeout_s: 60,
        }
    }
}

impl DefragPolicy {
    fn later_wins(self, later: (u64, u64), earlier: (u64, u64)) -> bool {
        match self {
            Self::Strict | Self::First => false,
            Self::Last => true,
            Self::Bsd => later.0 < earlier.0,
            Self::BsdRight => later.0 >= earlier.0,
            Self::Linux => later.0 <= earlier.0,
            Self::Solaris => later.0 < earlier.0 && later.1 >= earlier.1,
            Self::Windows => later.0 < earlier.0 && later.1 > earlier.1,
        }
    }
}

/// What is worth reporting about fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DefragEvent {
    /// Fragments overlapped with equal bytes.
    Overlap,
    /// Fragments overlapped and their bytes differed, or on IPv6 overlapped at all (RFC 5722).
    OverlapDiffers,
    /// A fragment ended past its datagram's last fragment, or two "last" fragments disagreed.
    Inconsistent,
    /// A fragment other than the last that is empty, or (strict, IPv6) no multiple of 8 long.
    BadLength,
    /// More fragments than [`DefragLimits::max_fragments`].
    TooManyFragments,
    /// No room: [`DefragLimits::max_memory_bytes`] or `max_datagrams`. Strict: the new datagram was refused;
    /// else the oldest was given up.
    Evicted,
    /// The datagram would be longer than IP allows.
    TooLarge,
}

impl DefragEvent {
    /// The decoder events that stand for it.
    pub fn events(self, v6: bool) -> PacketEvents {
        use PacketEvent as Event;
        let event = match (self, v6) {
            (Self::Overlap | Self::OverlapDiffers, false) => Event::Ipv4FragOverlap,
            (Self::Overlap | Self::OverlapDiffers, true) => Event::Ipv6FragOverlap,
            (Self::TooLarge, false) => Event::Ipv4FragPktTooLarge,
            (Self::TooLarge, true) => Event::Ipv6FragPktTooLarge,
            (Self::BadLength, true) => Event::Ipv6FragInvalidLength,
            (_, false) => Event::Ipv4FragIgnored,
            (_, true) => Event::Ipv6FragIgnored,
        };
        let mut events = PacketEvents::NONE;
        events.insert(event);
        events
    }
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Reassembly<'a> {
    /// Kept, or of no use; more is needed.
    Waiting,
    /// The whole IP packet, header and payload; for [`decode_ip`](super::decode_ip).
    Whole(&'a [u8]),
    /// Refused, and with it every other fragment of its datagram until the timeout. Inline: drop the packet.
    Refused(DefragEvent),
    /// Not a fragment.
    NotAFragment,
}

/// Events kept for [`Defragmenter::take_events`]; past it they are not, since nobody seems to ask.
const MAX_EVENTS: usize = 64;

/// Reassembles IPv4 and IPv6 datagrams, keyed by (zone, source, destination, identification, and on IPv4 the
/// protocol).
#[derive(Debug)]
pub struct Defragmenter {
    limits: DefragLimits,
    policy: DefragPolicy,
    /// An ordered map, because a hash over what peers choose would need a secret.
    datagrams: BTreeMap<Key, Datagram>,
    /// By age.
    ages: BTreeMap<u64, Key>,
    next_age: u64,
    memory_bytes: usize,
    events: Vec<DefragEvent>,
    whole: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    zone: u64,
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    protocol: u8,
}

#[derive(Debug)]
struct Datagram {
    age: u64,
    first_seen_ns: u64,
    pieces: Pieces,
    fragments: usize,
    /// IP header (on IPv6 the unfragmentable part) from the fragment at offset 0, as the whole packet's.
    header: Option<Vec<u8>>,
    /// Payload length, known from the last fragment.
    total: Option<u64>,
    refused: Option<DefragEvent>,
}

impl Defragmenter {
    /// An empty one.
    pub fn new(policy: DefragPolicy, limits: DefragLimits) -> Self {
        Self {
            limits,
            policy,
            datagrams: BTreeMap::new(),
            ages: BTreeMap::new(),
            next_age: 0,
            memory_bytes: 0,
            events: Vec::new(),
            whole: Vec::new(),
        }
    }

    /// Takes one fragment; the result borrows a buffer that the next call reuses.
    ///
    /// zone: the conntrack zone or segment, so that two bridges' equal addresses never mix.
    pub fn push(&mut self, zone: u64, packet: &Packet<'_>, now_ns: u64) -> Reassembly<'_> {
        let (Some(fragment), Some((source, destination))) = (packet.fragment(), packet.addresses())
        else {
            return Reassembly::NotAFragment;
        };
        // RFC 8200, 4.5: the next header of a later fragment does not count.
        let protocol = if source.is_ipv4() {
            fragment.protocol
        } else {
            0
        };
        let key = Key {
            zone,
            source,
            destination,
            id: fragment.id,
            protocol,
        };
        self.expire(now_ns);
        if !self.datagrams.contains_key(&key) {
            if self.datagrams.len() >= self.limits.max_datagrams.max(1) && !self.make_room(None) {
                return self.refuse_unknown();
            }
            self.begin(key, now_ns);
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else {
            return Reassembly::Waiting;
        };
        if let Some(event) = datagram.refused {
            return Reassembly::Refused(event);
        }
        let before = datagram.memory_bytes();
        let taken = datagram.take(packet, &fragment, self.policy, &self.limits);
        self.memory_bytes = self.memory_bytes - before + datagram.memory_bytes();
        let complete = datagram.is_complete();
        match taken {
            Err(event) => return self.refuse(key, event),
            Ok(event) => self.note(event),
        }
        if complete {
            return self.finish(key);
        }
        while self.memory_bytes > self.limits.max_memory_bytes {
            if !self.make_room(Some(key)) {
                return self.refuse(key, DefragEvent::Evicted);
            }
        }
        Reassembly::Waiting
    }

    /// What was noticed since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<DefragEvent> {
        std::mem::take(&mut self.events)
    }

    /// Datagrams in pieces now, the refused ones that are remembered included.
    pub fn datagrams(&self) -> usize {
        self.datagrams.len()
    }

    /// About how many bytes of fragments are held now.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    fn begin(&mut self, key: Key, now_ns: u64) {
        let datagram = Datagram {
            age: self.next_age,
            first_seen_ns: now_ns,
            pieces: Pieces::default(),
            fragments: 0,
            header: None,
            total: None,
            refused: None,
        };
        self.ages.insert(self.next_age, key);
        self.datagrams.insert(key, datagram);
        self.next_age += 1;
    }

    fn remove(&mut self, key: Key) -> Option<Datagram> {
        let datagram = self.datagrams.remove(&key)?;
        self.ages.remove(&datagram.age);
        self.memory_bytes -= datagram.memory_bytes();
        Some(datagram)
    }

    fn expire(&mut self, now_ns: u64) {
        let timeout_ns = u64::from(self.limits.timeout_s) * 1_000_000_000;
        while let Some((_, key)) = self.ages.first_key_value() {
            let key = *key;
            let first_seen_ns = self
                .datagrams
                .get(&key)
                .map_or(0, |datagram| datagram.first_seen_ns);
            if now_ns.saturating_sub(first_seen_ns) <= timeout_ns {
                return;
            }
            self.remove(key);
        }
    }

    /// Gives up the oldest datagram but `except`, where the policy allows that.
    fn make_room(&mut self, except: Option<Key>) -> bool {
        let oldest = self.ages.values().copied().find(|key| Some(*key) != except);
        let Some(oldest) = oldest.filter(|_| self.policy != DefragPolicy::Strict) else {
            return false;
        };
        self.remove(oldest);
        self.note(Some(DefragEvent::Evicted));
        true
    }

    fn refuse_unknown(&mut self) -> Reassembly<'_> {
        self.note(Some(DefragEvent::Evicted));
        Reassembly::Refused(DefragEvent::Evicted)
    }

    /// Frees what a datagram holds and remembers that it is refused.
    fn refuse(&mut self, key: Key, event: DefragEvent) -> Reassembly<'_> {
        self.note(Some(event));
        if let Some(datagram) = self.datagrams.get_mut(&key) {
            self.memory_bytes -= datagram.memory_bytes();
            datagram.pieces = Pieces::default();
            datagram.header = None;
            datagram.refused = Some(event);
        }
        Reassembly::Refused(event)
    }

    fn finish(&mut self, key: Key) -> Reassembly<'_> {
        let Some(mut datagram) = self.remove(key) else {
            return Reassembly::Waiting;
        };
        self.whole.clear();
        self.whole
            .extend_from_slice(datagram.header.as_deref().unwrap_or_default());
        datagram.pieces.drain_into(&mut self.whole, 0, u64::MAX);
        seal(&mut self.whole);
        Reassembly::Whole(&self.whole)
    }

    fn note(&mut self, event: Option<DefragEvent>) {
        self.events
            .extend(event.filter(|_| self.events.len() < MAX_EVENTS));
    }
}

impl Datagram {
    fn memory_bytes(&self) -> usize {
        self.pieces.memory_bytes() + self.header.as_ref().map_or(0, Vec::capacity)
    }

    /// Whether a last fragment was seen and everything up to it is there. What stands past a hole behind it is no part
    /// of the datagram, and must not keep it from being whole.
    fn is_complete(&self) -> bool {
        let held = self.pieces.bytes() as u64;
        let whole = |total| held >= total && self.pieces.reach() >= total;
        self.header.is_some() && self.refused.is_none() && self.total.is_some_and(whole)
    }

    /// Takes one fragment in; an event that condemns the datagram is an error.
    fn take(
        &mut self,
        packet: &Packet<'_>,
        fragment: &Fragment,
        policy: DefragPolicy,
        limits: &DefragLimits,
    ) -> Result<Option<DefragEvent>, DefragEvent> {
        let strict = policy == DefragPolicy::Strict;
        let v6 = matches!(packet.network, Network::V6(_));
        let data = packet.payload;
        let (start, end) = (
            u64::from(fragment.offset_bytes),
            u64::from(fragment.offset_bytes) + data.len() as u64,
        );
        // Off the strict path a fragment that makes no sense is passed over, as receivers do.
        let fault = |event| if strict { Err(event) } else { Ok(Some(event)) };

        self.fragments += 1;
        if self.fragments > limits.max_fragments {
            return Err(DefragEvent::TooManyFragments);
        }
        if fragment.more && (data.is_empty() || ((strict || v6) && !data.len().is_multiple_of(8))) {
            return fault(DefragEvent::BadLength);
        }
        let last_known = self
            .total
            .is_some_and(|total| end > total || (!fragment.more && end != total));
        let last_too_early = !fragment.more && self.pieces.end().is_some_and(|held| held > end);
        if strict && (last_known || last_too_early) {
            return Err(DefragEvent::Inconsistent);
        }

        let held = self.pieces.covered(start, end);
        let differs = self.pieces.differs(start, data);
        let duplicate = held == data.len() && !differs;
        // RFC 5722: no overlap of whatever kind in IPv6; an exact repetition is what networks do.
        if strict && held > 0 && (differs || (v6 && !duplicate)) {
            return Err(DefragEvent::OverlapDiffers);
        }
        let header = match (&self.header, fragment.offset_bytes) {
            (None, 0) => whole_header(packet),
            _ => None,
        };
        let header_bytes = header.as_ref().or(self.header.as_ref()).map_or(0, Vec::len);
        // On IPv6 the length field does not count the fixed header.
        let counted = if v6 {
            header_bytes.saturating_sub(IPV6_HEADER_BYTES)
        } else {
            header_bytes
        };
        let furthest = end.max(self.pieces.end().unwrap_or(0));
        if furthest + counted as u64 > u64::from(u16::MAX) {
            return fault(DefragEvent::TooLarge);
        }
        if header.is_some() {
            self.header = header;
        }
        if !fragment.more {
            self.total = Some(end);
        }
        self.pieces.overlay(start, data, |later, earlier| {
            policy.later_wins(later, earlier)
        });
        Ok(match (held > 0, differs) {
            (false, _) => None,
            (true, false) => Some(DefragEvent::Overlap),
            (true, true) => Some(DefragEvent::OverlapDiffers),
        })
    }
}

/// The header that a whole packet will have, lengths and checksum still to be [`seal`]ed; from the fragment at
/// offset 0.
fn whole_header(packet: &Packet<'_>) -> Option<Vec<u8>> {
    match packet.network {
        Network::V4(ip) => {
            let mut header = ip.header().to_vec();
            header[6..8].fill(0);
            Some(header)
        }
        Network::V6(ip) => {
            let fragment_header = ip.fragment_header()?;
            let mut header = ip.bytes()[..fragment_header.at].to_vec();
            header[fragment_header.named_at] = fragment_header.fragment.protocol;
            Some(header)
        }
        Network::Other => None,
    }
}

/// Writes length and, on IPv4, checksum into a whole packet (its length was checked to fit).
fn seal(packet: &mut [u8]) {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => {
            let header_bytes = usize::from(packet[0] & 0x0f) * 4;
            let total = packet.len() as u16;
            packet[2..4].copy_from_slice(&total.to_be_bytes());
            packet[10..12].fill(0);
            let checksum = Sum::default().add(&packet[..header_bytes]).finish();
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        Some(6) => {
            let payload = (packet.len() - IPV6_HEADER_BYTES) as u16;
            packet[4..6].copy_from_slice(&payload.to_be_bytes());
        }
        _ => {}
    }
}
