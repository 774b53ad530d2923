//! Header blocks into fields, and the table that both peers keep of them. Source: RFC 7541.
//!
//! Every instruction costs what it is long: names and values are shared, so that a block of a few bytes that
//! refers to one large entry thousands of times makes thousands of references and no copies. The receiver of the
//! fields bounds how many it takes.
mod huffman;
mod table;

use std::sync::Arc;

use table::Table;

/// Bytes that a number may take; peers give up sooner or later too.
const MAX_NUMBER_BYTES: usize = 10;

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Arc<[u8]>,
    /// Its value.
    pub value: Arc<[u8]>,
}

impl Field {
    /// Of these bytes.
    pub fn new(name: &[u8], value: &[u8]) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// What a header block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    /// A field of the message.
    Field(Field),
    /// The table's size is this from here on.
    SizeUpdate(u64),
}

/// Why a peer closes the connection on a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It ends within an instruction.
    Truncated,
    /// A number that is none.
    Overflow,
    /// No entry has that number.
    NotIndexed,
    /// A string that is no Huffman code.
    BadHuffman,
    /// A table larger than any that is followed.
    TableTooLarge,
}

/// Decodes the header blocks of one direction.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
        }
    }

    /// Shows `sink` what a whole block says.
    ///
    /// What is wrong with one instruction does not stop it where the next one's place is certain. Returns the
    /// first thing that was wrong.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        sink: &mut dyn FnMut(Instruction),
    ) -> Result<(), Malformed> {
        let mut input = block;
        let mut outcome = Ok(());
        while !input.is_empty() {
            match self.instruction(&mut input) {
                Ok(Ok(instruction)) => {
                    let too_large = matches!(instruction, Instruction::SizeUpdate(bytes) if bytes > table::MAX_BYTES as u64);
                    if too_large {
                        outcome = outcome.and(Err(Malformed::TableTooLarge));
                    }
                    sink(instruction);
                }
                Ok(Err(wrong)) => outcome = outcome.and(Err(wrong)),
                Err(wrong) => return outcome.and(Err(wrong)),
            }
        }
        outcome
    }

    /// One instruction. The outer error: nothing behind it can be read. Source: RFC 7541, 6.
    fn instruction(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Result<Instruction, Malformed>, Malformed> {
        let first = input.first().copied().unwrap_or_default();
        if first & 0x80 != 0 {
            let index = number(input, 7)?;
            let field = self.table.get(index).ok_or(Malformed::NotIndexed);
            return Ok(field.map(Instruction::Field));
        }
        if first & 0xe0 == 0x20 {
            let bytes = number(input, 5)?;
            self.table.resize(bytes);
            return Ok(Ok(Instruction::SizeUpdate(bytes)));
        }
        let is_added = first & 0x40 != 0;
        let index = number(input, if is_added { 6 } else { 4 })?;
        let name = match index {
            0 => string(input)?,
            _ => self
                .table
                .get(index)
                .map(|entry| entry.name)
                .ok_or(Malformed::NotIndexed),
        };
        let value = string(input)?;
        let field = name.and_then(|name| {
            Ok(Field {
                name,
                value: value?,
            })
        });
        if let (true, Ok(field)) = (is_added, &field) {
            self.table.add(field.clone());
        }
        Ok(field.map(Instruction::Field))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.table.heap_bytes()
    }
}

/// A number in the low `bits` of the first byte and, if they are all ones, those behind it. Source: RFC 7541, 5.1.
fn number(input: &mut &[u8], bits: u32) -> Result<u64, Malformed> {
    let (first, rest) = input.split_first().ok_or(Malformed::Truncated)?;
    *input = rest;
    let mask = (1u8 << bits) - 1;
    let prefix = u64::from(first & mask);
    if prefix < u64::from(mask) {
        return Ok(prefix);
    }
    let mut value = prefix;
    for at in 0..MAX_NUMBER_BYTES {
        let (byte, rest) = input.split_first().ok_or(Malformed::Truncated)?;
        *input = rest;
        let part = u64::from(byte & 0x7f);
        let shifted = part
            .checked_mul(1u64.checked_shl(7 * at as u32).unwrap_or_default())
            .filter(|shifted| part == 0 || *shifted != 0);
        value = shifted
            .and_then(|shifted| value.checked_add(shifted))
            .ok_or(Malformed::Overflow)?;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::Overflow)
}

/// A string behind its length, coded or not. The outer error: its end is not there. Source: RFC 7541, 5.2.
fn string(input: &mut &[u8]) -> Result<Result<Arc<[u8]>, Malformed>, Malformed> {
    let is_coded = input.first().is_some_and(|first| first & 0x80 != 0);
    let length = number(input, 7)?;
    let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
    let (bytes, rest) = input.split_at_checked(length).ok_or(Malformed::Truncated)?;
    *input = rest;
    if !is_coded {
        return Ok(Ok(bytes.into()));
    }
    let decoded = huffman::decode(bytes).ok_or(Malformed::BadHuffman);
    Ok(decoded.map(Into::into))
}

#[cfg(test)]
mod tests;
