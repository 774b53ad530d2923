//! What the engine counts.
use std::collections::BTreeMap;

use crate::policy::Policy;

/// Why bytes of a guest were let through uninspected; the engine's part of the closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Reason {
    /// The rest of a body past its inspection depth.
    PastDepth,
    /// Inside TLS or SSH.
    Encrypted,
    /// A connection whose beginning was not seen.
    Midstream,
    /// The copy was shorter than the packet.
    Truncated,
    /// It came though nobody looks at what travels that way.
    Steered,
    /// More came than could be inspected in time.
    Shed,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::PastDepth,
        Self::Encrypted,
        Self::Midstream,
        Self::Truncated,
        Self::Steered,
        Self::Shed,
    ];

    /// The word in status, events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PastDepth => "past-depth",
            Self::Encrypted => "encrypted",
            Self::Midstream => "midstream",
            Self::Truncated => "truncated",
            Self::Steered => "steered",
            Self::Shed => "shed",
        }
    }
}

/// Bytes of one guest.
#[derive(Clone, Copy, Debug, Default)]
pub struct GuestCounters {
    /// IP bytes that reached the engine.
    pub bytes: u64,
    /// Of those, let through without a look, by reason.
    pub uninspected: [u64; Reason::ALL.len()],
    /// Bytes dropped because more came than could be inspected in time.
    pub shed_dropped: u64,
    /// Packets blocked.
    pub blocked: u64,
    /// Alerts raised.
    pub alerts: u64,
}

/// All counters of one engine.
#[derive(Debug, Default)]
pub struct Counters {
    /// Packets seen.
    pub packets: u64,
    /// Their bytes, link headers included where these are known.
    pub bytes: u64,
    /// Flows that ended.
    pub flows: u64,
    /// Packets that could not be decoded.
    pub malformed: u64,
    /// Packets dropped because of the stream's rules (differing retransmissions and the like).
    pub stream_drops: u64,
    /// Failure policy applied, by its name.
    pub failures: BTreeMap<&'static str, u64>,
    /// Resets and unreachables asked for.
    pub told: u64,
    /// Resets that could not be built because an end's address was never learned.
    pub untold: u64,
    /// Flow numbers handed out.
    pub(super) flow_ids: u64,
    live: Vec<GuestCounters>,
    names: Vec<String>,
    past: BTreeMap<String, GuestCounters>,
}

impl Counters {
    /// Counters for the guests of `policy`.
    pub fn new(policy: &Policy) -> Self {
        let mut counters = Self::default();
        counters.follow(policy);
        counters
    }

    /// Keeps counting by name under another policy.
    pub fn follow(&mut self, policy: &Policy) {
        self.past = self
            .guests()
            .map(|(name, counters)| (name.to_owned(), counters))
            .collect();
        self.names = policy
            .shields()
            .iter()
            .map(|shield| shield.guest.clone())
            .collect();
        self.live = self
            .names
            .iter()
            .map(|name| self.past.remove(name).unwrap_or_default())
            .collect();
    }

    /// The counters of the guest with that shield.
    pub fn guest(&mut self, shield: u32) -> Option<&mut GuestCounters> {
        self.live.get_mut(shield as usize)
    }

    /// Every guest ever counted, by name.
    pub fn guests(&self) -> impl Iterator<Item = (&str, GuestCounters)> {
        let live = self
            .names
            .iter()
            .map(String::as_str)
            .zip(self.live.iter().copied());
        live.chain(
            self.past
                .iter()
                .map(|(name, counters)| (name.as_str(), *counters)),
        )
    }

    /// What was counted, under Suricata's names where it has some.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        let alerts = self.live.iter().map(|guest| guest.alerts).sum();
        vec![
            ("decoder.pkts", self.packets),
            ("decoder.bytes", self.bytes),
            ("decoder.invalid", self.malformed),
            ("flow.total", self.flows),
            // Suricata's `ips.blocked` is without those of `reject`.
            ("blocked", self.live.iter().map(|guest| guest.blocked).sum()),
            ("stream.drops", self.stream_drops),
            ("detect.alert", alerts),
            ("failure_policy", self.failures.values().sum()),
        ]
    }

    /// Counts one use of the failure policy.
    pub fn failure(&mut self, name: &'static str) {
        *self.failures.entry(name).or_default() += 1;
    }
}
