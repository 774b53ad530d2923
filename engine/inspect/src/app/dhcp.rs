//! DHCP for IPv4: the fixed header and the options.
//!
//! Sources: RFC 2131, 2; RFC 2132. Each message is a transaction of its own, as in Suricata 7.
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::datagram::{self, Datagram, Datagrams};
use super::detect::Ports;
use super::{AppProto, Description, Head, Purpose};
use crate::event::{AsText, Text};
use crate::Direction;

/// A transaction.
pub type Transaction = Datagram<Message>;
/// A flow's parser.
pub type Connection = Datagrams<Message>;

/// Everything that can be odd.
pub const EVENTS: &[&str] = &["truncated_options", "malformed_options"];

/// The client's and the server's port.
const PORTS: [u16; 2] = [67, 68];
/// Bytes before the options: the fixed header and the magic cookie.
const HEADER_BYTES: usize = 240;
const MAGIC: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
/// `options` type 53: what the message is for.
const MESSAGE_TYPE: u8 = 53;
const ACK: u8 = 5;
/// What the client is called. Source: RFC 2132, 3.14.
const HOSTNAME: u8 = 12;
/// By what the server knows it: a type and what identifies it. Source: RFC 2132, 9.14.
const CLIENT_ID: u8 = 61;

/// Options that signatures ask for.
pub mod option {
    /// Seconds that the address may be used.
    pub const LEASE_TIME: u8 = 51;
    /// Seconds until it should be renewed.
    pub const RENEWAL_TIME: u8 = 58;
    /// Seconds until it should be asked for anew.
    pub const REBINDING_TIME: u8 = 59;
}

/// One message.
#[derive(Debug)]
pub struct Message {
    is_request: bool,
    id: u32,
    assigned: [u8; 4],
    client_mac: Vec<u8>,
    kind: Option<u8>,
    times: [Option<u32>; 3],
    hostname: Vec<u8>,
    client_id: Vec<u8>,
}

impl Message {
    /// The number an option of four bytes holds, where the message has it.
    pub fn time(&self, option: u8) -> Option<u32> {
        let at = TIMES.iter().position(|(code, _)| *code == option)?;
        self.times[at]
    }
}

/// Options that hold seconds, and their names in EVE.
const TIMES: [(u8, &str); 3] = [
    (option::LEASE_TIME, "lease_time"),
    (option::REBINDING_TIME, "rebinding_time"),
    (option::RENEWAL_TIME, "renewal_time"),
];

impl datagram::Message for Message {
    const APP: AppProto = AppProto::Dhcp;
    const MALFORMED: Option<&'static str> = None;
    const BOTH_WAYS: bool = true;
    type Flow = ();

    fn read(bytes: &[u8], _: Direction, (): &mut (), head: &mut Head) -> Option<Self> {
        let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
        if header[HEADER_BYTES - 4..] != MAGIC {
            return None;
        }
        let mac_bytes = usize::from(header[2]).min(16);
        let mut message = Self {
            is_request: header[0] == 1,
            id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            assigned: [header[16], header[17], header[18], header[19]],
            client_mac: header[28..28 + mac_bytes].to_vec(),
            kind: None,
            times: [None; 3],
            hostname: Vec::new(),
            client_id: Vec::new(),
        };
        while let Some((code, behind)) = rest.split_first() {
            match code {
                0 => rest = behind,
                255 => return Some(message),
                code => {
                    let option = behind
                        .split_first()
                        .and_then(|(length, behind)| behind.split_at_checked(usize::from(*length)));
                    let Some((value, behind)) = option else {
                        head.raise("truncated_options");
                        return Some(message);
                    };
                    message.note(*code, value, head);
                    rest = behind;
                }
            }
        }
        head.raise("truncated_options");
        Some(message)
    }

    fn describe(&self, purpose: Purpose) -> Option<Description<'_>> {
        // Suricata's default tells acknowledgments only, and nothing in alerts.
        let told = purpose == Purpose::Record && self.kind == Some(ACK);
        told.then(|| -> Description<'_> { ("dhcp", Box::new(self)) })
    }

    fn heap_bytes(&self) -> usize {
        self.client_mac.capacity() + self.hostname.capacity() + self.client_id.capacity()
    }
}

