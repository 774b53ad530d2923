//! Compiles signatures.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::app::{AppProto, HashKinds};
use crate::rule::buffer::{Buffer, Inspection, Test};
use crate::rule::content::FastPattern;
use crate::rule::group::Group;
use crate::rule::pcre::Life;
use crate::rule::threshold::Whose;
use crate::rule::{
    Action, AddressRange, FlowbitChange, PayloadScene, PortRange, Scene, Signature, Transform,
    Variables,
};
use crate::Direction;

use super::address::{resolve, AddressTest, HomeLists, PortTest};
use super::address_index::{AddressIndex, AddressIndexBuilder};
use super::headers::{Header, Headers, HeadersBuilder, Tests};
use super::lane::{Lane, LaneBuilder};
use super::prefilter::{Builder, Pattern, Prefilter};
use super::remembered::Remembered;
use super::scratch::Scratch;
use super::state::FlowState;

/// The IP protocols that payload is kept apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Tcp,
    Udp,
    Other,
}

impl Class {
    const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Other];

    /// The class of an IP protocol number.
    pub(super) fn of(ip_proto: u8) -> Self {
        match ip_proto {
            6 => Self::Tcp,
            17 => Self::Udp,
            _ => Self::Other,
        }
    }

    fn has(self, signature: &Signature) -> bool {
        let carries = |number| signature.protocol.carries(number);
        match self {
            Self::Tcp => carries(6),
            Self::Udp => carries(17),
            Self::Other => [0, 1, 58, 132].into_iter().any(carries),
        }
    }
}

/// One buffer after transforms, in one direction.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) buffer: &'static Buffer,
    pub(super) transforms: Vec<Transform>,
    pub(super) direction: Direction,
    pub(super) prefilter: Prefilter,
}

/// What of a signature is looked up while evaluating.
#[derive(Debug)]
pub(super) struct Compiled {
    /// Its number among the distinct ones.
    pub(super) header: u32,
    /// Slot of each inspection, by direction; `u32::MAX` for payload.
    pub(super) slots: [Box<[u32]>; 2],
    /// Its buffers are judged together: one fills a variable or captures what another one uses.
    pub(super) joined: bool,
    /// One bit an inspection whose outcome may change when bytes follow.
    pub(super) sees_end: u64,
    /// A prefilter brings it up; it need not be looked at otherwise.
    pub(super) patterned: bool,
    /// It has no content that is to be found.
    pub(super) placeless: bool,
    /// The buffer in which its only contents are to be missing, by inspection: see [`insisting`].
    pub(super) insisting: Option<u32>,
    pub(super) key: u64,
    /// Addresses of which it does not speak.
    pub(super) suppressions: Box<[(Whose, u32)]>,
}

/// Payload's slot number.
pub(super) const PAYLOAD: u32 = u32::MAX;

/// Compiled signatures: immutable, shared by all workers through an `Arc`.
#[derive(Debug)]
pub struct Matcher {
    pub(super) id: u64,
    pub(super) signatures: Vec<Signature>,
    pub(super) compiled: Vec<Compiled>,
    pub(super) headers: Headers,
    /// What flowbits, flows' integers and captures are called.
    names: HashMap<u64, String>,
    /// Packets, by class and direction.
    pub(super) packets: [[Lane; 2]; 3],
    /// Stream bytes, by direction; also for TCP payload that never became part of a stream.
    pub(super) streams: [Lane; 2],
    /// Whether there are signatures on stream bytes, by direction.
    reads_streams: [bool; 2],
    /// Signatures on addresses alone.
    pub(super) addresses_only: AddressIndex,
    /// Signatures on events alone.
    pub(super) events_only: Vec<u32>,
    /// Signatures on packets that ask for an application protocol, or for addresses of which they exclude some, and
    /// for nothing else: a flow that ends with something not shown yet is shown to them too.
    pub(super) ends_only: Vec<u32>,
    /// Signatures on the protocol alone.
    pub(super) protocol_only: Vec<u32>,
    pub(super) slots: Vec<Slot>,
    /// By protocol and direction: slots with patterns, and signatures without one.
    pub(super) transactions: HashMap<(AppProto, Direction), TxLane>,
    /// The same for frames.
    pub(super) frames: HashMap<(AppProto, Direction), TxLane>,
}

