//! Puts IP fragments together, within bounds.

use super::Packet;

/// Which bytes win where fragments overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefragPolicy {
    /// Inline: fragments that repeat bytes exactly are accepted, a differing overlap condemns the datagram.
    Strict,
    /// What arrived first wins.
    First,
    /// What arrived last wins.
    Last,
    /// The fragment that starts further left wins; of two with one start, the first. Suricata's default.
    #[default]
    Bsd,
    /// As `Bsd`, but of two with one start, the last.
    Linux,
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
    /// Smallest payload of a fragment that is not the last. Real path MTUs are ≥ 576; a first fragment too
    /// short for its transport header hides the ports (RFC 1858).
    pub min_fragment_bytes: usize,
}

impl Default for DefragLimits {
    fn default() -> Self {
        Self {
            max_datagrams: 4096,
            max_memory_bytes: 16 << 20,
            max_fragments: 1024,
            timeout_s: 60,
            min_fragment_bytes: 0,
        }
    }
}

/// What is worth reporting about fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DefragEvent {
    /// Fragments overlapped.
    Overlap,
    /// Fragments overlapped and their bytes differed.
    OverlapDiffers,
    /// A fragment ended past its datagram's last fragment, or two "last" fragments disagreed.
    Inconsistent,
    /// A fragment other than the last whose length is no multiple of 8 (or is 0, or under the minimum).
    BadLength,
    /// More fragments than [`DefragLimits::max_fragments`].
    TooManyFragments,
    /// No room: [`DefragLimits::max_memory_bytes`] or `max_datagrams`; the oldest datagram was given up.
    Evicted,
    /// The datagram would be longer than IP allows.
    TooLarge,
}

/// What became of a fragment.
#[derive(Debug)]
pub enum Reassembly<'a> {
    /// Kept; more is needed.
    Waiting,
    /// The whole IP packet, header and payload; for [`decode_ip`](super::decode_ip).
    Whole(&'a [u8]),
    /// Refused, and with it every other fragment of its datagram until the timeout. Inline: drop the packet.
    Refused(DefragEvent),
    /// Not a fragment.
    NotAFragment,
}

/// Reassembles IPv4 and IPv6 datagrams, keyed by (zone, source, destination, identification, protocol).
#[derive(Debug)]
pub struct Defragmenter {
    limits: DefragLimits,
    policy: DefragPolicy,
}

impl Defragmenter {
    /// An empty one.
    pub fn new(policy: DefragPolicy, limits: DefragLimits) -> Self {
        Self { limits, policy }
    }

    /// Takes one fragment; the result borrows a buffer that the next call reuses.
    ///
    /// zone: the conntrack zone or segment, so that two bridges' equal addresses never mix.
    pub fn push(&mut self, _zone: u32, _packet: &Packet<'_>, _now_ns: u64) -> Reassembly<'_> {
        unimplemented!("{:?} {:?}", self.limits, self.policy)
    }

    /// What was noticed since the last call, oldest first; at most a few per packet.
    pub fn take_events(&mut self) -> Vec<DefragEvent> {
        unimplemented!()
    }

    /// Datagrams in pieces now.
    pub fn datagrams(&self) -> usize {
        unimplemented!()
    }

    /// Bytes of fragments held now.
    pub fn memory_bytes(&self) -> usize {
        unimplemented!()
    }
}
