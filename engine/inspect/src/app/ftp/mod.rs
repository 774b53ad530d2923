//! FTP's control connection: commands and replies, and the data connections they announce.
//!
//! A reply is its lines up to one that begins with three digits and a space; one that begins with `1` is not the
//! last to its command. Where data will flow is announced ahead of the transfer: `PORT` and `EPRT` by the client,
//! which then listens, `PASV` and `EPSV` by the server's reply. With the transfer (`RETR`, `STOR`) it becomes an
//! agreement that carries the file's name.
//!
//! Sources: RFC 959, 4; RFC 2428; RFC 4217 (AUTH TLS).
mod command;
mod data;
mod transaction;

use std::collections::VecDeque;
use std::net::IpAddr;

use super::lines::{Line, Lines};
use super::{AppProto, Expected, Parser, Stage, Store, Touched, Transactions};
use crate::Direction;
use command::Endpoint;
pub use data::{DataConnection, DataTransaction};
pub use transaction::Transaction;

/// Bytes of a line that are read. Suricata's default.
const MAX_LINE_BYTES: usize = 4096;
/// Commands that are open at once.
const MAX_TRANSACTIONS: usize = 256;
/// The same where they are held until they are answered. Suricata's default.
const MAX_HELD: usize = 1024;
/// Agreements that wait to be taken.
const MAX_EXPECTED: usize = 64;

/// All events there are.
pub const EVENTS: &[&str] = &["request_command_too_long", "response_command_too_long"];

/// Where the next transfer's connection will listen.
#[derive(Clone, Copy, Debug)]
struct Rendezvous {
    listener: Direction,
    endpoint: Endpoint,
}

/// One control connection.
#[derive(Debug)]
pub struct Connection {
    store: Store<Transaction>,
    lines: [Lines; 2],
    client: Option<IpAddr>,
    /// The reply whose further lines are being read: its code.
    multiline: Option<[u8; 3]>,
    /// Its command.
    replying: Option<u64>,
    rendezvous: Option<Rendezvous>,
    expected: VecDeque<Expected>,
    switched: bool,
    /// See [`Settings::answered_only`](super::Settings::answered_only).
    answered_only: bool,
}

impl Connection {
    /// A connection of which nothing was seen.
    pub fn new(answered_only: bool) -> Self {
        Self {
            store: Store::new(match answered_only {
                true => MAX_HELD,
                false => MAX_TRANSACTIONS,
            }),
            lines: [Lines::new(MAX_LINE_BYTES), Lines::new(MAX_LINE_BYTES)],
            client: None,
            multiline: None,
            replying: None,
            rendezvous: None,
            expected: VecDeque::new(),
            switched: false,
            answered_only,
        }
    }

    fn command_line(&mut self, line: Line<'_>) {
        if !line.begins {
            return;
        }
        let Some((command, argument)) = command::split(line.bytes) else {
            return;
        };
        let mut transaction = Transaction {
            command: Some(command),
            argument: argument.to_vec(),
            cut: line.end.is_empty(),
            ..Transaction::default()
        };
        if transaction.cut {
            transaction.head.raise("request_command_too_long");
        }
        // Nothing behind the one with which the peers switch would release it.
        let held = self.answered_only && command != "AUTH TLS";
        transaction.head.stages[0] = if held {
            Stage::NotStarted
        } else {
            Stage::Complete
        };
        transaction.head.stages[1] = Stage::Body;
        match command {
            "PORT" => self.client_listens(command::port(argument), &mut transaction),
            "EPRT" => self.client_listens(command::extended_port(argument), &mut transaction),
            "RETR" => self.expect(data::RETR, argument),
            "STOR" | "STOU" | "APPE" => self.expect(data::STOR, argument),
            _ => {}
        }
        self.store.open(transaction);
    }

    /// Has the commands shown that are held and answered by now; at last, all that are held.
    fn release(&mut self, last: bool) {
        if !self.answered_only {
            return;
        }
        let due = |it: &Transaction| it.head.stages[0] != Stage::Complete && (last || it.replied);
        for id in self.store.ids() {
            if !self.store.get(id).is_some_and(due) {
                continue;
            }
            if let Some(transaction) = self.store.change(id) {
                transaction.head.reach(Direction::ToServer, Stage::Complete);
                transaction.head.late = last;
            }
        }
    }

    /// No reply will come; what is held is shown all the same, once its own direction is over.
    fn end_replies(&mut self) {
        for id in self.store.ids() {
            if let Some(transaction) = self.store.change(id) {
                transaction.head.reach(Direction::ToClient, Stage::Complete);
            }
        }
    }

    fn client_listens(&mut self, endpoint: Option<Endpoint>, transaction: &mut Transaction) {
        let Some(endpoint) = endpoint else {
            return;
        };
        transaction.bounces = self.client.is_some() && endpoint.address != self.client;
        transaction.port = Some(endpoint.port);
        transaction.active = true;
        self.rendezvous = Some(Rendezvous {
            listener: Direction::ToClient,
            endpoint,
        });
    }

