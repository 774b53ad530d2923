//! One worker: its flows, and what becomes of each packet.
//!
//! ```text
//! packet ─► defragment ─► flow ─► TCP stream ─► application ─► signatures ─► judgement ─► outcome, events
//! ```
//! The same code serves the live path and offline replay; [`Settings::inline`] is the difference: inline, bytes
//! are judged when they arrive and may be held back, offline they are judged when they were acknowledged.
mod beginnings;
mod conversation;
mod counters;
mod expected;
mod failure;
mod inspect;
mod judge;
mod lone;
mod reader;
mod report;
mod reset;
mod steer;
mod tally;
mod views;

use std::cell::RefCell;
use std::sync::Arc;

use crate::app::{self, HashKinds};
use crate::detect::{Scratch, SharedState};
use crate::event::Outer;
use crate::flow::{FlowLimits, FlowTable, FlowTimeouts};
use crate::policy::Policy;
use crate::stream::{Mode, StreamConfig};
use crate::wire::{DefragLimits, DefragPolicy, Defragmenter, Packet, Reassembly, Tunnel};
use crate::Direction;
use conversation::Conversation;

pub use counters::{Counters, GuestCounters, Reason};
pub use report::{EventSink, Records};

/// Tunnels opened one in the other; what is nested deeper is not looked into.
const MAX_TUNNELS: usize = 8;
/// Idle flows ended in one call of [`Engine::tick`], so that no packet waits long behind it.
const EXPIRE_BUDGET: usize = 256;

/// How an engine works; the same for all its life.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Between the guests: judge at once, hold back what matches.
    pub inline: bool,
    /// Which events are written beside alerts.
    pub records: Records,
    /// The stream's mode and bounds.
    pub stream: StreamConfig,
    /// Bounds of the flow table.
    pub flows: FlowLimits,
    /// Bounds of fragments.
    pub fragments: DefragLimits,
    /// Bounds and depths of application protocols.
    pub app: app::Settings,
    /// Keys the hash of the flow table: randomness on the live path.
    pub seed: [u64; 2],
}

impl Settings {
    /// Offline, as Suricata's IDS mode.
    pub fn offline() -> Self {
        Self {
            inline: false,
            records: Records::ALL,
            stream: StreamConfig::detect(),
            flows: FlowLimits::default(),
            fragments: DefragLimits::default(),
            app: app::Settings {
                answered_only: true,
                ..app::Settings::default()
            },
            seed: [0; 2],
        }
    }

    /// Offline, as Suricata simulates IPS mode.
    pub fn offline_ips() -> Self {
        Self {
            inline: true,
            stream: StreamConfig::rewrite(),
            app: app::Settings::default(),
            ..Self::offline()
        }
    }

    /// The live path.
    pub fn live(seed: [u64; 2]) -> Self {
        Self {
            inline: true,
            flows: FlowLimits {
                timeouts: FlowTimeouts::live(),
                ..FlowLimits::default()
            },
            records: Records::LIVE,
            stream: StreamConfig::inline(),
            app: app::Settings::default(),
            seed,
            ..Self::offline()
        }
    }
}

/// What is known of a packet's arrival beyond its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival {
    /// Monotonic time (offline: capture time); drives timeouts.
    pub now_ns: u64,
    /// Unix time, for events.
    pub wall_ns: u64,
    /// Interface index of the bridge port it came in by; 0: unknown.
    pub in_port: u32,
    /// Interface index of the bridge port it leaves by; 0: unknown.
    pub out_port: u32,
    /// Its sender's MAC address.
    pub source_mac: Option<[u8; 6]>,
    /// Its number in the capture, from 1.
    pub number: Option<u64>,
    /// The frame's length, link header included; 0: not known.
    pub frame_bytes: u32,
    /// The copy is shorter than the packet.
    pub truncated: bool,
    /// Which way it travels in its connection, where the kernel saw that begin.
    pub travels: Option<Direction>,
    /// Packets of its connection passed unseen since the last one of it, in whichever direction.
    pub after_unseen: bool,
    /// It was put together from fragments; the engine sets this itself.
    pub defragmented: bool,
    /// The packet around it; the engine sets this itself.
    pub outer: Option<Outer>,
    /// The transport checksum is meant to be right (not left to hardware), so a wrong one tells something.
    pub verify_checksum: bool,
}

/// What the kernel is told about the flow beside the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowMark {
    /// Nothing.
    #[default]
    Keep,
    /// Drop every further packet of it.
    Drop,
    /// A drop that may have been set earlier is over: these addresses and ports start anew.
    Forget,
}

