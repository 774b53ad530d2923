//! Whole packets into the engine, offline and inline, with a signature for every keyword there is.
//!
//! Input: a byte of settings, then steps. A step is a control byte, two bytes of length and that many bytes: either an
//! Ethernet frame as it is, or the payload of a segment or datagram of one of a few connections, so that the fuzzer
//! does not have to find sequence numbers and checksums. No panic; every event is one line of JSON.
#![no_main]

use std::sync::{Arc, OnceLock};

use inspect::detect::SharedState;
use inspect::engine::{Arrival, Engine, EventSink, Settings};
use inspect::policy::Policy;
use inspect::rule::{self, supported_keywords, Variables};
use inspect::wire::{decode_ethernet, decode_ip};
use libfuzzer_sys::fuzz_target;

/// Ports of the servers; which protocol is spoken is told from bytes, but some parsers take them as a hint.
const PORTS: [u16; 8] = [80, 443, 445, 25, 21, 53, 5060, 1883];
const SYN: u8 = 2;
const ACK: u8 = 16;

struct Lines;

impl EventSink for Lines {
    fn event(&mut self, severity: u8, line: &[u8]) {
        assert!((1..=4).contains(&severity));
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(line);
        assert!(parsed.is_ok_and(|value| value["event_type"].is_string()));
    }
}

/// Every keyword in every form that loads.
fn policy() -> Arc<Policy> {
    static POLICY: OnceLock<Arc<Policy>> = OnceLock::new();
    POLICY.get_or_init(compile).clone()
}

fn compile() -> Arc<Policy> {
    let mut text = String::new();
    let mut sid = 0;
    for keyword in supported_keywords() {
        for (action, protocol) in [
            ("alert", "tcp"),
            ("drop", "udp"),
            ("pass", "ip"),
            ("reject", "http"),
        ] {
            for form in [
                "{}; content:\"a\";",
                "{}; pcre:\"/a.*b/\";",
                "{}:1;",
                "{}:1; content:\"ab\"; content:\"c\"; distance:0;",
                "content:\"b\"; {};",
            ] {
                sid += 1;
                let options = form.replace("{}", keyword);
                text += &format!("{action} {protocol} any any -> any any ({options} sid:{sid};)\n");
            }
        }
    }
    // Those that pass or drop on everything would end every flow at once.
    let kept: String = text
        .lines()
        .filter(|line| {
            line.starts_with("alert") || line.contains("content") || line.contains("pcre")
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let variables = Variables::default();
    let (signatures, _) = rule::load(&[("every.rules".into(), kept.into_bytes())], &variables);
    assert!(signatures.len() > 100);
    Arc::new(Policy::offline(signatures, &variables))
}

/// One connection's sequence numbers, by direction.
#[derive(Clone, Copy)]
struct Stand([u32; 2]);

fn ip4(protocol: u8, to_client: bool, transport: &[u8]) -> Vec<u8> {
    let ends = [[10, 0, 0, 1], [10, 0, 0, 2]];
    let (from, to) = if to_client {
        (ends[1], ends[0])
    } else {
        (ends[0], ends[1])
    };
    let length = (20 + transport.len()) as u16;
    let mut packet = vec![
        0x45,
        0,
        (length >> 8) as u8,
        length as u8,
        0,
        0,
        0,
        0,
        64,
        protocol,
        0,
        0,
    ];
    packet.extend(from);
    packet.extend(to);
    packet.extend(transport);
    packet
}

fn ports(server: u16, to_client: bool) -> [u8; 4] {
    let (client, server) = (40_000_u16.to_be_bytes(), server.to_be_bytes());
    let (from, to) = if to_client {
        (server, client)
    } else {
        (client, server)
    };
    [from[0], from[1], to[0], to[1]]
}

fn segment(
    server: u16,
    to_client: bool,
    flags: u8,
    stand: &mut Stand,
    skew: i8,
    payload: &[u8],
) -> Vec<u8> {
    let (mine, theirs) = (usize::from(to_client), usize::from(!to_client));
    let mut tcp = ports(server, to_client).to_vec();
    tcp.extend(stand.0[mine].wrapping_add_signed(skew.into()).to_be_bytes());
    tcp.extend(stand.0[theirs].to_be_bytes());
    tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend(payload);
    if skew == 0 {
        let consumed = payload.len() as u32 + u32::from(flags & SYN != 0);
        stand.0[mine] = stand.0[mine].wrapping_add(consumed);
    }
    ip4(6, to_client, &tcp)
}

fn datagram(server: u16, to_client: bool, payload: &[u8]) -> Vec<u8> {
    let mut udp = ports(server, to_client).to_vec();
    udp.extend(((8 + payload.len()) as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    ip4(17, to_client, &udp)
}

fuzz_target!(|data: &[u8]| {
    let Some((setting, mut rest)) = data.split_first() else {
        return;
    };
    let settings = match setting & 3 {
        0 => Settings::offline(),
        1 => Settings::offline_ips(),
        _ => Settings::live([1, 2]),
    };
    let mut engine = Engine::new(settings, policy(), Arc::new(SharedState::default()));
    let mut stands = [Stand([1000, 9000]); PORTS.len()];
    let mut arrival = Arrival::default();
    for (stand, server) in stands.iter_mut().zip(PORTS) {
        for (to_client, flags) in [(false, SYN), (true, SYN | ACK), (false, ACK)] {
            let packet = segment(server, to_client, flags, stand, 0, &[]);
            engine.packet(&arrival, decode_ip(&packet), &mut Lines);
        }
    }
    while let [control, high, low, tail @ ..] = rest {
        let length = (usize::from(*high) << 8 | usize::from(*low))
            .min(tail.len())
            .min(32_000);
        let (bytes, after) = tail.split_at(length);
        rest = after;
        arrival.now_ns += 1_000_000;
        arrival.wall_ns = arrival.now_ns;
        let to_client = control & 1 != 0;
        let which = usize::from(control >> 3 & 7);
        match control >> 1 & 3 {
            0 => drop(engine.packet(&arrival, decode_ethernet(bytes), &mut Lines)),
            1 => {
                let packet = datagram(PORTS[which], to_client, bytes);
                engine.packet(&arrival, decode_ip(&packet), &mut Lines);
            }
            kind => {
                // Out of place, or with odd flags, where the input says so.
                let (skew, flags) = match bytes {
                    [skew, flags, ..] if kind == 3 => (*skew as i8, *flags),
                    _ => (0, ACK),
                };
                let packet = segment(
                    PORTS[which],
                    to_client,
                    flags,
                    &mut stands[which],
                    skew,
                    bytes,
                );
                engine.packet(&arrival, decode_ip(&packet), &mut Lines);
            }
        }
        engine.tick(&arrival, &mut Lines);
    }
    engine.finish(&arrival, &mut Lines);
});
