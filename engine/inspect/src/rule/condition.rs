//! Conditions other than those on buffers.
use std::fmt;

use crate::detect::{FlowView, PacketView};

use super::buffer::TxView;
use super::number::Range;

/// A condition on a packet's header.
#[derive(Clone, Copy)]
pub struct PacketTest {
    /// The keyword.
    pub keyword: &'static str,
    /// It looks at a header, which pseudo packets don't have.
    pub needs_header: bool,
    /// Whether the packet, of the flow if there is one, fulfils it, given `operand`.
    pub holds: fn(&PacketView<'_>, Option<&FlowView>, &Operand) -> bool,
    /// What the rule asks for.
    pub operand: Operand,
}

/// What a header keyword compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A comparison.
    Range(Range),
    /// A comparison of what the letter stands for.
    Of(u8, Range),
    /// Up to three small numbers whose meaning is the keyword's.
    Bits(u8, u8, u8),
    /// Nothing.
    None,
}

impl fmt::Debug for PacketTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.keyword, self.operand)
    }
}

/// A condition on a transaction as a whole.
#[derive(Clone, Copy)]
pub struct TxTest {
    /// The keyword.
    pub keyword: &'static str,
    /// Whether the transaction fulfils it by now.
    pub holds: fn(&TxView<'_>, u32) -> bool,
    /// What the rule asks for; its meaning is the keyword's.
    pub operand: u32,
}

impl fmt::Debug for TxTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.keyword, self.operand)
    }
}

/// A condition on flowbits: some (or, negated, none) of `bits` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowbitTest {
    /// Hashes of the names; more than one where the rule writes `a|b`.
    pub bits: Vec<u64>,
    /// `isnotset`.
    pub negated: bool,
}
