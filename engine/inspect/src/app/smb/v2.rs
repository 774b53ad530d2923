//! SMB 2 and 3: what each command's messages say. Source: MS-SMB2, 2.2.
use std::sync::Arc;

use crate::Direction;

use super::events as odd;
use super::header::V2;
use super::pipe::{looks_like_rpc, Passage};
use super::spnego::Credentials;
use super::state::{name_of, Piece, State, Tree, MAX_PIECE_BYTES, UNSEEN_PIPE};
use super::status::{self, Status};
use super::text::{filetime_s, v2_dialect};
use super::transaction::{
    Command, Create, FileId, Key, KeyKind, Kind, Negotiate, Rename, SessionSetup, SetInfo,
    Transaction, TreeConnect,
};

const NEGOTIATE: u16 = 0;
const SESSION_SETUP: u16 = 1;
const TREE_CONNECT: u16 = 3;
const TREE_DISCONNECT: u16 = 4;
const CREATE: u16 = 5;
const CLOSE: u16 = 6;
const READ: u16 = 8;
const WRITE: u16 = 9;
/// IOCTL, which brings a request through a pipe and takes its answer.
pub const IOCTL: u16 = 11;
const GET_INFO: u16 = 16;
const SET_INFO: u16 = 17;

/// `FSCTL_PIPE_TRANSCEIVE`.
const PIPE_TRANSCEIVE: u32 = 0x0011_c017;
/// Dialects that a negotiation may name.
const MAX_DIALECTS: usize = 64;

/// Whether pairs of that command are transactions of their own.
fn is_tracked(command: u16) -> bool {
    !matches!(command, READ | WRITE | GET_INFO | SET_INFO)
}

impl V2<'_> {
    fn key(&self, kind: KeyKind) -> Key {
        Key {
            kind,
            session: self.session,
            tree: if kind == KeyKind::Tree { 0 } else { self.tree },
            message: self.message,
        }
    }

    /// Of a message whatever its tree.
    fn key_of(&self, message: u64) -> Key {
        Key {
            kind: KeyKind::None,
            session: self.session,
            tree: 0,
            message,
        }
    }

    fn passage(&self) -> Passage {
        Passage {
            command: Command::V2(self.command),
            key: self.key(KeyKind::Header),
        }
    }

    fn status(&self) -> Status {
        Status::Nt(self.status)
    }

    fn open(&self, state: &mut State, kind: KeyKind, what: Kind) -> bool {
        state.open(Transaction::request(
            Command::V2(self.command),
            self.key(kind),
            what,
        ));
        true
    }
}

/// Reads a request.
pub fn request(state: &mut State, message: &V2<'_>) {
    let outcome = match message.command {
        NEGOTIATE => negotiate(state, message),
        SESSION_SETUP => session_setup(state, message),
        TREE_CONNECT => tree_connect(state, message),
        TREE_DISCONNECT => {
            state.trees.remove(&(message.session, message.tree));
            Some(false)
        }
        CREATE => create(state, message),
        CLOSE => close(state, message).map(|()| false),
        READ => read(state, message).map(|()| false),
        WRITE => {
            if write(state, message).is_none() {
                state.raise(odd::MALFORMED_DATA);
            }
            Some(true)
        }
        IOCTL => ioctl(state, message),
        SET_INFO => set_info(state, message),
        _ => Some(false),
    };
    let oddities: &[&str] = match outcome {
        Some(true) => return,
        Some(false) => &[],
        None => &[odd::MALFORMED_DATA],
    };
    if is_tracked(message.command) {
        let key = message.key(KeyKind::Pair);
        state.open_generic(Command::V2(message.command), key, oddities);
    }
}

fn negotiate(state: &mut State, message: &V2<'_>) -> Option<bool> {
    let mut at = message.body();
    at.skip(2)?;
    let count = usize::from(at.le16()?);
    at.skip(8)?;
    let client_guid = at.array()?;
    at.skip(8)?;
    let dialects: Option<Vec<_>> = (0..count.min(MAX_DIALECTS))
        .map(|_| Some(v2_dialect(at.le16()?).into_owned().into_bytes()))
        .collect();
    let dialects = dialects?;
    if state.find_negotiate(2).is_some() {
        return Some(true);
    }
    let negotiate = Negotiate {
        version: 2,
        dialects,
        client_guid: Some(client_guid),
        ..Negotiate::default()
    };
    state.open(Transaction::request(
        Command::V2(NEGOTIATE),
        Key::default(),
        Kind::Negotiate(negotiate),
    ));
    Some(true)
}

