//! SMTP: commands and replies, and the mails between them.
//!
//! The client's lines are commands until a reply (354) or, where the server said that it takes commands ahead of
//! its replies (PIPELINING), the DATA command itself makes them a mail, up to a line that is a single dot. A
//! client that sends its mail with the DATA command although the server never offered that is read like one that
//! waited: what follows DATA is kept until the reply says what it was. Replies answer commands in order, so a
//! queue of the commands that wait for one is all the state that there is between the two directions.
//!
//! Sources: RFC 5321; RFC 3030 (BDAT); RFC 2920 (pipelining); RFC 3207 (STARTTLS).
mod command;
mod transaction;

use std::collections::VecDeque;
use std::sync::Arc;

use super::lines::{Line, Lines};
use super::mime::Message;
use super::{FileSettings, Parser, Stage, Store, Touched, Transactions};
use crate::Direction;
use command::Command;
pub use transaction::Transaction;

/// Bytes of a line that are read. Suricata's.
const MAX_LINE_BYTES: usize = 4096;
/// Commands that wait for a reply; past it the oldest is taken for answered.
const MAX_WAITING: usize = 4096;
/// Bytes that a client may send behind a DATA command before its reply, beyond which they are not looked at.
const MAX_EARLY_BYTES: usize = 256 << 10;
/// Recipients of a mail that are kept, and their bytes.
const MAX_RECIPIENTS: usize = 1024;
const MAX_RECIPIENT_BYTES: usize = 64 << 10;
/// Mails that are open at once.
const MAX_TRANSACTIONS: usize = 256;

/// All events there are.
pub const EVENTS: &[&str] = &[
    "invalid_reply",
    "unable_to_match_reply_with_request",
    "max_command_line_len_exceeded",
    "max_reply_line_len_exceeded",
    "invalid_pipelined_sequence",
    "bdat_chunk_len_exceeded",
    "no_server_welcome_message",
    "tls_rejected",
    "data_command_rejected",
    "failed_protocol_change",
    "mime_parse_failed",
    "mime_malformed_msg",
    "mime_invalid_base64",
    "mime_invalid_qp",
    "mime_long_line",
    "mime_long_enc_line",
    "mime_long_header_name",
    "mime_long_header_value",
    "mime_long_boundary",
    "mime_long_filename",
    "duplicate_fields",
    "unparsable_content",
    "truncated_line",
];

/// Reply codes that Suricata knows; another is an event.
const KNOWN_REPLIES: [u16; 26] = [
    211, 214, 220, 221, 235, 250, 251, 252, 334, 354, 421, 450, 451, 452, 455, 500, 501, 502, 503,
    504, 550, 551, 552, 553, 554, 555,
];

/// What the client's next bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// Commands.
    #[default]
    Commands,
    /// A mail, up to a dot on a line of its own.
    Data,
    /// So many bytes of a mail.
    Chunk { left: u64, last: bool },
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    store: Store<Transaction>,
    lines: [Lines; 2],
    /// Those of a mail in chunks, which end anywhere.
    chunk_lines: Lines,
    mode: Mode,
    /// Commands that the server has not answered, oldest first.
    waiting: VecDeque<Command>,
    /// What came behind a DATA command that is not answered yet.
    early: Vec<u8>,
    /// The transaction of the commands that come.
    current: Option<u64>,
    /// A mail that is over, until the server answers it.
    ending: Option<u64>,
    helo: Option<Arc<[u8]>>,
    /// A chunk of the mail was seen.
    chunked: bool,
    welcomed: bool,
    multiline: bool,
    pipelining: bool,
    /// Suricata has given up on the connection, so that it says nothing more of it.
    silent: bool,
    switched: bool,
    closed: [bool; 2],
    blind: bool,
    files: FileSettings,
}

impl Connection {
    /// A connection of which nothing was seen.
    pub fn new(files: FileSettings) -> Self {
        Self {
            files,
            store: Store::new(MAX_TRANSACTIONS),
            lines: [Lines::new(MAX_LINE_BYTES), Lines::new(MAX_LINE_BYTES)],
            chunk_lines: Lines::new(MAX_LINE_BYTES),
            mode: Mode::Commands,
            waiting: VecDeque::new(),
            early: Vec::new(),
            current: None,
            ending: None,
            helo: None,
            chunked: false,
            welcomed: false,
            multiline: false,
            pipelining: false,
            silent: false,
            switched: false,
            closed: [false; 2],
            blind: false,
        }
    }

