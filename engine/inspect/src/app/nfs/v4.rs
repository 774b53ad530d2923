//! NFS 4.0 and 4.1: compounds of operations. Sources: RFC 7530, 16; RFC 8881, 18.
//!
//! Of most operations only the length is of interest: what follows begins there. Reading ends at an operation that is
//! not known.
use super::rpc::{Call, Reply};
use super::state::{name_of, Piece, State, Waiting};
use super::transaction::Handle;
use super::xdr::{hyper, opaque, opaque_begun, skip_words};
use crate::app::cursor::Cursor;
use crate::Direction;

const COMPOUND: u32 = 1;

const CLOSE: u32 = 4;
const COMMIT: u32 = 5;
const CREATE: u32 = 6;
const GETFH: u32 = 10;
const LOCK: u32 = 12;
const OPEN: u32 = 18;
const PUTFH: u32 = 22;
const READ: u32 = 25;
const READDIR: u32 = 26;
const REMOVE: u32 = 28;
const SETATTR: u32 = 34;
const WRITE: u32 = 38;
const EXCHANGE_ID: u32 = 42;
const CREATE_SESSION: u32 = 43;

/// A write is on the disk when it is answered, so that no commit follows.
const FILE_SYNC: u32 = 2;
/// Operations of one compound that are read.
const MAX_OPERATIONS: usize = 128;
/// A state's id.
const STATE_BYTES: usize = 16;
/// What a directory's change tells.
const CHANGE_BYTES: usize = 20;

/// A part of an operation that is passed over.
#[derive(Clone, Copy)]
enum Part {
    /// That many bytes.
    Bytes(usize),
    /// Opaque data.
    Opaque,
    /// An array of words.
    Words,
}
use Part::{Bytes, Opaque, Words};

/// A file's attributes: which, and their values.
const ATTRIBUTES: [Part; 2] = [Words, Opaque];

/// What an operation's arguments are made of; `None`: not known.
fn arguments(operation: u32) -> Option<&'static [Part]> {
    Some(match operation {
        3 | 19 | 52 | 58 => &[Bytes(4)],
        COMMIT => &[Bytes(12)],
        7 | 30 | 57 => &[Bytes(8)],
        8 | 44 | 45 | 36 => &[Bytes(STATE_BYTES)],
        9 => &[Words],
        GETFH | 16 | 23 | 24 | 27 | 31 | 32 => &[],
        11 | 15 | REMOVE | 33 => &[Opaque],
        13 => &[Bytes(28), Opaque],
        14 => &[Bytes(8 + STATE_BYTES + 16)],
        17 | 37 => &ATTRIBUTES,
        20 => &[Bytes(STATE_BYTES + 4)],
        21 => &[Bytes(STATE_BYTES + 12)],
        READDIR => &[Bytes(24), Words],
        29 => &[Opaque, Opaque],
        SETATTR => &[Bytes(STATE_BYTES), Words, Opaque],
        35 => &[Bytes(8), Opaque, Bytes(4), Opaque, Opaque, Bytes(4)],
        39 => &[Bytes(8), Opaque],
        41 => &[Bytes(24)],
        47 => &[Bytes(24), Words],
        50 => &[Bytes(36 + STATE_BYTES + 4)],
        53 => &[Bytes(32)],
        _ => return None,
    })
}

/// What an operation's results are made of where it succeeded; `None`: not known.
fn results(operation: u32) -> Option<&'static [Part]> {
    Some(match operation {
        3 | COMMIT => &[Bytes(8)],
        CLOSE | LOCK | 14 | 20 | 21 => &[Bytes(STATE_BYTES)],
        CREATE => &[Bytes(CHANGE_BYTES), Words],
        7 | 8 | 13 | 15 | 16 | 17 | 19 | PUTFH | 23 | 24 | 30 | 31 | 32 | 36 | 37 | 39 | 44
        | 45 | 57 | 58 => &[],
        9 => &ATTRIBUTES,
        11 | REMOVE => &[Bytes(CHANGE_BYTES)],
        27 => &[Opaque],
        29 => &[Bytes(2 * CHANGE_BYTES)],
        SETATTR => &[Words],
        35 => &[Bytes(16)],
        WRITE => &[Bytes(16)],
        41 => &[Bytes(24)],
        53 => &[Bytes(36)],
        _ => return None,
    })
}

fn skip(input: &mut Cursor<'_>, parts: &[Part]) -> Option<()> {
    parts.iter().try_for_each(|part| match part {
        Bytes(len) => input.skip(*len),
        Opaque => opaque(input).map(|_| ()),
        Words => skip_words(input),
    })
}

/// Whether a call of which a part is there writes, its data begun.
pub fn brings_a_file(call: &Call<'_>) -> bool {
    let mut input = Cursor::new(call.arguments);
    let mut reach = || {
        opaque(&mut input)?;
        input.skip(4 + 4)?;
        loop {
            match input.u32()? {
                WRITE => return input.skip(STATE_BYTES + 8 + 4 + 4),
                PUTFH => skip(&mut input, &[Opaque])?,
                CLOSE => input.skip(4 + STATE_BYTES)?,
                other => skip(&mut input, arguments(other)?)?,
            }
        }
    };
    reach().is_some()
}

