//! RDP: which security its two ends agree on. What follows is mostly TLS, and is not read.
//!
//! Source: MS-RDPBCGR, 2.2.1.1 and 2.2.1.2, in TPKT (RFC 1006, 6) and X.224 (13.3 and 13.4).
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::cursor::Cursor;
use super::{AppProto, Description, Head, Parser, Purpose, Store, Touched, Transactions};
use crate::Direction;

/// The port on which a connection is told to be RDP.
pub(super) const PORT: u16 = 3389;

/// The longest first message that is read; they take less than 300 bytes.
const MAX_MESSAGE_BYTES: usize = 2048;
/// TPKT's header and the fixed part of X.224's.
const HEADER_BYTES: usize = 11;
/// Open transactions; each is complete when it comes.
const MAX_OPEN: usize = 4;

/// X.224's codes.
const REQUEST: u8 = 0xe0;
const CONFIRM: u8 = 0xd0;
const DATA: u8 = 0xf0;

/// What an end says of its security.
#[derive(Debug, Default, PartialEq, Eq)]
struct Negotiation {
    /// 1 request, 2 response, 3 failure.
    kind: u8,
    flags: u8,
    value: u32,
}

/// A first message.
#[derive(Debug, Default)]
pub struct Transaction {
    head: Head,
    /// From the client.
    request: bool,
    cookie: Option<String>,
    negotiation: Option<Negotiation>,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    store: Store<Transaction>,
    /// What each side sent of its first message.
    buffers: [Vec<u8>; 2],
    /// Each side's first message was read, or is none.
    done: [bool; 2],
}

impl Connection {
    /// A connection of which nothing was seen.
    pub fn new() -> Self {
        Self {
            store: Store::new(MAX_OPEN),
            buffers: Default::default(),
            done: [false; 2],
        }
    }

    fn read(&mut self, direction: Direction) {
        let side = direction as usize;
        let buffer = &self.buffers[side];
        let whole = match length(buffer) {
            None if buffer.len() < 4 => return,
            Some(len) if buffer.len() < len => return,
            None => None,
            Some(len) => buffer.get(..len),
        };
        if let Some(tx) = whole.and_then(|message| first_message(direction, message)) {
            self.store.open(tx);
        }
        self.end(side);
    }