/// What one direction of one protocol's transactions is looked at for.
#[derive(Debug, Default)]
pub(super) struct TxLane {
    pub(super) slots: Vec<u32>,
    pub(super) always: Vec<u32>,
}

impl Matcher {
    /// Compiles `signatures`; they get their index in order of evaluation, see [`Matcher::signatures`].
    ///
    /// `variables` must know every variable that the signatures name: `rule::load` saw to that.
    pub fn compile(signatures: Vec<Signature>, variables: &Variables) -> Self {
        Self::compile_with(signatures, variables, true)
    }

    /// With prefilters, or evaluating every signature every time.
    pub(super) fn compile_with(
        mut signatures: Vec<Signature>,
        variables: &Variables,
        filters: bool,
    ) -> Self {
        /// Tells matchers apart, so that flows notice a reload.
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        signatures.sort_by_cached_key(evaluation_order);
        let mut compiler = Compiler::new(variables, filters, signatures.len());
        for (index, signature) in (0u32..).zip(&signatures) {
            compiler.add(index, signature);
        }
        let matcher = compiler.finish(NEXT_ID.fetch_add(1, Ordering::Relaxed), &signatures);
        Self {
            signatures,
            ..matcher
        }
    }

    /// What a flow remembers, by name.
    pub fn remembered<'a>(&'a self, flow: &'a FlowState) -> Remembered<'a> {
        let bits = flow.bits().filter_map(|bit| self.name(*bit));
        let mut remembered = Remembered {
            bits: bits.collect(),
            ..Remembered::default()
        };
        for (name, value) in flow.integers() {
            let named = self.name(*name).map(|name| (name, *value));
            remembered.integers.extend(named);
        }
        for (name, text) in flow.texts() {
            let named = self.name(*name).map(|name| (name, &**text));
            remembered.texts.extend(named);
        }
        remembered
    }

