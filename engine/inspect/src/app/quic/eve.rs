//! What EVE says of a QUIC packet, the keys in Suricata's order.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::header::{is_google, VERSION_2};
use super::transaction::{Cyu, Transaction};
use crate::app::tls::{extension_number, Hello, Ja3Object};
use crate::app::{Description, Purpose};
use crate::event::Text;

/// The `quic` object.
pub(super) fn describe(tx: &Transaction, purpose: Purpose) -> Description<'_> {
    ("quic", Box::new(Quic { tx, purpose }))
}

struct Quic<'a> {
    tx: &'a Transaction,
    purpose: Purpose,
}

impl Serialize for Quic<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.tx;
        let mut map = serializer.serialize_map(None)?;
        let version = u32::from_be_bytes(tx.version);
        match version {
            VERSION_2 => map.serialize_entry("version", "v2")?,
            version if is_google(version) => map.serialize_entry("version", &Text(&tx.version))?,
            version => map.serialize_entry("version", &format_args!("{version:x}"))?,
        }
        if let Some(sni) = &tx.sni {
            map.serialize_entry("sni", &Text(sni))?;
        }
        if let Some(agent) = &tx.user_agent {
            map.serialize_entry("ua", &Text(agent))?;
        }
        if !tx.cyu.is_empty() {
            map.serialize_entry("cyu", &tx.cyu)?;
        }
        if let Some(made) = tx.ja3.as_deref() {
            let key = if tx.from_client { "ja3" } else { "ja3s" };
            map.serialize_entry(key, &Ja3Object(made))?;
        }
        if let Some(made) = tx.ja4().filter(|_| self.purpose == Purpose::AlertOnJa4) {
            map.serialize_entry("ja4", made)?;
        }
        if let Some(hello) = tx.hello.as_deref().filter(|it| !it.extensions.is_empty()) {
            map.serialize_entry("extensions", &Extensions(hello))?;
        }
        map.end()
    }
}

impl Serialize for Cyu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("hash", &self.hash)?;
        map.serialize_entry("string", &self.string)?;
        map.end()
    }
}

struct Extensions<'a>(&'a Hello);

impl Serialize for Extensions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.extensions.len()))?;
        for number in &self.0.extensions {
            list.serialize_element(&Extension {
                hello: self.0,
                number: extension_number(*number),
            })?;
        }
        list.end()
    }
}

struct Extension<'a> {
    hello: &'a Hello,
    number: u16,
}

impl Serialize for Extension<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(name) = extension_name(self.number) {
            map.serialize_entry("name", name)?;
        }
        map.serialize_entry("type", &self.number)?;
        let hello = self.hello;
        match self.number {
            0 => {
                let names: Vec<_> = hello.sni.iter().map(|it| Text(it)).collect();
                map.serialize_entry("values", &names)?;
            }
            13 => {
                let numbers = hello.signature_algorithms.iter();
                let numbers: Vec<String> = numbers.map(u16::to_string).collect();
                map.serialize_entry("values", &numbers)?;
            }
            16 => {
                let names: Vec<_> = hello.alpn.iter().map(|it| Text(it)).collect();
                map.serialize_entry("values", &names)?;
            }
            43 => {
                let versions = hello.versions.iter();
                let versions: Vec<String> = versions.map(|it| version_name(*it)).collect();
                map.serialize_entry("values", &versions)?;
            }
            _ => {}
        }
        map.end()
    }
}

fn version_name(version: u16) -> String {
    match version {
        0x0300 => "Ssl30".into(),
        0x0301 => "Tls10".into(),
        0x0302 => "Tls11".into(),
        0x0303 => "Tls12".into(),
        0x0304 => "Tls13".into(),
        other => format!("TlsVersion({other} / 0x{other:x})"),
    }
}

/// Source: IANA, TLS ExtensionType values.
fn extension_name(number: u16) -> Option<&'static str> {
    const NAMES: [&str; 29] = [
        "server_name",
        "max_fragment_length",
        "client_certificate_url",
        "trusted_ca_keys",
        "truncated_hmac",
        "status_request",
        "user_mapping",
        "client_authz",
        "server_authz",
        "cert_type",
        "supported_groups",
        "ec_point_formats",
        "srp",
        "signature_algorithms",
        "use_srtp",
        "heartbeat",
        "alpn",
        "status_request_v2",
        "signed_certificate_timestamp",
        "client_certificate_type",
        "server_certificate_type",
        "padding",
        "encrypt_then_mac",
        "extended_master_secret",
        "token_binding",
        "cached_info",
        "tls_lts",
        "compress_certificate",
        "record_size_limit",
    ];
    NAMES.get(usize::from(number)).copied().or(match number {
        34 => Some("delegated_credentials"),
        35 => Some("session_ticket_tls"),
        41 => Some("pre_shared_key"),
        42 => Some("early_data"),
        43 => Some("supported_versions"),
        44 => Some("cookie"),
        45 => Some("psk_key_exchange_modes"),
        47 => Some("certificate_authorities"),
        48 => Some("oid_filters"),
        49 => Some("post_handshake_auth"),
        50 => Some("signature_algorithms_cert"),
        51 => Some("key_share"),
        57 => Some("quic_transport_parameters"),
        65_281 => Some("renegotiation_info"),
        _ => None,
    })
}
