//! One decoded packet, and the ways to decode one.

use std::net::IpAddr;

use super::link::{self, Ethernet, Vlans};
use super::{ethertype, proto, Icmp, Ipv4, Ipv6, Malformed, Tcp, Udp};

/// The network layer.
#[derive(Clone, Copy, Debug)]
pub enum Network<'a> {
    /// IPv4.
    V4(Ipv4<'a>),
    /// IPv6.
    V6(Ipv6<'a>),
    /// Anything else (ARP, LLDP, …); see [`Packet::ether_type`].
    Other,
}

/// The transport layer.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(Tcp<'a>),
    /// UDP.
    Udp(Udp<'a>),
    /// ICMP for IPv4.
    Icmpv4(Icmp<'a>),
    /// ICMP for IPv6.
    Icmpv6(Icmp<'a>),
    /// A piece of a datagram, for the [`Defragmenter`](super::Defragmenter); first pieces included.
    Fragment(Fragment),
    /// Another IP protocol, by number.
    Other(u8),
    /// Not IP.
    None,
}

/// What makes a packet a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits on IPv4, 32 on IPv6.
    pub id: u32,
    /// Where the payload belongs, in bytes; a multiple of 8.
    pub offset_bytes: u16,
    /// More fragments follow.
    pub more: bool,
    /// The protocol of the datagram that is in pieces (on IPv6: the header after the fragment header).
    pub protocol: u8,
}

/// One packet, decoded down to its transport payload; borrows the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The Ethernet addresses; `None` where there is no Ethernet header.
    pub ethernet: Option<Ethernet>,
    /// The VLAN tags, outermost first.
    pub vlans: Vlans,
    /// The EtherType after the tags (also for link types that have none, as the one that says the same); a
    /// value under 1536 is an 802.3 length.
    pub ether_type: u16,
    /// The network layer.
    pub network: Network<'a>,
    /// The transport layer.
    pub transport: Transport<'a>,
    /// What the transport carries; for [`Transport::Fragment`] and [`Transport::Other`] the IP payload, for
    /// [`Network::Other`] what follows the link header.
    pub payload: &'a [u8],
    /// The first thing wrong with the packet that did not hinder decoding.
    pub anomaly: Option<Malformed>,
    segment: &'a [u8],
}

/// Decodes an Ethernet frame with up to [`MAX_VLAN_TAGS`](super::MAX_VLAN_TAGS) tags.
pub fn decode_ethernet(frame: &[u8]) -> Result<Packet<'_>, Malformed> {
    link::ethernet(frame)
}

/// Decodes a packet that starts with its IPv4 or IPv6 header.
pub fn decode_ip(data: &[u8]) -> Result<Packet<'_>, Malformed> {
    let ether_type = match data.first().map(|byte| byte >> 4) {
        Some(4) => ethertype::IPV4,
        Some(6) => ethertype::IPV6,
        _ => return Err(Malformed::IpVersionUnknown),
    };
    Packet::after_link(None, Vlans::default(), ether_type, data)
}

/// Decodes a captured packet by its capture file's link type (see [`linktype`](super::linktype)).
///
/// Errors: `LinkTypeUnsupported`, or what the decoder of that type reports.
pub fn decode_link(link_type: u32, data: &[u8]) -> Result<Packet<'_>, Malformed> {
    link::decode(link_type, data)
}

impl<'a> Packet<'a> {
    /// Decodes what follows a link header.
    pub(super) fn after_link(
        ethernet: Option<Ethernet>,
        vlans: Vlans,
        ether_type: u16,
        data: &'a [u8],
    ) -> Result<Self, Malformed> {
        let mut packet = Self {
            ethernet,
            vlans,
            ether_type,
            network: Network::Other,
            transport: Transport::None,
            payload: data,
            anomaly: None,
            segment: data,
        };
        match ether_type {
            ethertype::IPV4 => packet.read_v4(Ipv4::parse(data)?)?,
            ethertype::IPV6 => packet.read_v6(Ipv6::parse(data)?)?,
            _ => {}
        }
        Ok(packet)
    }

