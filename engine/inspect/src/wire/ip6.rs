//! The IPv6 header and its extension headers.

use std::net::Ipv6Addr;

use super::packet::Layer;
use super::{proto, Fragment, Malformed, PacketEvent, PacketEvents};

/// Fixed header length.
pub const IPV6_HEADER_BYTES: usize = 40;
/// Extension headers read before the packet is called malformed; real packets carry at most four or five.
pub const MAX_EXTENSION_HEADERS: usize = 16;

/// A view of one IPv6 packet, cut to its payload length; borrows the packet.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    header: &'a [u8; IPV6_HEADER_BYTES],
    whole: &'a [u8],
    upper_protocol: u8,
    upper_at: usize,
    fragment: Option<FragmentHeader>,
}

/// Where a fragment header stands, which reassembly needs to take it out.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentHeader {
    pub fragment: Fragment,
    /// Offset of the header from the start of the packet: the length of the unfragmentable part.
    pub at: usize,
    /// Offset of the next-header byte that names it.
    pub named_at: usize,
}

impl<'a> Ipv6<'a> {
    /// Reads an IPv6 packet at the start of `data` and walks its extension headers; padding is cut. What is odd
    /// about them is added to `events`. Beside the packet: why walking stopped before the upper layer, if it did.
    ///
    /// Errors: `Ipv6TooShort`, `Ipv6WrongVersion`, `Ipv6Truncated`, `Ipv6Jumbogram`; of the walk
    /// `Ipv6ExtensionTruncated`, `Ipv6TooManyExtensions`. Source: RFC 8200, 3 and 4.
    pub fn parse(data: &'a [u8], events: &mut PacketEvents) -> Result<(Self, Layer), Malformed> {
        let header = data
            .first_chunk::<IPV6_HEADER_BYTES>()
            .ok_or(Malformed::Ipv6TooShort)?;
        if header[0] >> 4 != 6 {
            return Err(Malformed::Ipv6WrongVersion);
        }
        let payload_bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if payload_bytes == 0 && header[6] == proto::HOP_BY_HOP {
            return Err(Malformed::Ipv6Jumbogram);
        }
        let whole = data
            .get(..IPV6_HEADER_BYTES + payload_bytes)
            .ok_or(Malformed::Ipv6Truncated)?;
        let mut view = Self {
            header,
            whole,
            upper_protocol: header[6],
            upper_at: IPV6_HEADER_BYTES,
            fragment: None,
        };
        let walked = view.walk_extensions(events);
        Ok((view, walked))
    }

    /// Moves `upper_protocol` and `upper_at` past the extension headers; stops at a fragment, whose rest is
    /// not headers until it is put together.
    fn walk_extensions(&mut self, events: &mut PacketEvents) -> Layer {
        let mut named_at = 6;
        let mut met = Met::default();
        for _ in 0..MAX_EXTENSION_HEADERS {
            let rest = &self.whole[self.upper_at..];
            let headed = self.upper_at > IPV6_HEADER_BYTES || is_extension(self.upper_protocol);
            if rest.len() < 2 && headed && self.upper_protocol != proto::NO_NEXT {
                return Err(Malformed::Ipv6ExtensionTruncated);
            }
            let fixed = match self.upper_protocol {
                proto::AH => 12,
                known if is_extension(known) => 8,
                other => return self.note_upper_layer(other, rest, events),
            };
            let header = rest.get(..fixed).ok_or(Malformed::Ipv6ExtensionTruncated)?;
            let header_bytes = match self.upper_protocol {
                proto::FRAGMENT => 8,
                proto::AH => 8 + 4 * usize::from(header[1]).max(1),
                _ => 8 + 8 * usize::from(header[1]),
            };
            let extension = rest
                .get(..header_bytes)
                .ok_or(Malformed::Ipv6ExtensionTruncated)?;
            met.note(self.upper_protocol, extension, events);
            if self.upper_protocol == proto::FRAGMENT && self.starts_fragment(extension, named_at) {
                return Ok(());
            }
            named_at = self.upper_at;
            self.upper_protocol = extension[0];
            self.upper_at += header_bytes;
        }
        Err(Malformed::Ipv6TooManyExtensions)
    }

