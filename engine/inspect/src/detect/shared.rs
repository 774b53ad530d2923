//! What all workers share.
use std::sync::Arc;

use super::hosts::Hosts;
use super::learned::Learned;
use super::threshold::Thresholds;

/// What detection remembers beyond single flows: counters of thresholds, bits and tags of hosts, what
/// data sets learned. Bounded.
#[derive(Debug, Default)]
pub struct SharedState {
    pub(super) thresholds: Thresholds,
    pub(super) hosts: Hosts,
    pub(super) learned: Arc<Learned>,
}