/// Whether results of which a part is there hold what was read, its data begun.
pub fn answers_with_a_file(bytes: &[u8]) -> bool {
    let mut input = Cursor::new(bytes);
    let mut reach = || {
        input.u32()?;
        opaque(&mut input)?;
        input.u32()?;
        loop {
            match (input.u32()?, input.u32()?) {
                (READ, 0) => return input.skip(4 + 4),
                (other, 0) => skip(&mut input, results(other)?)?,
                _ => return None,
            }
        }
    };
    reach().is_some()
}

/// Reads a call; `None`: it is malformed, or holds an operation that is not known.
pub fn call(state: &mut State, call: &Call<'_>) -> Option<()> {
    if call.header.procedure != COMPOUND {
        return Some(());
    }
    let mut compound = Compound {
        call,
        waiting: Waiting::of(call),
        current: None,
        main: None,
    };
    let read = compound.read(state);
    let Compound {
        waiting,
        main,
        current,
        ..
    } = compound;
    if let Some(operation) = main {
        if let Some(tx) = state.open_call(call, operation) {
            tx.name.clone_from(&waiting.name);
            tx.handle = current;
        }
    }
    state.waiting.insert(call.header.xid, waiting);
    read
}

/// A compound that is read.
struct Compound<'a> {
    call: &'a Call<'a>,
    waiting: Waiting,
    /// The file that operations are about.
    current: Option<Handle>,
    /// The operation that makes it a transaction of its own.
    main: Option<u32>,
}

impl Compound<'_> {
    fn read(&mut self, state: &mut State) -> Option<()> {
        let mut input = Cursor::new(self.call.arguments);
        opaque(&mut input)?;
        input.u32()?;
        let count = input.u32()?;
        for _ in 0..(count as usize).min(MAX_OPERATIONS) {
            let operation = input.u32()?;
            self.operation(state, operation, &mut input)?;
        }
        Some(())
    }

    fn operation(
        &mut self,
        state: &mut State,
        operation: u32,
        input: &mut Cursor<'_>,
    ) -> Option<()> {
        let xid = self.call.header.xid;
        match operation {
            PUTFH => self.current = Some(Handle::new(opaque(input)?)?),
            READ => {
                input.skip(STATE_BYTES)?;
                let offset = hyper(input)?;
                input.u32()?;
                self.waiting.read = self.current.map(|handle| (handle, offset));
            }
            WRITE => self.write(state, input)?,
            CLOSE | COMMIT => {
                input.skip(if operation == CLOSE {
                    4 + STATE_BYTES
                } else {
                    12
                })?;
                if let Some(handle) = &self.current {
                    state.end_write(handle, xid, operation);
                }
            }
            OPEN => self.waiting.name = name_of(open(input)?),
            CREATE => {
                match input.u32()? {
                    // A device's numbers, a link's target.
                    3 | 4 => input.skip(8)?,
                    5 => opaque(input).map(|_| ())?,
                    _ => {}
                }
                self.waiting.name = name_of(opaque(input)?);
                self.main = Some(operation);
                skip(input, &ATTRIBUTES)?;
            }
            REMOVE => {
                self.waiting.name = name_of(opaque(input)?);
                self.main = Some(operation);
            }
            LOCK => {
                input.skip(24)?;
                match input.u32()? {
                    0 => input.skip(STATE_BYTES + 4)?,
                    _ => skip(input, &[Bytes(4 + STATE_BYTES + 4 + 8), Opaque])?,
                }
            }
            EXCHANGE_ID => {
                skip(input, &[Bytes(8), Opaque, Bytes(4)])?;
                implementation(input)?;
            }
            CREATE_SESSION => {
                input.skip(16)?;
                channels(input)?;
                input.u32()?;
                // What callbacks would authenticate with comes last; more than one, or none, ends the reading.
                match (input.u32()?, input.u32()?) {
                    (1, 0) => {}
                    (1, 1) => skip(input, &[Bytes(4), Opaque, Bytes(8), Words])?,
                    _ => return None,
                }
            }
            other => skip(input, arguments(other)?)?,
        }
        Some(())
    }

    fn write(&mut self, state: &mut State, input: &mut Cursor<'_>) -> Option<()> {
        input.skip(STATE_BYTES)?;
        let offset = hyper(input)?;
        let stable = input.u32()?;
        let (bytes, len) = opaque_begun(input)?;
        let piece = Piece {
            xid: self.call.header.xid,
            version: 4,
            procedure: WRITE,
            handle: self.current?,
            offset,
            len,
            bytes,
            last: stable == FILE_SYNC,
        };
        state.add_piece(Direction::ToServer, &piece);
        Some(())
    }
}

