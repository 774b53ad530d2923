//! Evaluation on transactions.
//!
//! A signature comes up when its pattern is found in its buffer, or with the transaction's first byte where
//! it has none. It then waits in the transaction's state until all its conditions held, one of them cannot
//! hold any more, or the message is over.
use crate::app::frame::Frame;
use crate::app::{Stage, Transaction};
use crate::rule::buffer::Inspection;
use crate::rule::TxTest;
use crate::Direction;

use super::chain::{self, Subject};
use super::effort::Effort;
use super::evaluate::{buffers_fit, conditions_hold};
use super::growing::{self, Progress};
use super::matcher::{Compiled, Slot, PAYLOAD};
use super::scratch::{Candidates, Scratch, SlotBuffer, SlotState};
use super::state::{Pending, Scanned, SideState, TxState};
use super::{Context, FlowState, Matcher, Scope};

/// Offline, a growing body is judged from this size on. Suricata's default.
const MIN_BODY: usize = 32 << 10;
/// Offline, and then each time it grew by this much.
const BODY_STEP: usize = 4 << 10;

/// What became of one condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Holds,
    /// It may hold later.
    Waits,
    /// It never will.
    Fails,
}

/// One direction of one transaction, as it stands.
struct Scene<'a> {
    view: &'a dyn Transaction,
    direction: Direction,
    stage: Stage,
    at_once: bool,
}

impl Scene<'_> {
    /// Whether a buffer's bytes will not change any more.
    fn is_settled(&self, slot: &Slot) -> bool {
        !slot.buffer.grows || self.stage > Stage::Body || self.view.is_full(self.direction)
    }

    fn is_reached(&self, slot: &Slot) -> bool {
        slot.buffer
            .stage(self.direction)
            .is_some_and(|stage| self.stage >= stage)
    }
}

impl Matcher {
    /// Evaluates signatures on that side of a transaction that the packet's direction fills.
    ///
    /// To be called whenever that side's progress or body grew; a signature fires once a transaction and
    /// direction.
    pub fn transaction(
        &self,
        context: &Context<'_>,
        flow: &mut FlowState,
        tx: &mut dyn Transaction,
        scratch: &mut Scratch,
    ) {
        let mut state = std::mem::take(&mut tx.head_mut().detect);
        self.evaluate_transaction(context, flow, tx, &mut state, scratch);
        tx.head_mut().detect = state;
    }

    fn evaluate_transaction(
        &self,
        context: &Context<'_>,
        flow: &mut FlowState,
        view: &dyn Transaction,
        state: &mut TxState,
        scratch: &mut Scratch,
    ) {
        let id = view.head().id;
        flow.belong_to(self.id);
        state.belong_to(self.id);
        let direction = context.packet.direction;
        let scene = Scene {
            view,
            direction,
            stage: view.stage(direction),
            at_once: context.at_once,
        };
        let mut side = std::mem::take(&mut state.sides[direction as usize]);
        if !side.done && scene.stage > Stage::NotStarted {
            scratch.fits.turn_to(self.id, &self.headers, context);
            scratch.buffers.begin(self.slots.len());
            self.bring_up(&scene, &mut side, scratch);
            let mut pending = std::mem::take(&mut side.pending);
            pending.retain_mut(|waiting| {
                self.weigh(context, flow, &scene, id, state, waiting, scratch) == Verdict::Waits
            });
            side.pending = pending;
            if scene.stage == Stage::Complete {
                side = SideState {
                    done: true,
                    ..SideState::default()
                };
            }
        }
        state.sides[direction as usize] = side;
    }

    /// Adds the signatures whose pattern is in what is new of the buffers, and at first those without one.
    fn bring_up(&self, scene: &Scene<'_>, side: &mut SideState, scratch: &mut Scratch) {
        let lanes = if scene.view.as_any().is::<Frame>() {
            &self.frames
        } else {
            &self.transactions
        };
        let Some(lane) = lanes.get(&(scene.view.app(), scene.direction)) else {
            return;
        };
        scratch.candidates.clear(self.signatures.len());
        for waiting in &side.pending {
            scratch.candidates.mark(waiting.signature);
        }
        if !std::mem::replace(&mut side.started, true) {
            lane.always
                .iter()
                .for_each(|signature| scratch.candidates.add(*signature));
        }
        for index in &lane.slots {
            self.scan_slot(*index, scene, side, scratch);
        }
        if scratch.candidates.found.is_empty() {
            return;
        }
        let found = &mut scratch.candidates.found;
        found.sort_unstable();
        side.pending
            .extend(found.drain(..).map(|signature| Pending {
                signature,
                held: 0,
                progress: Progress::default(),
                files: 0,
                fired: false,
            }));
        // At most two runs in order: the stable sort merges them.
        side.pending.sort_by_key(|waiting| waiting.signature);
    }

