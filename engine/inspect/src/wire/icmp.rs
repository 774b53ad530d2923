//! The ICMP and ICMPv6 header, which share their shape.

use super::{PacketEvent, PacketEvents};

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

    /// What of an ICMPv4 message lies behind the fields of its type: three times in a timestamp, addresses in a
    /// router's advertisement. All that follows the header where they are not whole. Source: RFC 792, RFC 1256.
    pub(super) fn behind_v4_fields(&self, rest: &'a [u8]) -> &'a [u8] {
        let bytes = match self.kind() {
            9 => usize::from(self.header[4]) * usize::from(self.header[5]) * 4,
            13 | 14 => 12,
            _ => 0,
        };
        rest.get(bytes..).unwrap_or(rest)
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

    /// The type of the message that answers this one, or that it answers.
    pub fn counterpart(&self, v6: bool) -> Option<u8> {
        const V4: [(u8, u8); 5] = [(8, 0), (13, 14), (15, 16), (17, 18), (10, 9)];
        const V6: [(u8, u8); 9] = [
            (128, 129),
            (133, 134),
            (135, 136),
            (139, 140),
            (141, 142),
            (144, 145),
            (146, 147),
            (148, 149),
            (130, 131),
        ];
        let pairs: &[(u8, u8)] = if v6 { &V6 } else { &V4 };
        pairs.iter().find_map(|(ask, answer)| match self.kind() {
            kind if kind == *ask => Some(*answer),
            kind if kind == *answer => Some(*ask),
            _ => None,
        })
    }

    /// Adds what is odd about an ICMPv4 message to `events`; `quoted` is what follows its header. Codes of a
    /// parameter problem past 0 count as unknown, as in Suricata. Source: IANA's ICMP parameters.
    pub(super) fn check_v4(&self, quoted: &[u8], events: &mut PacketEvents) {
        let codes = match self.kind() {
            3 => 15,
            5 => 3,
            11 => 1,
            9 if self.code() == 16 => 16,
            0 | 4 | 8 | 9 | 10 | 12..=18 => 0,
            _ => return events.insert(PacketEvent::Icmpv4UnknownType),
        };
        if self.code() > codes {
            return events.insert(PacketEvent::Icmpv4UnknownCode);
        }
        // Only a source quench is expected to quote something in any case.
        if !self.is_v4_error() || quoted.is_empty() && self.kind() != 4 {
            return;
        }
        if quoted.len() < super::ip4::IPV4_HEADER_BYTES {
            events.insert(PacketEvent::Icmpv4Ipv4TruncPkt);
        } else if quoted[0] >> 4 != 4 {
            events.insert(PacketEvent::Icmpv4Ipv4UnknownVer);
        }
    }

    /// Adds what is odd about an ICMPv6 message to `events`. Source: IANA's ICMPv6 parameters.
    pub(super) fn check_v6(&self, quoted: &[u8], hop_limit: u8, events: &mut PacketEvents) {
        let codes = match self.kind() {
            1 => 6,
            2 => 0,
            3 => 1,
            4 => 2,
            138 if self.code() == 255 => 255,
            138..=140 => 2,
            128..=159 => 0,
            100 | 101 | 200 | 201 => {
                return events.insert(PacketEvent::Icmpv6ExperimentationType);
            }
            5..=99 | 102..=126 | 160..=199 | 202..=255 => {
                return events.insert(PacketEvent::Icmpv6UnassignedType);
            }
            _ => return events.insert(PacketEvent::Icmpv6UnknownType),
        };
        if self.code() > codes {
            events.insert(PacketEvent::Icmpv6UnknownCode);
        }
        if matches!(self.kind(), 130..=132) && hop_limit != 1 {
            events.insert(PacketEvent::Icmpv6MldMessageWithInvalidHl);
        }
        if !self.is_v6_error() || self.code() > codes {
            return;
        }
        if quoted.len() < super::ip6::IPV6_HEADER_BYTES {
            events.insert(PacketEvent::Icmpv6Ipv6TruncPkt);
        } else if quoted[0] >> 4 != 6 {
            events.insert(PacketEvent::Icmpv6Ipv6UnknownVersion);
        }
    }
}
