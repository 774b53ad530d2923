use std::net::SocketAddr;

use proptest::prelude::*;

use super::testing::{ethernet, ip, ip6_fragment, tcp, udp, TcpSpec};
use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A TCP packet with options and payload, from its IP header on.
fn tcp_packet(v6: bool) -> Vec<u8> {
    let (source, destination) = ends(v6);
    let options = [
        2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7,
    ];
    let spec = TcpSpec {
        flags: flags::SYN,
        seq: 0x0102_0304,
        ack: 5,
        window: 600,
        options: &options,
        payload: b"hello",
    };
    tcp(source, destination, &spec)
}

fn ends(v6: bool) -> (SocketAddr, SocketAddr) {
    match v6 {
        true => (at("[fd00::1]:40000"), at("[fd00::2]:80")),
        false => (at("10.0.0.1:40000"), at("10.0.0.2:80")),
    }
}

/// Puts VLAN tags into an Ethernet frame.
fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = frame[..12].to_vec();
    for (tpid, tci) in tags {
        bytes.extend_from_slice(&tpid.to_be_bytes());
        bytes.extend_from_slice(&tci.to_be_bytes());
    }
    bytes.extend_from_slice(&frame[12..]);
    bytes
}

#[test]
fn decodes_ethernet_ip_and_tcp_with_options() {
    for v6 in [false, true] {
        let frame = ethernet(&tcp_packet(v6));
        let packet = decode_ethernet(&frame).checked().unwrap();
        let (source, destination) = ends(v6);
        let macs = packet.ethernet.unwrap();
        assert_eq!((macs.destination[5], macs.source[5]), (2, 1));
        assert!(packet.vlans.tags().is_empty());
        assert_eq!(packet.addresses(), Some((source.ip(), destination.ip())));
        assert_eq!(
            (packet.ports(), packet.protocol()),
            (Some((40000, 80)), Some(proto::TCP))
        );
        let tcp = packet.tcp().unwrap();
        assert_eq!(
            (tcp.seq(), tcp.ack(), tcp.window(), tcp.flags()),
            (0x0102_0304, 5, 600, flags::SYN)
        );
        let options = TcpOptions {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((1, 2)),
            fast_open: None,
            signed: false,
            malformed: false,
        };
        assert_eq!((tcp.options(), tcp.header_bytes()), (options, 40));
        assert_eq!(packet.payload, b"hello");
        assert!(packet.events.is_empty());
        assert_eq!(transport_checksum_ok(&packet), Some(true));
    }
}

#[test]
fn every_prefix_of_a_good_frame_is_malformed_for_a_reason_that_fits() {
    for v6 in [false, true] {
        let frame = ethernet(&tcp_packet(v6));
        for length in 0..frame.len() {
            let reason = decode_ethernet(&frame[..length]).checked().unwrap_err();
            let wanted: &[Malformed] = match (v6, length) {
                (_, ..14) => &[Malformed::EthernetTooShort],
                (false, ..34) => &[Malformed::Ipv4TooShort],
                (false, _) => &[Malformed::Ipv4Truncated],
                (true, ..54) => &[Malformed::Ipv6TooShort],
                (true, _) => &[Malformed::Ipv6Truncated],
            };
            assert!(wanted.contains(&reason), "{length}: {reason}");
        }
    }
}

#[test]
fn padding_past_the_ip_length_is_cut() {
    for v6 in [false, true] {
        let mut frame = ethernet(&tcp_packet(v6));
        frame.extend_from_slice(&[0xaa; 40]);
        let packet = decode_ethernet(&frame).checked().unwrap();
        assert_eq!(packet.payload, b"hello");
        assert_eq!(packet.ip_bytes(), &tcp_packet(v6)[..]);
        assert_eq!(packet.segment().len(), 45);
    }
}

