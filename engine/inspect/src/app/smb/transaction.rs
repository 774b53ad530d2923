//! What one SMB request and its response, or one file on its way, have shown.
use std::any::Any;
use std::sync::Arc;

use crate::app::dcerpc::Interface;
use crate::app::{AppProto, Description, File, Head, Purpose};
use crate::Direction;

use super::describe::Record;
use super::spnego::Credentials;
use super::status::Status;

/// A file as SMB names it while it is open: sixteen bytes in SMB 2; in SMB 1 two, and the session's four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileId {
    bytes: [u8; 16],
    len: u8,
}

impl FileId {
    /// SMB 2's.
    pub fn v2(bytes: [u8; 16]) -> Self {
        Self { bytes, len: 16 }
    }

    /// SMB 1's, in one session.
    pub fn v1(id: [u8; 2], session: u32) -> Self {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&id);
        bytes[2..6].copy_from_slice(&session.to_le_bytes());
        Self { bytes, len: 6 }
    }

    /// Its bytes; empty where there is no file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What a transaction's key is for: the same message may be in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Nothing: it is not found by its key.
    #[default]
    None,
    /// A request and its response, of any command.
    Pair,
    /// A tree that is being connected, the number of which is not known yet.
    Tree,
    /// Session setups, IOCTLs and what goes through pipes.
    Header,
}

/// What responses have in common with their requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// What for.
    pub kind: KeyKind,
    /// Session.
    pub session: u64,
    /// Share.
    pub tree: u32,
    /// Message, or SMB 1's multiplex.
    pub message: u64,
}

/// A command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// None is known.
    #[default]
    Unknown,
    /// SMB 1's.
    V1(u8),
    /// SMB 2's and 3's.
    V2(u16),
}

/// What the two ends agreed on, as far as it is known; shared by all transactions of the time.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// SMB 2's dialect; 0 where there is none.
    pub dialect: u16,
    /// SMB 1's dialect.
    pub dialect_name: Option<Vec<u8>>,
    /// What the server reads at once; 0 where it did not say.
    pub max_read: u32,
    /// What it takes at once; 0 where it did not say.
    pub max_write: u32,
    /// The interfaces of the newest bind.
    pub interfaces: Option<Vec<Interface>>,
}

/// A file that is read or written.
#[derive(Debug)]
pub struct FileTx {
    /// Which way it goes.
    pub direction: Direction,
    /// How SMB names it while it is open.
    pub id: FileId,
    /// Its share's name.
    pub share: Vec<u8>,
    /// Its bytes, in order.
    pub file: crate::app::pieces::Pieces,
}

/// A share that is connected.
#[derive(Debug, Default)]
pub struct TreeConnect {
    /// It is the share of named pipes.
    pub is_pipe: bool,
    /// SMB 2's type of the share.
    pub share_type: u8,
    /// Its name.
    pub share: Vec<u8>,
    /// SMB 1: what was asked for.
    pub request_service: Option<Vec<u8>>,
    /// SMB 1: what it is.
    pub response_service: Option<Vec<u8>>,
}

/// A dialect that is agreed on.
#[derive(Debug, Default)]
pub struct Negotiate {
    /// 1 or 2: the version of the request.
    pub version: u8,
    /// What the client speaks, as text.
    pub dialects: Vec<Vec<u8>>,
    /// The client's id.
    pub client_guid: Option<[u8; 16]>,
    /// The server's.
    pub server_guid: Vec<u8>,
}

/// A DCE/RPC message and its answer.
#[derive(Debug, Default)]
pub struct Rpc {
    /// The request's type, if it was seen.
    pub request: Option<u8>,
    /// The response's.
    pub response: Option<u8>,
    /// What is called.
    pub opnum: u16,
    /// Presentation context.
    pub context: u16,
    /// What the response has in common with its request.
    pub call: u32,
    /// Fragments by direction.
    pub fragments: [u16; 2],
    /// Arguments and results.
    pub stub: [Vec<u8>; 2],
}

/// A file or directory that is opened or made.
#[derive(Debug, Default)]
pub struct Create {
    /// Its name as sent, without zero bytes.
    pub name: Vec<u8>,
    /// What to do if it is there or is not.
    pub disposition: u32,
    /// It goes when it is closed.
    pub delete_on_close: bool,
    /// It is a directory.
    pub directory: bool,
    /// Made, read, written, changed: seconds since 1970.
    pub times_s: [u32; 4],
    /// Its size.
    pub size: u64,
    /// Its id.
    pub id: Vec<u8>,
}