/// What becomes of a packet.
#[derive(Debug, Default)]
pub struct Outcome {
    /// It must not be delivered.
    pub block: bool,
    /// What the kernel is told about its flow.
    pub flow: FlowMark,
    /// Frames to be sent: (interface index of the port, frame).
    pub frames: Vec<(u32, Vec<u8>)>,
    /// What of its flow need not be shown any more under this policy.
    pub clear: Clear,
}

/// What of a flow need not be shown any more: the last packet's answer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clear {
    /// By direction: only SYN, FIN and RST are shown.
    pub directions: [bool; 2],
    /// Because it is encrypted.
    pub encrypted: bool,
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.block |= other.block;
        if other.flow != FlowMark::Keep {
            self.flow = other.flow;
        }
        self.frames.extend(other.frames);
        self.clear = Clear::default();
    }
}

/// Inspects packets; one per worker, owning the flows that the kernel steers to it.
pub struct Engine {
    defragmenter: Defragmenter,
    flows: FlowTable<Conversation>,
    desk: Desk,
}

/// What inspection needs beside the flow at hand.
struct Desk {
    settings: Settings,
    /// The same for every connection.
    stream: Arc<StreamConfig>,
    policy: Arc<Policy>,
    shared: Arc<SharedState>,
    scratch: Scratch,
    agreements: expected::Agreements,
    /// The record that is being written; its memory is used again.
    line: RefCell<Vec<u8>>,
    counters: Counters,
    /// How often packets of all connections passed unseen.
    unseen: u32,
}

impl Engine {
    /// An engine without flows. `shared` is shared by all workers.
    pub fn new(settings: Settings, policy: Arc<Policy>, shared: Arc<SharedState>) -> Self {
        let overlaps = match settings.stream.mode {
            Mode::Inline => DefragPolicy::Strict,
            Mode::Rewrite | Mode::Detect(_) => DefragPolicy::default(),
        };
        let counters = Counters::new(&policy);
        let mut settings = settings;
        settings.compute_for(&policy);
        Self {
            defragmenter: Defragmenter::new(overlaps, settings.fragments),
            flows: FlowTable::new(settings.flows, settings.seed),
            desk: Desk {
                stream: Arc::new(settings.stream),
                settings,
                policy,
                shared,
                scratch: Scratch::default(),
                agreements: expected::Agreements::default(),
                line: RefCell::default(),
                counters,
                unseen: 0,
            },
        }
    }

    /// Runs another policy from the next packet on; every flow is armed anew when it is next seen.
    ///
    /// What is shared begins anew: it is keyed by its own signature numbers.
    pub fn swap(&mut self, policy: Arc<Policy>, shared: Arc<SharedState>) {
        self.desk.counters.follow(&policy);
        // Files that are under way keep what was computed of them so far.
        self.desk.settings.compute_for(&policy);
        self.desk.policy = policy;
        self.desk.shared = shared;
    }

    /// Says how often packets of any connection may have passed without being shown. Where that is another number
    /// than before, each stream that was there goes on at the next segment that is inspected.
    pub fn note_unseen(&mut self, times: u32) {
        self.desk.unseen = times;
    }

