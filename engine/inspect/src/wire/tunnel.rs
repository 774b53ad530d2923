//! Packets inside packets.

use super::link::{self, by_ether_type, VlanTag};
use super::linktype;
use super::packet::Layer;
use super::{
    ethertype, ppp, proto, Malformed, Network, Packet, PacketEvent, PacketEvents, Transport,
};

/// UDP ports that tunnels are expected on, as Suricata's configuration has them by default: Teredo (RFC 4380),
/// VXLAN (RFC 7348), Geneve (RFC 8926).
const TEREDO_PORT: u16 = 3544;
const VXLAN_PORT: u16 = 4789;
const GENEVE_PORT: u16 = 6081;

/// UDP ports behind which packets of other transports may travel.
pub const UDP_PORTS: [u16; 3] = [TEREDO_PORT, GENEVE_PORT, VXLAN_PORT];

/// How an inner packet is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IPv4 or IPv6 directly in IP of another version, or in IPv6 (4in6, 6in4, 6in6).
    Ip,
    /// IPv4 directly in IPv4 (RFC 2003), which Suricata 7 leaves alone.
    Ip4InIp4,
    /// GRE (RFC 2784, 2890; version 1: RFC 2637).
    Gre,
    /// ERSPAN type I or II in GRE.
    Erspan,
    /// VXLAN on its usual port.
    Vxlan,
    /// Geneve on its usual port.
    Geneve,
    /// Teredo on its usual port.
    Teredo,
}

impl Tunnel {
    /// Whether nothing but a UDP port says that it is a tunnel.
    pub fn is_by_port(self) -> bool {
        matches!(self, Self::Vxlan | Self::Geneve | Self::Teredo)
    }
}

/// What a packet was found to carry.
#[derive(Clone, Copy, Debug)]
pub struct Inner<'a> {
    /// How it is carried.
    pub tunnel: Tunnel,
    /// The packet in it. An error of its own does not make the outer packet malformed.
    pub packet: Packet<'a>,
}

impl Inner<'_> {
    /// Whether there is no packet in it after all: not even its outermost header could be read.
    pub fn is_broken(&self) -> bool {
        let Packet {
            network, malformed, ..
        } = &self.packet;
        // VXLAN's frame is looked at for its EtherType alone.
        let framed = self.packet.ethernet.is_some() && self.tunnel != Tunnel::Vxlan;
        let tagged = !self.packet.vlans.tags().is_empty();
        let other_ppp = matches!(
            malformed,
            Some(Malformed::PppUnknown | Malformed::PppUnsupported)
        );
        let read = framed || tagged && malformed.is_some() || other_ppp;
        matches!(network, Network::Other) && !read
    }
}

/// The packet that `packet` carries, if it is a tunnel that is known here. What is odd about the tunnel's header is
/// noted in `packet`.
///
/// An inner packet may be a tunnel again: [`MAX_LAYERS`](super::MAX_LAYERS) bounds how deep that goes.
#[inline]
pub fn inner_packet<'a>(packet: &mut Packet<'a>) -> Option<Inner<'a>> {
    match packet.transport {
        Transport::Other(_) | Transport::Udp(_) => carried(packet),
        _ => None,
    }
}

