//! Bytes of unknown encoding as JSON strings.

use std::fmt::{self, Display, Write};

use serde::{Serialize, Serializer};

/// Bytes shown as text, as Suricata does: UTF-8 as it is; anything else with every byte past ASCII as `\xhh`.
///
/// JSON escapes control characters either way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a>(pub &'a [u8]);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            if byte.is_ascii() {
                f.write_char(byte.into())?;
            } else {
                write!(f, "\\x{byte:02x}")?;
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

/// Bytes as `payload_printable` shows them: what is neither printable ASCII nor a line end becomes a dot.
pub(crate) struct Printable<'a>(pub &'a [u8]);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| match byte {
            b'\r' | b'\n' | 0x20..=0x7e => f.write_char(byte.into()),
            _ => f.write_char('.'),
        })
    }
}

impl Serialize for Printable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A name in capitals.
pub(crate) struct UpperCase<'a>(pub &'a str);

impl Display for UpperCase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|char| f.write_char(char.to_ascii_uppercase()))
    }
}

impl Serialize for UpperCase<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What can be displayed, as a JSON string.
pub(crate) struct AsText<T>(pub T);

impl<T: Display> Serialize for AsText<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
