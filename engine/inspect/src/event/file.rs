//! What EVE says of a file.
use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::Text;
use crate::app::{File, FileState};

/// The `fileinfo` object, also an element of an alert's `files`.
#[derive(Clone, Copy, Debug)]
pub struct FileInfo<'a> {
    /// What it is about.
    pub file: &'a File,
    /// The transaction that carries it.
    pub tx_id: u64,
    /// Its first and last byte, where it is a part of a whole.
    pub range: Option<(i64, i64)>,
}

impl Serialize for FileInfo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let file = self.file;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("filename", &Text(&file.name))?;
        if let Some(magic) = file.recorded_magic() {
            map.serialize_entry("magic", &magic)?;
        }
        map.serialize_entry("gaps", &(file.lost > 0))?;
        let state = match file.state {
            FileState::Open => "UNKNOWN",
            FileState::Closed => "CLOSED",
            FileState::Truncated => "TRUNCATED",
        };
        map.serialize_entry("state", state)?;
        if let Some(md5) = &file.hashes.md5 {
            map.serialize_entry("md5", &Hex(md5))?;
        }
        if let Some(sha1) = &file.hashes.sha1 {
            map.serialize_entry("sha1", &Hex(sha1))?;
        }
        if let Some(sha256) = &file.hashes.sha256 {
            map.serialize_entry("sha256", &Hex(sha256))?;
        }
        map.serialize_entry("stored", &false)?;
        map.serialize_entry("size", &file.seen)?;
        if let Some((start, end)) = self.range {
            map.serialize_entry("start", &start)?;
            map.serialize_entry("end", &end)?;
        }
        map.serialize_entry("tx_id", &self.tx_id)?;
        map.end()
    }
}

/// How many bytes are written at once: as many as the longest hash has.
const HEX_BYTES: usize = 32;

/// Bytes in lower-case hexadecimal.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        for bytes in self.0.chunks(HEX_BYTES) {
            let mut text = [0; 2 * HEX_BYTES];
            for (place, byte) in text.chunks_exact_mut(2).zip(bytes) {
                place.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            let text = std::str::from_utf8(&text[..2 * bytes.len()]);
            f.write_str(text.map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
