//! Thresholds: how often a signature may speak.

/// The counters behind `threshold` and `detection_filter`, shared by all workers and bounded.
#[derive(Debug, Default)]
pub struct Thresholds {}
