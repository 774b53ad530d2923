//! What identifies a conversation, the same from both of its ends.

use std::net::IpAddr;

use crate::wire::Packet;

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
    pub fn of(_zone: u32, _packet: &Packet<'_>) -> Option<(Self, Endpoint)> {
        unimplemented!()
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
