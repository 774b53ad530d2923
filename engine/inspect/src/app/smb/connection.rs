//! One connection: bytes to records, records to transactions.
use crate::app::{FileSettings, Parser, Touched, Transactions};
use crate::Direction;

use super::events;
use super::frame::{Frame, Framer, Rest};
use super::header::{V1, V2};
use super::state::State;
use super::transaction::Kind;
use super::{v1, v2};
use crate::app::sides::Sides;

/// SMB over one TCP connection.
#[derive(Debug)]
pub struct Connection {
    framers: [Framer; 2],
    state: State,
    /// Nothing more is read that way.
    lost: [bool; 2],
    sides: Sides,
}

impl Connection {
    /// A connection of which nothing came yet.
    pub fn new(files: FileSettings) -> Self {
        Self {
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

    fn see(state: &mut State, direction: Direction, frame: Frame<'_>) -> Rest {
        match frame {
            Frame::Message { bytes, missing } => {
                state.arriving[direction as usize] = None;
                if missing > 0 && !brings_a_file(state, bytes, direction) {
                    return Rest::Wait;
                }
                message(state, bytes, direction);
                match state.arriving[direction as usize] {
                    Some(_) if missing > 0 => Rest::File,
                    _ => Rest::Skip,
                }
            }
            Frame::File(bytes) => {
                Self::on_arriving(state, direction, |file| file.more(bytes));
                Rest::File
            }
            Frame::Malformed => {
                state.raise(events::MALFORMED_DATA);
                Rest::Skip
            }
        }
    }

    fn on_arriving(
        state: &mut State,
        direction: Direction,
        change: impl FnOnce(&mut crate::app::pieces::Pieces),
    ) {
        let arriving = state.arriving[direction as usize];
        let tx = arriving.and_then(|id| state.store.change(id));
        if let Some(file) = tx.and_then(|tx| tx.file_mut()) {
            change(&mut file.file);
        }
    }
}

/// Whether a record of which a part is there begins a piece of a file, so that it need not be whole.
fn brings_a_file(state: &State, bytes: &[u8], direction: Direction) -> bool {
    let to_server = direction == Direction::ToServer;
    match bytes.first() {
        Some(0xff) => V1::read(bytes).is_some_and(|message| {
            let place = (message.session.into(), message.tree.into());
            let pipe = state.trees.get(&place).is_some_and(|tree| tree.is_pipe);
            !pipe && message.command == if to_server { 0x2f } else { 0x2e }
        }),
        Some(0xfe) => V2::read(bytes).is_some_and(|(message, _)| {
            let place = (message.session, message.tree);
            let pipe = state.trees.get(&place).is_some_and(|tree| tree.is_pipe);
            !pipe && message.command == if to_server { 9 } else { 8 }
        }),
        _ => false,
    }
}

/// Reads one record's messages.
fn message(state: &mut State, bytes: &[u8], direction: Direction) {
    let to_server = direction == Direction::ToServer;
    let wrong_way = match to_server {
        true => events::RESPONSE_TO_SERVER,
        false => events::REQUEST_TO_CLIENT,
    };
    match bytes.first() {
        Some(0xff) => match V1::read(bytes) {
            Some(message) if message.response == to_server => state.raise(wrong_way),
            Some(message) => v1::read(state, &message, direction),
            None => state.raise(events::MALFORMED_DATA),
        },
        Some(0xfe) => {
            let mut rest = bytes;
            while !rest.is_empty() {
                let Some((message, others)) = V2::read(rest) else {
                    state.raise(events::MALFORMED_DATA);
                    return;
                };
                rest = others;
                match (message.response == to_server, direction) {
                    (true, _) => state.raise(wrong_way),
                    (false, Direction::ToServer) => v2::request(state, &message),
                    (false, Direction::ToClient) => v2::response(state, &message),
                }
            }
        }
        // A transform's content is encrypted.
        _ => {}
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        let side = direction as usize;
        if !self.lost[side] {
            let state = &mut self.state;
            let good = self.framers[side].feed(bytes, |frame| Self::see(state, direction, frame));
            self.lost[side] = !good;
        }
        self.settle(direction, false)
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        let side = direction as usize;
        let state = &mut self.state;
        let in_file = self.framers[side].left();
        if in_file > 0 {
            Self::on_arriving(state, direction, |file| file.lost(len.min(in_file)));
            self.framers[side].gap(len, |_| Rest::Skip);
        } else {
            let mut shown = false;
            self.framers[side].gap(len, |frame| {
                shown = true;
                Self::see(state, direction, frame)
            });
            if shown {
                Self::on_arriving(state, direction, |file| file.lost(len));
            }
        }
        self.settle(direction, false)
    }

    fn close(&mut self, direction: Direction) -> Touched {
        let open: Vec<u64> = self.state.store.ids().collect();
        for id in open {
            let Some(tx) = self.state.store.change(id) else {
                continue;
            };
            if let Kind::File(file) = &mut tx.kind {
                if file.direction == direction {
                    file.file.truncate();
                }
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
        self.framers[0].has_truncated() || self.state.store.has_overflowed()
    }

    fn heap_bytes(&self) -> usize {
        let framers: usize = self.framers.iter().map(Framer::heap_bytes).sum();
        framers + self.state.heap_bytes()
    }
}