    fn end(&mut self, side: usize) {
        self.done[side] = true;
        self.buffers[side] = Vec::new();
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

/// Length of a message by TPKT's header; `None`: there is none, or it is too long.
fn length(bytes: &[u8]) -> Option<usize> {
    let [3, 0, high, low] = *bytes.first_chunk()? else {
        return None;
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    (HEADER_BYTES..=MAX_MESSAGE_BYTES)
        .contains(&len)
        .then_some(len)
}

/// Whether a side begins with TPKT around a message of X.224; `None` while that is open.
pub(super) fn is_stream(bytes: &[u8]) -> Option<bool> {
    let begins = bytes
        .iter()
        .zip([3, 0])
        .all(|(byte, wanted)| *byte == wanted);
    if !begins {
        return Some(false);
    }
    let code = *bytes.get(5)?;
    Some(matches!(code, REQUEST | CONFIRM | DATA))
}

fn first_message(direction: Direction, message: &[u8]) -> Option<Transaction> {
    let mut rest = Cursor(message);
    rest.skip(5)?;
    let code = rest.u8()?;
    rest.skip(5)?;
    let request = direction == Direction::ToServer;
    if code != if request { REQUEST } else { CONFIRM } {
        return None;
    }
    let mut tx = Transaction {
        request,
        ..Transaction::default()
    };
    tx.head.complete();
    if request {
        tx.cookie = cookie(&mut rest);
    }
    tx.negotiation = negotiation(rest).filter(|it| (it.kind == 1) == request);
    Some(tx)
}

/// A cookie or a routing token, which end in a line's end; of the former, whose it is.
fn cookie(rest: &mut Cursor<'_>) -> Option<String> {
    let line = rest.rest();
    if !line.starts_with(b"Cookie:") {
        return None;
    }
    let end = memchr::memmem::find(line, b"\r\n")?;
    rest.skip(end + 2)?;
    let name = line[..end].strip_prefix(b"Cookie: mstshash=")?;
    String::from_utf8(name.to_vec()).ok()
}

/// Source: MS-RDPBCGR, 2.2.1.1.1, 2.2.1.2.1 and 2.2.1.2.2.
fn negotiation(mut rest: Cursor<'_>) -> Option<Negotiation> {
    let kind = rest.u8()?;
    let flags = rest.u8()?;
    let length = rest.le16()?;
    let value = rest.le32()?;
    // As in Suricata flags that are not known make it unknown.
    let known = match kind {
        1 => REQUEST_FLAGS.iter().map(|(bit, _)| bit).sum(),
        2 => 0x1f,
        3 => 0,
        _ => return None,
    };
    (length == 8 && flags & !known == 0).then_some(Negotiation { kind, flags, value })
}

const REQUEST_FLAGS: &[(u8, &str)] = &[
    (0x01, "restricted_admin_mode_required"),
    (0x02, "redirected_authentication_mode_required"),
    (0x08, "correlation_info_present"),
];
const RESPONSE_FLAGS: &[(u8, &str)] = &[
    (0x01, "extended_client_data"),
    (0x02, "dynvc_gfx"),
    (0x08, "restricted_admin"),
    (0x10, "redirected_authentication"),
];
const PROTOCOLS: &[(u32, &str)] = &[
    (0, "rdp"),
    (1, "ssl"),
    (2, "hybrid"),
    (4, "rds_tls"),
    (8, "hybrid_ex"),
];
const FAILURES: &[(u32, &str)] = &[
    (1, "ssl required by server"),
    (2, "ssl not allowed by server"),
    (3, "ssl cert not on server"),
    (4, "inconsistent flags"),
    (5, "hybrid required by server"),
    (6, "ssl with user auth required by server"),
];

fn named(names: &[(u32, &'static str)], value: u32) -> Option<&'static str> {
    let named = names.iter().find(|(known, _)| *known == value);
    named.map(|(_, name)| *name)
}

fn set(names: &[(u8, &'static str)], flags: u8) -> Vec<&'static str> {
    let set = names.iter().filter(|(bit, _)| flags & bit != 0);
    set.map(|(_, name)| *name).collect()
}

impl Serialize for Transaction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tx_id", &(self.head.id + 1))?;
        let kind = if self.request {
            "initial_request"
        } else {
            "initial_response"
        };
        map.serialize_entry("event_type", kind)?;
        if let Some(cookie) = &self.cookie {
            map.serialize_entry("cookie", cookie)?;
        }
        let Some(it) = &self.negotiation else {
            return map.end();
        };
        let (key, flags) = match self.request {
            true => ("flags", set(REQUEST_FLAGS, it.flags)),
            false => ("server_supports", set(RESPONSE_FLAGS, it.flags)),
        };
        if !flags.is_empty() {
            map.serialize_entry(key, &flags)?;
        }
        match (
            it.kind,
            named(PROTOCOLS, it.value),
            named(FAILURES, it.value),
        ) {
            (2, Some(protocol), _) => map.serialize_entry("protocol", protocol)?,
            (3, _, Some(reason)) => {
                map.serialize_entry("error_code", &it.value)?;
                map.serialize_entry("reason", reason)?;
            }
            _ => {}
        }
        map.end()
    }
}

impl super::Transaction for Transaction {
    fn head(&self) -> &Head {
        &self.head
    }
    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
    fn app(&self) -> AppProto {
        AppProto::Rdp
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn sent(&self) -> Option<Direction> {
        Some(match self.request {
            true => Direction::ToServer,
            false => Direction::ToClient,
        })
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(("rdp", Box::new(self)))
    }

    fn heap_bytes(&self) -> usize {
        self.cookie.as_ref().map_or(0, String::capacity)
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        let side = direction as usize;
        if !self.done[side] {
            let room = MAX_MESSAGE_BYTES - self.buffers[side].len();
            self.buffers[side].extend_from_slice(&bytes[..room.min(bytes.len())]);
            self.read(direction);
        }
        self.store.take_touched()
    }

    fn gap(&mut self, direction: Direction, _len: u64) -> Touched {
        self.end(direction as usize);
        self.store.take_touched()
    }

    fn close(&mut self, direction: Direction) -> Touched {
        self.end(direction as usize);
        self.store.take_touched()
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.store
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.store
    }

    fn skippable(&self, direction: Direction) -> u64 {
        if self.done[direction as usize] {
            u64::MAX
        } else {
            0
        }
    }

    fn heap_bytes(&self) -> usize {
        let buffers = self.buffers.iter().map(Vec::capacity);
        size_of::<Self>() + buffers.sum::<usize>() + self.store.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Stage, Transaction as _};
    use proptest::prelude::*;
    use Direction::{ToClient, ToServer};

    fn framed(code: u8, variable: &[u8]) -> Vec<u8> {
        let len = (HEADER_BYTES + variable.len()) as u8;
        let header = [3, 0, 0, len, len - 5, code, 0, 0, 0, 0, 0];
        [&header[..], variable].concat()
    }

    fn request() -> Vec<u8> {
        framed(
            REQUEST,
            b"Cookie: mstshash=eltons\r\n\x01\x01\x08\0\x03\0\0\0",
        )
    }

    fn seen(connection: &mut Connection) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(tx) = connection.transactions_mut().pop_finished() {
            let tx = crate::app::of::<Transaction>(tx.as_ref()).unwrap();
            assert_eq!(tx.stage(ToServer), Stage::Complete);
            all.push(serde_json::to_string(tx).unwrap());
        }
        all
    }

    #[test]
    fn reads_what_both_ends_say() {
        let mut connection = Connection::new();
        connection.feed(ToServer, &request());
        connection.feed(ToClient, &framed(CONFIRM, b"\x02\x1b\x08\0\x02\0\0\0"));
        let [asked, told] = &seen(&mut connection)[..] else {
            panic!("not two messages");
        };
        assert!(asked.contains(r#""cookie":"eltons","flags":["restricted_admin_mode_required"]"#));
        assert!(told.contains(r#"["extended_client_data","dynvc_gfx","restricted_admin","#));
        assert!(told.contains(r#""protocol":"hybrid""#));
        assert_eq!(connection.skippable(ToServer), u64::MAX);
    }

    #[test]
    fn a_refusal_has_a_reason() {
        let mut connection = Connection::new();
        connection.feed(ToClient, &framed(CONFIRM, b"\x03\0\x08\0\x05\0\0\0"));
        let wanted = r#""error_code":5,"reason":"hybrid required by server""#;
        assert!(seen(&mut connection)[0].contains(wanted));
    }

    #[test]
    fn a_prefix_is_open_until_its_code() {
        for end in 0..6 {
            assert_eq!(is_stream(&request()[..end]), None);
        }
        assert_eq!(is_stream(&request()), Some(true));
        assert_eq!(is_stream(b"\x16\x03\x01"), Some(false));
    }

    proptest! {
        #[test]
        fn any_splitting_gives_the_same_message(piece in 1_usize..50) {
            let mut connection = Connection::new();
            for bytes in request().chunks(piece) {
                connection.feed(ToServer, bytes);
            }
            prop_assert_eq!(seen(&mut connection).len(), 1);
        }

        #[test]
        fn any_change_is_read_or_refused(at in 0_usize..40, to: u8, tail: Vec<u8>) {
            let mut message = request();
            message[at] = to;
            message.extend(tail);
            let mut connection = Connection::new();
            connection.feed(ToServer, &message);
            connection.feed(ToClient, &message);
            seen(&mut connection);
            prop_assert!(connection.heap_bytes() < 16_384);
        }
    }
}
