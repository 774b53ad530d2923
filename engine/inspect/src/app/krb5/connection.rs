//! Messages as they come.

use super::message::{NoMessage, Transaction};
use super::names::is_weak;
use super::{MALFORMED_DATA, WEAK_ENCRYPTION};
use crate::app::der::Elements;
use crate::app::{Carrier, Parser, Store, Touched, Transactions};
use crate::Direction;

/// Bytes of the length in front of a message over TCP. Source: RFC 4120, 7.2.2.
const LENGTH_BYTES: usize = 4;
/// The longest message that is kept; Windows' tickets take up to 48,000 bytes.
const MESSAGE_LIMIT: usize = 65_536;
/// The longest first message by which a connection is told to be Kerberos.
const FIRST_MESSAGE_LIMIT: usize = 16_384;
/// Open messages at once; each is complete when it comes.
const OPEN_LIMIT: usize = 64;

/// One direction of a TCP connection.
#[derive(Debug, Default)]
struct Half {
    /// The message being put together, behind its length.
    buffer: Vec<u8>,
    /// Bytes of a message that is passed over, still to come.
    passing_over: usize,
}

/// One flow.
#[derive(Debug)]
pub struct Connection {
    store: Store<Transaction>,
    halves: [Half; 2],
    carrier: Carrier,
    /// Type of the request that is not answered yet; 0: none.
    asked: u32,
    broken: bool,
}

impl Connection {
    /// A flow of which nothing was seen. In a stream a length stands in front of each message.
    pub fn new(carrier: Carrier) -> Self {
        Self {
            store: Store::new(OPEN_LIMIT),
            halves: Default::default(),
            carrier,
            asked: 0,
            broken: false,
        }
    }

    fn message(&mut self, bytes: &[u8]) {
        let read = Transaction::read(bytes, self.asked);
        self.asked = match Elements::of(bytes).next().map(|whole| whole.tag) {
            Some(tag @ (0x6a | 0x6c | 0x6e)) => u32::from(tag & 0x1f),
            _ => 0,
        };
        match read {
            Ok(Some(mut tx)) => {
                if tx.encryption.is_some_and(is_weak) {
                    tx.head.raise(WEAK_ENCRYPTION);
                }
                tx.head.complete();
                self.store.open(tx);
            }
            Ok(None) => {}
            Err(NoMessage) => {
                self.broken = true;
                if let Some(last) = self.store.change_last() {
                    last.head.raise(MALFORMED_DATA);
                }
            }
        }
    }

    fn stream(&mut self, direction: Direction, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.broken {
            let half = &mut self.halves[direction as usize];
            if half.passing_over > 0 {
                let passed = half.passing_over.min(bytes.len());
                half.passing_over -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let wanted = match length(&half.buffer) {
                None => LENGTH_BYTES,
                Some(len) => LENGTH_BYTES + len,
            };
            let missing = wanted - half.buffer.len();
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            half.buffer.extend_from_slice(taken);
            bytes = rest;
            match length(&half.buffer) {
                Some(len) if len > MESSAGE_LIMIT => {
                    half.buffer.clear();
                    half.passing_over = len;
                }
                Some(len) if half.buffer.len() == LENGTH_BYTES + len => {
                    let message = std::mem::take(&mut half.buffer);
                    self.message(&message[LENGTH_BYTES..]);
                }
                _ => {}
            }
        }
    }
}

/// The length that a message over TCP begins with.
fn length(buffer: &[u8]) -> Option<usize> {
    let bytes = buffer.first_chunk::<LENGTH_BYTES>()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}

/// Whether a datagram is a message: an application's element, a sequence in it, its version 5.
pub(crate) fn is_datagram(bytes: &[u8]) -> bool {
    is_beginning(bytes) == Some(true)
}

/// Likewise over TCP; `None` while the bytes are too few.
pub(crate) fn is_stream(bytes: &[u8]) -> Option<bool> {
    match length(bytes) {
        Some(len) if !(10..=FIRST_MESSAGE_LIMIT).contains(&len) => Some(false),
        Some(_) => is_beginning(&bytes[LENGTH_BYTES..]),
        // Lengths below 64 KiB begin with two zeros.
        None if bytes.iter().take(2).all(|byte| *byte == 0) => None,
        None => Some(false),
    }
}

/// The first bytes of a message. Source: RFC 4120, 5.4.1: the version is the first or second field.
fn is_beginning(bytes: &[u8]) -> Option<bool> {
    let tag = *bytes.first()?;
    if !matches!(tag, 0x6a..=0x6f | 0x74..=0x76 | 0x7e) {
        return Some(false);
    }
    let mut at = 1 + length_bytes(*bytes.get(1)?)?;
    if *bytes.get(at)? != 0x30 {
        return Some(false);
    }
    at += 1;
    at += length_bytes(*bytes.get(at)?)?;
    let field = bytes.get(at..at + 5)?;
    Some(matches!(field, [0xa0 | 0xa1, 3, 2, 1, 5]))
}

/// How many bytes a length takes that begins with this one.
fn length_bytes(first: u8) -> Option<usize> {
    Some(match first {
        0..0x80 => 1,
        _ => 1 + usize::from(first & 0x7f),
    })
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        match self.carrier {
            Carrier::Datagrams => {
                self.message(bytes);
                self.broken = false;
            }
            Carrier::Stream => self.stream(direction, bytes),
        }
        self.store.take_touched()
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        let half = &mut self.halves[direction as usize];
        match half.passing_over as u64 {
            left if left >= len && left > 0 => half.passing_over = (left - len) as usize,
            _ => self.broken = true,
        }
        self.store.take_touched()
    }