    fn read_v4(&mut self, ip: Ipv4<'a>) -> Result<(), Malformed> {
        self.network = Network::V4(ip);
        if !ip.options_fit() {
            self.note(Malformed::Ipv4OptionLength);
        }
        self.read_transport(ip.fragment(), ip.protocol(), ip.payload())
    }

    fn read_v6(&mut self, ip: Ipv6<'a>) -> Result<(), Malformed> {
        self.network = Network::V6(ip);
        if ip.has_routing_type_0() {
            self.note(Malformed::Ipv6RoutingType0);
        }
        if ip.has_fragment_header() && ip.fragment().is_none() {
            self.note(Malformed::Ipv6UselessFragmentHeader);
        }
        self.read_transport(ip.fragment(), ip.upper_protocol(), ip.payload())
    }

    fn read_transport(
        &mut self,
        fragment: Option<Fragment>,
        protocol: u8,
        data: &'a [u8],
    ) -> Result<(), Malformed> {
        self.segment = data;
        let v4 = matches!(self.network, Network::V4(_));
        (self.transport, self.payload) = match (fragment, protocol) {
            (Some(fragment), _) => (Transport::Fragment(fragment), data),
            (None, proto::TCP) => {
                let (tcp, payload) = Tcp::split(data)?;
                if tcp.options().malformed {
                    self.note(Malformed::TcpOptionLength);
                }
                (Transport::Tcp(tcp), payload)
            }
            (None, proto::UDP) => {
                let (udp, payload) = Udp::split(data)?;
                (Transport::Udp(udp), payload)
            }
            (None, proto::ICMP) if v4 => {
                let (icmp, payload) = Icmp::split(data).ok_or(Malformed::Icmpv4TooShort)?;
                (Transport::Icmpv4(icmp), payload)
            }
            (None, proto::ICMPV6) if !v4 => {
                let (icmp, payload) = Icmp::split(data).ok_or(Malformed::Icmpv6TooShort)?;
                (Transport::Icmpv6(icmp), payload)
            }
            (None, other) => {
                match other {
                    proto::ICMPV6 => self.note(Malformed::Ipv4WithIcmpv6),
                    proto::ICMP => self.note(Malformed::Ipv6WithIcmpv4),
                    _ => {}
                }
                (Transport::Other(other), data)
            }
        };
        Ok(())
    }

    fn note(&mut self, anomaly: Malformed) {
        self.anomaly.get_or_insert(anomaly);
    }

    /// Source and destination addresses; `None` when the packet is not IP.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self.network {
            Network::V4(ip) => Some((ip.source().into(), ip.destination().into())),
            Network::V6(ip) => Some((ip.source().into(), ip.destination().into())),
            Network::Other => None,
        }
    }

    /// Source and destination ports; `None` unless TCP or UDP.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp(tcp) => Some((tcp.source_port(), tcp.destination_port())),
            Transport::Udp(udp) => Some((udp.source_port(), udp.destination_port())),
            _ => None,
        }
    }

    /// The IP protocol number after extension headers; of a fragment, its datagram's. `None` when not IP.
    pub fn protocol(&self) -> Option<u8> {
        match self.transport {
            Transport::Tcp(_) => Some(proto::TCP),
            Transport::Udp(_) => Some(proto::UDP),
            Transport::Icmpv4(_) => Some(proto::ICMP),
            Transport::Icmpv6(_) => Some(proto::ICMPV6),
            Transport::Fragment(fragment) => Some(fragment.protocol),
            Transport::Other(protocol) => Some(protocol),
            Transport::None => None,
        }
    }

    /// The TCP header, if this is TCP.
    pub fn tcp(&self) -> Option<&Tcp<'a>> {
        match &self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    /// What makes this packet a fragment, if it is one.
    pub fn fragment(&self) -> Option<Fragment> {
        match self.transport {
            Transport::Fragment(fragment) => Some(fragment),
            _ => None,
        }
    }

    /// The IP packet from its header on, without link header and padding; empty when not IP.
    pub fn ip_bytes(&self) -> &'a [u8] {
        match self.network {
            Network::V4(ip) => ip.bytes(),
            Network::V6(ip) => ip.bytes(),
            Network::Other => &[],
        }
    }

    /// Transport header and payload together.
    pub fn segment(&self) -> &'a [u8] {
        self.segment
    }
}
