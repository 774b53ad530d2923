//! One decoded packet, and the ways to decode one.

use std::net::IpAddr;

use super::link::{self, Ethernet, Vlans};
use super::{ethertype, ip4_options, linktype, proto};
use super::{Icmp, Ipv4, Ipv6, Malformed, PacketEvent, PacketEvents, Tcp, Udp};

/// Layers read, one in the other, before a packet is called malformed; Suricata's limit.
pub const MAX_LAYERS: u8 = 16;

/// The SCTP common header (RFC 9260, 3.1).
const SCTP_HEADER_BYTES: usize = 12;
/// Security parameters index and sequence number (RFC 4303, 2).
const ESP_HEADER_BYTES: usize = 8;

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
    /// SCTP: source and destination port.
    Sctp(u16, u16),
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

/// One packet, decoded as far as its bytes allow; borrows them.
///
/// Where decoding stopped early `malformed` says why, and what was read before is there: a TCP segment that is
/// cut off still has its addresses.
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
    /// Why decoding stopped, if it did.
    pub malformed: Option<Malformed>,
    /// What is odd about it, the reason why decoding stopped included.
    pub events: PacketEvents,
    /// All its bytes, its link header among them.
    pub frame: &'a [u8],
    /// Which link header those begin with; what was in another packet counts as [`linktype::RAW`].
    pub link_type: u32,
    /// Layers read, those of the packets around it included.
    pub(super) layers: u8,
    segment: &'a [u8],
}

/// Decodes an Ethernet frame.
pub fn decode_ethernet(frame: &[u8]) -> Packet<'_> {
    Packet::read(frame, linktype::ETHERNET, 0, link::ethernet)
}

/// Decodes a packet that starts with its IPv4 or IPv6 header.
#[inline]
pub fn decode_ip(data: &[u8]) -> Packet<'_> {
    Packet::read(data, linktype::RAW, 0, link::raw)
}

/// Decodes a captured packet by its capture file's link type (see [`linktype`](super::linktype)).
// Inlined, as `Packet::read`: so it is made where it stays, and not copied right after it was written.
#[inline]
pub fn decode_link(link_type: u32, data: &[u8]) -> Packet<'_> {
    Packet::read(data, link_type, 0, |packet, data| {
        link::decode(packet, link_type, data)
    })
}

/// What a layer's decoder says: it or what it carries was read, or why not.
pub(super) type Layer = Result<(), Malformed>;

