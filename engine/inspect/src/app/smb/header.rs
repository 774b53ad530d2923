//! What stands in front of every SMB message.
use crate::app::cursor::Cursor;

/// Bytes of SMB 1's header.
pub const V1_BYTES: usize = 32;
/// Bytes of SMB 2's header.
pub const V2_BYTES: usize = 64;

/// An SMB 1 message. Source: MS-CIFS, 2.2.3.1.
#[derive(Clone, Copy, Debug)]
pub struct V1<'a> {
    /// The first command; AndX chains name others.
    pub command: u8,
    /// As sent: an NTSTATUS, or class and code of DOS.
    pub status: u32,
    /// It is a response.
    pub response: bool,
    /// `status` is class and code.
    pub dos_error: bool,
    /// Strings are UTF-16.
    pub unicode: bool,
    /// The user's number, which the server gave when the session was set up.
    pub session: u32,
    /// The share.
    pub tree: u16,
    /// What a response has in common with its request.
    pub multiplex: u16,
    /// What follows the header.
    pub body: &'a [u8],
}

/// An SMB 2 or 3 message. Source: MS-SMB2, 2.2.1.
#[derive(Clone, Copy, Debug)]
pub struct V2<'a> {
    /// The command.
    pub command: u16,
    /// NTSTATUS, in responses.
    pub status: u32,
    /// It is a response.
    pub response: bool,
    /// It comes later than an interim one, and does not name its share.
    pub asynchronous: bool,
    /// What a response has in common with its request.
    pub message: u64,
    /// The share; half of the asynchronous id where the message is asynchronous.
    pub tree: u32,
    /// The session.
    pub session: u64,
    /// The whole message, header included, up to the next of a compound.
    pub bytes: &'a [u8],
}

impl<'a> V1<'a> {
    /// Reads one message, which begins with `\xffSMB`.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut at = Cursor::new(bytes);
        at.skip(4)?;
        let command = at.u8()?;
        let status = at.le32()?;
        let flags = at.u8()?;
        let flags2 = at.le16()?;
        at.skip(2 + 8 + 2)?;
        let tree = at.le16()?;
        at.skip(2)?;
        let (user, multiplex) = (at.le16()?, at.le16()?);
        Some(Self {
            command,
            status,
            response: flags & 0x80 != 0,
            dos_error: flags2 & 0x4000 == 0,
            unicode: flags2 & 0x8000 != 0,
            session: user.into(),
            tree,
            multiplex,
            body: at.rest(),
        })
    }
}

impl<'a> V2<'a> {
    /// Reads the first of the messages in `bytes`, which begins with `\xfeSMB`; also returns the others.
    pub fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut at = Cursor::new(bytes);
        at.skip(4)?;
        if usize::from(at.le16()?) != V2_BYTES {
            return None;
        }
        at.skip(2)?;
        let status = at.le32()?;
        let command = at.le16()?;
        at.skip(2)?;
        let (flags, next) = (at.le32()?, at.le32()? as usize);
        let message = at.le64()?;
        at.skip(4)?;
        let (tree, session) = (at.le32()?, at.le64()?);
        at.skip(16)?;
        let own = if next > V2_BYTES { next } else { bytes.len() };
        let (own, others) = bytes.split_at_checked(own)?;
        let message = Self {
            command,
            status,
            response: flags & 1 != 0,
            asynchronous: flags & 2 != 0,
            message,
            tree,
            session,
            bytes: own,
        };
        Some((message, others))
    }

    /// What follows the header.
    pub fn body(&self) -> Cursor<'a> {
        Cursor::new(self.bytes.get(V2_BYTES..).unwrap_or_default())
    }

    /// Up to `len` bytes from `offset`, which counts from the header's first byte.
    pub fn buffer(&self, offset: usize, len: usize) -> &'a [u8] {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        &rest[..len.min(rest.len())]
    }
}
