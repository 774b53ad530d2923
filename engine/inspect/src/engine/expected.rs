//! Connections that peers agreed on elsewhere, so that they are read as what they are.
use std::collections::VecDeque;
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
#[derive(Debug)]
pub(super) struct Announced {
    pub app: AppProto,
    pub note: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    zone: u64,
    listener: (IpAddr, u16),
    other: IpAddr,
    until_ns: u64,
    announced: Announced,
}

/// Agreements that were not used yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Agreements(VecDeque<Entry>);

impl Agreements {
    /// Remembers what the peers of `flow` agreed on.
    pub fn add(&mut self, flow: &Flow<Conversation>, expected: Expected, now_ns: u64) {
        let (client, server) = (flow.client.address, flow.server().address);
        let (own, other) = match expected.listener {
            Direction::ToServer => (server, client),
            Direction::ToClient => (client, server),
        };
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Entry {
            zone: flow.key.zone,
            listener: (expected.address.unwrap_or(own), expected.port),
            other,
            until_ns: now_ns.saturating_add(LIFETIME_NS),
            announced: Announced {
                app: expected.app,
                note: expected.note,
            },
        });
    }

    /// What the connection from `client` to `server` was announced to be; asked once a connection.
    pub fn take(
        &mut self,
        zone: u64,
        client: IpAddr,
        server: (IpAddr, u16),
        now_ns: u64,
    ) -> Option<Announced> {
        while self.0.front().is_some_and(|entry| entry.until_ns < now_ns) {
            self.0.pop_front();
        }
        let fits =
            |entry: &Entry| entry.zone == zone && entry.listener == server && entry.other == client;
        let at = self.0.iter().position(fits)?;
        self.0.remove(at).map(|entry| entry.announced)
    }
}
