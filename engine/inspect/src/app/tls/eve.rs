//! What EVE says of a TLS connection, the keys in Suricata's order.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::certificate::Certificate;
use super::fingerprint::Ja3;
use super::transaction::Transaction;
use super::version_name;
use crate::app::{Description, Purpose};
use crate::event::{iso_seconds, Text};
use crate::Direction::{ToClient, ToServer};

/// The `tls` object.
pub(super) fn describe(tx: &Transaction, purpose: Purpose) -> Description<'_> {
    ("tls", Box::new(Tls { tx, purpose }))
}

struct Tls<'a> {
    tx: &'a Transaction,
    purpose: Purpose,
}

impl Serialize for Tls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.tx;
        let mut map = serializer.serialize_map(None)?;
        let server = tx.server.chain.first.as_deref();
        if let Some(certificate) = server {
            map.serialize_entry("subject", &certificate.subject)?;
            map.serialize_entry("issuerdn", &certificate.issuer)?;
        }
        if tx.resumed && tx.answered && server.is_none() && !tx.hides_certificates {
            map.serialize_entry("session_resumed", &true)?;
        }
        if let Some(certificate) = server {
            map.serialize_entry("serial", &certificate.serial)?;
            map.serialize_entry("fingerprint", &certificate.fingerprint)?;
        }
        let hello = tx.client.hello.as_deref();
        if let Some(name) = hello.and_then(|hello| hello.sni.as_deref()) {
            map.serialize_entry("sni", &Text(name))?;
        }
        match version_name(tx.server.version) {
            Some(name) => map.serialize_entry("version", name)?,
            None => map.serialize_entry("version", &format_args!("0x{:04x}", tx.server.version))?,
        }
        if let Some(certificate) = server {
            validity(&mut map, certificate)?;
        }
        self.fingerprints(&mut map)?;
        if let Some(certificate) = tx.client.chain.first.as_deref() {
            map.serialize_entry("client", &Client(certificate))?;
        }
        if let Some(from) = tx.from.filter(|_| self.purpose == Purpose::Record) {
            map.serialize_entry("from_proto", from.name())?;
        }
        map.end()
    }
}

impl Tls<'_> {
    fn fingerprints<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let tx = self.tx;
        if tx.has_ja3() {
            for (key, made) in [("ja3", tx.ja3(ToServer)), ("ja3s", tx.ja3(ToClient))] {
                if let Some(made) = made {
                    map.serialize_entry(key, &Ja3Object(made))?;
                }
            }
        }
        match tx.ja4() {
            Some(made) if self.purpose == Purpose::AlertOnJa4 => map.serialize_entry("ja4", made),
            _ => Ok(()),
        }
    }
}

/// `{"hash": …, "string": …}`
pub(crate) struct Ja3Object<'a>(pub &'a Ja3);

impl Serialize for Ja3Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("hash", &self.0.hash)?;
        map.serialize_entry("string", &self.0.string)?;
        map.end()
    }
}

struct Client<'a>(&'a Certificate);

impl Serialize for Client<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("subject", &self.0.subject)?;
        map.serialize_entry("issuerdn", &self.0.issuer)?;
        map.serialize_entry("fingerprint", &self.0.fingerprint)?;
        map.serialize_entry("serial", &self.0.serial)?;
        validity(&mut map, self.0)?;
        map.end()
    }
}

fn validity<M: SerializeMap>(map: &mut M, certificate: &Certificate) -> Result<(), M::Error> {
    map.serialize_entry("notbefore", &iso_seconds(certificate.not_before))?;
    map.serialize_entry("notafter", &iso_seconds(certificate.not_after))
}
