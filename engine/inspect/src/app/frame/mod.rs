//! Frames: the units that a protocol is made of on the wire, as they are, for `frame:` in signatures.
//!
//! A [`Framer`] reads one protocol's outermost structure (a record's header, a message's length) and says which
//! frames begin where and how far its next look lies; [`Frames`] carries the bytes there. It runs beside the
//! protocol's parser, and only where a loaded signature asks for one of the protocol's frames. A frame is shown to
//! the matcher as a transaction with one buffer.
mod framers;
mod http;
mod nfs;

use smallvec::SmallVec;

use super::{AppProto, Head, Stage, Transaction};
use crate::Direction;
pub use framers::framer_for;

/// Bytes of a frame that are kept; what comes behind them is not looked at.
const MAX_FRAME_BYTES: usize = 128 << 10;
/// Bytes that a framer may wait for before it says where a frame begins.
const MAX_HELD_BYTES: usize = 64 << 10;
/// Frames that are open at once in a direction.
const MAX_OPEN: usize = 32;
/// Frames are told from transactions by their ids, which begin here.
pub const FIRST_ID: u64 = 1 << 62;

/// A frame as far as it came.
#[derive(Debug)]
pub struct Frame {
    head: Head,
    app: AppProto,
    /// Its name without the protocol's.
    name: &'static str,
    direction: Direction,
    bytes: Vec<u8>,
    /// Bytes of the stream until it begins.
    wait: u64,
    /// Bytes of the stream until it ends, where that is known.
    left: Option<u64>,
    changed: bool,
}

impl Frame {
    /// Its bytes, if it is of that name.
    pub fn named(&self, name: &str) -> Option<&[u8]> {
        (self.name == name).then_some(&self.bytes)
    }

    fn take(&mut self, bytes: &[u8]) {
        let wait = self.wait.min(bytes.len() as u64);
        self.wait -= wait;
        let mut bytes = &bytes[wait as usize..];
        if let Some(left) = &mut self.left {
            bytes = &bytes[..bytes
                .len()
                .min(usize::try_from(*left).unwrap_or(usize::MAX))];
            *left -= bytes.len() as u64;
        }
        let room = MAX_FRAME_BYTES.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.changed |= !bytes.is_empty();
        if self.left == Some(0) && self.wait == 0 {
            self.end();
        }
    }

    /// Part of it was lost: what follows is looked at by itself.
    fn lose(&mut self, len: u64) {
        let lost = len - self.wait.min(len);
        self.wait -= len - lost;
        self.left = self.left.map(|left| left.saturating_sub(lost));
        self.bytes.clear();
        self.head.detect.restart();
        if self.left == Some(0) {
            self.end();
        }
    }

    fn end(&mut self) {
        self.changed = true;
        self.head.stages[self.direction as usize] = Stage::Complete;
    }

    fn is_over(&self) -> bool {
        self.head.stages[self.direction as usize] == Stage::Complete
    }
}

