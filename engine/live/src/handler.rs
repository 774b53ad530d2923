//! A worker's packets through its engine, and the engine's answers as marks and verdicts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use inspect::detect::SharedState;
use inspect::engine::{Arrival, Clear, Engine, FlowMark, GuestCounters, Outcome, Reason, Settings};
use inspect::policy::{Policy, Shield};
use inspect::rule::Variables;
use inspect::wire::{decode_ip, Packet};
use inspect::Direction;
use nfqueue::{Decision, Handler, QueuedPacket};
use serde::Serialize;

use crate::overload::Shares;
use crate::shed::Shed;
use crate::{EventSink, PolicyReader, ResetSender, Severity, WorkerContext};

/// Bits of the packet mark; ARCHITECTURE.md has the whole layout.
mod mark {
    /// The inspector has seen the packet.
    pub const SEEN: u32 = 0x0100_0000;
    /// Drop this packet and its flow.
    pub const DROP: u32 = 0x0200_0000;
    /// Forget that a flow was dropped, if it was: this packet opens a new one.
    pub const FORGET: u32 = 0x0800_0000;

    /// On the way here: the kernel saw the connection begin.
    pub const PLACED: u32 = 0x0200_0000;
    /// On the way here, if placed: the packet is the server's.
    pub const FROM_SERVER: u32 = 0x0800_0000;
    /// On the way here: packets of the connection passed unseen before this one.
    pub const AFTER_UNSEEN: u32 = SEEN;
    /// All that means something else, or nothing, on the way back.
    pub const INBOUND: u32 = QUEUED | WORKER | PLACED | FROM_SERVER | ENCRYPTED;
    const QUEUED: u32 = 0x0080_0000;
    const WORKER: u32 = 0x0070_0000;

    /// On the way back: nobody looks at what clients send any more.
    pub const CLEAR_TO_SERVER: u32 = 0x0010_0000;
    /// On the way back: nobody looks at what servers send any more.
    pub const CLEAR_TO_CLIENT: u32 = 0x0020_0000;
    /// On the way back: the policy's generation is odd.
    pub const ODD: u32 = 0x0040_0000;
    /// On the way back: what is cleared is encrypted.
    pub const ENCRYPTED: u32 = 0x0400_0000;
}

/// A policy and what its workers share.
#[derive(Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Its counters.
    pub shared: Arc<SharedState>,
    /// How often packets passed unseen before it was loaded.
    pub unseen: u32,
}

impl Loaded {
    /// No guests, no signatures: every packet passes.
    pub fn nothing() -> Self {
        let policy = Policy::empty(&Variables::default());
        Self {
            policy: Arc::new(policy),
            shared: Arc::default(),
            unseen: 0,
        }
    }
}

/// What a worker shows of its engine, renewed about every 100 ms.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Published {
    packets: u64,
    flows: u64,
    malformed: u64,
    stream_drops: u64,
    told: u64,
    untold: u64,
    failures: BTreeMap<String, u64>,
    guests: BTreeMap<String, PublishedGuest>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct PublishedGuest {
    bytes: u64,
    uninspected: BTreeMap<&'static str, u64>,
    shed_dropped: u64,
    blocked: u64,
    alerts: u64,
}

impl PublishedGuest {
    fn add(&mut self, counters: &GuestCounters) {
        self.bytes += counters.bytes;
        self.shed_dropped += counters.shed_dropped;
        self.blocked += counters.blocked;
        self.alerts += counters.alerts;
        for reason in Reason::ALL {
            let bytes = counters.uninspected[reason as usize];
            if bytes > 0 {
                *self.uninspected.entry(reason.as_str()).or_default() += bytes;
            }
        }
    }
}

impl Published {
    fn of(engine: &Engine) -> Self {
        let counters = engine.counters();
        let mut guests: BTreeMap<String, PublishedGuest> = BTreeMap::new();
        for (name, counted) in counters.guests() {
            guests.entry(name.to_owned()).or_default().add(&counted);
        }
        Self {
            packets: counters.packets,
            flows: engine.flow_count() as u64,
            malformed: counters.malformed,
            stream_drops: counters.stream_drops,
            told: counters.told,
            untold: counters.untold,
            failures: counters
                .failures
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            guests,
        }
    }

    /// All workers' together.
    pub fn merge(workers: &[Self]) -> Self {
        let mut all = Self::default();
        for one in workers {
            all.packets += one.packets;
            all.flows += one.flows;
            all.malformed += one.malformed;
            all.stream_drops += one.stream_drops;
            all.told += one.told;
            all.untold += one.untold;
            for (name, count) in &one.failures {
                *all.failures.entry(name.clone()).or_default() += count;
            }
            for (name, guest) in &one.guests {
                let total = all.guests.entry(name.clone()).or_default();
                total.bytes += guest.bytes;
                total.shed_dropped += guest.shed_dropped;
                total.blocked += guest.blocked;
                total.alerts += guest.alerts;
                for (reason, bytes) in &guest.uninspected {
                    *total.uninspected.entry(reason).or_default() += bytes;
                }
            }
        }
        all
    }
}

