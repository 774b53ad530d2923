//! MQTT 3.1, 3.1.1 and 5.0: control packets, each with those that acknowledge it one transaction.
//!
//! A transaction goes one way, that of its first packet: CONNECT waits for CONNACK, PUBLISH at QoS 1 for PUBACK and
//! at QoS 2 for PUBCOMP, SUBSCRIBE and UNSUBSCRIBE for theirs; everything else is complete by itself. What
//! acknowledges nothing that is open is a transaction of its own, with an event.
//!
//! Sources: MQTT 3.1.1 and MQTT 5.0 (OASIS), 2 and 3.
mod connection;
mod eve;
mod message;
mod probe;
mod property;
mod transaction;

pub use connection::Connection;
pub use message::{ConnectFlags, Message};
pub(super) use probe::{is_connect, is_packet, PORT};
pub use transaction::Transaction;

/// Everything that can be odd, by Suricata's names.
pub const EVENTS: &[&str] = &[
    MISSING_CONNECT,
    MISSING_PUBLISH,
    MISSING_SUBSCRIBE,
    MISSING_UNSUBSCRIBE,
    DOUBLE_CONNECT,
    UNINTRODUCED,
    INVALID_QOS,
    "missing_msg_id",
    UNASSIGNED_TYPE,
    TOO_MANY,
    MALFORMED,
];

/// A CONNACK without a CONNECT.
pub(super) const MISSING_CONNECT: &str = "missing_connect";
/// An acknowledgment of nothing that was published.
pub(super) const MISSING_PUBLISH: &str = "missing_publish";
/// Likewise of no subscription.
pub(super) const MISSING_SUBSCRIBE: &str = "missing_subscribe";
/// Likewise of no end of a subscription.
pub(super) const MISSING_UNSUBSCRIBE: &str = "missing_unsubscribe";
/// A CONNECT on a connection that was accepted already.
pub(super) const DOUBLE_CONNECT: &str = "double_connect";
/// A packet before the connection was accepted.
pub(super) const UNINTRODUCED: &str = "unintroduced_message";
/// QoS 3.
pub(super) const INVALID_QOS: &str = "invalid_qos_level";
/// A packet of type 0.
pub(super) const UNASSIGNED_TYPE: &str = "unassigned_msg_type";
/// More transactions were open than are kept.
pub(super) const TOO_MANY: &str = "too_many_transactions";
/// A packet that cannot be read.
pub(super) const MALFORMED: &str = "malformed_traffic";

#[cfg(test)]
mod tests;
