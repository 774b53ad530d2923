//! BitTorrent's hash table: queries, responses and errors between peers, a message a datagram.
//!
//! Source: BEP 5; bencoding, BEP 3.
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::datagram::{self, Datagrams};
use super::tls::hex;
use super::{AppProto, Description, Head, Purpose};
use crate::event::AsText;
use crate::Direction;

/// A flow's parser.
pub type Connection = Datagrams<Message>;

/// Everything that can be odd.
pub const EVENTS: &[&str] = &[MALFORMED];

const MALFORMED: &str = "malformed_packet";

/// How deep lists and dictionaries are followed; messages have three levels.
const MAX_DEPTH: usize = 8;

/// A bencoded value.
#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Dictionary(Vec<(&'a [u8], Value<'a>)>),
}

/// A node or a peer.
#[derive(Debug, Serialize)]
struct Contact {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    ip: String,
    port: u16,
}

/// One message; a malformed one is empty.
#[derive(Debug, Default)]
pub struct Message {
    transaction: String,
    client: Option<String>,
    query: Option<String>,
    /// What is asked for or answered, in hexadecimal, by its name.
    fields: Vec<(&'static str, String)>,
    implied_port: Option<i64>,
    port: Option<i64>,
    nodes: Option<Vec<Contact>>,
    nodes6: Option<Vec<Contact>>,
    values: Option<Vec<Contact>>,
    error: Option<(i64, String)>,
}

impl datagram::Message for Message {
    const APP: AppProto = AppProto::BittorrentDht;
    const MALFORMED: Option<&'static str> = None;
    type Flow = ();

    fn read(bytes: &[u8], _: Direction, (): &mut (), head: &mut Head) -> Option<Self> {
        let message = Value::read(bytes).and_then(|value| Self::of(&value));
        if message.is_none() {
            head.raise(MALFORMED);
        }
        Some(message.unwrap_or_default())
    }

    fn describe(&self, _: Purpose) -> Option<Description<'_>> {
        Some(("bittorrent_dht", Box::new(self)))
    }

    fn heap_bytes(&self) -> usize {
        let contacts = [&self.nodes, &self.nodes6, &self.values];
        let contacts = contacts.into_iter().flatten().map(Vec::len);
        let fields = self.fields.iter().map(|(_, text)| text.capacity() + 40);
        let error = self.error.as_ref().map_or(0, |(_, text)| text.capacity());
        fields.sum::<usize>() + contacts.sum::<usize>() * 120 + error + self.transaction.capacity()
    }
}

/// Whether a datagram is a query or a response. Source: BEP 5, KRPC; the first key of each is its node's identifier.
pub(super) fn is_datagram(datagram: &[u8]) -> bool {
    [&b"d1:ad2:id20:"[..], b"d1:rd2:id20:"]
        .iter()
        .any(|beginning| datagram.starts_with(beginning))
}

impl Message {
    fn of(value: &Value<'_>) -> Option<Self> {
        let mut message = Self {
            transaction: hex(value.get("t")?.bytes()?),
            client: value.get("v").and_then(Value::bytes).map(hex),
            ..Self::default()
        };
        match value.get("y")?.bytes()? {
            b"q" => {
                message.query =
                    Some(String::from_utf8_lossy(value.get("q")?.bytes()?).into_owned());
                message.details(value.get("a")?)?;
            }
            b"r" => message.details(value.get("r")?)?,
            b"e" => message.error = Some(error(value.get("e")?)?),
            _ => return None,
        }
        Some(message)
    }

    fn details(&mut self, of: &Value<'_>) -> Option<()> {
        for name in ["id", "target", "info_hash", "token"] {
            match of.get(name).and_then(Value::bytes) {
                Some(bytes) => self.fields.push((name, hex(bytes))),
                None if name == "id" => return None,
                None => {}
            }
        }
        self.implied_port = of.get("implied_port").and_then(Value::number);
        self.port = of.get("port").and_then(Value::number);
        self.nodes = of.get("nodes").and_then(Value::bytes).map(contacts::<26>);
        self.nodes6 = of.get("nodes6").and_then(Value::bytes).map(contacts::<38>);
        if let Some(Value::List(values)) = of.get("values") {
            let peers = values.iter().filter_map(Value::bytes);
            self.values = Some(peers.filter_map(|bytes| contact(None, bytes)).collect());
        }
        Some(())
    }
}

