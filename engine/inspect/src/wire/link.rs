//! Link headers: Ethernet with VLAN tags, and the ones capture files bring.

use super::packet::Layer;
use super::{ethertype, linktype, ppp, shim, Malformed, Packet, PacketEvent};

/// VLAN tags read from one frame; Suricata's limit.
pub const MAX_VLAN_TAGS: usize = 3;

/// The Ethernet addresses of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination MAC address.
    pub destination: [u8; 6],
    /// Source MAC address.
    pub source: [u8; 6],
}

/// The VLAN tags of a frame, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vlans {
    tags: [VlanTag; MAX_VLAN_TAGS],
    count: u8,
}

/// One 802.1Q or 802.1ad tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlanTag {
    /// The EtherType that announced it: 0x8100, 0x88a8 or 0x9100.
    pub tpid: u16,
    /// Priority (3 bits), drop eligibility (1) and VLAN id (12), as in the frame.
    pub tci: u16,
}

impl VlanTag {
    /// The VLAN id, 0…4095; 0 is a priority tag.
    pub fn id(self) -> u16 {
        self.tci & 0x0fff
    }
}

impl Vlans {
    /// The tags, outermost first.
    pub fn tags(&self) -> &[VlanTag] {
        &self.tags[..usize::from(self.count)]
    }

    pub(super) fn push(&mut self, tag: VlanTag) -> Result<(), Malformed> {
        let slot = self
            .tags
            .get_mut(usize::from(self.count))
            .ok_or(Malformed::VlanTooMany)?;
        *slot = tag;
        self.count += 1;
        Ok(())
    }
}

/// Decodes an Ethernet frame. Source: IEEE 802.3, 802.1Q.
pub(super) fn ethernet<'a>(packet: &mut Packet<'a>, frame: &'a [u8]) -> Layer {
    packet.descend()?;
    let (header, rest) = frame
        .split_first_chunk::<14>()
        .ok_or(Malformed::EthernetTooShort)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    packet.ethernet = Some(Ethernet {
        destination: [d0, d1, d2, d3, d4, d5],
        source: [s0, s1, s2, s3, s4, s5],
    });
    by_ether_type(packet, u16::from_be_bytes([t0, t1]), rest).map(drop)
}

/// Decodes what an EtherType announces; `false` when that is not known here (and the packet is whole).
pub(super) fn by_ether_type<'a>(
    packet: &mut Packet<'a>,
    ether_type: u16,
    rest: &'a [u8],
) -> Result<bool, Malformed> {
    packet.ether_type = ether_type;
    packet.payload = rest;
    match ether_type {
        ethertype::IPV4 => packet.read_v4(rest)?,
        ethertype::IPV6 => packet.read_v6(rest)?,
        ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD => vlan(packet, ether_type, rest)?,
        ethertype::PPPOE_SESSION => ppp::pppoe_session(packet, rest)?,
        ethertype::PPPOE_DISCOVERY => ppp::pppoe_discovery(packet, rest)?,
        ethertype::MPLS | ethertype::MPLS_MULTICAST => shim::mpls(packet, rest)?,
        ethertype::BACKBONE => shim::backbone(packet, rest)?,
        ethertype::VN_TAG => shim::vn_tag(packet, rest)?,
        ethertype::NSH => shim::nsh(packet, rest)?,
        ethertype::FABRIC_PATH => {
            let inner = rest.get(2..).filter(|inner| inner.len() >= 14);
            ethernet(packet, inner.ok_or(Malformed::FabricPathTooShort)?)?;
        }
        ethertype::ARP => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// One VLAN tag and what it carries.
fn vlan<'a>(packet: &mut Packet<'a>, tpid: u16, rest: &'a [u8]) -> Layer {
    packet.descend()?;
    let Some((tag, rest)) = rest.split_first_chunk::<4>() else {
        let room = packet.vlans.tags().len() < MAX_VLAN_TAGS;
        return Err(match room {
            true => Malformed::VlanTooShort,
            false => Malformed::VlanTooMany,
        });
    };
    packet.vlans.push(VlanTag {
        tpid,
        tci: u16::from_be_bytes([tag[0], tag[1]]),
    })?;
    if !by_ether_type(packet, u16::from_be_bytes([tag[2], tag[3]]), rest)? {
        packet.note(PacketEvent::VlanUnknownType);
    }
    Ok(())
}

/// Decodes a captured packet by link type. Source: tcpdump.org/linktypes.html.
pub(super) fn decode<'a>(packet: &mut Packet<'a>, link_type: u32, data: &'a [u8]) -> Layer {
    /// An EtherType that stands at `at` in a header of `N` bytes, and what it announces.
    fn announced<'a, const N: usize>(
        packet: &mut Packet<'a>,
        data: &'a [u8],
        at: usize,
        too_short: Malformed,
    ) -> Layer {
        let (header, rest) = data.split_first_chunk::<N>().ok_or(too_short)?;
        let ether_type = u16::from_be_bytes([header[at], header[at + 1]]);
        by_ether_type(packet, ether_type, rest).map(drop)
    }
    match link_type {
        linktype::ETHERNET => ethernet(packet, data),
        linktype::RAW
        | linktype::RAW_OLD_12
        | linktype::RAW_OLD_14
        | linktype::IPV4
        | linktype::IPV6 => raw(packet, data),
        linktype::NULL | linktype::LOOP => null(packet, data),
        linktype::PPP => ppp::ppp(packet, data),
        linktype::CISCO_HDLC => announced::<4>(packet, data, 2, Malformed::CiscoHdlcTooShort),
        linktype::LINUX_SLL => announced::<16>(packet, data, 14, Malformed::SllTooShort),
        linktype::LINUX_SLL2 => announced::<20>(packet, data, 0, Malformed::SllTooShort),
        _ => Err(Malformed::LinkTypeUnsupported),
    }
}

/// IP without a link header.
pub(super) fn raw<'a>(packet: &mut Packet<'a>, data: &'a [u8]) -> Layer {
    match data.first().map(|byte| byte >> 4) {
        None => Err(Malformed::Ipv4TooShort),
        Some(4) => packet.read_v4(data),
        Some(6) => packet.read_v6(data),
        Some(_) => Err(Malformed::IpVersionUnknown),
    }
}

/// BSD loopback: a 4-byte address family in the capturing machine's byte order (LOOP: big endian). Families
/// are small numbers, so the non-zero byte tells the order.
fn null<'a>(packet: &mut Packet<'a>, data: &'a [u8]) -> Layer {
    let (header, rest) = data
        .split_first_chunk::<4>()
        .ok_or(Malformed::NullTooShort)?;
    let family = match u32::from_be_bytes(*header) {
        big @ 0..=0xffff => big,
        little => little.swap_bytes(),
    };
    let ether_type = match family {
        2 => ethertype::IPV4,
        10 | 23 | 24 | 26 | 28 | 30 => ethertype::IPV6,
        _ => return Err(Malformed::NullUnsupported),
    };
    by_ether_type(packet, ether_type, rest).map(drop)
}
