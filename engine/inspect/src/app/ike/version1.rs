//! Payloads of version 1. Source: RFC 2408, 3.

use super::transaction::{Attribute, Transaction};
use super::PAYLOAD_EXTRA_DATA;
use crate::app::cursor::Cursor;
use crate::app::tls::hex;

/// Transforms kept of one message; real ones name up to some dozens.
const TRANSFORMS_LIMIT: usize = 256;
/// Vendor identifiers kept of one message.
const VENDORS_LIMIT: usize = 64;

mod payload {
    pub const SECURITY_ASSOCIATION: u8 = 1;
    pub const PROPOSAL: u8 = 2;
    pub const TRANSFORM: u8 = 3;
    pub const KEY_EXCHANGE: u8 = 4;
    pub const NONCE: u8 = 10;
    pub const VENDOR: u8 = 13;
}

/// Reads a message's payloads; `None`: they cannot be read. Sets `interpretation` where one names it.
pub(super) fn read(tx: &mut Transaction, bytes: &[u8]) -> Option<()> {
    note(tx, tx.header.next);
    // Encrypted: what follows is no payload.
    if tx.header.flags & 1 != 0 {
        return Some(());
    }
    let rest = payloads(tx, tx.header.next, bytes)?;
    if !rest.is_empty() {
        tx.head.raise(PAYLOAD_EXTRA_DATA);
    }
    Some(())
}

fn note(tx: &mut Transaction, kind: u8) {
    if !tx.payloads.contains(&kind) {
        tx.payloads.push(kind);
    }
}

/// A row of payloads; returns what is no payload behind them. Nests three deep: association, proposal, transform.
fn payloads<'a>(tx: &mut Transaction, mut kind: u8, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = Cursor(bytes);
    while let Some((next, body)) = split(&mut rest) {
        note(tx, kind);
        match kind {
            payload::SECURITY_ASSOCIATION => association(tx, body)?,
            payload::PROPOSAL => proposal(tx, body)?,
            payload::TRANSFORM => transform(tx, body)?,
            payload::KEY_EXCHANGE => tx.key_exchange = body.to_vec(),
            payload::NONCE => tx.nonce = body.to_vec(),
            payload::VENDOR if tx.vendors.len() < VENDORS_LIMIT => tx.vendors.push(hex(body)),
            _ => {}
        }
        kind = next;
    }
    Some(rest.0)
}

/// The next payload: type of the one behind it, and its body.
fn split<'a>(rest: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
    let mut ahead = *rest;
    let next = ahead.u8()?;
    ahead.u8()?;
    let len = usize::from(ahead.u16()?);
    let body = ahead.take(len.checked_sub(4)?)?;
    *rest = ahead;
    Some((next, body))
}

fn association(tx: &mut Transaction, body: &[u8]) -> Option<()> {
    let mut rest = Cursor(body);
    let interpretation = u32::from_be_bytes(rest.array()?);
    tx.interpretation = Some(interpretation);
    if interpretation == 1 {
        // The situation.
        rest.take(4)?;
        proposals(tx, payload::PROPOSAL, rest.0)?;
    }
    Some(())
}

fn proposal(tx: &mut Transaction, body: &[u8]) -> Option<()> {
    let mut rest = Cursor(body);
    rest.take(2)?;
    let identifier = usize::from(rest.u8()?);
    rest.take(1 + identifier)?;
    proposals(tx, payload::TRANSFORM, rest.0)
}

/// A row of proposals, or of one's transforms.
fn proposals(tx: &mut Transaction, kind: u8, bytes: &[u8]) -> Option<()> {
    let mut rest = Cursor(bytes);
    while let Some((_, body)) = split(&mut rest) {
        note(tx, kind);
        match kind {
            payload::PROPOSAL => proposal(tx, body)?,
            _ => transform(tx, body)?,
        }
    }
    Some(())
}

fn transform(tx: &mut Transaction, body: &[u8]) -> Option<()> {
    let mut rest = Cursor(body);
    rest.take(4)?;
    if tx.transforms.len() >= TRANSFORMS_LIMIT {
        return Some(());
    }
    let mut attributes = Vec::new();
    while let Some(attribute) = attribute(&mut rest) {
        attributes.push(attribute);
    }
    tx.transforms.push(attributes);
    Some(())
}

fn attribute(rest: &mut Cursor<'_>) -> Option<Attribute> {
    let kind = rest.u16()?;
    let short = rest.u16()?;
    let mut found = Attribute {
        kind: kind & 0x7fff,
        short,
        number: None,
        bytes: Vec::new(),
    };
    if kind & 0x8000 != 0 {
        found.number = Some(short.into());
        return Some(found);
    }
    let bytes = rest.take(usize::from(short))?;
    match bytes.try_into() {
        Ok(number) => found.number = Some(u32::from_be_bytes(number)),
        Err(_) => found.bytes = bytes.to_vec(),
    }
    Some(found)
}
