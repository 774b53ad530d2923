//! Any bytes as a frame, as an IP packet and by every link type: an answer or a reason, and whatever decoded can be
//! asked anything.
#![no_main]

use inspect::wire::{
    decode_ethernet, decode_ip, decode_link, decode_quoted, inner_packet, ipv4_header_checksum_ok,
    linktype, transport_checksum_ok, unreachable_to, Frame, Network, Packet, Unreachable,
    MAX_LAYERS,
};
use libfuzzer_sys::fuzz_target;

fn ask(packet: &mut Packet<'_>, depth: u8) {
    assert!(
        depth <= MAX_LAYERS,
        "each packet inside another is a layer deeper"
    );
    let _ = (packet.addresses(), packet.ports(), packet.protocol());
    let _ = transport_checksum_ok(packet);
    let _ = decode_quoted(packet.payload);
    if let Some(tcp) = packet.tcp() {
        let _ = (tcp.options(), tcp.header_bytes());
    }
    if let Network::V4(ip) = packet.network {
        let _ = (ipv4_header_checksum_ok(&ip), ip.options());
    }
    if let Some(answer) = unreachable_to(&Frame::default(), packet, Unreachable::Prohibited) {
        assert!(
            decode_ip(&answer).malformed.is_none(),
            "what we build decodes"
        );
    }
    if let Some(mut inner) = inner_packet(packet) {
        ask(&mut inner.packet, depth + 1);
    }
}

fn check(mut packet: Packet<'_>) {
    let event = packet.malformed.and_then(|malformed| malformed.event());
    assert!(event.is_none_or(|event| packet.events.contains(event)));
    ask(&mut packet, 0);
}

fuzz_target!(|bytes: &[u8]| {
    check(decode_ethernet(bytes));
    check(decode_ip(bytes));
    let types = [
        linktype::NULL,
        linktype::PPP,
        linktype::CISCO_HDLC,
        linktype::LINUX_SLL,
        linktype::LINUX_SLL2,
    ];
    for link_type in types {
        check(decode_link(link_type, bytes));
    }
});
