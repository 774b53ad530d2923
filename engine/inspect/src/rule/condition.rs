//! Conditions other than those on buffers.
use std::fmt;

use crate::detect::{FlowView, PacketView};

use crate::app::{HashKinds, Stage, Transaction};
use crate::wire::PacketEvent;
use crate::Direction;

use super::file::FileTest;
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
    /// A program that is called, its version and procedure where they matter.
    Call(u32, Option<u32>, Option<u32>),
    /// An event of the packet.
    Event(PacketEvent),
    /// Nothing.
    None,
}

impl fmt::Debug for PacketTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.keyword, self.operand)
    }
}

/// A condition on a transaction as a whole.
#[derive(Clone)]
pub struct TxTest {
    /// The keyword.
    pub keyword: &'static str,
    /// How far each side (by direction) must have been read before it is asked; `None`: that side never holds it.
    pub sides: [Option<Stage>; 2],
    /// Whether that side of the transaction fulfils it by now.
    pub holds: fn(&dyn Transaction, Direction, &TxOperand) -> bool,
    /// What the rule asks for; its meaning is the keyword's.
    pub operand: TxOperand,
}

impl TxTest {
    /// Asked of both sides, as soon as something of them was read.
    pub const EITHER: [Option<Stage>; 2] = [Some(Stage::Begun), Some(Stage::Begun)];

    /// Whether `transaction` fulfils it in that direction by now.
    pub fn fits(&self, transaction: &dyn Transaction, direction: Direction) -> bool {
        self.sides[direction as usize].is_some_and(|stage| transaction.stage(direction) >= stage)
            && (self.holds)(transaction, direction, &self.operand)
    }
}

impl TxTest {
    /// Whether it is about files: it may hold once for each.
    pub fn is_about_files(&self) -> bool {
        matches!(self.operand, TxOperand::File(_))
    }

    /// Whether one of the files from the `first` on fulfils it; true where it is not about files.
    pub fn fits_file(
        &self,
        transaction: &dyn Transaction,
        direction: Direction,
        first: usize,
    ) -> bool {
        let TxOperand::File(tests) = &self.operand else {
            return true;
        };
        let files = transaction.files(direction).iter().skip(first);
        files
            .into_iter()
            .any(|file| tests.iter().all(|test| test.holds(file)))
    }

    /// The hashes of files that it compares.
    pub fn file_hashes(&self) -> HashKinds {
        match &self.operand {
            TxOperand::File(tests) => tests
                .iter()
                .fold(HashKinds::NONE, |kinds, test| kinds.or(test.hashes())),
            _ => HashKinds::NONE,
        }
    }
}

/// What a transaction keyword compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxOperand {
    /// Nothing.
    None,
    /// A comparison.
    Range(Range),
    /// Comparisons, some of which must hold.
    Ranges(Vec<Range>),
    /// Some number.
    Number(u64),
    /// A name this engine knows.
    Name(&'static str),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A DCE/RPC interface.
    Iface(super::keyword::Iface),
    /// Conditions on one file.
    File(Vec<FileTest>),
}

impl fmt::Debug for TxTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.keyword, self.operand)
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
