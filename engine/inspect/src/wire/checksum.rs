//! The Internet checksum (RFC 1071), verified only when asked: offloaded packets carry partial ones.

use std::net::IpAddr;

use super::{proto, Ipv4, Network, Packet, Transport};

/// The ones' complement sum of 16-bit words, not yet folded. A last odd byte counts as a high byte, so only
/// the last part of a sum may have odd length.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum(u64);

impl Sum {
    pub fn add(mut self, bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(2);
        for word in &mut words {
            self.0 += u64::from(u16::from_be_bytes([word[0], word[1]]));
        }
        if let [last] = words.remainder() {
            self.0 += u64::from(*last) << 8;
        }
        self
    }

    /// Adds the pseudo-header of a transport segment (RFC 9293, 3.1; RFC 8200, 8.1).
    pub fn add_pseudo_header(
        self,
        addresses: (IpAddr, IpAddr),
        protocol: u8,
        segment_bytes: usize,
    ) -> Self {
        let sum = match addresses {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.add(&source.octets()).add(&destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.add(&source.octets()).add(&destination.octets())
            }
            _ => self,
        };
        Self(sum.0 + u64::from(protocol) + segment_bytes as u64)
    }

    /// The checksum to put into a header whose field was summed as zero.
    pub fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

/// Whether the IPv4 header checksum is right.
pub fn ipv4_header_checksum_ok(ip: &Ipv4<'_>) -> bool {
    Sum::default().add(ip.header()).finish() == 0
}

/// Whether the TCP, UDP or ICMP checksum is right; `None` where there is none to check (other protocols,
/// fragments, a UDP checksum of 0 on IPv4).
///
/// Meaningless for packets whose checksum the sender left to hardware: ask the packet source first. A type 2
/// routing header's final destination is not looked up.
pub fn transport_checksum_ok(packet: &Packet<'_>) -> Option<bool> {
    let addresses = packet.addresses()?;
    let v4 = matches!(packet.network, Network::V4(_));
    // A UDP datagram may be shorter than the IP payload; the rest is not summed.
    let segment = packet.segment();
    let sum = Sum::default();
    let sum = match packet.transport {
        Transport::Tcp(_) => sum
            .add_pseudo_header(addresses, proto::TCP, segment.len())
            .add(segment),
        Transport::Udp(udp) if v4 && udp.checksum() == 0 => return None,
        Transport::Udp(udp) => {
            let length = match udp.length() {
                0 => segment.len(),
                length => segment.len().min(length.into()),
            };
            let datagram = &segment[..length];
            sum.add_pseudo_header(addresses, proto::UDP, datagram.len())
                .add(datagram)
        }
        Transport::Icmpv4(_) => sum.add(segment),
        Transport::Icmpv6(_) => sum
            .add_pseudo_header(addresses, proto::ICMPV6, segment.len())
            .add(segment),
        Transport::Sctp(..) | Transport::Fragment(_) | Transport::Other(_) | Transport::None => {
            return None
        }
    };
    Some(sum.finish() == 0)
}