    /// What was captured of the packet at hand, by name.
    pub fn captured<'a>(&'a self, scratch: &'a Scratch) -> Vec<(&'a str, &'a [u8])> {
        let texts = scratch.texts.iter();
        let named = texts.filter_map(|(name, text)| Some((self.name(*name)?, text.as_slice())));
        named.collect()
    }

    fn name(&self, hash: u64) -> Option<&str> {
        self.names.get(&hash).map(String::as_str)
    }

    /// Whether signatures look at the stream of `direction`.
    pub fn reads_streams(&self, direction: Direction) -> bool {
        self.reads_streams[direction as usize]
    }

    /// Whether signatures ask what a file is by its first bytes.
    pub fn reads_magic(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.buffer.name == "file.magic")
    }

    /// Whether signatures ask for fingerprints of SSH's key exchanges.
    pub fn reads_hassh(&self) -> bool {
        let mut names = self.slots.iter().map(|slot| slot.buffer.name);
        names.any(|name| name.starts_with("ssh.hassh"))
    }

    /// The hashes of files that signatures compare.
    pub fn file_hashes(&self) -> HashKinds {
        let tests = self.signatures.iter().flat_map(|it| &it.tx_tests);
        tests.fold(HashKinds::NONE, |kinds, test| kinds.or(test.file_hashes()))
    }

    /// The names of the frames of `app` that signatures look at.
    pub fn wanted_frames(&self, app: AppProto) -> SmallVec<[&'static str; 4]> {
        let mut names = SmallVec::new();
        if !self.frames.is_empty() {
            let slots = self
                .slots
                .iter()
                .filter(|slot| slot.buffer.apps.contains(app));
            for name in slots.filter_map(|slot| slot.buffer.frame) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// The signatures in order of evaluation; indices in hits and sets point into this slice.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }
}

/// By action; then, of each kind of state, those that set it before those that read it; then by priority.
///
/// Source: the order in which Suricata 7 sorts signatures.
fn evaluation_order(signature: &Signature) -> (Action, [u8; 6], u32) {
    let rank = |sets: bool, reads: bool| match (sets, reads) {
        (true, true) => 0,
        (true, false) => 1,
        (false, false) => 2,
        (false, true) => 3,
    };
    let flowbits = rank(
        signature
            .flowbit_changes
            .iter()
            .any(|change| matches!(change, FlowbitChange::Set(_) | FlowbitChange::Toggle(_))),
        !signature.flowbit_tests.is_empty(),
    );
    let flowints = rank(
        signature.flowints.iter().any(|step| !step.what.reads()),
        signature.flowints.iter().any(|step| step.what.reads()),
    );
    let captures = |life| {
        let tests = signature.inspections.iter().flat_map(|it| &it.tests);
        let mut captures = tests.flat_map(|test| match test {
            Test::Pcre(pcre) => pcre.captures.as_slice(),
            _ => &[],
        });
        let mut wants = signature.variable_tests.iter();
        rank(
            captures.any(|(_, variable)| variable.life == life),
            wants.any(|test| test.variable.life == life),
        )
    };
    let hosts = |hostbits| {
        let (changes, tests) = (&signature.host_changes, &signature.host_tests);
        (
            changes.iter().any(|it| it.hostbits == hostbits),
            tests.iter().any(|it| it.hostbits == hostbits),
        )
    };
    let (sets, reads) = hosts(true);
    let hostbits = rank(sets, reads);
    // Of xbits, those that read them come first.
    let (sets, reads) = hosts(false);
    let xbits = match (sets, reads) {
        (false, true) => 0,
        (false, false) => 1,
        _ => 2,
    };
    (
        signature.action,
        [
            flowbits,
            flowints,
            captures(Life::Flow),
            captures(Life::Packet),
            hostbits,
            xbits,
        ],
        signature.priority,
    )
}

struct Compiler<'s> {
    variables: &'s Variables,
    filters: bool,
    compiled: Vec<Compiled>,
    addresses: Interned<'s, Group<AddressRange>, AddressTest>,
    ports: Interned<'s, Group<PortRange>, PortTest>,
    headers: HeadersBuilder,
    packets: [[LaneBuilder<'s>; 2]; 3],
    streams: [LaneBuilder<'s>; 2],
    reads_streams: [bool; 2],
    addresses_only: AddressIndexBuilder,
    events_only: Vec<u32>,
    ends_only: Vec<u32>,
    protocol_only: Vec<u32>,
    slots: Vec<(Slot, Builder)>,
    transactions: HashMap<(AppProto, Direction), TxLane>,
    frames: HashMap<(AppProto, Direction), TxLane>,
}

/// Tests made of groups, each group resolved once.
struct Interned<'s, G, T> {
    values: Vec<T>,
    index: HashMap<&'s G, u32>,
}

impl<'s, G: Eq + std::hash::Hash, T> Interned<'s, G, T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            index: HashMap::new(),
        }
    }

    fn get(&mut self, group: &'s G, make: impl FnOnce(&G) -> T) -> u32 {
        if let Some(known) = self.index.get(group) {
            return *known;
        }
        let index = self.values.len() as u32;
        self.values.push(make(group));
        self.index.insert(group, index);
        index
    }
}

impl<'s> Compiler<'s> {
    fn new(variables: &'s Variables, filters: bool, signatures: usize) -> Self {
        Self {
            variables,
            filters,
            compiled: Vec::with_capacity(signatures),
            addresses: Interned::new(),
            ports: Interned::new(),
            headers: HeadersBuilder::default(),
            packets: Default::default(),
            streams: Default::default(),
            reads_streams: [false; 2],
            addresses_only: AddressIndexBuilder::default(),
            events_only: Vec::new(),
            ends_only: Vec::new(),
            protocol_only: Vec::new(),
            slots: Vec::new(),
            transactions: HashMap::new(),
            frames: HashMap::new(),
        }
    }

