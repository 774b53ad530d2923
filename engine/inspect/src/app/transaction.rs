//! What every application protocol's transactions have in common.
use std::any::Any;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::Range;

use smallvec::SmallVec;

use super::{AppProto, File};
use crate::detect::TxState;
use crate::Direction;

/// How far one side of a transaction has been read; ordered, so `stage >= Stage::Body` reads naturally.
///
/// The steps between are HTTP's; protocols without lines and headers go from [`Stage::Body`], while a message is
/// arriving, to [`Stage::Complete`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing seen.
    #[default]
    NotStarted,
    /// Something was seen that is no part of the message: a stream's weight, an interim response.
    Begun,
    /// The request or status line is complete.
    Line,
    /// The header block is complete.
    Headers,
    /// Body bytes are arriving.
    Body,
    /// Trailers of a chunked body are arriving.
    Trailer,
    /// Nothing more will come.
    Complete,
}

/// The part that the engine keeps in every transaction.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Counted from 0 within the connection (`tx_id`).
    pub id: u64,
    /// How far each side was read, by direction.
    pub stages: [Stage; 2],
    /// What is odd about it: names as in `app-layer-event:PROTOCOL.NAME`, each once.
    pub events: SmallVec<[&'static str; 2]>,
    /// Its own record was written.
    pub reported: bool,
    /// It is shown only now that its connection is over, so that no bytes of the stream are looked at with it.
    pub late: bool,
    /// Whether a side's completion was taken for the end of a message in the stream, by direction.
    pub over: [bool; 2],
    /// What detection remembers of it between packets.
    pub detect: TxState,
    /// When the packet came that is being looked at, Unix seconds.
    pub seen_s: u64,
    /// It changed since a direction was looked at, by direction; see [`Sides`](super::sides::Sides).
    pub(super) changed: [bool; 2],
    /// It is among those that are looked at now.
    pub(super) due: bool,
}

impl Head {
    /// Notes an oddity, once.
    pub fn raise(&mut self, event: &'static str) {
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }

    /// Says that one side was read at least so far.
    pub fn reach(&mut self, direction: Direction, stage: Stage) {
        let at = &mut self.stages[direction as usize];
        *at = (*at).max(stage);
    }

    /// Says that nothing more will come on either side.
    pub fn complete(&mut self) {
        self.stages = [Stage::Complete; 2];
    }
}

/// What a description is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The protocol's own record.
    Record,
    /// The object inside an alert.
    Alert,
    /// The same, of a signature on JA4, which Suricata shows nowhere else.
    AlertOnJa4,
}

/// A description for EVE: the key it goes under (also the record's `event_type`), and the object.
pub type Description<'a> = (&'static str, Box<dyn erased_serde::Serialize + 'a>);

/// One transaction: a request and its response, or whatever a protocol has in their place.
pub trait Transaction: Any + Debug + Send {
    /// What the engine keeps in it.
    fn head(&self) -> &Head;
    /// The same, mutable.
    fn head_mut(&mut self) -> &mut Head;
    /// Its protocol.
    fn app(&self) -> AppProto;
    /// For [`of`]: always `self`.
    fn as_any(&self) -> &dyn Any;

