//! HTTP/1 as two streams of bytes, read the way servers read it.
//!
//! [`Connection`] takes bytes in any pieces and keeps [`transaction::Transaction`]s; [`buffers`] shows a
//! transaction under the names of Suricata's sticky buffers. The personality is libhtp's `IDS`, as Suricata's
//! default configuration sets it up: see [`uri`] for what that means for `http.uri`.
mod body;
pub mod buffers;
mod coding;
pub mod connection;
pub mod events;
mod fields;
mod lines;
mod request;
mod response;
mod store;
pub mod transaction;
pub mod uri;

pub use connection::{Connection, Settings, Touched};
pub use events::{Events, HttpEvent};
pub(super) use request::{is_known_method, names_protocol};
pub use transaction::{Body, Header, Headers, Progress, Request, Response, Transaction};
