//! Telling MQTT from its first packet.
use super::message::{kind, Header, NoHeader};

/// The names of the protocol in a CONNECT, behind their lengths. Sources: MQTT 3.1.1, 3.1.2.1; MQTT 3.1, 3.1.
const PROTOCOL_NAMES: [&[u8]; 2] = [b"\0\x04MQTT", b"\0\x06MQIsdp"];

/// The port of brokers, where a connection that was joined late is told by any packet.
pub(crate) const PORT: u16 = 1883;

/// Whether a client's stream begins with a CONNECT, on any port; `None` while that is open.
pub(crate) fn is_connect(bytes: &[u8]) -> Option<bool> {
    if *bytes.first()? >> 4 != kind::CONNECT {
        return Some(false);
    }
    let header = match Header::read(bytes) {
        Ok(header) => header?,
        Err(NoHeader) => return Some(false),
    };
    let name = bytes.get(header.bytes..)?;
    let fits = |known: &&&[u8]| {
        let shared = known.len().min(name.len());
        known[..shared] == name[..shared]
    };
    let known = PROTOCOL_NAMES.iter().find(fits);
    match known {
        None => Some(false),
        Some(known) => (name.len() >= known.len()).then_some(true),
    }
}

/// Whether a stream to or from a broker begins with what may be some packet; `None` while that is open.
pub(crate) fn is_packet(bytes: &[u8]) -> Option<bool> {
    let header = match Header::read(bytes) {
        Ok(header) => header?,
        Err(NoHeader) => return Some(false),
    };
    Some(header.kind() != 0 && header.qos() != 3)
}