    /// The client's bytes.
    fn client(&mut self, mut rest: &[u8]) {
        let mut lines = std::mem::replace(&mut self.lines[0], Lines::new(MAX_LINE_BYTES));
        while !rest.is_empty() && !self.switched {
            match self.mode {
                Mode::Chunk { left, last } => {
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let (chunk, after) = rest.split_at(len);
                    rest = after;
                    self.chunk(chunk, left - len as u64, last);
                }
                Mode::Commands if self.waiting.back() == Some(&Command::Data) => {
                    self.keep_early(rest);
                    break;
                }
                Mode::Commands | Mode::Data => {
                    let Some(line) = lines.next(&mut rest) else {
                        break;
                    };
                    if self.mode == Mode::Data {
                        self.mail_line(line);
                    } else {
                        self.command_line(line);
                    }
                }
            }
        }
        self.lines[0] = lines;
    }

    fn keep_early(&mut self, bytes: &[u8]) {
        self.raise("invalid_pipelined_sequence");
        let room = MAX_EARLY_BYTES - self.early.len();
        self.blind |= bytes.len() > room;
        self.early
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Reads what was kept, now that the DATA command is answered.
    fn read_early(&mut self) {
        let early = std::mem::take(&mut self.early);
        self.client(&early);
    }

    /// The reply to DATA will not be seen: it is taken for granted.
    fn take_data(&mut self) {
        if self.mode == Mode::Commands && self.waiting.back() == Some(&Command::Data) {
            self.mode = Mode::Data;
            self.read_early();
        }
    }

    fn command_line(&mut self, line: Line<'_>) {
        let mut command = Command::of(line.bytes);
        if command == Command::Data && self.pipelining {
            command = Command::DataAhead;
        }
        if line.begins {
            self.open_transaction(command);
        }
        if !self.welcomed {
            self.raise("no_server_welcome_message");
        }
        if line.end.is_empty() || !line.begins {
            self.raise("truncated_line");
        }
        if !line.begins {
            return;
        }
        match command {
            Command::Data => self.data(),
            Command::DataAhead => {
                self.data();
                self.mode = Mode::Data;
            }
            Command::Bdat => {
                let Some((left, last)) = command::chunk(line.bytes) else {
                    return self.wait_for_reply(command);
                };
                self.begin_chunk(left, last);
            }
            Command::Helo if self.helo.is_some() => self.raise("duplicate_fields"),
            Command::Helo => {
                let name: Arc<[u8]> = command::parameter(line.bytes, 4).into();
                self.helo = Some(name.clone());
                self.change(|mail| mail.helo = Some(name));
            }
            Command::MailFrom => {
                let sender = command::parameter(line.bytes, 9).to_vec();
                let known = self.current().is_some_and(|mail| mail.mail_from.is_some());
                if known {
                    self.raise("duplicate_fields");
                } else {
                    self.change(|mail| mail.mail_from = Some(sender));
                }
            }
            Command::RcptTo => self.recipient(command::parameter(line.bytes, 7)),
            Command::Rset => self.chunked = false,
            Command::StartTls | Command::MailEnd | Command::Quit | Command::Other => {}
        }
        self.wait_for_reply(command);
        if let (Command::Bdat, Mode::Chunk { left: 0, last }) = (command, self.mode) {
            self.chunk(&[], 0, last);
        }
    }

    fn open_transaction(&mut self, command: Command) {
        let stays = matches!(command, Command::Rset | Command::Quit);
        let goes_on = match self.current() {
            None => false,
            Some(_) => stays || self.ending.is_none() || self.ending != self.current,
        };
        if goes_on {
            return;
        }
        self.begin_transaction();
    }

    fn begin_transaction(&mut self) {
        self.answer_ending();
        let mut mail = Transaction {
            helo: self.helo.clone(),
            ..Transaction::default()
        };
        mail.head.stages = [Stage::Body; 2];
        self.current = self.store.open(mail);
        self.blind |= self.current.is_none();
    }

    fn data(&mut self) {
        let message = self.current().and_then(|mail| mail.message.as_ref());
        if let Some(message) = message {
            let begun = message.has_begun();
            self.raise("unparsable_content");
            if !begun {
                return;
            }
            // The one before never ended.
            let unended = self.current;
            self.begin_transaction();
            if let Some(mail) = unended.and_then(|id| self.store.change(id)) {
                mail.head.complete();
            }
        }
        let files = self.files;
        self.change(|mail| mail.message = Some(Box::new(Message::new(files))));
    }

    fn recipient(&mut self, address: &[u8]) {
        let address = address.to_vec();
        self.change(|mail| {
            let bytes: usize = mail.rcpt_to.iter().map(Vec::len).sum();
            if mail.rcpt_to.len() < MAX_RECIPIENTS && bytes < MAX_RECIPIENT_BYTES {
                mail.rcpt_to.push(address);
            }
        });
    }

    fn mail_line(&mut self, line: Line<'_>) {
        if line.begins && line.bytes == b"." && !line.end.is_empty() {
            self.mode = Mode::Commands;
            self.wait_for_reply(Command::MailEnd);
            return self.end_mail();
        }
        // A dot in front was put there by the client (RFC 5321, 4.5.2).
        let bytes = match line.bytes {
            [b'.', rest @ ..] if line.begins && !rest.is_empty() => rest,
            bytes => bytes,
        };
        let in_header = |mail: &Transaction| mail.message.as_ref().is_some_and(|it| it.in_header());
        if line.end.is_empty() && self.current().is_some_and(in_header) {
            self.raise("truncated_line");
        }
        self.message_line(Line { bytes, ..line });
    }

    fn message_line(&mut self, line: Line<'_>) {
        self.change(|mail| {
            if let Some(message) = &mut mail.message {
                message.line(line);
            }
            mail.collect_events();
        });
    }

    /// The client's side of the mail is over; the server's when it answers.
    fn end_mail(&mut self) {
        self.change(|mail| {
            if let Some(message) = &mut mail.message {
                message.finish();
            }
            mail.collect_events();
            mail.head.stages[Direction::ToServer as usize] = Stage::Complete;
        });
        self.ending = self.current;
        self.chunked = false;
    }

    fn begin_chunk(&mut self, left: u64, last: bool) {
        // Suricata counts all chunks of a mail against the size of each.
        if self.chunked {
            self.raise("bdat_chunk_len_exceeded");
            self.silent = true;
        }
        self.chunked = true;
        let files = self.files;
        self.change(|mail| {
            mail.message
                .get_or_insert_with(|| Box::new(Message::new(files)));
        });
        self.mode = Mode::Chunk { left, last };
    }

    fn chunk(&mut self, mut bytes: &[u8], left: u64, last: bool) {
        self.mode = Mode::Chunk { left, last };
        let mut lines = std::mem::replace(&mut self.chunk_lines, Lines::new(MAX_LINE_BYTES));
        while let Some(line) = lines.next(&mut bytes) {
            self.message_line(line);
        }
        if left == 0 && last {
            if let Some(line) = lines.flush() {
                self.message_line(line);
            }
        }
        self.chunk_lines = lines;
        if left == 0 {
            self.end_chunk(last);
        }
    }

    fn end_chunk(&mut self, last: bool) {
        self.mode = Mode::Commands;
        if last {
            self.end_mail();
        }
    }

    fn wait_for_reply(&mut self, command: Command) {
        if matches!(
            self.waiting.back(),
            Some(Command::StartTls | Command::Data | Command::DataAhead)
        ) {
            // Both must be the last of a group (RFC 2920, 3.1; RFC 3207, 4).
            self.raise("invalid_pipelined_sequence");
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(command);
    }

    /// The server's bytes.
    fn server(&mut self, mut rest: &[u8]) {
        let mut lines = std::mem::replace(&mut self.lines[1], Lines::new(MAX_LINE_BYTES));
        while let Some(line) = lines.next(&mut rest) {
            if !self.switched {
                self.reply_line(line);
            }
        }
        self.lines[1] = lines;
    }

    fn reply_line(&mut self, line: Line<'_>) {
        self.answer_ending();
        if line.end.is_empty() || !line.begins {
            self.raise("truncated_line");
        }
        if !line.begins || line.bytes.is_empty() && line.end == b"\n" {
            return;
        }
        self.multiline = line.bytes.get(3) == Some(&b'-');
        let code = line.bytes.get(..3).and_then(command::reply_code);
        if !code.is_some_and(|code| KNOWN_REPLIES.contains(&code)) {
            self.raise("invalid_reply");
            self.silent = true;
        }
        // Client and server go on with whatever number it is.
        let Some(code) = code else {
            return;
        };
        let Some(command) = self.waiting.front().copied() else {
            if !self.welcomed {
                self.welcomed = !self.multiline;
                if code != 220 {
                    self.raise("invalid_reply");
                }
            }
            return;
        };
        if self.multiline {
            let extension = &line.bytes[4..];
            self.pipelining |= code == 250 && extension.eq_ignore_ascii_case(b"pipelining");
        }
        self.answer(command, code);
    }

    /// The server answers a command, perhaps with the first of several lines.
    fn answer(&mut self, command: Command, code: u16) {
        if !self.multiline {
            self.waiting.pop_front();
        }
        match (command, code) {
            (Command::StartTls, 220) => {
                self.switched = true;
                self.store.complete_all();
            }
            (Command::StartTls, _) => self.raise("tls_rejected"),
            (Command::Data, 354) => self.mode = Mode::Data,
            (Command::DataAhead, 354) => {}
            (Command::Data | Command::DataAhead, _) => {
                if self.mode == Mode::Data {
                    self.mode = Mode::Commands;
                }
                self.raise("data_command_rejected");
            }
            (Command::Rset, 250) if !self.multiline => {
                if let Some(mail) = self.current.and_then(|id| self.store.change(id)) {
                    mail.head.complete();
                }
                self.current = None;
            }
            _ => {}
        }
        if command == Command::Data && !self.multiline {
            self.read_early();
        }
    }

    /// Completes a mail that is over, now that the server spoke again (or a further one begins).
    fn answer_ending(&mut self) {
        if let Some(id) = self.ending.take() {
            if let Some(mail) = self.store.change(id) {
                mail.head.complete();
            }
            if self.current == Some(id) {
                self.current = None;
            }
        }
    }

    fn current(&self) -> Option<&Transaction> {
        self.store.get(self.current?)
    }

    fn change(&mut self, make: impl FnOnce(&mut Transaction)) {
        if let Some(mail) = self.current.and_then(|id| self.store.change(id)) {
            make(mail);
        }
    }

    fn raise(&mut self, event: &'static str) {
        if !self.silent {
            self.change(|mail| mail.head.raise(event));
        }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new(FileSettings::default())
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        match direction {
            Direction::ToServer => self.client(bytes),
            Direction::ToClient => self.server(bytes),
        }
        self.store.take_touched()
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        match (direction, self.mode) {
            (Direction::ToServer, Mode::Chunk { .. }) => self.chunk_lines.lose(),
            _ => self.lines[direction as usize].lose(),
        }
        if direction == Direction::ToClient {
            // Which commands the lost replies answered nobody knows.
            self.take_data();
            self.waiting.clear();
        }
        if direction == Direction::ToServer {
            self.change(|mail| {
                if let Some(message) = &mut mail.message {
                    message.lose();
                }
            });
            self.mode = match self.mode {
                Mode::Chunk { left, last } if left > len => Mode::Chunk {
                    left: left - len,
                    last,
                },
                Mode::Chunk { last, .. } => {
                    self.end_chunk(last);
                    Mode::Commands
                }
                mode => mode,
            };
        }
        self.store.take_touched()
    }

    fn close(&mut self, direction: Direction) -> Touched {
        self.take_data();
        if direction == Direction::ToServer && self.mode != Mode::Commands {
            self.change(|mail| {
                if let Some(message) = &mut mail.message {
                    message.lose();
                }
            });
        }
        self.closed[direction as usize] = true;
        for id in self.store.ids() {
            if let Some(mail) = self.store.change(id) {
                for (stage, closed) in mail.head.stages.iter_mut().zip(self.closed) {
                    *stage = if closed { Stage::Complete } else { *stage };
                }
            }
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
        self.blind || self.store.has_overflowed()
    }

    fn has_switched(&self) -> bool {
        self.switched
    }

    fn heap_bytes(&self) -> usize {
        let lines: usize = self.lines.iter().map(Lines::heap_bytes).sum();
        let lines = lines + self.chunk_lines.heap_bytes();
        self.store.heap_bytes() + lines + self.early.capacity() + self.waiting.capacity()
    }
}

#[cfg(test)]
mod tests;
