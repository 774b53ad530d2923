//! What one call and its reply, or one file on its way, have shown.
use std::any::Any;

use smallvec::SmallVec;

use super::describe::{Nfs, Rpc};
use super::rpc::Credentials;
use crate::app::pieces::Pieces;
use crate::app::{AppProto, Description, File, Head, Purpose};
use crate::Direction;

/// Longest handle there is: NFS 4's. Source: RFC 7530, 2.2.2.
const HANDLE_BYTES: usize = 128;
/// Procedures of a file's calls that are remembered.
const MAX_PROCEDURES: usize = 16;

/// By what a server knows a file or directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    bytes: [u8; HANDLE_BYTES],
    len: u8,
}

impl Handle {
    /// `None`: longer than a handle can be.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut handle = Self {
            bytes: [0; HANDLE_BYTES],
            len: u8::try_from(bytes.len()).ok()?,
        };
        handle.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(handle)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?}", self.bytes())
    }
}

/// A file that is read or written.
#[derive(Debug)]
pub struct FileTx {
    /// Which way its bytes go.
    pub direction: Direction,
    /// Its bytes, in order.
    pub pieces: Pieces,
    /// Some of it has come, were it nothing.
    pub begun: bool,
    /// Calls that brought more of it.
    pub chunks: u32,
    /// The call that ended it.
    pub last_xid: Option<u32>,
}

/// What a transaction is about.
#[derive(Debug, Default)]
pub enum Kind {
    /// A call and how it went.
    #[default]
    Plain,
    /// A file or directory gets another name.
    Rename {
        /// The one it had.
        from: Vec<u8>,
        /// The one it gets.
        to: Vec<u8>,
    },
    /// A file on its way.
    File(Box<FileTx>),
}

/// One of NFS's transactions.
#[derive(Debug, Default)]
pub struct Transaction {
    /// What the engine keeps in it.
    pub head: Head,
    /// The call's number.
    pub xid: u32,
    /// The program's version.
    pub version: u32,
    /// Whether `nfs_version` is told; not where a reply opened it, as in Suricata.
    pub has_version: bool,
    /// What was called; in NFS 4 the operation.
    pub procedure: u32,
    /// What else was called on the same file.
    pub procedures: SmallVec<[u32; 2]>,
    /// Who called; of files only where a call of NFS 3 opened them to read.
    pub credentials: Credentials,
    /// The name it is about.
    pub name: Vec<u8>,
    /// The file or directory it is about.
    pub handle: Option<Handle>,
    /// 0 accepted, 1 denied.
    pub reply_state: u32,
    /// How it went.
    pub status: u32,
    /// Sides that are over, by direction; the stages follow when that direction is looked at.
    pub done: [bool; 2],
    /// What it is about.
    pub kind: Kind,
}

impl Transaction {
    /// The file that is on its way, if it is one.
    pub fn file(&self) -> Option<&FileTx> {
        match &self.kind {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }

    /// The same, mutable.
    pub fn file_mut(&mut self) -> Option<&mut FileTx> {
        match &mut self.kind {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }

    /// Remembers that something else was called on the same file.
    pub fn add_procedure(&mut self, procedure: u32) {
        let known = self.procedure == procedure || self.procedures.contains(&procedure);
        if !known && self.procedures.len() < MAX_PROCEDURES {
            self.procedures.push(procedure);
        }
    }

    /// Ends its file if the last of it has come.
    pub fn settle(&mut self) {
        let Kind::File(file) = &mut self.kind else {
            return;
        };
        if file.last_xid.is_some() && !file.pieces.is_arriving() {
            file.pieces.close();
            self.done = [true; 2];
        }
    }
}

impl crate::app::Transaction for Transaction {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn app(&self) -> AppProto {
        AppProto::Nfs
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn files(&self, direction: Direction) -> &[File] {
        match &self.kind {
            Kind::File(file) if file.direction == direction && file.begun => file.pieces.as_files(),
            _ => &[],
        }
    }

    fn is_full(&self, direction: Direction) -> bool {
        let files = self.files(direction);
        !files.is_empty() && files.iter().all(File::is_settled)
    }

    fn is_tellable(&self) -> bool {
        self.done == [true; 2]
    }

    fn describe(&self, purpose: Purpose) -> Option<Description<'_>> {
        // Calls for attributes are most of what a client says, and have no record of their own.
        let is_common = self.version < 4 && self.procedure == 1;
        let hidden = purpose == Purpose::Record && is_common;
        (!hidden).then(|| {
            (
                "nfs",
                Box::new(Nfs(self)) as Box<dyn erased_serde::Serialize>,
            )
        })
    }

    fn describe_also(&self, _: Purpose) -> Option<Description<'_>> {
        Some(("rpc", Box::new(Rpc(self))))
    }

    fn heap_bytes(&self) -> usize {
        let machine = self.credentials.unix.as_ref();
        let kind = match &self.kind {
            Kind::Plain => 0,
            Kind::Rename { from, to } => from.capacity() + to.capacity(),
            Kind::File(file) => size_of::<FileTx>() + file.pieces.heap_bytes(),
        };
        self.name.capacity() + machine.map_or(0, |it| it.0.capacity()) + kind
    }
}
