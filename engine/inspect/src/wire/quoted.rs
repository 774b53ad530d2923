//! The packet that an ICMP error quotes: its first bytes only, so no length can be believed.

use std::net::IpAddr;

use super::ip4::IPV4_HEADER_BYTES;
use super::ip6::IPV6_HEADER_BYTES;
use super::proto;

/// Who the quoted packet was between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The IP protocol number.
    pub protocol: u8,
    /// Its sender.
    pub source: IpAddr,
    /// Its receiver.
    pub destination: IpAddr,
    /// Its source port; the identifier for ICMP echo; 0 for other protocols.
    pub source_port: u16,
    /// Its destination port; likewise.
    pub destination_port: u16,
}

/// Reads the quoted packet at the start of an ICMP error's payload; `None` when it is cut before its ports, is
/// a later fragment, or has IPv6 extension headers. Source: RFC 792; RFC 4443, 3.
pub fn decode_quoted(data: &[u8]) -> Option<Quoted> {
    let (protocol, source, destination, rest): (u8, IpAddr, IpAddr, &[u8]) =
        match data.first()? >> 4 {
            4 => {
                let header = data.first_chunk::<IPV4_HEADER_BYTES>()?;
                let header_bytes = usize::from(header[0] & 0x0f) * 4;
                let first =
                    header_bytes >= IPV4_HEADER_BYTES && header[6] & 0x1f == 0 && header[7] == 0;
                let [a, b, c, d, e, f, g, h] = *header.last_chunk::<8>()?;
                let rest = data.get(header_bytes..).filter(|_| first)?;
                (header[9], [a, b, c, d].into(), [e, f, g, h].into(), rest)
            }
            6 => {
                let (header, rest) = data.split_first_chunk::<IPV6_HEADER_BYTES>()?;
                let (source, destination) = (
                    header[8..24].first_chunk::<16>()?,
                    header[24..].first_chunk::<16>()?,
                );
                (header[6], (*source).into(), (*destination).into(), rest)
            }
            _ => return None,
        };
    let [a, b, c, d, e, f, ..] = *rest.first_chunk::<8>()?;
    let (source_port, destination_port) = match (protocol, a) {
        (proto::TCP | proto::UDP, _) => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
        (proto::ICMP, 0 | 8) | (proto::ICMPV6, 128 | 129) => {
            (u16::from_be_bytes([e, f]), u16::from_be_bytes([e, f]))
        }
        _ => (0, 0),
    };
    Some(Quoted {
        protocol,
        source,
        destination,
        source_port,
        destination_port,
    })
}
