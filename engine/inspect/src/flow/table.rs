//! The flow table.
//!
//! Flows live in a slab and are found through a table of their keys' hashes, which are keyed; the keys themselves stand
//! in the slab only. Each timeout class (TCP new, TCP established, UDP new, …) is a list in order of last use, threaded
//! through the slab: all flows of a class have the same timeout, so the oldest is always the next to expire, and use,
//! expiry and eviction are each O(1).

use std::collections::VecDeque;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use super::{Endpoint, FlowKey};
use crate::wire::{flags, proto, Packet};
use crate::Direction;

/// Names a flow in its table until that flow ends; never reused for another while it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    index: u32,
    generation: u32,
}

/// How far a flow has come; decides its timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowPhase {
    /// Packets in one direction only (TCP: no handshake yet).
    #[default]
    New,
    /// TCP only: the opening was answered. That this was acknowledged need not be shown (the caller says so).
    Answered,
    /// Packets in both directions (TCP: the caller says so, see [`FlowTable::set_phase`]).
    Established,
    /// TCP only: one end has said all it had to say.
    Closing,
    /// TCP only: finished or reset.
    Closed,
}

/// Idle timeouts in seconds; the defaults are Suricata's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTimeouts {
    /// TCP before its handshake is complete.
    pub tcp_new_s: u32,
    /// TCP whose opening was answered, before more was seen.
    pub tcp_answered_s: u32,
    /// TCP after its handshake.
    pub tcp_established_s: u32,
    /// TCP after one end's FIN.
    pub tcp_closing_s: u32,
    /// TCP after FINs or a reset.
    pub tcp_closed_s: u32,
    /// UDP seen in one direction.
    pub udp_new_s: u32,
    /// UDP seen in both directions.
    pub udp_established_s: u32,
    /// ICMP seen in one direction.
    pub icmp_new_s: u32,
    /// ICMP seen in both directions.
    pub icmp_established_s: u32,
    /// Other protocols, one direction.
    pub other_new_s: u32,
    /// Other protocols, both directions.
    pub other_established_s: u32,
}

impl Default for FlowTimeouts {
    fn default() -> Self {
        Self {
            tcp_new_s: 60,
            tcp_answered_s: 60,
            tcp_established_s: 600,
            tcp_closing_s: 600,
            tcp_closed_s: 60,
            udp_new_s: 30,
            udp_established_s: 300,
            icmp_new_s: 30,
            icmp_established_s: 300,
            other_new_s: 30,
            other_established_s: 300,
        }
    }
}

impl FlowTimeouts {
    /// Between guests: TCP as long as Linux' conntrack keeps it (five days), for whoever says nothing for a while
    /// (a pool's connection to a database) would otherwise be found midstream. A handshake's last segment stays in
    /// the kernel, so a connection that nobody has used yet, an hour. Room is made for others where it is needed.
    pub fn live() -> Self {
        Self {
            tcp_answered_s: 3600,
            tcp_established_s: 5 * 24 * 3600,
            ..Self::default()
        }
    }
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

/// The timeout classes; of conversations, in the order in which they are given up when room is needed.
const CLASSES: usize = 11;
const TCP_CLOSED: usize = 0;
const TCP_NEW: usize = 1;
const UDP_NEW: usize = 2;
const ICMP_NEW: usize = 3;
const OTHER_NEW: usize = 4;
const TCP_ANSWERED: usize = 5;
const TCP_CLOSING: usize = 6;
const TCP_ESTABLISHED: usize = 7;
const UDP_ESTABLISHED: usize = 8;
const ICMP_ESTABLISHED: usize = 9;
const OTHER_ESTABLISHED: usize = 10;

/// Those of which nobody knows yet whether they become conversations.
const OPENINGS: [usize; 5] = [TCP_NEW, UDP_NEW, ICMP_NEW, OTHER_NEW, TCP_ANSWERED];
/// An opening has so long to become a conversation, a closing one to end, before it is given up for others...
const GRACE_NS: u64 = 5 * NS_PER_S;
/// ...as long as openings are less than one in so many flows.
const OPENINGS_ONE_IN: usize = 4;

const NS_PER_S: u64 = 1_000_000_000;

/// So many conversations are told to rest for one packet, which others wait behind.
const REST_BUDGET: usize = 64;

/// How many places of flows are remembered.
const RECENT: usize = 256;

/// Marks the end of a list.
const NIL: u32 = u32::MAX;

/// Flows by key, in O(1) for each operation; lookups allocate nothing.
#[derive(Debug)]
pub struct FlowTable<T> {
    limits: FlowLimits,
    places: HashTable<Place>,
    hash: Keyed,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    lists: [List; CLASSES],
    /// Where flows were found last, by their ports: most packets' flows are, which are then found without a hash.
    recent: Box<[u32; RECENT]>,
    memory_bytes: usize,
    ended: VecDeque<(Flow<T>, EndReason)>,
    /// No flow can have been idle for its timeout before this.
    quiet_until_ns: u64,
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
    memory_bytes: usize,
    flow: Option<Flow<T>>,
}

/// Flows of one class; the head was used longest ago.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
    count: usize,
    /// The first that was not told to rest: those before it were.
    restless: u32,
}

