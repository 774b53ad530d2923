//! Internet key exchange, versions 1 and 2, over UDP: what the peers propose and choose before they encrypt.
//!
//! Source: RFC 2408 and 2409 (version 1), RFC 7296 (version 2).
mod connection;
mod eve;
mod names;
mod transaction;
mod version1;
mod version2;

pub(crate) use connection::is_datagram;
pub use connection::Connection;
pub use transaction::{Attribute, Header, Transaction};

/// What a message can be odd about, by Suricata's names.
pub const EVENTS: &[&str] = &[
    MALFORMED_DATA,
    NO_ENCRYPTION,
    WEAK_CRYPTO_ENC,
    WEAK_CRYPTO_PRF,
    WEAK_CRYPTO_DH,
    WEAK_CRYPTO_AUTH,
    WEAK_CRYPTO_NO_DH,
    WEAK_CRYPTO_NO_AUTH,
    INVALID_PROPOSAL,
    UNKNOWN_PROPOSAL,
    PAYLOAD_EXTRA_DATA,
    MULTIPLE_SERVER_PROPOSAL,
];

/// Payloads that cannot be read.
pub(super) const MALFORMED_DATA: &str = "malformed_data";
/// A proposal authenticates only.
pub(super) const NO_ENCRYPTION: &str = "no_encryption";
/// A proposal's encryption can be broken.
pub(super) const WEAK_CRYPTO_ENC: &str = "weak_crypto_enc";
/// A proposal's random function can be broken.
pub(super) const WEAK_CRYPTO_PRF: &str = "weak_crypto_prf";
/// A proposal's group is too small.
pub(super) const WEAK_CRYPTO_DH: &str = "weak_crypto_dh";
/// A proposal's integrity check can be broken.
pub(super) const WEAK_CRYPTO_AUTH: &str = "weak_crypto_auth";
/// A proposal without a group.
pub(super) const WEAK_CRYPTO_NO_DH: &str = "weak_crypto_no_dh";
/// A proposal without an integrity check.
pub(super) const WEAK_CRYPTO_NO_AUTH: &str = "weak_crypto_no_auth";
/// A proposal of nothing.
pub(super) const INVALID_PROPOSAL: &str = "invalid_proposal";
/// A proposal of a kind that is not known.
pub(super) const UNKNOWN_PROPOSAL: &str = "unknown_proposal";
/// Bytes behind the last payload.
pub(super) const PAYLOAD_EXTRA_DATA: &str = "payload_extra_data";
/// The server chose more than one proposal.
pub(super) const MULTIPLE_SERVER_PROPOSAL: &str = "multiple_server_proposal";

#[cfg(test)]
mod tests;
