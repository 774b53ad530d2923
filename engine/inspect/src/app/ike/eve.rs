//! What EVE says of a key exchange's message, the keys in Suricata's order.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::names;
use super::transaction::{Attribute, Peer, Transaction};
use super::version2::kind;
use crate::app::tls::hex;
use crate::app::Description;

/// The `ike` object.
pub(super) fn describe(tx: &Transaction) -> Description<'_> {
    ("ike", Box::new(Ike(tx)))
}

struct Ike<'a>(&'a Transaction);

impl Serialize for Ike<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.0;
        let header = &tx.header;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version_major", &header.version.0)?;
        map.serialize_entry("version_minor", &header.version.1)?;
        map.serialize_entry("init_spi", tx.initiator())?;
        map.serialize_entry("resp_spi", tx.responder())?;
        map.serialize_entry("message_id", &header.message)?;
        map.serialize_entry("exchange_type", &header.exchange)?;
        if header.version.0 == 1 {
            attributes(&mut map, &tx.server.first)?;
            if tx.from_server && tx.transforms.len() > 1 {
                map.serialize_entry("server_proposals", &Transforms(&tx.transforms))?;
            }
            let names = tx.payloads.iter().filter_map(|it| names::payload1(*it));
            map.serialize_entry("payload", &names.collect::<Vec<_>>())?;
            map.serialize_entry("ikev1", &Version1(tx))?;
        } else {
            algorithms(&mut map, tx)?;
            let names = tx.payloads.iter().map(|it| names::payload2(*it));
            map.serialize_entry("payload", &names.collect::<Vec<_>>())?;
            map.serialize_entry("ikev2", &Version2(tx))?;
        }
        map.end()
    }
}

/// What the server chose, in version 2.
fn algorithms<M: SerializeMap>(map: &mut M, tx: &Transaction) -> Result<(), M::Error> {
    const INITIATOR: u8 = 8;
    if tx.header.flags & INITIATOR != 0 {
        return map.serialize_entry("role", "initiator");
    }
    map.serialize_entry("role", "responder")?;
    let chosen = tx.algorithms;
    for (key, kind, number) in [
        ("alg_enc", kind::ENCRYPTION, chosen.encryption),
        ("alg_auth", kind::INTEGRITY, chosen.integrity),
        ("alg_prf", kind::RANDOM, chosen.random),
        ("alg_dh", kind::GROUP, chosen.group),
        ("alg_esn", kind::EXTENDED_NUMBERS, chosen.extended_numbers),
    ] {
        map.serialize_entry(key, &names::algorithm(kind, number))?;
    }
    Ok(())
}

/// The name and the value of each attribute.
fn attributes<M: SerializeMap>(map: &mut M, all: &[Attribute]) -> Result<(), M::Error> {
    for attribute in all {
        let name = attribute.name();
        map.serialize_entry(name, names::value(attribute.kind, attribute.short))?;
        let raw = format!("{name}_raw");
        match attribute.number {
            Some(number) => map.serialize_entry(&raw, &number)?,
            None => map.serialize_entry(&raw, &hex(&attribute.bytes))?,
        }
    }
    Ok(())
}

struct Transforms<'a>(&'a [Vec<Attribute>]);

impl Serialize for Transforms<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for transform in self.0 {
            list.serialize_element(&Transform(transform))?;
        }
        list.end()
    }
}

struct Transform<'a>(&'a [Attribute]);

impl Serialize for Transform<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        attributes(&mut map, self.0)?;
        map.end()
    }
}

struct Version1<'a>(&'a Transaction);

impl Serialize for Version1<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(interpretation) = tx.interpretation {
            map.serialize_entry("doi", &interpretation)?;
        }
        let encrypted = tx.header.flags & 1 != 0;
        map.serialize_entry("encrypted_payloads", &encrypted)?;
        if !encrypted {
            let proposals = if tx.from_server {
                &[]
            } else {
                tx.transforms.as_slice()
            };
            map.serialize_entry("client", &Side(&tx.client, proposals))?;
            map.serialize_entry("server", &Side(&tx.server, &[]))?;
            if !tx.vendors.is_empty() {
                map.serialize_entry("vendor_ids", &tx.vendors)?;
            }
        }
        map.end()
    }
}

/// One end, and what it proposes in this message.
struct Side<'a>(&'a Peer, &'a [Vec<Attribute>]);

impl Serialize for Side<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(peer, proposals) = self;
        let mut map = serializer.serialize_map(None)?;
        for (key, bytes) in [
            ("key_exchange_payload", &peer.key_exchange),
            ("nonce_payload", &peer.nonce),
        ] {
            if !bytes.is_empty() {
                map.serialize_entry(key, &hex(bytes))?;
                map.serialize_entry(&format!("{key}_length"), &bytes.len())?;
            }
        }
        if !proposals.is_empty() {
            map.serialize_entry("proposals", &Transforms(proposals))?;
        }
        map.end()
    }
}

struct Version2<'a>(&'a Transaction);

impl Serialize for Version2<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Notifications below this are errors.
        const FIRST_STATUS: u16 = 16_384;
        let all = &self.0.notifications;
        let mut map = serializer.serialize_map(None)?;
        let errors = all.iter().filter(|it| **it < FIRST_STATUS).count();
        map.serialize_entry("errors", &errors)?;
        if !all.is_empty() {
            let names = all.iter().map(|it| names::notification(*it));
            map.serialize_entry("notify", &names.collect::<Vec<_>>())?;
        }
        map.end()
    }
}
