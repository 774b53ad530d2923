//! The messages between two ends.
use std::any::Any;

use super::eve::{Alert, Answer, Query};
use super::message::{Header, Message};
use super::name::Malformed;
use super::probe;
use crate::app::{
    AppProto, Carrier, Description, Head, Parser, Purpose, Store, Touched, Transactions,
};
use crate::Direction;

/// Messages that one call may hold back for the engine; over TCP one segment brings several.
const MAX_OPEN: usize = 4096;
/// Opcodes from here on are nobody's. Source: RFC 8490, 10.3.
const FIRST_INVALID_OPCODE: u8 = 7;

/// Everything that can be odd.
pub const EVENTS: &[&str] = &[
    "malformed_data",
    "not_request",
    "not_response",
    "z_flag_set",
    "invalid_opcode",
    "name_too_long",
    "infinite_loop",
    "too_many_labels",
];

/// One message, either way.
#[derive(Debug)]
pub struct Transaction {
    head: Head,
    /// Which way it went; it is evaluated that way only.
    pub direction: Direction,
    /// What it says.
    pub message: Message,
}

impl crate::app::Transaction for Transaction {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn app(&self) -> AppProto {
        AppProto::Dns
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn describe(&self, purpose: Purpose) -> Option<Description<'_>> {
        match purpose {
            Purpose::Alert | Purpose::AlertOnJa4 => Some(("dns", Box::new(Alert(self)))),
            Purpose::Record => self.record(0),
        }
    }

    fn record(&self, index: usize) -> Option<Description<'_>> {
        match self.direction {
            Direction::ToServer => Some(("dns", Box::new(Query::versioned(self, index)?))),
            // An answer to nothing is not told.
            Direction::ToClient if index > 0 || self.message.questions.is_empty() => None,
            Direction::ToClient => Some(("dns", Box::new(Answer::whole(&self.message)))),
        }
    }

    fn heap_bytes(&self) -> usize {
        self.message.heap_bytes()
    }
}

/// The bytes of one flow.
#[derive(Debug)]
pub struct Connection {
    carrier: Carrier,
    store: Store<Transaction>,
    /// Over TCP, the beginning of a message whose rest is still to come.
    partial: [Vec<u8>; 2],
    /// Over TCP, bytes were lost, and no message began since.
    lost: [bool; 2],
}

impl Connection {
    /// A flow of which nothing was read.
    pub fn new(carrier: Carrier) -> Self {
        Self {
            carrier,
            store: Store::new(MAX_OPEN),
            partial: Default::default(),
            lost: [false; 2],
        }
    }

    /// Reads what is framed by its length. Source: RFC 1035, 4.2.2.
    fn stream(&mut self, direction: Direction, bytes: &[u8]) {
        let side = direction as usize;
        if std::mem::take(&mut self.lost[side]) && !probe::may_begin_stream(bytes) {
            self.lost[side] = true;
            return;
        }
        let mut held = std::mem::take(&mut self.partial[side]);
        let mut rest = bytes;
        if !held.is_empty() {
            rest = fill(&mut held, rest);
            if !is_framed(&held) {
                self.partial[side] = held;
                return;
            }
            self.message(direction, &held[2..]);
        }
        while let Some((message, behind)) = split_frame(rest) {
            self.message(direction, message);
            rest = behind;
        }
        self.partial[side] = skip_empty(rest).to_vec();
    }

    fn message(&mut self, direction: Direction, bytes: &[u8]) {
        let fits = Header::read(bytes).is_some_and(|header| header.fits(bytes.len()));
        if !fits {
            return;
        }
        let odd = match Message::read(bytes) {
            Err(Malformed) => "malformed_data",
            Ok(message) => match (direction, message.header.is_response()) {
                (Direction::ToServer, true) => "not_request",
                (Direction::ToServer, false) => return self.open(direction, message),
                (Direction::ToClient, true) => return self.open(direction, message),
                (Direction::ToClient, false) => {
                    self.raise("not_response");
                    return self.open(direction, message);
                }
            },
        };
        self.raise(odd);
    }

    /// Notes an oddity of a message that is none: Suricata gives it to the message before, if that is open.
    fn raise(&mut self, event: &'static str) {
        if let Some(before) = self.store.change_last() {
            before.head.raise(event);
        }
    }

    fn open(&mut self, direction: Direction, message: Message) {
        let mut head = Head::default();
        head.complete();
        let odd = message.odd;
        let events = [
            (message.header.z(), "z_flag_set"),
            (
                message.header.opcode() >= FIRST_INVALID_OPCODE,
                "invalid_opcode",
            ),
            (odd.truncated, "name_too_long"),
            (odd.infinite_loop, "infinite_loop"),
            (odd.label_limit, "too_many_labels"),
        ];
        for (_, event) in events.into_iter().filter(|(holds, _)| *holds) {
            head.raise(event);
        }
        self.store.open(Transaction {
            head,
            direction,
            message,
        });
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        match self.carrier {
            Carrier::Datagrams => self.message(direction, bytes),
            Carrier::Stream => self.stream(direction, bytes),
        }
        self.store.take_touched()
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        if len > 0 {
            self.partial[direction as usize] = Vec::new();
            self.lost[direction as usize] = true;
        }
        self.store.take_touched()
    }

    fn close(&mut self, direction: Direction) -> Touched {
        self.partial[direction as usize] = Vec::new();
        self.store.take_touched()
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
        let partial: usize = self.partial.iter().map(Vec::capacity).sum();
        partial + self.store.heap_bytes()
    }
}

/// The first message of `bytes` and what stands behind it, once it is whole.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, behind) = skip_empty(bytes).split_first_chunk::<2>()?;
    behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// What stands behind frames of no length.
fn skip_empty(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some(behind) = rest.strip_prefix(&[0, 0]) {
        rest = behind;
    }
    rest
}

fn is_framed(held: &[u8]) -> bool {
    split_frame(held).is_some()
}

/// Moves to `held`, which holds a message's beginning, as much of `bytes` as the message still lacks.
fn fill<'a>(held: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let mut rest = bytes;
    while held.len() < 2 {
        let Some((first, behind)) = rest.split_first() else {
            return rest;
        };
        held.push(*first);
        rest = behind;
        if held[..] == [0, 0] {
            held.clear();
        }
    }
    let length = usize::from(u16::from_be_bytes([held[0], held[1]]));
    let lacking = (2 + length).saturating_sub(held.len()).min(rest.len());
    let (more, behind) = rest.split_at(lacking);
    held.extend_from_slice(more);
    behind
}