#[test]
fn says_which_tags_a_frame_carries_and_refuses_a_fourth() {
    let frame = ethernet(&tcp_packet(false));
    let tags = [
        (ethertype::QINQ, 0x6064),
        (ethertype::VLAN, 0),
        (ethertype::QINQ_OLD, 0x0fff),
        (ethertype::VLAN, 1),
    ];
    for count in 0..=3 {
        let bytes = tagged(&frame, &tags[..count]);
        let packet = decode_ethernet(&bytes).checked().unwrap();
        let seen: Vec<_> = packet
            .vlans
            .tags()
            .iter()
            .map(|tag| (tag.tpid, tag.tci))
            .collect();
        assert_eq!((&seen[..], packet.payload), (&tags[..count], &b"hello"[..]));
        for length in 14..bytes.len() {
            assert!(decode_ethernet(&bytes[..length]).checked().is_err());
        }
    }
    assert_eq!(
        tags.map(|(tpid, tci)| VlanTag { tpid, tci }.id()),
        [0x64, 0, 0xfff, 1]
    );
    assert_eq!(
        decode_ethernet(&tagged(&frame, &tags))
            .checked()
            .unwrap_err(),
        Malformed::VlanTooMany
    );
    assert_eq!(
        decode_ethernet(&tagged(&frame, &tags[..1])[..16])
            .checked()
            .unwrap_err(),
        Malformed::VlanTooShort
    );
}

#[test]
fn what_is_not_ip_is_passed_on_with_its_ether_type() {
    let mut frame = ethernet(&tcp_packet(false));
    frame[12..14].copy_from_slice(&ethertype::ARP.to_be_bytes());
    let packet = decode_ethernet(&frame).checked().unwrap();
    assert!(matches!(
        (packet.network, packet.transport),
        (Network::Other, Transport::None)
    ));
    assert_eq!(
        (packet.ether_type, packet.payload.len()),
        (ethertype::ARP, frame.len() - 14)
    );
    assert_eq!(
        (packet.addresses(), packet.ports(), packet.protocol()),
        (None, None, None)
    );
}

#[test]
fn rejects_ip_headers_whose_lengths_lie() {
    // (reason, offset in the IP packet, bytes to write)
    let rows: [(Malformed, usize, &[u8]); 5] = [
        (Malformed::Ipv4HeaderLength, 0, &[0x44]),
        (Malformed::Ipv4TotalLength, 2, &[0, 19]),
        (Malformed::Ipv4TotalLength, 2, &[0, 0]),
        (Malformed::Ipv4Truncated, 2, &[0xff, 0xff]),
        (Malformed::IpVersionUnknown, 0, &[0x55]),
    ];
    for (reason, offset, bytes) in rows {
        let mut packet = tcp_packet(false);
        packet[offset..offset + bytes.len()].copy_from_slice(bytes);
        assert_eq!(decode_ip(&packet).checked().unwrap_err(), reason);
    }
    let mut frame = ethernet(&tcp_packet(false));
    frame[14] = 0x65;
    assert_eq!(
        decode_ethernet(&frame).checked().unwrap_err(),
        Malformed::Ipv4WrongVersion
    );
    let mut frame = ethernet(&tcp_packet(true));
    frame[14] = 0x45;
    assert_eq!(
        decode_ethernet(&frame).checked().unwrap_err(),
        Malformed::Ipv6WrongVersion
    );
    let (source, destination) = ends(true);
    let jumbo = ip(source.ip(), destination.ip(), proto::HOP_BY_HOP, &[]);
    assert_eq!(
        decode_ip(&jumbo).checked().unwrap_err(),
        Malformed::Ipv6Jumbogram
    );
}

