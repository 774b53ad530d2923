//! DCE/RPC's protocol data units, connection-oriented. Source: C706, 12.6; MS-RPCE, 2.2.2.
use std::borrow::Cow;

use crate::app::cursor::Cursor;

/// Bytes of the header that all have in common.
pub const HEADER_BYTES: usize = 16;
/// Interfaces that one bind is believed to have; a count is one byte.
const MAX_INTERFACES: usize = 255;
/// Bytes of an abstract or transfer syntax.
const SYNTAX_BYTES: usize = 20;

/// Types of data units.
pub mod kind {
    /// A call.
    pub const REQUEST: u8 = 0;
    /// Its results.
    pub const RESPONSE: u8 = 2;
    /// It failed.
    pub const FAULT: u8 = 3;
    /// An association is set up.
    pub const BIND: u8 = 11;
    /// It is.
    pub const BIND_ACK: u8 = 12;
    /// It is not.
    pub const BIND_NAK: u8 = 13;
    /// Further interfaces are asked for.
    pub const ALTER_CONTEXT: u8 = 14;
    /// They are there.
    pub const ALTER_CONTEXT_RESPONSE: u8 = 15;
    /// The last type there is.
    pub const LAST: u8 = 20;
}

/// The name of a type, as EVE has it.
pub fn kind_name(kind: u8) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        0 => "REQUEST",
        1 => "PING",
        2 => "RESPONSE",
        3 => "FAULT",
        4 => "WORKING",
        5 => "NOCALL",
        6 => "REJECT",
        7 => "ACK",
        8 => "CL_CANCEL",
        9 => "FACK",
        10 => "CANCEL_ACK",
        11 => "BIND",
        12 => "BINDACK",
        13 => "BINDNAK",
        14 => "ALTER_CONTEXT",
        15 => "ALTER_CONTEXT_RESP",
        16 => "AUTH3",
        17 => "SHUTDOWN",
        18 => "CO_CANCEL",
        19 => "ORPHANED",
        20 => "RTS",
        _ => return Cow::Owned(kind.to_string()),
    })
}

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 5.
    pub major: u8,
    /// 0 or 1.
    pub minor: u8,
    /// See [`kind`].
    pub kind: u8,
    /// The first fragment.
    pub first: bool,
    /// The last.
    pub last: bool,
    /// Numbers begin with their least significant byte.
    pub little: bool,
    /// Bytes of the data unit, header included.
    pub fragment: u16,
    /// Bytes of its authentication data.
    pub auth: u16,
    /// What a response has in common with its request.
    pub call: u32,
}

impl Header {
    /// Reads it; also returns what follows.
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut at = Cursor::new(bytes);
        let (major, minor, kind, flags) = (at.u8()?, at.u8()?, at.u8()?, at.u8()?);
        let little = at.array::<4>()?[0] & 0x10 != 0;
        let mut at = Numbers { at, little };
        let (fragment, auth, call) = (at.u16()?, at.u16()?, at.u32()?);
        let header = Self {
            major,
            minor,
            kind,
            first: flags & 1 != 0,
            last: flags & 2 != 0,
            little,
            fragment,
            auth,
            call,
        };
        Some((header, at.at.rest()))
    }
}

/// An interface that a bind names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its UUID, as it is written.
    pub uuid: [u8; 16],
    /// Its version.
    pub major: u16,
    /// …
    pub minor: u16,
    /// The number that requests call it by.
    pub context: u16,
    /// Result and reason of its acceptance, once answered; result 0 is accepted.
    pub ack: Option<(u16, u16)>,
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Presentation context.
    pub context: u16,
    /// Operation.
    pub opnum: u16,
    /// Arguments, authentication data included.
    pub stub: &'a [u8],
}

/// Numbers in the sender's order.
struct Numbers<'a> {
    at: Cursor<'a>,
    little: bool,
}

impl Numbers<'_> {
    fn u16(&mut self) -> Option<u16> {
        match self.little {
            true => self.at.le16(),
            false => self.at.u16(),
        }
    }

    fn u32(&mut self) -> Option<u32> {
        match self.little {
            true => self.at.le32(),
            false => self.at.u32(),
        }
    }
}

/// A UUID as it is written, from how it is sent.
pub fn uuid(bytes: [u8; 16], little: bool) -> [u8; 16] {
    let mut uuid = bytes;
    if little {
        uuid[..4].reverse();
        uuid[4..6].reverse();
        uuid[6..8].reverse();
    }
    uuid
}

/// The interfaces of a bind or an alter-context, given what follows the header.
pub fn interfaces(body: &[u8], little: bool) -> Option<Vec<Interface>> {
    let mut at = Numbers {
        at: Cursor::new(body),
        little,
    };
    at.at.skip(8)?;
    let count = usize::from(at.at.u8()?).min(MAX_INTERFACES);
    at.at.skip(3)?;
    (0..count)
        .map(|_| {
            let context = at.u16()?;
            let syntaxes = usize::from(at.at.u8()?);
            at.at.skip(1)?;
            let uuid = uuid(at.at.array()?, little);
            let (major, minor) = (at.u16()?, at.u16()?);
            at.at.skip(syntaxes * SYNTAX_BYTES)?;
            Some(Interface {
                uuid,
                major,
                minor,
                context,
                ack: None,
            })
        })
        .collect()
}

/// Result and reason for each interface, given what follows the header of an answer to a bind.
pub fn results(body: &[u8], little: bool) -> Option<Vec<(u16, u16)>> {
    let mut at = Numbers {
        at: Cursor::new(body),
        little,
    };
    at.at.skip(8)?;
    let address = usize::from(at.u16()?);
    at.at.skip(address)?;
    // The list begins at a multiple of four, as the header's 16 bytes do.
    at.at.skip((4 - (10 + address) % 4) % 4)?;
    let count = usize::from(at.at.u8()?);
    at.at.skip(3)?;
    (0..count)
        .map(|_| {
            let result = (at.u16()?, at.u16()?);
            at.at.skip(SYNTAX_BYTES)?;
            Some(result)
        })
        .collect()
}

/// Reads a request, given what follows its header.
pub fn call(body: &[u8], little: bool) -> Option<Call<'_>> {
    let mut at = Numbers {
        at: Cursor::new(body),
        little,
    };
    at.at.skip(4)?;
    let (context, opnum) = (at.u16()?, at.u16()?);
    Some(Call {
        context,
        opnum,
        stub: at.at.rest(),
    })
}

/// Results of a response, given what follows its header.
pub fn results_stub(body: &[u8]) -> Option<&[u8]> {
    body.get(8..)
}