    /// Runs one slot's prefilter over what it has not seen.
    fn scan_slot(
        &self,
        index: u32,
        scene: &Scene<'_>,
        side: &mut SideState,
        scratch: &mut Scratch,
    ) {
        let slot = &self.slots[index as usize];
        let done = known(side, index, 0).is_some_and(|at| side.scanned[at].complete);
        if done || !scene.is_reached(slot) {
            return;
        }
        let complete = scene.is_settled(slot);
        let Scratch {
            candidates,
            buffers,
            spare,
            ..
        } = scratch;
        let buffer = buffers.at(index);
        if slot.buffer.grows && !complete && !slot.transforms.is_empty() {
            let length = extracted_length(slot, scene, spare);
            let effort = effort_on(side, index);
            if !effort.is_due(length) {
                return;
            }
            effort.note(length, length);
        }
        if !slot.buffer.multiple {
            let mut unused = Vec::new();
            let bytes = slot_bytes(slot, scene, buffer, spare, &mut unused);
            let bytes = bytes.unwrap_or_default();
            scan_new(slot, index, 0, bytes, complete, side, candidates);
        } else if slot.buffer.grows {
            each_instance(slot, scene, buffer, spare, |instance, bytes| {
                scan_new(slot, index, instance, bytes, complete, side, candidates);
                false
            });
        } else {
            each_instance(slot, scene, buffer, spare, |_, bytes| {
                slot.prefilter
                    .scan(bytes, 0, 0, |signature, _| candidates.add(signature));
                false
            });
            note_scanned(side, index, 0, 0, complete);
        }
    }

    /// Evaluates one signature as far as the transaction has come. `Waits`: it stays pending.
    #[allow(clippy::too_many_arguments)]
    fn weigh(
        &self,
        context: &Context<'_>,
        flow: &mut FlowState,
        scene: &Scene<'_>,
        id: u64,
        state: &mut TxState,
        waiting: &mut Pending,
        scratch: &mut Scratch,
    ) -> Verdict {
        let signature = &self.signatures[waiting.signature as usize];
        let compiled = &self.compiled[waiting.signature as usize];
        let again = waiting.files > 0;
        let fired = match again {
            true => 0,
            false => state.fired(compiled.key, scene.direction),
        };
        let sides = self.sides(waiting.signature, context, flow, &mut scratch.fits) & !fired;
        if sides == 0 {
            return Verdict::Fails;
        }
        scratch.work.begin();
        if compiled.joined {
            waiting.held = 0;
        }
        let mut sides = sides;
        if waiting.held == 0 {
            sides = conditions_hold(signature, context, flow, scratch, sides);
        }
        if sides == 0 || waiting.held == 0 && !buffers_fit(signature, context, &mut scratch.work) {
            return if compiled.patterned {
                Verdict::Fails
            } else {
                Verdict::Waits
            };
        }
        let slots = &compiled.slots[scene.direction as usize];
        // What is settled costs one look, what grows one a packet: a request line that does not fit spares its body.
        // Joined buffers are read in the order of the signature, which fills variables before it uses them.
        let settled = |at: usize| {
            let slot = self.slots.get(slots[at] as usize);
            compiled.joined || slot.is_none_or(|slot| scene.is_settled(slot))
        };
        let payload = (waiting.signature, scene.direction);
        let count = signature.inspections.len();
        let settled_first = (0..count)
            .filter(|at| settled(*at))
            .chain((0..count).filter(|at| !settled(*at)));
        for at in settled_first {
            let inspection = &signature.inspections[at];
            let bit = 1u64 << at;
            if waiting.held & bit != 0 || inspection.packet.is_some() {
                continue;
            }
            let verdict = match slots[at] {
                PAYLOAD if scene.view.head().late => Verdict::Fails,
                PAYLOAD if flow.payload_held.contains(&payload) => Verdict::Holds,
                PAYLOAD => Verdict::Waits,
                slot => {
                    let sees_end = compiled.sees_end & bit != 0;
                    let nature = (sees_end, compiled.joined);
                    self.inspect(slot, inspection, nature, scene, waiting, scratch)
                }
            };
            match verdict {
                Verdict::Holds => {
                    waiting.held |= bit;
                    // Joined buffers are judged anew each time, and so spend on.
                    if !compiled.joined {
                        waiting.progress.next_buffer();
                    }
                }
                other => return other,
            }
        }
        let fits = |test: &TxTest| {
            test.fits(scene.view, scene.direction)
                && test.fits_file(scene.view, scene.direction, waiting.files)
        };
        if !signature.tx_tests.iter().all(fits) {
            return Verdict::Waits;
        }
        flow.payload_held.retain(|held| *held != payload);
        waiting.fired = waiting.fired || self.insists(compiled, scene);
        if !again && !waiting.fired {
            state.fired.push((compiled.key, scene.direction, sides));
        }
        self.hit(
            context,
            waiting.signature,
            sides,
            Scope::Flow,
            Some(id),
            false,
            flow,
            scratch,
        );
        if signature.tx_tests.iter().any(TxTest::is_about_files) {
            waiting.files = scene.view.files(scene.direction).len();
            return Verdict::Waits;
        }
        match waiting.fired {
            true => Verdict::Waits,
            false => Verdict::Holds,
        }
    }

