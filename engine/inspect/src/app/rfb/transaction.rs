//! A connection's handshake, which is its one transaction.
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::app::tls::hex;
use crate::app::{self, AppProto, Description, Head, Purpose};
use crate::event::Text;

/// How a pixel is written. Source: RFC 6143, 7.4.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct PixelFormat {
    pub bits_per_pixel: u8,
    pub depth: u8,
    pub big_endian: bool,
    pub true_color: bool,
    pub red_max: u16,
    pub green_max: u16,
    pub blue_max: u16,
    pub red_shift: u8,
    pub green_shift: u8,
    pub blue_shift: u8,
}

/// The server's screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Screen {
    pub width: u16,
    pub height: u16,
    pub name: Vec<u8>,
    pub format: PixelFormat,
}

/// A version's two numbers, in digits.
type Version = [[u8; 3]; 2];

/// A handshake.
#[derive(Debug, Default)]
pub struct Transaction {
    pub(super) head: Head,
    pub(super) server_version: Option<Version>,
    pub(super) client_version: Option<Version>,
    pub(super) security_type: Option<u32>,
    pub(super) challenge: Option<[u8; 16]>,
    pub(super) response: Option<[u8; 16]>,
    pub(super) result: Option<u32>,
    pub(super) failure: Option<Vec<u8>>,
    pub(super) shared: Option<bool>,
    pub(super) screen: Option<Screen>,
    /// It came to its end, or what followed could not be understood.
    pub(super) whole: bool,
}

impl Transaction {
    /// The security type that was chosen, 0 where none was; `None` while the handshake goes on.
    pub fn security_type(&self) -> Option<u32> {
        self.whole.then_some(self.security_type.unwrap_or(0))
    }

    /// The result of the authentication, 0 where it is good; `None` where there was none, or it goes on.
    pub fn security_result(&self) -> Option<u32> {
        self.result.filter(|_| self.whole)
    }

    /// The desktop's name, once the handshake is over.
    pub fn name(&self) -> Option<&[u8]> {
        let screen = self.screen.as_ref().filter(|_| self.whole)?;
        Some(&screen.name)
    }
}

impl app::Transaction for Transaction {
    fn head(&self) -> &Head {
        &self.head
    }
    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
    fn app(&self) -> AppProto {
        AppProto::Rfb
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(("rfb", Box::new(self)))
    }

    fn heap_bytes(&self) -> usize {
        let name = self.screen.as_ref().map_or(0, |it| it.name.capacity());
        name + self.failure.as_ref().map_or(0, Vec::capacity)
    }
}

impl Serialize for Transaction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Numbers<'a> {
            major: Text<'a>,
            minor: Text<'a>,
        }
        let mut map = serializer.serialize_map(None)?;
        for (key, version) in [
            ("server_protocol_version", &self.server_version),
            ("client_protocol_version", &self.client_version),
        ] {
            if let Some([major, minor]) = version {
                let (major, minor) = (Text(major), Text(minor));
                map.serialize_entry(key, &Numbers { major, minor })?;
            }
        }
        map.serialize_entry("authentication", &Authentication(self))?;
        if let Some(reason) = &self.failure {
            map.serialize_entry("server_security_failure_reason", &Text(reason))?;
        }
        if let Some(shared) = self.shared {
            map.serialize_entry("screen_shared", &shared)?;
        }
        if let Some(screen) = &self.screen {
            map.serialize_entry("framebuffer", screen)?;
        }
        map.end()
    }
}

struct Authentication<'a>(&'a Transaction);

impl Serialize for Authentication<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Vnc {
            challenge: String,
            response: String,
        }
        let tx = self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(kind) = tx.security_type {
            map.serialize_entry("security_type", &kind)?;
        }
        if let (Some(challenge), Some(response)) = (tx.challenge, tx.response) {
            let (challenge, response) = (hex(&challenge), hex(&response));
            let vnc = Vnc {
                challenge,
                response,
            };
            map.serialize_entry("vnc", &vnc)?;
        }
        if tx.result == Some(0) {
            map.serialize_entry("security_result", "OK")?;
        }
        map.end()
    }
}

impl Serialize for Screen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("width", &self.width)?;
        map.serialize_entry("height", &self.height)?;
        map.serialize_entry("name", &Text(&self.name))?;
        map.serialize_entry("pixel_format", &self.format)?;
        map.end()
    }
}
