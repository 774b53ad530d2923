//! SNMP 1, 2c and 3 over UDP, read by `snmp-parser` as Suricata reads it.
//!
//! Sources: RFC 1157; RFC 1901 and 3416; RFC 3412 and 3414.
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use snmp_parser::{
    parse_snmp_v1, parse_snmp_v2c, parse_snmp_v3, NetworkAddress, ScopedPduData,
    SecurityParameters, SnmpPdu,
};

use super::datagram::{self, Datagram, Datagrams};
use super::{AppProto, Description, Head, Purpose};
use crate::event::AsText;
use crate::Direction;

/// A transaction.
pub type Transaction = Datagram<Message>;
/// A flow's parser.
pub type Connection = Datagrams<Message>;

/// Everything that can be odd.
pub const EVENTS: &[&str] = &[
    "malformed_data",
    "unknown_security_model",
    "version_mismatch",
];

/// One message.
#[derive(Debug)]
pub struct Message {
    /// 1, 2 or 3.
    pub version: u32,
    /// Versions 1 and 2: the community.
    pub community: Option<String>,
    /// Version 3: the user, where the security model has users.
    pub user: Option<String>,
    /// What is asked or answered; `None` where that is encrypted.
    pub pdu: Option<Pdu>,
}

/// What is asked or answered.
#[derive(Debug)]
pub struct Pdu {
    /// 0 get … 8 report.
    pub kind: u32,
    /// Error status of an answer; 0 is none.
    error: u32,
    trap: Option<Trap>,
    /// Names of the variables, in dots.
    variables: Vec<String>,
}

#[derive(Debug)]
struct Trap {
    kind: String,
    enterprise: String,
    address: String,
}

impl datagram::Message for Message {
    const APP: AppProto = AppProto::Snmp;
    const MALFORMED: Option<&'static str> = Some("malformed_data");
    /// The version of the first message, by which all that follow are read.
    type Flow = Option<u32>;

    fn read(bytes: &[u8], _: Direction, flow: &mut Option<u32>, head: &mut Head) -> Option<Self> {
        if flow.is_none() {
            *flow = version(bytes);
        }
        match (*flow)? {
            3 => read_users(bytes, head),
            first => read_community(bytes, first, head),
        }
    }

    fn describe(&self, _: Purpose) -> Option<Description<'_>> {
        Some(("snmp", Box::new(self)))
    }

    fn heap_bytes(&self) -> usize {
        let texts = [&self.community, &self.user];
        let texts = texts.into_iter().flatten().map(String::capacity);
        let variables = self.pdu.iter().flat_map(|pdu| &pdu.variables);
        let variables = variables.map(|name| size_of::<String>() + name.capacity());
        texts.chain(variables).sum()
    }
}

/// Whether a datagram is a message from its first byte to its last.
pub(super) fn is_datagram(datagram: &[u8]) -> bool {
    match version(datagram) {
        Some(1) => parse_snmp_v1(datagram).is_ok_and(|(rest, _)| rest.is_empty()),
        Some(2) => parse_snmp_v2c(datagram).is_ok_and(|(rest, _)| rest.is_empty()),
        Some(3) => parse_snmp_v3(datagram).is_ok_and(|(rest, _)| rest.is_empty()),
        _ => false,
    }
}