    /// Whether a capture's signature fires again with what comes next of the message.
    fn insists(&self, compiled: &Compiled, scene: &Scene<'_>) -> bool {
        let Some(at) = compiled.insisting.filter(|_| !scene.at_once) else {
            return false;
        };
        let slot = compiled.slots[scene.direction as usize][at as usize];
        let slot = self.slots.get(slot as usize);
        let stage = slot.and_then(|slot| slot.buffer.stage(scene.direction));
        stage.is_some_and(|stage| scene.stage >= stage)
    }

    /// Evaluates the conditions on one buffer.
    ///
    /// sees_end: the outcome may change with the buffer's end. joined: variables tie it to other buffers.
    fn inspect(
        &self,
        index: u32,
        inspection: &Inspection,
        (sees_end, joined): (bool, bool),
        scene: &Scene<'_>,
        waiting: &mut Pending,
        scratch: &mut Scratch,
    ) -> Verdict {
        let slot = &self.slots[index as usize];
        if slot.buffer.stage(scene.direction).is_none() {
            return Verdict::Fails;
        }
        if !scene.is_reached(slot) {
            return Verdict::Waits;
        }
        let settled = scene.is_settled(slot);
        let Scratch {
            buffers,
            spare,
            work,
            ..
        } = scratch;
        let tests = &inspection.tests;
        let little = scene.view.is_little();
        let mut bit_by_bit = false;
        let mut length = 0;
        if !settled {
            length = extracted_length(slot, scene, spare);
            bit_by_bit = slot.transforms.is_empty() && !joined && growing::may_settle(tests);
            let due = bit_by_bit || waiting.progress.effort().is_due(length);
            if sees_end || !due || !is_worth_a_look(slot, length, scene, &waiting.progress) {
                return Verdict::Waits;
            }
            waiting.progress.note_judged(length);
        }
        let before = work.searched;
        let buffer = buffers.at(index);
        let progress = &mut waiting.progress;
        let mut judge = |instance: u32, bytes: &[u8]| {
            let subject = Subject::whole(bytes).with_order(little);
            match bit_by_bit {
                true => progress.holds(tests, instance, subject, work),
                false => chain::holds(tests, subject, work),
            }
        };
        let holds = if slot.buffer.multiple {
            each_instance(slot, scene, buffer, spare, |instance, bytes| {
                let nothing = slot.buffer.grows && bytes.is_empty();
                !nothing && judge(instance, bytes)
            })
        } else {
            let mut unused = Vec::new();
            match slot_bytes(slot, scene, buffer, spare, &mut unused) {
                Some(bytes) => judge(0, bytes),
                None => false,
            }
        };
        if !settled && !bit_by_bit {
            let searched = (work.searched - before) as usize;
            waiting.progress.effort().note(length, searched);
        }
        match (holds, settled) {
            (true, _) => Verdict::Holds,
            (false, true) => Verdict::Fails,
            (false, false) => Verdict::Waits,
        }
    }
}

/// Whether a growing buffer should be judged now.
fn is_worth_a_look(slot: &Slot, length: usize, scene: &Scene<'_>, progress: &Progress) -> bool {
    let at_once = scene.at_once || slot.buffer.at_once;
    let step = if at_once { 1 } else { BODY_STEP };
    length >= progress.judged() + step && (at_once || length >= MIN_BODY)
}

/// What was spent on a slot.
fn effort_on(side: &mut SideState, slot: u32) -> &mut Effort {
    let known = side.efforts.iter().position(|(known, _)| *known == slot);
    let at = known.unwrap_or_else(|| {
        side.efforts.push((slot, Effort::default()));
        side.efforts.len() - 1
    });
    &mut side.efforts[at].1
}