    /// How far one side was read.
    fn stage(&self, direction: Direction) -> Stage {
        self.head().stages[direction as usize]
    }
    /// Whether the growing buffers of that side are full, so that they grow no more.
    fn is_full(&self, _direction: Direction) -> bool {
        false
    }
    /// Whether the parser noticed this oddity.
    fn has_event(&self, name: &str) -> bool {
        self.head().events.contains(&name)
    }
    /// All oddities.
    fn events(&self) -> SmallVec<[&'static str; 2]> {
        self.head().events.clone()
    }
    /// Which way it went, where it is a single message: records show the ends as that message had them.
    fn sent(&self) -> Option<Direction> {
        None
    }
    /// Its record would say no more later: it is open only for evaluation.
    fn is_tellable(&self) -> bool {
        self.sent().is_some()
    }
    /// The files that side carries, oldest first.
    fn files(&self, _direction: Direction) -> &[File] {
        &[]
    }
    /// The first and the last byte of those, where they are a part of a whole.
    fn file_range(&self, _direction: Direction) -> Option<(i64, i64)> {
        None
    }
    /// What that side carries as its receiver reads it that ignores its coding: no file of its own, but looked at.
    fn undecoded(&self, _direction: Direction) -> Option<&File> {
        None
    }
    /// What EVE says of it; `None`: nothing.
    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        None
    }
    /// Its `index`-th own record; most transactions have one, a DNS query has one for each question.
    fn record(&self, index: usize) -> Option<Description<'_>> {
        match index {
            0 => self.describe(Purpose::Record),
            _ => None,
        }
    }
    /// A second object that goes beside the first, in alerts and in its own record (`email` beside `smtp`).
    fn describe_also(&self, _purpose: Purpose) -> Option<Description<'_>> {
        None
    }
    /// Something of it could not be kept although its receiver may read it, so that no signature saw it.
    fn is_blind(&self) -> bool {
        false
    }
    /// Numbers that a signature reads with `dce` begin with their least significant byte.
    fn is_little(&self) -> bool {
        false
    }
    /// Bytes of heap held, roughly.
    fn heap_bytes(&self) -> usize;

    /// Whether nothing more will come on either side.
    fn is_complete(&self) -> bool {
        Direction::BOTH
            .into_iter()
            .all(|direction| self.stage(direction) == Stage::Complete)
    }
}

/// The transaction as what it is, if it is that.
pub fn of<T: Transaction>(transaction: &dyn Transaction) -> Option<&T> {
    transaction.as_any().downcast_ref()
}

/// The transactions a call has changed: a range of ids, empty if none; see [`Transactions::changed`].
pub type Touched = Range<u64>;

/// A connection's open transactions as the engine sees them.
pub trait Transactions {
    /// One of them.
    fn find(&self, id: u64) -> Option<&dyn Transaction>;
    /// The same, mutable.
    fn find_mut(&mut self, id: u64) -> Option<&mut dyn Transaction>;
    /// The same, where a call has changed it since it was asked for last; parsers whose transactions change far
    /// apart say which of a range have not.
    fn changed(&mut self, id: u64) -> Option<&mut dyn Transaction> {
        self.find_mut(id)
    }
    /// Ids of those that are open, and perhaps of some between them that are not any more.
    fn ids(&self) -> Range<u64>;
    /// Takes one that is complete on both sides. Call until `None`, after having looked.
    fn pop_finished(&mut self) -> Option<Box<dyn Transaction>>;
}

/// Open transactions of one kind, oldest first, and which of them a call has changed; for parsers to build on.
#[derive(Debug)]
pub struct Store<T> {
    open: VecDeque<T>,
    next_id: u64,
    limit: usize,
    touched: Touched,
    overflowed: bool,
    /// Of what was touched only those that are due changed.
    sparse: bool,
}

impl<T: Transaction> Store<T> {
    /// Room for `limit` open transactions.
    pub fn new(limit: usize) -> Self {
        Self {
            open: VecDeque::new(),
            next_id: 0,
            limit: limit.max(1),
            touched: 0..0,
            overflowed: false,
            sparse: false,
        }
    }

    /// Opens a transaction, which gets the next id and counts as changed; returns the id.
    ///
    /// Past the bound the oldest is completed first, so that the engine takes it away: the engine looks at
    /// completed transactions once more. `None` while it has not.
    pub fn open(&mut self, mut transaction: T) -> Option<u64> {
        if self.open.len() >= 2 * self.limit {
            self.overflowed = true;
            return None;
        }
        if self.open.len() >= self.limit {
            let first = self.next_id - self.open.len() as u64;
            let unfinished =
                (first..self.next_id).find(|id| self.get(*id).is_some_and(|it| !it.is_complete()));
            if let Some(oldest) = unfinished.and_then(|id| self.change(id)) {
                oldest.head_mut().complete();
            }
        }
        let id = self.next_id;
        self.next_id += 1;
        transaction.head_mut().id = id;
        self.open.push_back(transaction);
        self.touch(id);
        Some(id)
    }

