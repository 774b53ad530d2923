//! Evaluates signatures.

/// What detection remembers of one transaction between packets.
#[derive(Clone, Debug, Default)]
pub struct TxState {}
