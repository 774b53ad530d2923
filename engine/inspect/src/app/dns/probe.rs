//! Whether bytes are DNS.
//!
//! On DNS's own port whatever can be read as a message is one, as Suricata takes it. Elsewhere a message must be
//! beyond doubt: one question of a class there is, nothing behind its end, a header as resolvers send it.
use super::message::{word, Header, Message, HEADER_BYTES};
use crate::app::detect::Ports;
use crate::Direction;

/// DNS's port.
const PORT: u16 = 53;
/// Ports of protocols with DNS's messages that are not DNS: NetBIOS names, multicast DNS, LLMNR.
const RELATIVES: [u16; 3] = [137, 5353, 5355];
/// Most answers to one question that are believed on any port.
const MAX_ANSWERS: u16 = 256;

/// Whether a datagram is a message.
pub(crate) fn is_datagram(direction: Direction, datagram: &[u8], ports: Ports) -> bool {
    let Some(header) = Header::read(datagram) else {
        return false;
    };
    if header.is_response() != (direction == Direction::ToClient) {
        return false;
    }
    if ports.0 == PORT || ports.1 == PORT {
        return Message::begins(datagram);
    }
    if RELATIVES.contains(&ports.0) || RELATIVES.contains(&ports.1) {
        return false;
    }
    is_strict(datagram, direction) == Some(true) && Message::is_whole(datagram)
}

/// Whether a stream begins with a message behind its length; `None` while there is too little of it.
pub(crate) fn is_stream(direction: Direction, bytes: &[u8]) -> Option<bool> {
    let length = usize::from(word(bytes, 0)?);
    if length < HEADER_BYTES + 5 {
        return Some(false);
    }
    let message = &bytes[2..];
    is_strict(&message[..message.len().min(length)], direction)
}

/// Whether a message could begin here, behind bytes that were lost.
pub(super) fn may_begin_stream(bytes: &[u8]) -> bool {
    let Some(length) = word(bytes, 0) else {
        return bytes.is_empty();
    };
    match Header::read(bytes.get(2..).unwrap_or_default()) {
        Some(header) => header.counts[0] <= 1 && header.fits(usize::from(length)),
        None => usize::from(length) >= HEADER_BYTES,
    }
}

/// A message with one question, told from anything else on any port. Source: RFC 1035, 4.1.
fn is_strict(message: &[u8], direction: Direction) -> Option<bool> {
    if let Some(flags) = word(message, 2) {
        let response = flags & 0x8000 != 0;
        let opcode = flags >> 11 & 0x0f;
        if response != (direction == Direction::ToClient)
            || opcode > 5
            || opcode == 3
            || flags & 0x0040 != 0
        {
            return Some(false);
        }
    }
    if word(message, 4).is_some_and(|questions| questions != 1)
        || word(message, 6).is_some_and(|answers| answers > MAX_ANSWERS)
    {
        return Some(false);
    }
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => break,
            1..=63 if at + length < HEADER_BYTES + 255 => at += 1 + length,
            _ => return Some(false),
        }
    }
    Some(matches!(word(message, at + 3)?, 1 | 3 | 4 | 254 | 255))
}
