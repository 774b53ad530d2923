//! What all workers share.
use super::hosts::Hosts;
use super::threshold::Thresholds;

/// What detection remembers beyond single flows: counters of thresholds, bits and tags of hosts. Bounded.
#[derive(Debug, Default)]
pub struct SharedState {
    pub(super) thresholds: Thresholds,
    pub(super) hosts: Hosts,
}
