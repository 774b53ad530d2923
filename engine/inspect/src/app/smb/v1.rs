//! SMB 1: what each command's messages say. Source: MS-CIFS, 2.2.4; MS-SMB, 2.2.4.
use std::sync::Arc;

use crate::app::cursor::Cursor;
use crate::Direction;

use super::events as odd;
use super::header::{V1, V1_BYTES};
use super::pipe::Passage;
use super::spnego::Credentials;
use super::state::{name_of, Piece, State, Tree, NAME_BYTES};
use super::status::{self, Status};
use super::text::filetime_s;
use super::transaction::{
    Command, Create, FileId, Host, Key, KeyKind, Kind, Negotiate, Rename, SessionSetup, SetInfo,
    Transaction, TreeConnect,
};

const CLOSE: u8 = 0x04;
const RENAME: u8 = 0x07;
const WRITE: u8 = 0x0b;
const LOCKING_ANDX: u8 = 0x24;
const TRANS: u8 = 0x25;
const WRITE_AND_CLOSE: u8 = 0x2c;
const OPEN_ANDX: u8 = 0x2d;
const READ_ANDX: u8 = 0x2e;
const WRITE_ANDX: u8 = 0x2f;
const TRANS2: u8 = 0x32;
const TRANS2_SECONDARY: u8 = 0x33;
const TREE_DISCONNECT: u8 = 0x71;
const NEGOTIATE: u8 = 0x72;
const SESSION_SETUP_ANDX: u8 = 0x73;
const LOGOFF_ANDX: u8 = 0x74;
const TREE_CONNECT_ANDX: u8 = 0x75;
const NT_CREATE_ANDX: u8 = 0xa2;
const NT_CANCEL: u8 = 0xa4;
const NONE: u8 = 0xff;

/// Commands that one message may chain.
const MAX_CHAIN: usize = 16;
/// Dialects that a negotiation may name.
const MAX_DIALECTS: usize = 64;

/// TRANS2's subcommands and levels of interest.
const SET_PATH_INFO: u16 = 6;
const SET_FILE_INFO: u16 = 8;
const DISPOSITION: u16 = 1013;
const RENAME_LEVEL: u16 = 1010;

/// Whether pairs of that command are transactions of their own.
fn is_tracked(command: u8) -> bool {
    !matches!(command, READ_ANDX | WRITE_ANDX | TRANS | TRANS2)
}

fn is_andx(command: u8) -> bool {
    matches!(
        command,
        LOCKING_ANDX
            | OPEN_ANDX
            | READ_ANDX
            | WRITE_ANDX
            | SESSION_SETUP_ANDX
            | LOGOFF_ANDX
            | TREE_CONNECT_ANDX
            | NT_CREATE_ANDX
    )
}

/// One command of a message's chain.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    message: &'a V1<'a>,
    command: u8,
    /// Where its words begin, counted from the message's header.
    start: usize,
}

impl<'a> Part<'a> {
    /// The command's words and bytes; a chained command's begin where the one before said.
    fn cursor(&self) -> Cursor<'a> {
        let body = self.message.body;
        Cursor::new(body.get(self.start - V1_BYTES..).unwrap_or_default())
    }

    /// Up to `len` bytes from `offset`, which counts from the header's first byte.
    fn buffer(&self, offset: usize, len: usize) -> &'a [u8] {
        let rest = offset
            .checked_sub(V1_BYTES)
            .and_then(|at| self.message.body.get(at..))
            .unwrap_or_default();
        &rest[..len.min(rest.len())]
    }

    /// A string that ends in a zero, and which, if it is UTF-16, begins at an even place.
    fn string(&self, at: &mut Cursor<'a>) -> Option<Vec<u8>> {
        let place = self.message.body.len() - at.rest().len();
        if self.message.unicode {
            if place % 2 == 1 {
                at.skip(1)?;
            }
            return wide_string(at);
        }
        narrow_string(at)
    }

    fn key(&self, kind: KeyKind) -> Key {
        let tree = u32::from(self.message.tree);
        Key {
            kind,
            session: self.message.session.into(),
            tree: if kind == KeyKind::Tree { 0 } else { tree },
            message: self.message.multiplex.into(),
        }
    }

    fn place(&self) -> (u64, u32) {
        (self.message.session.into(), self.message.tree.into())
    }

    fn status(&self) -> Status {
        Status::v1(self.message.status, self.message.dos_error)
    }

    fn file(&self, id: [u8; 2]) -> FileId {
        FileId::v1(id, self.message.session)
    }

    fn passage(&self) -> Passage {
        Passage {
            command: Command::V1(self.command),
            key: self.key(KeyKind::Header),
        }
    }

    fn open(&self, state: &mut State, kind: KeyKind, what: Kind) {
        let command = Command::V1(self.command);
        state.open(Transaction::request(command, self.key(kind), what));
    }

    fn next(&self) -> Option<Self> {
        if !is_andx(self.command) {
            return None;
        }
        let mut at = self.cursor();
        at.skip(1)?;
        let command = at.u8()?;
        at.skip(1)?;
        let start = usize::from(at.le16()?);
        let inside = start > self.start && start - V1_BYTES < self.message.body.len();
        (inside && command != NONE).then_some(Self {
            command,
            start,
            ..*self
        })
    }
}

