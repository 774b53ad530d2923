//! NFS 2. Source: RFC 1094, 2.2.
use super::rpc::{Call, Reply};
use super::state::{Piece, State, Waiting};
use super::transaction::Handle;
use super::xdr::opaque_begun;
use crate::app::cursor::Cursor;
use crate::Direction;

const READ: u32 = 6;
/// A handle has always that many bytes.
const HANDLE_BYTES: usize = 32;
/// A file's attributes up to its size, and behind it.
const ATTRIBUTES: (usize, usize) = (20, 44);

/// Reads a call; `None`: it is malformed.
pub fn call(state: &mut State, call: &Call<'_>) -> Option<()> {
    let mut waiting = Waiting::of(call);
    let read = (call.header.procedure == READ).then(|| read_arguments(call.arguments));
    waiting.read = read.flatten();
    if read.is_none() {
        state.open_call(call, call.header.procedure);
    }
    state.waiting.insert(call.header.xid, waiting);
    if read == Some(None) {
        return None;
    }
    Some(())
}

fn read_arguments(arguments: &[u8]) -> Option<(Handle, u64)> {
    let mut input = Cursor::new(arguments);
    let handle = Handle::new(input.take(HANDLE_BYTES)?)?;
    Some((handle, input.u32()?.into()))
}

/// Reads a reply; `None`: it is malformed.
pub fn reply(state: &mut State, waiting: &Waiting, reply: &Reply<'_>) -> Option<()> {
    let mut results = Cursor::new(reply.results.unwrap_or_default());
    let status = results.u32();
    if let Some((handle, offset)) = waiting.read {
        if status == Some(0) {
            return read_results(state, reply.xid, (handle, offset), results);
        }
        return Some(());
    }
    state.answer(reply, status);
    Some(())
}

fn read_results(
    state: &mut State,
    xid: u32,
    (handle, offset): (Handle, u64),
    mut results: Cursor<'_>,
) -> Option<()> {
    results.skip(ATTRIBUTES.0)?;
    let size = u64::from(results.u32()?);
    results.skip(ATTRIBUTES.1)?;
    let (bytes, len) = opaque_begun(&mut results)?;
    let piece = Piece {
        xid,
        version: 2,
        procedure: READ,
        handle,
        offset,
        len,
        bytes,
        last: offset + u64::from(len) >= size,
    };
    state.add_piece(Direction::ToClient, &piece);
    Some(())
}