#[test]
fn rejects_transport_headers_whose_lengths_lie() {
    let (source, destination) = ends(false);
    // (reason, protocol, header)
    let mut tcp_header = tcp_packet(false)[20..60].to_vec();
    let mut short_offset = tcp_header.clone();
    short_offset[12] = 4 << 4;
    tcp_header[12] = 15 << 4;
    let rows: [(Malformed, u8, &[u8]); 7] = [
        (Malformed::TcpTooShort, proto::TCP, &tcp_header[..19]),
        (Malformed::TcpHeaderLength, proto::TCP, &short_offset),
        (Malformed::TcpOptionsTruncated, proto::TCP, &tcp_header),
        (Malformed::UdpTooShort, proto::UDP, &[0; 7]),
        (Malformed::UdpLength, proto::UDP, &[0, 1, 0, 2, 0, 7, 0, 0]),
        (
            Malformed::UdpTruncated,
            proto::UDP,
            &[0, 1, 0, 2, 0, 9, 0, 0],
        ),
        (
            Malformed::Icmpv4TooShort,
            proto::ICMP,
            &[8, 0, 0, 0, 0, 0, 0],
        ),
    ];
    for (reason, protocol, header) in rows {
        let packet = ip(source.ip(), destination.ip(), protocol, header);
        assert_eq!(decode_ip(&packet).checked().unwrap_err(), reason);
    }
    let (source, destination) = ends(true);
    let packet = ip(source.ip(), destination.ip(), proto::ICMPV6, &[128; 7]);
    assert_eq!(
        decode_ip(&packet).checked().unwrap_err(),
        Malformed::Icmpv6TooShort
    );
}

#[test]
fn a_broken_option_is_an_anomaly_and_the_payload_is_still_read() {
    for options in [&[3u8, 1][..], &[3, 0], &[8, 200], &[2, 3, 0]] {
        let (source, destination) = ends(false);
        // Padded with a value that is no end of options, so that a length byte is never made up by padding.
        let mut padded = options.to_vec();
        padded.resize(4, if options.len() == 1 { 1 } else { 0 });
        let spec = TcpSpec {
            options: &padded,
            payload: b"x",
            ..TcpSpec::default()
        };
        let bytes = tcp(source, destination, &spec);
        let packet = decode_ip(&bytes).checked().unwrap();
        assert!(
            packet.events.contains(PacketEvent::TcpOptInvalidLen),
            "{options:?}"
        );
        assert_eq!(packet.payload, b"x");
    }
}

#[test]
fn ipv6_extension_headers_are_walked_to_the_transport() {
    let (source, destination) = ends(true);
    let segment = &tcp_packet(true)[40..];
    // hop-by-hop (8 bytes), routing type 0 (24), destination (16), AH (12 + 12), then TCP
    let mut body = vec![proto::ROUTING, 0, 1, 4, 0, 0, 0, 0, proto::DESTINATION, 2];
    body.resize(8 + 24, 0);
    body.extend_from_slice(&[proto::AH, 1]);
    body.resize(8 + 24 + 16, 0);
    body.extend_from_slice(&[proto::TCP, 4]);
    body.resize(8 + 24 + 16 + 24, 0);
    body.extend_from_slice(segment);
    let bytes = ip(source.ip(), destination.ip(), proto::HOP_BY_HOP, &body);
    let packet = decode_ip(&bytes).checked().unwrap();
    assert_eq!(
        (packet.ports(), packet.payload),
        (Some((40000, 80)), &b"hello"[..])
    );
    assert!(packet.events.contains(PacketEvent::Ipv6RhType0));
    assert_eq!(transport_checksum_ok(&packet), Some(true));
    let Network::V6(ip6) = packet.network else {
        panic!("not IPv6")
    };
    assert_eq!(
        (ip6.extensions().len(), ip6.next_header()),
        (72, proto::HOP_BY_HOP)
    );
    for cut in 1..72 {
        let bytes = ip(
            source.ip(),
            destination.ip(),
            proto::HOP_BY_HOP,
            &body[..cut],
        );
        assert_eq!(
            decode_ip(&bytes).checked().unwrap_err(),
            Malformed::Ipv6ExtensionTruncated,
            "{cut}"
        );
    }
}