fn session_setup(state: &mut State, message: &V2<'_>) -> Option<bool> {
    let mut at = message.body();
    at.skip(12)?;
    let (offset, len) = (at.le16()?, at.le16()?);
    let blob = message.buffer(usize::from(offset), usize::from(len));
    let setup = SessionSetup {
        credentials: Credentials::read(blob),
        ..SessionSetup::default()
    };
    let mut tx = Transaction::request(
        Command::V2(SESSION_SETUP),
        message.key(KeyKind::Header),
        Kind::SessionSetup(Box::new(setup)),
    );
    tx.key.tree = 0;
    state.open(tx);
    Some(true)
}

fn tree_connect(state: &mut State, message: &V2<'_>) -> Option<bool> {
    let mut at = message.body();
    at.skip(4)?;
    let (offset, len) = (at.le16()?, at.le16()?);
    let share = name_of(message.buffer(usize::from(offset), usize::from(len)));
    let tree = TreeConnect {
        share,
        ..TreeConnect::default()
    };
    Some(message.open(state, KeyKind::Tree, Kind::TreeConnect(tree)))
}

fn create(state: &mut State, message: &V2<'_>) -> Option<bool> {
    let mut at = message.body();
    at.skip(36)?;
    let (disposition, options) = (at.le32()?, at.le32()?);
    let (offset, len) = (at.le16()?, at.le16()?);
    let name = name_of(message.buffer(usize::from(offset), usize::from(len)));
    let key = message.key_of(message.message);
    state.creating.insert(key, name.clone());
    let create = Create {
        name,
        disposition,
        delete_on_close: options & 0x1000 != 0,
        directory: options & 1 != 0,
        ..Create::default()
    };
    Some(message.open(state, KeyKind::Pair, Kind::Create(Box::new(create))))
}

fn close(state: &mut State, message: &V2<'_>) -> Option<()> {
    let mut at = message.body();
    at.skip(8)?;
    let id = FileId::v2(at.array()?);
    for direction in Direction::BOTH {
        if let Some(tx) = state.close_file(id, direction) {
            tx.status = Some(Status::Nt(status::SUCCESS));
        }
    }
    Some(())
}

/// Remembers what is read.
fn read(state: &mut State, message: &V2<'_>) -> Option<()> {
    let mut at = message.body();
    at.skip(4)?;
    let (len, offset) = (at.le32()?, at.le64()?);
    let id = FileId::v2(at.array()?);
    if is_too_large(len, state.session.max_read) {
        state.raise(odd::READ_REQUEST_TOO_LARGE);
        return Some(());
    }
    state
        .reads
        .insert(message.key_of(message.message), (id, offset));
    Some(())
}

fn is_too_large(len: u32, agreed: u32) -> bool {
    agreed != 0 && len > agreed || len > MAX_PIECE_BYTES
}

fn write(state: &mut State, message: &V2<'_>) -> Option<()> {
    let mut at = message.body();
    at.skip(2)?;
    let start = usize::from(at.le16()?);
    let (len, offset) = (at.le32()?, at.le64()?);
    let id = FileId::v2(at.array()?);
    at.skip(16)?;
    if is_too_large(len, state.session.max_write) {
        state.raise(odd::WRITE_REQUEST_TOO_LARGE);
        return Some(());
    }
    let piece = Piece {
        id,
        offset,
        len,
        bytes: message.buffer(start, len as usize),
    };
    transfer(state, message, Direction::ToServer, &piece);
    Some(())
}

