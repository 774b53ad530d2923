//! What detection remembers between packets.

/// What detection remembers of one transaction between packets.
#[derive(Clone, Debug, Default)]
pub struct TxState {}

/// What detection remembers of one flow: flowbits, and what needs to be said only once.
#[derive(Clone, Debug, Default)]
pub struct FlowState {
    passed: u8,
}

impl FlowState {
    /// A `pass` signature let the rest of the flow through, uninspected, for side `side`.
    pub fn passed(&self, side: usize) -> bool {
        self.passed & (1 << side) != 0
    }
}
