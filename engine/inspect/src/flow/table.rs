//! The flow table.
//!
//! Flows live in a slab and are found through a table of their keys' hashes, which are keyed; the keys themselves stand
//! in the slab only. Each payer's flows of a timeout class (TCP new, TCP established, UDP new, …) are a list in order of
//! last use, threaded through the slab: all flows of a class have the same timeout, so the oldest is always the next to
//! expire. Use is O(1), expiry and eviction O(payers) at most.

use std::collections::VecDeque;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use super::class::{class_of, FlowPhase, FlowTimeouts, Kind, CLASSES, TCP_ESTABLISHED};
use super::share::{Share, Shares, NIL};
use super::{Endpoint, FlowKey};
use crate::wire::{flags, proto, Packet};
use crate::Direction;

/// Names a flow in its table until that flow ends; never reused for another while it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    index: u32,
    generation: u32,
}

/// Bounds of a [`FlowTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Flows at one time.
    pub max_flows: usize,
    /// Bytes that callers may account to their flows ([`FlowTable::account`]) before old flows are evicted.
    pub max_memory_bytes: usize,
    /// When idle flows end.
    pub timeouts: FlowTimeouts,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            max_flows: 262_144,
            max_memory_bytes: 512 << 20,
            timeouts: FlowTimeouts::default(),
        }
    }
}

/// One conversation.
#[derive(Clone, Debug)]
pub struct Flow<T> {
    /// What identifies it.
    pub key: FlowKey,
    /// Who opened it: the first sender, except that a SYN/ACK's receiver is the client.
    pub client: Endpoint,
    /// TCP whose SYN was not seen.
    pub midstream: bool,
    /// Time of the first packet.
    pub first_seen_ns: u64,
    /// Time of the last packet.
    pub last_seen_ns: u64,
    /// Packets by [`Direction`] (`as usize`).
    pub packets: [u64; 2],
    /// Bytes by direction, IP headers included.
    pub bytes: [u64; 2],
    /// How far it has come.
    pub phase: FlowPhase,
    /// The caller's state.
    pub data: T,
}

impl<T> Flow<T> {
    /// The end that did not open it.
    pub fn server(&self) -> Endpoint {
        self.key.other(self.client)
    }

    /// Takes the other end for the one that opened it: what came first was an answer.
    pub fn reverse(&mut self) {
        self.client = self.server();
        self.packets.reverse();
        self.bytes.reverse();
    }

    /// Which way what `sender` sends travels.
    pub fn direction_from(&self, sender: Endpoint) -> Direction {
        if sender == self.client {
            Direction::ToServer
        } else {
            Direction::ToClient
        }
    }

    /// As `direction_from`; where both ends are one (a host talking to itself from one port), a SYN/ACK is the
    /// server's.
    fn direction_of(&self, sender: Endpoint, packet: &Packet<'_>) -> Direction {
        let to_itself = self.key.low == self.key.high;
        if to_itself
            && packet
                .tcp()
                .is_some_and(|tcp| tcp.has(flags::SYN | flags::ACK))
        {
            return Direction::ToClient;
        }
        self.direction_from(sender)
    }
}

impl Flow<()> {
    fn with<T>(self, data: T) -> Flow<T> {
        let Self {
            key,
            client,
            midstream,
            first_seen_ns,
            last_seen_ns,
            packets,
            bytes,
            phase,
            data: (),
        } = self;
        Flow {
            key,
            client,
            midstream,
            first_seen_ns,
            last_seen_ns,
            packets,
            bytes,
            phase,
            data,
        }
    }
}

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Its flow.
    pub id: FlowId,
    /// Which way it travels.
    pub direction: Direction,
    /// The flow began with this packet.
    pub created: bool,
    /// The packet is an ICMP error about the flow, not a packet of it; `direction` is the error's own. It is
    /// not counted and keeps nothing alive.
    pub related: bool,
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Idle for its timeout.
    Timeout,
    /// Made room for another.
    Evicted,
    /// The caller asked ([`FlowTable::end`], [`FlowTable::end_all`]).
    Ended,
}

/// An opening has so long to become a conversation, a closing one to end, before it is given up for others...
const GRACE_NS: u64 = 5 * NS_PER_S;
/// ...as long as nobody's openings are one in so many of what anybody has.
const OPENINGS_ONE_IN: usize = 4;

