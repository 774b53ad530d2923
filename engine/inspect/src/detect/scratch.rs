//! The work space of one worker.
use std::collections::HashMap;

use super::chain::Work;
use super::headers::Fits;
use super::Hit;

/// Work space of one worker, reused for every packet; it stops growing once it has seen its largest input.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) hits: Vec<Hit>,
    /// The sides for which a signature matched, one bit each, by signature and transaction.
    pub(super) hit_by: HashMap<(u32, Option<u64>), u8>,
    pub(super) candidates: Candidates,
    /// Signatures on the packet at hand that lack nothing but a state of the flow.
    pub(super) deferred: Vec<u32>,
    pub(super) buffers: SlotBuffers,
    pub(super) fits: Fits,
    pub(super) spare: Vec<u8>,
    pub(super) work: Work,
    /// What expressions captured of the packet at hand, by the hash of the variables' names.
    pub(super) texts: Vec<(u64, Vec<u8>)>,
    /// Alerts beyond what one packet may have, ever.
    pub(super) overflowed: u64,
}

/// Signatures to be evaluated, each once.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) found: Vec<u32>,
    noted: Stamps,
    /// The furthest place at which a signature's pattern was found, of those added with one.
    pub(super) places: Vec<u64>,
}

/// Which numbers came up in a round; to begin another costs nothing.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    stamps: Vec<u32>,
    round: u32,
}

/// The buffers of the transaction at hand, by slot.
#[derive(Debug, Default)]
pub(super) struct SlotBuffers {
    all: Vec<SlotBuffer>,
    asked: Stamps,
}

/// One of them.
#[derive(Debug, Default)]
pub(super) struct SlotBuffer {
    pub(super) state: SlotState,
    pub(super) built: Vec<u8>,
}

/// Where a slot's bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SlotState {
    /// Not looked for yet.
    #[default]
    Unknown,
    /// The message has none.
    Absent,
    /// In the transaction.
    Borrowed,
    /// In `built`.
    Built,
}

impl Scratch {
    /// Forgets the previous packet.
    pub fn begin(&mut self) {
        self.hits.clear();
        self.hit_by.clear();
        self.deferred.clear();
        self.texts.clear();
    }

    /// What was found since [`Scratch::begin`]; final once [`Matcher::finish`](super::Matcher::finish) ran.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// The sides for which a signature matched this packet outside of transactions, one bit each.
    pub(super) fn hit_sides(&self, signature: u32) -> u8 {
        self.hit_by.get(&(signature, None)).copied().unwrap_or(0)
    }

    /// What was captured last under a name.
    pub(super) fn text(&self, name: u64) -> Option<&[u8]> {
        let mut texts = self.texts.iter().rev();
        texts
            .find(|(known, _)| *known == name)
            .map(|(_, text)| text.as_slice())
    }

    /// How many alerts were beyond what one packet may have, ever.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// How often PCRE2's limits and the step limit cut evaluation short, ever.
    pub fn limits_hit(&self) -> (u64, u64) {
        (self.work.pcre, self.work.steps)
    }
}

impl Stamps {
    /// Begins a round of numbers below `count`.
    pub(super) fn begin(&mut self, count: usize) {
        self.round = self.round.wrapping_add(1);
        if self.stamps.len() != count || self.round == 0 {
            self.stamps.clear();
            self.stamps.resize(count, 0);
            self.round = 1;
        }
    }

    /// Whether this number, of those of the round, comes up for the first time in it.
    pub(super) fn is_first(&mut self, number: u32) -> bool {
        match self.stamps.get_mut(number as usize) {
            Some(stamp) if *stamp != self.round => {
                *stamp = self.round;
                true
            }
            _ => false,
        }
    }
}

impl SlotBuffers {
    /// Forgets those of the transaction before.
    pub(super) fn begin(&mut self, slots: usize) {
        self.asked.begin(slots);
        self.all.resize_with(slots, SlotBuffer::default);
    }

    /// A slot's, which there is.
    pub(super) fn at(&mut self, slot: u32) -> &mut SlotBuffer {
        let buffer = &mut self.all[slot as usize];
        if self.asked.is_first(slot) {
            buffer.state = SlotState::Unknown;
        }
        buffer
    }
}

impl Candidates {
    /// Starts a new, empty set over `signatures` signatures.
    pub(super) fn clear(&mut self, signatures: usize) {
        self.found.clear();
        self.noted.begin(signatures);
        self.places.resize(signatures, 0);
    }

    /// Adds one, unless it is there.
    pub(super) fn add(&mut self, signature: u32) {
        if self.mark(signature) {
            self.found.push(signature);
        }
    }

    /// Adds one whose pattern is at `place`, and at no place further along that was told.
    pub(super) fn add_at(&mut self, signature: u32, place: u64) {
        let new = self.mark(signature);
        if let Some(furthest) = self.places.get_mut(signature as usize) {
            if new {
                self.found.push(signature);
                *furthest = place;
            }
            *furthest = place.max(*furthest);
        }
    }

    /// Notes one without adding it; whether it was not noted before.
    pub(super) fn mark(&mut self, signature: u32) -> bool {
        self.noted.is_first(signature)
    }
}
