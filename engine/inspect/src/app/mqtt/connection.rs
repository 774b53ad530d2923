//! A connection's packets, put together and ordered into transactions.
use super::message::{kind, Content, Header, Message};
use super::transaction::{State, Transaction};
use super::{
    DOUBLE_CONNECT, INVALID_QOS, MALFORMED, MISSING_CONNECT, MISSING_PUBLISH, MISSING_SUBSCRIBE,
    MISSING_UNSUBSCRIBE, TOO_MANY, UNASSIGNED_TYPE, UNINTRODUCED,
};
use crate::app::sides::Sides;
use crate::app::{Parser, Store, Touched, Transactions};
use crate::Direction;

/// The longest body that is read; of longer ones only the header is. Suricata's default.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Transactions that wait for an acknowledgment. Suricata's default.
const MAX_WAITING: usize = 1024;
/// Transactions that are held, of which those behind one that waits wait with it.
const MAX_HELD: usize = 2 * MAX_WAITING;
/// Bytes that they may hold together before all are given up.
const MAX_HELD_BYTES: usize = 4 << 20;
/// How many bytes come between two looks at how many are held.
const HELD_STEP: usize = 256 << 10;

/// One direction.
#[derive(Debug, Default)]
struct Half {
    /// The packet being put together.
    buffer: Vec<u8>,
    /// Bytes of one that is too long, still to come.
    skip: u64,
    /// A packet's beginning was lost.
    lost: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    store: Store<Transaction>,
    sides: Sides,
    halves: [Half; 2],
    /// What the last CONNECT said.
    version: u8,
    /// A CONNECT was answered.
    connected: bool,
    /// Transactions that wait.
    waiting: usize,
    /// Bytes that came since it was looked how many are held.
    fresh_bytes: usize,
    /// A packet could not be read, or more came behind one that was lost; as in Suricata what follows is not
    /// looked at, whichever way it goes.
    broken: bool,
}

impl Connection {
    /// A connection of which nothing was seen.
    pub fn new() -> Self {
        Self {
            store: Store::new(MAX_HELD),
            sides: Sides::default(),
            halves: Default::default(),
            version: 0,
            connected: false,
            waiting: 0,
            fresh_bytes: 0,
            broken: false,
        }
    }

    fn read(&mut self, direction: Direction, mut bytes: &[u8]) {
        let side = direction as usize;
        while !bytes.is_empty() && !self.broken {
            let half = &mut self.halves[side];
            if half.skip > 0 {
                let passed = half.skip.min(bytes.len() as u64) as usize;
                half.skip -= passed as u64;
                bytes = &bytes[passed..];
                continue;
            }
            if half.buffer.is_empty() {
                match self.packet(direction, bytes) {
                    Some(taken) => bytes = &bytes[taken..],
                    None => {
                        self.halves[side].buffer.extend_from_slice(bytes);
                        return;
                    }
                }
                continue;
            }
            let missing = match Header::read(&half.buffer) {
                Ok(Some(header)) => header.bytes + header.remaining - half.buffer.len(),
                _ => 1,
            };
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            half.buffer.extend_from_slice(taken);
            bytes = rest;
            let whole = std::mem::take(&mut half.buffer);
            if self.packet(direction, &whole).is_none() {
                self.halves[side].buffer = whole;
            }
        }
    }

    /// Reads the packet at the front, and says how many bytes that took; `None`: it is not all there.
    fn packet(&mut self, direction: Direction, bytes: &[u8]) -> Option<usize> {
        let Ok(header) = Header::read(bytes) else {
            self.give_up(direction);
            return Some(bytes.len());
        };
        let header = header?;
        if header.remaining > MAX_BODY_BYTES {
            self.halves[direction as usize].skip = header.remaining as u64;
            self.open(direction, Message::truncated(header), None, true);
            return Some(header.bytes);
        }
        let end = header.bytes + header.remaining;
        let body = bytes.get(header.bytes..end)?;
        match Message::read(header, body, self.version) {
            Some(message) => self.message(direction, message),
            None => self.give_up(direction),
        }
        self.bound_bytes(end);
        Some(end)
    }

