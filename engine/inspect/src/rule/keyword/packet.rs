//! Conditions on packet headers and on the payload's length, and the headers as sticky buffers.
use super::super::condition::{Operand, PacketTest};
use super::super::draft::Draft;
use super::super::lexer::unquote;
use super::super::number::{parse_up_to, Range};
use super::super::packet_buffer as buffer;
use super::super::{Protocol, Reason};
use super::{decimal, flag, protocols, text, value, Keyword};
use crate::detect::{FlowView, PacketView};
use crate::wire::{ipv4_header_checksum_ok, transport_checksum_ok, Network, Packet, Transport};

/// A keyword that compares one header field, absent in some packets, with a number of at most `$max`.
macro_rules! compare {
    ($($name:literal),+, $max:expr, |$packet:ident| $field:expr) => {
        value(&[$($name),+], |draft, keyword, value| {
                let operand = Operand::Range(range(keyword, value, $max)?);
                add(draft, [$($name),+][0], field_test!(|$packet| $field), operand);
                Ok(())
            })
    };
}

/// A keyword that compares one header field, absent in some packets, with what `$read` reads.
macro_rules! exact {
    ([$($name:literal),+], $read:expr, |$packet:ident| $field:expr) => {
        value(&[$($name),+], |draft, keyword, value| {
                let read: fn(&str, &[u8]) -> Result<Range, Reason> = $read;
                let operand = Operand::Range(read(keyword, value)?);
                add(draft, [$($name),+][0], field_test!(|$packet| $field), operand);
                Ok(())
            })
    };
}

/// A test of one header field, absent in some packets, against a range.
macro_rules! field_test {
    (|$packet:ident| $field:expr) => {{
        fn read($packet: &PacketView<'_>) -> Option<u64> {
            $field
        }
        |packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand| match operand {
            Operand::Range(range) => read(packet).is_some_and(|found| range.holds(found)),
            _ => false,
        }
    }};
}

/// ICMPv6's type "packet too big". Source: RFC 4443, 3.2.
const PACKET_TOO_BIG: u8 = 2;

const U8: u64 = u8::MAX as u64;
const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;

pub(super) const KEYWORDS: &[Keyword] = &[
    compare!("ttl", U8, |packet| Some(packet.ttl.into())),
    exact!(["id"], plain::<u16>, |packet| packet.ip_id.map(u64::from)),
    compare!("tcp.mss", U16, |packet| packet
        .wire?
        .tcp()?
        .options()
        .mss
        .map(u64::from)),
    exact!(["tcp.seq", "seq"], plain::<u32>, |packet| packet
        .tcp
        .map(|tcp| tcp.seq.into())),
    exact!(["tcp.ack", "ack"], plain::<u32>, |packet| packet
        .tcp
        .map(|tcp| tcp.ack.into())),
    exact!(["tcp.window", "window"], negatable::<u16>, |packet| {
        packet.tcp.map(|tcp| tcp.window.into())
    }),
    compare!("itype", U8, |packet| packet
        .icmp
        .map(|icmp| icmp.kind.into())),
    compare!("icode", U8, |packet| packet
        .icmp
        .map(|icmp| icmp.code.into())),
    exact!(["icmp_id"], plain::<u16>, |packet| Some(
        packet.icmp?.id?.into()
    )),
    exact!(["icmp_seq"], plain::<u16>, |packet| Some(
        packet.icmp?.seq?.into()
    )),
    compare!("icmpv6.mtu", U32, |packet| match packet.wire?.transport {
        Transport::Icmpv6(icmp) if icmp.kind() == PACKET_TOO_BIG => {
            let [high, low] = [icmp.id(), icmp.sequence()].map(u64::from);
            Some(high << 16 | low)
        }
        _ => None,
    }),
    exact!(["fragoffset"], below_or_above, |packet| {
        has_fragment_offset(packet).then_some(packet.fragment_offset.into())
    }),
    exact!(["tos"], type_of_service, |packet| {
        match packet.wire?.network {
            Network::V4(ip) => Some(ip.tos().into()),
            _ => None,
        }
    }),
    value(&["dsize"], dsize),
    value(&["tcp.flags", "flags"], flags),
    value(&["fragbits"], fragbits),
    value(&["ipopts"], ipopts),
    value(&["ip_proto"], ip_proto),
    value(&["l3_proto"], l3_proto),
    value(&["stream_size"], stream_size),
    flag(&["sameip"], sameip),
    value(&["ipv4-csum"], |draft, keyword, value| {
        checksum(draft, keyword, value, "ipv4-csum", false, 4)
    }),
    value(&["tcpv4-csum"], |draft, keyword, value| {
        checksum(draft, keyword, value, "tcpv4-csum", false, 6)
    }),
    value(&["tcpv6-csum"], |draft, keyword, value| {
        checksum(draft, keyword, value, "tcpv6-csum", true, 6)
    }),
    value(&["udpv4-csum"], |draft, keyword, value| {
        checksum(draft, keyword, value, "udpv4-csum", false, 17)
    }),
    value(&["udpv6-csum"], |draft, keyword, value| {
        checksum(draft, keyword, value, "udpv6-csum", true, 17)
    }),
    value(&["icmpv4-csum"], |draft, keyword, value| {
        checksum(draft, keyword, value, "icmpv4-csum", false, 1)
    }),
    value(&["icmpv6-csum"], |draft, keyword, value| {
        checksum(draft, keyword, value, "icmpv6-csum", true, 58)
    }),
    flag(&["ipv4.hdr"], |draft, _| {
        draft.enter_packet(&buffer::IPV4_HEADER)
    }),
    flag(&["ipv6.hdr"], |draft, _| {
        draft.enter_packet(&buffer::IPV6_HEADER)
    }),
    flag(&["tcp.hdr"], |draft, _| {
        draft.enter_packet(&buffer::TCP_HEADER)
    }),
    flag(&["udp.hdr"], |draft, _| {
        draft.enter_packet(&buffer::UDP_HEADER)
    }),
    flag(&["icmpv4.hdr"], |draft, _| {
        draft.enter_packet(&buffer::ICMPV4_HEADER)
    }),
    flag(&["icmpv6.hdr"], |draft, _| {
        draft.enter_packet(&buffer::ICMPV6_HEADER)
    }),
    flag(&["ip.src"], |draft, _| draft.enter_packet(&buffer::SOURCE)),
    flag(&["ip.dst"], |draft, _| {
        draft.enter_packet(&buffer::DESTINATION)
    }),
];

