//! What one guest is shielded with: which signatures, in which mode, with which exceptions.
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::document::{Document, Failure, GuestDocument, Mode, OnDrop, OpenOrClosed};
use super::PolicyError;
use crate::detect::SignatureSet;
use crate::rule::{Action, Signature};

/// One guest's part of the policy.
#[derive(Debug)]
pub struct Shield {
    /// The guest's name; empty offline.
    pub guest: String,
    /// Its segment's name.
    pub segment: String,
    /// Conntrack zone of its segment.
    pub zone: u16,
    /// What a dropped connection's ends get.
    pub on_drop: OnDrop,
    /// Its segment's failure policy.
    pub failure: Failure,
    /// Signatures evaluated for it: all whose mode can be other than off.
    pub assigned: SignatureSet,
    as_written: SignatureSet,
    prevent: SignatureSet,
    off: SignatureSet,
    exceptions: HashMap<u32, Vec<Exception>>,
    can_block: bool,
}

/// An override that holds for one peer or until a date only.
#[derive(Debug)]
struct Exception {
    mode: Mode,
    peer: Option<Network>,
    until_s: Option<u64>,
}

/// An address block; an address lies in it when the first `prefix` bits agree.
#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        (prefix <= bits).then_some(Self { address, prefix })
    }

    fn holds(self, other: IpAddr) -> bool {
        let cut = |value: u128, bits: u8| {
            value
                .checked_shr(u32::from(bits - self.prefix))
                .unwrap_or(0)
        };
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                cut(u32::from(a).into(), 32) == cut(u32::from(b).into(), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => cut(a.into(), 128) == cut(b.into(), 128),
            _ => false,
        }
    }
}

impl Shield {
    pub(super) fn offline() -> Self {
        Self {
            guest: String::new(),
            segment: String::new(),
            zone: 0,
            on_drop: OnDrop::Silent,
            failure: Failure::default(),
            assigned: SignatureSet::default(),
            as_written: SignatureSet::default(),
            prevent: SignatureSet::default(),
            off: SignatureSet::default(),
            exceptions: HashMap::new(),
            can_block: true,
        }
    }

    pub(super) fn build(
        guest: &GuestDocument,
        document: &Document,
        signatures: &[Signature],
        sets: &HashMap<String, SignatureSet>,
    ) -> Result<Self, PolicyError> {
        let unknown = |kind, name: &str| PolicyError::Unknown {
            kind,
            name: name.to_owned(),
        };
        let segment = document
            .segments
            .iter()
            .find(|segment| segment.name == guest.segment);
        let segment = segment.ok_or_else(|| unknown("segment", &guest.segment))?;

        let mut modes = vec![Mode::Off; signatures.len()];
        for assignment in &guest.assignments {
            let members = sets
                .get(&assignment.rule_set)
                .ok_or_else(|| unknown("rule set", &assignment.rule_set))?;
            let chosen: Option<HashSet<u32>> = assignment
                .sids
                .as_ref()
                .map(|sids| sids.iter().copied().collect());
            for (index, signature) in signatures.iter().enumerate() {
                let selected = chosen
                    .as_ref()
                    .is_none_or(|sids| sids.contains(&signature.sid));
                if selected && members.contains(index as u32) {
                    modes[index] = assignment.mode;
                }
            }
        }
        let exceptions = apply_overrides(guest, signatures, &mut modes)?;
        Ok(Self::with_modes(
            guest,
            segment.failure,
            signatures,
            &modes,
            exceptions,
        ))
    }

    fn with_modes(
        guest: &GuestDocument,
        failure: Failure,
        signatures: &[Signature],
        modes: &[Mode],
        exceptions: HashMap<u32, Vec<Exception>>,
    ) -> Self {
        let mut shield = Self {
            guest: guest.name.clone(),
            segment: guest.segment.clone(),
            zone: guest.zone,
            on_drop: guest.on_drop,
            failure,
            exceptions,
            can_block: false,
            ..Self::offline()
        };
        for (index, mode) in modes.iter().enumerate() {
            let number = index as u32;
            let excepted = shield.exceptions.get(&number);
            if *mode == Mode::Off && excepted.is_none() {
                continue;
            }
            shield.assigned.insert(number);
            let any = |wanted: Mode| {
                *mode == wanted
                    || excepted.is_some_and(|list| list.iter().any(|e| e.mode == wanted))
            };
            let blocks = any(Mode::Prevent)
                || any(Mode::AsWritten)
                    && !matches!(signatures[index].action, Action::Alert | Action::Pass);
            match mode {
                Mode::Off => shield.off.insert(number),
                Mode::Detect => {}
                Mode::AsWritten => shield.as_written.insert(number),
                Mode::Prevent => shield.prevent.insert(number),
            }
            shield.can_block |= blocks;
        }
        shield
    }

    /// The mode in which a signature holds for this guest against `peer` at `wall_s` (Unix seconds).
    pub fn mode(&self, signature: u32, peer: IpAddr, wall_s: u64) -> Mode {
        let exception = self.exceptions.get(&signature).and_then(|list| {
            list.iter().rev().find(|exception| {
                exception.peer.is_none_or(|network| network.holds(peer))
                    && exception.until_s.is_none_or(|until| wall_s < until)
            })
        });
        if let Some(exception) = exception {
            exception.mode
        } else if self.guest.is_empty() || self.as_written.contains(signature) {
            Mode::AsWritten
        } else if self.prevent.contains(signature) {
            Mode::Prevent
        } else if self.off.contains(signature) {
            Mode::Off
        } else {
            Mode::Detect
        }
    }

    /// Whether it decides about every packet as `other` does, but for the guest's name and place.
    pub fn judges_like(&self, other: &Self) -> bool {
        self.exceptions.is_empty()
            && other.exceptions.is_empty()
            && self.failure == other.failure
            && self.assigned == other.assigned
            && self.as_written == other.as_written
            && self.prevent == other.prevent
            && self.off == other.off
    }

    /// Whether anything assigned can block: without it nothing of this guest's traffic may be dropped.
    pub fn can_block(&self) -> bool {
        self.can_block
    }
}

/// Puts unconditional overrides into `modes` and returns the others by signature index.
fn apply_overrides(
    guest: &GuestDocument,
    signatures: &[Signature],
    modes: &mut [Mode],
) -> Result<HashMap<u32, Vec<Exception>>, PolicyError> {
    let mut exceptions: HashMap<u32, Vec<Exception>> = HashMap::new();
    for wanted in &guest.overrides {
        let peer = match &wanted.peer {
            None => None,
            Some(text) => Some(Network::parse(text).ok_or_else(|| PolicyError::Unknown {
                kind: "peer address",
                name: text.clone(),
            })?),
        };
        for (index, signature) in signatures.iter().enumerate() {
            if (signature.gid, signature.sid) != (wanted.gid, wanted.sid) {
                continue;
            }
            if peer.is_none() && wanted.until_s.is_none() {
                modes[index] = wanted.mode;
            } else {
                let exception = Exception {
                    mode: wanted.mode,
                    peer,
                    until_s: wanted.until_s,
                };
                exceptions.entry(index as u32).or_default().push(exception);
            }
        }
    }
    Ok(exceptions)
}

impl OpenOrClosed {
    /// Whether traffic is dropped.
    pub fn closes(self) -> bool {
        self == Self::Closed
    }
}
