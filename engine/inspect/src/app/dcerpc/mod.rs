//! DCE/RPC: over TCP, over UDP, and (see `smb`) inside SMB's named pipes.
//!
//! A transaction is a call with its results, or a bind with its answer, whatever number of fragments they took.
pub mod record;
pub mod transaction;

mod connection;
mod datagram;
#[cfg(test)]
mod tests;

pub use connection::{is_tcp, Connection};
pub use datagram::{is_udp, Exchange};
pub use record::Interface;
pub use transaction::Transaction;

use std::fmt::Write as _;

/// A UUID as it is written.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}