    fn message(&mut self, direction: Direction, message: Message) {
        if let Content::Connect(connect) = &message.content {
            self.version = connect.version;
        }
        let early = (!self.connected).then_some(UNINTRODUCED);
        match message.kind() {
            kind::CONNECT => {
                let double = self.connected.then_some(DOUBLE_CONNECT);
                self.open(direction, message, double, false);
            }
            kind::CONNACK => {
                self.connected |= self.acknowledge(direction, message, true, MISSING_CONNECT);
            }
            kind::PUBLISH | kind::SUBSCRIBE | kind::UNSUBSCRIBE => {
                let qos = message.qos();
                let open = self.open(direction, message, early, qos == 0);
                if let (3, Some(tx)) = (qos, open) {
                    tx.head.raise(INVALID_QOS);
                }
            }
            kind::PUBREC | kind::PUBREL => {
                self.acknowledge(direction, message, false, MISSING_PUBLISH);
            }
            kind::PUBACK | kind::PUBCOMP => {
                self.acknowledge(direction, message, true, MISSING_PUBLISH);
            }
            kind::SUBACK => {
                self.acknowledge(direction, message, true, MISSING_SUBSCRIBE);
            }
            kind::UNSUBACK => {
                self.acknowledge(direction, message, true, MISSING_UNSUBSCRIBE);
            }
            0 => {
                self.open(direction, message, Some(UNASSIGNED_TYPE), true);
            }
            _ => {
                self.open(direction, message, early, true);
            }
        }
    }

    /// Opens a transaction with its first packet. `whole`: no other belongs to it.
    fn open(
        &mut self,
        direction: Direction,
        message: Message,
        event: Option<&'static str>,
        whole: bool,
    ) -> Option<&mut Transaction> {
        if self.store.iter().len() >= MAX_HELD {
            self.end_oldest(State::GivenUp, None);
        }
        let mut tx = Transaction::new(direction, self.version);
        tx.push(message);
        tx.head.events.extend(event);
        if whole {
            tx.state = State::Whole;
        }
        let id = self.store.open(tx)?;
        self.waiting += usize::from(!whole);
        if self.waiting > MAX_WAITING {
            self.end_oldest(State::Whole, Some(TOO_MANY));
        }
        self.store.change(id)
    }

    /// Lets the oldest transaction wait no longer.
    fn end_oldest(&mut self, state: State, event: Option<&'static str>) {
        if let Some(oldest) = self.store.change_first(|tx| tx.state == State::Waiting) {
            oldest.head.events.extend(event);
            oldest.state = state;
            self.waiting -= 1;
        }
    }

    /// Adds a packet to the oldest transaction that waits for its number, whatever that began with, as Suricata
    /// does; false where there is none. `last`: nothing of it is missing then.
    fn acknowledge(
        &mut self,
        direction: Direction,
        message: Message,
        last: bool,
        missing: &'static str,
    ) -> bool {
        let wanted = message.id();
        let waits = |tx: &Transaction| {
            let first = tx.first();
            let connects = first.is_some_and(|it| it.kind() == kind::CONNECT);
            let fits = match wanted {
                Some(_) => first.is_some_and(|it| it.id() == wanted && it.qos() != 3),
                None => connects,
            };
            tx.state == State::Waiting && fits
        };
        if let Some(tx) = self.store.change_first(waits) {
            tx.push(message);
            if last {
                tx.state = State::Whole;
                self.waiting -= 1;
            }
            return true;
        }
        let early = wanted.is_some() && !self.connected;
        if let Some(tx) = self.open(direction, message, Some(missing), true) {
            if early {
                tx.head.raise(UNINTRODUCED);
            }
        }
        false
    }

    /// A packet cannot be read.
    fn give_up(&mut self, direction: Direction) {
        let mut tx = Transaction::new(direction, self.version);
        tx.head.raise(MALFORMED);
        tx.state = State::Whole;
        self.store.open(tx);
        self.stop();
    }

    fn stop(&mut self) {
        self.broken = true;
        self.halves = Default::default();
    }

    /// Gives up what waits once too many bytes wait with it.
    fn bound_bytes(&mut self, fresh: usize) {
        self.fresh_bytes += fresh;
        if self.fresh_bytes < HELD_STEP {
            return;
        }
        self.fresh_bytes = 0;
        if self.store.heap_bytes() > MAX_HELD_BYTES {
            while self.waiting > 0 {
                self.end_oldest(State::GivenUp, None);
            }
        }
    }

    fn settle(&mut self, direction: Direction, closing: bool) -> Touched {
        self.sides
            .settle(&mut self.store, direction, closing, |tx, _| {
                tx.state != State::Waiting
            })
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        if self.halves[direction as usize].lost {
            self.stop();
        }
        self.read(direction, bytes);
        self.settle(direction, false)
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        let half = &mut self.halves[direction as usize];
        match half.skip.checked_sub(len) {
            Some(left) => half.skip = left,
            None => half.lost = true,
        }
        self.settle(direction, false)
    }

    fn close(&mut self, direction: Direction) -> Touched {
        self.settle(direction, true)
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.store
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.store
    }

    fn skippable(&self, direction: Direction) -> u64 {
        match self.broken {
            true => u64::MAX,
            false => self.halves[direction as usize].skip,
        }
    }

    fn is_blind(&self) -> bool {
        self.store.has_overflowed()
    }

    fn heap_bytes(&self) -> usize {
        let buffers = self.halves.iter().map(|half| half.buffer.capacity());
        size_of::<Self>() + buffers.sum::<usize>() + self.store.heap_bytes()
    }
}