    /// Whether the packet is a fragment; an atomic one (RFC 6946) is not.
    fn starts_fragment(&mut self, header: &[u8], named_at: usize) -> bool {
        let field = u16::from_be_bytes([header[2], header[3]]);
        let fragment = Fragment {
            id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            offset_bytes: field & 0xfff8,
            more: field & 1 != 0,
            protocol: header[0],
        };
        if fragment.offset_bytes == 0 && !fragment.more {
            return false;
        }
        self.fragment = Some(FragmentHeader {
            fragment,
            at: self.upper_at,
            named_at,
        });
        self.upper_at += 8;
        true
    }

    /// The end of the walk: what follows is no extension header.
    fn note_upper_layer(&self, protocol: u8, rest: &[u8], events: &mut PacketEvents) -> Layer {
        match protocol {
            proto::NO_NEXT if !rest.is_empty() => {
                events.insert(PacketEvent::Ipv6DataAfterNoneHeader)
            }
            proto::TCP
            | proto::UDP
            | proto::ICMP
            | proto::ICMPV6
            | proto::SCTP
            | proto::GRE
            | proto::ESP
            | proto::NO_NEXT => {}
            proto::IPV4 | proto::IPV6 => note_inner(protocol, rest, events),
            _ => events.insert(PacketEvent::Ipv6UnknownNextHeader),
        }
        Ok(())
    }

    /// Source address.
    pub fn source(&self) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.header[8..24]);
        Ipv6Addr::from(octets)
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.header[24..40]);
        Ipv6Addr::from(octets)
    }

    /// Traffic class (DSCP and ECN).
    pub fn traffic_class(&self) -> u8 {
        (self.header[0] << 4) | (self.header[1] >> 4)
    }

    /// Flow label, 20 bits.
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.header[1] & 0x0f, self.header[2], self.header[3]])
    }

    /// The next-header field of the fixed header.
    pub fn next_header(&self) -> u8 {
        self.header[6]
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        self.header[7]
    }

    /// The protocol after all extension headers; [`proto::FRAGMENT`] when the packet is a fragment.
    pub fn upper_protocol(&self) -> u8 {
        self.upper_protocol
    }

    /// This packet as a fragment; `None` when it is whole (an atomic fragment counts as whole, RFC 6946).
    pub fn fragment(&self) -> Option<Fragment> {
        self.fragment.map(|header| header.fragment)
    }

    pub(super) fn fragment_header(&self) -> Option<FragmentHeader> {
        self.fragment
    }

    /// The extension headers' bytes.
    pub fn extensions(&self) -> &'a [u8] {
        &self.whole[IPV6_HEADER_BYTES..self.upper_at]
    }

    /// What follows the extension headers.
    pub fn payload(&self) -> &'a [u8] {
        &self.whole[self.upper_at..]
    }

    /// The whole packet, headers and payload, without padding.
    pub fn bytes(&self) -> &'a [u8] {
        self.whole
    }
}

/// Whether a next header is one that the walk steps over.
fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        proto::AH
            | proto::FRAGMENT
            | proto::HOP_BY_HOP
            | proto::ROUTING
            | proto::DESTINATION
            | proto::MOBILITY
            | proto::HIP
            | proto::SHIM6
    )
}

/// IP in IPv6 that is too short, or of the other version.
fn note_inner(protocol: u8, inner: &[u8], events: &mut PacketEvents) {
    let v4 = protocol == proto::IPV4;
    let least = if v4 { 20 } else { IPV6_HEADER_BYTES };
    let version = inner.first().map_or(0, |byte| byte >> 4);
    match (inner.len() < least, v4) {
        (true, true) => events.insert(PacketEvent::Ipv6Ipv4InIpv6TooSmall),
        (true, false) => events.insert(PacketEvent::Ipv6Ipv6InIpv6TooSmall),
        (false, true) if version != 4 => events.insert(PacketEvent::Ipv6Ipv4InIpv6WrongVersion),
        (false, false) if version != 6 => events.insert(PacketEvent::Ipv6Ipv6InIpv6WrongVersion),
        _ => {}
    }
}

