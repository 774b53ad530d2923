//! Packets for tests.

use std::net::{IpAddr, SocketAddr};

use super::checksum::Sum;
use super::proto;

/// A TCP packet to be built.
#[derive(Clone, Debug)]
pub(crate) struct TcpSpec<'a> {
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub options: &'a [u8],
    pub payload: &'a [u8],
}

impl Default for TcpSpec<'_> {
    fn default() -> Self {
        Self {
            flags: super::flags::ACK,
            seq: 0,
            ack: 0,
            window: 65535,
            options: &[],
            payload: &[],
        }
    }
}

/// A TCP packet from its IP header on, with right checksums. `options` is padded to four bytes.
pub(crate) fn tcp(source: SocketAddr, destination: SocketAddr, spec: &TcpSpec<'_>) -> Vec<u8> {
    let mut segment = tcp_segment(source.port(), destination.port(), spec);
    let sum = Sum::default().add_pseudo_header(
        (source.ip(), destination.ip()),
        proto::TCP,
        segment.len(),
    );
    let checksum = sum.add(&segment).finish();
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    ip(source.ip(), destination.ip(), proto::TCP, &segment)
}

/// A TCP segment without checksum.
pub(crate) fn tcp_segment(source_port: u16, destination_port: u16, spec: &TcpSpec<'_>) -> Vec<u8> {
    let mut options = spec.options.to_vec();
    options.resize(options.len().next_multiple_of(4), 0);
    let mut segment = Vec::new();
    segment.extend_from_slice(&source_port.to_be_bytes());
    segment.extend_from_slice(&destination_port.to_be_bytes());
    segment.extend_from_slice(&spec.seq.to_be_bytes());
    segment.extend_from_slice(&spec.ack.to_be_bytes());
    segment.push(((20 + options.len()) as u8 / 4) << 4);
    segment.push(spec.flags);
    segment.extend_from_slice(&spec.window.to_be_bytes());
    segment.extend_from_slice(&[0; 4]);
    segment.extend_from_slice(&options);
    segment.extend_from_slice(spec.payload);
    segment
}

/// A UDP packet from its IP header on, with right checksums.
pub(crate) fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend_from_slice(&source.port().to_be_bytes());
    datagram.extend_from_slice(&destination.port().to_be_bytes());
    datagram.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
    datagram.extend_from_slice(&[0; 2]);
    datagram.extend_from_slice(payload);
    let sum = Sum::default().add_pseudo_header(
        (source.ip(), destination.ip()),
        proto::UDP,
        datagram.len(),
    );
    let checksum = sum.add(&datagram).finish();
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    ip(source.ip(), destination.ip(), proto::UDP, &datagram)
}

/// An IP packet around `payload`, whole.
pub(crate) fn ip(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            ip4_fragment(source, destination, protocol, 0, 0, false, payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            packet.extend_from_slice(&[protocol, 64]);
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
            packet.extend_from_slice(payload);
            packet
        }
        _ => panic!("two address families"),
    }
}

/// An IPv4 packet, possibly a piece; `offset` in bytes.
pub(crate) fn ip4_fragment(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u16,
    offset: usize,
    more: bool,
    payload: &[u8],
) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
        panic!("not IPv4")
    };
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&((offset as u16 / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
    packet.extend_from_slice(&[64, protocol, 0, 0]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    let checksum = Sum::default().add(&packet).finish();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// An IPv6 fragment; `offset` in bytes.
pub(crate) fn ip6_fragment(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
    offset: usize,
    more: bool,
    payload: &[u8],
) -> Vec<u8> {
    let mut body = vec![protocol, 0];
    body.extend_from_slice(&(offset as u16 | u16::from(more)).to_be_bytes());
    body.extend_from_slice(&id.to_be_bytes());
    body.extend_from_slice(payload);
    ip(source, destination, proto::FRAGMENT, &body)
}

/// Puts an Ethernet header before an IP packet.
pub(crate) fn ethernet(packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend_from_slice(if packet[0] >> 4 == 4 {
        &[0x08, 0x00]
    } else {
        &[0x86, 0xdd]
    });
    frame.extend_from_slice(packet);
    frame
}
