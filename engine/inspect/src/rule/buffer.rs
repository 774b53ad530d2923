//! Buffers, and what signatures ask of them.
use std::fmt;

use crate::app::AppSet;
use crate::Direction;

use super::content::Content;
use super::dataset::{DatasetTest, ReputationTest};
use super::number::Range;
use super::packet_buffer::PacketBuffer;
use super::pcre::Pcre;
use super::transform::Transform;

pub use crate::app::{Stage, Transaction};

/// The bytes of a buffer's `index`-th instance: in the transaction, or put together in the (empty) vector.
pub type Extract =
    for<'a> fn(&'a dyn Transaction, Direction, u32, &'a mut Vec<u8>) -> Option<&'a [u8]>;

/// A sticky buffer.
pub struct Buffer {
    /// Suricata's name.
    pub name: &'static str,
    /// The protocols whose transactions have it.
    pub apps: AppSet,
    /// Its bytes once the request was read so far; `None`: no such buffer in requests.
    pub to_server: Option<Stage>,
    /// Likewise for responses.
    pub to_client: Option<Stage>,
    /// More bytes may follow after that, until `complete` says no.
    pub grows: bool,
    /// Offline too it is judged whenever it has grown, not in steps of a size.
    pub at_once: bool,
    /// A transaction may have several, each inspected by itself.
    pub multiple: bool,
    /// All conditions that a signature has on it are about the same one of those, wherever they stand in it.
    pub joined: bool,
    /// Its bytes in one direction; `None` where the message has none, or no further one.
    pub extract: Extract,
    /// Its letters are all of one case, so that contents match in either.
    pub any_case: bool,
    /// It is a frame, of this name: not of the protocol's transactions but of those that frames are shown as.
    pub frame: Option<&'static str>,
    /// Errors: why this content could never match in it.
    pub validate: fn(&Content) -> Result<(), &'static str>,
}

impl Buffer {
    /// A buffer of both sides' complete messages, one a transaction; change what differs.
    pub const fn both(name: &'static str, apps: AppSet, extract: Extract) -> Self {
        Self {
            name,
            apps,
            to_server: Some(Stage::Complete),
            to_client: Some(Stage::Complete),
            grows: false,
            at_once: false,
            frame: None,
            multiple: false,
            joined: false,
            any_case: false,
            extract,
            validate: |_| Ok(()),
        }
    }

    /// How far that side must have been read.
    pub fn stage(&self, direction: Direction) -> Option<Stage> {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::ToClient => self.to_client,
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Buffer {}

/// Conditions on one buffer, in the order in which they are evaluated.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The transaction's buffer; `None` is the packet's, or payload (packet or stream).
    pub buffer: Option<&'static Buffer>,
    /// The packet's buffer.
    pub packet: Option<&'static PacketBuffer>,
    /// What is done to its bytes first.
    pub transforms: Vec<Transform>,
    /// The conditions.
    pub tests: Vec<Test>,
}

impl Inspection {
    /// Whether it is about payload, of packets or the stream.
    pub fn is_payload(&self) -> bool {
        self.buffer.is_none() && self.packet.is_none()
    }

    /// Its contents.
    pub fn contents(&self) -> impl Iterator<Item = &Content> {
        self.tests.iter().filter_map(|test| match test {
            Test::Content(content) => Some(content),
            _ => None,
        })
    }
}

/// A number, or a variable that `byte_extract` or `byte_math` fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// As written.
    Fixed(i64),
    /// Index of the variable.
    Variable(u8),
}

/// How many variables one signature may fill.
pub const MAX_VARIABLES: usize = 8;

