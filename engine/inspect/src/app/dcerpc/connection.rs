//! DCE/RPC over TCP. Source: C706, 12.6.4.
use std::sync::Arc;

use super::record::{self, kind, Header, HEADER_BYTES};
use super::transaction::{Known, Transaction};
use crate::app::sides::Sides;
use crate::app::{Parser, Store, Touched, Transactions};
use crate::Direction;

/// Calls that may be open at once.
const MAX_OPEN: usize = 256;
/// Interfaces that are remembered, the newest ones.
const MAX_INTERFACES: usize = 512;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    kept: [Vec<u8>; 2],
    /// A gap was met: bytes are searched for a data unit.
    searching: [bool; 2],
    /// Nothing more is read that way.
    lost: [bool; 2],
    store: Store<Transaction>,
    interfaces: Arc<Vec<Known>>,
    /// Where in `interfaces` the newest bind's begin.
    newest: usize,
    sides: Sides,
    /// A data unit came of a kind that Suricata does not know: AUTH3, a fault, …
    failed: bool,
    /// Whose bytes Suricata waits for, and who sent the last whole data unit.
    turn: Direction,
    last: Direction,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            kept: Default::default(),
            searching: [false; 2],
            lost: [false; 2],
            store: Store::new(MAX_OPEN),
            interfaces: Arc::default(),
            newest: 0,
            sides: Sides::default(),
            failed: false,
            turn: Direction::ToServer,
            last: Direction::ToServer,
        }
    }
}

impl Connection {
    fn settle(&mut self, direction: Direction, closing: bool) -> Touched {
        let store = &mut self.store;
        self.sides
            .settle(store, direction, closing, |tx, direction| {
                tx.done[direction as usize]
            })
    }

    /// Reads the data units that are whole. False: these are none.
    fn units(&mut self, direction: Direction, bytes: &[u8]) -> bool {
        let side = direction as usize;
        let mut kept = std::mem::take(&mut self.kept[side]);
        kept.extend_from_slice(bytes);
        let mut at = 0;
        let mut good = true;
        while at < kept.len() {
            if self.searching[side] {
                match memchr::memmem::find(&kept[at..], &[5, 0]) {
                    Some(skip) => at += skip,
                    None => {
                        at = kept.len() - usize::from(kept.last() == Some(&5));
                        break;
                    }
                }
            }
            let Some((header, _)) = Header::read(&kept[at..]) else {
                break;
            };
            let len = usize::from(header.fragment);
            if self.searching[side] && (is_tcp(&kept[at..]) != Some(true) || len < HEADER_BYTES) {
                at += 2;
                continue;
            }
            if header.major != 5 || header.minor > 1 || len < HEADER_BYTES {
                good = false;
                break;
            }
            let Some(unit) = kept.get(at..at + len) else {
                break;
            };
            self.searching[side] = false;
            (self.turn, self.last) = (direction.reverse(), direction);
            self.unit(&header, &unit[HEADER_BYTES..]);
            at += len;
        }
        kept.drain(..at);
        kept.shrink_to(4096);
        self.kept[side] = kept;
        good
    }

    fn unit(&mut self, header: &Header, body: &[u8]) {
        match header.kind {
            kind::BIND | kind::ALTER_CONTEXT => self.bind(header, body),
            kind::BIND_ACK | kind::ALTER_CONTEXT_RESPONSE => self.bind_ack(header, body),
            kind::REQUEST => self.request(header, body),
            kind::RESPONSE => {
                let tx = self.answered(header);
                if let Some(tx) = tx {
                    tx.extend(1, body);
                    tx.done[1] = true;
                }
            }
            _ => self.failed = true,
        }
    }

    fn bind(&mut self, header: &Header, body: &[u8]) {
        let Some(interfaces) = record::interfaces(body, header.little) else {
            return;
        };
        let known = Arc::make_mut(&mut self.interfaces);
        let room = MAX_INTERFACES.saturating_sub(interfaces.len());
        known.drain(..known.len().saturating_sub(room));
        self.newest = known.len();
        let first = header.first;
        known.extend(
            interfaces
                .into_iter()
                .map(|interface| Known { interface, first }),
        );
        let mut tx = self.new_transaction(header);
        tx.request = header.kind;
        tx.response = kind::BIND_ACK;
        if header.kind == kind::ALTER_CONTEXT {
            tx.response = kind::ALTER_CONTEXT_RESPONSE;
        }
        tx.done[0] = true;
        tx.fragments[0] = 1;
        self.store.open(tx);
    }

