//! The engine policy document as JSON; ARCHITECTURE.md shows one whole.
use std::collections::BTreeMap;

use serde::Deserialize;

use super::PolicyError;
use crate::rule::Variables;

/// The document format this engine reads.
pub const FORMAT: u32 = 1;

/// The whole document.
#[derive(Debug, Deserialize)]
pub struct Document {
    format: u32,
    /// The manager's version of the policy.
    pub version: u64,
    /// The appliance's count of loads.
    pub generation: u32,
    /// Rule sets by name.
    pub rule_sets: Vec<RuleSetDocument>,
    #[serde(default)]
    variables: VariablesDocument,
    /// Bridge ports at which guests end.
    #[serde(default)]
    pub ports: Vec<PortDocument>,
    /// Guests.
    #[serde(default)]
    pub guests: Vec<GuestDocument>,
    /// Segments.
    #[serde(default)]
    pub segments: Vec<SegmentDocument>,
}

/// One rule set: a name and the paths of its files.
#[derive(Debug, Deserialize)]
pub struct RuleSetDocument {
    /// Its name.
    pub name: String,
    /// Paths as signatures will name them.
    pub files: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct VariablesDocument {
    #[serde(default)]
    addresses: BTreeMap<String, String>,
    #[serde(default)]
    ports: BTreeMap<String, String>,
}

/// A bridge port.
#[derive(Debug, Deserialize)]
pub struct PortDocument {
    /// Interface name.
    pub tap: String,
    /// Interface index.
    pub ifindex: u32,
    /// The guest behind it.
    pub guest: String,
}

/// One guest.
#[derive(Debug, Deserialize)]
pub struct GuestDocument {
    /// Its name.
    pub name: String,
    /// The segment it is on.
    pub segment: String,
    /// The conntrack zone of that segment.
    #[serde(default)]
    pub zone: u16,
    /// What a dropped TCP connection's ends get.
    #[serde(default)]
    pub on_drop: OnDrop,
    /// Later ones win.
    #[serde(default)]
    pub assignments: Vec<AssignmentDocument>,
    /// Win over assignments.
    #[serde(default)]
    pub overrides: Vec<OverrideDocument>,
}

/// Binds signatures of a rule set to the guest.
#[derive(Debug, Deserialize)]
pub struct AssignmentDocument {
    /// The rule set's name.
    pub rule_set: String,
    /// With which mode.
    pub mode: Mode,
    /// Which of its signatures; all without.
    #[serde(default)]
    pub sids: Option<Vec<u32>>,
}

/// One signature treated otherwise.
#[derive(Debug, Deserialize)]
pub struct OverrideDocument {
    /// Generator.
    #[serde(default = "one")]
    pub gid: u32,
    /// Signature.
    pub sid: u32,
    /// Its mode instead.
    pub mode: Mode,
    /// Only against this peer (an address or a network).
    #[serde(default)]
    pub peer: Option<String>,
    /// Only until this Unix time, seconds.
    #[serde(default)]
    pub until_s: Option<u64>,
}

fn one() -> u32 {
    1
}

/// One segment and its failure policy.
#[derive(Debug, Deserialize)]
pub struct SegmentDocument {
    /// Its name.
    pub name: String,
    /// What happens to traffic that cannot be inspected.
    #[serde(default)]
    pub failure: Failure,
}

/// What happens to traffic that cannot be inspected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// More arrives than can be inspected in time.
    pub queue_full: OpenOrClosed,
    /// The engine's memory bound is reached.
    pub memory: OpenOrClosed,
    /// A packet cannot be decoded.
    pub malformed: OpenOrClosed,
    /// A connection whose beginning was not seen.
    pub midstream: OpenOrClosed,
    /// A parser failed.
    pub parser_error: OpenOrClosed,
}

/// Pass it or drop it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenOrClosed {
    /// Pass.
    #[default]
    Open,
    /// Drop.
    Closed,
}

/// What a dropped TCP connection's ends get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDrop {
    /// A reset each.
    #[default]
    Reset,
    /// Nothing.
    Silent,
}

/// How an assignment treats its signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Not evaluated.
    Off,
    /// Nothing is dropped.
    Detect,
    /// The signature's own action applies.
    AsWritten,
    /// `alert` is raised to `drop`.
    Prevent,
}

impl Mode {
    /// The word used in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Detect => "detect",
            Self::AsWritten => "as-written",
            Self::Prevent => "prevent",
        }
    }
}

impl Document {
    /// Reads a document. Errors: `Form`, `Format`.
    pub fn parse(json: &[u8]) -> Result<Self, PolicyError> {
        let document: Self = serde_json::from_slice(json).map_err(PolicyError::Form)?;
        if document.format != FORMAT {
            return Err(PolicyError::Format(document.format));
        }
        Ok(document)
    }

    pub(super) fn variables(&self) -> Result<Variables, PolicyError> {
        let mut variables = Variables::default();
        let broken = |name: &str, reason| PolicyError::Variable {
            name: name.to_owned(),
            reason,
        };
        for (name, value) in &self.variables.addresses {
            variables
                .set_addresses(name, value)
                .map_err(|reason| broken(name, reason))?;
        }
        for (name, value) in &self.variables.ports {
            variables
                .set_ports(name, value)
                .map_err(|reason| broken(name, reason))?;
        }
        Ok(variables)
    }
}
