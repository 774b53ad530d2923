//! Conditions on packet headers and on the payload's length.
use super::super::condition::{Operand, PacketTest};
use super::super::draft::Draft;
use super::super::lexer::{printable, unquote};
use super::super::number::Range;
use super::super::Reason;
use super::{text, Keyword, Meaning};
use crate::detect::{FlowView, PacketView};

/// A keyword that compares one header field, absent in some packets, with a number.
macro_rules! compare {
    ($($name:literal),+, |$packet:ident| $field:expr) => {
        Keyword {
            names: &[$($name),+],
            meaning: Meaning::Value(|draft, keyword, value| {
                fn read($packet: &PacketView<'_>) -> Option<u64> {
                    $field
                }
                let holds = |packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand| match operand {
                    Operand::Range(range) => read(packet).is_some_and(|found| range.holds(found)),
                    _ => false,
                };
                let operand = Operand::Range(range(keyword, value)?);
                add(draft, [$($name),+][0], holds, operand);
                Ok(())
            }),
        }
    };
}

pub(super) const KEYWORDS: &[Keyword] = &[
    compare!("ttl", |packet| Some(packet.ttl.into())),
    compare!("id", |packet| packet.ip_id.map(u64::from)),
    compare!("dsize", |packet| Some(packet.payload.len() as u64)),
    compare!("tcp.seq", "seq", |packet| packet
        .tcp
        .map(|tcp| tcp.seq.into())),
    compare!("tcp.ack", "ack", |packet| packet
        .tcp
        .map(|tcp| tcp.ack.into())),
    compare!("tcp.window", "window", |packet| packet
        .tcp
        .map(|tcp| tcp.window.into())),
    compare!("itype", |packet| packet.icmp.map(|icmp| icmp.kind.into())),
    compare!("icode", |packet| packet.icmp.map(|icmp| icmp.code.into())),
    compare!("icmp_id", |packet| Some(packet.icmp?.id?.into())),
    compare!("icmp_seq", |packet| Some(packet.icmp?.seq?.into())),
    compare!("fragoffset", |packet| Some(packet.fragment_offset.into())),
    Keyword {
        names: &["tcp.flags", "flags"],
        meaning: Meaning::Value(flags),
    },
    Keyword {
        names: &["fragbits"],
        meaning: Meaning::Value(fragbits),
    },
    Keyword {
        names: &["ip_proto"],
        meaning: Meaning::Value(ip_proto),
    },
    Keyword {
        names: &["stream_size"],
        meaning: Meaning::Value(stream_size),
    },
    Keyword {
        names: &["sameip"],
        meaning: Meaning::Flag(sameip),
    },
];

fn range(keyword: &str, value: &[u8]) -> Result<Range, Reason> {
    let value = unquote(value, false).unwrap_or(value);
    Range::parse(value).map_err(|why| Reason::bad_value(keyword, why))
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
    Some(match letter.to_ascii_uppercase() {
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
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let bad = || Reason::bad_value(keyword, format!("'{value}'"));
    let (wanted, ignored) = value.split_once(',').unwrap_or((value, "0"));
    let (modifier, bits) = modifier_and_bits(wanted, tcp_flag).ok_or_else(bad)?;
    let (_, ignored) = modifier_and_bits(ignored, tcp_flag).ok_or_else(bad)?;
    let holds = |packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand| {
        packet
            .tcp
            .is_some_and(|tcp| compare_bits(tcp.flags, operand))
    };
    add(
        draft,
        "tcp.flags",
        holds,
        Operand::Bits(modifier, bits, ignored),
    );
    Ok(())
}

fn fragbits(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let bit = |letter| match letter {
        'M' => Some(1),
        'D' => Some(2),
        'R' => Some(4),
        _ => None,
    };
    let (modifier, bits) = modifier_and_bits(value, bit)
        .ok_or_else(|| Reason::bad_value(keyword, format!("'{value}'")))?;
    let holds = |packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand| {
        compare_bits(packet.fragment_bits, operand)
    };
    add(draft, "fragbits", holds, Operand::Bits(modifier, bits, 0));
    Ok(())
}

/// Protocols by name, as far as rules name them. Source: IANA's protocol numbers.
const IP_PROTOCOLS: [(&str, u8); 14] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("egp", 8),
    ("udp", 17),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("pim", 103),
    ("sctp", 132),
];

fn ip_proto(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = unquote(value, false).unwrap_or(value);
    let lower = value.to_ascii_lowercase();
    let named = |name: &[u8]| {
        IP_PROTOCOLS
            .iter()
            .find(|(known, _)| known.as_bytes() == name)
            .map(|(_, number)| *number)
    };
    let range = match (named(&lower), lower.strip_prefix(b"!").and_then(named)) {
        (Some(number), _) => Range::Is(number.into()),
        (_, Some(number)) => Range::Not(number.into()),
        _ => Range::parse(value)
            .map_err(|_| Reason::bad_value(keyword, format!("'{}'", printable(value))))?,
    };
    let holds = |packet: &PacketView<'_>, _: Option<&FlowView>, operand: &Operand| match operand {
        Operand::Range(range) => range.holds(packet.ip_proto.into()),
        _ => false,
    };
    // What carries a payload is decided by the protocol, so this alone does not ask for single packets.
    draft.packet_tests.push(PacketTest {
        keyword: "ip_proto",
        needs_header: false,
        holds,
        operand: Operand::Range(range),
    });
    Ok(())
}

/// `client,>,100`: how far a direction's stream has come, the SYN counted as one byte.
fn stream_size(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let bad = || Reason::bad_value(keyword, format!("'{value}'"));
    let parts: Vec<_> = value.split(',').map(str::trim).collect();
    let [whose, comparison, number] = parts[..] else {
        return Err(bad());
    };
    if !matches!(whose, "client" | "server" | "both" | "either") {
        return Err(bad());
    }
    let range = range(keyword, format!("{comparison}{number}").as_bytes())?;
    draft.also_packet = true;
    draft.packet_tests.push(PacketTest {
        keyword: "stream_size",
        needs_header: false,
        holds: stream_size_holds,
        operand: Operand::Of(whose.as_bytes()[0], range),
    });
    Ok(())
}

fn stream_size_holds(_: &PacketView<'_>, flow: Option<&FlowView>, operand: &Operand) -> bool {
    let (Some(flow), Operand::Of(whose, range)) = (flow, operand) else {
        return false;
    };
    let [client, server] = flow.stream_bytes.map(|bytes| range.holds(bytes + 1));
    match whose {
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