#[test]
fn extension_headers_are_bounded_in_number() {
    let (source, destination) = ends(true);
    let chain = |count: usize| {
        let mut body: Vec<u8> = [proto::DESTINATION, 0, 1, 4, 0, 0, 0, 0].repeat(count - 1);
        body.extend_from_slice(&[proto::NO_NEXT, 0, 1, 4, 0, 0, 0, 0]);
        ip(source.ip(), destination.ip(), proto::DESTINATION, &body)
    };
    let bytes = chain(MAX_EXTENSION_HEADERS - 1);
    assert_eq!(
        decode_ip(&bytes).checked().unwrap().protocol(),
        Some(proto::NO_NEXT)
    );
    assert_eq!(
        decode_ip(&chain(MAX_EXTENSION_HEADERS))
            .checked()
            .unwrap_err(),
        Malformed::Ipv6TooManyExtensions
    );
}

#[test]
fn an_atomic_fragment_is_a_whole_packet_and_a_second_fragment_header_is_told() {
    let (source, destination) = ends(true);
    let segment = tcp_packet(true)[40..].to_vec();
    let bytes = ip6_fragment(
        source.ip(),
        destination.ip(),
        proto::TCP,
        9,
        0,
        false,
        &segment,
    );
    let packet = decode_ip(&bytes).checked().unwrap();
    assert_eq!((packet.fragment(), packet.payload), (None, &b"hello"[..]));
    assert!(packet.events.contains(PacketEvent::Ipv6ExthdrUselessFh));

    let inner = [&[proto::TCP, 0, 0, 0, 0, 0, 0, 1][..], &segment].concat();
    let bytes = ip6_fragment(
        source.ip(),
        destination.ip(),
        proto::FRAGMENT,
        9,
        0,
        false,
        &inner,
    );
    let packet = decode_ip(&bytes).checked().unwrap();
    assert_eq!((packet.fragment(), packet.payload), (None, &b"hello"[..]));
    assert!(packet.events.contains(PacketEvent::Ipv6ExthdrDuplFh));
}

#[test]
fn every_link_type_leads_to_the_same_packet() {
    let v4 = tcp_packet(false);
    let ether = ethernet(&v4);
    let with = |header: &[u8]| [header, &v4].concat();
    let mut sll = vec![0; 14];
    sll.extend_from_slice(&[0x08, 0x00]);
    let mut sll2 = vec![0x08, 0x00];
    sll2.resize(20, 0);
    let rows: [(u32, Vec<u8>); 12] = [
        (linktype::ETHERNET, ether.clone()),
        (linktype::RAW, v4.clone()),
        (linktype::RAW_OLD_12, v4.clone()),
        (linktype::IPV4, v4.clone()),
        (linktype::NULL, with(&[2, 0, 0, 0])),
        (linktype::NULL, with(&[0, 0, 0, 2])),
        (linktype::LOOP, with(&[0, 0, 0, 2])),
        (linktype::PPP, with(&[0xff, 0x03, 0x00, 0x21])),
        (linktype::PPP, with(&[0x21])),
        (linktype::CISCO_HDLC, with(&[0x0f, 0x00, 0x08, 0x00])),
        (linktype::LINUX_SLL, with(&sll)),
        (linktype::LINUX_SLL2, with(&sll2)),
    ];
    for (link_type, bytes) in rows {
        let packet = decode_link(link_type, &bytes).checked().unwrap();
        assert_eq!(
            (packet.ports(), packet.payload),
            (Some((40000, 80)), &b"hello"[..]),
            "{link_type}"
        );
        for length in 0..bytes.len() {
            assert!(
                decode_link(link_type, &bytes[..length]).checked().is_err(),
                "{link_type} {length}"
            );
        }
    }
    assert_eq!(
        decode_link(9999, &v4).checked().unwrap_err(),
        Malformed::LinkTypeUnsupported
    );
    let session = [
        &ether[..12],
        &[0x88, 0x64, 0x11, 0, 0, 1, 0, 47, 0x00, 0x21],
        &v4,
    ]
    .concat();
    assert_eq!(
        decode_ethernet(&session).checked().unwrap().payload,
        b"hello"
    );
}

