//! The headers of a dropped packet, in the fields and the order of Suricata's `drop` object.
use serde::ser::SerializeMap;

use crate::wire::{flags, Network, Packet, Transport};

/// TCP's flags that are shown.
const FLAGS: [(&str, u8); 6] = [
    ("syn", flags::SYN),
    ("ack", flags::ACK),
    ("psh", flags::PSH),
    ("rst", flags::RST),
    ("urg", flags::URG),
    ("fin", flags::FIN),
];

/// Writes what `packet`'s headers say of it, beyond its length.
pub(super) fn entries<M: SerializeMap>(map: &mut M, packet: &Packet<'_>) -> Result<(), M::Error> {
    match &packet.network {
        Network::V4(ip) => {
            map.serialize_entry("tos", &ip.tos())?;
            map.serialize_entry("ttl", &ip.ttl())?;
            map.serialize_entry("ipid", &ip.id())?;
        }
        Network::V6(ip) => {
            map.serialize_entry("tc", &ip.traffic_class())?;
            map.serialize_entry("hoplimit", &ip.hop_limit())?;
            map.serialize_entry("flowlbl", &ip.flow_label())?;
        }
        Network::Other => {}
    }
    match &packet.transport {
        Transport::Tcp(tcp) => {
            map.serialize_entry("tcpseq", &tcp.seq())?;
            map.serialize_entry("tcpack", &tcp.ack())?;
            map.serialize_entry("tcpwin", &tcp.window())?;
            for (name, flag) in FLAGS {
                map.serialize_entry(name, &tcp.has(flag))?;
            }
            map.serialize_entry("tcpres", &0)?;
            map.serialize_entry("tcpurgp", &tcp.urgent_pointer())
        }
        Transport::Udp(udp) => map.serialize_entry("udplen", &udp.length()),
        Transport::Icmpv4(icmp) => {
            map.serialize_entry("icmp_id", &icmp.id())?;
            map.serialize_entry("icmp_seq", &icmp.sequence())
        }
        _ => Ok(()),
    }
}
