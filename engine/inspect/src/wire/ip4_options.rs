//! What is odd about IPv4 options. Source: RFC 791, 3.1; RFC 1108; RFC 2113; FIPS 188.

use super::packet::Layer;
use super::{Malformed, PacketEvent, PacketEvents};

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const QUICK_START: u8 = 25;
const TIMESTAMP: u8 = 68;
const SECURITY: u8 = 130;
const LOOSE_ROUTE: u8 = 131;
const EXTENDED_SECURITY: u8 = 133;
const COMMERCIAL_SECURITY: u8 = 134;
const STREAM_ID: u8 = 136;
const STRICT_ROUTE: u8 = 137;
const ROUTER_ALERT: u8 = 148;

/// Adds what is odd about `options` to `events`.
///
/// Errors: `Ipv4Option`, when one does not fit into the header.
pub(super) fn check(options: &[u8], events: &mut PacketEvents) -> Layer {
    if !options.len().is_multiple_of(8) {
        events.insert(PacketEvent::Ipv4OptPadRequired);
    }
    let mut met = [0u64; 4];
    let mut rest = options;
    while let [kind, after @ ..] = rest {
        rest = match *kind {
            END => return Ok(()),
            NO_OPERATION => after,
            kind => {
                let Some(length) = after.first() else {
                    events.insert(PacketEvent::Ipv4OptEolRequired);
                    return Ok(());
                };
                let option = rest.get(..usize::from(*length)).filter(|it| it.len() >= 2);
                let Some(option) = option else {
                    events.insert(PacketEvent::Ipv4OptInvalidLen);
                    return Err(Malformed::Ipv4Option);
                };
                let (word, bit) = (usize::from(kind / 64), 1 << (kind % 64));
                if !is_known(kind) {
                    events.insert(PacketEvent::Ipv4OptInvalid);
                } else if met[word] & bit != 0 {
                    events.insert(PacketEvent::Ipv4OptDuplicate);
                } else if let Some(fault) = fault(kind, option) {
                    events.insert(fault);
                } else {
                    met[word] |= bit;
                }
                &rest[option.len()..]
            }
        };
    }
    Ok(())
}

fn is_known(kind: u8) -> bool {
    matches!(
        kind,
        RECORD_ROUTE
            | QUICK_START
            | TIMESTAMP
            | SECURITY
            | LOOSE_ROUTE
            | EXTENDED_SECURITY
            | COMMERCIAL_SECURITY
            | STREAM_ID
            | STRICT_ROUTE
            | ROUTER_ALERT
    )
}

/// What is wrong with one option; `option` holds its kind and length too.
fn fault(kind: u8, option: &[u8]) -> Option<PacketEvent> {
    let length = option.len();
    let length_fits = match kind {
        QUICK_START => length == 8,
        SECURITY => length == 11,
        STREAM_ID | ROUTER_ALERT => length == 4,
        EXTENDED_SECURITY | TIMESTAMP => length >= 5,
        COMMERCIAL_SECURITY => length >= 10,
        _ => length >= 3,
    };
    if !length_fits {
        return Some(PacketEvent::Ipv4OptInvalidLen);
    }
    // A route's pointer counts from 1 and stands on an address behind kind, length and itself; a timestamp's
    // likewise behind four bytes.
    let pointer = usize::from(option[2]);
    let well_formed = match kind {
        RECORD_ROUTE | LOOSE_ROUTE | STRICT_ROUTE => {
            pointer >= 4 && pointer % 4 == 0 && pointer <= length + 1
        }
        TIMESTAMP => {
            // With flag 1 or 3 each timestamp has an address before it.
            let entry = if matches!(option[3] & 0x0f, 1 | 3) {
                8
            } else {
                4
            };
            pointer >= 5 && (pointer - 5) % entry == 0 && pointer <= length + 1
        }
        COMMERCIAL_SECURITY => commercial_tags_fit(&option[6..]),
        _ => true,
    };
    (!well_formed).then_some(PacketEvent::Ipv4OptMalformed)
}

fn commercial_tags_fit(mut tags: &[u8]) -> bool {
    while let [kind, rest @ ..] = tags {
        let Some(length) = rest.first().map(|length| usize::from(*length)) else {
            return false;
        };
        // An octet of alignment, 0, stands before the categories in all but free-form tags.
        let aligned = matches!(*kind, 0 | 7) || rest.get(1) == Some(&0);
        let known = matches!(*kind, 0..=2 | 5..=7);
        if !known || length < 4 || length > tags.len() || !aligned {
            return false;
        }
        tags = &tags[length..];
    }
    true
}
