//! The TCP header.

use super::{Malformed, PacketEvent, PacketEvents};

/// Header length without options.
pub const TCP_HEADER_BYTES: usize = 20;

/// Tells fast open among the experimental options (RFC 7413, Appendix A).
const FAST_OPEN_MAGIC: [u8; 2] = [0xf9, 0x89];

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
    /// TCP fast open (kind 34 or its experimental forerunner, RFC 7413): the cookie's length, 0 when one is
    /// asked for.
    pub fast_open: Option<u8>,
    /// The segment is signed (kinds 19 and 29; RFC 2385, RFC 5925): who does not share the key ignores it.
    pub signed: bool,
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
        if let Some(timestamps) = self.lone_timestamps() {
            found.timestamps = Some(timestamps);
            return found;
        }
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
                (34, cookie) if fast_open_fits(cookie.len() + 2) => {
                    found.fast_open = Some(cookie.len() as u8)
                }
                (253 | 254, [a, b, cookie @ ..])
                    if [*a, *b] == FAST_OPEN_MAGIC && fast_open_fits(cookie.len() + 2) =>
                {
                    found.fast_open = Some(cookie.len() as u8)
                }
                (19, [..]) | (29, [_, _, ..]) => found.signed = true,
                (2..=4 | 8, _) => found.malformed = true,
                _ => {}
            }
            rest = next;
        }
        found
    }

    /// The timestamps, if they are the only option and laid out as most hosts do (RFC 7323, Appendix A).
    fn lone_timestamps(&self) -> Option<(u32, u32)> {
        match *self.options {
            [1, 1, 8, 10, a, b, c, d, e, f, g, h] => Some((
                u32::from_be_bytes([a, b, c, d]),
                u32::from_be_bytes([e, f, g, h]),
            )),
            _ => None,
        }
    }

    /// Adds what is odd about the options to `events`. Source: RFC 9293, 3.2; RFC 2018; RFC 7413; RFC 2385.
    pub(super) fn check_options(&self, events: &mut PacketEvents) {
        if self.lone_timestamps().is_some() {
            return;
        }
        let mut met = [0u64; 4];
        let mut rest = self.options;
        while let [kind, after @ ..] = rest {
            rest = match *kind {
                0 => return,
                1 => after,
                kind => {
                    let Some(length) = after.first() else { return };
                    let option = rest.get(..usize::from(*length)).filter(|it| it.len() >= 2);
                    let Some(option) = option else {
                        return events.insert(PacketEvent::TcpOptInvalidLen);
                    };
                    let (word, bit) = (usize::from(kind / 64), 1 << (kind % 64));
                    match option_fits(kind, option) {
                        None => {}
                        Some(false) => events.insert(PacketEvent::TcpOptInvalidLen),
                        Some(true) if met[word] & bit != 0 => {
                            events.insert(PacketEvent::TcpOptDuplicate)
                        }
                        Some(true) => met[word] |= bit,
                    }
                    &rest[option.len()..]
                }
            };
        }
    }
}

/// Whether an option has a length that its kind allows; `None` where the kind says nothing. An empty SACK is
/// useless, but common.
fn option_fits(kind: u8, option: &[u8]) -> Option<bool> {
    let length = option.len();
    Some(match kind {
        2 => length == 4,
        3 => length == 3,
        4 => length == 2,
        5 => length == 2 || (10..=34).contains(&length) && (length - 2).is_multiple_of(8),
        8 => length == 10,
        19 => length == 18,
        29 => length >= 4,
        34 => fast_open_fits(length),
        253 | 254 if length >= 4 && option[2..4] == FAST_OPEN_MAGIC => fast_open_fits(length - 2),
        _ => return None,
    })
}

/// A fast open cookie: none, or up to 16 bytes, an even number (RFC 7413, 2, where 4 are the least).
fn fast_open_fits(length: usize) -> bool {
    (2..=18).contains(&length) && length.is_multiple_of(2)
}
