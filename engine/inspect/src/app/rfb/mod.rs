//! RFB, the protocol of VNC: the handshake up to the server's description of its screen, one transaction.
//!
//! Source: RFC 6143, 7.1 to 7.3.
mod connection;
mod handshake;
mod transaction;

pub use connection::Connection;
pub(super) use handshake::Handshake;
pub use transaction::Transaction;

/// Everything that can be odd, by Suricata's names.
pub const EVENTS: &[&str] = &[
    "malformed_message",
    "unimplemented_security_type",
    "unknown_security_result",
    "confused_state",
];

#[cfg(test)]
mod tests;