impl List {
    const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        count: 0,
        restless: NIL,
    };
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
            lists: [List::EMPTY; CLASSES],
            recent: Box::new([NIL; RECENT]),
            memory_bytes: 0,
            ended: VecDeque::new(),
            quiet_until_ns: 0,
        }
    }

    /// The flow of `packet`, counting it; `make` supplies the state of a flow that begins with it (it sees the
    /// flow without data). `None` when the packet is not IP or a fragment.
    ///
    /// A flow that is past its timeout is ended and another begun. At a bound the oldest idle flow ends first;
    /// see [`FlowTable::pop_ended`]. An ICMP error belongs to the flow it quotes, where that is known.
    pub fn find_or_create(
        &mut self,
        zone: u64,
        packet: &Packet<'_>,
        now_ns: u64,
        make: impl FnOnce(&Flow<()>) -> T,
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
        let data = make(&flow);
        let index = self.insert(flow.with(data));
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
            let Some(oldest) = self.oldest(now_ns, Some(id.index)) else {
                return;
            };
            self.finish(oldest, EndReason::Evicted);
        }
    }

    fn hold(&mut self, index: u32, bytes: usize) {
        let slot = &mut self.slots[index as usize];
        self.memory_bytes = self.memory_bytes - slot.memory_bytes + bytes;
        slot.memory_bytes = bytes;
    }

    /// Tells the longest silent TCP conversation that was not told yet to rest, if that is not the one `at_work`.
    fn rest_one(
        &mut self,
        at_work: u32,
        now_ns: u64,
        rest: &mut impl FnMut(&mut T, u64) -> Option<usize>,
    ) -> bool {
        let index = self.lists[TCP_ESTABLISHED].restless;
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return false;
        };
        let Some(flow) = slot.flow.as_mut().filter(|_| index != at_work) else {
            return false;
        };
        let silent_ns = now_ns.saturating_sub(flow.last_seen_ns);
        let Some(bytes) = rest(&mut flow.data, silent_ns) else {
            return false;
        };
        self.lists[TCP_ESTABLISHED].restless = slot.next;
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
        let mut expired = 0;
        for class in 0..CLASSES {
            while expired < budget && self.is_idle(self.lists[class].head, now_ns) {
                self.finish(self.lists[class].head, EndReason::Timeout);
                expired += 1;
            }
        }
        if expired < budget {
            self.quiet_until_ns = self.next_timeout_ns(now_ns);
        }
        expired
    }

    /// When a flow may be idle for its timeout next, if time does not run backwards: the first of each class, or
    /// one that is used from now on.
    fn next_timeout_ns(&self, now_ns: u64) -> u64 {
        let timeout_ns = |class| u64::from(self.limits.timeouts.of_class(class)) * NS_PER_S;
        let ends = (0..CLASSES).map(|class| {
            let first = self.slots.get(self.lists[class].head as usize);
            let first = first.and_then(|slot| slot.flow.as_ref());
            let since_ns = first.map_or(now_ns, |flow| flow.last_seen_ns.min(now_ns));
            since_ns.saturating_add(timeout_ns(class))
        });
        ends.min().unwrap_or(0)
    }

    /// Ends every flow, oldest first; they come out of [`FlowTable::pop_ended`].
    pub fn end_all(&mut self) {
        while let Some(index) = self.longest_silent(0..CLASSES, None) {
            self.finish(index, EndReason::Ended);
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
            let Some(oldest) = self.oldest(now_ns, None) else {
                return;
            };
            self.finish(oldest, EndReason::Evicted);
        }
    }

    /// The flow to give up for another.
    ///
    /// What is over, first. Then openings, so that a flood of them does not push out conversations: of all of them the
    /// longest silent one, for who can fill the table with one kind must not have every new one of another kind end.
    /// But one that is so young that it may become a conversation yet stays where openings are few: who can fill the
    /// table with conversations must not end them either.
    fn oldest(&self, now_ns: u64, except: Option<u32>) -> Option<u32> {
        let first = |class: usize| self.first_of(class, except);
        let may_go = |index: &u32| now_ns.saturating_sub(self.last_seen_ns(*index)) >= GRACE_NS;
        let openings: usize = OPENINGS.iter().map(|class| self.lists[*class].count).sum();
        let many = openings * OPENINGS_ONE_IN >= self.places.len();
        let opening = self.longest_silent(OPENINGS.into_iter(), except);
        let mut conversations = TCP_ESTABLISHED..CLASSES;
        first(TCP_CLOSED)
            .or(opening.filter(|index| many || may_go(index)))
            .or(first(TCP_CLOSING).filter(may_go))
            .or_else(|| conversations.find_map(first))
            .or(first(TCP_CLOSING))
            .or(opening)
    }

    /// The longest silent flow of a class but `except`.
    fn first_of(&self, class: usize, except: Option<u32>) -> Option<u32> {
        let first = Some(self.lists[class].head).filter(|index| *index != NIL)?;
        if Some(first) != except {
            return Some(first);
        }
        Some(self.slots[first as usize].next).filter(|index| *index != NIL)
    }

    fn last_seen_ns(&self, index: u32) -> u64 {
        let flow = self.slots[index as usize].flow.as_ref();
        flow.map_or(0, |flow| flow.last_seen_ns)
    }

    /// The longest silent flow of some classes but `except`.
    fn longest_silent(
        &self,
        classes: impl Iterator<Item = usize>,
        except: Option<u32>,
    ) -> Option<u32> {
        let firsts = classes.filter_map(|class| self.first_of(class, except));
        firsts.min_by_key(|index| self.last_seen_ns(*index))
    }

    fn insert(&mut self, flow: Flow<T>) -> u32 {
        let (hash, class) = (self.hash.of(&flow.key), class_of(&flow));
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    previous: NIL,
                    next: NIL,
                    class,
                    memory_bytes: 0,
                    flow: None,
                });
                self.slots.len() as u32 - 1
            }
        };
        self.slots[index as usize].flow = Some(flow);
        self.slots[index as usize].class = class;
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
        let slot = &mut self.slots[index as usize];
        let flow = slot.flow.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.memory_bytes -= std::mem::take(&mut slot.memory_bytes);
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
        let stays = slot.flow.as_ref().map(class_of) == Some(slot.class);
        if stays && self.lists[usize::from(slot.class)].tail == index {
            return;
        }
        self.unlink(index);
        let slot = &mut self.slots[index as usize];
        if let Some(flow) = &slot.flow {
            slot.class = class_of(flow);
        }
        self.append(index);
    }

    fn unlink(&mut self, index: u32) {
        let slot = &self.slots[index as usize];
        let (previous, next, class) = (slot.previous, slot.next, usize::from(slot.class));
        let list = &mut self.lists[class];
        list.count -= 1;
        if list.restless == index {
            list.restless = next;
        }
        match previous {
            NIL => list.head = next,
            _ => self.slots[previous as usize].next = next,
        }
        match next {
            NIL => self.lists[class].tail = previous,
            _ => self.slots[next as usize].previous = previous,
        }
    }

    fn append(&mut self, index: u32) {
        let class = usize::from(self.slots[index as usize].class);
        let list = &mut self.lists[class];
        list.count += 1;
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

impl FlowTimeouts {
    fn of_class(&self, class: usize) -> u32 {
        match class {
            TCP_CLOSED => self.tcp_closed_s,
            TCP_NEW => self.tcp_new_s,
            UDP_NEW => self.udp_new_s,
            ICMP_NEW => self.icmp_new_s,
            OTHER_NEW => self.other_new_s,
            TCP_ANSWERED => self.tcp_answered_s,
            TCP_CLOSING => self.tcp_closing_s,
            TCP_ESTABLISHED => self.tcp_established_s,
            UDP_ESTABLISHED => self.udp_established_s,
            ICMP_ESTABLISHED => self.icmp_established_s,
            _ => self.other_established_s,
        }
    }
}

fn class_of<T>(flow: &Flow<T>) -> u8 {
    let new = flow.phase == FlowPhase::New;
    let class = match flow.key.protocol {
        proto::TCP if flow.phase == FlowPhase::Closed => TCP_CLOSED,
        proto::TCP if new => TCP_NEW,
        proto::TCP if flow.phase == FlowPhase::Answered => TCP_ANSWERED,
        proto::TCP if flow.phase == FlowPhase::Closing => TCP_CLOSING,
        proto::TCP => TCP_ESTABLISHED,
        proto::UDP if new => UDP_NEW,
        proto::UDP => UDP_ESTABLISHED,
        proto::ICMP | proto::ICMPV6 if new => ICMP_NEW,
        proto::ICMP | proto::ICMPV6 => ICMP_ESTABLISHED,
        _ if new => OTHER_NEW,
        _ => OTHER_ESTABLISHED,
    };
    class as u8
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