fn carried<'a>(packet: &mut Packet<'a>) -> Option<Inner<'a>> {
    let events = &mut packet.events;
    let data = packet.payload;
    let layers = packet.layers;
    let open = |tunnel, decode: &dyn Fn(&mut Packet<'a>, &'a [u8]) -> Layer, data| {
        Some(Inner {
            tunnel,
            packet: Packet::read(data, linktype::RAW, layers, decode),
        })
    };
    match packet.transport {
        _ if packet.malformed.is_some() => None,
        Transport::Other(number @ (proto::IPV4 | proto::IPV6)) => {
            let version = data.first().map(|byte| byte >> 4);
            match (number, version) {
                (proto::IPV4, Some(4)) => match packet.network {
                    Network::V4(_) => open(Tunnel::Ip4InIp4, &Packet::read_v4, data),
                    _ => open(Tunnel::Ip, &Packet::read_v4, data),
                },
                (proto::IPV6, Some(6)) => open(Tunnel::Ip, &Packet::read_v6, data),
                _ => None,
            }
        }
        Transport::Other(proto::GRE) => match gre(data) {
            Ok((kind, plain, rest)) => match kind {
                ethertype::IPV4 => open(Tunnel::Gre, &Packet::read_v4, rest),
                ethertype::IPV6 => open(Tunnel::Gre, &Packet::read_v6, rest),
                ethertype::PPP => open(Tunnel::Gre, &ppp::ppp, rest),
                ethertype::VLAN => open(Tunnel::Gre, &vlan, rest),
                ethertype::TRANSPARENT_ETHERNET => open(Tunnel::Gre, &link::ethernet, rest),
                ethertype::ERSPAN if plain => open(Tunnel::Erspan, &link::ethernet, rest),
                ethertype::ERSPAN => erspan(rest)
                    .and_then(|vlan_id| open(Tunnel::Erspan, &mirrored(vlan_id), &rest[8..])),
                _ => None,
            },
            Err(event) => {
                events.insert(event);
                None
            }
        },
        Transport::Udp(udp) => {
            let either = |port| udp.source_port() == port || udp.destination_port() == port;
            if either(TEREDO_PORT) {
                teredo(data)
                    .and_then(|data| open(Tunnel::Teredo, &Packet::read_v6, data))
                    .filter(|inner| inner.packet.malformed.is_none())
            } else if either(GENEVE_PORT) {
                geneve(data, events).and_then(|(kind, rest)| match kind {
                    ethertype::IPV4 => open(Tunnel::Geneve, &Packet::read_v4, rest),
                    ethertype::IPV6 => open(Tunnel::Geneve, &Packet::read_v6, rest),
                    _ => open(Tunnel::Geneve, &link::ethernet, rest),
                })
            } else if either(VXLAN_PORT) {
                vxlan(data, events).and_then(|rest| open(Tunnel::Vxlan, &link::ethernet, rest))
            } else {
                None
            }
        }
        _ => None,
    }
}

fn vlan<'a>(packet: &mut Packet<'a>, data: &'a [u8]) -> Layer {
    by_ether_type(packet, ethertype::VLAN, data).map(drop)
}

/// The GRE header: what it announces, whether it has no flags at all, and what follows it.
///
/// Version 0 has an optional checksum (which brings an offset), key, sequence number and source routes; version 1
/// (PPTP) carries PPP.
fn gre(data: &[u8]) -> Result<(u16, bool, &[u8]), PacketEvent> {
    use PacketEvent as Event;
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    const STRICT_ROUTE: u8 = 0x08;
    const RECURSION: u8 = 0x07;
    const ACKNOWLEDGED: u8 = 0x80;

    let header = data.first_chunk::<4>().ok_or(Event::GrePktTooSmall)?;
    let [bits, second, ..] = *header;
    let announces = u16::from_be_bytes([header[2], header[3]]);
    let has = |mask: u8| bits & mask != 0;
    let (length, too_big) = match second & 0x07 {
        0 => {
            if has(RECURSION) {
                return Err(Event::GreVersion0Recur);
            }
            if second & 0x78 != 0 {
                return Err(Event::GreVersion0Flags);
            }
            let optional = [CHECKSUM | ROUTING, KEY, SEQUENCE];
            let fields = optional.iter().filter(|mask| has(**mask)).count();
            (4 + 4 * fields, Event::GreVersion0HdrTooBig)
        }
        1 => {
            let rules = [
                (has(CHECKSUM), Event::GreVersion1Chksum),
                (has(ROUTING), Event::GreVersion1Route),
                (has(STRICT_ROUTE), Event::GreVersion1Ssr),
                (has(RECURSION), Event::GreVersion1Recur),
                (second & 0x78 != 0, Event::GreVersion1Flags),
                (announces != ethertype::PPP, Event::GreVersion1WrongProtocol),
                (!has(KEY), Event::GreVersion1NoKey),
            ];
            if let Some((_, event)) = rules.iter().find(|(broken, _)| *broken) {
                return Err(*event);
            }
            let fields = usize::from(has(SEQUENCE)) + usize::from(second & ACKNOWLEDGED != 0);
            (8 + 4 * fields, Event::GreVersion1HdrTooBig)
        }
        _ => return Err(Event::GreWrongVersion),
    };
    let mut rest = data.get(length..).ok_or(too_big)?;
    if second & 0x07 == 0 && has(ROUTING) {
        rest = source_routes(rest).ok_or(Event::GreVersion0MalformedSreHdr)?;
    }
    Ok((announces, bits == 0, rest))
}

