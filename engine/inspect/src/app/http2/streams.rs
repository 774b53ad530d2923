//! The open streams of a connection, and which of them a call has changed.
//!
//! Unlike other protocols' transactions these end in any order, so ids have gaps.
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use super::events;
use super::stream::Stream;
use crate::app::{File, FileSettings, Stage, Touched, Transaction, Transactions};
use crate::Direction;

/// Streams open at once; servers allow 100 to 250.
pub(super) const MAX_STREAMS: usize = 1024;
/// Streams open at once of which no message was seen, only their weights and windows.
const MAX_LOOSE: usize = 64;
/// How far the ids of two open streams may lie apart: who walks the ids walks no more.
const MAX_SPAN: u64 = 1 << 16;
/// Bytes that all streams of a connection may hold.
pub(super) const MAX_KEPT_BYTES: usize = 32 << 20;

#[derive(Debug)]
struct Entry {
    stream: Stream,
    changed: bool,
    /// Bytes it is counted for.
    kept: usize,
}

/// The open streams.
#[derive(Debug)]
pub(super) struct Streams {
    open: BTreeMap<u64, Entry>,
    /// The ids of those that have not ended, by the streams' numbers.
    by_number: HashMap<u32, u64>,
    /// Those that may never see a message, oldest first.
    loose: VecDeque<u64>,
    /// Those that have ended.
    finished: VecDeque<u64>,
    next_id: u64,
    touched: Touched,
    kept: usize,
    files: [FileSettings; 2],
}

impl Streams {
    /// `files`: how the bodies of either side are kept.
    pub(super) fn new(files: [FileSettings; 2]) -> Self {
        Self {
            open: BTreeMap::new(),
            by_number: HashMap::new(),
            loose: VecDeque::new(),
            finished: VecDeque::new(),
            next_id: 0,
            touched: 0..0,
            kept: 0,
            files,
        }
    }

    /// The stream of that number, which may be a new one; `None` past the bound. `message`: it gets one.
    pub(super) fn find_or_open(&mut self, number: u32, message: bool) -> Option<u64> {
        match self.by_number.get(&number) {
            Some(id) => Some(*id),
            None => self.open(number, message),
        }
    }

    fn open(&mut self, number: u32, message: bool) -> Option<u64> {
        if self.open.len() >= MAX_STREAMS {
            if let Some((_, last)) = self.open.iter_mut().next_back() {
                last.stream.raise(events::TOO_MANY_STREAMS);
            }
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        let [request, response] = &self.files;
        let files = [File::open(&[], request), File::open(&[], response)];
        let mut stream = Stream::new(number, files);
        stream.head_mut().id = id;
        let entry = Entry {
            stream,
            changed: false,
            kept: 0,
        };
        self.open.insert(id, entry);
        self.by_number.insert(number, id);
        if !message && number != 0 {
            self.loosen(id);
        }
        self.give_up_oldest();
        Some(id)
    }

    fn loosen(&mut self, id: u64) {
        self.loose.push_back(id);
        if self.loose.len() > MAX_LOOSE {
            let oldest = self.loose.pop_front();
            let is_bare = |stream: &Stream| {
                let sides = Direction::BOTH;
                sides.iter().all(|side| stream.stage(*side) <= Stage::Begun)
            };
            if let Some(id) = oldest.filter(|id| self.get(*id).is_some_and(is_bare)) {
                self.finish(id);
            }
        }
    }

    /// Ends the oldest stream where its id lies too far back; what comes of it yet is a stream of its own.
    fn give_up_oldest(&mut self) {
        let oldest = self.open.keys().next().copied();
        if let Some(id) = oldest.filter(|id| self.next_id - id > MAX_SPAN) {
            self.finish(id);
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&Stream> {
        self.open.get(&id).map(|entry| &entry.stream)
    }

    /// Changes a stream, and what it counts for.
    pub(super) fn change<R>(
        &mut self,
        id: u64,
        change: impl FnOnce(&mut Stream) -> R,
    ) -> Option<R> {
        let entry = self.open.get_mut(&id)?;
        let result = change(&mut entry.stream);
        entry.changed = true;
        let kept = entry.stream.heap_bytes();
        self.kept = (self.kept - entry.kept).saturating_add(kept);
        entry.kept = kept;
        self.touched = if self.touched.is_empty() {
            id..id + 1
        } else {
            self.touched.start.min(id)..self.touched.end.max(id + 1)
        };
        let ended = entry.stream.is_complete();
        if ended {
            self.retire(id);
        }
        Some(result)
    }

    /// Whether the streams hold more than they may.
    pub(super) fn is_overfull(&self) -> bool {
        self.kept > MAX_KEPT_BYTES
    }

    /// Ends a stream, whatever it still waits for.
    pub(super) fn finish(&mut self, id: u64) {
        self.change(id, |stream| {
            stream.end(Direction::ToServer, false);
            stream.end(Direction::ToClient, false);
        });
    }

    /// The same by its number, where it is open.
    pub(super) fn finish_number(&mut self, number: u32) {
        if let Some(id) = self.by_number.get(&number) {
            self.finish(*id);
        }
    }

    /// The id of an open stream.
    pub(super) fn id_of(&self, number: u32) -> Option<u64> {
        self.by_number.get(&number).copied()
    }

    /// Ends one side of every stream, or both.
    pub(super) fn end_all(&mut self, sides: &[Direction]) {
        let ids: Vec<_> = self.open.keys().copied().collect();
        for id in ids {
            self.change(id, |stream| {
                sides.iter().for_each(|side| stream.end(*side, false));
            });
        }
    }

    fn retire(&mut self, id: u64) {
        let Some(entry) = self.open.get(&id) else {
            return;
        };
        let number = entry.stream.number;
        if self.by_number.get(&number) == Some(&id) {
            self.by_number.remove(&number);
            self.finished.push_back(id);
        }
    }

    /// What was changed since the last call.
    pub(super) fn take_touched(&mut self) -> Touched {
        std::mem::replace(&mut self.touched, 0..0)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.kept + self.open.len() * size_of::<Entry>()
    }
}

impl Transactions for Streams {
    fn find(&self, id: u64) -> Option<&dyn Transaction> {
        self.get(id).map(|it| it as &dyn Transaction)
    }

    fn find_mut(&mut self, id: u64) -> Option<&mut dyn Transaction> {
        let entry = self.open.get_mut(&id)?;
        Some(&mut entry.stream)
    }

    fn changed(&mut self, id: u64) -> Option<&mut dyn Transaction> {
        let entry = self.open.get_mut(&id)?;
        let changed = std::mem::take(&mut entry.changed);
        changed.then_some(&mut entry.stream as &mut dyn Transaction)
    }

    fn ids(&self) -> Range<u64> {
        let first = self.open.keys().next();
        first.copied().unwrap_or(self.next_id)..self.next_id
    }

    fn pop_finished(&mut self) -> Option<Box<dyn Transaction>> {
        loop {
            let id = self.finished.pop_front()?;
            if let Some(entry) = self.open.remove(&id) {
                self.kept -= entry.kept;
                return Some(Box::new(entry.stream));
            }
        }
    }
}