const NS_PER_S: u64 = 1_000_000_000;

/// So many conversations are told to rest for one packet, which others wait behind.
const REST_BUDGET: usize = 64;

/// How many places of flows are remembered.
const RECENT: usize = 256;

/// Flows by key; lookups allocate nothing.
#[derive(Debug)]
pub struct FlowTable<T> {
    limits: FlowLimits,
    places: HashTable<Place>,
    hash: Keyed,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    shares: Shares,
    /// Where flows were found last, by their ports: most packets' flows are, which are then found without a hash.
    recent: Box<[u32; RECENT]>,
    memory_bytes: usize,
    ended: VecDeque<(Flow<T>, EndReason)>,
    /// No flow can have been idle for its timeout before this.
    quiet_until_ns: u64,
    /// Whose idle flows end first next time.
    turn: usize,
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Short {
    Flows,
    Memory,
}

/// Where the flow is whose key hashes to `hash`.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    index: u32,
}

impl Place {
    /// What the table goes by: its places by the low bits, their tags by the high ones.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    previous: u32,
    next: u32,
    class: u8,
    payer: u16,
    memory_bytes: usize,
    flow: Option<Flow<T>>,
}

/// SipHash with a secret key: peers choose addresses and ports, so an unkeyed hash could be made to collide.
#[derive(Clone, Copy, Debug)]
struct Keyed([u64; 2]);

impl Keyed {
    fn of(self, key: &FlowKey) -> u32 {
        let hasher = SipHasher13::new_with_keys(self.0[0], self.0[1]);
        key.hashed(|bytes| hasher.hash(bytes)) as u32
    }
}

impl<T> FlowTable<T> {
    /// An empty table. `seed` keys the hash: give it randomness, or peers can make all their flows collide.
    pub fn new(limits: FlowLimits, seed: [u64; 2]) -> Self {
        Self {
            limits,
            places: HashTable::new(),
            hash: Keyed(seed),
            slots: Vec::new(),
            free: Vec::new(),
            shares: Shares::default(),
            recent: Box::new([NIL; RECENT]),
            memory_bytes: 0,
            ended: VecDeque::new(),
            quiet_until_ns: 0,
            turn: 0,
        }
    }

    /// The flow of `packet`, counting it; `make` supplies who pays for a flow that begins with it, and its state (it sees
    /// the flow without data). `None` when the packet is not IP or a fragment.
    ///
    /// A flow that is past its timeout is ended and another begun. At a bound one of who has most ends first;
    /// see [`FlowTable::pop_ended`]. An ICMP error belongs to the flow it quotes, where that is known.
    pub fn find_or_create(
        &mut self,
        zone: u64,
        packet: &Packet<'_>,
        now_ns: u64,
        make: impl FnOnce(&Flow<()>) -> (u32, T),
    ) -> Option<Lookup> {
        if let Some(related) = self.find_quoted(zone, packet) {
            return Some(related);
        }
        let (key, sender) = FlowKey::of(zone, packet)?;
        let near = usize::from(key.low.port ^ key.high.port) % RECENT;
        let known = Some(self.recent[near]).filter(|index| self.holds(*index, &key));
        if let Some(index) = known.or_else(|| self.place(&key)) {
            self.recent[near] = index;
            if !self.is_idle(index, now_ns) {
                return self.count(index, sender, packet, now_ns);
            }
            self.finish(index, EndReason::Timeout);
        }
        self.make_room(now_ns);
        let flow = begin(key, sender, packet, now_ns);
        let (payer, data) = make(&flow);
        let index = self.insert(flow.with(data), payer);
        self.recent[near] = index;
        let lookup = self.count(index, sender, packet, now_ns)?;
        Some(Lookup {
            created: true,
            ..lookup
        })
    }

    /// The live flow of `packet` and which way it travels there; nothing is counted.
    pub fn find(&mut self, zone: u64, packet: &Packet<'_>) -> Option<(&mut Flow<T>, Direction)> {
        let (key, sender) = FlowKey::of(zone, packet)?;
        let index = self.place(&key)?;
        let flow = self.slots.get_mut(index as usize)?.flow.as_mut()?;
        let direction = flow.direction_from(sender);
        Some((flow, direction))
    }

