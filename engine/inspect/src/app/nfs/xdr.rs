//! XDR on top of a cursor. Source: RFC 4506.
use crate::app::cursor::Cursor;

/// Reads a hyper integer.
pub fn hyper(input: &mut Cursor<'_>) -> Option<u64> {
    input.array().map(u64::from_be_bytes)
}

/// Reads opaque data of variable length with its padding.
pub fn opaque<'a>(input: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let len = usize::try_from(input.u32()?).ok()?;
    let bytes = input.take(len)?;
    input.skip(len.wrapping_neg() % 4)?;
    Some(bytes)
}

/// Reads opaque data of which the end, padding included, may still be to come; also says how long it is.
pub fn opaque_begun<'a>(input: &mut Cursor<'a>) -> Option<(&'a [u8], u32)> {
    let len = input.u32()?;
    let there = input.rest().len().min(usize::try_from(len).ok()?);
    let bytes = input.take(there)?;
    let padding = (len as usize).wrapping_neg() % 4;
    input.skip(padding.min(input.rest().len()))?;
    Some((bytes, len))
}

/// Passes over an array of words behind its length.
pub fn skip_words(input: &mut Cursor<'_>) -> Option<()> {
    let words = usize::try_from(input.u32()?).ok()?;
    input.skip(words.checked_mul(4)?)
}
