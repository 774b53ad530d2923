//! One flow: bytes or datagrams to messages, messages to transactions.
use super::record::{Framer, Rest, Shown};
use super::rpc::{Call, Reply, NFS_PROGRAM};
use super::state::State;
use super::{v2, v3, v4};
use crate::app::sides::Sides;
use crate::app::{Carrier, FileSettings, Parser, Touched, Transactions};
use crate::Direction;

/// NFS over one TCP connection, or between two UDP ports.
#[derive(Debug)]
pub struct Connection {
    carrier: Carrier,
    framers: [Framer; 2],
    state: State,
    /// Nothing more is read that way.
    lost: [bool; 2],
    sides: Sides,
}

impl Connection {
    /// A flow of which nothing came yet.
    pub fn new(carrier: Carrier, files: FileSettings) -> Self {
        Self {
            carrier,
            framers: Default::default(),
            state: State::new(files),
            lost: [false; 2],
            sides: Sides::default(),
        }
    }

    fn settle(&mut self, direction: Direction, closing: bool) -> Touched {
        let store = &mut self.state.store;
        self.sides
            .settle(store, direction, closing, |tx, direction| {
                tx.done[direction as usize]
            })
    }
}

/// Reads what the framer shows.
fn see(state: &mut State, direction: Direction, shown: Shown<'_>) -> Rest {
    match shown {
        Shown::File(bytes) => {
            state.on_arriving(direction, |file| file.more(bytes));
            Rest::File
        }
        Shown::Message { bytes, whole } => {
            if !whole && !brings_a_file(state, bytes, direction) {
                return Rest::Wait;
            }
            state.arriving[direction as usize] = None;
            message(state, direction, bytes);
            match state.arriving[direction as usize] {
                Some(_) => Rest::File,
                None => Rest::Wait,
            }
        }
    }
}

/// Whether a message of which a part is there brings a file's bytes, so that it need not be whole.
fn brings_a_file(state: &State, bytes: &[u8], direction: Direction) -> bool {
    match direction {
        Direction::ToServer => Call::read(bytes).is_some_and(|call| match call.header.version {
            3 => v3::brings_a_file(&call),
            4 => v4::brings_a_file(&call),
            _ => false,
        }),
        Direction::ToClient => Reply::read(bytes).is_some_and(|reply| {
            let waiting = state.waiting.get(&reply.xid);
            let Some(waiting) = waiting.filter(|waiting| waiting.read.is_some()) else {
                return false;
            };
            waiting.version < 4 || reply.results.is_some_and(v4::answers_with_a_file)
        }),
    }
}

/// Reads one message, or as much of it as there is.
fn message(state: &mut State, direction: Direction, bytes: &[u8]) {
    let read = match direction {
        Direction::ToServer => Call::read(bytes).and_then(|call| {
            match (call.header.program, call.header.version) {
                (NFS_PROGRAM, 2) => v2::call(state, &call),
                (NFS_PROGRAM, 3) => v3::call(state, &call),
                (NFS_PROGRAM, 4) => v4::call(state, &call),
                // Other programs may be called through the same connection.
                _ => Some(()),
            }
        }),
        Direction::ToClient => Reply::read(bytes).and_then(|reply| {
            let Some(waiting) = state.waiting.remove(&reply.xid) else {
                return Some(());
            };
            match waiting.version {
                2 => v2::reply(state, &waiting, &reply),
                3 => v3::reply(state, &waiting, &reply),
                _ => v4::reply(state, &waiting, &reply),
            }
        }),
    };
    if read.is_none() {
        state.raise_malformed();
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        let side = direction as usize;
        let state = &mut self.state;
        match self.carrier {
            Carrier::Datagrams => message(state, direction, bytes),
            Carrier::Stream if !self.lost[side] => {
                let framer = &mut self.framers[side];
                self.lost[side] =
                    !framer.feed(direction, bytes, |shown| see(state, direction, shown));
            }
            Carrier::Stream => {}
        }
        self.settle(direction, false)
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        let state = &mut self.state;
        let framer = &mut self.framers[direction as usize];
        let lost = framer.gap(len, |shown| see(state, direction, shown));
        if lost > 0 {
            state.on_arriving(direction, |file| file.lost(lost));
        }
        self.settle(direction, false)
    }

    fn close(&mut self, direction: Direction) -> Touched {
        for id in self.state.store.ids() {
            let Some(tx) = self.state.store.change(id) else {
                continue;
            };
            if let Some(file) = tx.file_mut().filter(|file| file.direction == direction) {
                file.pieces.truncate();
            }
        }
        self.settle(direction, true)
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.state.store
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.state.store
    }

    fn is_blind(&self) -> bool {
        self.framers.iter().any(Framer::has_truncated) || self.state.store.has_overflowed()
    }

    fn heap_bytes(&self) -> usize {
        let framers: usize = self.framers.iter().map(Framer::heap_bytes).sum();
        framers + self.state.heap_bytes()
    }
}