    fn bind_ack(&mut self, header: &Header, body: &[u8]) {
        let Some(results) = record::results(body, header.little) else {
            return;
        };
        let newest = self.newest;
        let known = Arc::make_mut(&mut self.interfaces);
        for (known, result) in known.iter_mut().skip(newest).zip(results) {
            known.interface.ack = Some(result);
        }
        if let Some(tx) = self.answered(header) {
            tx.done[1] = true;
            tx.fragments[1] = 1;
        }
    }

    fn request(&mut self, header: &Header, body: &[u8]) {
        let Some(call) = record::call(body, header.little) else {
            return;
        };
        let id = header.call;
        let known = self
            .store
            .iter()
            .find(|tx| tx.call == id && tx.response == kind::RESPONSE && tx.done != [true; 2])
            .map(|tx| tx.head.id);
        let known = known.or_else(|| {
            let tx = self.new_transaction(header);
            self.store.open(tx)
        });
        if let Some(tx) = known.and_then(|id| self.store.change(id)) {
            tx.request = kind::REQUEST;
            tx.context = call.context;
            tx.opnum = call.opnum;
            tx.called = true;
            tx.extend(0, call.stub);
            // Suricata waits for arguments where there are none, and calls the request lost.
            tx.done[0] |= !call.stub.is_empty();
        }
    }

    /// The transaction that a response belongs to; a new one where its request was not seen.
    fn answered(&mut self, header: &Header) -> Option<&mut Transaction> {
        let asked = match header.kind {
            kind::BIND_ACK => kind::BIND,
            kind::ALTER_CONTEXT_RESPONSE => kind::ALTER_CONTEXT,
            _ => kind::REQUEST,
        };
        let known = self
            .store
            .iter()
            .find(|tx| tx.call == header.call && tx.request == asked && tx.done != [true; 2])
            .map(|tx| tx.head.id);
        let known = known.or_else(|| {
            let tx = self.new_transaction(header);
            self.store.open(tx)
        })?;
        let interfaces = self.interfaces.clone();
        let tx = self.store.change(known)?;
        tx.response = header.kind;
        tx.interfaces = interfaces;
        Some(tx)
    }

    fn new_transaction(&self, header: &Header) -> Transaction {
        let version = (header.major, header.minor);
        Transaction {
            interfaces: self.interfaces.clone(),
            ..Transaction::new(header.call, header.little, version)
        }
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        let side = direction as usize;
        self.turn = direction;
        if !self.lost[side] {
            self.lost[side] = !self.units(direction, bytes);
        }
        self.settle(direction, false)
    }

    fn gap(&mut self, direction: Direction, _: u64) -> Touched {
        let side = direction as usize;
        self.kept[side].clear();
        self.searching[side] = true;
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

    /// It goes on only with whom it waits for, or with whoever sent the last data unit.
    fn is_out_of_turn(&self, direction: Direction) -> bool {
        self.turn != direction && self.last != direction
    }

    fn has_failed(&self) -> bool {
        self.failed
    }

    fn is_blind(&self) -> bool {
        self.store.has_overflowed()
    }

    fn heap_bytes(&self) -> usize {
        let kept: usize = self.kept.iter().map(Vec::capacity).sum();
        kept + self.store.heap_bytes() + self.interfaces.capacity() * size_of::<Known>()
    }
}

/// Whether bytes are a data unit's header. Source: C706, 12.6.3.1.
pub fn is_tcp(bytes: &[u8]) -> Option<bool> {
    let fits = |at: usize, holds: fn(u8) -> bool| bytes.get(at).copied().map(holds);
    let checks = [
        fits(0, |major| major == 5),
        fits(1, |minor| minor == 0),
        fits(2, |kind| kind <= kind::LAST),
        fits(4, |order| order & 0xee == 0),
        fits(5, |float| float <= 3),
        fits(HEADER_BYTES - 1, |_| true),
    ];
    if checks.contains(&Some(false)) {
        return Some(false);
    }
    (!checks.contains(&None)).then_some(true)
}