/// One condition on a buffer.
#[derive(Clone, Debug)]
pub enum Test {
    /// Bytes.
    Content(Content),
    /// A regular expression.
    Pcre(Pcre),
    /// There are (or, negated, are not) that many bytes from here.
    IsDataAt {
        /// Bytes.
        at: Number,
        /// Counted from the last match.
        relative: bool,
        /// There are not.
        negated: bool,
    },
    /// Length of the buffer.
    Size(Range),
    /// A number in the buffer compares.
    ByteTest(ByteTest),
    /// A number in the buffer moves the place of the last match.
    ByteJump(ByteJump),
    /// A number in the buffer fills a variable.
    ByteExtract(ByteExtract),
    /// A number in the buffer is computed with and fills a variable.
    ByteMath(ByteMath),
    /// The buffer is (or becomes, or ceases to be) a value of a data set.
    Dataset(DatasetTest),
    /// The buffer's reputation compares.
    Reputation(ReputationTest),
    /// Base64 is decoded from here, and what comes out is inspected.
    Base64(Base64),
    /// ASN.1's objects are looked at from here.
    Asn1(Asn1),
}

/// How a number stands in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteField {
    /// Bytes it takes (digits at most, as text); from a variable in some keywords.
    pub count: Number,
    /// From the buffer's start or the last match.
    pub offset: Number,
    /// From the last match.
    pub relative: bool,
    /// Least significant byte first.
    pub little: bool,
    /// As the DCE/RPC message says: least significant byte first, or last.
    pub dce: bool,
    /// Digits of this base rather than binary; base 0 reads `0x` and `0` as C does.
    pub text_base: Option<u32>,
    /// Bits that count, shifted down, of `byte_math`'s outcome and of what else is read; all where `None`.
    pub bitmask: Option<u64>,
}

/// How `byte_test` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `=`
    Equal,
    /// `&`: some bit in common.
    And,
    /// `^`: no bit in common, as Suricata reads it, is written negated; this is exclusive or.
    Xor,
}

/// `byte_test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteTest {
    /// The number.
    pub field: ByteField,
    /// How.
    pub comparison: Comparison,
    /// The outcome is reversed.
    pub negated: bool,
    /// With what.
    pub value: Number,
}

/// `byte_jump`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteJump {
    /// The number.
    pub field: ByteField,
    /// It is multiplied by this.
    pub multiplier: u64,
    /// It is rounded up to a multiple of four.
    pub align: bool,
    /// Where it counts from.
    pub from: JumpFrom,
    /// Added at the end.
    pub post_offset: Number,
}

/// Where `byte_jump` counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JumpFrom {
    /// Just past the number.
    Here,
    /// The buffer's start.
    Beginning,
    /// The buffer's end.
    End,
}

/// `byte_extract`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteExtract {
    /// The number.
    pub field: ByteField,
    /// It is multiplied by this.
    pub multiplier: u64,
    /// It is rounded up to a multiple of this, where over one.
    pub align: u64,
    /// Which variable it fills.
    pub variable: u8,
}

/// What `byte_math` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `<<`
    Left,
    /// `>>`
    Right,
}

/// `byte_math`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteMath {
    /// The number.
    pub field: ByteField,
    /// What is done with it.
    pub operator: Operator,
    /// And with what.
    pub value: Number,
    /// Which variable the outcome fills.
    pub variable: u8,
}

/// `asn1`: one of its conditions holds for one of the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asn1 {
    /// It is longer than this.
    pub oversize_bytes: Option<u32>,
    /// A bit string leaves more bits unused than it has.
    pub bitstring_overflow: bool,
    /// A real number in decimal is too long for any receiver.
    pub double_overflow: bool,
    /// Where the first object begins.
    pub offset: i64,
    /// Counted from the last match.
    pub relative: bool,
}

/// `base64_decode` and the conditions of its `base64_data`.
#[derive(Clone, Debug)]
pub struct Base64 {
    /// At most that many encoded bytes.
    pub bytes: Option<u32>,
    /// From the buffer's start or the last match.
    pub offset: u32,
    /// From the last match.
    pub relative: bool,
    /// Conditions on what was decoded.
    pub tests: Vec<Test>,
}
