//! PPP, and PPP over Ethernet.

use super::packet::Layer;
use super::{Malformed, Packet, PacketEvent};

/// PPP, with or without HDLC-like address and control bytes and protocol-field compression. Source: RFC 1661, 2;
/// RFC 1662, 3.1.
pub(super) fn ppp<'a>(packet: &mut Packet<'a>, data: &'a [u8]) -> Layer {
    packet.descend()?;
    if data.len() < 4 {
        return Err(Malformed::PppTooShort);
    }
    let (number, rest) = protocol(data.strip_prefix(&[0xff, 0x03]).unwrap_or(data))?;
    carried(packet, number, rest)
}

/// A PPPoE session (RFC 2516, 4): the IP header's own length cuts padding.
pub(super) fn pppoe_session<'a>(packet: &mut Packet<'a>, data: &'a [u8]) -> Layer {
    packet.descend()?;
    let rest = data
        .get(6..)
        .filter(|rest| !rest.is_empty())
        .ok_or(Malformed::PppoeTooShort)?;
    if data[4..6] == [0, 0] {
        return Ok(());
    }
    let (number, rest) = protocol(rest).map_err(|_| Malformed::PppoeTooShort)?;
    carried(packet, number, rest)
}

/// The protocol number, whose leading zero byte may be left out: only last bytes are odd.
fn protocol(data: &[u8]) -> Result<(u16, &[u8]), Malformed> {
    match data {
        [low, rest @ ..] if low & 1 != 0 => Ok((u16::from(*low), rest)),
        [high, low, rest @ ..] => Ok((u16::from_be_bytes([*high, *low]), rest)),
        _ => Err(Malformed::PppTooShort),
    }
}

/// What PPP carries. Source: IANA's PPP numbers.
fn carried<'a>(packet: &mut Packet<'a>, number: u16, rest: &'a [u8]) -> Layer {
    match number {
        0x0021 if rest.len() < 20 => Err(Malformed::PppIpv4TooShort),
        0x0021 => packet.read_v4(rest),
        0x0057 if rest.len() < 40 => Err(Malformed::PppIpv6TooShort),
        0x0057 => packet.read_v6(rest),
        0x002f if rest.len() < 20 => Err(Malformed::PppVanJacobsonTooShort),
        0x002f if rest[0] >> 4 == 4 => packet.read_v4(rest),
        // Van Jacobson compressed, other network protocols, and their and the link's control.
        0x002f | 0x002d | 0x0023 | 0x0025 | 0x0027 | 0x0029 | 0x002b | 0x0031 | 0x003b | 0x003d
        | 0x003f | 0x0041 | 0x0049 | 0x004b | 0x0053 | 0x0055 | 0x00fd | 0x0281 | 0x0283
        | 0x4001 | 0x4003 | 0x4021 | 0x8021 | 0x8023 | 0x8025 | 0x8027 | 0x8029 | 0x802b
        | 0x8031 | 0x803d | 0x803f | 0x8041 | 0x8049 | 0x804b | 0x8053 | 0x8055 | 0x8057
        | 0x80fd | 0x8281 | 0x8283 | 0xc021 | 0xc023 | 0xc025 | 0xc223 | 0xc227 => {
            Err(Malformed::PppUnsupported)
        }
        // With its leading byte left out any other.
        0x0003..=0x00fb if number & 1 != 0 => Err(Malformed::PppUnsupported),
        _ => Err(Malformed::PppUnknown),
    }
}

/// PPPoE discovery: its code, and whether its tags are there (RFC 2516, 5).
pub(super) fn pppoe_discovery(packet: &mut Packet<'_>, data: &[u8]) -> Layer {
    let (header, tags) = data
        .split_first_chunk::<6>()
        .ok_or(Malformed::PppoeTooShort)?;
    if !matches!(header[1], 0x09 | 0x07 | 0x19 | 0x65 | 0xa7) {
        return Err(Malformed::PppoeCode);
    }
    if tags.len() < usize::from(u16::from_be_bytes([header[4], header[5]])) {
        packet.note(PacketEvent::PppoeMalformedTags);
    }
    Ok(())
}
