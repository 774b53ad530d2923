//! The flow table.

use std::marker::PhantomData;

use super::{Endpoint, FlowKey};
use crate::wire::Packet;
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
    /// Packets in both directions (TCP: the caller says so, see [`FlowTable::set_phase`]).
    Established,
    /// TCP only: finished or reset.
    Closed,
}

/// Idle timeouts in seconds; the defaults are Suricata's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTimeouts {
    /// TCP before its handshake is complete.
    pub tcp_new_s: u32,
    /// TCP after its handshake.
    pub tcp_established_s: u32,
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
            tcp_established_s: 600,
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

/// Flows by key, in O(1) for each operation; lookups allocate nothing.
#[derive(Debug)]
pub struct FlowTable<T> {
    limits: FlowLimits,
    _data: PhantomData<T>,
}

impl<T> FlowTable<T> {
    /// An empty table. `seed` keys the hash: give it randomness, or peers can make all their flows collide.
    pub fn new(limits: FlowLimits, _seed: [u64; 2]) -> Self {
        Self {
            limits,
            _data: PhantomData,
        }
    }

    /// The flow of `packet`, counting it; `make` supplies the state of a flow that begins with it (it sees the
    /// flow without data). `None` when the packet is not IP or a fragment.
    ///
    /// At a bound the oldest idle flow ends first; see [`FlowTable::pop_ended`].
    pub fn find_or_create(
        &mut self,
        _zone: u32,
        _packet: &Packet<'_>,
        _now_ns: u64,
        _make: impl FnOnce(&Flow<()>) -> T,
    ) -> Option<Lookup> {
        unimplemented!("{:?}", self.limits)
    }

    /// The flow, unless it has ended.
    pub fn get(&self, _id: FlowId) -> Option<&Flow<T>> {
        unimplemented!()
    }

    /// The flow, unless it has ended.
    pub fn get_mut(&mut self, _id: FlowId) -> Option<&mut Flow<T>> {
        unimplemented!()
    }

    /// Says how far a TCP flow has come (other protocols' flows are established by a packet each way).
    pub fn set_phase(&mut self, _id: FlowId, _phase: FlowPhase) {
        unimplemented!()
    }

    /// Says how much memory the caller's state of this flow holds now.
    pub fn account(&mut self, _id: FlowId, _bytes: usize) {
        unimplemented!()
    }

    /// Ends a flow (a SYN reopens a finished one, say) and hands it back.
    pub fn end(&mut self, _id: FlowId) -> Option<Flow<T>> {
        unimplemented!()
    }

    /// Ends flows idle past their timeout, at most `budget`; they come out of [`FlowTable::pop_ended`].
    /// Returns how many.
    pub fn expire(&mut self, _now_ns: u64, _budget: usize) -> usize {
        unimplemented!()
    }

    /// Ends every flow, oldest first; they come out of [`FlowTable::pop_ended`].
    pub fn end_all(&mut self) {
        unimplemented!()
    }

    /// The next flow that was expired or evicted; call until `None` after each packet.
    pub fn pop_ended(&mut self) -> Option<(Flow<T>, EndReason)> {
        unimplemented!()
    }

    /// Flows now.
    pub fn len(&self) -> usize {
        unimplemented!()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes accounted to flows now.
    pub fn memory_bytes(&self) -> usize {
        unimplemented!()
    }

    /// The live flows, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, &Flow<T>)> {
        std::iter::empty()
    }
}
