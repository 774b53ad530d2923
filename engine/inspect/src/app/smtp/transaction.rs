//! One mail, or the commands that came to none.
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::app::mime::Message;
use crate::app::{self, AppProto, Description, File, Head, Purpose};
use crate::event::text::Text;
use crate::Direction;

/// A mail transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    pub(super) head: Head,
    /// What the client called itself, on this connection.
    pub(super) helo: Option<Arc<[u8]>>,
    /// The sender, as written.
    pub(super) mail_from: Option<Vec<u8>>,
    /// The recipients, as written.
    pub(super) rcpt_to: Vec<Vec<u8>>,
    /// The mail.
    pub(super) message: Option<Box<Message>>,
}

impl Transaction {
    /// Takes over what the message's reader noticed.
    pub(super) fn collect_events(&mut self) {
        if let Some(message) = &mut self.message {
            for event in message.take_events() {
                self.head.raise(event);
            }
        }
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
        AppProto::Smtp
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn files(&self, direction: Direction) -> &[File] {
        match (&self.message, direction) {
            (Some(message), Direction::ToServer) => message.files(),
            _ => &[],
        }
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(("smtp", Box::new(Envelope(self))))
    }

    fn describe_also(&self, _purpose: Purpose) -> Option<Description<'_>> {
        let message = self.message.as_deref()?;
        Some(("email", Box::new(Mail(message))))
    }

    fn is_blind(&self) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.is_blind())
    }

    fn heap_bytes(&self) -> usize {
        let message = self
            .message
            .as_ref()
            .map_or(0, |message| message.heap_bytes());
        let recipients: usize = self.rcpt_to.iter().map(|it| it.capacity() + 24).sum();
        message + recipients + self.mail_from.as_ref().map_or(0, Vec::capacity)
    }
}

/// EVE's `smtp` object.
struct Envelope<'a>(&'a Transaction);

impl Serialize for Envelope<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(helo) = &self.0.helo {
            map.serialize_entry("helo", &Text(helo))?;
        }
        if let Some(mail_from) = &self.0.mail_from {
            map.serialize_entry("mail_from", &Text(mail_from))?;
        }
        if !self.0.rcpt_to.is_empty() {
            map.serialize_entry("rcpt_to", &List(self.0.rcpt_to.iter().map(Vec::as_slice)))?;
        }
        map.end()
    }
}

/// EVE's `email` object.
struct Mail<'a>(&'a Message);

impl Serialize for Mail<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let fields = message.fields();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", message.status())?;
        if let Some(from) = &fields.from {
            map.serialize_entry("from", &Text(from))?;
        }
        for (key, value) in [("to", &fields.to), ("cc", &fields.cc)] {
            if let Some(value) = value {
                map.serialize_entry(key, &List(addresses(value)))?;
            }
        }
        let urls = message.urls();
        if urls.in_own_body() {
            map.serialize_entry("has_ipv6_url", &urls.has_ipv6())?;
            map.serialize_entry("has_ipv4_url", &urls.has_ipv4())?;
            map.serialize_entry("has_exe_url", &urls.has_executable())?;
        }
        if message.attachments().next().is_some() {
            map.serialize_entry("attachment", &List(message.attachments()))?;
        }
        if !urls.found().is_empty() {
            map.serialize_entry("url", &List(urls.found().iter().map(Vec::as_slice)))?;
        }
        map.end()
    }
}

/// What stands between the commas of an address field.
fn addresses(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let parts = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    parts.filter(|part| !part.is_empty())
}

/// Texts as an array.
struct List<I>(I);

impl<'a, I: Iterator<Item = &'a [u8]> + Clone> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone().map(Text))
    }
}
