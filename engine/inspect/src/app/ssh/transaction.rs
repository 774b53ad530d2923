//! A connection's greeting, which is its one transaction.

use std::any::Any;

use md5::{Digest, Md5};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::app::tls::hex;
use crate::app::{AppProto, Description, Head, Purpose};
use crate::event::Text;
use crate::Direction;

/// What one end said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// `2.0`; empty until its banner has come.
    pub protocol: Vec<u8>,
    /// `OpenSSH_9.2p1`.
    pub software: Vec<u8>,
    /// What it offers in the key exchange.
    pub hassh: Option<Box<Hassh>>,
    /// It said that what follows is encrypted.
    pub sealed: bool,
}

/// A fingerprint of what one end offers. Source: Salesforce's definition of HASSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hassh {
    /// Algorithms for key exchange, encryption, integrity and compression of what it sends.
    pub string: Vec<u8>,
    /// Their MD5 in hexadecimal.
    pub hash: String,
}

impl Hassh {
    /// The fingerprint of these four lists.
    pub fn new(lists: [&[u8]; 4]) -> Self {
        let string = lists.join(&b';');
        let hash = hex(&Md5::digest(&string));
        Self { string, hash }
    }
}

/// One connection's greeting.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What the engine keeps in it.
    pub head: Head,
    /// The client.
    pub client: Peer,
    /// The server.
    pub server: Peer,
    /// Fingerprints are made, and told with the rest.
    pub hassh: bool,
}

impl Transaction {
    /// The end that sends in that direction.
    pub fn peer(&self, direction: Direction) -> &Peer {
        match direction {
            Direction::ToServer => &self.client,
            Direction::ToClient => &self.server,
        }
    }

    /// The same, mutable.
    pub fn peer_mut(&mut self, direction: Direction) -> &mut Peer {
        match direction {
            Direction::ToServer => &mut self.client,
            Direction::ToClient => &mut self.server,
        }
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
        AppProto::Ssh
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_tellable(&self) -> bool {
        let told = |peer: &Peer| match self.hassh {
            true => peer.sealed,
            false => !peer.protocol.is_empty(),
        };
        told(&self.client) && told(&self.server)
    }

    fn describe(&self, purpose: Purpose) -> Option<Description<'_>> {
        let known = match purpose {
            Purpose::Record => self.is_tellable(),
            _ => !self.client.protocol.is_empty() || !self.server.protocol.is_empty(),
        };
        known.then(|| ("ssh", Box::new(self) as Box<dyn erased_serde::Serialize>))
    }

    fn heap_bytes(&self) -> usize {
        let peers = [&self.client, &self.server].map(|peer| {
            let hassh = peer
                .hassh
                .as_ref()
                .map_or(0, |it| 96 + it.string.capacity());
            peer.protocol.capacity() + peer.software.capacity() + hassh
        });
        size_of::<Self>() + peers.iter().sum::<usize>()
    }
}

impl Serialize for Transaction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, peer) in [("client", &self.client), ("server", &self.server)] {
            if !peer.protocol.is_empty() {
                map.serialize_entry(key, peer)?;
            }
        }
        map.end()
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("proto_version", &Text(&self.protocol))?;
        if !self.software.is_empty() {
            map.serialize_entry("software_version", &Text(&self.software))?;
        }
        if let Some(hassh) = &self.hassh {
            map.serialize_entry("hassh", hassh.as_ref())?;
        }
        map.end()
    }
}

impl Serialize for Hassh {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("hash", &self.hash)?;
        map.serialize_entry("string", &Text(&self.string))?;
        map.end()
    }
}
