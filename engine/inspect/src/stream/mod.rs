//! TCP: which bytes the two ends of a connection exchange, and in which order.

mod config;
mod follow;
mod half;
mod os;
mod outcome;
mod session;
#[cfg(test)]
mod tests;
mod tracker;

pub use config::{Limits, Mode, StreamConfig, MIN_HISTORY_BYTES};
pub use os::OsPolicy;
pub use outcome::{DropReason, SegmentOutcome, StreamEvent, Undecided, Verdict};
pub use session::{TcpSession, TcpState};
