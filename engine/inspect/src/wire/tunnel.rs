//! Packets inside packets.

use super::{decode_ethernet, decode_ip, ethertype, proto, Malformed, Packet, Transport};

/// The UDP port that VXLAN is expected on (RFC 7348, 5).
const VXLAN_PORT: u16 = 4789;

/// How an inner packet is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IPv4 or IPv6 directly in IP (4in4, 4in6, 6in4, 6in6).
    Ip,
    /// GRE (RFC 2784, 2890).
    Gre,
    /// VXLAN (RFC 7348) on its usual port.
    Vxlan,
}

/// The packet that `packet` carries, and how; `None` when it is no tunnel that is known here.
///
/// An inner packet may be a tunnel again: callers bound how deep they go. The inner error of a broken inner
/// packet is its own ([`Malformed`]).
pub fn inner_packet<'a>(packet: &Packet<'a>) -> Option<(Tunnel, Result<Packet<'a>, Malformed>)> {
    match packet.transport {
        Transport::Other(proto::IPV4 | proto::IPV6) => {
            Some((Tunnel::Ip, decode_ip(packet.payload)))
        }
        Transport::Other(proto::GRE) => gre(packet.payload).map(|inner| (Tunnel::Gre, inner)),
        Transport::Udp(udp) if udp.destination_port() == VXLAN_PORT => {
            Some((Tunnel::Vxlan, vxlan(packet.payload)))
        }
        _ => None,
    }
}

/// GRE version 0 with its optional checksum, key and sequence number; version 1 (PPTP) carries PPP and is
/// left alone, as are payloads other than IP and Ethernet.
fn gre(data: &[u8]) -> Option<Result<Packet<'_>, Malformed>> {
    let Some(header) = data.first_chunk::<4>() else {
        return Some(Err(Malformed::GreTooShort));
    };
    match header[1] & 0x07 {
        0 => {}
        1 => return None,
        _ => return Some(Err(Malformed::GreVersion)),
    }
    // Routing (0x40) is deprecated by RFC 2784; its length needs a walk that nobody's packets need.
    if header[0] & 0x40 != 0 {
        return None;
    }
    let optional = [0x80, 0x20, 0x10]
        .iter()
        .filter(|bit| header[0] & **bit != 0)
        .count()
        * 4;
    let Some(inner) = data.get(4 + optional..) else {
        return Some(Err(Malformed::GreTooShort));
    };
    match u16::from_be_bytes([header[2], header[3]]) {
        ethertype::IPV4 | ethertype::IPV6 => Some(decode_ip(inner)),
        0x6558 => Some(decode_ethernet(inner)),
        _ => None,
    }
}

fn vxlan(data: &[u8]) -> Result<Packet<'_>, Malformed> {
    match data.split_first_chunk::<8>() {
        Some((header, inner)) if header[0] & 0x08 != 0 => decode_ethernet(inner),
        _ => Err(Malformed::VxlanHeader),
    }
}
