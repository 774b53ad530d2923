//! DCE/RPC over UDP. Source: C706, 12.5.
use std::sync::Arc;

use super::record::{kind, uuid, Interface};
use super::transaction::{Known, Transaction};
use crate::app::cursor::Cursor;
use crate::app::sides::Sides;
use crate::app::{Parser, Store, Touched, Transactions};
use crate::Direction;

/// Calls that may be open at once.
const MAX_OPEN: usize = 256;
/// Bytes of the header.
const HEADER_BYTES: usize = 80;
/// Its types end here.
const LAST_KIND: u8 = 10;
/// The data unit is a fragment, and not the last.
const FRAGMENT: u8 = 0x04;
const LAST_FRAGMENT: u8 = 0x02;

/// One exchange of datagrams.
#[derive(Debug)]
pub struct Exchange {
    store: Store<Transaction>,
    sides: Sides,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            store: Store::new(MAX_OPEN),
            sides: Sides::default(),
        }
    }
}

struct Unit<'a> {
    kind: u8,
    flags: u8,
    little: bool,
    interface: Interface,
    activity: [u8; 16],
    sequence: u32,
    opnum: u16,
    stub: &'a [u8],
}

fn read(bytes: &[u8]) -> Option<Unit<'_>> {
    let mut at = Cursor::new(bytes);
    if at.u8()? != 4 {
        return None;
    }
    let (kind, flags) = (at.u8()?, at.u8()?);
    at.skip(1)?;
    let little = at.array::<3>()?[0] & 0x10 != 0;
    at.skip(1 + 16)?;
    let interface = uuid(at.array()?, little);
    let activity = uuid(at.array()?, little);
    let mut u32 = || if little { at.le32() } else { at.u32() };
    let (_, version, sequence) = (u32()?, u32()?, u32()?);
    let mut u16 = || if little { at.le16() } else { at.u16() };
    let opnum = u16()?;
    let (_, _, len) = (u16()?, u16()?, u16()?);
    at.skip(4)?;
    let rest = at.rest();
    Some(Unit {
        kind,
        flags,
        little,
        interface: Interface {
            uuid: interface,
            major: version as u16,
            minor: (version >> 16) as u16,
            context: 0,
            ack: Some((0, 0)),
        },
        activity,
        sequence,
        opnum,
        stub: &rest[..usize::from(len).min(rest.len())],
    })
}

impl Exchange {
    fn unit(&mut self, unit: &Unit<'_>) {
        let side = match unit.kind {
            kind::REQUEST => 0,
            kind::RESPONSE | kind::FAULT | 6 => 1,
            _ => return,
        };
        let known = self
            .store
            .iter()
            .find(|tx| tx.call == unit.sequence && tx.activity == Some(unit.activity))
            .map(|tx| tx.head.id);
        let known = known.or_else(|| {
            let interface = unit.interface;
            let first = true;
            let interfaces = Arc::new(vec![Known { interface, first }]);
            self.store.open(Transaction {
                activity: Some(unit.activity),
                interfaces,
                ..Transaction::new(unit.sequence, unit.little, (4, 0))
            })
        });
        let Some(tx) = known.and_then(|id| self.store.change(id)) else {
            return;
        };
        if side == 0 {
            tx.request = unit.kind;
            tx.opnum = unit.opnum;
            tx.called = true;
        } else {
            tx.response = unit.kind;
        }
        tx.extend(side, unit.stub);
        let more = unit.flags & FRAGMENT != 0 && unit.flags & LAST_FRAGMENT == 0;
        tx.done[side] |= !more;
    }
}

impl Parser for Exchange {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        if let Some(unit) = read(bytes) {
            self.unit(&unit);
        }
        self.settle(direction, false)
    }

    fn gap(&mut self, direction: Direction, _: u64) -> Touched {
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

    fn is_blind(&self) -> bool {
        self.store.has_overflowed()
    }

    fn heap_bytes(&self) -> usize {
        self.store.heap_bytes()
    }
}

impl Exchange {
    fn settle(&mut self, direction: Direction, closing: bool) -> Touched {
        let store = &mut self.store;
        self.sides
            .settle(store, direction, closing, |tx, direction| {
                tx.done[direction as usize]
            })
    }
}

/// Whether a datagram is one of version 4's data units.
pub fn is_udp(bytes: &[u8]) -> bool {
    match bytes {
        [4, kind, _, flags2, order, float, _, ..] => {
            bytes.len() >= HEADER_BYTES
                && *kind <= LAST_KIND
                && flags2 & 0xfc == 0
                && order & 0xee == 0
                && *float <= 3
        }
        _ => false,
    }
}
