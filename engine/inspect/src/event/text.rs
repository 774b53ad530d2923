//! Bytes of unknown encoding as JSON strings.

use std::fmt::{self, Display, Write};

use serde::{Serialize, Serializer};

/// Bytes shown as text: UTF-8 as it is; else every byte outside printable ASCII as `\xHH`, as Suricata does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a>(pub &'a [u8]);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(text) = std::str::from_utf8(self.0) {
            return f.write_str(text);
        }
        for &byte in self.0 {
            match byte {
                0x20..=0x7e => f.write_char(byte.into())?,
                _ => write!(f, "\\x{byte:02X}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_str(self),
        }
    }
}
