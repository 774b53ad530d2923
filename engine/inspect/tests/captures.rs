//! Every capture of the corpora goes through decoding, defragmenting, the flow table and the TCP sessions, in both
//! stream modes: nothing panics, nothing hangs, and what is malformed is counted by reason.
//!
//! `cargo test --test captures -- --nocapture` prints the counts. The corpora are found through
//! `SEKISHO_CORPORA`, or in `shared/corpora` or `corpora` beside or above the checkout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inspect::flow::{FlowLimits, FlowTable};
use inspect::stream::{StreamConfig, TcpSession, Verdict};
use inspect::wire::{decode_ip, decode_link, transport_checksum_ok};
use inspect::wire::{CaptureReader, DefragLimits, DefragPolicy, Defragmenter, Packet, Reassembly};
use inspect::Direction::{ToClient, ToServer};

fn corpora() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("SEKISHO_CORPORA") {
        return Some(PathBuf::from(path)).filter(|path| path.is_dir());
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = here
        .ancestors()
        .flat_map(|up| [up.join("shared/corpora"), up.join("corpora")]);
    places.into_iter().find(|path| path.is_dir())
}

fn captures(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => captures(&path, found),
            Some("pcap" | "pcapng" | "cap") => found.push(path),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn add(&mut self, what: impl Into<String>, n: u64) {
        *self.0.entry(what.into()).or_default() += n;
    }
}

/// One capture's way through the layers.
struct Way<'a> {
    config: StreamConfig,
    defragmenter: Defragmenter,
    flows: FlowTable<Option<TcpSession>>,
    counts: &'a mut Counts,
}

impl Way<'_> {
    fn see(&mut self, packet: &Packet<'_>, now_ns: u64) {
        if transport_checksum_ok(packet) == Some(false) {
            self.counts.add("checksum wrong", 1);
        }
        if packet.fragment().is_none() {
            return self.follow(packet, now_ns);
        }
        self.counts.add("fragments", 1);
        let whole = match self.defragmenter.push(0, packet, now_ns) {
            Reassembly::Whole(whole) => whole.to_vec(),
            Reassembly::Refused(event) => {
                return self.counts.add(format!("fragment refused: {event:?}"), 1)
            }
            Reassembly::Waiting | Reassembly::NotAFragment => return,
        };
        match decode_ip(&whole).checked() {
            Ok(packet) => {
                self.counts.add("reassembled", 1);
                self.follow(&packet, now_ns);
            }
            Err(malformed) => self
                .counts
                .add(format!("malformed once reassembled: {malformed}"), 1),
        }
    }

    fn follow(&mut self, packet: &Packet<'_>, now_ns: u64) {
        let config = self.config;
        let fresh = packet.tcp().map(|_| TcpSession::new(config));
        let Some(lookup) = self.flows.find_or_create(0, packet, now_ns, |_| (0, fresh)) else {
            return;
        };
        self.counts.add("flows", u64::from(lookup.created));
        let (Some(tcp), Some(flow)) = (packet.tcp(), self.flows.get_mut(lookup.id)) else {
            return;
        };
        let Some(session) = flow.data.as_mut() else {
            return;
        };
        let mut outcome = session.on_segment(lookup.direction, tcp, packet.payload, now_ns);
        if outcome.verdict == Verdict::NewSession {
            *session = session.successor();
            outcome = session.on_segment(lookup.direction, tcp, packet.payload, now_ns);
            assert_ne!(
                outcome.verdict,
                Verdict::NewSession,
                "a successor takes its first segment"
            );
        }
        if outcome.verdict != Verdict::Accept {
            self.counts.add(format!("{:?}", outcome.verdict), 1);
        }
        self.counts.add("stream bytes", drain(session));
    }
}

/// Reads all that is there, gaps stepped over; says how many bytes.
fn drain(session: &mut TcpSession) -> u64 {
    let mut read = 0;
    for direction in [ToServer, ToClient] {
        loop {
            let n = session.readable(direction).len();
            let before = session.offset(direction);
            session.consume(direction, n);
            assert_eq!(session.offset(direction), before + n as u64);
            read += n as u64;
            if session.gap(direction).is_none() {
                break;
            }
            assert!(session.skip_gap(direction) > 0);
        }
    }
    read
}

fn run(config: StreamConfig, policy: DefragPolicy) -> Option<Counts> {
    let Some(folder) = corpora() else {
        eprintln!("skipped: no captures (set SEKISHO_CORPORA to a folder of captures)");
        return None;
    };
    let mut paths = Vec::new();
    captures(&folder, &mut paths);
    let mut counts = Counts::default();
    for path in paths {
        let file = std::fs::File::open(&path).unwrap();
        counts.add("captures", 1);
        let mut reader = match CaptureReader::new(file) {
            Ok(reader) => reader,
            Err(error) => {
                counts.add(format!("capture refused: {error}"), 1);
                continue;
            }
        };
        let mut way = Way {
            config,
            defragmenter: Defragmenter::new(policy, DefragLimits::default()),
            flows: FlowTable::new(FlowLimits::default(), [3, 4]),
            counts: &mut counts,
        };
        while let Some(record) = reader.next_record() {
            let Ok(record) = record else {
                way.counts.add("captures that end badly", 1);
                break;
            };
            way.counts.add("packets", 1);
            match decode_link(record.link_type, record.data).checked() {
                Ok(packet) => way.see(&packet, record.timestamp_ns),
                Err(malformed) => way.counts.add(format!("malformed: {malformed}"), 1),
            }
        }
        way.flows.end_all();
        while let Some((flow, _)) = way.flows.pop_ended() {
            if let Some(mut session) = flow.data {
                session.flush();
                way.counts.add("stream bytes", drain(&mut session));
            }
        }
    }
    for (what, n) in &counts.0 {
        println!("{n:>12}  {what}");
    }
    Some(counts)
}

#[test]
fn captures_pass_beside_the_ends() {
    let Some(counts) = run(StreamConfig::detect(), DefragPolicy::Bsd) else {
        return;
    };
    let drops = counts
        .0
        .keys()
        .find(|what| what.starts_with("Drop") || what.starts_with("Undecided"));
    assert_eq!(drops, None, "detect mode has nothing dropped");
    assert!(counts.0["stream bytes"] > 0);
}

#[test]
fn captures_pass_inline() {
    let Some(counts) = run(StreamConfig::inline(), DefragPolicy::Strict) else {
        return;
    };
    assert!(counts.0["stream bytes"] > 0);
}
