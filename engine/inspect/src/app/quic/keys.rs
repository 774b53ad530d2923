//! The keys of Initial packets. Source: RFC 9001, 5; RFC 9369, 3.3.

use aes::cipher::{BlockEncrypt, KeyInit};
use aes::Aes128;
use aes_gcm::{AeadInPlace, Aes128Gcm};
use hkdf::Hkdf;
use sha2::Sha256;

use super::header::{VERSION_1, VERSION_2};
use crate::Direction;

/// Bytes of a GCM tag, and of the sample that header protection is made of.
const TAG_BYTES: usize = 16;
/// A packet number's bytes are counted as four when the sample is taken.
const NUMBER_BYTES: usize = 4;

const SALT_1: [u8; 20] =
    *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";
const SALT_2: [u8; 20] =
    *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9";
/// Drafts 29 to 32.
const SALT_29: [u8; 20] =
    *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99";
/// Drafts 23 to 28.
const SALT_23: [u8; 20] =
    *b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02";

/// The published salt of a version.
pub(super) fn salt(version: u32) -> Option<[u8; 20]> {
    Some(match version {
        VERSION_1 | 0xff00_0021..=0xff00_0022 => SALT_1,
        VERSION_2 => SALT_2,
        0xff00_001d..=0xff00_0020 => SALT_29,
        0xff00_0017..=0xff00_001c => SALT_23,
        _ => return None,
    })
}

/// What protects one direction's Initial packets.
struct Half {
    packet: Aes128Gcm,
    iv: [u8; 12],
    header: Aes128,
}

/// The keys of both directions' Initial packets.
pub(super) struct Keys([Half; 2]);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// Those that a client's first packet of that version to that identifier uses; `None`: no version known.
    pub fn new(version: u32, destination: &[u8]) -> Option<Self> {
        let salt = salt(version)?;
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&salt), destination);
        let half = |label: &str| {
            let mut secret = [0; 32];
            expand(&initial, label, &mut secret)?;
            Half::new(&Hkdf::from_prk(&secret).ok()?, version)
        };
        Some(Self([half("client in")?, half("server in")?]))
    }

    /// The frames of a packet; `None`: the keys do not fit. `body`: packet number and what follows.
    pub fn open(&self, direction: Direction, header: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let keys = &self.0[direction as usize];
        let sample = body.get(NUMBER_BYTES..NUMBER_BYTES + TAG_BYTES)?;
        let mut mask = aes::Block::clone_from_slice(sample);
        keys.header.encrypt_block(&mut mask);
        let first = *header.first()? ^ mask[0] & 0x0f;
        let digits = usize::from(first & 3) + 1;
        let (protected, sealed) = body.split_at_checked(digits)?;
        let mut associated = header.to_vec();
        associated[0] = first;
        let mut nonce = keys.iv;
        for (at, (digit, mask)) in protected.iter().zip(&mask[1..]).enumerate() {
            let digit = digit ^ mask;
            associated.push(digit);
            nonce[12 - digits + at] ^= digit;
        }
        let (sealed, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_BYTES)?)?;
        let mut frames = sealed.to_vec();
        keys.packet
            .decrypt_in_place_detached(&nonce.into(), &associated, &mut frames, tag.into())
            .ok()?;
        Some(frames)
    }
}

impl Half {
    fn new(secret: &Hkdf<Sha256>, version: u32) -> Option<Self> {
        let labels = match version {
            VERSION_2 => ["quicv2 key", "quicv2 iv", "quicv2 hp"],
            _ => ["quic key", "quic iv", "quic hp"],
        };
        let (mut key, mut iv, mut header) = ([0; 16], [0; 12], [0; 16]);
        expand(secret, labels[0], &mut key)?;
        expand(secret, labels[1], &mut iv)?;
        expand(secret, labels[2], &mut header)?;
        Some(Self {
            packet: Aes128Gcm::new(&key.into()),
            iv,
            header: Aes128::new(&header.into()),
        })
    }
}

/// HKDF-Expand-Label with an empty context. Source: RFC 8446, 7.1.
fn expand(secret: &Hkdf<Sha256>, label: &str, out: &mut [u8]) -> Option<()> {
    let len = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_len = u8::try_from(label.len() + 6).ok()?;
    let info = [&len[..], &[label_len], b"tls13 ", label.as_bytes(), &[0]];
    secret.expand_multi_info(&info, out).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Protects frames as a peer would, for the tests: a packet number of one byte, 0.
    pub fn seal(keys: &Keys, direction: Direction, header: &[u8], frames: &[u8]) -> Vec<u8> {
        let keys = &keys.0[direction as usize];
        let mut sealed = frames.to_vec();
        let associated = [header, &[0]].concat();
        let tag = keys
            .packet
            .encrypt_in_place_detached(&keys.iv.into(), &associated, &mut sealed)
            .unwrap();
        let mut body = [&[0][..], &sealed, &tag].concat();
        let mut mask = aes::Block::clone_from_slice(&body[4..20]);
        keys.header.encrypt_block(&mut mask);
        body[0] ^= mask[1];
        body.push(mask[0]);
        body
    }

    #[test]
    fn opens_the_packet_of_the_specification() {
        // RFC 9001, A.3: the server's Initial packet.
        let header = b"\xcf\x00\x00\x00\x01\x00\x08\xf0\x67\xa5\x50\x2a\x42\x62\xb5\x00\x40\x75";
        let body: Vec<u8> = (0..HEX.len() / 2)
            .map(|at| u8::from_str_radix(&HEX[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let keys = Keys::new(1, b"\x83\x94\xc8\xf0\x3e\x51\x57\x08").unwrap();
        let frames = keys.open(Direction::ToClient, header, &body).unwrap();
        assert!(frames.starts_with(b"\x02\x00\x00\x00\x00\x06\x00\x40\x5a\x02\x00\x00\x56\x03\x03"));
        assert_eq!(keys.open(Direction::ToServer, header, &body), None);
        assert_eq!(keys.open(Direction::ToClient, header, &body[..30]), None);
    }

    const HEX: &str = "c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee";
}
