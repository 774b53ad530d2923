//! The IPv4 header.

use std::net::Ipv4Addr;

use super::{Fragment, Malformed};

/// Header length without options.
pub const IPV4_HEADER_BYTES: usize = 20;

/// A view of one IPv4 packet, cut to its total length; borrows the packet.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    header: &'a [u8; IPV4_HEADER_BYTES],
    whole: &'a [u8],
    header_bytes: usize,
}

impl<'a> Ipv4<'a> {
    /// Reads an IPv4 packet at the start of `data`; what lies past its total length (padding) is cut.
    ///
    /// Errors: `Ipv4TooShort`, `Ipv4WrongVersion`, `Ipv4HeaderLength`, `Ipv4TotalLength`, `Ipv4Truncated`.
    /// Source: RFC 791, 3.1.
    pub fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let header = data
            .first_chunk::<IPV4_HEADER_BYTES>()
            .ok_or(Malformed::Ipv4TooShort)?;
        if header[0] >> 4 != 4 {
            return Err(Malformed::Ipv4WrongVersion);
        }
        let header_bytes = usize::from(header[0] & 0x0f) * 4;
        if header_bytes < IPV4_HEADER_BYTES {
            return Err(Malformed::Ipv4HeaderLength);
        }
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if total < header_bytes {
            return Err(Malformed::Ipv4TotalLength);
        }
        let whole = data.get(..total).ok_or(Malformed::Ipv4Truncated)?;
        Ok(Self {
            header,
            whole,
            header_bytes,
        })
    }

    /// Source address.
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::new(
            self.header[12],
            self.header[13],
            self.header[14],
            self.header[15],
        )
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::new(
            self.header[16],
            self.header[17],
            self.header[18],
            self.header[19],
        )
    }

    /// The protocol number of the payload.
    pub fn protocol(&self) -> u8 {
        self.header[9]
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// Type of service (DSCP and ECN).
    pub fn tos(&self) -> u8 {
        self.header[1]
    }

    /// Identification.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    /// The header checksum field.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[10], self.header[11]])
    }

    /// The three flag bits, in the low bits: 4 reserved, 2 don't fragment, 1 more fragments.
    pub fn flags(&self) -> u8 {
        self.header[6] >> 5
    }

    /// Don't fragment.
    pub fn dont_fragment(&self) -> bool {
        self.flags() & 2 != 0
    }

    /// More fragments follow.
    pub fn more_fragments(&self) -> bool {
        self.flags() & 1 != 0
    }

    /// Where this fragment's payload belongs, in bytes.
    pub fn fragment_offset(&self) -> usize {
        usize::from(u16::from_be_bytes([self.header[6] & 0x1f, self.header[7]])) * 8
    }

    /// This packet as a fragment; `None` when it is whole.
    pub fn fragment(&self) -> Option<Fragment> {
        let offset = self.fragment_offset();
        (offset != 0 || self.more_fragments()).then(|| Fragment {
            id: u32::from(self.id()),
            offset_bytes: offset as u16 & 0xfff8,
            more: self.more_fragments(),
            protocol: self.protocol(),
        })
    }

    /// The header with its options.
    pub fn header(&self) -> &'a [u8] {
        &self.whole[..self.header_bytes]
    }

    /// The option bytes.
    pub fn options(&self) -> &'a [u8] {
        &self.whole[IPV4_HEADER_BYTES..self.header_bytes]
    }

    /// What follows the header.
    pub fn payload(&self) -> &'a [u8] {
        &self.whole[self.header_bytes..]
    }

    /// The whole packet, header and payload, without padding.
    pub fn bytes(&self) -> &'a [u8] {
        self.whole
    }
}
