//! Conversations: which packets belong together, who opened them, when they end.

mod key;
mod table;
#[cfg(test)]
mod tests;

pub use key::{Endpoint, FlowKey};
pub use table::{EndReason, Flow, FlowId, FlowLimits, FlowPhase, FlowTable, FlowTimeouts, Lookup};