/// Adds a piece to its file, or takes it through its pipe.
fn transfer(state: &mut State, message: &V2<'_>, direction: Direction, piece: &Piece<'_>) {
    if state.extend_file(direction, piece) {
        return;
    }
    let place = (message.session, message.tree);
    let mut tree = state.tree(place.0, place.1);
    let unseen = tree.name.is_empty() && !tree.is_pipe;
    let mut is_rpc = (tree.is_pipe || unseen) && state.is_rpc_pipe(&piece.id);
    if unseen && looks_like_rpc(piece.bytes) {
        tree = Tree {
            name: UNSEEN_PIPE.to_vec(),
            is_pipe: true,
        };
        state.trees.insert(place, tree.clone());
        if !is_rpc {
            state.names.insert(piece.id, UNSEEN_PIPE.to_vec());
        }
        is_rpc = true;
    }
    match (tree.is_pipe, is_rpc, direction) {
        (true, true, Direction::ToServer) => message.passage().write(state, piece.bytes),
        (true, true, Direction::ToClient) => {
            message
                .passage()
                .read(state, message.status, piece.id, piece.bytes);
        }
        (true, false, _) => {}
        (false, ..) => {
            let key = Key {
                message: 0,
                ..message.key(KeyKind::None)
            };
            let name = state.names.get(&piece.id).cloned();
            let name = match direction {
                Direction::ToServer => name.unwrap_or_default(),
                Direction::ToClient => name.unwrap_or_else(|| b"<unknown>".to_vec()),
            };
            let share = match direction {
                Direction::ToServer => Vec::new(),
                Direction::ToClient => tree.name,
            };
            let command = Command::V2(message.command);
            state.open_file(direction, command, key, (&name, share), piece);
        }
    }
}

fn ioctl(state: &mut State, message: &V2<'_>) -> Option<bool> {
    let Some((function, id, data)) = ioctl_data(message, false) else {
        let key = message.key(KeyKind::Header);
        state.open_generic(Command::V2(IOCTL), key, &[odd::MALFORMED_DATA]);
        return Some(true);
    };
    if function == PIPE_TRANSCEIVE && state.is_rpc_pipe(&id) {
        message.passage().write(state, data);
        return Some(true);
    }
    Some(message.open(state, KeyKind::Header, Kind::Ioctl(function)))
}

/// Function, file, and what is sent to it or comes from it.
fn ioctl_data<'a>(message: &V2<'a>, response: bool) -> Option<(u32, FileId, &'a [u8])> {
    let mut at = message.body();
    at.skip(4)?;
    let function = at.le32()?;
    let id = FileId::v2(at.array()?);
    let input = (at.le32()?, at.le32()?);
    if !response {
        at.skip(4)?;
    }
    let output = (at.le32()?, at.le32()?);
    at.skip(if response { 8 } else { 12 })?;
    let (offset, len) = if response { output } else { input };
    let data = message.buffer(offset as usize, len as usize);
    Some((function, id, data))
}

fn set_info(state: &mut State, message: &V2<'_>) -> Option<bool> {
    let mut at = message.body();
    at.skip(2)?;
    let (class, level) = (at.u8()?, at.u8()?);
    let len = at.le32()? as usize;
    let offset = usize::from(at.le16()?);
    at.skip(6)?;
    let id: [u8; 16] = at.array()?;
    let name = state.names.get(&FileId::v2(id)).cloned();
    let mut data = crate::app::cursor::Cursor::new(message.buffer(offset, len));
    let what = match (class, level) {
        (1, 10) => {
            data.skip(16)?;
            let len = data.le32()? as usize;
            let to = name_of(&data.rest()[..len.min(data.rest().len())]);
            Kind::Rename(Rename {
                id: id.to_vec(),
                from: name.unwrap_or_else(|| b"<unknown>".to_vec()),
                to,
            })
        }
        (1, 13) => {
            // In a compound the file was created by the message before, the answer to which is not seen yet.
            let before = message.message.checked_sub(1);
            let created = before.and_then(|id| state.creating.get(&message.key_of(id)).cloned());
            Kind::SetInfo(SetInfo {
                id: id.to_vec(),
                name: name.or(created).unwrap_or_else(|| b"<unknown>".to_vec()),
                subcommand: class.into(),
                level: level.into(),
                delete: data.u8()? & 1 != 0,
            })
        }
        _ => return Some(false),
    };
    Some(message.open(state, KeyKind::Pair, what))
}