    /// A transfer begins: what was announced before becomes an agreement.
    fn expect(&mut self, command: u8, name: &[u8]) {
        let Some(Rendezvous { listener, endpoint }) = self.rendezvous.take() else {
            return;
        };
        if self.expected.len() < MAX_EXPECTED {
            self.expected.push_back(Expected {
                app: AppProto::FtpData,
                listener,
                address: endpoint.address,
                port: endpoint.port,
                note: [&[command], name].concat(),
            });
        }
    }

    fn reply_line(&mut self, line: Line<'_>) {
        if !line.begins || line.bytes.is_empty() {
            return;
        }
        let code = command::reply_code(line.bytes);
        if self.replying.is_none() {
            self.replying = self.answered();
        }
        let Some(transaction) = self.replying.and_then(|id| self.store.change(id)) else {
            self.replying = None;
            return;
        };
        if line.end.is_empty() {
            transaction.reply_cut = true;
            transaction.head.raise("response_command_too_long");
        }
        let text = code.map_or(line.bytes, |_| line.bytes.get(4..).unwrap_or_default());
        transaction.reply_line(code.map(|(code, _)| code), text);
        let command = transaction.command;
        self.announced(command, line.bytes);
        self.advance(code);
    }

    /// The command that a reply which begins now answers: the oldest, or none that is known.
    fn answered(&mut self) -> Option<u64> {
        let waits = |it: &&Transaction| it.head.stages[1] != Stage::Complete;
        let oldest = self.store.iter().find(waits).map(|it| it.head.id);
        oldest.or_else(|| {
            let mut transaction = Transaction::default();
            transaction.head.stages = [Stage::Complete, Stage::Body];
            self.store.open(transaction)
        })
    }

    /// What the server's reply to a command means for what follows.
    fn announced(&mut self, command: Option<&'static str>, line: &[u8]) {
        let endpoint = match (command, line.get(..3)) {
            (Some("AUTH TLS"), Some(b"234")) => {
                self.switched = true;
                return;
            }
            (Some("PASV"), Some(b"227")) => command::passive(&line[3..]),
            (Some("EPSV"), Some(b"229")) => command::extended_passive(line),
            _ => return,
        };
        let Some(endpoint) = endpoint else {
            return;
        };
        if let Some(transaction) = self.replying.and_then(|id| self.store.change(id)) {
            transaction.port = Some(endpoint.port);
        }
        self.rendezvous = Some(Rendezvous {
            listener: Direction::ToServer,
            endpoint,
        });
    }

    /// Notes where a reply ends.
    fn advance(&mut self, code: Option<([u8; 3], bool)>) {
        match (self.multiline, code) {
            (None, Some((code, true))) => self.multiline = Some(code),
            (Some(open), Some((code, false))) if open == code => self.end_reply(code),
            (Some(_), _) => {}
            (None, code) => self.end_reply(code.map_or(*b"   ", |(code, _)| code)),
        }
    }

    fn end_reply(&mut self, code: [u8; 3]) {
        self.multiline = None;
        let id = self.replying.take();
        if code[0] == b'1' {
            return;
        }
        if let Some(transaction) = id.and_then(|id| self.store.change(id)) {
            transaction.head.reach(Direction::ToClient, Stage::Complete);
        }
        if self.switched {
            self.store.complete_all();
        }
    }
}

impl Parser for Connection {
    fn meet(&mut self, client: IpAddr, _server: IpAddr) {
        self.client = Some(client);
    }

    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        let side = direction as usize;
        if direction == Direction::ToServer {
            self.release(false);
        }
        let fresh = Lines::new(MAX_LINE_BYTES);
        let mut lines = std::mem::replace(&mut self.lines[side], fresh);
        let mut rest = bytes;
        while let Some(line) = lines.next(&mut rest) {
            match direction {
                _ if self.switched => break,
                Direction::ToServer => self.command_line(line),
                Direction::ToClient => self.reply_line(line),
            }
        }
        self.lines[side] = lines;
        self.store.take_touched()
    }

    fn gap(&mut self, direction: Direction, _len: u64) -> Touched {
        self.lines[direction as usize].lose();
        if direction == Direction::ToClient {
            // Which commands the lost replies answered nobody knows.
            self.multiline = None;
            self.replying = None;
            self.store.complete_all();
        }
        self.store.take_touched()
    }

    fn close(&mut self, direction: Direction) -> Touched {
        match direction {
            Direction::ToServer => self.release(true),
            Direction::ToClient => self.end_replies(),
        }
        self.store.take_touched()
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.store
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.store
    }

    fn is_blind(&self) -> bool {
        self.store.has_overflowed()
    }

    fn has_switched(&self) -> bool {
        self.switched
    }

    fn take_expected(&mut self) -> Option<Expected> {
        self.expected.pop_front()
    }

    fn heap_bytes(&self) -> usize {
        let lines: usize = self.lines.iter().map(Lines::heap_bytes).sum();
        let expected: usize = self.expected.iter().map(|it| it.note.len() + 64).sum();
        self.store.heap_bytes() + lines + expected
    }
}

#[cfg(test)]
mod tests;