/// Steps over source route entries, which an empty one ends (RFC 1701).
fn source_routes(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (entry, after) = rest.split_first_chunk::<4>()?;
        if entry[0] == 0 && entry[1] == 0 && entry[3] == 0 {
            return Some(after);
        }
        rest = after.get(usize::from(entry[3])..)?;
    }
}

/// The VLAN id in an ERSPAN type II header, 0 for none. One that is broken makes no event: Suricata gives up the
/// inner packet that would carry it.
fn erspan(data: &[u8]) -> Option<u16> {
    let header = data.first_chunk::<8>()?;
    (header[0] >> 4 == 1).then_some(u16::from_be_bytes([header[0] & 0x0f, header[1]]))
}

/// A mirrored frame that had come in on a VLAN.
fn mirrored<'a>(vlan_id: u16) -> impl Fn(&mut Packet<'a>, &'a [u8]) -> Layer {
    move |packet, frame| {
        if vlan_id != 0 && frame.len() >= 14 {
            let (tpid, tci) = (ethertype::VLAN, vlan_id);
            packet.vlans.push(VlanTag { tpid, tci })?;
        }
        link::ethernet(packet, frame)
    }
}

/// The frame in VXLAN, if its header and EtherType are good.
fn vxlan<'a>(data: &'a [u8], events: &mut PacketEvents) -> Option<&'a [u8]> {
    let (header, frame) = data.split_first_chunk::<8>()?;
    let valid = header[0] & 0x08 != 0;
    let kind = frame.get(12..14).filter(|_| valid)?;
    let known = is_known_inner(u16::from_be_bytes([kind[0], kind[1]]));
    if !known {
        events.insert(PacketEvent::VxlanUnknownPayloadType);
    }
    known.then_some(frame)
}

/// What Geneve announces and what follows its header and options.
fn geneve<'a>(data: &'a [u8], events: &mut PacketEvents) -> Option<(u16, &'a [u8])> {
    let header = data.first_chunk::<8>()?;
    if header[0] >> 6 != 0 {
        return None;
    }
    let (options, rest) = data[8..].split_at_checked(4 * usize::from(header[0] & 0x3f))?;
    if !options_fit(options) {
        return None;
    }
    let kind = u16::from_be_bytes([header[2], header[3]]);
    let known = match kind {
        ethertype::TRANSPARENT_ETHERNET => {
            let inner = rest.get(12..14)?;
            is_known_inner(u16::from_be_bytes([inner[0], inner[1]]))
        }
        ethertype::IPV4 | ethertype::IPV6 => true,
        _ => false,
    };
    if !known {
        events.insert(PacketEvent::GeneveUnknownPayloadType);
    }
    known.then_some((kind, rest))
}

/// Whether Geneve's options fill their space exactly (RFC 8926, 3.5).
fn options_fit(mut options: &[u8]) -> bool {
    while let Some(header) = options.first_chunk::<4>() {
        match options.get(4 + 4 * usize::from(header[3] & 0x1f)..) {
            Some(next) => options = next,
            None => return false,
        }
    }
    options.is_empty()
}

fn is_known_inner(ether_type: u16) -> bool {
    matches!(
        ether_type,
        ethertype::ARP
            | ethertype::VLAN
            | ethertype::QINQ
            | ethertype::QINQ_OLD
            | ethertype::IPV4
            | ethertype::IPV6
    )
}

/// The IPv6 packet behind Teredo's indications (RFC 4380, 5.1.1), if it ends where the datagram does.
fn teredo(data: &[u8]) -> Option<&[u8]> {
    let mut rest = data;
    if let [0, 1, id, key, ..] = rest {
        // Authentication: lengths of client id and value, then those, a nonce and a confirmation byte.
        rest = rest.get(4 + usize::from(*id) + usize::from(*key) + 8 + 1..)?;
    }
    if let [0, 0, ..] = rest {
        rest = rest.get(8..)?;
    }
    let header = rest.first_chunk::<40>()?;
    let payload_bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
    (header[0] >> 4 == 6 && rest.len() == 40 + payload_bytes).then_some(rest)
}
