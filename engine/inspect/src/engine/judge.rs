//! From hits to a verdict: each guest's modes decide what a signature's action means for it.
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::detect::{Hit, Scope, MAX_SIDES};
use crate::policy::{Mode, OnDrop, Policy, Shield};
use crate::rule::Action;

/// Who is told that a packet was blocked, beyond what `on_drop` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tell {
    /// The packet's sender.
    pub source: bool,
    /// The packet's receiver.
    pub destination: bool,
}

/// What all hits of one packet come to; the strictest wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The packet is blocked.
    pub block: bool,
    /// So is the rest of its flow.
    pub block_flow: bool,
    /// A guest whose signature blocked wants the ends of TCP connections reset.
    pub reset: bool,
    /// A `reject` asked for this.
    pub tell: Tell,
    /// The hit that blocked, as an index into the hits; the first of the strictest.
    pub by: Option<usize>,
}

/// What one hit means for its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The signature is off for this peer or now.
    None,
    /// Say so, let it pass; `would` names what prevention would have done.
    Alert {
        /// `drop` or `reject`.
        would: Option<&'static str>,
    },
    /// Block.
    Block(Tell),
}

/// What `hit` means in `mode`.
///
/// A signature that never alerts (`noalert`, a flowbit setter) is not raised: it states a fact, not an attack. One
/// that passes is silent unless it says `alert`.
pub fn effect(mode: Mode, action: Action, noalert: bool) -> Effect {
    let tell = match action {
        Action::Reject => Tell {
            source: true,
            destination: false,
        },
        Action::RejectDst => Tell {
            source: false,
            destination: true,
        },
        Action::RejectBoth => Tell {
            source: true,
            destination: true,
        },
        _ => Tell::default(),
    };
    match (mode, action) {
        (Mode::Off, _) => Effect::None,
        (_, Action::Pass) if noalert => Effect::None,
        (_, Action::Pass) => Effect::Alert { would: None },
        (_, Action::Alert) if noalert => Effect::Alert { would: None },
        (Mode::AsWritten, Action::Alert) => Effect::Alert { would: None },
        (Mode::Detect, Action::Alert | Action::Drop) => Effect::Alert {
            would: Some("drop"),
        },
        (Mode::Detect, _) => Effect::Alert {
            would: Some("reject"),
        },
        (Mode::AsWritten | Mode::Prevent, _) => Effect::Block(tell),
    }
}

/// The ends of a flow, and which guest (as a shield's index) each side of the evaluation stands for.
#[derive(Clone, Debug)]
pub struct Parties {
    /// Shield index of each side.
    pub shields: SmallVec<[u32; MAX_SIDES]>,
    /// For each side, the address of the other end.
    pub peers: [IpAddr; MAX_SIDES],
    /// Unix seconds.
    pub wall_s: u64,
}

impl Parties {
    /// The mode in which a hit's signature holds for the hit's guest.
    pub fn mode(&self, policy: &Policy, hit: &Hit) -> Mode {
        let peer = self.peers[usize::from(hit.side).min(MAX_SIDES - 1)];
        self.shield(policy, hit).map_or(Mode::Off, |shield| {
            shield.mode(hit.signature, peer, self.wall_s)
        })
    }

    /// The shield of the hit's guest.
    fn shield<'a>(&self, policy: &'a Policy, hit: &Hit) -> Option<&'a Shield> {
        let index = self.shields.get(usize::from(hit.side))?;
        policy.shields().get(*index as usize)
    }

    /// What a hit means.
    pub fn effect(&self, policy: &Policy, hit: &Hit) -> Effect {
        let signature = &policy.matcher.signatures()[hit.signature as usize];
        let mode = self.mode(policy, hit);
        match hit.instead {
            // Whom a rate filter lets pass nothing is said of.
            Some(Action::Pass) => Effect::None,
            Some(action) => effect(mode, action, false),
            None => effect(mode, signature.action, signature.is_silent()),
        }
    }
}

/// Puts all hits of a packet together.
pub fn judge(policy: &Policy, parties: &Parties, hits: &[Hit]) -> Judgement {
    let mut judgement = Judgement::default();
    for (index, hit) in hits.iter().enumerate() {
        if let Effect::Block(tell) = parties.effect(policy, hit) {
            judgement.by.get_or_insert(index);
            judgement.block = true;
            judgement.block_flow |= hit.scope == Scope::Flow;
            judgement.reset |= parties
                .shield(policy, hit)
                .is_some_and(|shield| shield.on_drop == OnDrop::Reset);
            judgement.tell.source |= tell.source;
            judgement.tell.destination |= tell.destination;
        }
    }
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_gives_each_action_its_meaning() {
        let alert = Effect::Alert { would: None };
        let would_drop = Effect::Alert {
            would: Some("drop"),
        };
        let block = Effect::Block(Tell::default());
        let rows = [
            (Effect::None, Mode::Off, Action::Drop),
            (would_drop, Mode::Detect, Action::Alert),
            (would_drop, Mode::Detect, Action::Drop),
            (
                Effect::Alert {
                    would: Some("reject"),
                },
                Mode::Detect,
                Action::Reject,
            ),
            (alert, Mode::AsWritten, Action::Alert),
            (block, Mode::AsWritten, Action::Drop),
            (block, Mode::Prevent, Action::Alert),
            (block, Mode::Prevent, Action::Drop),
            (alert, Mode::Prevent, Action::Pass),
        ];
        for (expected, mode, action) in rows {
            assert_eq!(expected, effect(mode, action, false), "{mode:?} {action:?}");
        }
    }

    #[test]
    fn a_pass_is_silent_unless_it_says_alert() {
        assert_eq!(Effect::None, effect(Mode::AsWritten, Action::Pass, true));
    }

    #[test]
    fn prevention_does_not_raise_a_signature_that_only_sets_a_flowbit() {
        assert_eq!(
            Effect::Alert { would: None },
            effect(Mode::Prevent, Action::Alert, true)
        );
    }
}