    /// Whether the flow of `key` is at `index`.
    fn holds(&self, index: u32, key: &FlowKey) -> bool {
        let flow = self.slots.get(index as usize);
        let flow = flow.and_then(|slot| slot.flow.as_ref());
        flow.is_some_and(|flow| flow.key == *key)
    }

    /// Where the flow of `key` is.
    fn place(&self, key: &FlowKey) -> Option<u32> {
        let hash = self.hash.of(key);
        let is_it = |place: &Place| place.hash == hash && self.holds(place.index, key);
        let found = self.places.find(Place::spread(hash), is_it);
        found.map(|place| place.index)
    }

    /// The flow that an ICMP error quotes, if it is live.
    fn find_quoted(&self, zone: u64, packet: &Packet<'_>) -> Option<Lookup> {
        let (key, quoted_sender) = FlowKey::of_quoted(zone, packet)?;
        let index = self.place(&key)?;
        let slot = self.slots.get(index as usize)?;
        // The error travels back to whoever sent what it quotes.
        let direction = slot.flow.as_ref()?.direction_from(quoted_sender).reverse();
        Some(Lookup {
            id: slot.id(index),
            direction,
            created: false,
            related: true,
        })
    }

    /// The flow, unless it has ended.
    pub fn get(&self, id: FlowId) -> Option<&Flow<T>> {
        let slot = self.slots.get(id.index as usize)?;
        slot.flow
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    /// The flow, unless it has ended.
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow<T>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.flow
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    /// Says how far a TCP flow has come (other protocols' flows are established by a packet each way).
    pub fn set_phase(&mut self, id: FlowId, phase: FlowPhase) {
        // A flow stands last in its class since its packet was counted, unless it changes to another.
        if let Some(flow) = self.get_mut(id).filter(|flow| flow.phase != phase) {
            flow.phase = phase;
            self.touch(id.index);
        }
    }

    /// Says how much memory the caller's state of this flow holds now. Past [`FlowLimits::max_memory_bytes`]
    /// conversations that are silent are told to rest, the longest silent first, and then flows are evicted, until
    /// there is room. `rest`: makes the state of a flow that is silent for so many nanoseconds as small as may be, and
    /// returns what it holds then; `None` if it was not silent for long enough.
    pub fn account(
        &mut self,
        id: FlowId,
        bytes: usize,
        now_ns: u64,
        mut rest: impl FnMut(&mut T, u64) -> Option<usize>,
    ) {
        if self.get(id).is_none() {
            return;
        }
        self.hold(id.index, bytes);
        let mut rests = 0;
        while self.memory_bytes > self.limits.max_memory_bytes {
            if rests < REST_BUDGET && self.rest_one(id.index, now_ns, &mut rest) {
                rests += 1;
                continue;
            }
            // Never the flow that is being worked on, however much it holds: its own limits bound it.
            let Some(oldest) = self.oldest(now_ns, Short::Memory, Some(id.index)) else {
                return;
            };
            self.finish(oldest, EndReason::Evicted);
        }
    }

    fn hold(&mut self, index: u32, bytes: usize) {
        let slot = &mut self.slots[index as usize];
        let before = std::mem::replace(&mut slot.memory_bytes, bytes);
        let held = &mut self.shares.share_mut(slot.payer).memory_bytes;
        *held = *held - before + bytes;
        self.memory_bytes = self.memory_bytes - before + bytes;
    }

    /// Tells the longest silent TCP conversation that was not told yet to rest, of who has most memory with such, if
    /// that is not the one `at_work`.
    fn rest_one(
        &mut self,
        at_work: u32,
        now_ns: u64,
        rest: &mut impl FnMut(&mut T, u64) -> Option<usize>,
    ) -> bool {
        let restless = |number| self.shares.list(number, TCP_ESTABLISHED).restless;
        let silent_ns = |index| now_ns.saturating_sub(self.last_seen_ns(index));
        let may_rest = |number| {
            let index = restless(number);
            index != NIL && index != at_work && silent_ns(index) > 0
        };
        let held = |number, share: &Share| share.memory_bytes * usize::from(may_rest(number));
        let Some(payer) = self.shares.most(held) else {
            return false;
        };
        let index = restless(payer);
        let silent_ns = silent_ns(index);
        let slot = &mut self.slots[index as usize];
        let flow = slot.flow.as_mut();
        let Some(bytes) = flow.and_then(|flow| rest(&mut flow.data, silent_ns)) else {
            return false;
        };
        self.shares.list_mut(payer, TCP_ESTABLISHED).restless = slot.next;
        self.hold(index, bytes);
        true
    }

    /// Ends a flow (a SYN reopens a finished one, say) and hands it back.
    pub fn end(&mut self, id: FlowId) -> Option<Flow<T>> {
        self.get(id)?;
        self.remove(id.index)
    }

    /// Ends flows idle past their timeout, at most `budget`; they come out of [`FlowTable::pop_ended`].
    /// Returns how many.
    pub fn expire(&mut self, now_ns: u64, budget: usize) -> usize {
        if now_ns < self.quiet_until_ns {
            return 0;
        }
        let payers = self.shares.len();
        let (mut expired, mut quiet_until_ns) = (0, u64::MAX);
        for nth in 0..payers {
            let payer = ((self.turn + nth) % payers) as u16;
            if now_ns >= self.shares.share(payer).quiet_until_ns {
                expired += self.expire_of(payer, now_ns, budget - expired);
                if expired == budget {
                    self.turn = payer.into();
                    return expired;
                }
                self.shares.share_mut(payer).quiet_until_ns = self.next_timeout_ns(payer, now_ns);
            }
            quiet_until_ns = quiet_until_ns.min(self.shares.share(payer).quiet_until_ns);
        }
        self.quiet_until_ns = if payers == 0 { 0 } else { quiet_until_ns };
        expired
    }

    fn expire_of(&mut self, payer: u16, now_ns: u64, budget: usize) -> usize {
        let mut expired = 0;
        for class in 0..CLASSES {
            while expired < budget && self.is_idle(self.shares.list(payer, class).head, now_ns) {
                self.finish(self.shares.list(payer, class).head, EndReason::Timeout);
                expired += 1;
            }
        }
        expired
    }

    /// When a flow of the payer may be idle for its timeout next, if time does not run backwards: the first of each
    /// class, or one that is used from now on.
    fn next_timeout_ns(&self, payer: u16, now_ns: u64) -> u64 {
        let timeout_ns = |class| u64::from(self.limits.timeouts.of_class(class)) * NS_PER_S;
        let ends = (0..CLASSES).map(|class| {
            let first = self.slots.get(self.shares.list(payer, class).head as usize);
            let first = first.and_then(|slot| slot.flow.as_ref());
            let since_ns = first.map_or(now_ns, |flow| flow.last_seen_ns.min(now_ns));
            since_ns.saturating_add(timeout_ns(class))
        });
        ends.min().unwrap_or(0)
    }

    /// Ends every flow, each payer's oldest first; they come out of [`FlowTable::pop_ended`].
    pub fn end_all(&mut self) {
        for payer in 0..self.shares.len() as u16 {
            while let Some(index) = self.longest_silent(payer, 0..=CLASSES - 1, None) {
                self.finish(index, EndReason::Ended);
            }
        }
    }

    /// The next flow that was expired or evicted; call until `None` after each packet.
    pub fn pop_ended(&mut self) -> Option<(Flow<T>, EndReason)> {
        self.ended.pop_front()
    }

    /// Flows now.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes accounted to flows now.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The live flows, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, &Flow<T>)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((slot.id(index as u32), slot.flow.as_ref()?)))
    }

