//! A packet whose payload could be read, which is one transaction.

use std::any::Any;
use std::cell::OnceCell;

use super::eve;
use crate::app::tls::{ja4, Hello, Ja3};
use crate::app::{AppProto, Description, Head, Purpose};
use crate::Direction;

/// A fingerprint of Google's hello: the version and the tags. Source: Salesforce's definition of CYU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cyu {
    /// `46,PAD-SNI-…`.
    pub string: String,
    /// Its MD5 in hexadecimal.
    pub hash: String,
}

/// One packet.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What the engine keeps in it.
    pub head: Head,
    /// Version as on the wire.
    pub version: [u8; 4],
    /// The client sent it.
    pub from_client: bool,
    /// The hello that it completes.
    pub hello: Option<Box<Hello>>,
    /// The hello's JA3, or JA3S.
    pub ja3: Option<Box<Ja3>>,
    /// Host name asked for.
    pub sni: Option<Vec<u8>>,
    /// What Google's hello names as user agent.
    pub user_agent: Option<Vec<u8>>,
    /// Fingerprints of Google's hellos in it.
    pub cyu: Vec<Cyu>,
    ja4: OnceCell<String>,
}

impl Transaction {
    /// A packet of which only the header is known.
    pub(super) fn new(version: u32, direction: Direction) -> Self {
        Self {
            version: version.to_be_bytes(),
            from_client: direction == Direction::ToServer,
            ..Self::default()
        }
    }

    /// JA4 of the client's hello, if it could be read whole. Made when first asked for.
    pub fn ja4(&self) -> Option<&str> {
        let hello = self.hello.as_deref().filter(|it| it.complete)?;
        self.from_client
            .then(|| self.ja4.get_or_init(|| ja4(hello, true)).as_str())
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
        AppProto::Quic
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn describe(&self, purpose: Purpose) -> Option<Description<'_>> {
        Some(eve::describe(self, purpose))
    }

    fn heap_bytes(&self) -> usize {
        let hello = self.hello.as_ref().map_or(0, |it| 256 + it.heap_bytes());
        let texts = [&self.sni, &self.user_agent].into_iter().flatten();
        size_of::<Self>()
            + hello
            + texts.map(Vec::capacity).sum::<usize>()
            + self.ja3.as_ref().map_or(0, |it| 96 + it.string.capacity())
            + self
                .cyu
                .iter()
                .map(|it| 96 + it.string.capacity())
                .sum::<usize>()
    }
}
