//! HTTP/1 as two streams of bytes, read the way servers read it.
//!
//! [`Connection`] takes bytes in any pieces and keeps [`transaction::Transaction`]s; [`buffers`] shows a
//! transaction under the names of Suricata's sticky buffers. The personality is libhtp's `IDS`, as Suricata's
//! default configuration sets it up: see [`uri`] for what that means for `http.uri`.
//!
//! Where libhtp stops reading a connection, this reads on, so that one odd message hides nothing behind it:
//! - an overlong line or field is cut to the limit and read to its end;
//! - a body whose length cannot be understood runs to the connection's end;
//! - every interim response is skipped, not only `100 Continue`, and any number of them;
//! - a 204 or 304 has a body only if bytes follow at once that begin no other response;
//! - behind a gap, reading goes on where a segment begins like a message.
//!
//! And: `br` is decoded; codings are undone in the order RFC 9110 asks for; every member of a gzip body is read.
mod ambiguity;
pub(in crate::app) mod body;
pub mod buffers;
mod coding;
pub mod connection;
mod content_range;
pub mod events;
mod fields;
mod headers;
mod lines;
mod multipart;
mod name;
mod request;
mod response;
mod store;
pub mod transaction;
pub mod uri;

pub use connection::{Connection, Settings};
pub use content_range::ContentRange;
pub use events::{Events, HttpEvent};
pub use headers::{Header, Headers};
pub(super) use request::{is_known_method, looks_like_request, names_protocol};
pub use transaction::{Body, Progress, Request, Response, Transaction};