    fn is_idle(&self, index: u32, now_ns: u64) -> bool {
        let Some(slot) = self.slots.get(index as usize) else {
            return false;
        };
        let Some(flow) = &slot.flow else { return false };
        let timeout_ns = u64::from(self.limits.timeouts.of_class(slot.class.into())) * NS_PER_S;
        now_ns.saturating_sub(flow.last_seen_ns) > timeout_ns
    }

    fn count(
        &mut self,
        index: u32,
        sender: Endpoint,
        packet: &Packet<'_>,
        now_ns: u64,
    ) -> Option<Lookup> {
        let slot = self.slots.get_mut(index as usize)?;
        let id = slot.id(index);
        let flow = slot.flow.as_mut()?;
        let direction = flow.direction_of(sender, packet);
        flow.packets[direction as usize] += 1;
        flow.bytes[direction as usize] += packet.ip_bytes().len() as u64;
        // Captures may step back in time; a flow's own clock does not.
        flow.last_seen_ns = flow.last_seen_ns.max(now_ns);
        if flow.key.protocol != proto::TCP && flow.packets.iter().all(|count| *count > 0) {
            flow.phase = FlowPhase::Established;
        }
        self.touch(index);
        Some(Lookup {
            id,
            direction,
            created: false,
            related: false,
        })
    }