fn wide_string(at: &mut Cursor<'_>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        match at.array::<2>()? {
            [0, 0] => return Some(text),
            [low, _] if text.len() < NAME_BYTES => text.push(low),
            _ => {}
        }
    }
}

fn narrow_string(at: &mut Cursor<'_>) -> Option<Vec<u8>> {
    let end = memchr::memchr(0, at.rest())?;
    let text = at.take(end)?;
    at.skip(1)?;
    Some(text[..text.len().min(NAME_BYTES)].to_vec())
}

/// Reads a message's commands one by one.
pub fn read(state: &mut State, message: &V1<'_>, direction: Direction) {
    let mut part = Part {
        message,
        command: message.command,
        start: V1_BYTES,
    };
    for _ in 0..MAX_CHAIN {
        match direction {
            Direction::ToServer => request(state, &part),
            Direction::ToClient => response(state, &part),
        }
        match part.next() {
            Some(next) => part = next,
            None => return,
        }
    }
}

fn request(state: &mut State, part: &Part<'_>) {
    let outcome = match part.command {
        NEGOTIATE => negotiate(state, part),
        SESSION_SETUP_ANDX => {
            session_setup(state, part);
            Some(true)
        }
        TREE_CONNECT_ANDX => tree_connect(state, part),
        TREE_DISCONNECT => {
            state.trees.remove(&part.place());
            Some(false)
        }
        NT_CREATE_ANDX => create(state, part),
        CLOSE => close(state, part).map(|()| false),
        RENAME => rename(state, part),
        READ_ANDX => read_andx(state, part).map(|()| false),
        WRITE | WRITE_ANDX | WRITE_AND_CLOSE => {
            let outcome = write(state, part);
            open_generic(state, part, outcome.is_none());
            return;
        }
        TRANS => {
            let outcome = trans(state, part);
            open_generic(state, part, outcome.is_none());
            return;
        }
        TRANS2 => trans2(state, part),
        _ => Some(false),
    };
    if outcome == Some(true) || !is_tracked(part.command) {
        return;
    }
    let oddities: &[&str] = match outcome {
        None => &[odd::MALFORMED_DATA],
        Some(_) => &[],
    };
    let command = Command::V1(part.command);
    let unanswered = matches!(part.command, NT_CANCEL | TRANS2_SECONDARY | LOCKING_ANDX);
    let key = part.key(KeyKind::Pair);
    state.open_generic(command, key, oddities);
    if unanswered {
        if let Some(tx) = state.store.change_last() {
            tx.done[1] = true;
        }
    }
}

fn open_generic(state: &mut State, part: &Part<'_>, malformed: bool) {
    let oddities: &[&str] = match malformed {
        true => &[odd::MALFORMED_DATA],
        false => &[],
    };
    if malformed || is_tracked(part.message.command) {
        let command = Command::V1(part.message.command);
        state.open_generic(command, part.key(KeyKind::Pair), oddities);
    }
}

fn negotiate(state: &mut State, part: &Part<'_>) -> Option<bool> {
    let mut at = part.cursor();
    at.skip(3)?;
    let mut dialects = Vec::new();
    let mut malformed = false;
    while let Some(end) = memchr::memchr(0, at.rest()) {
        let dialect = at.take(end)?;
        at.skip(1)?;
        malformed |= dialect.len() < 2;
        if let [_, name @ ..] = dialect {
            if dialects.len() < MAX_DIALECTS {
                dialects.push(name_of(name));
            }
        }
    }
    if dialects.is_empty() && !malformed {
        return None;
    }
    if let Some(tx) = state.find_negotiate(1) {
        tx.head.raise(odd::DUPLICATE_NEGOTIATE);
        return Some(true);
    }
    let negotiate = Negotiate {
        version: 1,
        dialects,
        ..Negotiate::default()
    };
    state.open(Transaction::request(
        Command::V1(NEGOTIATE),
        Key::default(),
        Kind::Negotiate(negotiate),
    ));
    if malformed {
        state.raise(odd::NEGOTIATE_MALFORMED_DIALECTS);
    }
    Some(true)
}

