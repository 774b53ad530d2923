//! ONC RPC's records and NFS's messages in them. Sources: RFC 5531, 9 and 11; RFC 7530, 16.2.
use super::{Found, Framer, Step};
use crate::app::cursor::Cursor;
use crate::app::nfs::rpc::{Call, CallHeader, Reply};
use crate::Direction;

/// A record's mark.
const MARK_BYTES: u64 = 4;
/// As much of a message as its header can be long.
const HEADER_BYTES: u64 = 900;
/// A reply's number and kind.
const REPLY_HEADER_BYTES: u64 = 8;
/// A call's bytes in front of its credentials.
const CALL_BYTES: u64 = 24;

/// A connection's records.
#[derive(Debug, Default)]
pub struct Nfs {
    /// The version that was called, by which replies are read.
    version: u32,
}

impl Framer for Nfs {
    fn step(&mut self, direction: Direction, bytes: &[u8], found: &mut Found) -> Step {
        let Some((mark, message)) = bytes.split_first_chunk::<4>() else {
            return Step::Need;
        };
        let len = u64::from(u32::from_be_bytes(*mark) & 0x7fff_ffff);
        if (message.len() as u64) < len.min(HEADER_BYTES) {
            return Step::Need;
        }
        let message = &message[..message
            .len()
            .min(usize::try_from(len).unwrap_or(usize::MAX))];
        match direction {
            Direction::ToServer => {
                let called = CallHeader::read(&mut Cursor::new(message));
                self.version = called.map_or(self.version, |call| call.version);
                call(message, MARK_BYTES, len, found);
            }
            Direction::ToClient => reply(message, MARK_BYTES, len, self.version, found),
        }
        Step::Pass(MARK_BYTES + len)
    }
}

/// A datagram's message; a reply is taken for one of NFS 2 or 3.
pub fn datagram(bytes: &[u8], found: &mut Found) {
    let len = bytes.len() as u64;
    match CallHeader::read(&mut Cursor::new(bytes)) {
        Some(_) => call(bytes, 0, len, found),
        None => reply(bytes, 0, len, 0, found),
    }
}

/// A call of `len` bytes behind `mark` ones, of which `message` is the beginning.
fn call(message: &[u8], mark: u64, len: u64, found: &mut Found) {
    found.frame("rpc.pdu", 0, mark + len);
    let Some(call) = Call::read(message) else {
        return;
    };
    let header = (message.len() - call.arguments.len()) as u64;
    let mut credentials = Cursor::new(message.get(CALL_BYTES as usize..).unwrap_or_default());
    let own = credentials.u32().and_then(|_| credentials.u32());
    found.frame(
        "rpc.creds",
        mark + CALL_BYTES,
        8 + u64::from(own.unwrap_or(0)),
    );
    if call.header.version < 4 {
        found.frame("nfs.pdu", mark + header, len - header);
    } else {
        compound(found, mark + header, len - header);
    }
}

fn reply(message: &[u8], mark: u64, len: u64, version: u32, found: &mut Found) {
    found.frame("rpc.pdu", 0, mark + len);
    let header = REPLY_HEADER_BYTES.min(len);
    found.frame("rpc.hdr", 0, mark + header);
    found.frame("rpc.data", mark + header, len - header);
    let Some(results) = Reply::read(message).and_then(|reply| reply.results) else {
        return;
    };
    let at = (message.len() - results.len()) as u64;
    let status = 4.min(len - at);
    if version < 4 {
        found.frame("nfs.pdu", mark + at, len - at);
        found.frame("nfs.status", mark + at, status);
    } else {
        compound(found, mark + at, len - at);
        found.frame("nfs4.status", mark + at, status);
    }
}

/// A compound, or its results.
fn compound(found: &mut Found, at: u64, len: u64) {
    let header = 8.min(len);
    found.frame("nfs4.pdu", at, len);
    found.frame("nfs4.hdr", at, header);
    found.frame("nfs4.ops", at + header, len - header);
}