/// What is opened: its name, empty where it is told otherwise. Source: RFC 8881, 18.16.
fn open<'a>(input: &mut Cursor<'a>) -> Option<&'a [u8]> {
    skip(input, &[Bytes(12 + 8), Opaque])?;
    if input.u32()? == 1 {
        match input.u32()? {
            0 | 1 => skip(input, &ATTRIBUTES)?,
            2 => input.skip(8)?,
            _ => skip(input, &[Bytes(8), Words, Opaque])?,
        }
    }
    match input.u32()? {
        0 | 3 => opaque(input),
        1 => input.skip(4).map(|()| &[][..]),
        2 => {
            input.skip(STATE_BYTES)?;
            opaque(input)
        }
        5 => input.skip(STATE_BYTES).map(|()| &[][..]),
        _ => Some(&[]),
    }
}

/// No protection of state, and who wrote the software.
fn implementation(input: &mut Cursor<'_>) -> Option<()> {
    if input.u32()? != 0 {
        return None;
    }
    match input.u32()? {
        0 => Some(()),
        1 => skip(input, &[Opaque, Opaque, Bytes(12)]),
        _ => None,
    }
}

/// What two channels can carry.
fn channels(input: &mut Cursor<'_>) -> Option<()> {
    skip(input, &[Bytes(24), Words, Bytes(24), Words])
}

/// Reads a reply; `None`: it is malformed, or holds an operation that is not known.
pub fn reply(state: &mut State, waiting: &Waiting, reply: &Reply<'_>) -> Option<()> {
    let Some(bytes) = reply.results else {
        state.answer(reply, None);
        return Some(());
    };
    let mut answer = Answer::default();
    let read = answer.read(state, waiting, reply.xid, bytes);
    if let Some(status) = answer.status {
        state.answer(reply, Some(status));
    }
    read
}

/// A compound's results as far as they were read.
#[derive(Default)]
struct Answer {
    /// How the operation went that made it a transaction.
    status: Option<u32>,
    /// A file was opened.
    opened: bool,
}

impl Answer {
    fn read(&mut self, state: &mut State, waiting: &Waiting, xid: u32, bytes: &[u8]) -> Option<()> {
        let mut input = Cursor::new(bytes);
        input.u32()?;
        opaque(&mut input)?;
        let count = input.u32()?;
        for _ in 0..(count as usize).min(MAX_OPERATIONS) {
            let operation = input.u32()?;
            let status = input.u32()?;
            if matches!(operation, CREATE | REMOVE) {
                self.status = Some(status);
            }
            match operation {
                // Says what was changed although it failed.
                SETATTR => skip_words(&mut input)?,
                _ if status != 0 => return Some(()),
                _ => self.operation(state, waiting, (xid, operation), &mut input)?,
            }
        }
        Some(())
    }

    fn operation(
        &mut self,
        state: &mut State,
        waiting: &Waiting,
        (xid, operation): (u32, u32),
        input: &mut Cursor<'_>,
    ) -> Option<()> {
        match operation {
            GETFH => {
                let handle = Handle::new(opaque(input)?)?;
                if self.opened && !waiting.name.is_empty() {
                    state.names.insert(handle, waiting.name.clone());
                }
            }
            OPEN => {
                self.opened = true;
                skip(input, &[Bytes(STATE_BYTES + CHANGE_BYTES + 4), Words])?;
                delegation(input)?;
            }
            READ => {
                let last = input.u32()? != 0;
                let (bytes, len) = opaque_begun(input)?;
                let (handle, offset) = waiting.read?;
                let piece = Piece {
                    xid,
                    version: 4,
                    procedure: READ,
                    handle,
                    offset,
                    len,
                    bytes,
                    last,
                };
                state.add_piece(Direction::ToClient, &piece);
            }
            READDIR => {
                input.skip(8)?;
                while input.u32()? != 0 {
                    skip(input, &[Bytes(8), Opaque, Words, Opaque])?;
                }
                input.u32()?;
            }
            EXCHANGE_ID => {
                input.skip(16)?;
                if input.u32()? != 0 {
                    return None;
                }
                skip(input, &[Bytes(8), Opaque, Opaque])?;
                match input.u32()? {
                    0 => {}
                    1 => skip(input, &[Opaque, Opaque, Bytes(12)])?,
                    _ => return None,
                }
            }
            CREATE_SESSION => {
                input.skip(24)?;
                channels(input)?;
            }
            other => skip(input, results(other)?)?,
        }
        Some(())
    }
}

/// What a server leaves to the client that opens a file. Source: RFC 8881, 18.16.2.
fn delegation(input: &mut Cursor<'_>) -> Option<()> {
    let entry = [Bytes(12), Opaque];
    match input.u32()? {
        0 => Some(()),
        1 => {
            input.skip(STATE_BYTES + 4)?;
            skip(input, &entry)
        }
        2 => {
            input.skip(STATE_BYTES + 4 + 4 + 8)?;
            skip(input, &entry)
        }
        3 => match input.u32()? {
            1 | 2 => input.skip(4),
            _ => Some(()),
        },
        _ => None,
    }
}
