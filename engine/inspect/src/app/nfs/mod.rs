//! NFS 2, 3 and 4 over ONC RPC, on TCP and UDP.
//!
//! ```text
//! bytes → record (record marking) → rpc (calls, replies) → v2, v3, v4 (what they carry) → state, transaction
//! ```
//! A transaction is a call with its reply, or a file from its first read or write to its last, whatever number of
//! calls it took. NFS 4's compounds are a transaction only where they create or remove something, or move a file's
//! bytes, as in Suricata.
//!
//! Sources: RFC 5531 (RPC), RFC 4506 (XDR), RFC 1094, RFC 1813, RFC 7530, RFC 8881.
pub mod rpc;
pub mod transaction;

mod connection;
mod describe;
mod record;
mod state;
mod v2;
mod v3;
mod v4;
mod xdr;

#[cfg(test)]
mod tests;

pub use connection::Connection;
pub use transaction::Transaction;

/// A message is cut short, or its fields contradict.
const MALFORMED_DATA: &str = "malformed_data";
/// More calls are unanswered than are kept.
const TOO_MANY_TRANSACTIONS: &str = "too_many_transactions";

/// Everything that can be odd; what has no constant here is known and never raised.
pub const EVENTS: &[&str] = &[
    MALFORMED_DATA,
    "non_existing_version",
    "unsupported_version",
    TOO_MANY_TRANSACTIONS,
];
