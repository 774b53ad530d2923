//! Responses built to slip past an inspector, from the suricata-verify suite: each must show its body.
//!
//! Every capture holds one test file in a response of odd framing, coding or line ends. The captures are not
//! part of this repository: `SEKISHO_CORPORA` names their folder.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use inspect::app::http::{Connection, Settings};
use inspect::stream::{StreamConfig, TcpSession};
use inspect::wire::{decode_link, Packet, Transport};
use inspect::Direction::{self, ToClient, ToServer};

const TEST_FILE: &[&[u8]] = &[b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE", b"X5O!P%@AP[4"];

fn corpora() -> Option<PathBuf> {
    let beside = |up: &Path| up.join("shared/corpora");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(beside)
        .find(|path| path.is_dir());
    std::env::var_os("SEKISHO_CORPORA")
        .map(PathBuf::from)
        .or(here)
}

/// The packets of a little-endian pcap file, and its link type.
fn packets(file: &[u8]) -> (u32, Vec<&[u8]>) {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert!(
        matches!(word(0), 0xa1b2_c3d4 | 0xa1b2_3c4d),
        "not a little-endian pcap file"
    );
    let mut packets = Vec::new();
    let mut at = 24;
    while at + 16 <= file.len() {
        let length = word(at + 8) as usize;
        packets.push(&file[at + 16..at + 16 + length]);
        at += 16 + length;
    }
    (word(20), packets)
}

/// One TCP connection and its HTTP; what the transactions' response bodies held.
struct Flow {
    client: (IpAddr, u16),
    session: TcpSession,
    http: Connection,
    bodies: Vec<Vec<u8>>,
}

impl Flow {
    fn new(client: (IpAddr, u16)) -> Self {
        let session = TcpSession::new(StreamConfig::detect());
        Self {
            client,
            session,
            http: Connection::new(Settings::default()),
            bodies: Vec::new(),
        }
    }

    fn take(&mut self, packet: &Packet<'_>, now_ns: u64) {
        let (Transport::Tcp(tcp), Some((src, _)), Some((src_port, _))) =
            (&packet.transport, packet.addresses(), packet.ports())
        else {
            return;
        };
        let direction = if (src, src_port) == self.client {
            ToServer
        } else {
            ToClient
        };
        self.session
            .on_segment(direction, tcp, packet.payload, now_ns);
        self.read();
    }

    fn read(&mut self) {
        for direction in [ToServer, ToClient] {
            let bytes = self.session.readable(direction).to_vec();
            self.http.feed(direction, &bytes);
            self.session.consume(direction, bytes.len());
            if self.session.ended(direction) {
                self.http.close(direction);
            }
        }
        while let Some(transaction) = self.http.pop_finished() {
            self.bodies.push(transaction.response.body.file.bytes);
        }
    }

    fn end(mut self) -> Vec<Vec<u8>> {
        self.session.flush();
        self.read();
        for direction in Direction::BOTH {
            self.http.close(direction);
        }
        self.read();
        self.bodies
    }
}

/// Every response body in a capture.
fn bodies(capture: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::read(capture).unwrap();
    let (link_type, packets) = packets(&file);
    let mut flows: HashMap<(IpAddr, u16), Flow> = HashMap::new();
    for (at, bytes) in packets.into_iter().enumerate() {
        let Ok(packet) = decode_link(link_type, bytes).checked() else {
            continue;
        };
        let (Some((src, dst)), Some((src_port, dst_port))) = (packet.addresses(), packet.ports())
        else {
            continue;
        };
        let known = [(src, src_port), (dst, dst_port)]
            .into_iter()
            .find(|end| flows.contains_key(end));
        let client = known.unwrap_or((src, src_port));
        flows
            .entry(client)
            .or_insert_with(|| Flow::new(client))
            .take(&packet, at as u64);
    }
    flows.into_values().flat_map(Flow::end).collect()
}

fn shows(bodies: &[Vec<u8>], needle: &[u8]) -> bool {
    bodies
        .iter()
        .any(|body| memchr::memmem::find(body, needle).is_some())
}

#[test]
fn every_evasion_shows_its_body() {
    let Some(cases) = corpora()
        .map(|path| path.join("cases/http-evader"))
        .filter(|path| path.is_dir())
    else {
        eprintln!("skipped: no http-evader captures (set SEKISHO_CORPORA to their folder)");
        return;
    };
    let mut blind = Vec::new();
    let mut total = 0;
    for case in std::fs::read_dir(&cases).unwrap() {
        let case = case.unwrap().path();
        let bodies = bodies(&case.join("input.pcap"));
        total += 1;
        if !TEST_FILE.iter().all(|needle| shows(&bodies, needle)) {
            blind.push(case.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    blind.sort();
    println!(
        "{} of {total} evasions show their body",
        total - blind.len()
    );
    assert!(blind.is_empty(), "blind to {blind:?}");
}