/// One worker's handler.
pub struct PacketHandler {
    engine: Engine,
    policy: PolicyReader<Loaded>,
    events: EventSink,
    resets: Option<ResetSender>,
    published: Arc<Vec<Mutex<Published>>>,
    worker: usize,
    began: Instant,
    shares: Shares,
    shed: Shed,
}

/// Hands the engine's events to the spool's writer.
struct Sink<'a>(&'a EventSink);

impl inspect::engine::EventSink for Sink<'_> {
    fn event(&mut self, severity: u8, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.0.send(Severity::new(severity), line);
    }
}

impl PacketHandler {
    /// A handler without flows; `memory` bounds what its flows hold.
    pub fn new(
        context: WorkerContext,
        mut policy: PolicyReader<Loaded>,
        published: Arc<Vec<Mutex<Published>>>,
        memory: usize,
        shares: Shares,
    ) -> Self {
        let mut settings = Settings::live(seed());
        settings.flows.max_memory_bytes = memory;
        let loaded = policy.current();
        let engine = Engine::new(settings, loaded.policy.clone(), loaded.shared.clone());
        Self {
            engine,
            policy,
            events: context.events,
            resets: context.resets,
            published,
            worker: context.worker,
            began: Instant::now(),
            shares,
            shed: Shed::default(),
        }
    }

    fn arrival(&self, wall_ns: u64) -> Arrival {
        Arrival {
            now_ns: self.now_ns(),
            wall_ns,
            ..Arrival::default()
        }
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn guest_at(&self, port: u32) -> String {
        let policy = self.engine.policy();
        let shield = policy
            .port(port)
            .and_then(|it| policy.shields().get(it.shield as usize));
        shield.map_or_else(|| format!("at port {port}"), |shield| shield.guest.clone())
    }

    fn follow_policy(&mut self) {
        let loaded = self.policy.current();
        if !Arc::ptr_eq(&loaded.policy, self.engine.policy()) {
            self.engine
                .swap(loaded.policy.clone(), loaded.shared.clone());
        }
        self.engine.note_unseen(loaded.unseen);
    }
}

impl Handler for PacketHandler {
    fn packet(&mut self, packet: &QueuedPacket<'_>, wall_ns: u64) -> Decision {
        self.follow_policy();
        let decoded = decode_ip(packet.payload);
        let arrival = Arrival {
            in_port: packet.in_dev,
            out_port: packet.out_dev,
            source_mac: packet.src_mac,
            truncated: packet.truncated() || is_bundle(packet, &decoded),
            verify_checksum: packet.checksum_ready,
            travels: travels(packet.mark),
            after_unseen: packet.mark & mark::AFTER_UNSEEN != 0,
            ..self.arrival(wall_ns)
        };
        let policy = self.engine.policy();
        let payer = policy.payer(arrival.in_port, arrival.out_port);
        if self.shares.sheds(payer, packet.waited, arrival.now_ns) {
            let outcome = self.engine.shed(&arrival, &decoded);
            self.shed.note(payer, packet.original_len, outcome.block);
            return decide(packet.mark, &outcome, self.engine.policy().generation);
        }
        let outcome = self
            .engine
            .packet(&arrival, decoded, &mut Sink(&self.events));
        if let Some(resets) = &self.resets {
            for (port, frame) in &outcome.frames {
                resets.send(*port, frame);
            }
        }
        let now_ns = self.now_ns();
        self.shares.charge(payer, now_ns - arrival.now_ns, now_ns);
        decide(packet.mark, &outcome, self.engine.policy().generation)
    }

