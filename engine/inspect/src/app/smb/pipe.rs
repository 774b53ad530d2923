//! DCE/RPC inside named pipes.
use std::sync::Arc;

use crate::app::dcerpc::record::{self, kind, Header};

use super::events::MALFORMED_DATA;
use super::state::State;
use super::status::{Status, BUFFER_OVERFLOW, SUCCESS};
use super::transaction::{Command, FileId, Key, KeyKind, Kind, Rpc, Transaction};
use super::v2;

/// Arguments or results of one call that are kept.
const STUB_BYTES: usize = 1 << 20;

/// One message through a pipe.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    /// The command that brought it.
    pub command: Command,
    /// Its key, of kind [`KeyKind::Header`].
    pub key: Key,
}

impl Passage {
    /// Requests and responses meet by the session and the tree (which an asynchronous response does not name), and
    /// for an IOCTL by the message too: what was written is answered by a read, a message of its own.
    fn belongs_to(&self, key: &Key) -> bool {
        let same_message = match self.command {
            Command::V2(v2::IOCTL) => key.message == self.key.message,
            _ => true,
        };
        key.kind == KeyKind::Header
            && key.session == self.key.session
            && (key.tree == self.key.tree || self.key.tree == 0)
            && same_message
    }

    fn open<'a>(&self, state: &'a mut State, rpc: Rpc, done: bool) -> Option<&'a mut Transaction> {
        let mut tx = Transaction::request(self.command, self.key, Kind::Rpc(rpc));
        tx.done[0] = done;
        state.open(tx)
    }

    fn find<'a>(&self, state: &'a mut State, call: u32) -> Option<&'a mut Transaction> {
        let passage = *self;
        state.find_first(|it| {
            passage.belongs_to(&it.key) && it.rpc().is_some_and(|rpc| rpc.call == call)
        })
    }

    /// Reads what the client sent into a pipe.
    pub fn write(&self, state: &mut State, data: &[u8]) {
        let Some((header, body)) = Header::read(data) else {
            state.raise(MALFORMED_DATA);
            return;
        };
        match header.kind {
            kind::REQUEST => self.request(state, &header, body),
            kind::BIND => self.bind(state, &header, body),
            _ => {
                let rpc = Rpc {
                    request: Some(header.kind),
                    call: header.call,
                    ..Rpc::default()
                };
                self.open(state, rpc, true);
                if header.kind > kind::LAST {
                    state.raise(MALFORMED_DATA);
                }
            }
        }
    }

    fn request(&self, state: &mut State, header: &Header, body: &[u8]) {
        let call = record::call(unit(header, body).unwrap_or_default(), header.little);
        if !header.first {
            let Some(call) = call else {
                state.raise(MALFORMED_DATA);
                return;
            };
            if let Some(tx) = self.find(state, header.call) {
                if let Kind::Rpc(rpc) = &mut tx.kind {
                    extend(&mut rpc.stub[0], call.stub);
                    rpc.fragments[0] = rpc.fragments[0].saturating_add(1);
                }
                tx.done[0] |= header.last;
            }
            return;
        }
        let mut rpc = Rpc {
            request: Some(kind::REQUEST),
            call: header.call,
            ..Rpc::default()
        };
        if let Some(call) = &call {
            rpc.opnum = call.opnum;
            rpc.context = call.context;
            rpc.fragments[0] = 1;
            extend(&mut rpc.stub[0], call.stub);
        }
        self.open(state, rpc, header.last || call.is_none());
        if call.is_none() {
            state.raise(MALFORMED_DATA);
        }
    }

    fn bind(&self, state: &mut State, header: &Header, body: &[u8]) {
        let rpc = Rpc {
            request: Some(kind::BIND),
            call: header.call,
            ..Rpc::default()
        };
        match record::interfaces(body, header.little) {
            Some(interfaces) => {
                let known = (!interfaces.is_empty()).then_some(interfaces);
                Arc::make_mut(&mut state.session).interfaces = known;
                self.open(state, rpc, true);
            }
            None => {
                self.open(state, rpc, true);
                state.raise(MALFORMED_DATA);
            }
        }
    }

    /// Reads what the server answered through the pipe `id`.
    pub fn read(&self, state: &mut State, status: u32, id: FileId, data: &[u8]) {
        if status != SUCCESS && status != BUFFER_OVERFLOW {
            if let Some(tx) = state.find(self.command, self.key) {
                tx.answer(Status::Nt(status));
            }
            return;
        }
        let place = (self.key.session, self.key.tree, id);
        let mut joined = state.partial.remove(&place).unwrap_or_default();
        let data = if joined.is_empty() {
            data
        } else {
            extend(&mut joined, data);
            &joined
        };
        if data.is_empty() {
            return;
        }
        let Some((header, body)) = Header::read(data) else {
            state.raise(MALFORMED_DATA);
            return;
        };
        if status == BUFFER_OVERFLOW && data.len() < usize::from(header.fragment) {
            state.partial.insert(place, data.to_vec());
            return;
        }
        match header.kind {
            kind::BIND_ACK => self.bind_ack(state, status, &header, body),
            _ => self.response(state, status, &header, body),
        }
    }

    fn bind_ack(&self, state: &mut State, status: u32, header: &Header, body: &[u8]) {
        let Some(results) = record::results(body, header.little) else {
            state.raise(MALFORMED_DATA);
            return;
        };
        if self.find(state, header.call).is_none() {
            return;
        }
        if let Some(interfaces) = &mut Arc::make_mut(&mut state.session).interfaces {
            for (interface, result) in interfaces.iter_mut().zip(results) {
                interface.ack = Some(result);
            }
        }
        if let Some(tx) = self.find(state, header.call) {
            if let Kind::Rpc(rpc) = &mut tx.kind {
                rpc.response = Some(kind::BIND_ACK);
            }
            tx.answer(Status::Nt(status));
        }
    }

    fn response(&self, state: &mut State, status: u32, header: &Header, body: &[u8]) {
        if self.find(state, header.call).is_none() {
            let rpc = Rpc {
                call: header.call,
                ..Rpc::default()
            };
            // Nothing more comes of the request: it was not seen.
            if let Some(tx) = self.open(state, rpc, true) {
                tx.status = Some(Status::Nt(status));
            }
        }
        let Some(tx) = self.find(state, header.call) else {
            return;
        };
        let Kind::Rpc(rpc) = &mut tx.kind else {
            return;
        };
        if header.kind != kind::RESPONSE {
            rpc.response = Some(header.kind);
            tx.answer(Status::Nt(status));
            if header.kind > kind::LAST {
                tx.head.raise(MALFORMED_DATA);
            }
            return;
        }
        match unit(header, body).and_then(record::results_stub) {
            Some(stub) => {
                rpc.response = Some(kind::RESPONSE);
                rpc.fragments[1] = rpc.fragments[1].saturating_add(1);
                extend(&mut rpc.stub[1], stub);
                tx.status = Some(Status::Nt(status));
                tx.done[1] = header.last;
            }
            None => tx.head.raise(MALFORMED_DATA),
        }
    }
}

/// What belongs to the data unit, of what follows its header; `None`: it is not whole.
fn unit<'a>(header: &Header, body: &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::from(header.fragment).checked_sub(record::HEADER_BYTES)?;
    body.get(..len)
}

fn extend(stub: &mut Vec<u8>, bytes: &[u8]) {
    let room = STUB_BYTES.saturating_sub(stub.len());
    stub.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Whether bytes look like DCE/RPC; asked where a pipe's opening was not seen.
pub fn looks_like_rpc(data: &[u8]) -> bool {
    Header::read(data).is_some_and(|(header, _)| {
        header.major == 5 && header.minor < 3 && header.fragment > 0 && header.kind <= kind::LAST
    })
}
