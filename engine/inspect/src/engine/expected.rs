//! Connections that peers agreed on elsewhere, so that they are read as what they are.
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::app::{AppProto, Expected};
use crate::flow::Flow;
use crate::Direction;

use super::conversation::Conversation;

/// Agreements remembered; past it the oldest is forgotten and its connection told by its first bytes.
const REMEMBERED: usize = 1024;
/// An agreement that nobody used for so long is forgotten.
const LIFETIME_NS: u64 = 60_000_000_000;

/// What a connection that was announced is.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub app: AppProto,
    pub note: Vec<u8>,
    /// Number of the flow that announced it.
    pub parent: u64,
    /// The listener was said to be neither end of that flow. Whoever controls the announcing flow may name any
    /// host and port so, and must not thereby decide how it is read: it is believed only where the first bytes
    /// are those of no protocol.
    pub third_host: bool,
}

/// Zone, listener, and who connects to it.
type Key = (u64, IpAddr, u16, IpAddr);

/// Agreements that were not used yet.
#[derive(Debug, Default)]
pub(super) struct Agreements {
    open: HashMap<Key, (u64, Announced)>,
    /// Oldest first, with when each ends; some may be used or renewed.
    order: VecDeque<(u64, Key)>,
}

impl Agreements {
    /// Remembers what the peers of `flow` agreed on.
    pub fn add(&mut self, flow: &Flow<Conversation>, expected: Expected, now_ns: u64) {
        let (client, server) = (flow.client.address, flow.server().address);
        let (own, other) = match expected.listener {
            Direction::ToServer => (server, client),
            Direction::ToClient => (client, server),
        };
        let mut announced = Announced {
            app: expected.app,
            note: expected.note,
            parent: flow.data.id,
            third_host: false,
        };
        // An address that another one stands for (NAT) is not the listener's own: both are looked for.
        if let Some(address) = expected.address.filter(|address| *address != own) {
            announced.third_host = true;
            let key = (flow.key.zone, address, expected.port, other);
            self.insert(key, announced.clone(), now_ns);
            announced.third_host = false;
        }
        let key = (flow.key.zone, own, expected.port, other);
        self.insert(key, announced, now_ns);
    }

    fn insert(&mut self, key: Key, announced: Announced, now_ns: u64) {
        let until_ns = now_ns.saturating_add(LIFETIME_NS);
        self.open.insert(key, (until_ns, announced));
        self.order.push_back((until_ns, key));
        self.forget(now_ns);
    }

    /// Forgets what is too old, or too many.
    fn forget(&mut self, now_ns: u64) {
        while let Some((until_ns, key)) = self.order.front() {
            if *until_ns >= now_ns && self.order.len() <= REMEMBERED {
                return;
            }
            if self
                .open
                .get(key)
                .is_some_and(|(until, _)| until == until_ns)
            {
                self.open.remove(key);
            }
            self.order.pop_front();
        }
    }

    /// What the connection was announced to be.
    pub fn take(&mut self, flow: &Flow<Conversation>, now_ns: u64) -> Option<Announced> {
        if self.open.is_empty() {
            return None;
        }
        self.forget(now_ns);
        let server = flow.server();
        let key = (
            flow.key.zone,
            server.address,
            server.port,
            flow.client.address,
        );
        self.open.remove(&key).map(|(_, announced)| announced)
    }
}