    fn idle(&mut self, wall_ns: u64) {
        self.follow_policy();
        let arrival = self.arrival(wall_ns);
        self.engine.tick(&arrival, &mut Sink(&self.events));
        for (payer, amount) in self.shed.due(arrival.now_ns) {
            let line = amount.line(&self.guest_at(payer));
            self.events.send(Severity::MOST, &line);
        }
        if let Some(published) = self.published.get(self.worker) {
            *published.lock().unwrap_or_else(PoisonError::into_inner) = Published::of(&self.engine);
        }
    }
}

/// Whether it is several datagrams in one, which the kernel would cut up later: UDP segmentation offload.
///
/// A queue does not tell where one ends and the next begins, so all but the first are hidden from us; and a queue
/// that asks the kernel to cut them up first gets nothing usable in the bridge family.
fn is_bundle(packet: &QueuedPacket<'_>, decoded: &Packet<'_>) -> bool {
    packet.gso && decoded.tcp().is_none()
}

/// The engine's answer as the kernel understands it.
///
/// A flow that must stay dropped is accepted with the drop mark: a packet dropped here would reach no later hook,
/// and only a later hook can write the mark to the connection and drop the packet.
fn decide(mark: u32, outcome: &Outcome, generation: u32) -> Decision {
    let mark = mark & !mark::INBOUND | mark::SEEN;
    match (outcome.block, outcome.flow) {
        (true, FlowMark::Drop) => Decision::accept_with(mark | mark::DROP),
        (true, _) => Decision::DROP,
        (false, flow) => {
            let forget = if flow == FlowMark::Forget {
                mark::FORGET
            } else {
                0
            };
            Decision::accept_with(mark | forget | cleared(outcome.clear, generation))
        }
    }
}

/// What the kernel need not show of the flow, and under which policy: it forgets that when the policy changes.
fn cleared(clear: Clear, generation: u32) -> u32 {
    let [to_server, to_client] = clear.directions;
    let bits = [
        (to_server, mark::CLEAR_TO_SERVER),
        (to_client, mark::CLEAR_TO_CLIENT),
        (to_server && to_client && clear.encrypted, mark::ENCRYPTED),
        (generation & 1 == 1, mark::ODD),
    ];
    let set = bits.into_iter().filter(|(set, _)| *set);
    set.fold(0, |bits, (_, bit)| bits | bit)
}

/// Which way the packet travels in its connection, where the kernel saw that begin.
fn travels(mark: u32) -> Option<Direction> {
    match (mark & mark::PLACED, mark & mark::FROM_SERVER) {
        (0, _) => None,
        (_, 0) => Some(Direction::ToServer),
        _ => Some(Direction::ToClient),
    }
}

/// Whether a packet whose inspection failed must be dropped.
pub fn fails_closed(policy: &Policy, packet: &QueuedPacket<'_>) -> bool {
    let shield = |port: u32| {
        policy
            .port(port)
            .and_then(|port| policy.shields().get(port.shield as usize))
    };
    let closed = |shield: &Shield| shield.failure.parser_error.closes();
    [packet.in_dev, packet.out_dev]
        .into_iter()
        .filter_map(shield)
        .any(closed)
}

/// Keys the flow table's hash, so that no peer can make its flows collide.
fn seed() -> [u64; 2] {
    use std::hash::{BuildHasher, RandomState};
    [
        RandomState::new().hash_one(0u8),
        RandomState::new().hash_one(1u8),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark_of(outcome: &Outcome, generation: u32) -> Option<u32> {
        // A foreign bit, both ports, and everything that is set on the way here.
        decide(0x1abc_dabc | mark::INBOUND, outcome, generation).mark
    }

    fn clearing(directions: [bool; 2], encrypted: bool) -> Outcome {
        let clear = Clear {
            directions,
            encrypted,
        };
        Outcome {
            clear,
            ..Outcome::default()
        }
    }

    #[test]
    fn an_answer_replaces_what_the_mark_said_on_the_way_here() {
        let ports = 0x100c_dabc | mark::SEEN;
        assert_eq!(mark_of(&Outcome::default(), 2), Some(ports));
        assert_eq!(mark_of(&Outcome::default(), 3), Some(ports | mark::ODD));
    }

    #[test]
    fn what_is_cleared_is_said_with_the_policy_it_is_cleared_by() {
        let ports = 0x100c_dabc | mark::SEEN;
        let (to_server, to_client) = (mark::CLEAR_TO_SERVER, mark::CLEAR_TO_CLIENT);
        for (outcome, bits) in [
            (clearing([false, true], false), to_client),
            (clearing([true, false], false), to_server),
            (
                clearing([true, true], true),
                to_server | to_client | mark::ENCRYPTED,
            ),
            (clearing([false, true], true), to_client),
        ] {
            assert_eq!(mark_of(&outcome, 4), Some(ports | bits));
            assert_eq!(mark_of(&outcome, 5), Some(ports | bits | mark::ODD));
        }
    }

    #[test]
    fn a_packet_that_opens_a_connection_has_an_earlier_drop_forgotten() {
        let outcome = Outcome {
            flow: FlowMark::Forget,
            ..clearing([true, false], false)
        };
        let bits = mark::SEEN | mark::FORGET | mark::CLEAR_TO_SERVER;
        assert_eq!(mark_of(&outcome, 4), Some(0x100c_dabc | bits));
    }

    #[test]
    fn a_blocked_packet_clears_nothing() {
        let outcome = Outcome {
            block: true,
            flow: FlowMark::Drop,
            ..clearing([true, true], true)
        };
        assert_eq!(
            mark_of(&outcome, 4),
            Some(0x100c_dabc | mark::SEEN | mark::DROP)
        );
    }

    #[test]
    fn a_packet_says_which_way_it_travels_only_if_its_connection_was_seen_to_begin() {
        assert_eq!(travels(0), None);
        assert_eq!(travels(mark::FROM_SERVER), None);
        assert_eq!(travels(mark::PLACED), Some(Direction::ToServer));
        assert_eq!(
            travels(mark::PLACED | mark::FROM_SERVER),
            Some(Direction::ToClient)
        );
    }
}