pub(super) fn range(keyword: &str, value: &[u8], max: u64) -> Result<Range, Reason> {
    parse_up_to(value, max).map_err(|why| Reason::bad_value(keyword, why))
}

/// A decimal number.
fn plain<T: std::str::FromStr + Into<u64>>(keyword: &str, value: &[u8]) -> Result<Range, Reason> {
    decimal::<T>(keyword, value).map(|number| Range::Is(number.into()))
}

/// A decimal number, with `!` or without.
fn negatable<T: std::str::FromStr + Into<u64>>(
    keyword: &str,
    value: &[u8],
) -> Result<Range, Reason> {
    match value.strip_prefix(b"!") {
        Some(rest) => decimal::<T>(keyword, rest).map(|number| Range::Not(number.into())),
        None => plain::<T>(keyword, value),
    }
}

/// A 16-bit number, with `<` or `>` or without.
fn below_or_above(keyword: &str, value: &[u8]) -> Result<Range, Reason> {
    let number = |rest| decimal::<u16>(keyword, rest).map(u64::from);
    match value {
        [b'<', rest @ ..] => number(rest).map(below),
        [b'>', rest @ ..] => number(rest).map(|low| Range::Within(low + 1, U16)),
        _ => number(value).map(Range::Is),
    }
}

/// Everything under a number; nothing under 0.
fn below(number: u64) -> Range {
    match number.checked_sub(1) {
        Some(high) => Range::Within(0, high),
        None => Range::Within(1, 0),
    }
}

/// A byte in decimal, or in hexadecimal after `x`, with `!` or without.
fn type_of_service(keyword: &str, value: &[u8]) -> Result<Range, Reason> {
    let value = unquote(value, false).unwrap_or(value);
    let (negated, rest) = match value.strip_prefix(b"!") {
        Some(rest) => (true, rest.trim_ascii()),
        None => (false, value),
    };
    let number = match rest.strip_prefix(b"x").map(|hex| text(keyword, hex)) {
        Some(digits) => u8::from_str_radix(digits?, 16)
            .map_err(|_| Reason::bad_value(keyword, "not a byte in hexadecimal"))?,
        None => decimal(keyword, rest)?,
    };
    Ok(if negated {
        Range::Not(number.into())
    } else {
        Range::Is(number.into())
    })
}

