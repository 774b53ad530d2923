//! NFS 3. Source: RFC 1813, 3.3.
use super::rpc::{Call, Reply};
use super::state::{name_of, Piece, State, Waiting};
use super::transaction::{Handle, Kind};
use super::xdr::{hyper, opaque, opaque_begun};
use crate::app::cursor::Cursor;
use crate::Direction;

const GETATTR: u32 = 1;
const LOOKUP: u32 = 3;
const ACCESS: u32 = 4;
const READ: u32 = 6;
const WRITE: u32 = 7;
const CREATE: u32 = 8;
const MKDIR: u32 = 9;
const REMOVE: u32 = 12;
const RMDIR: u32 = 13;
const RENAME: u32 = 14;
const READDIRPLUS: u32 = 17;
const COMMIT: u32 = 21;

/// A write is on the disk when it is answered, so that no commit follows.
const FILE_SYNC: u32 = 2;
/// A file's attributes.
const ATTRIBUTES_BYTES: usize = 84;
/// Entries of a directory that are read from one reply.
const MAX_ENTRIES: usize = 1024;

/// Whether a call of which a part is there writes, its data begun.
pub fn brings_a_file(call: &Call<'_>) -> bool {
    let mut input = Cursor::new(call.arguments);
    let data = opaque(&mut input).and_then(|_| input.skip(8 + 4 + 4 + 4));
    call.header.procedure == WRITE && data.is_some()
}

/// Reads a call; `None`: it is malformed.
pub fn call(state: &mut State, call: &Call<'_>) -> Option<()> {
    let mut input = Cursor::new(call.arguments);
    let mut waiting = Waiting::of(call);
    let read = match call.header.procedure {
        READ => read(state, call, &mut waiting, &mut input),
        WRITE => write(state, call, &mut input),
        COMMIT => handle(&mut input).map(|it| state.end_write(&it, call.header.xid, COMMIT)),
        _ => plain(state, call, &mut waiting, &mut input),
    };
    state.waiting.insert(call.header.xid, waiting);
    read
}

fn handle(input: &mut Cursor<'_>) -> Option<Handle> {
    Handle::new(opaque(input)?)
}

fn read(
    state: &mut State,
    call: &Call<'_>,
    waiting: &mut Waiting,
    input: &mut Cursor<'_>,
) -> Option<()> {
    let handle = handle(input)?;
    waiting.read = Some((handle, hyper(input)?));
    state.open_read(call, handle);
    Some(())
}

fn write(state: &mut State, call: &Call<'_>, input: &mut Cursor<'_>) -> Option<()> {
    let handle = handle(input)?;
    let offset = hyper(input)?;
    input.u32()?;
    let stable = input.u32()?;
    let (bytes, len) = opaque_begun(input)?;
    let piece = Piece {
        xid: call.header.xid,
        version: 3,
        procedure: WRITE,
        handle,
        offset,
        len,
        bytes,
        last: stable == FILE_SYNC,
    };
    state.add_piece(Direction::ToServer, &piece);
    Some(())
}

/// A call of which there is a transaction, its arguments understood or not.
fn plain(
    state: &mut State,
    call: &Call<'_>,
    waiting: &mut Waiting,
    input: &mut Cursor<'_>,
) -> Option<()> {
    let procedure = call.header.procedure;
    let (about, name, to) = match procedure {
        GETATTR | ACCESS => {
            let about = handle(input);
            let name = about.and_then(|it| state.names.get(&it).cloned());
            (Some(about), name, None)
        }
        LOOKUP => {
            let read = handle(input).and_then(|_| opaque(input));
            // It is about the file that the reply names.
            (read.map(|_| None), read.map(name_of), None)
        }
        CREATE | MKDIR | REMOVE | RMDIR => {
            let directory = handle(input);
            let name = directory.and_then(|_| opaque(input));
            (name.map(|_| directory), name.map(name_of), None)
        }
        RENAME => {
            let directory = handle(input);
            let from = directory.and_then(|_| opaque(input));
            let to = from.and_then(|_| handle(input)).and_then(|_| opaque(input));
            (to.map(|_| directory), from.map(name_of), to.map(name_of))
        }
        READDIRPLUS => (Some(handle(input)), None, None),
        _ => (Some(None), None, None),
    };
    let name = name.unwrap_or_default();
    waiting.name.clone_from(&name);
    if let Some(tx) = state.open_call(call, procedure) {
        tx.handle = about.flatten();
        if let Some(to) = to {
            let from = name.clone();
            tx.kind = Kind::Rename { from, to };
        }
        tx.name = name;
    }
    about.map(|_| ())
}

/// Reads a reply; `None`: it is malformed.
pub fn reply(state: &mut State, waiting: &Waiting, reply: &Reply<'_>) -> Option<()> {
    let mut results = Cursor::new(reply.results.unwrap_or_default());
    let status = results.u32();
    let mut found = None;
    let read = match (waiting.procedure, status) {
        _ if reply.results.is_none() => Some(()),
        (_, None) => None,
        (READ, Some(0)) => read_results(state, waiting, reply.xid, results),
        (LOOKUP, Some(status)) => {
            let handle = handle(&mut results);
            if let (0, Some(handle)) = (status, handle) {
                state.names.insert(handle, waiting.name.clone());
                found = Some(handle);
            }
            handle.map(|_| ())
        }
        (CREATE, Some(0)) => created(&mut results).map(|handle| {
            if let Some(handle) = handle {
                state.names.insert(handle, waiting.name.clone());
            }
        }),
        (READDIRPLUS, Some(0)) => listed(state, results),
        (_, Some(_)) => Some(()),
    };
    if let Some(tx) = state.answer(reply, status) {
        tx.handle = found.or(tx.handle);
    }
    read
}

/// The handle of a file that was made, where the server says it.
fn created(results: &mut Cursor<'_>) -> Option<Option<Handle>> {
    match results.u32()? {
        0 => Some(None),
        _ => handle(results).map(Some),
    }
}

fn skip_attributes(input: &mut Cursor<'_>) -> Option<()> {
    match input.u32()? {
        0 => Some(()),
        _ => input.skip(ATTRIBUTES_BYTES),
    }
}

fn read_results(
    state: &mut State,
    waiting: &Waiting,
    xid: u32,
    mut results: Cursor<'_>,
) -> Option<()> {
    let (handle, offset) = waiting.read?;
    skip_attributes(&mut results)?;
    results.u32()?;
    let last = results.u32()? != 0;
    let (bytes, len) = opaque_begun(&mut results)?;
    let piece = Piece {
        xid,
        version: 3,
        procedure: READ,
        handle,
        offset,
        len,
        bytes,
        last,
    };
    state.add_piece(Direction::ToClient, &piece);
    Some(())
}

/// Learns the names of a directory's entries.
fn listed(state: &mut State, mut results: Cursor<'_>) -> Option<()> {
    skip_attributes(&mut results)?;
    hyper(&mut results)?;
    for _ in 0..MAX_ENTRIES {
        if results.u32()? == 0 {
            break;
        }
        hyper(&mut results)?;
        let name = name_of(opaque(&mut results)?);
        hyper(&mut results)?;
        skip_attributes(&mut results)?;
        if results.u32()? != 0 {
            state.names.insert(handle(&mut results)?, name);
        }
    }
    Some(())
}
