//! ONC RPC's messages. Source: RFC 5531, 9.
use super::xdr::opaque;
use crate::app::cursor::Cursor;
use crate::Direction;

/// NFS's port.
const PORT: u16 = 2049;
/// NFS's program number.
pub const NFS_PROGRAM: u32 = 100_003;
/// Longest credentials, verifier (RFC 5531, 8.2) and machine name that are believed.
const AUTH_BYTES: usize = 400;

/// Bytes from a call's beginning to the procedure's end.
pub const CALL_BYTES: usize = 24;
/// Bytes from a reply's beginning to the end of what says how it went.
pub const REPLY_BYTES: usize = 12;

/// A datagram with a call of nothing by nobody: whether NFS is there is all it asks.
const PING_BYTES: usize = CALL_BYTES + 16;

const CALL: u32 = 0;
const REPLY: u32 = 1;
const RPC_VERSION: u32 = 2;
const AUTH_UNIX: u32 = 1;

/// What every call begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallHeader {
    /// What its reply repeats.
    pub xid: u32,
    /// The program called.
    pub program: u32,
    /// Its version.
    pub version: u32,
    /// What of it.
    pub procedure: u32,
}

impl CallHeader {
    /// Reads it; `None`: too short, or no call of RPC 2.
    pub fn read(input: &mut Cursor<'_>) -> Option<Self> {
        let xid = input.u32()?;
        if input.u32()? != CALL || input.u32()? != RPC_VERSION {
            return None;
        }
        Some(Self {
            xid,
            program: input.u32()?,
            version: input.u32()?,
            procedure: input.u32()?,
        })
    }

    /// Whether it calls an NFS that there is.
    pub fn is_nfs(&self) -> bool {
        self.program == NFS_PROGRAM && (2..=4).contains(&self.version)
    }
}

/// Who a caller says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// 0 none, 1 Unix, 6 GSS, …
    pub flavor: u32,
    /// Unix: machine, user and group.
    pub unix: Option<(Vec<u8>, u32, u32)>,
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// What it calls.
    pub header: CallHeader,
    /// Who calls.
    pub credentials: Credentials,
    /// Its arguments.
    pub arguments: &'a [u8],
}

impl<'a> Call<'a> {
    /// Reads a call; `None`: it is cut short, or no call.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Cursor::new(bytes);
        let header = CallHeader::read(&mut input)?;
        let flavor = input.u32()?;
        let body = opaque(&mut input).filter(|body| body.len() <= AUTH_BYTES)?;
        let unix = if flavor == AUTH_UNIX {
            unix(body)
        } else {
            None
        };
        skip_verifier(&mut input)?;
        Some(Self {
            header,
            credentials: Credentials { flavor, unix },
            arguments: input.rest(),
        })
    }
}

/// Source: RFC 5531, appendix A.
fn unix(body: &[u8]) -> Option<(Vec<u8>, u32, u32)> {
    let mut input = Cursor::new(body);
    input.u32()?;
    let machine = opaque(&mut input)?.to_vec();
    Some((machine, input.u32()?, input.u32()?))
}

fn skip_verifier(input: &mut Cursor<'_>) -> Option<()> {
    input.u32()?;
    opaque(input)
        .filter(|body| body.len() <= AUTH_BYTES)
        .map(|_| ())
}

/// A reply.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The call's.
    pub xid: u32,
    /// 0 accepted, 1 denied.
    pub state: u32,
    /// Its results, where it was accepted and carried out.
    pub results: Option<&'a [u8]>,
}

impl<'a> Reply<'a> {
    /// Reads a reply; `None`: it is cut short, or no reply.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Cursor::new(bytes);
        let xid = input.u32()?;
        if input.u32()? != REPLY {
            return None;
        }
        let state = input.u32()?;
        if state != 0 {
            let results = None;
            return Some(Self {
                xid,
                state,
                results,
            });
        }
        skip_verifier(&mut input)?;
        let succeeded = input.u32()? == 0;
        Some(Self {
            xid,
            state,
            results: succeeded.then_some(input.rest()),
        })
    }
}

/// Whether these are the first bytes of a call of NFS; `None`: so far.
fn is_nfs_call(bytes: &[u8]) -> Option<bool> {
    match bytes.first_chunk::<CALL_BYTES>() {
        Some(first) => {
            let header = CallHeader::read(&mut Cursor::new(first));
            Some(header.is_some_and(|header| header.is_nfs()))
        }
        // The words behind the xid are told early: call, and RPC 2.
        None => {
            let known = [0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa3, 0, 0, 0];
            let fits = bytes
                .iter()
                .skip(4)
                .zip(known)
                .all(|(got, due)| *got == due);
            if fits {
                None
            } else {
                Some(false)
            }
        }
    }
}

/// Whether a stream to a server begins with a call of NFS; `None`: so far.
pub fn is_stream(bytes: &[u8]) -> Option<bool> {
    match bytes.split_first_chunk::<4>() {
        // No call is a record of 16 MiB.
        Some((mark, message)) if mark[0] & 0x7f == 0 => is_nfs_call(message),
        None if bytes.first().is_none_or(|first| first & 0x7f == 0) => None,
        _ => Some(false),
    }
}

/// Whether a datagram is a call of NFS, or on its port a reply.
pub fn is_datagram(direction: Direction, bytes: &[u8], (_, server): (u16, u16)) -> bool {
    match direction {
        Direction::ToServer => bytes.len() > PING_BYTES && is_nfs_call(bytes) == Some(true),
        Direction::ToClient => server == PORT && is_reply(bytes),
    }
}

/// Whether these are the first bytes of a reply.
pub fn is_reply(bytes: &[u8]) -> bool {
    matches!(
        bytes.get(4..REPLY_BYTES),
        Some([0, 0, 0, 1, 0, 0, 0, 0..=1])
    )
}