fn add(
    draft: &mut Draft,
    keyword: &'static str,
    holds: fn(&PacketView<'_>, Option<&FlowView>, &Operand) -> bool,
    operand: Operand,
) {
    draft.needs_packet = true;
    draft.packet_tests.push(PacketTest {
        keyword,
        needs_header: true,
        holds,
        operand,
    });
}

/// Adds a condition on a packet that pseudo packets may fulfil too.
fn add_loose(
    draft: &mut Draft,
    keyword: &'static str,
    holds: fn(&PacketView<'_>, Option<&FlowView>, &Operand) -> bool,
    operand: Operand,
) {
    draft.packet_tests.push(PacketTest {
        keyword,
        needs_header: false,
        holds,
        operand,
    });
}

fn dsize(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let range = range(keyword, value, U16)?;
    if matches!(range, Range::Outside(..) | Range::Within(U16.., _)) {
        return Err(Reason::bad_value(keyword, "no payload has such a length"));
    }
    if draft.dsize.replace(range).is_some() {
        return Err(Reason::Conflict("two 'dsize'".into()));
    }
    // Where a length needs a payload, one that is not looked at is none.
    let holds: fn(&PacketView<'_>, Option<&FlowView>, &Operand) -> bool = match range {
        Range::Is(0) => field_test!(|packet| (!packet.stream_news).then_some(length(packet))),
        _ if range.holds(0) => field_test!(|packet| Some(length(packet))),
        _ => field_test!(|packet| Some(packet.payload.len() as u64)),
    };
    add(draft, "dsize", holds, Operand::Range(range));
    Ok(())
}

fn length(packet: &PacketView<'_>) -> u64 {
    (packet.payload.len() + packet.hidden_bytes) as u64
}

/// Bits, and how they are compared: modifier, wanted, ignored.
const EXACT: u8 = 0;
const ALL: u8 = b'+';
const ANY: u8 = b'*';
const NOT: u8 = b'!';

fn compare_bits(bits: u8, operand: &Operand) -> bool {
    let Operand::Bits(modifier, wanted, ignored) = *operand else {
        return false;
    };
    let bits = bits & !ignored;
    match modifier {
        ALL => bits & wanted == wanted,
        ANY => bits & wanted != 0,
        NOT => bits & wanted != wanted,
        _ => bits == wanted,
    }
}

/// Reads `[!+*]letters`; a modifier may stand at either end.
fn modifier_and_bits(value: &str, bit: impl Fn(char) -> Option<u8>) -> Option<(u8, u8)> {
    let (mut modifier, mut bits, mut letters) = (EXACT, 0, 0);
    for letter in value.chars().filter(|letter| !letter.is_whitespace()) {
        if matches!(letter, '+' | '*' | '!') && modifier == EXACT {
            modifier = letter as u8;
        } else {
            bits |= bit(letter)?;
            letters += 1;
        }
    }
    (letters > 0).then_some((modifier, bits))
}

fn tcp_flag(letter: char) -> Option<u8> {
    Some(match letter {
        'F' => 0x01,
        'S' => 0x02,
        'R' => 0x04,
        'P' => 0x08,
        'A' => 0x10,
        'U' => 0x20,
        'E' | '2' => 0x40,
        'C' | '1' => 0x80,
        '0' => 0,
        _ => return None,
    })
}

fn flags(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let bad = || Reason::bad_value(keyword, format!("'{value}' cannot be read"));
    let (wanted, ignored) = match value.split_once(',') {
        Some((wanted, ignored)) => (wanted, Some(ignored)),
        None => (value, None),
    };
    let (modifier, bits) = modifier_and_bits(wanted, tcp_flag).ok_or_else(bad)?;
    let ignored = ignored.map_or(Some(0), |mask| {
        let found = modifier_and_bits(mask, tcp_flag)?;
        (found.0 == EXACT && !mask.contains('0')).then_some(found.1)
    });
    let ignored = ignored.ok_or_else(bad)?;
    let holds = |packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand| {
        packet.tcp.is_some_and(|tcp| flags_fit(tcp.flags, operand))
    };
    add(
        draft,
        "tcp.flags",
        holds,
        Operand::Bits(modifier, bits, ignored),
    );
    Ok(())
}

/// Where a signature has nothing to be found by, Suricata asks those that name SYN, other than negated, about packets
/// with SYN alone.
pub fn only_of_syn(test: &PacketTest) -> Option<PacketTest> {
    const SYN: u8 = 0x02;
    match test.operand {
        Operand::Bits(modifier, bits, _) if test.keyword == "tcp.flags" => {
            (modifier != NOT && bits & SYN != 0).then_some(PacketTest {
                operand: Operand::Bits(ALL, SYN, 0),
                ..*test
            })
        }
        _ => None,
    }
}

/// FIN, SYN and RST, and CWR, ECE and URG: who names one of three, negated or not, is asked about packets with one of
/// the same three only, as in Suricata.
const FLAG_GROUPS: [u8; 2] = [0x01 | 0x02 | 0x04, 0x80 | 0x40 | 0x20];

fn flags_fit(flags: u8, operand: &Operand) -> bool {
    may_be_asked(flags, operand) && compare_bits(flags, operand)
}

/// Whether a TCP segment with these flags and without payload may fulfil all of `tests`.
pub fn may_fit_empty_segment(tests: &[PacketTest], flags: u8) -> bool {
    tests
        .iter()
        .all(|test| match (test.keyword, &test.operand) {
            ("tcp.flags", operand) => flags_fit(flags, operand),
            ("dsize", Operand::Range(length)) => length.holds(0),
            _ => true,
        })
}

fn may_be_asked(flags: u8, operand: &Operand) -> bool {
    let Operand::Bits(_, named, _) = operand else {
        return false;
    };
    FLAG_GROUPS
        .iter()
        .all(|group| named & group == 0 || flags & group != 0)
}

/// IPv6 has one in fragments only.
fn has_fragment_offset(packet: &PacketView<'_>) -> bool {
    let fragment = |wire: &Packet<'_>| wire.fragment().is_some();
    packet.src.is_ipv4() || packet.wire.is_some_and(fragment)
}

fn fragbits(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let bit = |letter| match letter {
        'M' => Some(1),
        'D' => Some(2),
        'R' => Some(4),
        _ => None,
    };
    let (modifier, bits) = modifier_and_bits(value, bit)
        .ok_or_else(|| Reason::bad_value(keyword, format!("'{value}' cannot be read")))?;
    // IPv6 has none, not even none set.
    let holds = |packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand| {
        packet.src.is_ipv4() && compare_bits(packet.fragment_bits, operand)
    };
    add(draft, "fragbits", holds, Operand::Bits(modifier, bits, 0));
    Ok(())
}

/// IPv4 options by name and type. Source: RFC 791, 3.1; RFC 1108.
const IP_OPTIONS: [(&str, u8); 9] = [
    ("eol", 0),
    ("nop", 1),
    ("rr", 7),
    ("ts", 68),
    ("sec", 130),
    ("lsrr", 131),
    ("esec", 133),
    ("satid", 136),
    ("ssrr", 137),
];

fn ipopts(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let name = text(keyword, value)?.to_ascii_lowercase();
    let known = IP_OPTIONS.iter().find(|(known, _)| *known == name);
    let operand = match known {
        Some((_, kind)) => Operand::Range(Range::Is((*kind).into())),
        None if name == "any" => Operand::None,
        None => return Err(Reason::bad_value(keyword, format!("no option '{name}'"))),
    };
    add(draft, "ipopts", has_ip_option, operand);
    Ok(())
}

fn has_ip_option(packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand) -> bool {
    let Some(Network::V4(ip)) = packet.wire.map(|wire| wire.network) else {
        return false;
    };
    let mut rest = ip.options();
    while let [kind, after @ ..] = rest {
        let known = IP_OPTIONS.iter().any(|(_, known)| known == kind);
        let wanted = match operand {
            Operand::Range(range) => range.holds((*kind).into()),
            _ => known,
        };
        if wanted {
            return true;
        }
        rest = match (kind, after.first()) {
            (0, _) => return false,
            (1, _) => after,
            (_, Some(length @ 2..)) => rest.get(usize::from(*length)..).unwrap_or_default(),
            _ => return false,
        };
    }
    false
}

/// `tcp`, `17`, `!udp`, `>5`, `<200`: several may stand in one signature.
fn ip_proto(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let (sign, name) = match value.split_at_checked(1) {
        Some((sign @ ("!" | "<" | ">"), rest)) => (sign, rest.trim()),
        _ => ("", value),
    };
    let number = protocols::number(name)
        .ok_or_else(|| Reason::bad_value(keyword, format!("no protocol '{name}'")))?;
    if !matches!(draft.protocol, Protocol::Ip | Protocol::Ip4 | Protocol::Ip6) {
        return Err(Reason::Conflict(
            "'ip_proto' needs the protocol 'ip' in the rule's header".into(),
        ));
    }
    let number = u64::from(number);
    let range = match sign {
        "!" => Range::Not(number),
        "<" => below(number),
        ">" => Range::Within(number + 1, u64::MAX),
        _ => Range::Is(number),
    };
    let others = || {
        draft
            .packet_tests
            .iter()
            .filter(|test| test.keyword == "ip_proto")
            .filter_map(|test| match test.operand {
                Operand::Range(range) => Some(range),
                _ => None,
            })
    };
    let clash = others().any(|other| match (other, range) {
        (Range::Is(_), _) | (_, Range::Is(_)) => true,
        (Range::Not(_), _) | (_, Range::Not(_)) => false,
        // Both are open on one side: two on the same side, or two that no number lies between.
        (Range::Within(low, high), Range::Within(new_low, new_high)) => {
            (high == u64::MAX) == (new_high == u64::MAX) || low.max(new_low) > high.min(new_high)
        }
        _ => false,
    });
    if clash {
        return Err(Reason::Conflict(
            "ip_proto: this one cannot stand beside the ones before it".into(),
        ));
    }
    // What carries a payload is decided by the protocol, so this alone does not ask for single packets.
    let holds = field_test!(|packet| Some(packet.ip_proto.into()));
    add_loose(draft, "ip_proto", holds, Operand::Range(range));
    Ok(())
}

fn l3_proto(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let v6 = match text(keyword, value)?.to_ascii_lowercase().as_str() {
        "ipv4" | "ip4" => false,
        "ipv6" | "ip6" => true,
        other => {
            return Err(Reason::bad_value(
                keyword,
                format!("'{other}' is neither ipv4 nor ipv6"),
            ))
        }
    };
    let holds = |packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand| {
        let v6 = Operand::Bits(1, 0, 0) == *operand;
        packet.src.is_ipv6() == v6
    };
    add_loose(draft, "l3_proto", holds, Operand::Bits(v6.into(), 0, 0));
    Ok(())
}

/// `client,>,100`: how far a direction's stream has come, the SYN counted as one byte.
fn stream_size(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let bad = || Reason::bad_value(keyword, format!("'{value}' cannot be read"));
    let parts: Vec<_> = value.split(',').map(str::trim).collect();
    let [whose, comparison, number] = parts[..] else {
        return Err(bad());
    };
    if !matches!(whose, "client" | "server" | "both" | "either") {
        return Err(bad());
    }
    let range = range(keyword, format!("{comparison}{number}").as_bytes(), U32)?;
    draft.also_packet = true;
    add_loose(
        draft,
        "stream_size",
        stream_size_holds,
        Operand::Of(whose.as_bytes()[0], range),
    );
    Ok(())
}

fn stream_size_holds(_: &PacketView<'_>, flow: Option<&FlowView>, operand: &Operand) -> bool {
    const TCP: u8 = 6;
    let (Some(flow), Operand::Of(whose, range)) = (flow, operand) else {
        return false;
    };
    let [client, server] = flow.stream_bytes.map(|bytes| range.holds(bytes));
    flow.ip_proto == TCP
        && flow.followed
        && match whose {
            b'c' => client,
            b's' => server,
            b'b' => client && server,
            _ => client || server,
        }
}

fn sameip(draft: &mut Draft, _keyword: &str) -> Result<(), Reason> {
    add(
        draft,
        "sameip",
        |packet, _, _| packet.src == packet.dst,
        Operand::None,
    );
    Ok(())
}

/// `valid` or `invalid`, of packets that have such a checksum.
fn checksum(
    draft: &mut Draft,
    keyword: &str,
    value: &[u8],
    name: &'static str,
    v6: bool,
    protocol: u8,
) -> Result<(), Reason> {
    let value = value.to_ascii_lowercase();
    let valid = match value.as_slice() {
        b"valid" => true,
        b"invalid" => false,
        _ => return Err(Reason::bad_value(keyword, "neither valid nor invalid")),
    };
    draft.packet_tests.push(PacketTest {
        keyword: name,
        needs_header: true,
        holds: checksum_is,
        operand: Operand::Bits(protocol, v6.into(), valid.into()),
    });
    Ok(())
}

fn checksum_is(packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand) -> bool {
    const IP: u8 = 4;
    let (Some(wire), Operand::Bits(protocol, v6, valid)) = (packet.wire, operand) else {
        return false;
    };
    let found = match wire.network {
        Network::V4(ip) if *protocol == IP => Some(ipv4_header_checksum_ok(&ip)),
        Network::V4(_) if *v6 == 0 && packet.ip_proto == *protocol => transport_checksum_ok(wire),
        Network::V6(_) if *v6 == 1 && packet.ip_proto == *protocol => transport_checksum_ok(wire),
        _ => None,
    };
    found == Some(*valid == 1)
}
