//! What EVE says of a stream: an `http` object, the keys in Suricata's order.
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::stream::{Side, Stream};
use crate::event::Text;
use crate::Direction::{ToClient, ToServer};

/// The `http` object of a stream.
pub(super) struct Http2<'a>(pub &'a Stream);

/// Whether there is anything to say but that a frame came.
pub(super) fn is_recorded(stream: &Stream) -> bool {
    [ToServer, ToClient].iter().any(|direction| {
        let side = stream.side(*direction);
        !side.fields.is_empty() || has_details(side)
    })
}

fn has_details(side: &Side) -> bool {
    !side.settings.is_empty() || !side.errors.0.is_empty() || !side.priorities.0.is_empty()
}

impl Serialize for Http2<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (request, response) = (self.0.side(ToServer), self.0.side(ToClient));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", "2")?;
        for (key, side) in [("request_headers", request), ("response_headers", response)] {
            if !side.fields.is_empty() {
                map.serialize_entry(key, &Fields(side))?;
            }
        }
        // A pushed request stands in the response.
        let either = |name: &'static [u8]| request.value(name).or_else(|| response.value(name));
        for (key, name) in [
            ("hostname", &b"host"[..]),
            ("http_method", b":method"),
            ("url", b":path"),
            ("http_user_agent", b"user-agent"),
        ] {
            if let Some(value) = either(name) {
                map.serialize_entry(key, &Text(value))?;
            }
        }
        let number = |value: &[u8]| std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        let length = response.value(b"content-length");
        let length = length.or_else(|| request.value(b"content-length"));
        for (key, value) in [("status", response.status()), ("length", length)] {
            if let Some(value) = value.and_then(number) {
                map.serialize_entry(key, &value)?;
            }
        }
        map.serialize_entry("http2", &Details(self.0))?;
        map.end()
    }
}

/// A side's fields, behind the sizes of its table.
struct Fields<'a>(&'a Side);

#[derive(Serialize)]
struct Named<'a> {
    name: Text<'a>,
    value: Text<'a>,
}

#[derive(Serialize)]
struct SizeUpdate {
    table_size_update: u64,
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for bytes in &self.0.size_updates.0 {
            list.serialize_element(&SizeUpdate {
                table_size_update: *bytes,
            })?;
        }
        for field in &self.0.fields {
            list.serialize_element(&Named {
                name: Text(&field.name),
                value: Text(&field.value),
            })?;
        }
        list.end()
    }
}

/// The `http2` object.
struct Details<'a>(&'a Stream);

impl<'a> Details<'a> {
    fn half(&self, side: &'a Side) -> Half<'a> {
        let whole = self.0.number == 0;
        Half { side, whole }
    }
}

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stream_id", &self.0.number)?;
        map.serialize_entry("request", &self.half(self.0.side(ToServer)))?;
        map.serialize_entry("response", &self.half(self.0.side(ToClient)))?;
        map.end()
    }
}

struct Half<'a> {
    side: &'a Side,
    /// Of the connection itself: an error ends it (GOAWAY) rather than a stream.
    whole: bool,
}

#[derive(Serialize)]
struct Setting {
    settings_id: String,
    settings_value: u32,
}

impl Serialize for Half<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let side = self.side;
        let mut map = serializer.serialize_map(None)?;
        if !side.settings.is_empty() {
            let settings = side.settings.iter().map(|(id, value)| Setting {
                settings_id: setting_name(*id),
                settings_value: *value,
            });
            map.serialize_entry("settings", &settings.collect::<Vec<_>>())?;
        }
        if let Some(error) = side.errors.0.first() {
            let name = error_name(*error);
            let name = match self.whole {
                true => name.to_ascii_uppercase(),
                false => name,
            };
            map.serialize_entry("error_code", &name)?;
        }
        if let Some(priority) = side.priorities.0.first() {
            map.serialize_entry("priority", priority)?;
        }
        map.end()
    }
}

fn setting_name(id: u16) -> String {
    match super::SETTINGS.iter().find(|(_, known)| *known == id) {
        Some((name, _)) => name.replace('_', ""),
        None => format!("SETTINGSUNKNOWN({id})"),
    }
}

/// Suricata's names of the error codes. Source: RFC 9113, 7.
fn error_name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NoError",
        "ProtocolError",
        "InternalError",
        "FlowControlError",
        "SettingsTimeout",
        "StreamClosed",
        "FrameSizeError",
        "RefusedStream",
        "Cancel",
        "CompressionError",
        "ConnectError",
        "EnhanceYourCalm",
        "InadequateSecurity",
        "Http11Required",
    ];
    let name = usize::try_from(code).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| code.to_string(), |name| (*name).into())
}
