//! SMB 1, 2 and 3, over TCP directly or behind NetBIOS.
//!
//! ```text
//! bytes → frame (records) → header → v1, v2 (commands) → state (what is open), transaction
//!                                          └→ pipe (DCE/RPC), pieces (files)
//! ```
//! A transaction is a request with its response, or a file from its first piece to its closing, or a DCE/RPC call
//! through a pipe, whatever number of writes and reads it took.
pub mod events;
pub mod header;
pub mod spnego;
pub mod transaction;

mod connection;
mod describe;
mod frame;
mod pipe;
mod state;
mod status;
mod text;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

pub use connection::Connection;
pub(in crate::app) use frame::begins_record;
pub use transaction::Transaction;
