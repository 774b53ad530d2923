//! Buffers that a single packet has: its headers and addresses.
use std::fmt;
use std::net::IpAddr;

use crate::detect::PacketView;
use crate::wire::{Network, Transport};

/// The bytes of a packet's buffer: in the packet, or put together in the (empty) vector.
pub type Extract = for<'a> fn(&PacketView<'a>, &'a mut Vec<u8>) -> Option<&'a [u8]>;

/// A sticky buffer of single packets.
pub struct PacketBuffer {
    /// Suricata's name.
    pub name: &'static str,
    /// Its bytes; `None` where the packet has none.
    pub extract: Extract,
    /// It is a header, which only packets from the wire have.
    pub needs_header: bool,
    /// The IP protocol that has it, if only one does.
    pub protocol: Option<u8>,
}

impl fmt::Debug for PacketBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for PacketBuffer {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for PacketBuffer {}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// The IPv4 header with its options.
pub static IPV4_HEADER: PacketBuffer = PacketBuffer {
    name: "ipv4.hdr",
    extract: |packet, _| match packet.wire?.network {
        Network::V4(ip) => Some(ip.header()),
        _ => None,
    },
    needs_header: true,
    protocol: None,
};

/// The IPv6 header with its extension headers.
pub static IPV6_HEADER: PacketBuffer = PacketBuffer {
    name: "ipv6.hdr",
    extract: |packet, _| match packet.wire?.network {
        Network::V6(ip) => ip
            .bytes()
            .get(..ip.bytes().len().checked_sub(ip.payload().len())?),
        _ => None,
    },
    needs_header: true,
    protocol: None,
};

/// The TCP header with its options.
pub static TCP_HEADER: PacketBuffer = PacketBuffer {
    name: "tcp.hdr",
    extract: |packet, _| {
        let wire = packet.wire?;
        wire.segment().get(..wire.tcp()?.header_bytes())
    },
    needs_header: true,
    protocol: Some(TCP),
};

/// The UDP header.
pub static UDP_HEADER: PacketBuffer = PacketBuffer {
    name: "udp.hdr",
    extract: |packet, _| match packet.wire?.transport {
        Transport::Udp(_) => packet.wire?.segment().get(..8),
        _ => None,
    },
    needs_header: true,
    protocol: Some(UDP),
};

/// The ICMP header with what belongs to it by its type.
pub static ICMPV4_HEADER: PacketBuffer = PacketBuffer {
    name: "icmpv4.hdr",
    extract: |packet, _| match packet.wire?.transport {
        Transport::Icmpv4(_) => {
            let segment = packet.wire?.segment();
            segment.get(..icmpv4_header_bytes(segment))
        }
        _ => None,
    },
    needs_header: true,
    protocol: Some(ICMP),
};

/// The ICMPv6 header.
pub static ICMPV6_HEADER: PacketBuffer = PacketBuffer {
    name: "icmpv6.hdr",
    extract: |packet, _| match packet.wire?.transport {
        Transport::Icmpv6(_) => packet.wire?.segment().get(..ICMP_BYTES),
        _ => None,
    },
    needs_header: true,
    protocol: Some(ICMPV6),
};

/// The source address, 4 or 16 bytes.
pub static SOURCE: PacketBuffer = PacketBuffer {
    name: "ip.src",
    extract: |packet, room| Some(address(packet.src, room)),
    needs_header: false,
    protocol: None,
};

/// The destination address, 4 or 16 bytes.
pub static DESTINATION: PacketBuffer = PacketBuffer {
    name: "ip.dst",
    extract: |packet, room| Some(address(packet.dst, room)),
    needs_header: false,
    protocol: None,
};

fn address(address: IpAddr, room: &mut Vec<u8>) -> &[u8] {
    match address {
        IpAddr::V4(v4) => room.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => room.extend_from_slice(&v6.octets()),
    }
    room
}

const ICMP_BYTES: usize = 8;

/// How long an ICMP header is, up to where data begins. Source: RFC 792 (timestamps), RFC 1256
/// (advertised routers).
fn icmpv4_header_bytes(segment: &[u8]) -> usize {
    const ROUTER_ADVERTISEMENT: u8 = 9;
    const TIMESTAMPS: std::ops::RangeInclusive<u8> = 13..=14;
    const TIMESTAMP_BYTES: usize = 12;
    let more = match segment {
        [ROUTER_ADVERTISEMENT, _, _, _, count, words, ..] => {
            usize::from(*count) * usize::from(*words) * 4
        }
        [kind, ..] if TIMESTAMPS.contains(kind) => TIMESTAMP_BYTES,
        _ => 0,
    };
    if ICMP_BYTES + more <= segment.len() {
        ICMP_BYTES + more
    } else {
        ICMP_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_icmp_header_reaches_to_its_data() {
        let mut advertisement = vec![9, 0, 0, 0, 1, 2, 0, 0];
        assert_eq!(icmpv4_header_bytes(&advertisement), 8);
        advertisement.resize(30, 0);
        assert_eq!(icmpv4_header_bytes(&advertisement), 16);
        assert_eq!(icmpv4_header_bytes(&[13; 40]), 20);
        assert_eq!(icmpv4_header_bytes(&[8; 40]), 8);
    }
}