    fn add(&mut self, index: u32, signature: &'s Signature) {
        let header = &signature.header;
        let variables = self.variables;
        let address = |group: &_| resolve(group, variables);
        let port = |group: &_| PortTest::new(group, variables);
        let [src, dst] = [&header.src, &header.dst].map(|it| self.addresses.get(it, address));
        let src_ports = self.ports.get(&header.src_ports, port);
        let dst_ports = self.ports.get(&header.dst_ports, port);
        let number = self.headers.get(Header {
            protocol: signature.protocol,
            src,
            dst,
            src_ports,
            dst_ports,
            both_ways: header.both_ways,
        });
        let chosen = fast_pattern(signature);
        let placeless = chosen.is_none();
        let chosen = chosen.filter(|_| self.filters);
        let patterned = match signature.scene {
            Scene::AddressesOnly => false,
            Scene::EventsOnly => {
                self.events_only.push(index);
                false
            }
            Scene::ProtocolOnly => {
                self.protocol_only.push(index);
                false
            }
            Scene::Packet { payload } => {
                let pattern = chosen.as_ref().map(|chosen| &chosen.pattern);
                self.add_payload(index, signature, payload, pattern, [src_ports, dst_ports]);
                let excludes = [&header.src, &header.dst]
                    .into_iter()
                    .any(|group| variables.excludes(group));
                let shown = excludes && !signature.flow.given || !signature.apps.is_empty();
                if shown && asks_for_ends_alone(signature) {
                    self.ends_only.push(index);
                }
                pattern.is_some()
            }
            Scene::Transaction => self.add_transaction(index, signature, chosen.as_ref()),
        };
        let suppressions = signature.suppressions.iter();
        let suppressions = suppressions
            .map(|it| (it.whose, self.addresses.get(&it.addresses, address)))
            .collect();
        if signature.scene == Scene::AddressesOnly {
            let ends = [src, dst].map(|at| &self.addresses.values[at as usize]);
            self.addresses_only.add(index, ends, header.both_ways);
        }
        let slots = Direction::BOTH.map(|direction| self.slots_of(signature, direction));
        let sees_end = signature
            .inspections
            .iter()
            .enumerate()
            .fold(0, |bits, (at, inspection)| {
                bits | u64::from(inspection.tests.iter().any(sees_end)) << at
            });
        self.compiled.push(Compiled {
            header: number,
            slots,
            joined: is_joined(signature),
            sees_end,
            patterned,
            placeless,
            insisting: insisting(signature),
            key: signature.key(),
            suppressions,
        });
    }

    fn add_payload(
        &mut self,
        index: u32,
        signature: &Signature,
        payload: PayloadScene,
        pattern: Option<&Pattern<'s>>,
        ports: [u32; 2],
    ) {
        let ports = ports.map(|at| &self.ports.values[at as usize]);
        let ports = Some(ports).filter(|_| self.filters && !signature.header.both_ways);
        use PayloadScene::{Both, None, Packet, Stream, StreamOnly};
        if payload == StreamOnly && !signature.inspections.iter().any(Inspection::is_payload) {
            return;
        }
        for direction in directions(signature) {
            let at = direction as usize;
            let tcp = Class::Tcp.has(signature);
            if tcp && matches!(payload, Stream | StreamOnly | Both) {
                self.streams[at].add(pattern, ports, index);
                self.reads_streams[at] = true;
            }
            for class in Class::ALL.into_iter().filter(|class| class.has(signature)) {
                let wanted = match class {
                    Class::Tcp => matches!(payload, None | Packet | Both),
                    _ => payload != StreamOnly,
                };
                let ports = ports.filter(|_| class != Class::Other);
                if wanted {
                    self.packets[class as usize][at].add(pattern, ports, index);
                }
            }
        }
    }

