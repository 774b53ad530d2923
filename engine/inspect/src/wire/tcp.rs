//! The TCP header.

use super::Malformed;

/// Header length without options.
pub const TCP_HEADER_BYTES: usize = 20;

/// TCP flag bits, as they stand in the header's 14th byte.
pub mod flags {
    /// Sender is done.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Aborts a connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// A view of one TCP header; borrows the packet.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    header: &'a [u8; TCP_HEADER_BYTES],
    options: &'a [u8],
}

/// The options that the engine reads; an option that is absent is `None`/`false`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Maximum segment size (kind 2).
    pub mss: Option<u16>,
    /// Window scale shift (kind 3), clamped to 14 as RFC 7323 (2.3) asks.
    pub window_scale: Option<u8>,
    /// SACK permitted (kind 4).
    pub sack_permitted: bool,
    /// Timestamp value and echo reply (kind 8).
    pub timestamps: Option<(u32, u32)>,
    /// An option with an impossible length was met; what follows it was not read.
    pub malformed: bool,
}

impl<'a> Tcp<'a> {
    /// Splits a TCP segment into its header and payload; both borrow `segment`.
    ///
    /// Errors: `TcpTooShort`, `TcpHeaderLength`, `TcpOptionsTruncated`. Source: RFC 9293, 3.1.
    pub fn split(segment: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (header, rest) = segment
            .split_first_chunk::<TCP_HEADER_BYTES>()
            .ok_or(Malformed::TcpTooShort)?;
        let header_bytes = usize::from(header[12] >> 4) * 4;
        let option_bytes = header_bytes
            .checked_sub(TCP_HEADER_BYTES)
            .ok_or(Malformed::TcpHeaderLength)?;
        let (options, payload) = rest
            .split_at_checked(option_bytes)
            .ok_or(Malformed::TcpOptionsTruncated)?;
        Ok((Self { header, options }, payload))
    }

    /// Source port.
    pub fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// Destination port.
    pub fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Sequence number of the first payload byte (of the SYN, when there is one).
    pub fn seq(&self) -> u32 {
        u32::from_be_bytes([
            self.header[4],
            self.header[5],
            self.header[6],
            self.header[7],
        ])
    }

    /// Acknowledgment number; meaningful only with [`flags::ACK`].
    pub fn ack(&self) -> u32 {
        u32::from_be_bytes([
            self.header[8],
            self.header[9],
            self.header[10],
            self.header[11],
        ])
    }

    /// Header length with options, in bytes.
    pub fn header_bytes(&self) -> usize {
        TCP_HEADER_BYTES + self.options.len()
    }

    /// The flag byte; see [`flags`].
    pub fn flags(&self) -> u8 {
        self.header[13]
    }

    /// Whether all bits of `mask` are set.
    pub fn has(&self, mask: u8) -> bool {
        self.flags() & mask == mask
    }

    /// The advertised window, unscaled.
    pub fn window(&self) -> u16 {
        u16::from_be_bytes([self.header[14], self.header[15]])
    }

    /// The checksum field.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[16], self.header[17]])
    }

    /// The urgent pointer; meaningful only with [`flags::URG`].
    pub fn urgent_pointer(&self) -> u16 {
        u16::from_be_bytes([self.header[18], self.header[19]])
    }

    /// The option bytes.
    pub fn option_bytes(&self) -> &'a [u8] {
        self.options
    }

    /// Reads the options. Source: RFC 9293, 3.2; RFC 7323.
    pub fn options(&self) -> TcpOptions {
        let mut found = TcpOptions::default();
        let mut rest = self.options;
        while let [kind, after @ ..] = rest {
            match kind {
                0 => break,
                1 => {
                    rest = after;
                    continue;
                }
                _ => {}
            }
            let Some((option, next)) = after
                .first()
                .filter(|length| **length >= 2)
                .and_then(|length| rest.split_at_checked(usize::from(*length)))
            else {
                found.malformed = true;
                break;
            };
            match (kind, &option[2..]) {
                (2, [a, b]) => found.mss = Some(u16::from_be_bytes([*a, *b])),
                (3, [shift]) => found.window_scale = Some((*shift).min(14)),
                (4, []) => found.sack_permitted = true,
                (8, [a, b, c, d, e, f, g, h]) => {
                    found.timestamps = Some((
                        u32::from_be_bytes([*a, *b, *c, *d]),
                        u32::from_be_bytes([*e, *f, *g, *h]),
                    ))
                }
                (2..=4 | 8, _) => found.malformed = true,
                _ => {}
            }
            rest = next;
        }
        found
    }
}
