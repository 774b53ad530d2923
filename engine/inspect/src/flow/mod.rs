//! Conversations: which packets belong together, who opened them, when they end.

mod class;
mod key;
mod share;
mod table;
#[cfg(test)]
mod tests;

pub use class::{FlowPhase, FlowTimeouts};
pub use key::{Endpoint, FlowKey};
pub use table::{EndReason, Flow, FlowId, FlowLimits, FlowTable, Lookup};