    /// Returns whether a prefilter brings it up.
    fn add_transaction(
        &mut self,
        index: u32,
        signature: &'s Signature,
        chosen: Option<&Chosen<'s>>,
    ) -> bool {
        let payload = signature.inspections.iter().find(|it| it.is_payload());
        let pattern = chosen.filter(|chosen| chosen.buffer.is_some());
        for direction in directions(signature) {
            if let Some(payload) = payload {
                let patterns = Pattern::all_of(&payload.tests).map(|(_, pattern)| pattern);
                let pattern = patterns.max_by_key(Pattern::rarity);
                let pattern = pattern.filter(|_| self.filters);
                // Its transaction may be looked at where the header fits the other way round.
                self.streams[direction as usize].add(pattern.as_ref(), None, index);
                self.reads_streams[direction as usize] = true;
            }
            match pattern {
                Some(chosen) => {
                    let slot = self.slot(chosen.buffer, chosen.transforms, direction);
                    if let Some((_, builder)) = self.slots.get_mut(slot as usize) {
                        builder.add(&chosen.pattern, index);
                    }
                }
                None => {
                    let lanes = if looks_at_frames(signature) {
                        &mut self.frames
                    } else {
                        &mut self.transactions
                    };
                    for app in signature.apps.iter() {
                        lanes
                            .entry((app, direction))
                            .or_default()
                            .always
                            .push(index);
                    }
                }
            }
        }
        pattern.is_some()
    }

    /// The slot of a buffer, made if there is none yet.
    fn slot(
        &mut self,
        buffer: Option<&'static Buffer>,
        transforms: &[Transform],
        direction: Direction,
    ) -> u32 {
        let Some(buffer) = buffer else {
            return PAYLOAD;
        };
        let same = |slot: &Slot| {
            slot.buffer == buffer && slot.direction == direction && slot.transforms == transforms
        };
        if let Some(known) = self.slots.iter().position(|(slot, _)| same(slot)) {
            return known as u32;
        }
        let transforms = transforms.to_vec();
        let slot = Slot {
            buffer,
            transforms,
            direction,
            prefilter: Prefilter::default(),
        };
        self.slots.push((slot, Builder::default()));
        self.slots.len() as u32 - 1
    }

    fn slots_of(&mut self, signature: &Signature, direction: Direction) -> Box<[u32]> {
        let inspections = signature.inspections.iter();
        inspections
            .map(|it| self.slot(it.buffer, &it.transforms, direction))
            .collect()
    }

    fn finish(mut self, id: u64, signatures: &[Signature]) -> Matcher {
        let slots: Vec<Slot> = self
            .slots
            .into_iter()
            .map(|(slot, builder)| Slot {
                prefilter: builder.build(),
                ..slot
            })
            .collect();
        for (index, slot) in (0u32..).zip(&slots) {
            if !slot.prefilter.is_empty() {
                let lanes = match slot.buffer.frame {
                    Some(_) => &mut self.frames,
                    None => &mut self.transactions,
                };
                for app in slot.buffer.apps.iter() {
                    let lane = lanes.entry((app, slot.direction)).or_default();
                    lane.slots.push(index);
                }
            }
        }
        let names = signatures.iter().flat_map(|it| &it.names);
        Matcher {
            id,
            names: names.cloned().collect(),
            signatures: Vec::new(),
            compiled: self.compiled,
            headers: self.headers.build(Tests {
                addresses: self.addresses.values,
                ports: self.ports.values,
                home: HomeLists::new(self.variables),
            }),
            packets: self.packets.map(|class| class.map(LaneBuilder::build)),
            streams: self.streams.map(LaneBuilder::build),
            reads_streams: self.reads_streams,
            addresses_only: self.addresses_only.build(),
            events_only: self.events_only,
            ends_only: self.ends_only,
            protocol_only: self.protocol_only,
            slots,
            transactions: self.transactions,
            frames: self.frames,
        }
    }
}

