//! What identifies a conversation, the same from both of its ends.

use std::net::IpAddr;

use crate::wire::{decode_quoted, proto, Icmp, Packet, Transport};

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port; for ICMP messages type and code (of the message that it would send); else 0.
    pub port: u16,
}

impl Endpoint {
    /// A number for each end; its order is nobody's but [`FlowKey`]'s.
    fn rank(&self) -> (u128, u16) {
        let address = match self.address {
            IpAddr::V4(address) => u32::from(address).into(),
            IpAddr::V6(address) => u128::from(address),
        };
        (address, self.port)
    }
}

/// Identifies a flow; equal for the packets of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// The conntrack zone or segment: equal addresses on two bridges are two flows.
    pub zone: u64,
    /// The IP protocol number.
    pub protocol: u8,
    /// The lower of the two ends.
    pub low: Endpoint,
    /// The higher of the two ends.
    pub high: Endpoint,
}

impl FlowKey {
    /// The key of `packet`, and its sender; `None` when it is not IP, malformed, a fragment, or of a
    /// protocol that is not decoded.
    pub fn of(zone: u64, packet: &Packet<'_>) -> Option<(Self, Endpoint)> {
        let (source, destination) = packet.addresses()?;
        if packet.malformed.is_some() {
            return None;
        }
        let (source_port, destination_port) = match packet.transport {
            Transport::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
            Transport::Udp(udp) => (udp.source_port(), udp.destination_port()),
            Transport::Icmpv4(icmp) => icmp_ports(&icmp, false),
            Transport::Icmpv6(icmp) => icmp_ports(&icmp, true),
            Transport::Sctp(source, destination) => (source, destination),
            Transport::Other(proto::ESP) => (0, 0),
            // Suricata keeps no flows of protocols that it does not decode; each packet stands alone.
            Transport::Other(_) | Transport::Fragment(_) | Transport::None => return None,
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
    pub fn of_quoted(zone: u64, packet: &Packet<'_>) -> Option<(Self, Endpoint)> {
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
    pub fn between(zone: u64, protocol: u8, a: Endpoint, b: Endpoint) -> Self {
        let (low, high) = if a.rank() <= b.rank() { (a, b) } else { (b, a) };
        Self {
            zone,
            protocol,
            low,
            high,
        }
    }

    /// Calls `hash` with bytes that no other key has: few, for each packet's key is hashed.
    pub(super) fn hashed(&self, hash: impl FnOnce(&[u8]) -> u64) -> u64 {
        let (low, high) = (self.low, self.high);
        let ports = u64::from(low.port) << 48 | u64::from(high.port) << 32;
        let head = u128::from(self.zone) << 64 | u128::from(ports | u64::from(self.protocol));
        let (first, last) = (low.rank().0, high.rank().0);
        match low.address {
            IpAddr::V4(_) => hash(
                [head, first << 64 | last]
                    .map(u128::to_le_bytes)
                    .as_flattened(),
            ),
            IpAddr::V6(_) => hash([head, first, last].map(u128::to_le_bytes).as_flattened()),
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

/// Stand for the ports of an ICMP message: type and code, and those of the message that answers it.
fn icmp_ports(icmp: &Icmp<'_>, v6: bool) -> (u16, u16) {
    let of = |kind: u8| u16::from_be_bytes([kind, icmp.code()]);
    let answer = icmp.counterpart(v6).map_or(0, of);
    (of(icmp.kind()), answer)
}
