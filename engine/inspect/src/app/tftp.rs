//! TFTP: the requests; the files go between other ports, as flows of their own.
//!
//! Source: RFC 1350, 5.
use serde::Serialize;

use super::datagram::{self, Datagrams};
use super::detect::Ports;
use super::{AppProto, Description, Head, Purpose};
use crate::event::AsText;
use crate::Direction;

/// A flow's parser.
pub type Connection = Datagrams<Message>;

/// TFTP's port.
const PORT: u16 = 69;
/// Modes there are.
const MODES: [&str; 3] = ["netascii", "octet", "mail"];

/// One request.
#[derive(Debug)]
pub struct Message {
    is_read: bool,
    file: String,
    mode: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    packet: &'a str,
    file: &'a str,
    mode: AsText<&'a str>,
}

impl Message {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (code, rest) = bytes.split_first_chunk::<2>()?;
        let is_read = match code {
            [0, 1] => true,
            [0, 2] => false,
            _ => return None,
        };
        let mut texts = rest.split(|byte| *byte == 0);
        let file = std::str::from_utf8(texts.next()?).ok()?;
        let mode = std::str::from_utf8(texts.next()?).ok()?;
        // Each text ends in a zero, so that something, if only nothing, stands behind the second.
        texts.next()?;
        let mode = mode.to_ascii_lowercase();
        MODES.contains(&mode.as_str()).then(|| Self {
            is_read,
            file: file.to_owned(),
            mode,
        })
    }
}

impl datagram::Message for Message {
    const APP: AppProto = AppProto::Tftp;
    const MALFORMED: Option<&'static str> = None;
    type Flow = ();

    fn read(bytes: &[u8], _: Direction, (): &mut (), _: &mut Head) -> Option<Self> {
        Self::parse(bytes)
    }

    fn describe(&self, _: Purpose) -> Option<Description<'_>> {
        let shown = Shown {
            packet: if self.is_read { "read" } else { "write" },
            file: &self.file,
            mode: AsText(&self.mode),
        };
        Some(("tftp", Box::new(shown)))
    }

    fn heap_bytes(&self) -> usize {
        self.file.capacity() + self.mode.capacity()
    }
}

/// Whether a datagram is a request, on TFTP's port.
pub(super) fn is_datagram(datagram: &[u8], ports: Ports) -> bool {
    ports.1 == PORT && Message::parse(datagram).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Parser;
    use proptest::prelude::*;

    #[test]
    fn describes_a_request_as_suricata_does() {
        let message = Message::parse(b"\0\x01a.bin\0octet\0").unwrap();
        let (key, shown) = datagram::Message::describe(&message, Purpose::Record).unwrap();
        assert_eq!(key, "tftp");
        assert_eq!(
            serde_json::to_value(shown).unwrap(),
            serde_json::json!({"packet": "read", "file": "a.bin", "mode": "octet"})
        );
    }

    #[test]
    fn what_is_cut_short_or_of_no_known_mode_is_no_request() {
        for bytes in [
            &b"\0\x01a\0octet"[..],
            b"\0\x03a\0octet\0",
            b"\0\x01a\0bits\0",
            b"",
        ] {
            assert!(Message::parse(bytes).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            Connection::new().feed(Direction::ToServer, &bytes);
            is_datagram(&[b"\0\x01", &bytes[..]].concat(), (1, 69));
        }
    }
}