impl Transaction for Frame {
    fn head(&self) -> &Head {
        &self.head
    }
    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
    fn app(&self) -> AppProto {
        self.app
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn is_full(&self, _direction: Direction) -> bool {
        self.bytes.len() >= MAX_FRAME_BYTES
    }
    fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Says where frames begin.
pub trait Framer: std::fmt::Debug + Send {
    /// Reads what lies at the front of `bytes`, where a unit of the protocol begins.
    fn step(&mut self, direction: Direction, bytes: &[u8], found: &mut Found) -> Step;

    /// Goes on behind a gap if a unit of the protocol begins at the front of `bytes`; whether it does.
    fn resume(&mut self, direction: Direction, bytes: &[u8]) -> bool {
        let _ = (direction, bytes);
        false
    }
}

/// What a framer says of the bytes it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// They are too few.
    Need,
    /// The next unit begins that many bytes further.
    Pass(u64),
    /// The structure is lost; there will be no more frames that way.
    Lost,
}

/// What a framer found.
#[derive(Debug, Default)]
pub struct Found {
    opened: SmallVec<[(&'static str, u64, Option<u64>); 8]>,
    ended: Option<&'static str>,
}

impl Found {
    /// A frame of `len` bytes that begins `at` bytes from the front; nothing where it is empty.
    pub fn frame(&mut self, name: &'static str, at: u64, len: u64) {
        if len > 0 {
            self.opened.push((name, at, Some(len)));
        }
    }

    /// A frame that begins at the front and whose end is not known yet.
    pub fn open(&mut self, name: &'static str) {
        self.opened.push((name, 0, None));
    }

    /// The frame of that name, which was opened before, ends with the bytes that are passed.
    pub fn end(&mut self, name: &'static str) {
        self.ended = Some(name);
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    begun: bool,
    /// Where units begin is not known.
    lost: bool,
    /// That is because bytes were lost.
    gapped: bool,
    held: Vec<u8>,
    skip: u64,
    open: Vec<Frame>,
    /// Ends when `skip` bytes are passed.
    ending: Option<&'static str>,
}

/// The frames of one flow that signatures ask for.
#[derive(Debug)]
pub struct Frames {
    app: AppProto,
    framer: Option<Box<dyn Framer>>,
    wanted: SmallVec<[&'static str; 4]>,
    sides: [Side; 2],
    next_id: u64,
}

impl Frames {
    /// Frames of these names, of a flow that speaks `app`.
    pub fn new(app: AppProto, wanted: SmallVec<[&'static str; 4]>) -> Self {
        Self {
            app,
            framer: framer_for(app),
            wanted,
            sides: Default::default(),
            next_id: FIRST_ID,
        }
    }

    /// Reads the next bytes of a stream, and shows the frames that they changed.
    pub fn feed(&mut self, direction: Direction, bytes: &[u8], mut see: impl FnMut(&mut Frame)) {
        if bytes.is_empty() {
            return;
        }
        self.begin_stream(direction);
        let at = direction as usize;
        if let Some(framer) = &mut self.framer {
            let side = &mut self.sides[at];
            if side.gapped && framer.resume(direction, bytes) {
                (side.lost, side.gapped) = (false, false);
            }
        }
        let mut held = std::mem::take(&mut self.sides[at].held);
        held.extend_from_slice(bytes);
        let mut rest = &held[..];
        while !rest.is_empty() {
            let side = &mut self.sides[at];
            if side.skip > 0 || side.lost || self.framer.is_none() {
                let most = if side.skip > 0 { side.skip } else { u64::MAX };
                let len = usize::try_from(most).unwrap_or(usize::MAX).min(rest.len());
                let (passed, after) = rest.split_at(len);
                side.pass(passed, &mut see);
                rest = after;
                continue;
            }
            if !self.step(direction, rest) {
                break;
            }
        }
        let kept = rest.len();
        held.drain(..held.len() - kept);
        let side = &mut self.sides[at];
        side.held = held;
        side.show(&mut see);
    }

    /// Reads a whole datagram.
    pub fn datagram(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        mut see: impl FnMut(&mut Frame),
    ) {
        let mut found = Found::default();
        framers::datagram(self.app, bytes, &mut found);
        for (name, at, len) in found.opened {
            self.open(direction, name, at, len);
        }
        let side = &mut self.sides[direction as usize];
        side.pass(bytes, &mut see);
        side.open.clear();
    }

    /// Says that `len` bytes were lost.
    pub fn gap(&mut self, direction: Direction, len: u64) {
        let side = &mut self.sides[direction as usize];
        // What a framer waited for is incomplete for ever, and a unit that began in the gap begins nowhere.
        if side.skip < len || !side.held.is_empty() {
            side.gapped |= !side.lost;
            side.lost = true;
        }
        side.skip = side.skip.saturating_sub(len);
        side.held.clear();
        for frame in &mut side.open {
            frame.lose(len);
        }
    }

    /// Says that nothing more comes that way.
    pub fn close(&mut self, direction: Direction, mut see: impl FnMut(&mut Frame)) {
        let side = &mut self.sides[direction as usize];
        let held = std::mem::take(&mut side.held);
        side.pass(&held, &mut see);
        side.open.iter_mut().for_each(Frame::end);
        side.show(&mut see);
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        let sides = self.sides.iter();
        sides
            .map(|side| {
                let frames = side
                    .open
                    .iter()
                    .map(|it| it.heap_bytes() + size_of::<Frame>());
                side.held.capacity() + frames.sum::<usize>()
            })
            .sum()
    }

    fn begin_stream(&mut self, direction: Direction) {
        if !std::mem::replace(&mut self.sides[direction as usize].begun, true) {
            self.open(direction, "stream", 0, None);
        }
    }

    /// Lets the framer look; false where it needs more bytes.
    fn step(&mut self, direction: Direction, rest: &[u8]) -> bool {
        let Some(framer) = &mut self.framer else {
            return false;
        };
        let mut found = Found::default();
        let step = framer.step(direction, rest, &mut found);
        for (name, at, len) in found.opened {
            self.open(direction, name, at, len);
        }
        let side = &mut self.sides[direction as usize];
        match step {
            Step::Need if rest.len() < MAX_HELD_BYTES => return false,
            Step::Pass(len) if len > 0 => {
                side.skip = len;
                side.ending = found.ended;
            }
            Step::Need | Step::Pass(_) | Step::Lost => side.lost = true,
        }
        true
    }

    fn open(&mut self, direction: Direction, name: &'static str, wait: u64, left: Option<u64>) {
        let side = &mut self.sides[direction as usize];
        if !self.wanted.contains(&name) || side.open.len() >= MAX_OPEN {
            return;
        }
        let mut head = Head {
            id: self.next_id,
            ..Head::default()
        };
        head.stages[direction as usize] = Stage::Body;
        self.next_id += 1;
        side.open.push(Frame {
            head,
            app: self.app,
            name,
            direction,
            bytes: Vec::new(),
            wait,
            left,
            changed: false,
        });
    }
}

impl Side {
    /// Hands bytes to the frames that they are part of.
    fn pass(&mut self, bytes: &[u8], see: &mut impl FnMut(&mut Frame)) {
        self.skip = self.skip.saturating_sub(bytes.len() as u64);
        for frame in &mut self.open {
            frame.take(bytes);
        }
        if self.skip == 0 {
            if let Some(name) = self.ending.take() {
                let ending = self.open.iter_mut().filter(|it| it.name == name);
                ending.for_each(Frame::end);
            }
        }
        if self.open.iter().any(Frame::is_over) {
            self.show(see);
        }
    }

    fn show(&mut self, see: &mut impl FnMut(&mut Frame)) {
        for frame in self.open.iter_mut().filter(|it| it.changed) {
            frame.changed = false;
            see(frame);
        }
        self.open.retain(|frame| !frame.is_over());
    }
}

#[cfg(test)]
mod tests;
