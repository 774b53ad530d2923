//! Link headers: Ethernet with VLAN tags, and the ones capture files bring.

use super::{ethertype, linktype, Malformed, Packet};

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

    fn push(&mut self, tag: VlanTag) -> Result<(), Malformed> {
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
pub(super) fn ethernet(frame: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (header, rest) = frame
        .split_first_chunk::<14>()
        .ok_or(Malformed::EthernetTooShort)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    let addresses = Ethernet {
        destination: [d0, d1, d2, d3, d4, d5],
        source: [s0, s1, s2, s3, s4, s5],
    };
    after_ether_type(Some(addresses), u16::from_be_bytes([t0, t1]), rest)
}

/// Reads VLAN tags and a PPPoE session header, then what they carry.
fn after_ether_type<'a>(
    addresses: Option<Ethernet>,
    mut ether_type: u16,
    mut rest: &'a [u8],
) -> Result<Packet<'a>, Malformed> {
    let mut vlans = Vlans::default();
    while matches!(
        ether_type,
        ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD
    ) {
        let (tag, after) = rest
            .split_first_chunk::<4>()
            .ok_or(Malformed::VlanTooShort)?;
        vlans.push(VlanTag {
            tpid: ether_type,
            tci: u16::from_be_bytes([tag[0], tag[1]]),
        })?;
        ether_type = u16::from_be_bytes([tag[2], tag[3]]);
        rest = after;
    }
    if ether_type == ethertype::PPPOE_SESSION {
        (ether_type, rest) = pppoe(rest)?;
    }
    Packet::after_link(addresses, vlans, ether_type, rest)
}

/// Splits a PPPoE session header (RFC 2516, 4) off; the EtherType says what it carries.
fn pppoe(data: &[u8]) -> Result<(u16, &[u8]), Malformed> {
    let (header, rest) = data
        .split_first_chunk::<8>()
        .ok_or(Malformed::PppoeTooShort)?;
    let ether_type = match u16::from_be_bytes([header[6], header[7]]) {
        0x0021 => ethertype::IPV4,
        0x0057 => ethertype::IPV6,
        _ => return Ok((ethertype::PPPOE_SESSION, data)),
    };
    // The PPPoE length covers the two bytes of the PPP protocol; the IP header's own length cuts padding.
    Ok((ether_type, rest))
}

/// Decodes a captured packet by link type. Source: tcpdump.org/linktypes.html.
pub(super) fn decode(link_type: u32, data: &[u8]) -> Result<Packet<'_>, Malformed> {
    match link_type {
        linktype::ETHERNET => ethernet(data),
        linktype::RAW
        | linktype::RAW_OLD_12
        | linktype::RAW_OLD_14
        | linktype::IPV4
        | linktype::IPV6 => super::decode_ip(data),
        linktype::NULL | linktype::LOOP => null(data),
        linktype::PPP => ppp(data),
        linktype::CISCO_HDLC => {
            let (header, rest) = data
                .split_first_chunk::<4>()
                .ok_or(Malformed::CiscoHdlcTooShort)?;
            after_ether_type(None, u16::from_be_bytes([header[2], header[3]]), rest)
        }
        linktype::LINUX_SLL => {
            let (header, rest) = data
                .split_first_chunk::<16>()
                .ok_or(Malformed::SllTooShort)?;
            after_ether_type(None, u16::from_be_bytes([header[14], header[15]]), rest)
        }
        linktype::LINUX_SLL2 => {
            let (header, rest) = data
                .split_first_chunk::<20>()
                .ok_or(Malformed::SllTooShort)?;
            after_ether_type(None, u16::from_be_bytes([header[0], header[1]]), rest)
        }
        _ => Err(Malformed::LinkTypeUnsupported),
    }
}

/// BSD loopback: a 4-byte address family in the capturing machine's byte order (LOOP: big endian). Families
/// are small numbers, so the non-zero byte tells the order.
fn null(data: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (header, rest) = data
        .split_first_chunk::<4>()
        .ok_or(Malformed::NullTooShort)?;
    let family = match u32::from_be_bytes(*header) {
        big @ 0..=0xffff => big,
        little => little.swap_bytes(),
    };
    let ether_type = match family {
        2 => ethertype::IPV4,
        10 | 24 | 28 | 30 => ethertype::IPV6,
        _ => return Err(Malformed::NullUnsupported),
    };
    after_ether_type(None, ether_type, rest)
}

/// PPP, with or without HDLC-like address and control bytes (RFC 1662, 3.1).
fn ppp(data: &[u8]) -> Result<Packet<'_>, Malformed> {
    let data = data.strip_prefix(&[0xff, 0x03]).unwrap_or(data);
    let (ether_type, rest) = match data {
        [0x00, 0x21, rest @ ..] => (ethertype::IPV4, rest),
        [0x00, 0x57, rest @ ..] => (ethertype::IPV6, rest),
        // Protocol-field compression leaves out the leading zero byte.
        [0x21, rest @ ..] => (ethertype::IPV4, rest),
        [0x57, rest @ ..] => (ethertype::IPV6, rest),
        [_, _, ..] => return Err(Malformed::PppUnsupported),
        _ => return Err(Malformed::PppTooShort),
    };
    after_ether_type(None, ether_type, rest)
}
