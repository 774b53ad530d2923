//! NTP: told on its port, and a transaction for each message; nothing in it is asked for.
//!
//! Source: RFC 5905, 7.3.
use super::datagram::{self, Datagrams};
use super::detect::Ports;
use super::{AppProto, Description, Head, Purpose};
use crate::Direction;

/// A flow's parser.
pub type Connection = Datagrams<Message>;

/// Everything that can be odd.
pub const EVENTS: &[&str] = &["malformed_data"];

/// NTP's port.
const PORT: u16 = 123;
/// Bytes of a message without extensions.
const HEADER_BYTES: usize = 48;

/// One message.
#[derive(Debug)]
pub struct Message;

impl datagram::Message for Message {
    const APP: AppProto = AppProto::Ntp;
    const MALFORMED: Option<&'static str> = Some("malformed_data");
    type Flow = ();

    fn read(bytes: &[u8], _: Direction, (): &mut (), _: &mut Head) -> Option<Self> {
        is_message(bytes).then_some(Self)
    }

    fn describe(&self, _: Purpose) -> Option<Description<'_>> {
        None
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Whether a datagram is NTP of version 3 or 4, on its port.
pub(super) fn is_datagram(datagram: &[u8], ports: Ports) -> bool {
    (ports.0 == PORT || ports.1 == PORT) && is_message(datagram)
}

fn is_message(datagram: &[u8]) -> bool {
    let version = datagram.first().map(|first| first >> 3 & 7);
    datagram.len() >= HEADER_BYTES && matches!(version, Some(3 | 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_told_on_its_port_only() {
        let mut message = vec![0; HEADER_BYTES];
        message[0] = 0x23;
        assert!(is_datagram(&message, (4000, 123)));
        assert!(!is_datagram(&message, (4000, 124)));
        assert!(!is_datagram(&message[1..], (4000, 123)));
    }
}