/// The version a message says it has, 1 to 3: a sequence that begins with an integer of one byte.
fn version(bytes: &[u8]) -> Option<u32> {
    let (first, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    // X.690, 8.1.3: the length itself, or how many bytes say it.
    let skipped = if length & 0x80 == 0 { 0 } else { length & 0x7f };
    match (first, rest.get(usize::from(skipped)..)?) {
        (0x30, [0x02, 0x01, 0, ..]) => Some(1),
        (0x30, [0x02, 0x01, 1, ..]) => Some(2),
        (0x30, [0x02, 0x01, 3, ..]) => Some(3),
        _ => None,
    }
}

fn read_community(bytes: &[u8], first: u32, head: &mut Head) -> Option<Message> {
    let parse = if first == 1 {
        parse_snmp_v1
    } else {
        parse_snmp_v2c
    };
    let (_, message) = parse(bytes).ok()?;
    if message.version + 1 != first {
        head.raise("version_mismatch");
    }
    Some(Message {
        version: first,
        community: Some(message.community),
        user: None,
        pdu: Some(Pdu::of(&message.pdu)),
    })
}

fn read_users(bytes: &[u8], head: &mut Head) -> Option<Message> {
    let (_, message) = parse_snmp_v3(bytes).ok()?;
    if message.version != 3 {
        head.raise("version_mismatch");
    }
    let user = match message.security_params {
        SecurityParameters::USM(usm) => Some(usm.msg_user_name),
        SecurityParameters::Raw(_) => {
            head.raise("unknown_security_model");
            None
        }
    };
    let pdu = match &message.data {
        ScopedPduData::Plaintext(scoped) => Some(Pdu::of(&scoped.data)),
        ScopedPduData::Encrypted(_) => None,
    };
    Some(Message {
        version: 3,
        community: None,
        user,
        pdu,
    })
}

impl Pdu {
    fn of(pdu: &SnmpPdu<'_>) -> Self {
        let error = match pdu {
            SnmpPdu::Generic(generic) => generic.err.0,
            _ => 0,
        };
        let trap = match pdu {
            SnmpPdu::TrapV1(trap) => Some(Trap {
                kind: format!("{:?}", trap.generic_trap),
                enterprise: trap.enterprise.to_id_string(),
                address: match trap.agent_addr {
                    NetworkAddress::IPv4(address) => address.to_string(),
                },
            }),
            _ => None,
        };
        Self {
            kind: pdu.pdu_type().0,
            error,
            trap,
            variables: pdu.vars_iter().map(|it| it.oid.to_id_string()).collect(),
        }
    }

    fn kind_name(&self) -> Option<&'static str> {
        const NAMES: [&str; 9] = [
            "get_request",
            "get_next_request",
            "response",
            "set_request",
            "trap_v1",
            "get_bulk_request",
            "inform_request",
            "trap_v2",
            "report",
        ];
        NAMES.get(self.kind as usize).copied()
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &self.version)?;
        let Some(pdu) = &self.pdu else {
            map.serialize_entry("pdu_type", "encrypted")?;
            return map.end();
        };
        match pdu.kind_name() {
            Some(name) => map.serialize_entry("pdu_type", name)?,
            None => map.serialize_entry("pdu_type", &AsText(pdu.kind))?,
        }
        if pdu.error != 0 {
            map.serialize_entry("error", &AsText(ErrorName(pdu.error)))?;
        }
        if let Some(trap) = &pdu.trap {
            map.serialize_entry("trap_type", &trap.kind)?;
            map.serialize_entry("trap_oid", &trap.enterprise)?;
            map.serialize_entry("trap_address", &trap.address)?;
        }
        if !pdu.variables.is_empty() {
            map.serialize_entry("vars", &pdu.variables)?;
        }
        if let Some(community) = &self.community {
            map.serialize_entry("community", community)?;
        }
        if let Some(user) = &self.user {
            map.serialize_entry("usm", user)?;
        }
        map.end()
    }
}

/// An error status as `snmp-parser` names it, and so EVE.
struct ErrorName(u32);

impl std::fmt::Display for ErrorName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", snmp_parser::ErrorStatus(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Parser;
    use proptest::prelude::*;
    use Direction::ToServer;

    const GET: &[u8] = b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x07\x02\x01\0\x02\x01\0\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x03\0\x05\0";

    fn one(bytes: &[u8]) -> Option<Box<dyn crate::app::Transaction>> {
        let mut connection = Connection::new();
        connection.feed(ToServer, bytes);
        connection.transactions_mut().pop_finished()
    }

    #[test]
    fn reads_a_request_as_suricata_does() {
        let transaction = one(GET).unwrap();
        let it = crate::app::of::<Transaction>(transaction.as_ref()).unwrap();
        assert_eq!(it.message.community.as_deref(), Some("public"));
        assert_eq!(
            serde_json::to_string(&it.message).unwrap(),
            r#"{"version":2,"pdu_type":"get_request","vars":["1.3.6.1.2.1.1.3.0"],"community":"public"}"#
        );
    }

    #[test]
    fn only_a_whole_message_is_told_on_any_port() {
        assert!(is_datagram(GET));
        for end in 0..GET.len() {
            assert!(!is_datagram(&GET[..end]), "{end}");
        }
        assert!(!is_datagram(&[GET, b"x"].concat()));
    }

    proptest! {
        #[test]
        fn any_change_of_a_message_is_read_or_refused(at in 0..GET.len(), byte: u8, end in 0..=GET.len()) {
            let mut bytes = GET.to_vec();
            bytes[at] = byte;
            bytes.truncate(end);
            if let Some(transaction) = one(&bytes) {
                prop_assert!(transaction.heap_bytes() < 4096);
            }
            is_datagram(&bytes);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            one(&bytes);
            is_datagram(&bytes);
        }
    }
}