fn error(value: &Value<'_>) -> Option<(i64, String)> {
    match value {
        Value::List(list) => match &list[..] {
            [Value::Number(code), Value::Bytes(text), ..] => {
                Some((*code, String::from_utf8_lossy(text).into_owned()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Nodes of `SIZE` bytes each: 20 of the identifier, address and port.
fn contacts<const SIZE: usize>(bytes: &[u8]) -> Vec<Contact> {
    let nodes = bytes.chunks_exact(SIZE);
    nodes
        .filter_map(|node| contact(Some(node.get(..20)?), node.get(20..)?))
        .collect()
}

/// An address of either family, and a port.
fn contact(id: Option<&[u8]>, bytes: &[u8]) -> Option<Contact> {
    let (address, port) = bytes.split_last_chunk::<2>()?;
    let ip = match address.len() {
        4 => Ipv4Addr::from(*address.first_chunk::<4>()?).to_string(),
        16 => Ipv6Addr::from(*address.first_chunk::<16>()?).to_string(),
        _ => return None,
    };
    Some(Contact {
        id: id.map(hex),
        ip,
        port: u16::from_be_bytes(*port),
    })
}

impl<'a> Value<'a> {
    /// The value at the front of a datagram.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        Self::next(&mut rest, 0)
    }

    fn next(rest: &mut &'a [u8], depth: usize) -> Option<Self> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (first, behind) = rest.split_first()?;
        match first {
            b'i' => {
                *rest = behind;
                Some(Self::Number(until(rest, b'e')?))
            }
            b'l' => {
                *rest = behind;
                let mut list = Vec::new();
                while !ends(rest)? {
                    list.push(Self::next(rest, depth + 1)?);
                }
                Some(Self::List(list))
            }
            b'd' => {
                *rest = behind;
                let mut pairs = Vec::new();
                while !ends(rest)? {
                    pairs.push((text(rest)?, Self::next(rest, depth + 1)?));
                }
                Some(Self::Dictionary(pairs))
            }
            _ => text(rest).map(Self::Bytes),
        }
    }

    fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Dictionary(pairs) => {
                let pair = pairs.iter().find(|(key, _)| *key == name.as_bytes());
                pair.map(|(_, value)| value)
            }
            _ => None,
        }
    }

    fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// Whether a list or dictionary ends here; the `e` is passed.
fn ends(rest: &mut &[u8]) -> Option<bool> {
    let (first, behind) = rest.split_first()?;
    let over = *first == b'e';
    if over {
        *rest = behind;
    }
    Some(over)
}

/// A decimal number and what ends it.
fn until(rest: &mut &[u8], end: u8) -> Option<i64> {
    /// Digits of the largest number, and a sign.
    const MAX_DIGITS: usize = 20;
    let at = rest
        .iter()
        .take(MAX_DIGITS + 1)
        .position(|byte| *byte == end)?;
    let number = std::str::from_utf8(&rest[..at]).ok()?.parse().ok()?;
    *rest = &rest[at + 1..];
    Some(number)
}

/// Bytes behind their length.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(until(rest, b':')?).ok()?;
    let (text, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(text)
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("transaction_id", &self.transaction)?;
        if let Some(client) = &self.client {
            map.serialize_entry("client_version", client)?;
        }
        if let Some(query) = &self.query {
            map.serialize_entry("request_type", query)?;
        }
        if !self.fields.is_empty() {
            let key = if self.query.is_some() {
                "request"
            } else {
                "response"
            };
            map.serialize_entry(key, &Details(self))?;
        }
        if let Some((number, text)) = &self.error {
            #[derive(Serialize)]
            struct Shown<'a> {
                num: i64,
                msg: AsText<&'a str>,
            }
            let (num, msg) = (*number, AsText(text.as_str()));
            map.serialize_entry("error", &Shown { num, msg })?;
        }
        map.end()
    }
}

struct Details<'a>(&'a Message);

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let it = self.0;
        let mut map = serializer.serialize_map(None)?;
        for (name, text) in &it.fields {
            map.serialize_entry(name, text)?;
        }
        for (name, number) in [("implied_port", it.implied_port), ("port", it.port)] {
            if let Some(number) = number {
                map.serialize_entry(name, &number)?;
            }
        }
        for (name, contacts) in [
            ("nodes", &it.nodes),
            ("nodes6", &it.nodes6),
            ("values", &it.values),
        ] {
            if let Some(contacts) = contacts {
                map.serialize_entry(name, contacts)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Parser;
    use proptest::prelude::*;
    use Direction::ToServer;

    const QUERY: &[u8] = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe";
    const ANSWER: &[u8] = b"d1:rd2:id20:abcdefghij01234567895:nodes26:abcdefghij0123456789\x01\x02\x03\x04\x1a\xe15:token3:tok6:valuesl6:axje.uee1:t2:aa1:y1:re";

    /// A message's record and events.
    fn one(bytes: &[u8]) -> (String, Vec<&'static str>) {
        let mut connection = Connection::new();
        connection.feed(ToServer, bytes);
        let tx = connection.transactions_mut().pop_finished().unwrap();
        let (_, object) = tx.describe(Purpose::Record).unwrap();
        (
            serde_json::to_string(&object).unwrap(),
            tx.events().to_vec(),
        )
    }

    #[test]
    fn reads_queries_answers_and_errors() {
        let query = concat!(
            r#"{"transaction_id":"6161","request_type":"get_peers","request":{"#,
            r#""id":"6162636465666768696a30313233343536373839","#,
            r#""info_hash":"6d6e6f707172737475767778797a313233343536"}}"#,
        );
        assert_eq!(one(QUERY), (query.to_owned(), vec![]));
        let answer = one(ANSWER).0;
        assert!(answer.contains(r#""ip":"1.2.3.4","port":6881}"#));
        assert!(answer.contains(r#""values":[{"ip":"97.120.106.101","port":11893}]"#));
        let error = one(b"d1:eli201e3:Badee1:t2:aa1:y1:ee"
            .strip_suffix(b"e")
            .unwrap())
        .0;
        assert!(error.contains(r#""transaction_id":"""#));
        let error = one(b"d1:eli201e3:Bade1:t2:aa1:y1:ee").0;
        assert!(error.contains(r#""error":{"num":201,"msg":"Bad"}"#));
    }

    #[test]
    fn every_prefix_is_malformed() {
        for end in 1..QUERY.len() {
            assert_eq!(one(&QUERY[..end]).1, [MALFORMED], "{end}");
        }
        assert!(is_datagram(QUERY) && is_datagram(ANSWER));
        assert!(!is_datagram(&QUERY[..11]));
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(Value::read(&[b'l'; 60_000]), None);
        assert!(Value::read(b"llleee").is_some());
    }

    proptest! {
        #[test]
        fn any_change_is_read_or_malformed(at in 0..ANSWER.len(), to: u8, end in 0..=ANSWER.len()) {
            let mut bytes = ANSWER.to_vec();
            bytes[at] = to;
            bytes.truncate(end);
            one(&bytes);
        }
    }
}