fn session_setup(state: &mut State, part: &Part<'_>) -> Option<()> {
    let mut at = part.cursor();
    at.skip(15)?;
    let len = usize::from(at.le16()?);
    at.skip(10)?;
    let blob = at.take(len)?;
    let setup = SessionSetup {
        credentials: Credentials::read(blob),
        client: Some(host(part, &mut at)),
        server: None,
    };
    let key = Key {
        tree: 0,
        ..part.key(KeyKind::Header)
    };
    let kind = Kind::SessionSetup(Box::new(setup));
    // The chain's first command is what the transaction is called.
    let command = Command::V1(part.message.command);
    state.open(Transaction::request(command, key, kind));
    Some(())
}

fn host<'a>(part: &Part<'a>, at: &mut Cursor<'a>) -> Host {
    let os = part.string(at);
    let lan_man = os.as_ref().and_then(|_| part.string(at));
    Host {
        os: os.unwrap_or_default(),
        lan_man: lan_man.unwrap_or_default(),
    }
}

fn tree_connect(state: &mut State, part: &Part<'_>) -> Option<bool> {
    let mut at = part.cursor();
    at.skip(7)?;
    let password = usize::from(at.le16()?);
    at.skip(2 + password)?;
    let mut share = part.string(&mut at)?;
    if share.len() > 1 {
        share.remove(0);
    }
    let tree = TreeConnect {
        share,
        request_service: Some(narrow_string(&mut at)?),
        ..TreeConnect::default()
    };
    part.open(state, KeyKind::Tree, Kind::TreeConnect(tree));
    Some(true)
}

fn create(state: &mut State, part: &Part<'_>) -> Option<bool> {
    let mut at = part.cursor();
    at.skip(6)?;
    let len = usize::from(at.le16()?);
    at.skip(28)?;
    let (disposition, options) = (at.le32()?, at.le32()?);
    at.skip(5)?;
    let bytes = usize::from(at.le16()?);
    let name = if bytes >= len {
        part.string(&mut at)
            .or_else(|| Some(name_of(at.rest())))
            .unwrap_or_default()
    } else {
        Vec::new()
    };
    let key = part.key(KeyKind::None);
    state.creating.insert(key, name_of(&name));
    let create = Create {
        name,
        disposition,
        delete_on_close: options & 0x1000 != 0,
        directory: options & 1 != 0,
        ..Create::default()
    };
    part.open(state, KeyKind::Pair, Kind::Create(Box::new(create)));
    Some(true)
}

fn close(state: &mut State, part: &Part<'_>) -> Option<()> {
    let mut at = part.cursor();
    at.skip(1)?;
    let id = part.file(at.array()?);
    state.named.insert(part.key(KeyKind::None), id);
    close_file(state, id, Direction::ToServer);
    Some(())
}

fn close_file(state: &mut State, id: FileId, direction: Direction) {
    let is_open = |it: &mut Transaction| !it.done[0];
    if state.find_file(id, direction).is_some_and(is_open) {
        state.close_file(id, direction);
    }
}

fn rename(state: &mut State, part: &Part<'_>) -> Option<bool> {
    let mut at = part.cursor();
    at.skip(5)?;
    at.skip(1)?;
    let from = wide_string(&mut at)?;
    at.skip(2)?;
    let to = wide_string(&mut at)?;
    let rename = Rename {
        id: Vec::new(),
        from,
        to,
    };
    part.open(state, KeyKind::Pair, Kind::Rename(rename));
    Some(true)
}

fn read_andx(state: &mut State, part: &Part<'_>) -> Option<()> {
    let mut at = part.cursor();
    let words = at.u8()?;
    at.skip(4)?;
    let id = part.file(at.array()?);
    let low = at.le32()?;
    at.skip(10)?;
    let offset = match words {
        12 => u64::from(at.le32()?) << 32 | u64::from(low),
        _ => 0,
    };
    state.reads.insert(part.key(KeyKind::None), (id, offset));
    Some(())
}

