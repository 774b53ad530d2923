//! What protocols of one message a datagram have in common: each message is a transaction of its own, complete at
//! once and evaluated the way it went, and for some, as in Suricata, later also the other way.
use std::any::Any;
use std::fmt::Debug;

use super::{
    AppProto, Description, Head, Parser, Purpose, Stage, Store, Touched, Transaction, Transactions,
};
use crate::Direction;

/// Messages that one call may hold back for the engine: it brings one.
const MAX_OPEN: usize = 8;

/// One protocol's message.
pub trait Message: Sized + Debug + Send + 'static {
    /// Its protocol.
    const APP: AppProto;
    /// What is noted, of the message before if that is still open, of a datagram that is none.
    const MALFORMED: Option<&'static str>;
    /// A message is also evaluated the other way, with the next message that goes there.
    const BOTH_WAYS: bool = false;
    /// What one flow's messages tell of those that follow.
    type Flow: Debug + Default + Send;

    /// Reads a whole datagram; what is odd about it goes to `head`. `None`: it is malformed.
    fn read(
        bytes: &[u8],
        direction: Direction,
        flow: &mut Self::Flow,
        head: &mut Head,
    ) -> Option<Self>;
    /// What EVE says of it; `None`: nothing.
    fn describe(&self, purpose: Purpose) -> Option<Description<'_>>;
    /// Bytes of heap held, roughly.
    fn heap_bytes(&self) -> usize;
}

/// One message and the way it went.
#[derive(Debug)]
pub struct Datagram<M> {
    head: Head,
    /// The way it went.
    pub direction: Direction,
    /// What it says.
    pub message: M,
}

impl<M: Message> Transaction for Datagram<M> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn app(&self) -> AppProto {
        M::APP
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn sent(&self) -> Option<Direction> {
        Some(self.direction)
    }

    fn describe(&self, purpose: Purpose) -> Option<Description<'_>> {
        self.message.describe(purpose)
    }

    fn heap_bytes(&self) -> usize {
        self.message.heap_bytes()
    }
}

/// The messages of one flow.
#[derive(Debug)]
pub struct Datagrams<M: Message> {
    store: Store<Datagram<M>>,
    flow: M::Flow,
}

impl<M: Message> Datagrams<M> {
    /// A flow of which nothing was read.
    pub fn new() -> Self {
        Self {
            store: Store::new(MAX_OPEN),
            flow: M::Flow::default(),
        }
    }

    /// Completes what waited for a message that goes this way.
    fn meet(&mut self, direction: Direction) {
        for id in self.store.ids() {
            let waits = |it: &Datagram<M>| it.stage(direction) == Stage::NotStarted;
            if self.store.get(id).is_some_and(waits) {
                if let Some(waiting) = self.store.change(id) {
                    waiting.head.stages[direction as usize] = Stage::Complete;
                }
            }
        }
    }
}

impl<M: Message> Parser for Datagrams<M> {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        let mut head = Head::default();
        head.complete();
        if M::BOTH_WAYS {
            head.stages[direction.reverse() as usize] = Stage::NotStarted;
            self.meet(direction);
        }
        if let Some(message) = M::read(bytes, direction, &mut self.flow, &mut head) {
            self.store.open(Datagram {
                head,
                direction,
                message,
            });
        } else if let (Some(event), Some(before)) = (M::MALFORMED, self.store.change_last()) {
            before.head.raise(event);
        }
        self.store.take_touched()
    }

    fn gap(&mut self, _direction: Direction, _len: u64) -> Touched {
        self.store.take_touched()
    }

    /// What still waits for a message the other way is over, and not evaluated there.
    fn close(&mut self, _direction: Direction) -> Touched {
        self.store.complete_all();
        self.store.take_touched();
        0..0
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.store
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.store
    }

    fn is_blind(&self) -> bool {
        self.store.has_overflowed()
    }

    fn heap_bytes(&self) -> usize {
        self.store.heap_bytes()
    }
}
