//! One message, which is one transaction.

use std::any::Any;
use std::sync::Arc;

use super::{eve, names};
use crate::app::cursor::Cursor;
use crate::app::{AppProto, Description, Head, Purpose};
use crate::Direction;

/// The header that every message begins with. Source: RFC 2408, 3.1; RFC 7296, 3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The initiator's identifier.
    pub initiator: u64,
    /// The responder's; 0 in the first message.
    pub responder: u64,
    /// Type of the first payload.
    pub next: u8,
    /// Major and minor version.
    pub version: (u8, u8),
    /// What the exchange is for.
    pub exchange: u8,
    /// Flags, whose meaning is the version's.
    pub flags: u8,
    /// Message identifier.
    pub message: u32,
    /// Length of the whole message.
    pub length: u32,
}

impl Header {
    /// Splits the header from the payloads.
    pub fn read(datagram: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = Cursor(datagram);
        let header = Self {
            initiator: u64::from_be_bytes(rest.array()?),
            responder: u64::from_be_bytes(rest.array()?),
            next: rest.u8()?,
            version: rest.u8().map(|byte| (byte >> 4, byte & 15))?,
            exchange: rest.u8()?,
            flags: rest.u8()?,
            message: u32::from_be_bytes(rest.array()?),
            length: u32::from_be_bytes(rest.array()?),
        };
        Some((header, rest.0))
    }
}

/// One attribute of a transform of version 1. Source: RFC 2408, 3.3; RFC 2409, A.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its number.
    pub kind: u16,
    /// The two bytes behind it: the value, or its length.
    pub short: u16,
    /// The value, where it is a number.
    pub number: Option<u32>,
    /// The value's bytes, where it is none.
    pub bytes: Vec<u8>,
}

impl Attribute {
    /// Its name, as rules and EVE have it.
    pub fn name(&self) -> &'static str {
        let known = names::ATTRIBUTES.get(usize::from(self.kind));
        known.copied().unwrap_or("unknown")
    }
}

/// What one end said of itself, in version 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub key_exchange: Arc<[u8]>,
    pub nonce: Arc<[u8]>,
    /// How many transforms it named.
    pub transforms: usize,
    /// The first of them.
    pub first: Arc<[Attribute]>,
}

/// The algorithms that a server chose, in version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Algorithms {
    pub encryption: u16,
    pub integrity: u16,
    pub random: u16,
    pub group: u16,
    pub extended_numbers: u16,
}

impl Default for Algorithms {
    /// Nothing chosen: no encryption, as its number says.
    fn default() -> Self {
        Self {
            encryption: 11,
            integrity: 0,
            random: 0,
            group: 0,
            extended_numbers: 0,
        }
    }
}

/// One message.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What the engine keeps in it.
    pub head: Head,
    /// Its header.
    pub header: Header,
    /// Version 1: the key exchange's data.
    pub key_exchange: Vec<u8>,
    /// Version 1: the nonce.
    pub nonce: Vec<u8>,
    /// Version 1: vendors' identifiers in hexadecimal.
    pub vendors: Vec<String>,
    /// Version 1: the transforms it names.
    pub transforms: Vec<Vec<Attribute>>,
    /// Version 2: type and number of what the server chose, in order.
    pub chosen: Vec<(u8, u16)>,
    pub(super) from_server: bool,
    /// Types of its payloads.
    pub(super) payloads: Vec<u8>,
    /// Version 2: types of the notifications.
    pub(super) notifications: Vec<u16>,
    /// What the connection knows by now, for EVE.
    pub(super) interpretation: Option<u32>,
    pub(super) client: Peer,
    pub(super) server: Peer,
    pub(super) algorithms: Algorithms,
    /// Both identifiers in hexadecimal.
    spis: [String; 2],
}

impl Transaction {
    /// A message of which only the header is known.
    pub(super) fn new(header: Header, direction: Direction) -> Self {
        Self {
            header,
            from_server: direction == Direction::ToClient,
            spis: [header.initiator, header.responder].map(|spi| format!("{spi:016x}")),
            ..Self::default()
        }
    }

    /// The initiator's identifier in hexadecimal.
    pub fn initiator(&self) -> &str {
        &self.spis[0]
    }

    /// The responder's.
    pub fn responder(&self) -> &str {
        &self.spis[1]
    }
}

impl crate::app::Transaction for Transaction {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn app(&self) -> AppProto {
        AppProto::Ike
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(eve::describe(self))
    }

    fn heap_bytes(&self) -> usize {
        let attributes = self.transforms.iter().flatten();
        size_of::<Self>()
            + self.key_exchange.capacity()
            + self.nonce.capacity()
            + self.vendors.iter().map(|it| 24 + it.len()).sum::<usize>()
            + attributes.map(|it| 48 + it.bytes.len()).sum::<usize>()
            + self.payloads.capacity()
            + 4 * (self.chosen.capacity() + self.notifications.capacity())
    }
}
