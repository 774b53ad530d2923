//! What detection remembers between packets.
use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use super::effort::Effort;
use super::growing::Progress;
use crate::rule::{Amount, FlowbitChange, Flowint, FlowintStep};
use crate::Direction;

use super::tag::Tags;

/// Most bytes of captures that one flow keeps.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Most captures, likewise: each is looked for among all.
const MAX_TEXTS: usize = 256;

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
    /// What was spent on growing buffers that are transformed before the prefilter sees them, by slot.
    pub(super) efforts: SmallVec<[(u32, Effort); 1]>,
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
    /// How far the conditions on its growing buffer have come.
    pub(super) progress: Progress,
    /// How many files there were when a signature on files fired last; a further one may make it fire again.
    pub(super) files: usize,
    /// It fired, and does so again with what comes next of the message.
    pub fired: bool,
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

    /// Forgets how far the bytes were looked at, because others take their place; what fired stays.
    pub fn restart(&mut self) {
        self.sides = Default::default();
    }

    /// The same of one direction.
    pub fn restart_side(&mut self, direction: Direction) {
        self.sides[direction as usize] = Default::default();
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
    /// A signature's `bypass` let the rest of the flow through.
    pub(super) bypassed: bool,
    /// Hashes of the names of the flowbits that are set, in that order; past [`FEW_BITS`] they are rare.
    bits: SmallVec<[u64; 2]>,
    /// What few flows have.
    rare: Option<Box<Rare>>,
    /// Signatures on addresses alone were evaluated, by direction.
    pub(super) addresses_done: [bool; 2],
    /// Signatures on a transaction whose payload conditions held on the stream, and of which direction.
    pub(super) payload_held: SmallVec<[(u32, Direction); 2]>,
    /// What is known of each direction's stream.
    pub(super) streams: [Scanning; 2],
}

/// Most flowbits that are looked for one by one.
const FEW_BITS: usize = 16;

/// What few signatures have a flow remember.
#[derive(Clone, Debug, Default)]
struct Rare {
    /// Further flowbits.
    bits: BTreeSet<u64>,
    /// Integers, by the hash of their names, and where each stands.
    integers: Vec<(u64, u32)>,
    places: HashMap<u64, usize>,
    /// What expressions captured, by the hash of the variables' names.
    texts: Vec<(u64, Box<[u8]>)>,
    /// What the flow's packets are logged for.
    tags: Tags,
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

    /// Whether `bypass` did, of any side.
    pub fn is_bypassed(&self) -> bool {
        self.bypassed
    }

    /// Lets the rest of the flow through for all sides.
    pub fn pass_all(&mut self) {
        self.passed = u8::MAX;
    }

