//! Frames of Initial packets: CRYPTO's pieces of a hello, and Google's hello. Source: RFC 9000, 19.

use std::collections::BTreeMap;

use super::header::varint;
use crate::app::cursor::Cursor;

/// Bytes of a hello that are kept; OpenSSL and BoringSSL send far less than Suricata's 65,535.
const HELLO_LIMIT: usize = 65_535;
/// Pieces of it that wait for those before them.
const PIECES_LIMIT: usize = 64;

/// A tag of Google's hello and its value.
pub(super) type Tag<'a> = ([u8; 4], &'a [u8]);

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A piece of the handshake's stream.
    Crypto {
        /// Where it belongs.
        offset: u64,
        /// The piece.
        bytes: &'a [u8],
    },
    /// A message of Google's, if it is one.
    Tags(Option<Vec<Tag<'a>>>),
    /// Anything else.
    Other,
}

/// The frames of a packet; `Err`: they are none.
pub(super) fn frames(payload: &[u8]) -> Result<Vec<Frame<'_>>, ()> {
    let mut rest = Cursor(payload);
    let mut frames = Vec::new();
    while let Some(kind) = rest.u8() {
        let frame = match kind {
            0 => {
                let end = rest.0.iter().position(|byte| *byte != 0);
                rest.take(end.unwrap_or(rest.0.len()));
                continue;
            }
            1 => continue,
            2 | 3 => acknowledgement(&mut rest, kind == 3).map(|()| Frame::Other),
            6 => crypto(&mut rest).map(|(offset, bytes)| Frame::Crypto { offset, bytes }),
            8 => crypto(&mut rest).map(|(_, bytes)| Frame::Tags(tags(bytes))),
            0x80.. => stream(&mut rest, kind).map(|bytes| Frame::Tags(tags(bytes))),
            // What follows a frame that is not known cannot be told apart.
            _ => return Ok(frames),
        };
        frames.push(frame.ok_or(())?);
    }
    Ok(frames)
}

fn acknowledgement(rest: &mut Cursor<'_>, with_counts: bool) -> Option<()> {
    varint(rest)?;
    varint(rest)?;
    let ranges = varint(rest)?;
    varint(rest)?;
    // Each takes two bytes at least, so this ends with the packet.
    for _ in 0..ranges {
        varint(rest)?;
        varint(rest)?;
    }
    if with_counts {
        for _ in 0..3 {
            varint(rest)?;
        }
    }
    Some(())
}

fn crypto<'a>(rest: &mut Cursor<'a>) -> Option<(u64, &'a [u8])> {
    let offset = varint(rest)?;
    let len = varint(rest)?;
    Some((offset, rest.take(usize::try_from(len).ok()?)?))
}

/// A stream frame of Google's: `1 fin length offset(3) id(2)`.
fn stream<'a>(rest: &mut Cursor<'a>, kind: u8) -> Option<&'a [u8]> {
    let offset_bytes = match kind >> 2 & 7 {
        0 => 0,
        more => usize::from(more) + 1,
    };
    rest.take(usize::from(kind & 3) + 1)?;
    rest.take(offset_bytes)?;
    match kind & 0x20 {
        0 => rest.take(rest.0.len()),
        _ => rest.long(),
    }
}

/// Tags known in Google's messages.
const TAGS: [&[u8; 4]; 30] = [
    b"AEAD", b"CCRT", b"CCS\0", b"CETV", b"CFCW", b"CHLO", b"COPT", b"CSCT", b"CTIM", b"ICSL",
    b"IRTT", b"KEXS", b"MIDS", b"MSPC", b"NONC", b"NONP", b"PAD\0", b"PDMD", b"PUBS", b"SCID",
    b"SCLS", b"SFCW", b"SMHL", b"SNI\0", b"SNO\0", b"STK\0", b"TCID", b"UAID", b"VER\0", b"XLCT",
];

/// A message of Google's: tag, number of entries, entries of tag and end, values. Source: the QUIC Crypto document.
fn tags(bytes: &[u8]) -> Option<Vec<Tag<'_>>> {
    let mut rest = Cursor(bytes);
    let known = |tag: [u8; 4]| TAGS.contains(&&tag).then_some(tag);
    known(rest.array()?)?;
    let entries = usize::from(u16::from_le_bytes(rest.array()?));
    rest.take(2)?;
    let mut index = Cursor(rest.take(8 * entries)?);
    let mut start = 0;
    let mut found = Vec::with_capacity(entries.min(TAGS.len()));
    while !index.is_empty() {
        let tag = known(index.array()?)?;
        let end = usize::try_from(u32::from_le_bytes(index.array()?)).ok()?;
        found.push((tag, rest.take(end.checked_sub(start)?)?));
        start = end;
    }
    rest.is_empty().then_some(found)
}

/// A handshake's stream as it is put together from pieces, up to the first message's end.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    pieces: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

impl Assembly {
    /// Takes in a piece; false: the bound is passed, and all is let go.
    pub fn add(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let end = offset.saturating_add(bytes.len() as u64);
        let fits = end <= HELLO_LIMIT as u64 && self.bytes + bytes.len() <= 2 * HELLO_LIMIT;
        if !fits || self.pieces.len() >= PIECES_LIMIT {
            *self = Self::default();
            return false;
        }
        let known = self.pieces.get(&offset).map_or(0, Vec::len);
        if bytes.len() > known {
            self.bytes += bytes.len() - known;
            self.pieces.insert(offset, bytes.to_vec());
        }
        true
    }

    /// Type and body of the first message, once it is whole.
    pub fn message(&self) -> Option<(u8, Vec<u8>)> {
        let mut all: Vec<u8> = Vec::new();
        for (offset, piece) in &self.pieces {
            let at = usize::try_from(*offset).ok()?;
            if at > all.len() {
                return None;
            }
            // What came first stands, as a peer has it.
            all.extend_from_slice(piece.get(all.len() - at..).unwrap_or_default());
            let mut message = Cursor(&all);
            if let Some((kind, len)) = message.u8().zip(message.u24()) {
                if let Some(body) = message.take(len as usize) {
                    return Some((kind, body.to_vec()));
                }
            }
        }
        None
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        self.bytes + 64 * self.pieces.len()
    }
}