    fn make_room(&mut self, now_ns: u64) {
        while self.places.len() >= self.limits.max_flows.max(1) {
            let Some(oldest) = self.oldest(now_ns, Short::Flows, None) else {
                return;
            };
            self.finish(oldest, EndReason::Evicted);
        }
    }

    /// The flow to give up for another: what is over, first, whosever it is; then one of who has most of what there is
    /// too little of.
    ///
    /// For want of flows openings go first: of a flood, or who has most. But one that is so young that it may become a
    /// conversation yet stays, for who can fill the table with conversations must not end those either. For want of
    /// memory they go last, for they hold none.
    fn oldest(&self, now_ns: u64, short: Short, except: Option<u32>) -> Option<u32> {
        if let Some(payer) = self.most_of(Kind::Over, except) {
            return self.longest_silent(payer, Kind::Over.classes(), except);
        }
        let spared = except.map(|index| self.slots[index as usize].payer);
        let most = self.shares.most(|number, share| {
            let others = share.all() - usize::from(spared == Some(number));
            match short {
                Short::Flows => others,
                Short::Memory => (share.memory_bytes + 1) * usize::from(others > 0),
            }
        })?;
        let opening = self.longest_silent(most, Kind::Opening.classes(), except);
        let closing = self.longest_silent(most, Kind::Closing.classes(), except);
        let may_go = |index: &u32| now_ns.saturating_sub(self.last_seen_ns(*index)) >= GRACE_NS;
        let first = match short {
            Short::Flows => self.flood(most, except).or(opening.filter(may_go)),
            Short::Memory => None,
        };
        first
            .or(closing.filter(may_go))
            .or_else(|| self.conversation(most, except))
            .or(closing)
            .or(opening)
    }

    /// The longest silent opening of who has most of them, where those are many beside what anybody (`most`) has:
    /// openings must neither push out conversations nor have every new one of another kind end.
    fn flood(&self, most: u16, except: Option<u32>) -> Option<u32> {
        let payer = self.most_of(Kind::Opening, except)?;
        let openings = self.shares.share(payer).of(Kind::Opening);
        let is_flood = openings * OPENINGS_ONE_IN >= self.shares.share(most).all();
        let opening = self.longest_silent(payer, Kind::Opening.classes(), except);
        opening.filter(|_| is_flood)
    }

    /// Who has most flows of a kind, but for `except`.
    fn most_of(&self, kind: Kind, except: Option<u32>) -> Option<u16> {
        let spared = except.map(|index| &self.slots[index as usize]);
        let spared = spared.filter(|slot| Kind::of(slot.class.into()) == kind);
        let spared = spared.map(|slot| slot.payer);
        self.shares
            .most(|number, share| share.of(kind) - usize::from(spared == Some(number)))
    }

    /// The payer's conversation to give up: by class, of each the longest silent one.
    fn conversation(&self, payer: u16, except: Option<u32>) -> Option<u32> {
        let mut classes = Kind::Conversation.classes();
        classes.find_map(|class| self.first_of(payer, class, except))
    }

    /// The payer's longest silent flow of a class but `except`.
    fn first_of(&self, payer: u16, class: usize, except: Option<u32>) -> Option<u32> {
        let first = Some(self.shares.list(payer, class).head).filter(|index| *index != NIL)?;
        if Some(first) != except {
            return Some(first);
        }
        Some(self.slots[first as usize].next).filter(|index| *index != NIL)
    }

    fn last_seen_ns(&self, index: u32) -> u64 {
        let flow = self.slots[index as usize].flow.as_ref();
        flow.map_or(0, |flow| flow.last_seen_ns)
    }