/// How many bytes a slot's instances have together, before transforms.
fn extracted_length(slot: &Slot, scene: &Scene<'_>, spare: &mut Vec<u8>) -> usize {
    let instances = if slot.buffer.multiple { u32::MAX } else { 1 };
    let lengths = (0..instances).map_while(|instance| {
        spare.clear();
        let bytes = (slot.buffer.extract)(scene.view, scene.direction, instance, spare);
        bytes.map(<[u8]>::len)
    });
    lengths.sum()
}

/// Where it is noted how much of a slot's instance the prefilter has seen.
fn known(side: &SideState, slot: u32, instance: u32) -> Option<usize> {
    let same = |scanned: &Scanned| (scanned.slot, scanned.instance) == (slot, instance);
    side.scanned.iter().position(same)
}

fn note_scanned(side: &mut SideState, slot: u32, instance: u32, bytes: usize, complete: bool) {
    let scanned = Scanned {
        slot,
        instance,
        bytes,
        complete,
    };
    match known(side, slot, instance) {
        Some(at) => side.scanned[at] = scanned,
        None => side.scanned.push(scanned),
    }
}

/// Runs the prefilter over what it has not seen of a buffer.
fn scan_new(
    slot: &Slot,
    index: u32,
    instance: u32,
    bytes: &[u8],
    complete: bool,
    side: &mut SideState,
    candidates: &mut Candidates,
) {
    let before = known(side, index, instance).map_or(0, |at| side.scanned[at].bytes);
    note_scanned(side, index, instance, bytes.len(), complete);
    // Transforms may shift what was seen, so what they make is looked at whole.
    let from = if slot.transforms.is_empty() {
        before.saturating_sub(slot.prefilter.overlap())
    } else {
        0
    };
    if bytes.len() != before || before == 0 {
        slot.prefilter
            .scan(bytes, from, 0, |signature, _| candidates.add(signature));
    }
}

/// The bytes of a slot, extracted and transformed once a call.
fn slot_bytes<'a>(
    slot: &Slot,
    scene: &Scene<'a>,
    buffer: &'a mut SlotBuffer,
    spare: &mut Vec<u8>,
    unused: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    if buffer.state == SlotState::Unknown {
        buffer.state = if slot.transforms.is_empty() {
            buffer.built.clear();
            let extract = slot.buffer.extract;
            match extract(scene.view, scene.direction, 0, &mut buffer.built).map(<[u8]>::is_empty) {
                None => SlotState::Absent,
                Some(_) if buffer.built.is_empty() => SlotState::Borrowed,
                Some(_) => SlotState::Built,
            }
        } else if transform(slot, scene, 0, &mut buffer.built, spare) {
            SlotState::Built
        } else {
            SlotState::Absent
        };
    }
    match buffer.state {
        SlotState::Built => Some(&buffer.built),
        SlotState::Borrowed => (slot.buffer.extract)(scene.view, scene.direction, 0, unused),
        SlotState::Absent | SlotState::Unknown => None,
    }
}

/// Leaves the transformed bytes of one instance in `built`; false where there is no such instance.
fn transform(
    slot: &Slot,
    scene: &Scene<'_>,
    instance: u32,
    built: &mut Vec<u8>,
    spare: &mut Vec<u8>,
) -> bool {
    spare.clear();
    built.clear();
    let extract = slot.buffer.extract;
    let Some(bytes) = extract(scene.view, scene.direction, instance, spare) else {
        return false;
    };
    built.extend_from_slice(bytes);
    for transform in &slot.transforms {
        spare.clear();
        transform.apply(built, spare);
        std::mem::swap(built, spare);
    }
    true
}

/// Shows every instance of a slot that may have several; stops and returns true where `see` does.
fn each_instance(
    slot: &Slot,
    scene: &Scene<'_>,
    buffer: &mut SlotBuffer,
    spare: &mut Vec<u8>,
    mut see: impl FnMut(u32, &[u8]) -> bool,
) -> bool {
    for instance in 0.. {
        let built = &mut buffer.built;
        let bytes = if slot.transforms.is_empty() {
            built.clear();
            (slot.buffer.extract)(scene.view, scene.direction, instance, built)
        } else {
            transform(slot, scene, instance, built, spare).then_some(built.as_slice())
        };
        match bytes {
            None => return false,
            Some(bytes) if see(instance, bytes) => return true,
            Some(_) => {}
        }
    }
    false
}
