//! One command and its reply.
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::app::{self, AppProto, Description, Head, Purpose, Stage};
use crate::event::text::Text;

/// Lines of a reply that are kept, and their bytes.
const MAX_REPLY_LINES: usize = 256;
const MAX_REPLY_BYTES: usize = 32 << 10;

/// A command and its reply; either may be missing.
#[derive(Debug, Default)]
pub struct Transaction {
    pub(super) head: Head,
    /// The command, if it is one that is known.
    pub(super) command: Option<&'static str>,
    /// What follows it.
    pub(super) argument: Vec<u8>,
    pub(super) cut: bool,
    pub(super) codes: Vec<[u8; 3]>,
    pub(super) reply: Vec<Vec<u8>>,
    pub(super) reply_bytes: usize,
    pub(super) replied: bool,
    pub(super) reply_cut: bool,
    /// Port of the data connection that it announced.
    pub(super) port: Option<u16>,
    /// It announced that the client listens.
    pub(super) active: bool,
    /// It asks the server to connect to somebody else.
    pub(super) bounces: bool,
}

impl Transaction {
    /// Adds a line of the reply.
    pub(super) fn reply_line(&mut self, code: Option<[u8; 3]>, text: &[u8]) {
        self.replied = true;
        if self.codes.len() >= MAX_REPLY_LINES || self.reply.len() >= MAX_REPLY_LINES {
            return;
        }
        self.codes.extend(code);
        if !text.is_empty() && self.reply_bytes < MAX_REPLY_BYTES {
            self.reply_bytes += text.len();
            self.reply.push(text.to_vec());
        }
    }

    /// Whether it asks the server to connect to somebody else than the client.
    pub fn bounces(&self) -> bool {
        self.bounces
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
        AppProto::Ftp
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn is_tellable(&self) -> bool {
        self.replied && self.head.stages[1] == Stage::Complete
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(("ftp", Box::new(Object(self))))
    }

    fn heap_bytes(&self) -> usize {
        self.argument.capacity()
            + self.codes.capacity() * 3
            + self.reply_bytes
            + self.reply.capacity() * size_of::<Vec<u8>>()
    }
}

/// EVE's `ftp` object.
struct Object<'a>(&'a Transaction);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let it = self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(command) = it.command {
            map.serialize_entry("command", command)?;
            if !it.argument.is_empty() {
                map.serialize_entry("command_data", &Text(&it.argument))?;
                map.serialize_entry("command_truncated", &it.cut)?;
            }
        }
        if !it.codes.is_empty() {
            map.serialize_entry("completion_code", &Texts(&it.codes))?;
        }
        if it.replied {
            map.serialize_entry("reply", &Texts(&it.reply))?;
        }
        if let Some(port) = it.port {
            map.serialize_entry("dynamic_port", &port)?;
        }
        if matches!(it.command, Some("PORT" | "EPRT")) {
            let mode = if it.active { "active" } else { "passive" };
            map.serialize_entry("mode", mode)?;
        }
        map.serialize_entry("reply_received", if it.replied { "yes" } else { "no" })?;
        map.serialize_entry("reply_truncated", &it.reply_cut)?;
        map.end()
    }
}

/// Texts as an array.
struct Texts<'a, T>(&'a [T]);

impl<T: AsRef<[u8]>> Serialize for Texts<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|text| Text(text.as_ref())))
    }
}
