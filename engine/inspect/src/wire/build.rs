//! The packets that are built: TCP resets and ICMP unreachables, complete frames with full checksums.

use std::net::{IpAddr, SocketAddr};

use super::checksum::Sum;
use super::link::{Ethernet, Vlans};
use super::{ethertype, flags, proto, Network, Packet, Transport};

/// TTL and hop limit of what we build; Linux's default, so that it is not a fingerprint.
const HOP_LIMIT: u8 = 64;
/// Bytes of an ICMPv4 error, IP header included (RFC 1812, 4.3.2.3).
const ICMPV4_ERROR_BYTES: usize = 576;
/// Bytes of an ICMPv6 error, IP header included: the minimum MTU (RFC 4443, 2.4).
const ICMPV6_ERROR_BYTES: usize = 1280;

/// The link header of a built packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The Ethernet addresses; `None` builds a packet that starts with its IP header.
    pub ethernet: Option<Ethernet>,
    /// The VLAN tags to carry, outermost first.
    pub vlans: Vlans,
}

/// A TCP reset, as its receiver will see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The link header.
    pub frame: Frame,
    /// Who it seems to come from.
    pub source: SocketAddr,
    /// Who it goes to.
    pub destination: SocketAddr,
    /// The sequence number that the receiver expects next from `source`
    /// ([`expected_seq`](crate::stream::TcpSession::expected_seq) of that direction).
    pub seq: u32,
    /// What the receiver has sent so far, to acknowledge; needed to reset a connection that is still opening.
    pub ack: Option<u32>,
}

/// Why a packet is refused, for [`unreachable_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Communication administratively prohibited.
    Prohibited,
    /// Nobody listens on the port: clients give up at once (`ECONNREFUSED`).
    Port,
}

/// Builds the frame of a TCP reset; `None` when the addresses are of two families.
pub fn reset_to(reset: &Reset) -> Option<Vec<u8>> {
    let addresses = (reset.source.ip(), reset.destination.ip());
    let mut segment = [0u8; 20];
    segment[0..2].copy_from_slice(&reset.source.port().to_be_bytes());
    segment[2..4].copy_from_slice(&reset.destination.port().to_be_bytes());
    segment[4..8].copy_from_slice(&reset.seq.to_be_bytes());
    segment[8..12].copy_from_slice(&reset.ack.unwrap_or(0).to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = flags::RST | reset.ack.map_or(0, |_| flags::ACK);
    let checksum = Sum::default()
        .add_pseudo_header(addresses, proto::TCP, segment.len())
        .add(&segment)
        .finish();
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    ip_frame(&reset.frame, addresses, proto::TCP, &[&segment])
}

/// Builds the ICMP or ICMPv6 "destination unreachable" that answers `offending`, quoting it.
///
/// `frame` is the answer's own link header. `None` where no error may be sent: about ICMP errors, fragments
/// after the first, broadcast, multicast, packets that are not IP. Source: RFC 1122, 3.2.2; RFC 4443, 2.4.
pub fn unreachable_to(frame: &Frame, offending: &Packet<'_>, why: Unreachable) -> Option<Vec<u8>> {
    let (source, destination) = offending.addresses()?;
    let quotable = match offending.transport {
        Transport::Icmpv4(icmp) => !icmp.is_v4_error(),
        // Informational ICMPv6 messages have the high bit; errors, unknown ones included, don't.
        Transport::Icmpv6(icmp) => icmp.kind() >= 128,
        Transport::Fragment(fragment) => fragment.offset_bytes == 0,
        _ => true,
    };
    let broadcast = destination == IpAddr::from([255, 255, 255, 255]);
    if !quotable
        || broadcast
        || destination.is_multicast()
        || source.is_multicast()
        || source.is_unspecified()
    {
        return None;
    }
    let addresses = (destination, source);
    let whole = offending.ip_bytes();
    match offending.network {
        Network::V4(_) => {
            let quote = &whole[..whole.len().min(ICMPV4_ERROR_BYTES - 28)];
            let code = match why {
                Unreachable::Prohibited => 13,
                Unreachable::Port => 3,
            };
            let mut header = [3, code, 0, 0, 0, 0, 0, 0];
            let checksum = Sum::default().add(&header).add(quote).finish();
            header[2..4].copy_from_slice(&checksum.to_be_bytes());
            ip_frame(frame, addresses, proto::ICMP, &[&header, quote])
        }
        Network::V6(_) => {
            let quote = &whole[..whole.len().min(ICMPV6_ERROR_BYTES - 48)];
            let code = match why {
                Unreachable::Prohibited => 1,
                Unreachable::Port => 4,
            };
            let mut header = [1, code, 0, 0, 0, 0, 0, 0];
            let checksum = Sum::default()
                .add_pseudo_header(addresses, proto::ICMPV6, header.len() + quote.len())
                .add(&header)
                .add(quote)
                .finish();
            header[2..4].copy_from_slice(&checksum.to_be_bytes());
            ip_frame(frame, addresses, proto::ICMPV6, &[&header, quote])
        }
        Network::Other => None,
    }
}

/// Puts link and IP headers before `parts`; `None` when the addresses are of two families.
fn ip_frame(
    frame: &Frame,
    addresses: (IpAddr, IpAddr),
    protocol: u8,
    parts: &[&[u8]],
) -> Option<Vec<u8>> {
    let payload_bytes = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(14 + 4 * frame.vlans.tags().len() + 40 + payload_bytes);
    match addresses {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            link_header(&mut bytes, frame, ethertype::IPV4);
            let mut header = [0u8; 20];
            header[0] = 0x45;
            header[2..4].copy_from_slice(&u16::try_from(20 + payload_bytes).ok()?.to_be_bytes());
            header[6] = 0x40; // don't fragment, so that an id of 0 is right (RFC 6864)
            header[8] = HOP_LIMIT;
            header[9] = protocol;
            header[12..16].copy_from_slice(&source.octets());
            header[16..20].copy_from_slice(&destination.octets());
            let checksum = Sum::default().add(&header).finish();
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            bytes.extend_from_slice(&header);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            link_header(&mut bytes, frame, ethertype::IPV6);
            let mut header = [0u8; 40];
            header[0] = 0x60;
            header[4..6].copy_from_slice(&u16::try_from(payload_bytes).ok()?.to_be_bytes());
            header[6] = protocol;
            header[7] = HOP_LIMIT;
            header[8..24].copy_from_slice(&source.octets());
            header[24..40].copy_from_slice(&destination.octets());
            bytes.extend_from_slice(&header);
        }
        _ => return None,
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    Some(bytes)
}

fn link_header(bytes: &mut Vec<u8>, frame: &Frame, ether_type: u16) {
    let Some(ethernet) = frame.ethernet else {
        return;
    };
    bytes.extend_from_slice(&ethernet.destination);
    bytes.extend_from_slice(&ethernet.source);
    for tag in frame.vlans.tags() {
        bytes.extend_from_slice(&tag.tpid.to_be_bytes());
        bytes.extend_from_slice(&tag.tci.to_be_bytes());
    }
    bytes.extend_from_slice(&ether_type.to_be_bytes());
}
