//! SIP over UDP: the first line of each message, and whether the rest reads as headers and a body.
//!
//! Source: RFC 3261, 7 and 25.1. Each message is a transaction of its own, as in Suricata 7.
use std::ops::Range;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::datagram::{self, Datagram, Datagrams};
use super::detect::Ports;
use super::{AppProto, Description, Head, Purpose};
use crate::event::Text;
use crate::Direction;

/// A transaction.
pub type Transaction = Datagram<Message>;
/// A flow's parser.
pub type Connection = Datagrams<Message>;

/// Everything that can be odd.
pub const EVENTS: &[&str] = &["incomplete_data", "invalid_data"];

/// SIP's ports.
const PORTS: [u16; 2] = [5060, 5061];

/// The first line of one message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    line: Vec<u8>,
    /// Where its three parts stand.
    parts: [Range<usize>; 3],
    is_request: bool,
}

impl Message {
    /// The line, without its line end, where the message is a request.
    pub fn request_line(&self) -> Option<&[u8]> {
        self.is_request.then_some(&self.line)
    }

    /// The line, without its line end, where the message is a response.
    pub fn response_line(&self) -> Option<&[u8]> {
        (!self.is_request).then_some(&self.line)
    }

    /// A request's method.
    pub fn method(&self) -> Option<&[u8]> {
        self.is_request.then(|| self.part(0))
    }

    /// A request's URI.
    pub fn uri(&self) -> Option<&[u8]> {
        self.is_request.then(|| self.part(1))
    }

    /// `SIP/2.0`.
    pub fn protocol(&self) -> &[u8] {
        self.part(if self.is_request { 2 } else { 0 })
    }

    /// A response's status code.
    pub fn status(&self) -> Option<&[u8]> {
        (!self.is_request).then(|| self.part(1))
    }

    /// A response's reason.
    pub fn reason(&self) -> Option<&[u8]> {
        (!self.is_request).then(|| self.part(2))
    }

    fn part(&self, index: usize) -> &[u8] {
        self.line.get(self.parts[index].clone()).unwrap_or_default()
    }

    fn parse(bytes: &[u8], is_request: bool) -> Option<Self> {
        let end = memchr::memmem::find(bytes, b"\r\n")?;
        let line = &bytes[..end];
        let first = memchr::memchr(b' ', line)?;
        let second = first + 1 + memchr::memchr(b' ', &line[first + 1..])?;
        let parts = [0..first, first + 1..second, second + 1..end];
        let [a, b, c] = [
            &line[..first],
            &line[first + 1..second],
            &line[second + 1..],
        ];
        let fits = if is_request {
            all(a, is_method) && !b.is_empty() && all(b, is_uri) && is_version(c)
        } else {
            is_version(a) && b.len() == 3 && all(c, is_reason)
        };
        let is_whole = fits && a.is_ascii() && has_headers(&bytes[end + 2..]);
        is_whole.then(|| Self {
            line: line.to_vec(),
            parts,
            is_request,
        })
    }
}

/// Whether these are header fields, folded or not, up to an empty line.
fn has_headers(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut first = true;
    loop {
        let Some(end) = memchr::memmem::find(rest, b"\r\n") else {
            return false;
        };
        let line = &rest[..end];
        rest = &rest[end + 2..];
        if line.is_empty() {
            return true;
        }
        let folded = !first && (line.starts_with(b" ") || line.starts_with(b"\t"));
        first = false;
        let name = line.iter().take_while(|byte| is_token(**byte)).count();
        let is_field = line[name..].trim_ascii_start().starts_with(b":");
        let bare = |pair: &[u8]| pair[0] == b'\n' && !matches!(pair[1], b' ' | b'\t');
        let broken = line.ends_with(b"\n") || line.windows(2).any(bare);
        if !(folded || is_field) || broken || std::str::from_utf8(line).is_err() {
            return false;
        }
    }
}

fn all(bytes: &[u8], wanted: fn(u8) -> bool) -> bool {
    bytes.iter().all(|byte| wanted(*byte))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!%'*+-._`~".contains(&byte)
}

fn is_method(byte: u8) -> bool {
    byte.is_ascii_alphabetic()
}

fn is_uri(byte: u8) -> bool {
    is_token(byte) || b"~#@:;=?&$,/".contains(&byte)
}

