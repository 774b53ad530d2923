//! SSL 2 and 3 and TLS: what the peers say before they encrypt.
//!
//! [`Connection`] cuts both streams into records, puts handshake messages together across them, and fills the
//! connection's one [`Transaction`]: hellos ([`Hello`]), certificate chains, what was odd. Once application data
//! flows only record headers are read, for heartbeats.
mod certificate;
mod connection;
mod eve;
pub mod event;
mod fingerprint;
mod hello;
mod records;
mod transaction;

pub use certificate::{Certificate, Chain};
pub use connection::Connection;
pub(crate) use eve::Ja3Object;
pub(crate) use fingerprint::{extension_number, hex, ja3_with_grease};
pub use fingerprint::{ja3, ja3s, ja4, Ja3};
pub use hello::{Hello, Kind, Oddities};
pub use transaction::{Peer, State, Transaction};

/// SSL 2.
pub const SSL2: u16 = 0x0002;

/// What EVE and people call a version; `None`: it has no name.
pub fn version_name(version: u16) -> Option<&'static str> {
    Some(match version {
        0 => "UNDETERMINED",
        SSL2 => "SSLv2",
        0x0300 => "SSLv3",
        0x0301 => "TLSv1",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        0x7f01 => "TLS 1.3 draft-<16",
        0x7f10 => "TLS 1.3 draft-16",
        0x7f11 => "TLS 1.3 draft-17",
        0x7f12 => "TLS 1.3 draft-18",
        0x7f13 => "TLS 1.3 draft-19",
        0x7f14 => "TLS 1.3 draft-20",
        0x7f15 => "TLS 1.3 draft-21",
        0x7f16 => "TLS 1.3 draft-22",
        0x7f17 => "TLS 1.3 draft-23",
        0x7f18 => "TLS 1.3 draft-24",
        0x7f19 => "TLS 1.3 draft-25",
        0x7f1a => "TLS 1.3 draft-26",
        0x7f1b => "TLS 1.3 draft-27",
        0x7f1c => "TLS 1.3 draft-28",
        0xfb14 => "TLS 1.3 draft-20-fb",
        0xfb15 => "TLS 1.3 draft-21-fb",
        0xfb16 => "TLS 1.3 draft-22-fb",
        0xfb17 => "TLS 1.3 draft-23-fb",
        0xfb1a => "TLS 1.3 draft-26-fb",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
