//! SSH 1 and 2: both ends' banners, and what they offer in the key exchange.
//!
//! Source: RFC 4253, 4.2 (banner), 6 (packets), 7.1 (key exchange).
mod connection;
mod transaction;

pub use connection::Connection;
pub use transaction::{Hassh, Peer, Transaction};

/// What a connection can be odd about, by Suricata's names.
pub const EVENTS: &[&str] = &[INVALID_BANNER, LONG_BANNER, INVALID_RECORD];

/// A first line that is no banner.
pub(super) const INVALID_BANNER: &str = "invalid_banner";
/// A banner of 256 bytes or more.
pub(super) const LONG_BANNER: &str = "long_banner";
/// A packet too short to hold a message.
pub(super) const INVALID_RECORD: &str = "invalid_record";

#[cfg(test)]
mod tests;