/// Names that SMB 1's ends give themselves.
#[derive(Debug)]
pub struct Host {
    /// `NativeOS`.
    pub os: Vec<u8>,
    /// `NativeLanMan`.
    pub lan_man: Vec<u8>,
}

/// A session that is set up.
#[derive(Debug, Default)]
pub struct SessionSetup {
    /// Who.
    pub credentials: Credentials,
    /// SMB 1: the client's names.
    pub client: Option<Host>,
    /// SMB 1: the server's.
    pub server: Option<Host>,
}

/// A file that is renamed.
#[derive(Debug)]
pub struct Rename {
    /// Its id.
    pub id: Vec<u8>,
    /// Its name.
    pub from: Vec<u8>,
    /// Its new name.
    pub to: Vec<u8>,
}

/// A file that is to go when it is closed, or not.
#[derive(Debug)]
pub struct SetInfo {
    /// Its id.
    pub id: Vec<u8>,
    /// Its name.
    pub name: Vec<u8>,
    /// SMB 1's subcommand, or SMB 2's class.
    pub subcommand: u16,
    /// SMB 1's level of interest, or SMB 2's.
    pub level: u16,
    /// Whether.
    pub delete: bool,
}

/// What a transaction is about.
#[derive(Debug, Default)]
pub enum Kind {
    /// A command and its status, no more.
    #[default]
    Generic,
    /// See the types.
    File(Box<FileTx>),
    /// …
    TreeConnect(TreeConnect),
    /// …
    Negotiate(Negotiate),
    /// …
    Rpc(Rpc),
    /// …
    Create(Box<Create>),
    /// …
    SessionSetup(Box<SessionSetup>),
    /// A file system's function.
    Ioctl(u32),
    /// …
    Rename(Rename),
    /// …
    SetInfo(SetInfo),
}

/// One of SMB's transactions.
#[derive(Debug, Default)]
pub struct Transaction {
    /// What the engine keeps in it.
    pub head: Head,
    /// By which its response is found.
    pub key: Key,
    /// Its command.
    pub command: Command,
    /// How it went.
    pub status: Option<Status>,
    /// What the ends had agreed on.
    pub session: Arc<Session>,
    /// Sides that are over, by direction; the stages follow when that direction is looked at.
    pub done: [bool; 2],
    /// What it is about.
    pub kind: Kind,
}

impl Transaction {
    /// Of that command, the request of which is over.
    pub fn request(command: Command, key: Key, kind: Kind) -> Self {
        // Whether a share is one of pipes is known with the answer only.
        let request = !matches!(kind, Kind::TreeConnect(_));
        Self {
            key,
            command,
            kind,
            done: [request, false],
            ..Self::default()
        }
    }

    /// The DCE/RPC message, if it is one.
    pub fn rpc(&self) -> Option<&Rpc> {
        match &self.kind {
            Kind::Rpc(rpc) => Some(rpc),
            _ => None,
        }
    }

    /// The file that is on its way, if it is one.
    pub fn file_mut(&mut self) -> Option<&mut FileTx> {
        match &mut self.kind {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }

    /// Says how it went and that nothing more comes.
    pub fn answer(&mut self, status: Status) {
        self.status = Some(status);
        self.done[1] = true;
        self.done[0] |= matches!(self.kind, Kind::TreeConnect(_));
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
        AppProto::Smb
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn files(&self, direction: Direction) -> &[File] {
        match &self.kind {
            Kind::File(tx) if tx.direction == direction => tx.file.as_files(),
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

    fn describe(&self, _: Purpose) -> Option<Description<'_>> {
        Some(("smb", Box::new(Record(self))))
    }

    fn heap_bytes(&self) -> usize {
        match &self.kind {
            Kind::File(tx) => size_of::<FileTx>() + tx.share.capacity() + tx.file.heap_bytes(),
            Kind::Rpc(rpc) => rpc.stub.iter().map(Vec::capacity).sum(),
            Kind::Create(create) => size_of::<Create>() + create.name.capacity(),
            Kind::TreeConnect(tree) => tree.share.capacity(),
            Kind::Negotiate(it) => it.dialects.iter().map(|name| name.capacity() + 24).sum(),
            Kind::Rename(rename) => rename.from.capacity() + rename.to.capacity(),
            Kind::SetInfo(info) => info.name.capacity(),
            Kind::SessionSetup(_) => size_of::<SessionSetup>(),
            Kind::Generic | Kind::Ioctl(_) => 0,
        }
    }
}
