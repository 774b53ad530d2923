//! Properties, version 5's list of named values. Source: MQTT 5.0, 2.2.2.
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::app::cursor::Cursor;
use crate::event::{AsText, Text};

/// How a property's value is written.
#[derive(Clone, Copy)]
enum Form {
    Byte,
    Two,
    Four,
    Variable,
    Text,
    Bytes,
    Pair,
}

/// Identifier, EVE's name, form.
const PROPERTIES: &[(u8, &str, Form)] = &[
    (0x01, "payload_format_indicator", Form::Byte),
    (0x02, "message_expiry_interval", Form::Four),
    (0x03, "content_type", Form::Text),
    (0x08, "response_topic", Form::Text),
    (0x09, "correlation_data", Form::Bytes),
    (0x0b, "subscription_identifier", Form::Variable),
    (0x11, "session_expiry_interval", Form::Four),
    (0x12, "assigned_client_identifier", Form::Text),
    (0x13, "server_keep_alive", Form::Two),
    (0x15, "authentication_method", Form::Text),
    (0x16, "authentication_data", Form::Bytes),
    (0x17, "request_problem_information", Form::Byte),
    (0x18, "will_delay_interval", Form::Four),
    (0x19, "request_response_information", Form::Byte),
    (0x1a, "response_information", Form::Text),
    (0x1c, "server_reference", Form::Text),
    (0x1f, "reason_string", Form::Text),
    (0x21, "receive_maximum", Form::Two),
    (0x22, "topic_alias_maximum", Form::Two),
    (0x23, "topic_alias", Form::Two),
    (0x24, "maximum_qos", Form::Byte),
    (0x25, "retain_available", Form::Byte),
    (0x26, "user_property", Form::Pair),
    (0x27, "maximum_packet_size", Form::Four),
    (0x28, "wildcard_subscription_available", Form::Byte),
    (0x29, "subscription_identifier_available", Form::Byte),
    (0x2a, "shared_subscription_available", Form::Byte),
];

/// A property's value.
enum Value<'a> {
    Number(u32),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Pair(&'a [u8], &'a [u8]),
}

/// A number of one to four bytes of seven bits each, least significant first. Source: MQTT 5.0, 1.5.5.
pub(super) fn variable(bytes: &mut Cursor<'_>) -> Option<u32> {
    let mut number = 0;
    for shift in [0, 7, 14, 21] {
        let byte = bytes.u8()?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Whether a list can be read to its end.
pub(super) fn are_valid(list: &[u8]) -> bool {
    let mut rest = Cursor(list);
    while !rest.is_empty() {
        if one(&mut rest).is_none() {
            return false;
        }
    }
    true
}

fn one<'a>(rest: &mut Cursor<'a>) -> Option<(&'static str, Value<'a>)> {
    let id = rest.u8()?;
    let (_, name, form) = PROPERTIES.iter().find(|property| property.0 == id)?;
    let value = match form {
        Form::Byte => Value::Number(rest.u8()?.into()),
        Form::Two => Value::Number(rest.u16()?.into()),
        Form::Four => Value::Number(rest.u32()?),
        Form::Variable => Value::Number(variable(rest)?),
        Form::Text => Value::Text(rest.long()?),
        Form::Bytes => Value::Bytes(rest.long()?),
        Form::Pair => Value::Pair(rest.long()?, rest.long()?),
    };
    Some((name, value))
}

/// A list as EVE has it; what users named stands under their names.
pub(super) struct Object<'a>(pub &'a [u8]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut rest = Cursor(self.0);
        while let Some((name, value)) = one(&mut rest) {
            match value {
                Value::Number(number) => map.serialize_entry(name, &number)?,
                Value::Text(text) => map.serialize_entry(name, &Lossy(text))?,
                Value::Bytes(bytes) => map.serialize_entry(name, &Text(bytes))?,
                Value::Pair(key, value) => map.serialize_entry(&Lossy(key), &Lossy(value))?,
            }
        }
        map.end()
    }
}

/// What MQTT calls a string: what is not UTF-8 becomes U+FFFD.
pub(super) struct Lossy<'a>(pub &'a [u8]);

impl Serialize for Lossy<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        AsText(String::from_utf8_lossy(self.0)).serialize(serializer)
    }
}
