//! What a connection remembers, and how its transactions are opened and found again.
use std::sync::Arc;

use crate::app::{FileSettings, Store};
use crate::Direction;

use super::events;
use super::transaction::{Command, FileId, FileTx, Key, Kind, Negotiate, Session, Transaction};
use crate::app::keep::Memory;
use crate::app::pieces::{Oddity, Pieces};

/// Transactions that may be open at once.
pub const MAX_OPEN: usize = 1024;
/// Files, shares and unanswered messages that are remembered.
const MAX_KNOWN: usize = 1024;
/// Longest name that is kept.
pub const NAME_BYTES: usize = 4096;
/// DCE/RPC data units that are waiting for their rest.
const MAX_PARTIAL: usize = 16;
/// A piece of a file larger than this is not believed.
pub const MAX_PIECE_BYTES: u32 = 16 << 20;

/// The name that a pipe gets whose opening was not seen, told by what goes through it.
pub const UNSEEN_PIPE: &[u8] = b"suricata::dcerpc";

/// Pipes through which DCE/RPC is expected to go.
const PIPES: &[&[u8]] = &[
    b"svcctl",
    b"srvsvc",
    b"atsvc",
    b"lsarpc",
    b"samr",
    b"spoolss",
    b"winreg",
    UNSEEN_PIPE,
];

/// A share that is connected.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Its name.
    pub name: Vec<u8>,
    /// It is the share of pipes.
    pub is_pipe: bool,
}

/// A piece of a file as a message brings it.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Which file.
    pub id: FileId,
    /// Where it goes.
    pub offset: u64,
    /// How long it is.
    pub len: u32,
    /// What is there of it.
    pub bytes: &'a [u8],
}

/// What a connection remembers.
#[derive(Debug)]
pub struct State {
    /// Its transactions.
    pub store: Store<Transaction>,
    /// What the ends agreed on.
    pub session: Arc<Session>,
    /// Names of open files.
    pub names: Memory<FileId, Vec<u8>>,
    /// Names of files that are being opened.
    pub creating: Memory<Key, Vec<u8>>,
    /// SMB 1: files that requests named and responses do not.
    pub named: Memory<Key, FileId>,
    /// Files and places that are being read.
    pub reads: Memory<Key, (FileId, u64)>,
    /// Shares by session and number.
    pub trees: Memory<(u64, u32), Tree>,
    /// Beginnings of DCE/RPC data units.
    pub partial: Memory<(u64, u32, FileId), Vec<u8>>,
    /// The file whose piece is arriving, by direction.
    pub arriving: [Option<u64>; 2],
    files: FileSettings,
}

impl State {
    /// Nothing yet.
    pub fn new(files: FileSettings) -> Self {
        Self {
            store: Store::new(2 * MAX_OPEN),
            session: Arc::default(),
            names: Memory::new(MAX_KNOWN),
            creating: Memory::new(MAX_KNOWN),
            named: Memory::new(MAX_KNOWN),
            reads: Memory::new(MAX_KNOWN),
            trees: Memory::new(MAX_KNOWN),
            partial: Memory::new(MAX_PARTIAL),
            arriving: [None; 2],
            files,
        }
    }

    /// Opens a transaction, and the oldest unfinished one is over where there are too many.
    pub fn open(&mut self, mut transaction: Transaction) -> Option<&mut Transaction> {
        if self.store.iter().len() >= MAX_OPEN {
            let is_open = |it: &Transaction| it.done != [true; 2];
            if let Some(oldest) = self.store.change_first(is_open) {
                oldest.done = [true; 2];
                oldest.head.raise(events::TOO_MANY_TRANSACTIONS);
            }
        }
        transaction.session = self.session.clone();
        let id = self.store.open(transaction)?;
        self.store.change(id)
    }