impl<'a> Packet<'a> {
    /// Decodes `data` with the decoder of its outermost layer; `layers` were read before it.
    #[inline]
    pub(super) fn read(
        data: &'a [u8],
        link_type: u32,
        layers: u8,
        decode: impl FnOnce(&mut Self, &'a [u8]) -> Layer,
    ) -> Self {
        let mut packet = Self {
            ethernet: None,
            vlans: Vlans::default(),
            ether_type: 0,
            network: Network::Other,
            transport: Transport::None,
            payload: data,
            malformed: None,
            events: PacketEvents::NONE,
            frame: data,
            link_type,
            layers,
            segment: data,
        };
        if let Err(malformed) = decode(&mut packet, data) {
            packet.malformed = Some(malformed);
            malformed
                .event()
                .into_iter()
                .for_each(|event| packet.note(event));
        }
        packet
    }

    /// The packet, if it was decoded to the end.
    pub fn checked(self) -> Result<Self, Malformed> {
        match self.malformed {
            None => Ok(self),
            Some(malformed) => Err(malformed),
        }
    }

    /// Counts one more layer.
    pub(super) fn descend(&mut self) -> Layer {
        self.layers += 1;
        match self.layers < MAX_LAYERS {
            true => Ok(()),
            false => Err(Malformed::TooManyLayers),
        }
    }

    pub(super) fn note(&mut self, event: PacketEvent) {
        self.events.insert(event);
    }

    pub(super) fn read_v4(&mut self, data: &'a [u8]) -> Layer {
        self.descend()?;
        self.ether_type = ethertype::IPV4;
        let ip = Ipv4::parse(data)?;
        self.network = Network::V4(ip);
        if !ip.options().is_empty() {
            ip4_options::check(ip.options(), &mut self.events)?;
        }
        self.read_transport(ip.fragment(), ip.protocol(), ip.payload())
    }

    pub(super) fn read_v6(&mut self, data: &'a [u8]) -> Layer {
        self.descend()?;
        self.ether_type = ethertype::IPV6;
        let (ip, walked) = Ipv6::parse(data, &mut self.events)?;
        self.network = Network::V6(ip);
        walked?;
        self.read_transport(ip.fragment(), ip.upper_protocol(), ip.payload())
    }

    fn read_transport(
        &mut self,
        fragment: Option<Fragment>,
        protocol: u8,
        data: &'a [u8],
    ) -> Layer {
        self.segment = data;
        self.payload = data;
        let v4 = matches!(self.network, Network::V4(_));
        self.transport = match fragment {
            Some(fragment) => Transport::Fragment(fragment),
            None => Transport::Other(protocol),
        };
        if fragment.is_some() {
            return Ok(());
        }
        (self.transport, self.payload) = match protocol {
            proto::TCP => {
                let (tcp, payload) = Tcp::split(data)?;
                if !tcp.option_bytes().is_empty() {
                    tcp.check_options(&mut self.events);
                }
                (Transport::Tcp(tcp), payload)
            }
            proto::UDP => {
                let (udp, payload) = Udp::split(data, v4)?;
                if udp.length() == 0 {
                    self.note(PacketEvent::UdpLenInvalid);
                }
                (Transport::Udp(udp), payload)
            }
            proto::ICMP if v4 => {
                let (icmp, payload) = Icmp::split(data).ok_or(Malformed::Icmpv4TooShort)?;
                icmp.check_v4(payload, &mut self.events);
                (Transport::Icmpv4(icmp), icmp.behind_v4_fields(payload))
            }
            proto::ICMPV6 if !v4 => {
                let (icmp, payload) = Icmp::split(data).ok_or(Malformed::Icmpv6TooShort)?;
                let hop_limit = match self.network {
                    Network::V6(ip) => ip.hop_limit(),
                    _ => 0,
                };
                icmp.check_v6(payload, hop_limit, &mut self.events);
                (Transport::Icmpv6(icmp), payload)
            }
            proto::SCTP => {
                let (header, payload) = data
                    .split_first_chunk::<SCTP_HEADER_BYTES>()
                    .ok_or(Malformed::SctpTooShort)?;
                let [a, b, c, d, ..] = *header;
                let source = u16::from_be_bytes([a, b]);
                let destination = u16::from_be_bytes([c, d]);
                (Transport::Sctp(source, destination), payload)
            }
            proto::ESP => {
                let payload = data.get(ESP_HEADER_BYTES..);
                let payload = payload.ok_or(Malformed::EspTooShort)?;
                (Transport::Other(protocol), payload)
            }
            other => {
                match other {
                    proto::ICMPV6 => self.note(PacketEvent::Ipv4Icmpv6),
                    proto::ICMP => self.note(PacketEvent::Ipv6Icmpv4),
                    _ => {}
                }
                (Transport::Other(other), data)
            }
        };
        Ok(())
    }

    /// Source and destination addresses; `None` when the packet is not IP.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self.network {
            Network::V4(ip) => Some((ip.source().into(), ip.destination().into())),
            Network::V6(ip) => Some((ip.source().into(), ip.destination().into())),
            Network::Other => None,
        }
    }

    /// Source and destination ports; `None` unless TCP, UDP or SCTP.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp(tcp) => Some((tcp.source_port(), tcp.destination_port())),
            Transport::Udp(udp) => Some((udp.source_port(), udp.destination_port())),
            Transport::Sctp(source, destination) => Some((source, destination)),
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
            Transport::Sctp(..) => Some(proto::SCTP),
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