/// File, place, length and bytes of one of the three writes.
fn written<'a>(part: &Part<'a>) -> Option<Piece<'a>> {
    let mut at = part.cursor();
    let words = at.u8()?;
    if part.command == WRITE_ANDX {
        at.skip(4)?;
        let id = part.file(at.array()?);
        let low = at.le32()?;
        at.skip(8)?;
        let (len_high, len_low) = (at.le16()?, at.le16()?);
        let start = usize::from(at.le16()?);
        let offset = match words {
            14 => u64::from(at.le32()?) << 32 | u64::from(low),
            _ => 0,
        };
        at.skip(2)?;
        let len = u32::from(len_high) << 16 | u32::from(len_low);
        return Some(Piece {
            id,
            offset,
            len,
            bytes: part.buffer(start, len as usize),
        });
    }
    let id = part.file(at.array()?);
    let count = at.le16()?;
    let offset = u64::from(at.le32()?);
    let len = if part.command == WRITE {
        at.skip(5)?;
        at.le16()?
    } else {
        at.skip(4)?;
        let bytes = at.le16()?;
        at.skip(usize::from(bytes.saturating_sub(count)))?;
        count
    };
    Some(Piece {
        id,
        offset,
        len: len.into(),
        bytes: at.take(len.into())?,
    })
}

fn write(state: &mut State, part: &Part<'_>) -> Option<()> {
    let piece = written(part)?;
    transfer(state, part, Direction::ToServer, &piece);
    if part.command == WRITE_AND_CLOSE {
        close_file(state, piece.id, Direction::ToServer);
    }
    Some(())
}

/// Adds a piece to its file, or takes it through its pipe.
fn transfer(state: &mut State, part: &Part<'_>, direction: Direction, piece: &Piece<'_>) {
    let to_server = direction == Direction::ToServer;
    let tree = state.tree(part.place().0, part.place().1);
    if (to_server || !tree.is_pipe) && state.extend_file(direction, piece) {
        return;
    }
    if tree.is_pipe {
        let passage = part.passage();
        return match direction {
            Direction::ToServer => {
                passage.write(state, piece.bytes);
                // As in Suricata, which takes the request's status for its answer's.
                if let Some(tx) = state.store.change_last().filter(|it| it.rpc().is_some()) {
                    tx.status.get_or_insert(Status::Nt(part.message.status));
                }
            }
            Direction::ToClient => {
                passage.read(state, part.message.status, piece.id, piece.bytes);
            }
        };
    }
    let name = state.names.get(&piece.id).cloned();
    let name = match direction {
        Direction::ToServer => name.unwrap_or_else(|| b"<unknown>".to_vec()),
        Direction::ToClient => name.unwrap_or_default(),
    };
    let command = match direction {
        Direction::ToServer => WRITE_ANDX,
        Direction::ToClient => READ_ANDX,
    };
    let command = Command::V1(command);
    let names = (name.as_slice(), tree.name);
    state.open_file(direction, command, Key::default(), names, piece);
}

fn trans(state: &mut State, part: &Part<'_>) -> Option<()> {
    let mut at = part.cursor();
    let words = at.u8()?;
    at.skip(22)?;
    let (len, start) = (usize::from(at.le16()?), usize::from(at.le16()?));
    let setup = at.u8()?;
    at.skip(1)?;
    if words != 16 || setup != 2 || len == 0 {
        return at.skip(2 * usize::from(setup) + 2);
    }
    at.skip(2)?;
    let id = part.file(at.array()?);
    at.skip(2)?;
    let data = part.buffer(start, len);
    if data.len() < len {
        return None;
    }
    state.named.insert(part.key(KeyKind::None), id);
    if state.is_rpc_pipe(&id) {
        part.passage().write(state, data);
    }
    Some(())
}