    /// The policy that runs.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.desk.policy
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.desk.counters
    }

    /// Flows now.
    pub fn flow_count(&self) -> usize {
        self.flows.len()
    }

    /// Inspects one packet.
    pub fn packet(
        &mut self,
        arrival: &Arrival,
        mut packet: Packet<'_>,
        sink: &mut dyn EventSink,
    ) -> Outcome {
        self.desk.counters.packets += 1;
        self.desk.counters.bytes += u64::from(arrival.frame_bytes);
        let outcome = self.layer(arrival, &mut packet, sink, 0);
        self.collect_ended(arrival, sink);
        outcome
    }

    /// Answers a packet without inspecting it, for there is no time.
    ///
    /// One that passes is lost for its stream: that goes on at the next segment that is inspected.
    pub fn shed(&mut self, arrival: &Arrival, packet: &Packet<'_>) -> Outcome {
        let outcome = self.desk.shed(arrival, packet.ip_bytes().len() as u64);
        if outcome.block && !arrival.after_unseen {
            return outcome;
        }
        let zone = self.desk.zone(arrival, packet, 0);
        if let Some((flow, direction)) = self.flows.find(zone, packet) {
            if !outcome.block {
                flow.data.lose_sight(direction);
            }
            flow.data.heed(arrival, self.desk.unseen);
        }
        outcome
    }

    /// Ends idle flows. To be called now and then also without traffic.
    pub fn tick(&mut self, arrival: &Arrival, sink: &mut dyn EventSink) {
        self.flows.expire(arrival.now_ns, EXPIRE_BUDGET);
        self.collect_ended(arrival, sink);
    }

    /// Ends every flow: what is still held back is inspected and reported.
    pub fn finish(&mut self, arrival: &Arrival, sink: &mut dyn EventSink) {
        self.flows.end_all();
        self.collect_ended(arrival, sink);
        self.desk.report_stats(arrival, sink);
    }

    /// One packet, itself or out of a tunnel or put together; then what it carries.
    fn layer(
        &mut self,
        arrival: &Arrival,
        packet: &mut Packet<'_>,
        sink: &mut dyn EventSink,
        tunnels: usize,
    ) -> Outcome {
        if packet.fragment().is_some() {
            return self.fragment(arrival, packet, sink, tunnels);
        }
        let mut inner = crate::wire::inner_packet(packet);
        let offline = !self.desk.settings.inline;
        // Asked by reference: what is asked by value is copied first, and it is large.
        if offline && inner.as_ref().map(|it| it.tunnel) == Some(Tunnel::Ip4InIp4) {
            inner = None;
        }
        if inner.as_ref().is_some_and(|it| !it.is_broken()) {
            // It is the inner packet's; a signature is not to see it in both.
            packet.payload = &[];
        }
        self.desk.report_decoding(arrival, packet, sink);
        let zone = self.desk.zone(arrival, packet, tunnels);
        let mut outcome = self
            .desk
            .flow_packet(&mut self.flows, zone, arrival, packet, sink);
        if packet.malformed.is_some() || arrival.truncated {
            outcome.merge(self.desk.hidden(arrival));
        }
        match inner {
            // On a port that tunnels use there may be anything else; a protocol of its own says what it is.
            Some(inner) if inner.is_broken() && inner.tunnel.is_by_port() => {}
            Some(inner) if inner.is_broken() => outcome.merge(self.desk.hidden(arrival)),
            Some(mut inner) if tunnels < MAX_TUNNELS => {
                let arrival = Arrival {
                    number: None,
                    frame_bytes: 0,
                    defragmented: false,
                    outer: report::outer(arrival, packet, &inner),
                    ..*arrival
                };
                outcome.merge(self.layer(&arrival, &mut inner.packet, sink, tunnels + 1));
            }
            Some(_) => outcome.merge(self.desk.hidden(arrival)),
            None => {}
        }
        outcome
    }

    /// One fragment, and the datagram that it completes.
    fn fragment(
        &mut self,
        arrival: &Arrival,
        packet: &mut Packet<'_>,
        sink: &mut dyn EventSink,
        tunnels: usize,
    ) -> Outcome {
        let zone = self.desk.zone(arrival, packet, tunnels);
        let mut refused = false;
        let whole = match self.defragmenter.push(zone, packet, arrival.now_ns) {
            Reassembly::Whole(whole) => Some(whole.to_vec()),
            Reassembly::Refused(_) => {
                refused = true;
                None
            }
            Reassembly::Waiting | Reassembly::NotAFragment => None,
        };
        let v6 = packet.addresses().is_some_and(|ends| ends.0.is_ipv6());
        for event in self.defragmenter.take_events() {
            packet.events.extend(event.events(v6));
        }
        self.desk.report_decoding(arrival, packet, sink);
        let mut outcome = self.desk.lone_packet(arrival, packet, sink);
        if refused {
            outcome.merge(self.desk.hidden(arrival));
        }
        if let Some(whole) = whole {
            // What comes out of fragments is not to be unpacked without end either.
            let mut whole = crate::wire::decode_ip(&whole);
            (whole.vlans, whole.ethernet) = (packet.vlans, packet.ethernet);
            let arrival = &Arrival {
                defragmented: true,
                frame_bytes: 0,
                ..*arrival
            };
            outcome.merge(match tunnels < MAX_TUNNELS {
                true => self.layer(arrival, &mut whole, sink, tunnels),
                false => self.desk.hidden(arrival),
            });
        }
        outcome
    }

    fn collect_ended(&mut self, arrival: &Arrival, sink: &mut dyn EventSink) {
        while let Some((mut flow, reason)) = self.flows.pop_ended() {
            self.desk.end_flow(arrival, &mut flow, reason, sink);
        }
    }
}

impl Settings {
    /// Has computed what the policy's signatures ask for, and the records.
    fn compute_for(&mut self, policy: &Policy) {
        let recorded = HashKinds {
            sha256: self.records.files,
            ..HashKinds::NONE
        };
        let matcher = &policy.matcher;
        let hashes = matcher.file_hashes().or(recorded);
        self.app.look_at_files(hashes, matcher.reads_magic());
        self.app.hassh = matcher.reads_hassh();
    }
}
