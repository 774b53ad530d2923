//! `threshold` and `detection_filter` as read.

/// Which of the three forms of `threshold`, or `detection_filter`.
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
