//! Fingerprints of hellos: JA3, JA3S and JA4.

use std::fmt::Write;

use md5::{Digest, Md5};
use sha2::Sha256;

use super::hello::{Hello, Kind};

/// A JA3 or JA3S fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ja3 {
    /// The numbers it is made of.
    pub string: String,
    /// Their MD5 in hexadecimal.
    pub hash: String,
}

/// The client's: version, ciphers, extensions, groups and point formats, GREASE left out.
///
/// Source: Salesforce's definition of JA3.
pub fn ja3(hello: &Hello) -> Ja3 {
    numbers(Kind::Client, hello, |value| !is_grease(value))
}

/// The server's: version, cipher, extensions.
pub fn ja3s(hello: &Hello) -> Ja3 {
    numbers(Kind::Server, hello, |value| !is_grease(value))
}

/// Either with GREASE, as Suricata makes them for QUIC.
pub(crate) fn ja3_with_grease(kind: Kind, hello: &Hello) -> Ja3 {
    numbers(kind, hello, |_| true)
}

/// An extension's number; those of GREASE count as one.
pub(crate) fn extension_number(number: u16) -> u16 {
    if is_grease(number) {
        0xfafa
    } else {
        number
    }
}

fn numbers(kind: Kind, hello: &Hello, counts: fn(u16) -> bool) -> Ja3 {
    let dashed = |values: &[u16]| {
        let values = values.iter().filter(|value| counts(**value));
        values.map(u16::to_string).collect::<Vec<_>>().join("-")
    };
    let extensions: Vec<u16> = hello
        .extensions
        .iter()
        .copied()
        .map(extension_number)
        .collect();
    let mut string = format!(
        "{},{},{}",
        hello.legacy_version,
        dashed(&hello.ciphers),
        dashed(&extensions)
    );
    if kind == Kind::Client {
        let formats: Vec<u16> = hello.point_formats.iter().map(|it| (*it).into()).collect();
        let _ = write!(string, ",{},{}", dashed(&hello.groups), dashed(&formats));
    }
    let hash = hex(&Md5::digest(&string));
    Ja3 { string, hash }
}

/// The client's, after FoxIO's definition; `quic`: it came in QUIC.
pub fn ja4(hello: &Hello, quic: bool) -> String {
    let ciphers = sorted(hello.ciphers.iter().copied());
    let known = hello.extensions.iter().filter(|it| !is_grease(**it));
    let hashed = known.clone().filter(|it| !matches!(it, 0 | 16));
    let extensions = sorted(hashed.copied());
    let algorithms = hello.signature_algorithms.iter();
    let algorithms: Vec<u16> = algorithms.copied().filter(|it| !is_grease(*it)).collect();
    let mut out = format!(
        "{}{}{}{:02}{:02}",
        if quic { 'q' } else { 't' },
        version_code(hello),
        if hello.extensions.contains(&0) {
            'd'
        } else {
            'i'
        },
        ciphers.len().min(99),
        known.count().min(99),
    );
    let (first, last) = alpn_code(hello);
    out.push(first);
    out.push(last);
    out.push('_');
    out.push_str(&short_hash(&hex_list(&ciphers)));
    out.push('_');
    let both = format!("{}_{}", hex_list(&extensions), hex_list(&algorithms));
    out.push_str(&short_hash(&both));
    out
}

/// Values that clients throw in so that servers stay tolerant. Source: RFC 8701, 2.
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

fn version_code(hello: &Hello) -> &'static str {
    let offered = hello.versions.iter().chain([&hello.legacy_version]);
    match offered.copied().filter(|it| !is_grease(*it)).max() {
        Some(0x0304) => "13",
        Some(0x0303) => "12",
        Some(0x0302) => "11",
        Some(0x0301) => "10",
        Some(0x0300) => "s3",
        _ => "00",
    }
}

/// First and last character of the first protocol offered.
fn alpn_code(hello: &Hello) -> (char, char) {
    match hello.alpn.first().map(Vec::as_slice) {
        Some([first, last]) if is_grease(u16::from_be_bytes([*first, *last])) => ('0', '0'),
        Some([first, .., last]) => (char::from(*first), char::from(*last)),
        _ => ('0', '0'),
    }
}

fn sorted(values: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut values: Vec<u16> = values.filter(|value| !is_grease(*value)).collect();
    values.sort_unstable();
    values
}

fn hex_list(values: &[u16]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:04x}")).collect();
    values.join(",")
}

/// The first 12 digits of SHA-256.
fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text)[..6])
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    separated(bytes, "")
}

/// Bytes in lower-case hexadecimal with something between them.
pub(crate) fn separated(bytes: &[u8], separator: &str) -> String {
    let mut out = String::with_capacity(bytes.len() * (2 + separator.len()));
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            out.push_str(separator);
        }
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_hello_has_the_published_fingerprint() {
        let hello = Hello::default();
        assert_eq!(ja4(&hello, false), "t00i000000_e3b0c44298fc_d2e2adf7177b");
        assert_eq!(ja3(&hello).string, "0,,,,");
    }

    #[test]
    fn grease_counts_nowhere() {
        let hello = Hello {
            legacy_version: 0x303,
            ciphers: vec![0x0a0a, 0x1111, 0x0a20, 0xbaba],
            extensions: vec![0xfafa, 0, 16],
            alpn: vec![b"h3-16".to_vec()],
            groups: vec![0x1a1a, 29],
            point_formats: vec![0],
            ..Hello::default()
        };
        assert_eq!(
            ja4(&hello, true),
            "q12d0202h6_f500716053f9_d2e2adf7177b"
                .replace("f500716053f9", &short_hash("0a20,1111"))
        );
        assert_eq!(ja3(&hello).string, "771,4369-2592,0-16,29,0");
        assert_eq!(ja3s(&hello).string, "771,4369-2592,0-16");
        let with = ja3_with_grease(Kind::Server, &hello);
        assert_eq!(with.string, "771,2570-4369-2592-47802,64250-0-16");
    }
}
