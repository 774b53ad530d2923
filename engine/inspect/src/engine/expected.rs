//! Connections that peers agreed on elsewhere, so that they are read as what they are.
use std::net::IpAddr;

use crate::app::{AppProto, Expected};
use crate::detect::bounded::{Bounded, Entry};
use crate::flow::Flow;
use crate::policy::Payer;
use crate::Direction;

use super::conversation::Conversation;

/// Agreements remembered; past it those of whoever has most are forgotten, oldest first, and their connections told by
/// their first bytes.
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

#[derive(Debug)]
struct Agreement {
    announced: Announced,
    since_ns: u64,
    payer: Payer,
}

impl Entry<Key> for Agreement {
    fn guest(&self, _: &Key) -> u32 {
        self.payer
    }

    fn since_ns(&self) -> u64 {
        self.since_ns
    }

    fn until_ns(&self) -> u64 {
        self.since_ns.saturating_add(LIFETIME_NS)
    }
}

/// Agreements that were not used yet.
#[derive(Debug)]
pub(super) struct Agreements {
    open: Bounded<Key, Agreement>,
}

impl Default for Agreements {
    fn default() -> Self {
        Self {
            open: Bounded::new(REMEMBERED),
        }
    }
}

impl Agreements {
    /// Remembers what the peers of `flow` agreed on; `payer` said so.
    pub fn add(
        &mut self,
        flow: &Flow<Conversation>,
        expected: Expected,
        payer: Payer,
        now_ns: u64,
    ) {
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
            self.insert(key, announced.clone(), payer, now_ns);
            announced.third_host = false;
        }
        let key = (flow.key.zone, own, expected.port, other);
        self.insert(key, announced, payer, now_ns);
    }

    fn insert(&mut self, key: Key, announced: Announced, payer: Payer, now_ns: u64) {
        self.open.remove(&key);
        let agreement = Agreement {
            announced,
            since_ns: now_ns,
            payer,
        };
        self.open.entry(key, agreement, now_ns);
    }

    /// What the connection was announced to be.
    pub fn take(&mut self, flow: &Flow<Conversation>, now_ns: u64) -> Option<Announced> {
        if self.open.is_empty() {
            return None;
        }
        let server = flow.server();
        let key = (
            flow.key.zone,
            server.address,
            server.port,
            flow.client.address,
        );
        self.taken(&key, now_ns)
    }

    fn taken(&mut self, key: &Key, now_ns: u64) -> Option<Announced> {
        let agreement = self.open.remove(key)?;
        (agreement.until_ns() >= now_ns).then_some(agreement.announced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(guest: u8, port: u16) -> Key {
        let address = IpAddr::from([10, 0, 0, guest]);
        (1, address, port, IpAddr::from([10, 0, 0, 99]))
    }

    fn announce(agreements: &mut Agreements, guest: u8, port: u16, now_ns: u64) {
        let announced = Announced {
            app: AppProto::FtpData,
            note: Vec::new(),
            parent: 7,
            third_host: false,
        };
        agreements.insert(key(guest, port), announced, guest.into(), now_ns);
    }

    #[test]
    fn who_announces_a_crowd_forgets_its_own_and_nobody_elses() {
        let mut agreements = Agreements::default();
        (0..10).for_each(|port| announce(&mut agreements, 1, port, 0));
        (0..20_000).for_each(|port| announce(&mut agreements, 2, port, 1 + u64::from(port)));
        for port in 0..10 {
            assert!(agreements.taken(&key(1, port), 30_000).is_some());
        }
        assert!(agreements.taken(&key(2, 19_999), 30_000).is_some());
        assert!(agreements.taken(&key(2, 0), 30_000).is_none());
    }

    #[test]
    fn an_agreement_is_used_once_within_a_minute_of_when_it_was_said_last() {
        let mut agreements = Agreements::default();
        announce(&mut agreements, 1, 20, 0);
        announce(&mut agreements, 1, 20, LIFETIME_NS);
        assert!(agreements.taken(&key(1, 20), 2 * LIFETIME_NS).is_some());
        assert!(agreements.taken(&key(1, 20), 2 * LIFETIME_NS).is_none());
        announce(&mut agreements, 1, 20, 0);
        assert!(agreements.taken(&key(1, 20), LIFETIME_NS + 1).is_none());
    }
}