/// Whether it looks at nothing but addresses, ports and what is spoken.
fn asks_for_ends_alone(signature: &Signature) -> bool {
    signature.flow.is_direction_alone()
        && signature.app_tests.is_empty()
        && signature.packet_tests.is_empty()
        && !signature.asks_for_memory()
        && signature.inspections.is_empty()
}

/// Whether it is evaluated on frames rather than on transactions.
fn looks_at_frames(signature: &Signature) -> bool {
    let buffers = signature.inspections.iter().filter_map(|it| it.buffer);
    buffers.into_iter().any(|buffer| buffer.frame.is_some())
}

/// Whether what one buffer leaves behind must be there when another one is judged.
fn is_joined(signature: &Signature) -> bool {
    signature.inspections.len() > 1
        && signature
            .inspections
            .iter()
            .flat_map(|it| &it.tests)
            .any(|test| match test {
                Test::ByteExtract(_) | Test::ByteMath(_) => true,
                Test::Pcre(pcre) => !pcre.captures.is_empty(),
                _ => false,
            })
}

/// The directions that a signature's packets can travel in.
fn directions(signature: &Signature) -> impl Iterator<Item = Direction> {
    let only = signature.flow.direction;
    Direction::BOTH
        .into_iter()
        .filter(move |direction| only.is_none_or(|only| only == *direction))
}

/// The piece of a signature that the prefilter looks for.
struct Chosen<'a> {
    buffer: Option<&'static Buffer>,
    transforms: &'a [Transform],
    pattern: Pattern<'a>,
}

/// The content that `fast_pattern` names, or else the rarest; in transactions, one of their buffers.
fn fast_pattern(signature: &Signature) -> Option<Chosen<'_>> {
    let in_place = |inspection: &&Inspection| match signature.scene {
        Scene::Transaction => inspection.buffer.is_some(),
        _ => inspection.is_payload(),
    };
    let candidates = || {
        let inspections = signature.inspections.iter().filter(in_place);
        inspections.flat_map(|it| Pattern::all_of(&it.tests).map(move |found| (it, found)))
    };
    let (inspection, (_, pattern)) = candidates()
        .find(|(_, (content, _))| content.fast_pattern != FastPattern::Unsaid)
        .or_else(|| candidates().max_by_key(|(_, (_, pattern))| pattern.rarity()))?;
    Some(Chosen {
        buffer: inspection.buffer,
        transforms: &inspection.transforms,
        pattern,
    })
}

/// The inspection by which a signature fires again with each piece of its message: one whose contents are all negated,
/// of a buffer that does not grow. Suricata does not note that it fired once the message is past that buffer, for its
/// search would not bring it up again; but a content that is to be missing is not searched for. How far TLS is, it tells
/// otherwise.
fn insisting(signature: &Signature) -> Option<u32> {
    let missing = |inspection: &Inspection| {
        let settled = inspection
            .buffer
            .is_some_and(|buffer| !buffer.grows && !buffer.apps.contains(AppProto::Tls));
        settled && inspection.contents().all(|content| content.negated)
    };
    let has_content = |inspection: &&Inspection| inspection.contents().next().is_some();
    let inspections = signature.inspections.iter();
    let at = inspections.clone().position(|it| has_content(&it))?;
    let all = inspections.filter(has_content).all(missing);
    (signature.scene == Scene::Transaction && all).then_some(at as u32)
}

/// Whether a condition's outcome may change when bytes follow.
fn sees_end(test: &Test) -> bool {
    match test {
        Test::Content(content) => content.negated || content.endswith,
        Test::Pcre(pcre) => pcre.negated || pcre.sees_end,
        Test::IsDataAt { negated, .. } => *negated,
        Test::ByteJump(jump) => jump.from == crate::rule::buffer::JumpFrom::End,
        Test::Size(_) | Test::Base64(_) | Test::Dataset(_) | Test::Reputation(_) => true,
        Test::ByteTest(_) | Test::ByteExtract(_) | Test::ByteMath(_) | Test::Asn1(_) => false,
    }
}
