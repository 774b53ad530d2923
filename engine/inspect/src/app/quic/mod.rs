//! QUIC's first packets: what the hellos in them say, before everything is encrypted with keys of the peers' own.
//!
//! Initial packets are protected with keys that anybody can derive from a connection identifier, so their CRYPTO
//! frames can be read. Google's former QUIC sends its hello in the clear. Source: RFC 9000, 9001, 9369.
mod connection;
mod eve;
mod frames;
mod header;
mod keys;
mod transaction;

pub use connection::Connection;
pub(crate) use header::is_datagram;
pub use transaction::{Cyu, Transaction};

/// What a packet can be odd about, by Suricata's names.
pub const EVENTS: &[&str] = &[
    FAILED_DECRYPT,
    ERROR_ON_DATA,
    ERROR_ON_HEADER,
    CRYPTO_FRAG_TOO_LONG,
];

/// An Initial packet's keys do not fit.
pub(super) const FAILED_DECRYPT: &str = "failed_decrypt";
/// What a packet holds is not a row of frames.
pub(super) const ERROR_ON_DATA: &str = "error_on_data";
/// Known to rules, raised by nothing: what has no header is no packet.
pub(super) const ERROR_ON_HEADER: &str = "error_on_header";
/// A hello is announced to be longer than hellos are kept.
pub(super) const CRYPTO_FRAG_TOO_LONG: &str = "crypto_frag_too_long";

#[cfg(test)]
mod tests;
