//! Kerberos 5 over UDP, and over TCP behind a length: who asks for a ticket to what, and how it is encrypted.
//!
//! Source: RFC 4120, 5 and 7.2.
mod connection;
mod message;
mod names;

pub use connection::Connection;
pub(crate) use connection::{is_datagram, is_stream};
pub use message::Transaction;
pub use names::{encryption_named, is_weak};

/// What a message can be odd about, by Suricata's names.
pub const EVENTS: &[&str] = &[MALFORMED_DATA, WEAK_ENCRYPTION];

/// Bytes that are no Kerberos message.
pub(super) const MALFORMED_DATA: &str = "malformed_data";
/// A reply is encrypted in a way that can be broken.
pub(super) const WEAK_ENCRYPTION: &str = "weak_encryption";
