//! Headers between the link's and IP's: MPLS, NSH, provider backbone and VN tags.

use super::link::{by_ether_type, ethernet};
use super::packet::Layer;
use super::{Malformed, Packet, PacketEvent};

/// A stack of MPLS labels, and what its last label or its first nibble say it carries. Source: RFC 3032;
/// RFC 4385, 3.
pub(super) fn mpls<'a>(packet: &mut Packet<'a>, mut data: &'a [u8]) -> Layer {
    packet.descend()?;
    let label = loop {
        let (shim, rest) = data
            .split_first_chunk::<4>()
            .ok_or(Malformed::MplsTooShort)?;
        data = rest;
        if shim[2] & 1 != 0 {
            break u32::from_be_bytes(*shim) >> 12;
        }
    };
    let reserved = match label {
        0 => return packet.read_v4(data),
        2 => return packet.read_v6(data),
        1 => Some(PacketEvent::MplsBadLabelRouterAlert),
        3 => Some(PacketEvent::MplsBadLabelImplicitNull),
        4..=14 => Some(PacketEvent::MplsBadLabelReserved),
        _ => None,
    };
    if let Some(event) = reserved {
        packet.note(event);
        return Err(Malformed::MplsLabel);
    }
    let pseudowire = data.get(4..).ok_or(Malformed::MplsPayloadTooShort)?;
    match data[0] >> 4 {
        4 => packet.read_v4(data),
        6 => packet.read_v6(data),
        0 => ethernet(packet, pseudowire),
        _ => Err(Malformed::MplsPayloadUnknown),
    }
}

/// A network service header (RFC 8300, 2).
pub(super) fn nsh<'a>(packet: &mut Packet<'a>, data: &'a [u8]) -> Layer {
    packet.descend()?;
    let header = data.first_chunk::<8>().ok_or(Malformed::NshTooShort)?;
    let length = usize::from(header[1] & 0x3f) * 4;
    if header[0] >> 6 != 0 {
        return Err(Malformed::NshVersion);
    }
    let rest = data.get(length..).filter(|rest| !rest.is_empty());
    let rest = rest.ok_or(Malformed::NshTooShort)?;
    match header[2] & 0x0f {
        0 => return Err(Malformed::NshReservedType),
        1 if length != 24 => return Err(Malformed::NshLength),
        2 if length < 8 => return Err(Malformed::NshLength),
        1 | 2 => {}
        _ => return Err(Malformed::NshType),
    }
    match header[3] {
        1 => packet.read_v4(rest),
        2 => packet.read_v6(rest),
        3 => ethernet(packet, rest),
        5 => mpls(packet, rest),
        _ => Err(Malformed::NshPayload),
    }
}

/// The service tag of a provider backbone bridge and the frame in it (IEEE 802.1ah).
pub(super) fn backbone<'a>(packet: &mut Packet<'a>, data: &'a [u8]) -> Layer {
    packet.descend()?;
    let (header, rest) = data
        .split_first_chunk::<18>()
        .ok_or(Malformed::BackboneTooShort)?;
    by_ether_type(packet, u16::from_be_bytes([header[16], header[17]]), rest).map(drop)
}

/// A VN-Tag.
pub(super) fn vn_tag<'a>(packet: &mut Packet<'a>, data: &'a [u8]) -> Layer {
    packet.descend()?;
    let (header, rest) = data
        .split_first_chunk::<6>()
        .ok_or(Malformed::VnTagTooShort)?;
    if !by_ether_type(packet, u16::from_be_bytes([header[4], header[5]]), rest)? {
        packet.note(PacketEvent::VntagUnknownType);
    }
    Ok(())
}
