//! DNS over UDP and TCP: every message is a transaction of its own, as in Suricata 7.
//!
//! A message is kept as it came; [`message::Message`] says where its parts stand, and names are put together
//! where they are needed. What reading one message may cost is bounded by [`name::Budget`], whatever its
//! compression pointers say.
mod connection;
mod eve;
mod message;
mod name;
mod probe;
mod words;

pub use connection::{Connection, Transaction, EVENTS};
pub use message::{Message, Question};
pub(super) use probe::{is_datagram, is_stream};

#[cfg(test)]
mod tests;
