//! Application protocols: which one a flow speaks, and what its messages say.
//!
//! A protocol is a module with a [`Parser`] and a [`Transaction`], a line in [`parser_for`], a row in
//! [`detect`]'s tables, and a table of keywords in `rule::keyword`.
pub mod bittorrent_dht;
pub mod dcerpc;
pub mod detect;
pub mod dhcp;
pub mod dns;
pub mod frame;
pub mod ftp;
pub mod http;
pub mod http2;
pub mod ike;
pub mod krb5;
pub mod mqtt;
pub mod nfs;
pub mod ntp;
pub mod quic;
pub mod rdp;
pub mod rfb;
pub mod sip;
pub mod smb;
pub mod smtp;
pub mod snmp;
pub mod ssh;
pub mod tftp;
pub mod tls;

pub(crate) mod cursor;
mod datagram;
pub(crate) mod der;
mod file;
mod keep;
mod lines;
pub(crate) mod magic;
mod mime;
mod parameter;
mod parser;
mod pieces;
mod proto;
mod sides;
mod single;
mod transaction;

pub use detect::{Beginning, Detection, Detector};
pub use file::{File, FileSettings, FileState, HashKinds, Hashes};
pub use parser::{parser_for, Carrier, Expected, Parser, Settings};
pub use proto::{AppProto, AppSet};
pub use transaction::{
    of, Description, Head, Purpose, Stage, Store, Touched, Transaction, Transactions,
};
