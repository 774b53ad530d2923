//! What detection remembers between packets.
use smallvec::SmallVec;

use crate::rule::{FlowbitChange, FlowintChange, FlowintTest, IntegerChange, IntegerTest};
use crate::Direction;

/// What detection remembers of one transaction between packets.
///
/// Bounded by the matcher: a signature stands at most once in either list of either direction.
#[derive(Clone, Debug, Default)]
pub struct TxState {
    /// Which matcher the indices below belong to; another one starts over.
    pub(super) matcher: u64,
    pub(super) sides: [SideState; 2],
    /// Signatures that fired (by gid and sid): direction and sides, so that none fires twice.
    pub(super) fired: SmallVec<[(u64, Direction, u8); 2]>,
}

/// One direction of a transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct SideState {
    pub(super) started: bool,
    pub(super) done: bool,
    /// How much of each buffer the prefilter has seen.
    pub(super) scanned: SmallVec<[Scanned; 4]>,
    /// Signatures that may still match, in order of evaluation.
    pub(super) pending: Vec<Pending>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Scanned {
    pub(super) slot: u32,
    /// Which of a slot's growing instances.
    pub(super) instance: u32,
    pub(super) bytes: usize,
    pub(super) complete: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) signature: u32,
    /// One bit an inspection that holds.
    pub(super) held: u64,
    /// How long its growing buffer was when it was last looked at.
    pub(super) looked_at: usize,
}

impl TxState {
    /// Forgets what belongs to another matcher; what fired stays.
    pub(super) fn belong_to(&mut self, matcher: u64) {
        if self.matcher != matcher {
            *self = Self {
                matcher,
                sides: Default::default(),
                fired: std::mem::take(&mut self.fired),
            };
        }
    }

    /// The sides for which `signature` fired already.
    pub(super) fn fired(&self, signature: u64, direction: Direction) -> u8 {
        let mine = self
            .fired
            .iter()
            .filter(|entry| (entry.0, entry.1) == (signature, direction));
        mine.fold(0, |sides, entry| sides | entry.2)
    }
}

/// What detection remembers of one flow: flowbits, and what needs to be said only once.
#[derive(Clone, Debug, Default)]
pub struct FlowState {
    pub(super) matcher: u64,
    pub(super) passed: u8,
    /// Hashes of the names of the flowbits that are set.
    pub(super) bits: SmallVec<[u64; 4]>,
    /// The flow's integers, by the hash of their names.
    pub(super) integers: SmallVec<[(u64, u32); 2]>,
    /// Signatures on addresses alone were evaluated, by direction.
    pub(super) addresses_done: [bool; 2],
    /// Signatures on the protocol alone were evaluated, by direction.
    pub(super) protocol_done: [bool; 2],
    /// Signatures on a transaction whose payload conditions held on the stream.
    pub(super) payload_held: SmallVec<[u32; 2]>,
    /// What is known of each direction's stream.
    pub(super) streams: [Scanning; 2],
}

/// What the prefilter found in the part of a stream that may still be part of a match.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanning {
    /// The stream offset up to which it looked.
    pub(super) scanned: u64,
    /// Signatures whose pattern is in the window shown last; as many as its bytes allow.
    pub(super) open: Vec<Found>,
}

/// A signature whose pattern was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) signature: u32,
    /// The furthest stream offset at which it begins.
    pub(super) place: u64,
}

impl FlowState {
    /// A `pass` signature let the rest of the flow through, uninspected, for side `side`.
    pub fn passed(&self, side: usize) -> bool {
        self.passed & (1 << side) != 0
    }

    /// Forgets what belongs to another matcher; flowbits and integers stay, since they go by name.
    pub(super) fn belong_to(&mut self, matcher: u64) {
        if self.matcher != matcher {
            *self = Self {
                matcher,
                bits: std::mem::take(&mut self.bits),
                integers: std::mem::take(&mut self.integers),
                ..Self::default()
            };
        }
    }

    pub(super) fn is_set(&self, bit: u64) -> bool {
        self.bits.contains(&bit)
    }

    pub(super) fn integer_fits(&self, test: &FlowintTest) -> bool {
        let found = self.integers.iter().find(|(name, _)| *name == test.name);
        match (test.test, found) {
            (IntegerTest::IsSet, found) => found.is_some(),
            (IntegerTest::IsNotSet, found) => found.is_none(),
            (IntegerTest::Compares(range), Some((_, value))) => range.holds((*value).into()),
            (IntegerTest::Compares(_), None) => false,
        }
    }

    pub(super) fn change_integer(&mut self, change: &FlowintChange) {
        let known = self
            .integers
            .iter()
            .position(|(name, _)| *name == change.name);
        let at = known.unwrap_or_else(|| {
            self.integers.push((change.name, 0));
            self.integers.len() - 1
        });
        let value = &mut self.integers[at].1;
        *value = match change.how {
            IntegerChange::Set(amount) => amount,
            IntegerChange::Add(amount) => value.saturating_add(amount),
            IntegerChange::Subtract(amount) => value.saturating_sub(amount),
        };
    }

    pub(super) fn change(&mut self, change: FlowbitChange) {
        let (bit, set) = match change {
            FlowbitChange::Set(bit) => (bit, true),
            FlowbitChange::Unset(bit) => (bit, false),
            FlowbitChange::Toggle(bit) => (bit, !self.is_set(bit)),
        };
        self.bits.retain(|known| *known != bit);
        if set {
            self.bits.push(bit);
        }
    }
}
