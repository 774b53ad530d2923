//! Whole packets into the engine, offline and inline, for guests in every mode, with a signature for every keyword
//! there is.
//!
//! Input: a byte of settings (bits 0–1: offline, offline in IPS mode, live; live, bits 2–3: the guest's mode, bit 4: what
//! cannot be inspected is held back, bit 5: the policy is loaded anew in between), then steps. A step is a control byte, two bytes of length and that many bytes: either an
//! Ethernet frame as it is, or the payload of a segment or datagram of one of a few connections, so that the fuzzer
//! does not have to find sequence numbers and checksums. No panic; every event is one line of JSON, every frame that is
//! sent can be read, and where nothing may block, nothing but what is held back does.
#![no_main]

use std::sync::{Arc, OnceLock};

use inspect::detect::SharedState;
use inspect::engine::{Arrival, Engine, EventSink, Settings};
use inspect::policy::{Document, Policy};
use inspect::rule::{self, supported_keywords, Variables};
use inspect::wire::{decode_ethernet, decode_ip, Packet};
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

/// Modes of the guest that a live engine protects.
const MODES: [&str; 4] = ["prevent", "as-written", "detect", "off"];
const CLIENT_PORT: u32 = 3;
const SERVER_PORT: u32 = 4;

/// Every keyword in every form that loads.
fn rules() -> &'static str {
    static RULES: OnceLock<String> = OnceLock::new();
    RULES.get_or_init(every_keyword)
}

fn every_keyword() -> String {
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
                let rule =
                    format!("{action} {protocol} any any -> any any ({options} sid:{sid};)\n");
                // Those that pass or drop on everything would end every flow at once.
                if action == "alert" || options.contains("content") || options.contains("pcre") {
                    text += &rule;
                }
            }
        }
    }
    text
}

fn offline() -> Arc<Policy> {
    static POLICY: OnceLock<Arc<Policy>> = OnceLock::new();
    let compile = || {
        let variables = Variables::default();
        let (signatures, _) = rule::load(&[("every.rules".into(), rules().into())], &variables);
        assert!(signatures.len() > 100);
        Arc::new(Policy::offline(signatures, &variables))
    };
    POLICY.get_or_init(compile).clone()
}

/// A policy for a guest at the server's port, with everything that fails `closed` or not.
fn guest(mode: usize, closed: bool) -> Arc<Policy> {
    static POLICIES: OnceLock<Vec<Arc<Policy>>> = OnceLock::new();
    let compile = |mode: &str, answer: &str| {
        let kinds = ["memory", "malformed", "midstream", "parser_error"];
        let failure: serde_json::Map<_, _> = kinds
            .map(|kind| (kind.to_owned(), answer.into()))
            .into_iter()
            .collect();
        let document = serde_json::json!({
            "format": 1, "version": 1, "generation": 1,
            "rule_sets": [{"name": "t", "files": ["every.rules"]}],
            "ports": [{"tap": "web0", "ifindex": SERVER_PORT, "guest": "web"}],
            "guests": [{
                "name": "web", "segment": "lab", "zone": 1, "on_drop": "reset",
                "assignments": [{"rule_set": "t", "mode": mode}],
            }],
            "segments": [{"name": "lab", "failure": failure}],
        });
        let document = Document::parse(document.to_string().as_bytes()).expect("a document");
        let files = [("every.rules".to_owned(), rules().into())];
        Arc::new(Policy::compile(&document, &files).expect("a policy"))
    };
    let all = POLICIES.get_or_init(|| {
        let answers = ["open", "closed"].iter();
        answers
            .flat_map(|answer| MODES.map(|mode| compile(mode, answer)))
            .collect()
    });
    all[mode + MODES.len() * usize::from(closed)].clone()
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
    let mode = usize::from(setting >> 2 & 3);
    let closed = setting & 16 != 0;
    let (settings, policy) = match setting & 3 {
        0 => (Settings::offline(), offline()),
        1 => (Settings::offline_ips(), offline()),
        _ => (Settings::live([1, 2]), guest(mode, closed)),
    };
    let live = setting & 2 != 0;
    let harmless = live && mode >= 2 && !closed;
    let mut engine = Engine::new(settings, policy, Arc::new(SharedState::default()));
    let mut stands = [Stand([1000, 9000]); PORTS.len()];
    let mut arrival = Arrival::default();
    let show = |engine: &mut Engine, arrival: &mut Arrival, packet: Packet<'_>, to_client: bool| {
        let ports = [CLIENT_PORT, SERVER_PORT].map(|port| if live { port } else { 0 });
        (arrival.in_port, arrival.out_port) = match to_client {
            false => (ports[0], ports[1]),
            true => (ports[1], ports[0]),
        };
        arrival.source_mac = Some([2, 0, 0, 0, 0, 1 + u8::from(to_client)]);
        let outcome = engine.packet(arrival, packet, &mut Lines);
        assert!(!(harmless && outcome.block), "nothing here may block");
        for (_, frame) in &outcome.frames {
            assert!(
                decode_ethernet(frame).malformed.is_none(),
                "what is sent can be read"
            );
        }
    };
    for (stand, server) in stands.iter_mut().zip(PORTS) {
        for (to_client, flags) in [(false, SYN), (true, SYN | ACK), (false, ACK)] {
            let packet = segment(server, to_client, flags, stand, 0, &[]);
            show(&mut engine, &mut arrival, decode_ip(&packet), to_client);
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
            0 => show(&mut engine, &mut arrival, decode_ethernet(bytes), to_client),
            1 => {
                let packet = datagram(PORTS[which], to_client, bytes);
                show(&mut engine, &mut arrival, decode_ip(&packet), to_client);
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
                show(&mut engine, &mut arrival, decode_ip(&packet), to_client);
            }
        }
        if live && setting & 32 != 0 && rest.len() % 2 == 0 {
            engine.swap(guest(mode, closed), Arc::new(SharedState::default()));
        }
        engine.tick(&arrival, &mut Lines);
    }
    engine.finish(&arrival, &mut Lines);
});
