//! A TCP connection between two guests, played packet by packet into an engine.
use std::net::Ipv4Addr;
use std::sync::Arc;

use inspect::detect::SharedState;
use inspect::engine::{Arrival, Engine, EventSink, Outcome, Settings};
use inspect::policy::{Document, Policy};
use inspect::wire::decode_ip;

pub const CLIENT_PORT_IFINDEX: u32 = 11;
pub const SERVER_PORT_IFINDEX: u32 = 12;
pub const NEIGHBOUR_PORT_IFINDEX: u32 = 13;
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Collects events as JSON.
#[derive(Default)]
pub struct Events(pub Vec<serde_json::Value>);

impl EventSink for Events {
    fn event(&mut self, _severity: u8, line: &[u8]) {
        self.0
            .push(serde_json::from_slice(line).expect("an event is one JSON object"));
    }
}

/// A policy: guest `web` behind the server's port, with `rules` in `mode`, and a neighbour that has none; `more` is
/// merged into the guest, but its `failure`, which is the segment's.
pub fn policy(rules: &str, mode: &str, more: serde_json::Value) -> Arc<Policy> {
    policy_of_generation(1, rules, mode, more)
}

pub fn policy_of_generation(
    generation: u32,
    rules: &str,
    mode: &str,
    more: serde_json::Value,
) -> Arc<Policy> {
    let mut guest = serde_json::json!({
        "name": "web", "segment": "lab", "zone": 1,
        "assignments": [{"rule_set": "t", "mode": mode}],
    });
    for (key, value) in more.as_object().expect("an object") {
        if key != "failure" {
            guest[key] = value.clone();
        }
    }
    let mut segment = serde_json::json!({"name": "lab"});
    if let Some(failure) = more.get("failure") {
        segment["failure"] = failure.clone();
    }
    let document = serde_json::json!({
        "format": 1, "version": 7, "generation": generation,
        "rule_sets": [{"name": "t", "files": ["t.rules", "t/threshold.config"]}],
        "ports": [
            {"tap": "web0", "ifindex": SERVER_PORT_IFINDEX, "guest": "web"},
            {"tap": "other0", "ifindex": NEIGHBOUR_PORT_IFINDEX, "guest": "neighbour"},
        ],
        "guests": [guest, {"name": "neighbour", "segment": "lab", "zone": 1, "assignments": []}],
        "segments": [segment],
    });
    let document = Document::parse(document.to_string().as_bytes()).expect("a document");
    // What stands behind a form feed is the rule set's threshold.config.
    let (rules, thresholds) = rules.split_once('\x0c').unwrap_or((rules, ""));
    let files = [("t.rules", rules), ("t/threshold.config", thresholds)]
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    let policy = Policy::compile(&document, &files).expect("a policy");
    assert!(policy.refused.is_empty(), "{:?}", policy.refused);
    Arc::new(policy)
}

/// An engine, and one connection through it.
pub struct Dialogue {
    pub engine: Engine,
    pub events: Events,
    client_seq: u32,
    server_seq: u32,
    client_port: u16,
    now_ns: u64,
    after_unseen: bool,
}

impl Dialogue {
    pub fn new(policy: Arc<Policy>) -> Self {
        Self::with(Settings::live([1, 2]), policy)
    }

    pub fn with(settings: Settings, policy: Arc<Policy>) -> Self {
        let engine = Engine::new(settings, policy, Arc::new(SharedState::default()));
        Self {
            engine,
            events: Events::default(),
            client_seq: 1000,
            server_seq: 5000,
            client_port: 40000,
            now_ns: 1,
            after_unseen: false,
        }
    }

    /// With the handshake done.
    pub fn open(policy: Arc<Policy>) -> Self {
        let mut dialogue = Self::new(policy);
        dialogue.handshake();
        dialogue
    }

    pub fn handshake(&mut self) -> Outcome {
        let first = self.raw(true, self.client_seq, 0, 0x02, b"");
        self.client_seq += 1;
        self.raw(false, self.server_seq, self.client_seq, 0x12, b"");
        self.server_seq += 1;
        self.raw(true, self.client_seq, self.server_seq, 0x10, b"");
        first
    }

    /// The next bytes from the client; advances only when they were let through.
    pub fn client(&mut self, bytes: &[u8]) -> Outcome {
        let outcome = self.raw(true, self.client_seq, self.server_seq, 0x18, bytes);
        if !outcome.block {
            self.client_seq += bytes.len() as u32;
        }
        outcome
    }