/// Which extension headers a packet has had.
#[derive(Default)]
struct Met {
    hop_by_hop: bool,
    destination: bool,
    routing: bool,
    fragment: bool,
    authentication: bool,
}

impl Met {
    /// Takes note of one more header, and of what is odd about it.
    fn note(&mut self, protocol: u8, header: &[u8], events: &mut PacketEvents) {
        let (met, twice) = match protocol {
            proto::HOP_BY_HOP => (&mut self.hop_by_hop, PacketEvent::Ipv6ExthdrDuplHh),
            proto::DESTINATION => (&mut self.destination, PacketEvent::Ipv6ExthdrDuplDh),
            proto::ROUTING => (&mut self.routing, PacketEvent::Ipv6ExthdrDuplRh),
            proto::FRAGMENT => (&mut self.fragment, PacketEvent::Ipv6ExthdrDuplFh),
            proto::AH => (&mut self.authentication, PacketEvent::Ipv6ExthdrDuplAh),
            _ => return,
        };
        let repeated = std::mem::replace(met, true);
        if repeated {
            events.insert(twice);
        }
        let reserved = u16::from_be_bytes([header[2], header[3]]);
        match (protocol, repeated) {
            (proto::HOP_BY_HOP, false) => check_options(&header[2..], HOP_BY_HOP_EVENTS, events),
            (proto::DESTINATION, false) => check_options(&header[2..], DESTINATION_EVENTS, events),
            (proto::ROUTING, false) if header[2] == 0 => events.insert(PacketEvent::Ipv6RhType0),
            (proto::AH, _) if reserved != 0 => events.insert(PacketEvent::Ipv6ExthdrAhResNotNull),
            (proto::FRAGMENT, _) => {
                if header[1] != 0 {
                    events.insert(PacketEvent::Ipv6FhNonZeroReservedField);
                }
                if reserved & 0xfff9 == 0 {
                    events.insert(PacketEvent::Ipv6ExthdrUselessFh);
                }
            }
            _ => {}
        }
    }
}

/// Events of hop-by-hop options: one unknown; nothing but padding.
const HOP_BY_HOP_EVENTS: [PacketEvent; 2] = [
    PacketEvent::Ipv6HopoptsUnknownOpt,
    PacketEvent::Ipv6HopoptsOnlyPadding,
];
/// The same of destination options.
const DESTINATION_EVENTS: [PacketEvent; 2] = [
    PacketEvent::Ipv6DstoptsUnknownOpt,
    PacketEvent::Ipv6DstoptsOnlyPadding,
];

/// Adds what is odd about options (RFC 8200, 4.2) to `events`.
fn check_options(
    mut rest: &[u8],
    [unknown, only_padding]: [PacketEvent; 2],
    events: &mut PacketEvents,
) {
    let (mut padding, mut others) = (false, false);
    while let [kind, after @ ..] = rest {
        if *kind == 0 {
            padding = true;
            rest = after;
            continue;
        }
        let Some((length, next)) = after
            .first()
            .and_then(|length| Some((*length, after.get(1 + usize::from(*length)..)?)))
        else {
            events.insert(PacketEvent::Ipv6ExthdrInvalidOptlen);
            break;
        };
        match kind {
            1 => {
                padding = true;
                if length == 0 {
                    events.insert(PacketEvent::Ipv6ZeroLenPadn);
                }
            }
            _ => {
                // Router alert, jumbo payload and home address have a length each.
                let least = match kind {
                    0x05 => 2,
                    0xc2 => 4,
                    0xc9 => 16,
                    _ => {
                        events.insert(unknown);
                        0
                    }
                };
                if length < least {
                    events.insert(PacketEvent::Ipv6ExthdrInvalidOptlen);
                    break;
                }
                others = true;
            }
        }
        rest = next;
    }
    if padding && !others {
        events.insert(only_padding);
    }
}