    fn close(&mut self, _direction: Direction) -> Touched {
        self.store.take_touched()
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.store
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.store
    }

    fn skippable(&self, _direction: Direction) -> u64 {
        if self.broken {
            u64::MAX
        } else {
            0
        }
    }

    fn heap_bytes(&self) -> usize {
        let buffers = self.halves.iter().map(|half| half.buffer.capacity());
        size_of::<Self>() + buffers.sum::<usize>() + self.store.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use Direction::{ToClient, ToServer};

    fn element(tag: u8, value: &[u8]) -> Vec<u8> {
        [&[tag, 0x82][..], &(value.len() as u16).to_be_bytes(), value].concat()
    }

    fn field(place: u8, value: &[u8]) -> Vec<u8> {
        element(0xa0 + place, value)
    }

    fn name(parts: &[&str]) -> Vec<u8> {
        let strings: Vec<u8> = parts
            .iter()
            .flat_map(|part| element(0x1b, part.as_bytes()))
            .collect();
        let fields = [
            field(0, b"\x02\x01\x01"),
            field(1, &element(0x30, &strings)),
        ];
        element(0x30, &fields.concat())
    }

    fn version(place: u8) -> Vec<u8> {
        [&[0xa0 + place, 3, 2, 1, 5][..]].concat()
    }

    fn request() -> Vec<u8> {
        let body = [
            field(1, &name(&["alice"])),
            field(2, &element(0x1b, b"EXAMPLE")),
            field(3, &name(&["krbtgt", "EXAMPLE"])),
        ];
        let fields = [version(1), field(4, &element(0x30, &body.concat()))];
        element(0x6a, &element(0x30, &fields.concat()))
    }

    fn reply(encryption: u8) -> Vec<u8> {
        let encrypted = |kind| element(0x30, &field(0, &[2, 1, kind]));
        let ticket = [field(2, &name(&["http"])), field(3, &encrypted(23))];
        let fields = [
            version(0),
            field(3, &element(0x1b, b"EXAMPLE")),
            field(4, &name(&["alice"])),
            field(5, &element(0x61, &element(0x30, &ticket.concat()))),
            field(6, &encrypted(encryption)),
        ];
        element(0x6b, &element(0x30, &fields.concat()))
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u32).to_be_bytes()[..], message].concat()
    }

    fn seen(connection: &mut Connection) -> Vec<Transaction> {
        let mut all = Vec::new();
        while let Some(tx) = connection.transactions_mut().pop_finished() {
            all.push(crate::app::of::<Transaction>(tx.as_ref()).unwrap().clone());
        }
        all
    }

    #[test]
    fn reads_requests_replies_and_how_they_are_encrypted() {
        let mut connection = Connection::new(Carrier::Datagrams);
        assert!(is_datagram(&request()) && is_datagram(&reply(18)));
        connection.feed(ToServer, &request());
        connection.feed(ToClient, &reply(3));
        let [asked, got] = &seen(&mut connection)[..] else {
            panic!("not two messages");
        };
        assert_eq!(
            asked.server.as_ref().unwrap().join(&b'/'),
            b"krbtgt/EXAMPLE"
        );
        assert_eq!((asked.message, got.message), (10, 11));
        assert_eq!((got.encryption, got.ticket_encryption), (Some(3), Some(23)));
        assert_eq!(got.head.events[..], [WEAK_ENCRYPTION]);
    }

    #[test]
    fn a_prefix_is_never_taken_for_something_else() {
        let stream = framed(&request());
        for end in 0..stream.len() {
            assert_ne!(is_stream(&stream[..end]), Some(false), "{end}");
        }
        assert_eq!(is_stream(&stream), Some(true));
        assert_eq!(is_stream(b"GET "), Some(false));
    }

    proptest! {
        #[test]
        fn any_splitting_of_a_stream_gives_the_same_messages(piece in 1_usize..300) {
            let stream = [framed(&reply(18)), framed(&reply(1))].concat();
            let mut connection = Connection::new(Carrier::Stream);
            for bytes in stream.chunks(piece) {
                connection.feed(ToClient, bytes);
            }
            let found: Vec<_> = seen(&mut connection).iter().map(|tx| tx.encryption).collect();
            prop_assert_eq!(found, [Some(18), Some(1)]);
        }

        #[test]
        fn a_damaged_message_never_panics(at in 0_usize..150, to: u8, tail: Vec<u8>) {
            let mut message = reply(18);
            let at = at.min(message.len() - 1);
            message[at] = to;
            message.extend(tail);
            let _ = is_datagram(&message);
            for carrier in [Carrier::Datagrams, Carrier::Stream] {
                let mut connection = Connection::new(carrier);
                connection.feed(ToClient, &message);
                connection.feed(ToServer, &framed(&message));
                prop_assert!(connection.heap_bytes() < 8_192 + 8 * message.len());
            }
        }
    }
}