fn trans2(state: &mut State, part: &Part<'_>) -> Option<bool> {
    let mut at = part.cursor();
    at.skip(19)?;
    let (params_len, params) = (usize::from(at.le16()?), usize::from(at.le16()?));
    let (len, start) = (usize::from(at.le16()?), usize::from(at.le16()?));
    at.skip(2)?;
    let subcommand = at.le16()?;
    let mut params = Cursor::new(part.buffer(params, params_len));
    let mut data = Cursor::new(part.buffer(start, len));
    let (id, level, name) = match subcommand {
        SET_PATH_INFO => {
            let level = params.le16()?;
            params.skip(4)?;
            let name = name_of(params.rest());
            (Vec::new(), level, name)
        }
        SET_FILE_INFO => {
            let id: [u8; 2] = params.array()?;
            let name = state.names.get(&part.file(id)).cloned();
            let name = name.unwrap_or_else(|| b"<unknown>".to_vec());
            (id.to_vec(), params.le16()?, name)
        }
        _ => return Some(false),
    };
    let what = match level {
        DISPOSITION => Kind::SetInfo(SetInfo {
            id,
            name,
            subcommand,
            level,
            delete: data.u8()? & 1 != 0,
        }),
        RENAME_LEVEL => {
            data.skip(8)?;
            let len = data.le32()? as usize;
            Kind::Rename(Rename {
                id,
                from: name,
                to: name_of(&data.rest()[..len.min(data.rest().len())]),
            })
        }
        _ => return Some(false),
    };
    part.open(state, KeyKind::Pair, what);
    Some(true)
}

fn response(state: &mut State, part: &Part<'_>) {
    let good = part.message.status == status::SUCCESS;
    let outcome = match part.command {
        NEGOTIATE => negotiated(state, part),
        SESSION_SETUP_ANDX => {
            session_set_up(state, part);
            return;
        }
        TREE_CONNECT_ANDX => match tree_connected(state, part) {
            Some(true) => return,
            other => other,
        },
        TREE_DISCONNECT => {
            state.trees.remove(&part.place());
            Some(false)
        }
        NT_CREATE_ANDX if good => created(state, part).map(|()| true),
        CLOSE => {
            if let Some(id) = state.named.remove(&part.key(KeyKind::None)) {
                close_file(state, id, Direction::ToClient);
            }
            Some(false)
        }
        READ_ANDX => {
            let outcome = if good {
                data_read(state, part)
            } else {
                Some(())
            };
            return answer_generic(state, part, outcome.is_none());
        }
        TRANS => {
            let outcome = trans_done(state, part);
            return answer_generic(state, part, outcome.is_none());
        }
        _ => Some(false),
    };
    if outcome == Some(true) {
        return;
    }
    let command = Command::V1(part.command);
    let found = if part.command == LOGOFF_ANDX {
        let last = state.store.change_last();
        last.filter(|it| it.command == command)
    } else if matches!(part.command, READ_ANDX | WRITE_ANDX | TRANS) {
        None
    } else {
        state.find(command, part.key(KeyKind::Pair))
    };
    if let Some(tx) = found {
        tx.done = [true; 2];
        tx.status = Some(part.status());
        if outcome.is_none() {
            tx.head.raise(odd::MALFORMED_DATA);
        }
    }
}

fn answer_generic(state: &mut State, part: &Part<'_>, malformed: bool) {
    let command = Command::V1(part.message.command);
    if let Some(tx) = state.find(command, part.key(KeyKind::Pair)) {
        tx.done = [true; 2];
        tx.status = Some(part.status());
        if malformed {
            tx.head.raise(odd::MALFORMED_DATA);
        }
    }
}

fn negotiated(state: &mut State, part: &Part<'_>) -> Option<bool> {
    let mut at = part.cursor();
    let words = at.u8()?;
    let (index, guid) = if words == 0 {
        at.skip(2)?;
        (0, Vec::new())
    } else {
        let index = at.le16()?;
        at.skip(32)?;
        let bytes = at.le16()?;
        let guid = if bytes >= 16 { at.take(16)? } else { &[] };
        (usize::from(index), guid.to_vec())
    };
    let Some(tx) = state.find_negotiate(1) else {
        return Some(false);
    };
    tx.answer(part.status());
    let Kind::Negotiate(negotiate) = &mut tx.kind else {
        return Some(true);
    };
    negotiate.server_guid = guid;
    let dialect = negotiate.dialects.get(index).cloned();
    match dialect {
        Some(dialect) => {
            let id = tx.head.id;
            Arc::make_mut(&mut state.session).dialect_name = Some(dialect);
            let session = state.session.clone();
            if let Some(tx) = state.store.change(id) {
                tx.session = session;
            }
        }
        None => tx.head.raise(odd::NEGOTIATE_MALFORMED_DIALECTS),
    }
    Some(true)
}