    /// The payer's longest silent flow of some classes but `except`.
    fn longest_silent(
        &self,
        payer: u16,
        classes: std::ops::RangeInclusive<usize>,
        except: Option<u32>,
    ) -> Option<u32> {
        let firsts = classes.filter_map(|class| self.first_of(payer, class, except));
        firsts.min_by_key(|index| self.last_seen_ns(*index))
    }

    fn insert(&mut self, flow: Flow<T>, payer: u32) -> u32 {
        let (hash, class) = (self.hash.of(&flow.key), class_of(&flow));
        let payer = self.shares.number(payer);
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    previous: NIL,
                    next: NIL,
                    class,
                    payer,
                    memory_bytes: 0,
                    flow: None,
                });
                self.slots.len() as u32 - 1
            }
        };
        self.slots[index as usize].flow = Some(flow);
        self.slots[index as usize].class = class;
        self.slots[index as usize].payer = payer;
        self.shares.gain(payer, class.into());
        self.append(index);
        let place = Place { hash, index };
        self.places
            .insert_unique(Place::spread(hash), place, |it| Place::spread(it.hash));
        index
    }

    fn finish(&mut self, index: u32, reason: EndReason) {
        if let Some(flow) = self.remove(index) {
            self.ended.push_back((flow, reason));
        }
    }

    fn remove(&mut self, index: u32) -> Option<Flow<T>> {
        self.unlink(index);
        self.hold(index, 0);
        let slot = &mut self.slots[index as usize];
        let flow = slot.flow.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.shares.lose(slot.payer, slot.class.into());
        let hash = self.hash.of(&flow.key);
        let place = self
            .places
            .find_entry(Place::spread(hash), |it| it.index == index);
        if let Ok(place) = place {
            place.remove();
        }
        self.free.push(index);
        Some(flow)
    }

    /// Moves a flow to the end of the list of the class that it is in now.
    fn touch(&mut self, index: u32) {
        let slot = &self.slots[index as usize];
        let (payer, before) = (slot.payer, slot.class);
        let class = slot.flow.as_ref().map_or(before, class_of);
        if class == before && self.shares.list(payer, class.into()).tail == index {
            return;
        }
        self.unlink(index);
        if class != before {
            self.slots[index as usize].class = class;
            self.shares.lose(payer, before.into());
            self.shares.gain(payer, class.into());
        }
        self.append(index);
    }

    fn unlink(&mut self, index: u32) {
        let slot = &self.slots[index as usize];
        let (previous, next) = (slot.previous, slot.next);
        let list = self.shares.list_mut(slot.payer, slot.class.into());
        if list.restless == index {
            list.restless = next;
        }
        match previous {
            NIL => list.head = next,
            _ => self.slots[previous as usize].next = next,
        }
        match next {
            NIL => list.tail = previous,
            _ => self.slots[next as usize].previous = previous,
        }
    }

    fn append(&mut self, index: u32) {
        let slot = &self.slots[index as usize];
        let list = self.shares.list_mut(slot.payer, slot.class.into());
        if list.restless == NIL {
            list.restless = index;
        }
        let last = std::mem::replace(&mut list.tail, index);
        match last {
            NIL => list.head = index,
            _ => self.slots[last as usize].next = index,
        }
        self.slots[index as usize].previous = last;
        self.slots[index as usize].next = NIL;
    }
}

impl<T> Slot<T> {
    fn id(&self, index: u32) -> FlowId {
        FlowId {
            index,
            generation: self.generation,
        }
    }
}

/// A flow that `packet` opens. A SYN/ACK answers a SYN that was not seen, so its receiver is the client.
fn begin(key: FlowKey, sender: Endpoint, packet: &Packet<'_>, now_ns: u64) -> Flow<()> {
    let tcp = packet.tcp();
    let is_answer = tcp.is_some_and(|tcp| tcp.has(flags::SYN | flags::ACK));
    Flow {
        key,
        client: if is_answer { key.other(sender) } else { sender },
        midstream: tcp.is_some_and(|tcp| !tcp.has(flags::SYN) || is_answer),
        first_seen_ns: now_ns,
        last_seen_ns: now_ns,
        packets: [0; 2],
        bytes: [0; 2],
        phase: FlowPhase::New,
        data: (),
    }
}
