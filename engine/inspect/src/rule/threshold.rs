//! `threshold`, `detection_filter` and what `threshold.config` adds, as read.
use super::group::Group;
use super::signature::Action;
use super::AddressRange;

/// What is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThresholdKind {
    /// Alert on the first `count` matches of a period.
    Limit,
    /// Alert on every `count`-th match.
    Threshold,
    /// Alert once a period, on the `count`-th match.
    Both,
    /// Match at all only past `count` matches of a period.
    DetectionFilter,
    /// Another action past `count` matches of a period.
    Rate {
        /// Which.
        action: Action,
        /// For how long.
        timeout_s: u32,
    },
}

/// What matches are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Track {
    /// Source address.
    Source,
    /// Destination address.
    Destination,
    /// Both addresses, in either order.
    Both,
    /// The signature alone.
    Rule,
}

/// How often a signature speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Form.
    pub kind: ThresholdKind,
    /// What it counts by.
    pub track: Track,
    /// How many.
    pub count: u32,
    /// In how many seconds.
    pub seconds: u32,
}

/// Packets of which a signature does not speak, though its action holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// Which of the packet's addresses is asked.
    pub whose: Whose,
    /// The addresses.
    pub addresses: Group<AddressRange>,
}

/// Which of a packet's addresses a suppression asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// Either of them.
    Either,
}