/// Reads a response.
pub fn response(state: &mut State, message: &V2<'_>) {
    let mut message = *message;
    if message.asynchronous && !matches!(message.command, READ | IOCTL) {
        let (session, id) = (message.session, message.message);
        let asked = state.find_first(|it| it.key.session == session && it.key.message == id);
        message.tree = asked.map_or(message.tree, |tx| tx.key.tree);
    }
    answer(state, &message);
}

fn answer(state: &mut State, message: &V2<'_>) {
    let good = message.status == status::SUCCESS;
    let outcome = match message.command {
        NEGOTIATE => negotiated(state, message),
        SESSION_SETUP => {
            session_set_up(state, message);
            Some(true)
        }
        TREE_CONNECT => tree_connected(state, message),
        TREE_DISCONNECT => {
            state.trees.remove(&(message.session, message.tree));
            Some(false)
        }
        CREATE if good => created(state, message),
        READ if good || message.status == status::BUFFER_OVERFLOW => {
            if data_read(state, message).is_none() {
                state.raise(odd::MALFORMED_DATA);
            }
            Some(false)
        }
        READ if message.status == status::END_OF_FILE => {
            end_of_file(state, message);
            Some(false)
        }
        WRITE if good => {
            let mut at = message.body();
            at.skip(16).map(|()| false)
        }
        IOCTL => {
            ioctl_done(state, message);
            Some(true)
        }
        _ => Some(false),
    };
    if outcome == Some(true) {
        return;
    }
    let key = message.key(KeyKind::Pair);
    if let Some(tx) = state.find(Command::V2(message.command), key) {
        tx.status = Some(message.status());
        tx.done[1] |= message.status != status::PENDING;
        if outcome.is_none() {
            tx.head.raise(odd::MALFORMED_DATA);
        }
    }
}

fn negotiated(state: &mut State, message: &V2<'_>) -> Option<bool> {
    let mut at = message.body();
    if message.status == status::SUCCESS {
        at.skip(4)?;
        let dialect = at.le16()?;
        at.skip(2)?;
        let guid: [u8; 16] = at.array()?;
        at.skip(8)?;
        let (max_read, max_write) = (at.le32()?, at.le32()?);
        at.skip(20)?;
        if max_read > MAX_PIECE_BYTES {
            state.raise(odd::NEGOTIATE_MAX_READ_SIZE_TOO_LARGE);
        }
        if max_write > MAX_PIECE_BYTES {
            state.raise(odd::NEGOTIATE_MAX_WRITE_SIZE_TOO_LARGE);
        }
        let session = Arc::make_mut(&mut state.session);
        session.dialect = dialect;
        session.max_read = max_read;
        session.max_write = max_write;
        return Some(answer_negotiate(state, message, guid.to_vec()));
    }
    at.skip(2)?;
    let session = Arc::make_mut(&mut state.session);
    session.dialect = 0;
    session.max_read = 0;
    session.max_write = 0;
    Some(answer_negotiate(state, message, Vec::new()))
}

/// An SMB 1 request may have an SMB 2 answer.
fn answer_negotiate(state: &mut State, message: &V2<'_>, guid: Vec<u8>) -> bool {
    let version = if state.find_negotiate(2).is_some() {
        2
    } else {
        1
    };
    let Some(tx) = state.find_negotiate(version) else {
        return false;
    };
    if let Kind::Negotiate(negotiate) = &mut tx.kind {
        negotiate.server_guid = guid;
    }
    tx.answer(message.status());
    true
}

fn session_set_up(state: &mut State, message: &V2<'_>) {
    let key = Key {
        tree: 0,
        ..message.key(KeyKind::Header)
    };
    let is = |key: Key| {
        move |it: &Transaction| it.key == key && matches!(it.kind, Kind::SessionSetup(_))
    };
    let known = message.session != 0 && state.find_first(is(key)).is_some();
    let key = if known {
        key
    } else {
        Key { session: 0, ..key }
    };
    if let Some(tx) = state.find_first(is(key)) {
        tx.key = message.key(KeyKind::Header);
        tx.answer(message.status());
    }
}