    pub fn server(&mut self, bytes: &[u8]) -> Outcome {
        let outcome = self.raw(false, self.server_seq, self.client_seq, 0x18, bytes);
        if !outcome.block {
            self.server_seq += bytes.len() as u32;
        }
        outcome
    }

    /// Bytes from the server that the kernel lets through without showing them; the client acknowledges them.
    pub fn pass_from_server(&mut self, bytes: &[u8]) {
        self.server_seq += bytes.len() as u32;
    }

    /// The same from the client.
    pub fn pass_from_client(&mut self, bytes: &[u8]) {
        self.client_seq += bytes.len() as u32;
    }

    /// With its next packet the kernel says that others passed unseen before it.
    pub fn say_unseen(&mut self) {
        self.after_unseen = true;
    }

    pub fn wait_s(&mut self, seconds: u64) {
        self.now_ns += seconds * 1_000_000_000;
        let arrival = Arrival {
            now_ns: self.now_ns,
            ..Arrival::default()
        };
        self.engine.tick(&arrival, &mut self.events);
    }

    /// Bytes `ahead` of the next expected ones.
    pub fn client_ahead(&mut self, ahead: u32, bytes: &[u8]) -> Outcome {
        self.raw(true, self.client_seq + ahead, self.server_seq, 0x18, bytes)
    }

    /// Goes on with the connection from another port, which has come as far as that.
    pub fn switch_to(&mut self, port: u16, sequences: (u32, u32)) {
        self.client_port = port;
        (self.client_seq, self.server_seq) = sequences;
    }

    pub fn sequences(&self) -> (u32, u32) {
        (self.client_seq, self.server_seq)
    }

    pub fn alerts(&self) -> Vec<u64> {
        let alerts = self
            .events
            .0
            .iter()
            .filter(|event| event["event_type"] == "alert");
        alerts
            .map(|event| event["alert"]["signature_id"].as_u64().expect("a sid"))
            .collect()
    }

    /// A neighbour opens a connection to the server from that port, and is not answered.
    pub fn knock(&mut self, port: u16) {
        let (neighbour, server) = (Ipv4Addr::new(10, 9, 0, 3), Ipv4Addr::new(10, 9, 0, 1));
        let bytes = segment((neighbour, server), (port, 80), 1, 0, 0x02, b"");
        let arrival = Arrival {
            now_ns: self.now_ns,
            in_port: NEIGHBOUR_PORT_IFINDEX,
            out_port: SERVER_PORT_IFINDEX,
            ..Arrival::default()
        };
        self.engine
            .packet(&arrival, decode_ip(&bytes), &mut self.events);
    }

    pub fn raw(
        &mut self,
        from_client: bool,
        seq: u32,
        ack: u32,
        flags: u8,
        payload: &[u8],
    ) -> Outcome {
        self.now_ns += 1_000_000;
        let (client, server) = (Ipv4Addr::new(10, 9, 0, 2), Ipv4Addr::new(10, 9, 0, 1));
        let ends = if from_client {
            (client, server)
        } else {
            (server, client)
        };
        let ports = if from_client {
            (self.client_port, 80)
        } else {
            (80, self.client_port)
        };
        let bytes = segment(ends, ports, seq, ack, flags, payload);
        let (in_port, out_port, mac) = if from_client {
            (CLIENT_PORT_IFINDEX, SERVER_PORT_IFINDEX, CLIENT_MAC)
        } else {
            (SERVER_PORT_IFINDEX, CLIENT_PORT_IFINDEX, SERVER_MAC)
        };
        let arrival = Arrival {
            now_ns: self.now_ns,
            wall_ns: 1_700_000_000_000_000_000 + self.now_ns,
            in_port,
            out_port,
            source_mac: Some(mac),
            after_unseen: std::mem::take(&mut self.after_unseen),
            ..Arrival::default()
        };
        self.engine
            .packet(&arrival, decode_ip(&bytes), &mut self.events)
    }
}

/// An IPv4 TCP packet without options and without checksums (the engine is told not to look at them).
pub fn segment(
    ends: (Ipv4Addr, Ipv4Addr),
    ports: (u16, u16),
    seq: u32,
    ack: u32,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let total = (40 + payload.len()) as u16;
    let mut bytes = vec![0x45, 0];
    bytes.extend(total.to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend(ends.0.octets());
    bytes.extend(ends.1.octets());
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}