    /// Opens a transaction that is a command and its status.
    pub fn open_generic(&mut self, command: Command, key: Key, oddities: &[&'static str]) {
        if let Some(tx) = self.open(Transaction::request(command, key, Kind::Generic)) {
            oddities.iter().for_each(|event| tx.head.raise(event));
        }
    }

    /// The oldest transaction of that command and key.
    pub fn find(&mut self, command: Command, key: Key) -> Option<&mut Transaction> {
        self.find_first(|it| it.command == command && it.key == key)
    }

    /// The oldest unfinished transaction for which `wanted` holds; it gets what the ends agreed on meanwhile.
    pub fn find_first(
        &mut self,
        wanted: impl Fn(&Transaction) -> bool,
    ) -> Option<&mut Transaction> {
        let tx = self
            .store
            .change_first(|it| it.done != [true; 2] && wanted(it))?;
        tx.session = self.session.clone();
        Some(tx)
    }

    /// The negotiation that a request of that version began.
    pub fn find_negotiate(&mut self, version: u8) -> Option<&mut Transaction> {
        self.find_first(|it| {
            matches!(&it.kind, Kind::Negotiate(Negotiate { version: of, .. }) if *of == version)
        })
    }

    /// Notes an oddity on the newest transaction, if there is one.
    pub fn raise(&mut self, event: &'static str) {
        if let Some(tx) = self.store.change_last() {
            tx.head.raise(event);
        }
    }

    /// The share of that session and number.
    pub fn tree(&self, session: u64, tree: u32) -> Tree {
        self.trees
            .get(&(session, tree))
            .cloned()
            .unwrap_or_default()
    }

    /// Whether a pipe of that name is open as `id`, through which DCE/RPC goes.
    pub fn is_rpc_pipe(&self, id: &FileId) -> bool {
        let Some(name) = self.names.get(id) else {
            return false;
        };
        let name = match name.as_slice() {
            [b'\\', rest @ ..] if !rest.is_empty() => rest,
            name => name,
        };
        PIPES.contains(&name)
    }

    /// The transaction of a file on its way.
    pub fn find_file(&mut self, id: FileId, direction: Direction) -> Option<&mut Transaction> {
        self.find_first(
            |it| matches!(&it.kind, Kind::File(file) if file.id == id && file.direction == direction),
        )
    }

    /// Adds a piece to a file on its way; false where there is none.
    pub fn extend_file(&mut self, direction: Direction, piece: &Piece<'_>) -> bool {
        let Some(tx) = self.find_file(piece.id, direction) else {
            return false;
        };
        let tx_id = tx.head.id;
        let odd = tx
            .file_mut()
            .and_then(|file| file.file.piece(piece.offset, piece.bytes, piece.len));
        self.arriving[direction as usize] = Some(tx_id);
        if let Some(odd) = odd {
            self.raise(event_of(odd, direction));
        }
        true
    }

    /// Opens the transaction of a file on its way, with its first piece.
    pub fn open_file(
        &mut self,
        direction: Direction,
        command: Command,
        key: Key,
        (name, share): (&[u8], Vec<u8>),
        piece: &Piece<'_>,
    ) {
        let file = FileTx {
            direction,
            id: piece.id,
            share,
            file: Pieces::new(name, &self.files),
        };
        self.open(Transaction {
            key,
            command,
            kind: Kind::File(Box::new(file)),
            ..Transaction::default()
        });
        self.extend_file(direction, piece);
    }

    /// Closes a file on its way; whether there was one.
    pub fn close_file(&mut self, id: FileId, direction: Direction) -> Option<&mut Transaction> {
        let tx = self.find_file(id, direction)?;
        if !tx.done[0] {
            if let Some(file) = tx.file_mut() {
                file.file.close();
            }
        }
        tx.done = [true; 2];
        Some(tx)
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        self.store.heap_bytes()
            + self.names.heap_bytes(Vec::capacity)
            + self.creating.heap_bytes(Vec::capacity)
            + self.named.heap_bytes(|_| 0)
            + self.reads.heap_bytes(|_| 0)
            + self.trees.heap_bytes(|tree| tree.name.capacity())
            + self.partial.heap_bytes(Vec::capacity)
    }
}

fn event_of(odd: Oddity, direction: Direction) -> &'static str {
    match (odd, direction) {
        (Oddity::Overlap, _) => events::FILE_OVERLAP,
        (Oddity::TooMany, Direction::ToServer) => events::WRITE_QUEUE_CNT_EXCEEDED,
        (Oddity::TooMany, Direction::ToClient) => events::READ_QUEUE_CNT_EXCEEDED,
        (Oddity::TooMuch, Direction::ToServer) => events::WRITE_QUEUE_SIZE_EXCEEDED,
        (Oddity::TooMuch, Direction::ToClient) => events::READ_QUEUE_SIZE_EXCEEDED,
    }
}

/// A name as it is kept: bounded, zero bytes left out.
pub fn name_of(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(NAME_BYTES)];
    bytes.iter().copied().filter(|byte| *byte != 0).collect()
}