    /// Forgets what belongs to another matcher; flowbits and integers stay, since they go by name.
    pub(super) fn belong_to(&mut self, matcher: u64) {
        if self.matcher != matcher {
            *self = Self {
                matcher,
                bits: std::mem::take(&mut self.bits),
                rare: self.rare.take(),
                ..Self::default()
            };
        }
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Whether packets of the flow are logged for a match before them.
    pub fn is_tagged(&self) -> bool {
        self.rare.as_ref().is_some_and(|it| !it.tags.is_empty())
    }

    pub(super) fn tags_mut(&mut self) -> &mut Tags {
        &mut self.rare_mut().tags
    }

    pub(super) fn is_set(&self, bit: u64) -> bool {
        let further = self.rare.as_ref().map(|it| &it.bits);
        self.bits.contains(&bit) || further.is_some_and(|bits| bits.contains(&bit))
    }

    /// Hashes of the names of all flowbits that are set.
    pub(super) fn bits(&self) -> impl Iterator<Item = &u64> {
        let further = self.rare.iter().flat_map(|it| it.bits.iter());
        self.bits.iter().chain(further)
    }

    /// Whether the conditions among `steps` hold.
    pub(super) fn integers_fit(&self, steps: &[Flowint]) -> bool {
        steps.iter().all(|step| {
            let found = self.integer(step.name);
            match step.what {
                FlowintStep::IsSet => found.is_some(),
                FlowintStep::IsNotSet => found.is_none(),
                FlowintStep::Compares(wanted, negated, number) => {
                    let number = self.amount(number);
                    found.is_some_and(|found| (found.cmp(&number) == wanted) != negated)
                }
                FlowintStep::Set(_) | FlowintStep::Add(_) | FlowintStep::Subtract(_) => true,
            }
        })
    }

    /// Makes the changes among `steps`, in order.
    pub(super) fn change_integers(&mut self, steps: &[Flowint]) {
        for step in steps {
            let before = self.integer(step.name).unwrap_or(0);
            let value = match step.what {
                FlowintStep::Set(number) => self.amount(number),
                FlowintStep::Add(number) => before.wrapping_add(self.amount(number)),
                FlowintStep::Subtract(number) => before.wrapping_sub(self.amount(number)),
                FlowintStep::IsSet | FlowintStep::IsNotSet | FlowintStep::Compares(..) => continue,
            };
            self.set_integer(step.name, value);
        }
    }

    fn amount(&self, amount: Amount) -> u32 {
        match amount {
            Amount::Fixed(number) => number,
            Amount::Of(name) => self.integer(name).unwrap_or(0),
        }
    }

    fn integer(&self, name: u64) -> Option<u32> {
        let rare = self.rare.as_ref()?;
        rare.integers.get(*rare.places.get(&name)?).map(|it| it.1)
    }

    fn set_integer(&mut self, name: u64, value: u32) {
        let rare = self.rare_mut();
        let place = *rare.places.entry(name).or_insert(rare.integers.len());
        match rare.integers.get_mut(place) {
            Some((_, known)) => *known = value,
            None => rare.integers.push((name, value)),
        }
    }

    /// Keeps what an expression captured, as long as all of it together stays within the bound.
    pub(super) fn set_text(&mut self, name: u64, text: &[u8]) {
        let texts = &mut self.rare_mut().texts;
        let others = texts.iter().filter(|(known, _)| *known != name);
        let held: usize = others.map(|(_, text)| text.len()).sum();
        let fits = held + text.len() <= MAX_TEXT_BYTES;
        let room = texts.len() < MAX_TEXTS;
        match texts.iter().position(|(known, _)| *known == name) {
            Some(at) if fits => texts[at].1 = text.into(),
            Some(at) => _ = texts.remove(at),
            None if fits && room => texts.push((name, text.into())),
            None => {}
        }
    }

    /// All integers, in the order in which they were set first.
    pub(super) fn integers(&self) -> &[(u64, u32)] {
        self.rare.as_ref().map_or(&[], |it| &it.integers)
    }

    /// All captures, likewise.
    pub(super) fn texts(&self) -> &[(u64, Box<[u8]>)] {
        self.rare.as_ref().map_or(&[], |it| &it.texts)
    }

    pub(super) fn text(&self, name: u64) -> Option<&[u8]> {
        let mut texts = self.rare.as_ref()?.texts.iter();
        texts
            .find(|(known, _)| *known == name)
            .map(|(_, text)| &**text)
    }

    pub(super) fn change(&mut self, change: FlowbitChange) {
        let (bit, set) = match change {
            FlowbitChange::Set(bit) => (bit, true),
            FlowbitChange::Unset(bit) => (bit, false),
            FlowbitChange::Toggle(bit) => (bit, !self.is_set(bit)),
        };
        match self.is_set(bit) {
            known if known == set => {}
            false if self.bits.len() < FEW_BITS => self.bits.push(bit),
            false => _ = self.rare_mut().bits.insert(bit),
            true => {
                self.bits.retain(|known| *known != bit);
                self.rare.iter_mut().for_each(|it| _ = it.bits.remove(&bit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_remembers_as_many_bits_and_integers_as_it_is_told() {
        let mut state = FlowState::default();
        for name in 0..1_000 {
            state.change(FlowbitChange::Set(name));
            state.set_integer(name, name as u32 + 1);
        }
        for name in (0..1_000).step_by(2) {
            state.change(FlowbitChange::Unset(name));
        }
        state.change(FlowbitChange::Toggle(998));
        let set = |name: &u64| name % 2 == 1 || *name == 998;
        assert!((0..1_000).all(|name| state.is_set(name) == set(&name)));
        assert_eq!(state.bits().count(), 501);
        assert!((0..1_000).all(|name| state.integer(name) == Some(name as u32 + 1)));
        assert_eq!(state.integers().len(), 1_000);
    }
}
