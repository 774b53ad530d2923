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
    marks: Vec<u32>,
    /// The furthest place at which a signature's pattern was found, of those added with one.
    pub(super) places: Vec<u64>,
    round: u32,
}

/// The buffers of the transaction at hand, by slot.
#[derive(Debug, Default)]
pub(super) struct SlotBuffers {
    all: Vec<SlotBuffer>,
    round: u32,
}

/// One of them.
#[derive(Debug, Default)]
pub(super) struct SlotBuffer {
    /// Another one than [`SlotBuffers::round`]: it is of an earlier transaction.
    round: u32,
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

impl SlotBuffers {
    /// Forgets those of the transaction before.
    pub(super) fn begin(&mut self, slots: usize) {
        self.round = self.round.wrapping_add(1);
        if self.all.len() != slots || self.round == 0 {
            self.all.clear();
            self.all.resize_with(slots, SlotBuffer::default);
            self.round = 1;
        }
    }

    /// A slot's, which there is.
    pub(super) fn at(&mut self, slot: u32) -> &mut SlotBuffer {
        let buffer = &mut self.all[slot as usize];
        if buffer.round != self.round {
            (buffer.round, buffer.state) = (self.round, SlotState::Unknown);
        }
        buffer
    }
}

impl Candidates {
    /// Starts a new, empty set over `signatures` signatures.
    pub(super) fn clear(&mut self, signatures: usize) {
        self.found.clear();
        self.round = self.round.wrapping_add(1);
        if self.marks.len() != signatures || self.round == 0 {
            self.marks.clear();
            self.marks.resize(signatures, 0);
            self.places.resize(signatures, 0);
            self.round = 1;
        }
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
        match self.marks.get_mut(signature as usize) {
            Some(mark) if *mark != self.round => {
                *mark = self.round;
                true
            }
            _ => false,
        }
    }
}
