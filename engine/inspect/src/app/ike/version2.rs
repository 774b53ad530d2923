//! Payloads of version 2. Source: RFC 7296, 3.

use super::transaction::{Algorithms, Transaction};
use super::{
    INVALID_PROPOSAL, NO_ENCRYPTION, UNKNOWN_PROPOSAL, WEAK_CRYPTO_AUTH, WEAK_CRYPTO_DH,
    WEAK_CRYPTO_ENC, WEAK_CRYPTO_NO_AUTH, WEAK_CRYPTO_NO_DH, WEAK_CRYPTO_PRF,
};
use crate::app::cursor::Cursor;

/// Transforms kept of one message.
const TRANSFORMS_LIMIT: usize = 256;

mod payload {
    pub const SECURITY_ASSOCIATION: u8 = 33;
    pub const NOTIFY: u8 = 41;
    pub const ENCRYPTED: u8 = 46;
    pub const ENCRYPTED_FRAGMENT: u8 = 53;
}

/// Kinds of transforms. Source: RFC 7296, 3.3.2.
pub(super) mod kind {
    pub const ENCRYPTION: u8 = 1;
    pub const RANDOM: u8 = 2;
    pub const INTEGRITY: u8 = 3;
    pub const GROUP: u8 = 4;
    pub const EXTENDED_NUMBERS: u8 = 5;
}

/// Reads a message's payloads; `None`: they cannot be read.
pub(super) fn read(tx: &mut Transaction, bytes: &[u8]) -> Option<()> {
    let mut rest = Cursor(bytes);
    let mut kind = tx.header.next;
    tx.payloads.push(kind);
    while kind != 0 {
        let next = rest.u8()?;
        rest.u8()?;
        let len = usize::from(rest.u16()?);
        let body = rest.take(len.checked_sub(4)?)?;
        tx.payloads.push(next);
        match kind {
            payload::SECURITY_ASSOCIATION => proposals(tx, Cursor(body))?,
            payload::NOTIFY => {
                let mut body = Cursor(body);
                body.take(2)?;
                tx.notifications.push(body.u16()?);
            }
            // What it holds cannot be read; the type of the first in it stands in the clear.
            payload::ENCRYPTED | payload::ENCRYPTED_FRAGMENT => return Some(()),
            _ => {}
        }
        kind = next;
    }
    Some(())
}

/// Source: RFC 7296, 3.3.1.
fn proposals(tx: &mut Transaction, mut rest: Cursor<'_>) -> Option<()> {
    while !rest.is_empty() {
        rest.take(2)?;
        let len = usize::from(rest.u16()?);
        let mut body = Cursor(rest.take(len.checked_sub(4)?)?);
        body.u8()?;
        let protocol = body.u8()?;
        let identifier = usize::from(body.u8()?);
        body.take(1 + identifier)?;
        let mut transforms = Vec::new();
        while !body.is_empty() {
            body.take(2)?;
            let len = usize::from(body.u16()?);
            let mut transform = Cursor(body.take(len.checked_sub(4)?)?);
            let kind = transform.u8()?;
            transform.u8()?;
            transforms.push((kind, transform.u16()?));
        }
        judge(tx, protocol, &transforms);
        if tx.from_server {
            let room = TRANSFORMS_LIMIT.saturating_sub(tx.chosen.len());
            tx.chosen.extend(transforms.into_iter().take(room));
        }
    }
    Some(())
}

/// Notes what is weak or missing in a proposal.
fn judge(tx: &mut Transaction, protocol: u8, transforms: &[(u8, u16)]) {
    const AUTHENTICATION_HEADER: u8 = 2;
    for transform in transforms {
        let event = match transform {
            (kind::ENCRYPTION, 1..=9 | 11) => WEAK_CRYPTO_ENC,
            (kind::RANDOM, 0) | (kind::GROUP, 0) => INVALID_PROPOSAL,
            (kind::RANDOM, 1 | 2) => WEAK_CRYPTO_PRF,
            (kind::INTEGRITY, 1..=7) => WEAK_CRYPTO_AUTH,
            (kind::GROUP, 1 | 2 | 5 | 22) => WEAK_CRYPTO_DH,
            (kind::ENCRYPTION..=kind::EXTENDED_NUMBERS, _) => continue,
            _ => UNKNOWN_PROPOSAL,
        };
        tx.head.raise(event);
    }
    let has = |wanted: fn(&(u8, u16)) -> bool| transforms.iter().any(wanted);
    if !has(|it| it.0 == kind::GROUP) {
        tx.head.raise(WEAK_CRYPTO_NO_DH);
    }
    if protocol == AUTHENTICATION_HEADER {
        tx.head.raise(NO_ENCRYPTION);
    }
    // Encryption that authenticates needs no check besides.
    let checked = has(|it| it.0 == kind::INTEGRITY && it.1 != 0)
        || has(|it| it.0 == kind::ENCRYPTION && matches!(it.1, 14..=16 | 18..=20 | 25..=28));
    if !checked {
        tx.head.raise(WEAK_CRYPTO_NO_AUTH);
    }
}

/// Takes over what a server chose.
pub(super) fn choose(algorithms: &mut Algorithms, chosen: &[(u8, u16)]) {
    for (kind, number) in chosen {
        let place = match *kind {
            kind::ENCRYPTION => &mut algorithms.encryption,
            kind::RANDOM => &mut algorithms.random,
            kind::INTEGRITY => &mut algorithms.integrity,
            kind::GROUP => &mut algorithms.group,
            kind::EXTENDED_NUMBERS => &mut algorithms.extended_numbers,
            _ => continue,
        };
        *place = *number;
    }
}
