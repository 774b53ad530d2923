//! The ICMP and ICMPv6 header, which share their shape.

/// Header length: type, code, checksum and four bytes that depend on the type.
pub const ICMP_HEADER_BYTES: usize = 8;

/// A view of one ICMP or ICMPv6 header; borrows the packet.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    header: &'a [u8; ICMP_HEADER_BYTES],
}

impl<'a> Icmp<'a> {
    /// Splits a message into its header and what follows; `None` under 8 bytes.
    pub fn split(message: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, payload) = message.split_first_chunk::<ICMP_HEADER_BYTES>()?;
        Some((Self { header }, payload))
    }

    /// The type.
    pub fn kind(&self) -> u8 {
        self.header[0]
    }

    /// The code.
    pub fn code(&self) -> u8 {
        self.header[1]
    }

    /// The checksum field.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Identifier, of messages that have one (echo and its kin).
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    /// Sequence number, of messages that have one.
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]])
    }

    /// Whether the type is an ICMPv4 error, which quotes the packet it answers. Source: RFC 1122, 3.2.2.
    pub fn is_v4_error(&self) -> bool {
        matches!(self.kind(), 3 | 4 | 5 | 11 | 12)
    }

    /// Whether the type is an ICMPv6 error, which quotes the packet it answers. Source: RFC 4443, 2.1.
    pub fn is_v6_error(&self) -> bool {
        matches!(self.kind(), 1..=4)
    }

    /// Whether the message has an identifier that ties request and reply together.
    pub fn has_id(&self, v6: bool) -> bool {
        if v6 {
            matches!(self.kind(), 128 | 129)
        } else {
            matches!(self.kind(), 0 | 8 | 13 | 14 | 15 | 16 | 17 | 18)
        }
    }
}