fn session_set_up(state: &mut State, part: &Part<'_>) {
    let key = Key {
        tree: 0,
        ..part.key(KeyKind::Header)
    };
    let is = |key: Key| {
        move |it: &Transaction| it.key == key && matches!(it.kind, Kind::SessionSetup(_))
    };
    let known = part.message.session != 0 && state.find_first(is(key)).is_some();
    let key = if known {
        key
    } else {
        Key { session: 0, ..key }
    };
    let server = server_host(part);
    let Some(tx) = state.find_first(is(key)) else {
        return;
    };
    tx.key = part.key(KeyKind::Header);
    tx.answer(part.status());
    match (server, &mut tx.kind) {
        (Some(server), Kind::SessionSetup(setup)) => setup.server = Some(server),
        _ => tx.head.raise(odd::MALFORMED_DATA),
    }
}

fn server_host(part: &Part<'_>) -> Option<Host> {
    let mut at = part.cursor();
    match at.u8()? {
        0 => at.skip(2)?,
        3 => at.skip(8)?,
        _ => {
            at.skip(6)?;
            let len = usize::from(at.le16()?);
            at.skip(2 + len)?;
        }
    }
    Some(host(part, &mut at))
}

fn tree_connected(state: &mut State, part: &Part<'_>) -> Option<bool> {
    let key = part.key(KeyKind::Tree);
    let tree_id = part.key(KeyKind::Header);
    let good = part.message.status == status::SUCCESS;
    let service = if good { Some(service(part)?) } else { None };
    let found = state.find_first(|it| it.key == key && matches!(it.kind, Kind::TreeConnect(_)));
    let Some(tx) = found else {
        return Some(!good);
    };
    tx.answer(part.status());
    let Kind::TreeConnect(tree) = &mut tx.kind else {
        return Some(true);
    };
    if let Some(service) = service {
        tree.is_pipe = service == b"IPC";
        tree.response_service = Some(service);
        tx.key = tree_id;
        let tree = Tree {
            name: tree.share.clone(),
            is_pipe: tree.is_pipe,
        };
        state.trees.insert(part.place(), tree);
    }
    Some(true)
}

fn service(part: &Part<'_>) -> Option<Vec<u8>> {
    let mut at = part.cursor();
    let words = at.u8()?;
    at.skip(4)?;
    at.skip(match words {
        7.. => 10,
        3.. => 2,
        _ => 0,
    })?;
    at.skip(2)?;
    narrow_string(&mut at)
}

fn created(state: &mut State, part: &Part<'_>) -> Option<()> {
    let mut at = part.cursor();
    at.skip(6)?;
    let id: [u8; 2] = at.array()?;
    at.skip(4)?;
    let times = [at.le64()?, at.le64()?, at.le64()?, at.le64()?];
    at.skip(4)?;
    let size = at.le64()?;
    if let Some(name) = state.creating.remove(&part.key(KeyKind::None)) {
        state.names.insert(part.file(id), name);
    }
    let command = Command::V1(part.command);
    if let Some(tx) = state.find(command, part.key(KeyKind::Pair)) {
        tx.answer(Status::Nt(part.message.status));
        if let Kind::Create(create) = &mut tx.kind {
            create.times_s = times.map(filetime_s);
            create.size = size;
            create.id = id.to_vec();
        }
    }
    Some(())
}

fn data_read(state: &mut State, part: &Part<'_>) -> Option<()> {
    let mut at = part.cursor();
    at.skip(11)?;
    let low = at.le16()?;
    let start = usize::from(at.le16()?);
    let high = at.le32()?;
    at.skip(8)?;
    let len = high.checked_shl(16).unwrap_or(0) | u32::from(low);
    let Some((id, offset)) = state.reads.remove(&part.key(KeyKind::None)) else {
        return Some(());
    };
    let piece = Piece {
        id,
        offset,
        len,
        bytes: part.buffer(start, len as usize),
    };
    transfer(state, part, Direction::ToClient, &piece);
    Some(())
}

fn trans_done(state: &mut State, part: &Part<'_>) -> Option<()> {
    let mut at = part.cursor();
    let data = if at.u8()? == 0 {
        at.skip(2)?;
        &[]
    } else {
        at.skip(12)?;
        let (len, start) = (usize::from(at.le16()?), usize::from(at.le16()?));
        at.skip(6)?;
        let data = part.buffer(start, len);
        if data.len() < len {
            return None;
        }
        data
    };
    let Some(id) = state.named.remove(&part.key(KeyKind::None)) else {
        return Some(());
    };
    let status = part.message.status;
    if status == status::BUFFER_OVERFLOW {
        let (session, tree) = part.place();
        state.partial.insert((session, tree, id), data.to_vec());
    } else if state.is_rpc_pipe(&id) {
        part.passage().read(state, status, id, data);
    }
    Some(())
}
