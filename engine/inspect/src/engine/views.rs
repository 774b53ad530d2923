//! Packets and flows as signatures see them.
use std::net::{IpAddr, Ipv4Addr};

use crate::detect::{FlowView, Home, IcmpView, PacketView, TcpView, MAX_SIDES};
use crate::flow::Flow;
use crate::wire::{proto, Network, Packet, PacketEvents, Transport};
use crate::Direction;

use super::conversation::{Conversation, TcpLayer};
use super::judge::Parties;
use super::Arrival;

/// The flow as a packet of `direction` finds it; `pseudo`: there is no packet.
pub(super) fn flow_view(
    flow: &mut Flow<Conversation>,
    arrival: &Arrival,
    direction: Direction,
    pseudo: bool,
) -> FlowView {
    let server = flow.server();
    let told = flow.data.tcp.as_deref_mut();
    let app_news = told.map(|tcp| tcp.asks_protocol(direction, pseudo));
    let tcp = flow.data.tcp.as_deref();
    let established = match tcp {
        Some(tcp) => tcp.is_established(),
        None => flow.packets.iter().all(|count| *count > 0),
    };
    FlowView {
        client: flow.client.address,
        client_port: flow.client.port,
        server: server.address,
        server_port: server.port,
        ip_proto: flow.key.protocol,
        established,
        was_established: match tcp {
            Some(_) => flow.data.was_established,
            None => established,
        },
        app: flow.data.app_proto(),
        app_done: match tcp {
            Some(tcp) => tcp.is_told(direction),
            None => flow.data.udp.is_some(),
        },
        app_foreign: tcp.is_some_and(|tcp| tcp.is_foreign(direction)),
        // A direction's first datagram tells it, and the one after is taken for the news too.
        app_news: app_news.unwrap_or_else(|| {
            let told = flow.data.udp.is_some() && flow.packets[direction as usize] <= 2;
            told && !pseudo
        }),
        followed: tcp.is_some_and(TcpLayer::is_followed),
        stream_bytes: tcp.map_or([0; 2], TcpLayer::stream_bytes),
        age_s: whole_seconds(arrival.wall_ns)
            .saturating_sub(whole_seconds(flow.data.start_wall_ns))
            .try_into()
            .unwrap_or(u32::MAX),
    }
}

fn whole_seconds(ns: u64) -> u64 {
    ns / 1_000_000_000
}

pub(super) fn parties(flow: &Flow<Conversation>, arrival: &Arrival) -> Parties {
    let (client, server) = (flow.client.address, flow.server().address);
    let mut peers = [server; MAX_SIDES];
    for (peer, side) in peers.iter_mut().zip(&flow.data.sides) {
        if side.home == Home::Server {
            *peer = client;
        }
    }
    Parties {
        shields: flow.data.sides.iter().map(|side| side.shield).collect(),
        peers,
        wall_s: arrival.wall_ns / 1_000_000_000,
    }
}

/// A packet as signatures see it; one without an IP header has unspecified addresses.
pub(super) fn packet_view<'a>(
    packet: &'a Packet<'a>,
    direction: Direction,
    defragmented: bool,
) -> PacketView<'a> {
    const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let (src, dst) = packet.addresses().unwrap_or((NOBODY, NOBODY));
    let ports = packet.ports().unwrap_or_default();
    let (ttl, ip_id, fragment_bits) = match packet.network {
        Network::V4(ip) => (ip.ttl(), Some(ip.id()), ip.flags()),
        Network::V6(ip) => (ip.hop_limit(), None, 0),
        Network::Other => (0, None, 0),
    };
    let tcp = packet.tcp().map(|tcp| TcpView {
        flags: tcp.flags(),
        seq: tcp.seq(),
        ack: tcp.ack(),
        window: tcp.window(),
    });
    let icmp = match packet.transport {
        Transport::Icmpv4(icmp) | Transport::Icmpv6(icmp) => {
            let echo = icmp.has_id(matches!(packet.network, Network::V6(_)));
            Some(IcmpView {
                kind: icmp.kind(),
                code: icmp.code(),
                id: echo.then(|| icmp.id()),
                seq: echo.then(|| icmp.sequence()),
            })
        }
        _ => None,
    };
    PacketView {
        direction,
        src,
        dst,
        src_port: ports.0,
        dst_port: ports.1,
        ip_proto: protocol_of(packet),
        ttl,
        ip_id,
        fragment_bits,
        fragment_offset: packet.fragment().map_or(0, |it| it.offset_bytes / 8),
        tcp,
        icmp,
        // What follows a header that is not decoded is nobody's payload, as in Suricata.
        payload: match packet.transport {
            Transport::Other(proto::ESP) => packet.payload,
            Transport::Other(_) | Transport::Fragment(_) => &[],
            _ => packet.payload,
        },
        hidden_bytes: 0,
        events: packet.events,
        undecoded: false,
        in_stream: tcp.is_some(),
        stream_news: false,
        pseudo: false,
        closing: false,
        wire: Some(packet),
        defragmented,
    }
}

/// The protocol that a packet counts as: a piece of a datagram is of the datagram's in IPv4 only.
fn protocol_of(packet: &Packet<'_>) -> u8 {
    match (packet.network, packet.fragment()) {
        (Network::V6(_), Some(_)) => proto::FRAGMENT,
        _ => packet.protocol().unwrap_or(0),
    }
}

/// The moment at which held bytes of `direction` become readable, without a packet of that direction.
pub(super) fn pseudo_view(flow: &Flow<Conversation>, direction: Direction) -> PacketView<'static> {
    let (client, server) = (flow.client, flow.server());
    let (from, to) = match direction {
        Direction::ToServer => (client, server),
        Direction::ToClient => (server, client),
    };
    PacketView {
        direction,
        src: from.address,
        dst: to.address,
        src_port: from.port,
        dst_port: to.port,
        ip_proto: flow.key.protocol,
        ttl: 0,
        ip_id: None,
        fragment_bits: 0,
        fragment_offset: 0,
        tcp: None,
        icmp: None,
        payload: &[],
        hidden_bytes: 0,
        events: PacketEvents::NONE,
        undecoded: false,
        in_stream: true,
        stream_news: false,
        pseudo: true,
        closing: false,
        wire: None,
        defragmented: false,
    }
}