impl Message {
    fn note(&mut self, code: u8, value: &[u8], head: &mut Head) {
        match (code, value) {
            (MESSAGE_TYPE, [kind, ..]) => self.kind = Some(*kind),
            (MESSAGE_TYPE, []) => head.raise("malformed_options"),
            (HOSTNAME, name) => self.hostname = name.to_vec(),
            (CLIENT_ID, [_type, id @ ..]) => self.client_id = id.to_vec(),
            _ => {
                let Some(at) = TIMES.iter().position(|(wanted, _)| *wanted == code) else {
                    return;
                };
                match value {
                    [a, b, c, d, ..] => self.times[at] = Some(u32::from_be_bytes([*a, *b, *c, *d])),
                    _ => head.raise("malformed_options"),
                }
            }
        }
    }
}

/// Whether a datagram is DHCP: on its ports, and with its magic number.
pub(super) fn is_datagram(datagram: &[u8], ports: Ports) -> bool {
    (PORTS.contains(&ports.0) || PORTS.contains(&ports.1))
        && datagram.len() > HEADER_BYTES
        && matches!(datagram[0], 1 | 2)
        && datagram[HEADER_BYTES - 4..HEADER_BYTES] == MAGIC
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [a, b, c, d] = self.assigned;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", if self.is_request { "request" } else { "reply" })?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("client_mac", &AsText(Colons(&self.client_mac)))?;
        map.serialize_entry("assigned_ip", &AsText(format_args!("{a}.{b}.{c}.{d}")))?;
        map.serialize_entry("dhcp_type", "ack")?;
        if let Some(seconds) = self.time(option::RENEWAL_TIME) {
            map.serialize_entry("renewal_time", &seconds)?;
        }
        if !self.hostname.is_empty() {
            map.serialize_entry("hostname", &Text(&self.hostname))?;
        }
        if !self.client_id.is_empty() {
            map.serialize_entry("client_id", &AsText(Colons(&self.client_id)))?;
        }
        map.end()
    }
}

struct Colons<'a>(&'a [u8]);

impl std::fmt::Display for Colons<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Parser;
    use proptest::prelude::*;
    use Direction::ToServer;

    fn ack() -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[0] = 2;
        bytes[2] = 6;
        bytes[7] = 9;
        bytes[16..20].copy_from_slice(&[10, 0, 0, 7]);
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&MAGIC);
        bytes.extend([
            MESSAGE_TYPE,
            1,
            ACK,
            51,
            4,
            0,
            0,
            14,
            16,
            58,
            4,
            0,
            0,
            7,
            8,
            255,
        ]);
        bytes
    }

    fn read(bytes: &[u8]) -> (Option<Message>, Head) {
        let mut head = Head::default();
        let message = <Message as datagram::Message>::read(bytes, ToServer, &mut (), &mut head);
        (message, head)
    }

    #[test]
    fn describes_an_acknowledgment_as_suricata_does() {
        let message = read(&ack()).0.unwrap();
        assert_eq!(message.time(option::LEASE_TIME), Some(3600));
        assert_eq!(message.time(option::REBINDING_TIME), None);
        assert_eq!(
            serde_json::to_string(&message).unwrap(),
            r#"{"type":"reply","id":9,"client_mac":"02:00:00:00:00:01","assigned_ip":"10.0.0.7","dhcp_type":"ack","renewal_time":1800}"#
        );
    }

    #[test]
    fn names_the_client_where_the_server_does() {
        let mut bytes = ack();
        bytes.truncate(bytes.len() - 1);
        bytes.extend([HOSTNAME, 2, b'H', b'a', CLIENT_ID, 3, 1, 2, 0xff, 255]);
        let shown = serde_json::to_value(read(&bytes).0.unwrap()).unwrap();
        assert_eq!(shown["hostname"], "Ha");
        assert_eq!(shown["client_id"], "02:ff");
    }

    #[test]
    fn options_that_end_early_are_told() {
        let bytes = ack();
        assert!(read(&bytes).1.events.is_empty());
        let (message, head) = read(&bytes[..bytes.len() - 3]);
        assert!(message.is_some());
        assert_eq!(head.events[..], ["truncated_options"]);
    }

    proptest! {
        #[test]
        fn any_change_of_a_message_is_read_or_refused(at in 0_usize..256, byte: u8, end in 0_usize..=256) {
            let mut bytes = ack();
            bytes.truncate(end);
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
            let mut connection = Connection::new();
            connection.feed(ToServer, &bytes);
            is_datagram(&bytes, (68, 67));
            prop_assert!(connection.heap_bytes() < 4096);
        }
    }
}