fn tree_connected(state: &mut State, message: &V2<'_>) -> Option<bool> {
    let good = message.status == status::SUCCESS;
    let mut at = message.body();
    at.skip(2)?;
    let share_type = if good { at.u8()? } else { 0 };
    if good {
        at.skip(13)?;
    }
    let key = message.key(KeyKind::Tree);
    let found = state.find_first(|it| it.key == key && matches!(it.kind, Kind::TreeConnect(_)));
    let Some(tx) = found else {
        return Some(good);
    };
    tx.answer(message.status());
    if !good {
        return Some(true);
    }
    tx.key = message.key(KeyKind::Header);
    let Kind::TreeConnect(tree) = &mut tx.kind else {
        return Some(true);
    };
    tree.share_type = share_type;
    tree.is_pipe = share_type == 2;
    let tree = Tree {
        name: tree.share.clone(),
        is_pipe: tree.is_pipe,
    };
    state.trees.insert((message.session, message.tree), tree);
    Some(true)
}

fn created(state: &mut State, message: &V2<'_>) -> Option<bool> {
    let mut at = message.body();
    let read = at.skip(8).and_then(|()| {
        let times = [at.le64()?, at.le64()?, at.le64()?, at.le64()?];
        at.skip(8)?;
        let size = at.le64()?;
        at.skip(8)?;
        Some((times.map(filetime_s), size, at.array::<16>()?))
    });
    let Some((times_s, size, id)) = read else {
        state.raise(odd::MALFORMED_DATA);
        return Some(true);
    };
    let key = message.key_of(message.message);
    if let Some(name) = state.creating.remove(&key) {
        state.names.insert(FileId::v2(id), name);
    }
    let key = message.key(KeyKind::Pair);
    if let Some(tx) = state.find(Command::V2(CREATE), key) {
        tx.answer(message.status());
        if let Kind::Create(create) = &mut tx.kind {
            create.times_s = times_s;
            create.size = size;
            create.id = id.to_vec();
        }
    }
    Some(true)
}

fn data_read(state: &mut State, message: &V2<'_>) -> Option<()> {
    let mut at = message.body();
    at.skip(2)?;
    let start = usize::from(at.u8()?);
    at.skip(1)?;
    let len = at.le32()?;
    at.skip(8)?;
    if is_too_large(len, state.session.max_read) {
        state.raise(odd::READ_RESPONSE_TOO_LARGE);
        return Some(());
    }
    let key = message.key_of(message.message);
    let Some((id, offset)) = state.reads.remove(&key) else {
        return Some(());
    };
    let piece = Piece {
        id,
        offset,
        len,
        bytes: message.buffer(start, len as usize),
    };
    transfer(state, message, Direction::ToClient, &piece);
    Some(())
}

fn end_of_file(state: &mut State, message: &V2<'_>) {
    let key = message.key_of(message.message);
    let Some((id, _)) = state.reads.remove(&key) else {
        return;
    };
    if let Some(tx) = state.find_file(id, Direction::ToClient) {
        if !tx.done[0] {
            if let Some(file) = tx.file_mut() {
                file.file.close();
            }
        }
        tx.status = Some(Status::Nt(message.status));
        tx.done[0] = true;
    }
}

fn ioctl_done(state: &mut State, message: &V2<'_>) {
    let data = ioctl_data(message, true);
    if let Some((function, id, data)) = data {
        if function == PIPE_TRANSCEIVE && state.is_rpc_pipe(&id) {
            let none = FileId::default();
            message.passage().read(state, message.status, none, data);
            return;
        }
    }
    let key = message.key(KeyKind::Header);
    let found = state.find_first(|it| {
        let own = Key {
            tree: if message.asynchronous {
                it.key.tree
            } else {
                key.tree
            },
            ..key
        };
        it.command == Command::V2(IOCTL) && it.key == own
    });
    if let Some(tx) = found {
        tx.status = Some(message.status());
        tx.done[1] |= message.status != status::PENDING;
        if data.is_none() && message.status == status::SUCCESS {
            tx.head.raise(odd::MALFORMED_DATA);
        }
    }
}
