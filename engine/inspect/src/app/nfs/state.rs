//! What a connection remembers, and how its transactions are opened and found again.
use super::rpc::{Call, Credentials, Reply};
use super::transaction::{FileTx, Handle, Kind, Transaction};
use super::{MALFORMED_DATA, TOO_MANY_TRANSACTIONS};
use crate::app::keep::Memory;
use crate::app::pieces::Pieces;
use crate::app::{FileSettings, Store};
use crate::Direction;

/// Transactions that may be open at once.
const MAX_OPEN: usize = 1024;
/// Names and unanswered calls that are remembered.
const MAX_KNOWN: usize = 1024;
/// Longest name that is kept.
const NAME_BYTES: usize = 4096;

/// A call that waits for its reply.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The program's version.
    pub version: u32,
    /// What was called.
    pub procedure: u32,
    /// The name it is about.
    pub name: Vec<u8>,
    /// The file it reads, and from where.
    pub read: Option<(Handle, u64)>,
}

/// Bytes of a file as a message brings them.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The call.
    pub xid: u32,
    /// The program's version.
    pub version: u32,
    /// What was called.
    pub procedure: u32,
    /// Which file.
    pub handle: Handle,
    /// Where they go.
    pub offset: u64,
    /// How many there are.
    pub len: u32,
    /// Those that have come.
    pub bytes: &'a [u8],
    /// The file ends with them.
    pub last: bool,
}

/// What a connection remembers.
#[derive(Debug)]
pub struct State {
    /// Its transactions.
    pub store: Store<Transaction>,
    /// Names of files and directories.
    pub names: Memory<Handle, Vec<u8>>,
    /// Calls by their number.
    pub waiting: Memory<u32, Waiting>,
    /// The file whose bytes are arriving, by direction.
    pub arriving: [Option<u64>; 2],
    files: FileSettings,
}

impl State {
    /// Nothing yet.
    pub fn new(files: FileSettings) -> Self {
        Self {
            store: Store::new(2 * MAX_OPEN),
            names: Memory::new(MAX_KNOWN),
            waiting: Memory::new(MAX_KNOWN),
            arriving: [None; 2],
            files,
        }
    }

    /// Opens a transaction, and the oldest unfinished one is over where there are too many.
    pub fn open(&mut self, transaction: Transaction) -> Option<&mut Transaction> {
        if self.store.iter().len() >= MAX_OPEN {
            let is_open = |it: &Transaction| it.done != [true; 2];
            if let Some(oldest) = self.store.change_first(is_open) {
                oldest.done = [true; 2];
                oldest.head.raise(TOO_MANY_TRANSACTIONS);
            }
        }
        let id = self.store.open(transaction)?;
        self.store.change(id)
    }

    /// Opens the transaction of a call that is not about a file's bytes.
    pub fn open_call(&mut self, call: &Call<'_>, procedure: u32) -> Option<&mut Transaction> {
        self.open(Transaction {
            xid: call.header.xid,
            version: call.header.version,
            has_version: true,
            procedure,
            credentials: call.credentials.clone(),
            done: [true, false],
            ..Transaction::default()
        })
    }

    /// Says how the call went that opened a transaction.
    pub fn answer(&mut self, reply: &Reply<'_>, status: Option<u32>) -> Option<&mut Transaction> {
        let is_its = |it: &Transaction| it.xid == reply.xid && !it.done[1] && it.file().is_none();
        let tx = self.store.change_first(is_its)?;
        tx.reply_state = reply.state;
        tx.status = status.unwrap_or(0);
        tx.done[1] = true;
        Some(tx)
    }

    /// Notes a malformed message on the newest transaction, if there is one.
    pub fn raise_malformed(&mut self) {
        if let Some(tx) = self.store.change_last() {
            tx.head.raise(MALFORMED_DATA);
        }
    }

    /// A file on its way.
    pub fn find_file(&mut self, handle: &Handle, direction: Direction) -> Option<&mut Transaction> {
        self.store.change_first(|it| {
            it.done != [true; 2]
                && it.handle == Some(*handle)
                && it
                    .file()
                    .is_some_and(|file| file.direction == direction && file.last_xid.is_none())
        })
    }

    /// Opens the transaction of a file that a call is about to read, unless there is one.
    pub fn open_read(&mut self, call: &Call<'_>, handle: Handle) {
        if self.find_file(&handle, Direction::ToClient).is_some() {
            return;
        }
        let tx = Transaction {
            xid: call.header.xid,
            version: call.header.version,
            has_version: true,
            procedure: call.header.procedure,
            credentials: call.credentials.clone(),
            ..Transaction::default()
        };
        self.open_file(tx, handle, Direction::ToClient);
    }

    /// Adds bytes to a file on its way, which begins with them where there is none.
    pub fn add_piece(&mut self, direction: Direction, piece: &Piece<'_>) {
        let known = self.find_file(&piece.handle, direction).is_some();
        if !known {
            let tx = Transaction {
                xid: piece.xid,
                version: piece.version,
                has_version: direction == Direction::ToServer,
                procedure: piece.procedure,
                credentials: Credentials::default(),
                ..Transaction::default()
            };
            self.open_file(tx, piece.handle, direction);
        }
        let Some(tx) = self.find_file(&piece.handle, direction) else {
            return;
        };
        let id = tx.head.id;
        if let Some(file) = tx.file_mut() {
            file.chunks = file.chunks.saturating_add(u32::from(known));
            file.pieces.piece(piece.offset, piece.bytes, piece.len);
            file.begun = true;
            file.last_xid = piece.last.then_some(piece.xid);
        }
        tx.settle();
        self.arriving[direction as usize] = Some(id);
    }

    /// Ends a file that was written.
    pub fn end_write(&mut self, handle: &Handle, xid: u32, procedure: u32) {
        let Some(tx) = self.find_file(handle, Direction::ToServer) else {
            return;
        };
        tx.add_procedure(procedure);
        if let Some(file) = tx.file_mut() {
            file.chunks = file.chunks.saturating_add(1);
            file.last_xid = Some(xid);
        }
        tx.settle();
    }

    /// Hands the next bytes of a file to it, or what was lost of them.
    pub fn on_arriving(&mut self, direction: Direction, change: impl FnOnce(&mut Pieces)) {
        let arriving = self.arriving[direction as usize];
        if let Some(tx) = arriving.and_then(|id| self.store.change(id)) {
            if let Some(file) = tx.file_mut() {
                change(&mut file.pieces);
            }
            tx.settle();
        }
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        self.store.heap_bytes()
            + self.names.heap_bytes(Vec::capacity)
            + self.waiting.heap_bytes(|it| it.name.capacity())
    }

    fn open_file(&mut self, mut tx: Transaction, handle: Handle, direction: Direction) {
        tx.name = self.names.get(&handle).cloned().unwrap_or_default();
        tx.handle = Some(handle);
        tx.kind = Kind::File(Box::new(FileTx {
            direction,
            pieces: Pieces::new(&tx.name, &self.files),
            begun: false,
            chunks: 0,
            last_xid: None,
        }));
        self.open(tx);
    }
}

/// A name as it is kept: bounded.
pub fn name_of(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(NAME_BYTES)].to_vec()
}

impl Waiting {
    /// What every call tells.
    pub fn of(call: &Call<'_>) -> Self {
        Self {
            version: call.header.version,
            procedure: call.header.procedure,
            name: Vec::new(),
            read: None,
        }
    }
}
