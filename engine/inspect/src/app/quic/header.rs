//! Long headers. Source: RFC 9000, 17.2; for Google's QUIC its wire layout of version Q046.

use crate::app::cursor::Cursor;
use crate::app::detect::Ports;

/// Ports on which any version is taken for QUIC.
const PORTS: [u16; 2] = [443, 80];
/// Connection identifiers have at most 20 bytes; those of unknown versions may have more.
const ID_LIMIT: usize = 20;

/// Version 1.
pub(super) const VERSION_1: u32 = 0x0000_0001;
/// Version 2. Source: RFC 9369.
pub(super) const VERSION_2: u32 = 0x6b33_43cf;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It carries hellos, with keys that anybody can derive.
    Initial,
    /// Data along with the hello.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
    /// The server asks to begin anew with a token.
    Retry,
    /// The server names versions.
    VersionNegotiation,
}

/// A packet with a long header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What for.
    pub kind: Kind,
    /// Version.
    pub version: u32,
    /// The identifier it goes to.
    pub destination: &'a [u8],
    /// From its first byte up to the packet number.
    pub header: &'a [u8],
    /// Packet number and payload, both protected; of Google's QUIC the frames.
    pub body: &'a [u8],
    /// It is of Google's QUIC, unprotected.
    pub is_google: bool,
}

impl<'a> Packet<'a> {
    /// Splits the first packet off `input`; `None`: it has no long header, or one that cannot be read.
    pub fn read(input: &mut &'a [u8]) -> Option<Self> {
        let whole = *input;
        let mut rest = Cursor(whole);
        let first = rest.u8()?;
        if first & 0x80 == 0 {
            return None;
        }
        let version = u32::from_be_bytes(rest.array()?);
        let is_google = is_google(version);
        let kind = kind(first, version)?;
        let destination = if is_google {
            let lengths = rest.u8()?;
            let id = rest.take(google_length(lengths >> 4))?;
            rest.take(google_length(lengths & 15))?;
            id
        } else {
            let id = rest.short()?;
            rest.short()?;
            id
        };
        let len = match kind {
            Kind::Initial if is_google => {
                // Packet number and a hash of what follows.
                rest.take(4 + 12)?;
                None
            }
            _ if is_google => None,
            Kind::Initial => {
                let token = varint(&mut rest)?;
                rest.take(usize::try_from(token).ok()?)?;
                Some(varint(&mut rest)?)
            }
            Kind::ZeroRtt | Kind::Handshake => Some(varint(&mut rest)?),
            Kind::Retry | Kind::VersionNegotiation => None,
        };
        let header = whole.get(..whole.len() - rest.0.len())?;
        let len = match len {
            Some(len) => usize::try_from(len).ok()?,
            None => rest.0.len(),
        };
        let body = rest.take(len)?;
        *input = rest.0;
        Some(Self {
            kind,
            version,
            destination,
            header,
            body,
            is_google,
        })
    }
}

/// Google's versions whose hellos are in the clear: Q043 to Q046.
pub(super) fn is_google(version: u32) -> bool {
    (0x5130_3433..=0x5130_3436).contains(&version)
}

fn google_length(nibble: u8) -> usize {
    match nibble {
        0 => 0,
        nibble => usize::from(nibble) + 3,
    }
}

fn kind(first: u8, version: u32) -> Option<Kind> {
    if version == 0 {
        return Some(Kind::VersionNegotiation);
    }
    if is_google(version) && version != 0x5130_3436 {
        return Some(match first & 0x7f {
            0x7f => Kind::Initial,
            0x7e => Kind::Retry,
            0x7d => Kind::Handshake,
            0x7c => Kind::ZeroRtt,
            _ => return None,
        });
    }
    let place = first >> 4 & 3;
    // Version 2 deals the numbers anew.
    let place = if version == VERSION_2 {
        (place + 3) & 3
    } else {
        place
    };
    Some(match place {
        0 => Kind::Initial,
        1 => Kind::ZeroRtt,
        2 => Kind::Handshake,
        _ => Kind::Retry,
    })
}

/// A number of 1, 2, 4 or 8 bytes. Source: RFC 9000, 16.
pub(super) fn varint(bytes: &mut Cursor<'_>) -> Option<u64> {
    let first = *bytes.0.first()?;
    let digits = bytes.take(1 << (first >> 6))?;
    let value = digits
        .iter()
        .fold(0_u64, |value, digit| value << 8 | u64::from(*digit));
    Some(value & (u64::MAX >> (64 - 8 * digits.len() + 2)))
}

/// Whether a datagram begins with a QUIC packet: of a version that can be read, or on QUIC's ports of any.
pub(crate) fn is_datagram(datagram: &[u8], ports: Ports) -> bool {
    let Some(packet) = Packet::read(&mut &*datagram) else {
        return false;
    };
    let usual = PORTS.contains(&ports.0) || PORTS.contains(&ports.1);
    let has_fixed_bit = datagram[0] & 0x40 != 0 || packet.version == 0;
    let known = packet.is_google || super::keys::salt(packet.version).is_some();
    has_fixed_bit
        && packet.destination.len() <= ID_LIMIT
        && (usual || known && packet.kind == Kind::Initial)
}
