//! One message, which is one transaction.

use std::any::Any;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use smallvec::SmallVec;

use super::names::{encryption_name, error_name, is_weak, message_name};
use crate::app::der::{integer, Elements};
use crate::app::{AppProto, Description, Head, Purpose};
use crate::event::Text;

/// Parts kept of one name; real ones have one to three.
const NAME_PARTS: usize = 16;

/// The message types that are read. Source: RFC 4120, 7.5.7.
const AS_REQUEST: u32 = 10;
const AS_REPLY: u32 = 11;
const TGS_REQUEST: u32 = 12;
const TGS_REPLY: u32 = 13;
const ERROR: u32 = 30;

/// A principal's name: `krbtgt`, `EXAMPLE.COM`.
pub type Name = SmallVec<[Box<[u8]>; 2]>;

/// One message.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What the engine keeps in it.
    pub head: Head,
    /// Its type.
    pub message: u32,
    /// Of an error: the type of the request that failed.
    pub failed: Option<u32>,
    /// The client.
    pub client: Option<Name>,
    /// The realm.
    pub realm: Option<Box<[u8]>>,
    /// The server.
    pub server: Option<Name>,
    /// How the reply is encrypted.
    pub encryption: Option<i32>,
    /// How the ticket in it is encrypted.
    pub ticket_encryption: Option<i32>,
    /// What went wrong.
    pub error: Option<i32>,
}

/// The bytes begin no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMessage;

impl Transaction {
    /// Reads a message. `Err`: it is none; `Ok(None)`: one that holds no names. `asked`: type of the last request.
    pub fn read(bytes: &[u8], asked: u32) -> Result<Option<Self>, NoMessage> {
        let whole = Elements::of(bytes).next().ok_or(NoMessage)?;
        if whole.tag & 0xe0 != 0x60 {
            return Ok(None);
        }
        let message = u32::from(whole.tag & 0x1f);
        let Some(fields) = Elements::of_sequence(whole.value) else {
            return Ok(None);
        };
        Ok(match message {
            AS_REQUEST | TGS_REQUEST => Self::request(message, fields),
            AS_REPLY | TGS_REPLY => Self::reply(message, fields),
            ERROR => Self::error(fields, asked),
            _ => None,
        })
    }

    fn request(message: u32, fields: Elements<'_>) -> Option<Self> {
        let body = Elements::of_sequence(fields.at(4)?)?;
        Some(Self {
            message,
            client: body.at(1).and_then(name),
            realm: body.at(2).and_then(text),
            server: body.at(3).and_then(name),
            ..Self::default()
        })
    }

    fn reply(message: u32, fields: Elements<'_>) -> Option<Self> {
        let ticket = Elements::of(fields.at(5)?).next()?;
        let ticket = Elements::of_sequence(ticket.value)?;
        Some(Self {
            message,
            client: Some(name(fields.at(4)?)?),
            realm: Some(text(fields.at(3)?)?),
            server: Some(name(ticket.at(2)?)?),
            encryption: Some(encryption(fields.at(6)?)?),
            ticket_encryption: Some(encryption(ticket.at(3)?)?),
            ..Self::default()
        })
    }

    fn error(fields: Elements<'_>, asked: u32) -> Option<Self> {
        Some(Self {
            message: ERROR,
            failed: Some(asked),
            error: Some(integer(fields.at(6)?)?),
            realm: fields.at(7).and_then(text),
            client: fields.at(8).and_then(name),
            server: Some(name(fields.at(10)?)?),
            ..Self::default()
        })
    }
}

fn name(bytes: &[u8]) -> Option<Name> {
    let parts = Elements::of_sequence(Elements::of_sequence(bytes)?.at(1)?)?;
    Some(
        parts
            .take(NAME_PARTS)
            .map(|part| part.value.into())
            .collect(),
    )
}

fn text(bytes: &[u8]) -> Option<Box<[u8]>> {
    Some(Elements::of(bytes).next()?.value.into())
}

fn encryption(bytes: &[u8]) -> Option<i32> {
    integer(Elements::of_sequence(bytes)?.at(0)?)
}

impl crate::app::Transaction for Transaction {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn app(&self) -> AppProto {
        AppProto::Krb5
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(("krb5", Box::new(self)))
    }

    fn heap_bytes(&self) -> usize {
        let names = [&self.client, &self.server].into_iter().flatten().flatten();
        size_of::<Self>()
            + names.map(|part| 16 + part.len()).sum::<usize>()
            + self.realm.as_ref().map_or(0, |realm| realm.len())
    }
}

impl Serialize for Transaction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let number = |number: u32| message_name(number).map_or(number.to_string(), str::to_owned);
        map.serialize_entry("msg_type", &number(self.message))?;
        if let Some(failed) = self.failed {
            map.serialize_entry("failed_request", &number(failed))?;
        }
        if let Some(error) = self.error {
            let name = error_name(error).map_or(error.to_string(), str::to_owned);
            map.serialize_entry("error_code", &name)?;
        }
        let joined = |name: &Option<Name>| name.as_ref().map(|parts| parts.join(&b'/'));
        for (key, value) in [
            ("cname", joined(&self.client)),
            ("realm", self.realm.as_deref().map(<[u8]>::to_vec)),
            ("sname", joined(&self.server)),
        ] {
            map.serialize_entry(key, &Text(value.as_deref().unwrap_or(b"<empty>")))?;
        }
        let named = |number: i32| encryption_name(number).map_or(number.to_string(), str::to_owned);
        let encryption = self.encryption.map_or("<none>".to_owned(), named);
        map.serialize_entry("encryption", &encryption)?;
        let weak = self.encryption.is_some_and(is_weak);
        map.serialize_entry("weak_encryption", &weak)?;
        if let Some(ticket) = self.ticket_encryption {
            map.serialize_entry("ticket_encryption", &named(ticket))?;
            map.serialize_entry("ticket_weak_encryption", &is_weak(ticket))?;
        }
        map.end()
    }
}
