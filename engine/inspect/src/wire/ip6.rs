//! The IPv6 header and its extension headers.

use std::net::Ipv6Addr;

use super::{proto, Fragment, Malformed};

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
    routing_type_0: bool,
    has_fragment_header: bool,
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
    /// Reads an IPv6 packet at the start of `data`, walking its extension headers; padding is cut.
    ///
    /// Errors: `Ipv6TooShort`, `Ipv6WrongVersion`, `Ipv6Truncated`, `Ipv6Jumbogram`,
    /// `Ipv6ExtensionTruncated`, `Ipv6TooManyExtensions`, `Ipv6DuplicateFragmentHeader`,
    /// `Ipv6FragmentTooLarge`. Source: RFC 8200, 3 and 4.
    pub fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
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
            routing_type_0: false,
            has_fragment_header: false,
        };
        view.walk_extensions()?;
        Ok(view)
    }

    /// Moves `upper_protocol` and `upper_at` past the extension headers; stops at a fragment, whose rest is
    /// not headers until it is put together.
    fn walk_extensions(&mut self) -> Result<(), Malformed> {
        let mut named_at = 6;
        for _ in 0..MAX_EXTENSION_HEADERS {
            let rest = &self.whole[self.upper_at..];
            let header_bytes = match self.upper_protocol {
                proto::FRAGMENT => {
                    self.read_fragment_header(named_at)?;
                    if self.fragment.is_some() {
                        return Ok(());
                    }
                    8
                }
                proto::HOP_BY_HOP
                | proto::ROUTING
                | proto::DESTINATION
                | proto::MOBILITY
                | proto::HIP
                | proto::SHIM6 => {
                    8 + 8 * usize::from(*rest.get(1).ok_or(Malformed::Ipv6ExtensionTruncated)?)
                }
                proto::AH => {
                    8 + 4 * usize::from(*rest.get(1).ok_or(Malformed::Ipv6ExtensionTruncated)?)
                }
                _ => return Ok(()),
            };
            let extension = rest
                .get(..header_bytes)
                .ok_or(Malformed::Ipv6ExtensionTruncated)?;
            if self.upper_protocol == proto::ROUTING && extension[2] == 0 {
                self.routing_type_0 = true;
            }
            named_at = self.upper_at;
            self.upper_protocol = extension[0];
            self.upper_at += header_bytes;
        }
        Err(Malformed::Ipv6TooManyExtensions)
    }

    fn read_fragment_header(&mut self, named_at: usize) -> Result<(), Malformed> {
        if self.has_fragment_header {
            return Err(Malformed::Ipv6DuplicateFragmentHeader);
        }
        self.has_fragment_header = true;
        let rest = &self.whole[self.upper_at..];
        let header = rest
            .first_chunk::<8>()
            .ok_or(Malformed::Ipv6ExtensionTruncated)?;
        let field = u16::from_be_bytes([header[2], header[3]]);
        let fragment = Fragment {
            id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            offset_bytes: field & 0xfff8,
            more: field & 1 != 0,
            protocol: header[0],
        };
        if usize::from(fragment.offset_bytes) + rest.len() - 8 > usize::from(u16::MAX) {
            return Err(Malformed::Ipv6FragmentTooLarge);
        }
        if fragment.offset_bytes != 0 || fragment.more {
            self.fragment = Some(FragmentHeader {
                fragment,
                at: self.upper_at,
                named_at,
            });
            self.upper_at += 8;
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

    /// Whether a fragment header is present, atomic ones included.
    pub fn has_fragment_header(&self) -> bool {
        self.has_fragment_header
    }

    /// Whether a type 0 routing header is present (RFC 5095 forbids it).
    pub fn has_routing_type_0(&self) -> bool {
        self.routing_type_0
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