    /// More were open at once than the bound allows and the engine took none away: something went unseen.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// One open transaction.
    pub fn get(&self, id: u64) -> Option<&T> {
        self.open.get(self.index(id)?)
    }

    /// One open transaction, which counts as changed.
    pub fn change(&mut self, id: u64) -> Option<&mut T> {
        let index = self.index(id)?;
        self.touch(id);
        self.open.get_mut(index)
    }

    /// The newest open transaction, which counts as changed.
    pub fn change_last(&mut self) -> Option<&mut T> {
        self.change(self.next_id.checked_sub(1)?)
    }

    /// The oldest open transaction for which `wanted` holds, which counts as changed.
    pub fn change_first(&mut self, wanted: impl Fn(&T) -> bool) -> Option<&mut T> {
        let id = self.open.iter().find(|it| wanted(it))?.head().id;
        self.change(id)
    }

    /// Open transactions, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.open.iter()
    }

    /// Completes every open transaction.
    pub fn complete_all(&mut self) {
        for id in self.ids() {
            if let Some(transaction) = self.change(id) {
                transaction.head_mut().complete();
            }
        }
    }

    /// What was changed since the last call; parsers return it from each of theirs.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::replace(&mut self.touched, 0..0)
    }

    /// Bytes of heap held, roughly; walks the open transactions.
    pub fn heap_bytes(&self) -> usize {
        self.open
            .iter()
            .map(|it| size_of::<T>() + it.heap_bytes())
            .sum()
    }

    fn touch(&mut self, id: u64) {
        self.touched = if self.touched.is_empty() {
            id..id + 1
        } else {
            self.touched.start.min(id)..self.touched.end.max(id + 1)
        };
        if let Some(transaction) = self.index(id).and_then(|at| self.open.get_mut(at)) {
            transaction.head_mut().changed = [true; 2];
        }
    }

    /// Has those of `ids` looked at now that changed since `direction` was, or all; `see` is shown each.
    ///
    /// Of a connection whose peer answers nothing the oldest is over with each that opens, and what changed lies far
    /// apart: to look at all between them took a thousand times as long.
    pub(super) fn make_due(
        &mut self,
        ids: Touched,
        direction: Direction,
        all: bool,
        mut see: impl FnMut(&mut T),
    ) {
        self.sparse = true;
        let first = self.ids().start;
        let skipped = ids.start.saturating_sub(first) as usize;
        let count = ids.end.saturating_sub(ids.start.max(first)) as usize;
        for transaction in self.open.iter_mut().skip(skipped).take(count) {
            let changed = &mut transaction.head_mut().changed[direction as usize];
            let due = std::mem::take(changed) || all;
            transaction.head_mut().due = due;
            if due {
                see(transaction);
            }
        }
    }

    fn index(&self, id: u64) -> Option<usize> {
        let first = self.open.front()?.head().id;
        usize::try_from(id.checked_sub(first)?).ok()
    }
}

impl<T: Transaction> Transactions for Store<T> {
    fn find(&self, id: u64) -> Option<&dyn Transaction> {
        self.get(id).map(|it| it as &dyn Transaction)
    }

    fn find_mut(&mut self, id: u64) -> Option<&mut dyn Transaction> {
        let index = self.index(id)?;
        self.open
            .get_mut(index)
            .map(|it| it as &mut dyn Transaction)
    }

    fn changed(&mut self, id: u64) -> Option<&mut dyn Transaction> {
        let sparse = self.sparse;
        let transaction = self.find_mut(id)?;
        let due = std::mem::take(&mut transaction.head_mut().due);
        (due || !sparse).then_some(transaction)
    }

    fn ids(&self) -> Range<u64> {
        self.next_id - self.open.len() as u64..self.next_id
    }

    fn pop_finished(&mut self) -> Option<Box<dyn Transaction>> {
        if !self.open.front()?.is_complete() {
            return None;
        }
        let done = self.open.pop_front()?;
        Some(Box::new(done))
    }
}
