//! EVE's `mqtt` object.
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::message::{kind, Connect, ConnectFlags, Content, Message, Span};
use super::property::{self, Lossy};
use super::transaction::Transaction;
use crate::event::Text;

/// A transaction: each packet under the name of its type.
pub(super) struct Object<'a>(pub &'a Transaction);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let messages = &self.0.messages;
        let mut map = serializer.serialize_map(None)?;
        for (at, message) in messages.iter().enumerate() {
            let again = messages.iter().skip(at + 1);
            let is_last = again.clone().all(|other| other.kind() != message.kind());
            if is_last && !message.name().is_empty() {
                map.serialize_entry(message.name(), &Packet(message))?;
            }
        }
        map.end()
    }
}

struct Packet<'a>(&'a Message);

impl Serialize for Packet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("qos", &message.qos())?;
        map.serialize_entry("retain", &message.is_retained())?;
        map.serialize_entry("dup", &message.is_duplicate())?;
        if let Some(id) = message.id() {
            map.serialize_entry("message_id", &id)?;
        }
        match &message.content {
            Content::Connect(connect) => self.connect(connect, &mut map)?,
            Content::Connack {
                session_present,
                reason,
                properties,
            } => {
                map.serialize_entry("session_present", session_present)?;
                map.serialize_entry("return_code", reason)?;
                self.properties(*properties, &mut map)?;
            }
            Content::Publish {
                topic,
                properties,
                message: carried,
                ..
            } => {
                map.serialize_entry("topic", &Lossy(message.bytes(*topic)))?;
                map.serialize_entry("message", &Text(message.bytes(*carried)))?;
                self.properties(*properties, &mut map)?;
            }
            Content::Ack {
                reason, properties, ..
            }
            | Content::Reason { reason, properties } => {
                if let Some(reason) = reason {
                    map.serialize_entry("reason_code", reason)?;
                }
                self.properties(*properties, &mut map)?;
            }
            Content::Subscribe { properties, .. } => {
                map.serialize_entry("topics", &Topics(message))?;
                self.properties(*properties, &mut map)?;
            }
            Content::Unsubscribe { .. } => map.serialize_entry("topics", &Topics(message))?,
            Content::Codes { codes, .. } => {
                let codes = message.bytes(*codes);
                if message.kind() == kind::SUBACK {
                    map.serialize_entry("qos_granted", codes)?;
                } else if !codes.is_empty() {
                    map.serialize_entry("reason_codes", codes)?;
                }
            }
            Content::Nothing => {}
            Content::Truncated(bytes) => {
                map.serialize_entry("truncated", &true)?;
                map.serialize_entry("skipped_length", bytes)?;
            }
        }
        map.end()
    }
}

impl Packet<'_> {
    fn connect<M: SerializeMap>(&self, connect: &Connect, map: &mut M) -> Result<(), M::Error> {
        let message = self.0;
        map.serialize_entry("protocol_string", &Lossy(message.bytes(connect.protocol)))?;
        map.serialize_entry("protocol_version", &connect.version)?;
        map.serialize_entry("client_id", &Lossy(message.bytes(connect.client_id)))?;
        map.serialize_entry("flags", &Flags(connect.flags))?;
        if let Some(username) = message.username() {
            map.serialize_entry("username", &Lossy(username))?;
        }
        if let Some(password) = message.password() {
            map.serialize_entry("password", &Text(password))?;
        }
        if connect.will.is_some() {
            map.serialize_entry("will", &Will(message, connect))?;
        }
        self.properties(connect.properties, map)
    }

    fn properties<M: SerializeMap>(&self, span: Span, map: &mut M) -> Result<(), M::Error> {
        match self.0.bytes(span) {
            [] => Ok(()),
            list => map.serialize_entry("properties", &property::Object(list)),
        }
    }
}

/// A CONNECT's flags.
struct Flags(u8);

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, bit) in [
            ("username", ConnectFlags::USERNAME),
            ("password", ConnectFlags::PASSWORD),
            ("will_retain", ConnectFlags::WILL_RETAIN),
            ("will", ConnectFlags::WILL),
            ("clean_session", ConnectFlags::CLEAN_SESSION),
        ] {
            map.serialize_entry(name, &(self.0 & bit != 0))?;
        }
        map.end()
    }
}

/// A CONNECT's will.
struct Will<'a>(&'a Message, &'a Connect);

impl Serialize for Will<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(message, connect) = self;
        let mut map = serializer.serialize_map(None)?;
        if let Some(will) = &connect.will {
            map.serialize_entry("topic", &Lossy(message.bytes(will.topic)))?;
            map.serialize_entry("message", &Text(message.bytes(will.message)))?;
            Packet(message).properties(will.properties, &mut map)?;
        }
        map.end()
    }
}

/// The topics of a SUBSCRIBE with what is asked for each, or of an UNSUBSCRIBE.
struct Topics<'a>(&'a Message);

impl Serialize for Topics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Topic<'a> {
            topic: Lossy<'a>,
            qos: u8,
        }
        let mut list = serializer.serialize_seq(None)?;
        for (topic, qos) in self.0.topic_options() {
            let topic = Lossy(topic);
            match self.0.kind() {
                kind::SUBSCRIBE => list.serialize_element(&Topic { topic, qos })?,
                _ => list.serialize_element(&topic)?,
            }
        }
        list.end()
    }
}
