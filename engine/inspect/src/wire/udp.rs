//! The UDP header.

use super::Malformed;

/// Header length.
pub const UDP_HEADER_BYTES: usize = 8;

/// A view of one UDP header; borrows the packet.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    header: &'a [u8; UDP_HEADER_BYTES],
}

impl<'a> Udp<'a> {
    /// Splits a UDP datagram into its header and payload; bytes past the UDP length are cut.
    ///
    /// Errors: `UdpTooShort`, `UdpTruncated`, `UdpLength`. On IPv6 a length of 0 stands for all the data, as in
    /// jumbograms: Linux reads it so in any datagram. Source: RFC 768; RFC 2675, 4.
    pub fn split(datagram: &'a [u8], v4: bool) -> Result<(Self, &'a [u8]), Malformed> {
        let (header, rest) = datagram
            .split_first_chunk::<UDP_HEADER_BYTES>()
            .ok_or(Malformed::UdpTooShort)?;
        let view = Self { header };
        if view.length() == 0 && !v4 {
            return Ok((view, rest));
        }
        let payload_bytes = usize::from(view.length())
            .checked_sub(UDP_HEADER_BYTES)
            .ok_or(Malformed::UdpLength)?;
        let payload = rest.get(..payload_bytes).ok_or(Malformed::UdpTruncated)?;
        Ok((view, payload))
    }

    /// Source port.
    pub fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// Destination port.
    pub fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// The length field: header and payload.
    pub fn length(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    /// The checksum field; 0 means "not computed" on IPv4.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]])
    }
}