#[test]
fn a_checksum_is_verified_only_where_there_is_one() {
    for v6 in [false, true] {
        let (source, destination) = ends(v6);
        for mut bytes in [tcp_packet(v6), udp(source, destination, b"abc")] {
            assert_eq!(
                transport_checksum_ok(&decode_ip(&bytes).checked().unwrap()),
                Some(true)
            );
            *bytes.last_mut().unwrap() ^= 1;
            assert_eq!(
                transport_checksum_ok(&decode_ip(&bytes).checked().unwrap()),
                Some(false)
            );
        }
    }
    let (source, destination) = ends(false);
    let mut bytes = udp(source, destination, b"abc");
    bytes[26..28].fill(0);
    assert_eq!(
        transport_checksum_ok(&decode_ip(&bytes).checked().unwrap()),
        None
    );
    let Network::V4(mut header) = decode_ip(&bytes).checked().unwrap().network else {
        panic!("not IPv4")
    };
    assert!(ipv4_header_checksum_ok(&header));
    bytes[8] ^= 1;
    header = Ipv4::parse(&bytes).unwrap();
    assert!(!ipv4_header_checksum_ok(&header));
}

#[test]
fn a_built_reset_decodes_with_right_checksums() {
    for v6 in [false, true] {
        for ack in [None, Some(77)] {
            let plain = ethernet(&tcp_packet(v6));
            let like = tagged(&plain, &[(ethertype::VLAN, 0x0064)]);
            let like = decode_ethernet(&like).checked().unwrap();
            let (source, destination) = ends(v6);
            let frame = Frame {
                ethernet: like.ethernet,
                vlans: like.vlans,
            };
            let bytes = reset_to(&Reset {
                frame,
                source,
                destination,
                seq: 0xffff_ffff,
                ack,
            })
            .unwrap();
            let packet = decode_ethernet(&bytes).checked().unwrap();
            assert_eq!((packet.ethernet, packet.vlans), (like.ethernet, like.vlans));
            assert_eq!(packet.addresses(), Some((source.ip(), destination.ip())));
            assert_eq!(packet.ports(), Some((40000, 80)));
            let tcp = packet.tcp().unwrap();
            let flags = if ack.is_some() {
                flags::RST | flags::ACK
            } else {
                flags::RST
            };
            assert_eq!(
                (tcp.seq(), tcp.ack(), tcp.flags()),
                (0xffff_ffff, ack.unwrap_or(0), flags)
            );
            assert_eq!(
                (transport_checksum_ok(&packet), packet.payload),
                (Some(true), &b""[..])
            );
            if let Network::V4(ip) = packet.network {
                assert!(ipv4_header_checksum_ok(&ip));
            }
        }
    }
    let (source, destination) = (ends(false).0, ends(true).1);
    assert_eq!(
        reset_to(&Reset {
            frame: Frame::default(),
            source,
            destination,
            seq: 0,
            ack: None
        }),
        None
    );
}

#[test]
fn an_unreachable_quotes_the_packet_within_the_sizes_that_are_allowed() {
    for (v6, largest) in [(false, 576), (true, 1280)] {
        for payload in [10, 5000] {
            let (source, destination) = ends(v6);
            let offending = udp(source, destination, &vec![3; payload]);
            let offending = decode_ip(&offending).checked().unwrap();
            for why in [Unreachable::Port, Unreachable::Prohibited] {
                let bytes = unreachable_to(&Frame::default(), &offending, why).unwrap();
                assert!(bytes.len() <= largest);
                let packet = decode_ip(&bytes).checked().unwrap();
                assert_eq!(packet.addresses(), Some((destination.ip(), source.ip())));
                assert_eq!(transport_checksum_ok(&packet), Some(true));
                let quoted = decode_quoted(packet.payload).unwrap();
                assert_eq!((quoted.source_port, quoted.destination_port), (40000, 80));
                let code = match packet.transport {
                    Transport::Icmpv4(icmp) => (icmp.kind(), icmp.code()),
                    Transport::Icmpv6(icmp) => (icmp.kind(), icmp.code()),
                    _ => panic!("not ICMP"),
                };
                let wanted = match (v6, why) {
                    (false, Unreachable::Port) => (3, 3),
                    (false, Unreachable::Prohibited) => (3, 13),
                    (true, Unreachable::Port) => (1, 4),
                    (true, Unreachable::Prohibited) => (1, 1),
                };
                assert_eq!(code, wanted);
                assert_eq!(
                    unreachable_to(&Frame::default(), &packet, why),
                    None,
                    "never about an error"
                );
            }
        }
    }
}