fn is_version(word: &[u8]) -> bool {
    let number = word.strip_prefix(b"SIP/").unwrap_or_default();
    !number.is_empty() && all(number, |byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

fn is_reason(byte: u8) -> bool {
    is_token(byte) || b"$&(),/:;=?@[\\]^ ".contains(&byte)
}

impl datagram::Message for Message {
    const APP: AppProto = AppProto::Sip;
    const MALFORMED: Option<&'static str> = Some("invalid_data");
    const BOTH_WAYS: bool = true;
    type Flow = ();

    fn read(bytes: &[u8], direction: Direction, (): &mut (), _: &mut Head) -> Option<Self> {
        Self::parse(bytes, direction == Direction::ToServer)
    }

    fn describe(&self, _: Purpose) -> Option<Description<'_>> {
        Some(("sip", Box::new(self)))
    }

    fn heap_bytes(&self) -> usize {
        self.line.capacity()
    }
}

/// Whether a datagram is a message; on ports that are not SIP's one of version 2.0.
pub(super) fn is_datagram(direction: Direction, datagram: &[u8], ports: Ports) -> bool {
    if PORTS.contains(&ports.1) {
        return Message::parse(datagram, direction == Direction::ToServer).is_some();
    }
    let begins = match direction {
        Direction::ToServer => datagram.first().is_some_and(u8::is_ascii_uppercase),
        Direction::ToClient => datagram.starts_with(b"SIP/2.0 "),
    };
    begins
        && Message::parse(datagram, direction == Direction::ToServer)
            .is_some_and(|message| message.protocol() == b"SIP/2.0")
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = if self.is_request {
            ["method", "uri", "version", "request_line"]
        } else {
            ["version", "code", "reason", "response_line"]
        };
        let mut map = serializer.serialize_map(None)?;
        for (at, key) in keys.into_iter().enumerate() {
            let bytes = if at < 3 { self.part(at) } else { &self.line };
            map.serialize_entry(key, &Text(bytes))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Parser;
    use proptest::prelude::*;
    use Direction::{ToClient, ToServer};

    const INVITE: &[u8] =
        b"INVITE sip:a@b.c SIP/2.0\r\nVia: x\r\n y\r\nContent-Length: 2\r\n\r\nhi";
    const RINGING: &[u8] = b"SIP/2.0 180 Ringing\r\nVia: x\r\n\r\n";

    fn json(bytes: &[u8], direction: Direction) -> String {
        let message = Message::parse(bytes, direction == ToServer).unwrap();
        serde_json::to_string(&message).unwrap()
    }

    #[test]
    fn describes_messages_as_suricata_does() {
        assert_eq!(
            json(INVITE, ToServer),
            r#"{"method":"INVITE","uri":"sip:a@b.c","version":"SIP/2.0","request_line":"INVITE sip:a@b.c SIP/2.0"}"#
        );
        assert_eq!(
            json(RINGING, ToClient),
            r#"{"version":"SIP/2.0","code":"180","reason":"Ringing","response_line":"SIP/2.0 180 Ringing"}"#
        );
    }

    #[test]
    fn a_message_waits_for_the_other_way() {
        let mut connection = Connection::new();
        connection.feed(ToServer, INVITE);
        assert!(connection.transactions_mut().pop_finished().is_none());
        assert_eq!(connection.feed(ToClient, RINGING), 0..2);
        let first = connection.transactions_mut().pop_finished().unwrap();
        assert_eq!(first.sent(), Some(ToServer));
    }

    #[test]
    fn what_is_no_message_is_told_of_the_one_before() {
        let mut connection = Connection::new();
        connection.feed(ToServer, INVITE);
        connection.feed(ToClient, b"SIP/2.0 180\r\n\r\n");
        let first = connection.transactions_mut().pop_finished().unwrap();
        assert!(first.has_event("invalid_data"));
    }

    #[test]
    fn only_sip_is_told_on_any_port() {
        assert!(is_datagram(ToServer, INVITE, (1, 2)));
        assert!(is_datagram(ToClient, RINGING, (1, 2)));
        for other in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"NOTIFY * HTTP/1.1\r\nHost: x\r\n\r\n",
            b"INVITE",
        ] {
            assert!(!is_datagram(ToServer, other, (1, 2)));
        }
    }

    proptest! {
        #[test]
        fn any_change_of_a_message_is_read_or_refused(at in 0..INVITE.len(), byte: u8, end in 0..=INVITE.len()) {
            let mut bytes = INVITE.to_vec();
            bytes[at] = byte;
            bytes.truncate(end);
            let mut connection = Connection::new();
            connection.feed(ToServer, &bytes);
            connection.feed(ToClient, &bytes);
            prop_assert!(connection.heap_bytes() < 4096);
        }
    }
}
