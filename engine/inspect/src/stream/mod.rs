//! TCP: which bytes the two ends of a connection exchange, and in which order.

mod config;
mod half;
mod outcome;
mod session;
#[cfg(test)]
mod tests;

pub use config::{Limits, Mode, OverlapPolicy, StreamConfig};
pub use outcome::{DropReason, SegmentOutcome, StreamEvent, Undecided, Verdict};
pub use session::{TcpSession, TcpState};