#[test]
fn no_unreachable_is_sent_about_multicast_broadcast_or_later_fragments() {
    for destination in ["224.0.0.251:5353", "255.255.255.255:67"] {
        let bytes = udp(ends(false).0, at(destination), b"x");
        assert_eq!(
            unreachable_to(
                &Frame::default(),
                &decode_ip(&bytes).checked().unwrap(),
                Unreachable::Port
            ),
            None
        );
    }
    let (source, destination) = ends(true);
    let bytes = ip6_fragment(
        source.ip(),
        destination.ip(),
        proto::UDP,
        1,
        8,
        false,
        b"later",
    );
    assert_eq!(
        unreachable_to(
            &Frame::default(),
            &decode_ip(&bytes).checked().unwrap(),
            Unreachable::Port
        ),
        None
    );
}

#[test]
fn every_prefix_of_a_quoted_packet_is_read_or_not_without_panic() {
    for bytes in [tcp_packet(false), tcp_packet(true)] {
        let ports_end = if bytes[0] >> 4 == 4 { 28 } else { 48 };
        for length in 0..bytes.len() {
            assert_eq!(
                decode_quoted(&bytes[..length]).is_some(),
                length >= ports_end,
                "{length}"
            );
        }
    }
}

#[test]
fn tunnels_yield_what_they_carry() {
    let (a4, b4) = (ends(false).0.ip(), ends(false).1.ip());
    let (a6, b6) = (ends(true).0.ip(), ends(true).1.ip());
    let gre = |head: &[u8]| ip(a4, b4, proto::GRE, &[head, &tcp_packet(false)].concat());
    let vxlan = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &ethernet(&tcp_packet(true))].concat();
    let rows: [(Tunnel, Vec<u8>); 7] = [
        (Tunnel::Ip, ip(a4, b4, proto::IPV6, &tcp_packet(true))),
        (Tunnel::Ip, ip(a6, b6, proto::IPV4, &tcp_packet(false))),
        (
            Tunnel::Ip4InIp4,
            ip(a4, b4, proto::IPV4, &tcp_packet(false)),
        ),
        (Tunnel::Gre, gre(&[0, 0, 8, 0])),
        (
            Tunnel::Gre,
            gre(&[0xb0, 0, 8, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]),
        ),
        (
            Tunnel::Gre,
            ip(
                a4,
                b4,
                proto::GRE,
                &[&[0, 0, 0x65, 0x58], &ethernet(&tcp_packet(true))[..]].concat(),
            ),
        ),
        (
            Tunnel::Vxlan,
            udp(at("10.0.0.1:5"), at("10.0.0.2:4789"), &vxlan),
        ),
    ];
    for (kind, bytes) in rows {
        let mut outer = decode_ip(&bytes).checked().unwrap();
        let Inner { tunnel, packet } = inner_packet(&mut outer).unwrap();
        assert_eq!((tunnel, packet.malformed), (kind, None));
        assert_eq!(packet.payload, b"hello");
    }
    let not_vxlan = udp(at("10.0.0.1:5"), at("10.0.0.2:4789"), b"short");
    for bytes in [not_vxlan, tcp_packet(false)] {
        let mut outer = decode_ip(&bytes);
        assert!(inner_packet(&mut outer).is_none() && outer.events.is_empty());
    }
}

