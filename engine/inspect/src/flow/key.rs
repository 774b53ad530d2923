//! What identifies a conversation, the same from both of its ends.

use std::net::IpAddr;

use crate::wire::{decode_quoted, Icmp, Packet, Transport};

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port; for ICMP messages with an identifier that identifier (on both ends); else 0.
    pub port: u16,
}

/// Identifies a flow; equal for the packets of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The conntrack zone or segment: equal addresses on two bridges are two flows.
    pub zone: u32,
    /// The IP protocol number.
    pub protocol: u8,
    /// The lower of the two ends.
    pub low: Endpoint,
    /// The higher of the two ends.
    pub high: Endpoint,
}

impl FlowKey {
    /// The key of `packet`, and its sender; `None` when it is not IP or a fragment.
    pub fn of(zone: u32, packet: &Packet<'_>) -> Option<(Self, Endpoint)> {
        let (source, destination) = packet.addresses()?;
        let (source_port, destination_port) = match packet.transport {
            Transport::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
            Transport::Udp(udp) => (udp.source_port(), udp.destination_port()),
            Transport::Icmpv4(icmp) => icmp_ports(&icmp, false),
            Transport::Icmpv6(icmp) => icmp_ports(&icmp, true),
            Transport::Other(_) => (0, 0),
            Transport::Fragment(_) | Transport::None => return None,
        };
        let sender = Endpoint {
            address: source,
            port: source_port,
        };
        let receiver = Endpoint {
            address: destination,
            port: destination_port,
        };
        Some((
            Self::between(zone, packet.protocol()?, sender, receiver),
            sender,
        ))
    }

    /// The key of the packet that the ICMP error `packet` quotes, and who sent the quoted packet; `None` when
    /// `packet` is no ICMP error or quotes too little.
    pub fn of_quoted(zone: u32, packet: &Packet<'_>) -> Option<(Self, Endpoint)> {
        match packet.transport {
            Transport::Icmpv4(icmp) if icmp.is_v4_error() => {}
            Transport::Icmpv6(icmp) if icmp.is_v6_error() => {}
            _ => return None,
        }
        let quoted = decode_quoted(packet.payload)?;
        let sender = Endpoint {
            address: quoted.source,
            port: quoted.source_port,
        };
        let receiver = Endpoint {
            address: quoted.destination,
            port: quoted.destination_port,
        };
        Some((
            Self::between(zone, quoted.protocol, sender, receiver),
            sender,
        ))
    }

    /// The key of what `a` and `b` say to each other; the order of the two does not matter.
    pub fn between(zone: u32, protocol: u8, a: Endpoint, b: Endpoint) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self {
            zone,
            protocol,
            low,
            high,
        }
    }

    /// The end that is not `end`.
    pub fn other(&self, end: Endpoint) -> Endpoint {
        if end == self.low {
            self.high
        } else {
            self.low
        }
    }
}

fn icmp_ports(icmp: &Icmp<'_>, v6: bool) -> (u16, u16) {
    if icmp.has_id(v6) {
        (icmp.id(), icmp.id())
    } else {
        (0, 0)
    }
}