#[test]
fn reasons_are_told_apart_by_name() {
    let mut names: Vec<_> = Malformed::ALL
        .iter()
        .map(|malformed| malformed.reason())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Malformed::ALL.len());
    for (index, malformed) in Malformed::ALL.iter().enumerate() {
        assert_eq!(*malformed as usize, index);
        assert!(malformed.event().is_none_or(|event| !event.is_stream()));
    }
}

/// Exercises every accessor of a packet that decoded.
fn touch(packet: &Packet<'_>) {
    let _ = (
        packet.addresses(),
        packet.ports(),
        packet.protocol(),
        packet.ip_bytes(),
        packet.segment(),
    );
    let _ = transport_checksum_ok(packet);
    let _ = unreachable_to(&Frame::default(), packet, Unreachable::Port)
        .map(|bytes| decode_ip(&bytes).checked().is_ok());
    let _ = decode_quoted(packet.payload);
    match packet.network {
        Network::V4(ip) => {
            let _ = (
                ipv4_header_checksum_ok(&ip),
                ip.options(),
                ip.payload(),
                ip.ttl(),
                ip.tos(),
                ip.flags(),
            );
        }
        Network::V6(ip) => {
            let _ = (
                ip.extensions(),
                ip.payload(),
                ip.flow_label(),
                ip.traffic_class(),
                ip.hop_limit(),
            );
        }
        Network::Other => {}
    }
    if let Some(inner) = inner_packet(&mut packet.clone()) {
        let _ = (inner.is_broken(), inner.packet.addresses());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        link_type in prop::sample::select(vec![0u32, 1, 9, 12, 101, 104, 108, 113, 228, 229, 276, 7]),
    ) {
        for packet in [decode_ethernet(&bytes), decode_ip(&bytes), decode_link(link_type, &bytes)] {
            touch(&packet);
        }
    }

    /// Good packets with a few bytes changed reach far deeper than random ones.
    #[test]
    fn changed_packets_never_panic(
        which in 0usize..6,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let (a4, b4) = ends(false);
        let (a6, b6) = ends(true);
        let mut bytes = [
            tcp_packet(false),
            tcp_packet(true),
            udp(a4, b4, b"payload"),
            ip6_fragment(a6.ip(), b6.ip(), proto::TCP, 1, 0, false, &tcp_packet(true)[40..]),
            ip(a4.ip(), b4.ip(), proto::IPV6, &tcp_packet(true)),
            ip(a6.ip(), b6.ip(), proto::HOP_BY_HOP, &[&[6, 0, 1, 4, 0, 0, 0, 0], &tcp_packet(true)[40..]].concat()),
        ][which].clone();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let length = if whole { bytes.len() } else { cut.index(bytes.len() + 1) };
        touch(&decode_ip(&bytes[..length]));
    }
}

#[test]
fn a_payload_begins_behind_the_fields_of_its_type() {
    let payload = |protocol: u8, message: &[u8]| {
        let mut header = [0u8; 20];
        header[0] = 0x45;
        header[2..4].copy_from_slice(&(20 + message.len() as u16).to_be_bytes());
        (header[8], header[9]) = (64, protocol);
        let bytes = [&header[..], message].concat();
        decode_ip(&bytes).payload.len()
    };
    let icmp = |kind: u8, entries: [u8; 2], rest: usize| {
        let mut message = vec![kind, 0, 0, 0, entries[0], entries[1], 0, 0];
        message.resize(8 + rest, 7);
        payload(proto::ICMP, &message)
    };
    assert_eq!(icmp(8, [0; 2], 16), 16);
    assert_eq!(icmp(13, [0; 2], 16), 4);
    assert_eq!(icmp(14, [0; 2], 11), 11, "its fields are not whole");
    assert_eq!(icmp(9, [2, 2], 20), 4);
    assert_eq!(icmp(9, [255, 255], 20), 20);
    assert_eq!(payload(proto::ESP, &[0; 30]), 22);
}
