//! A connection's two streams, read into its one transaction.

use smallvec::SmallVec;

use super::event;
use super::hello::{Hello, Kind, Oddities};
use super::records::{Record, Records, Step};
use super::transaction::{State, Transaction};
use super::SSL2;
use crate::app::cursor::Cursor;
use crate::app::single::Single;
use crate::app::{AppProto, Parser, Stage, Touched, Transactions};
use crate::Direction;

/// Bytes of a handshake message that are kept to be read: OpenSSL takes hellos up to 131,396 bytes and
/// certificate chains up to 102,400. Of a longer chain its beginning is read, a longer hello is passed over.
const MESSAGE_LIMIT: usize = 131_396;
/// A record's body as RFC 5246, 6.2.2 has it: 2^14 and what compression may add.
const RECORD_LIMIT: usize = (1 << 14) + 1024;
/// Bytes of a body that are gathered before it is judged: SSL 2's hello up to its lengths.
const BEGINNING_BYTES: usize = 7;
/// Bytes of a handshake message's header: type and length.
const MESSAGE_HEADER_BYTES: usize = 4;

/// Content types. Source: RFC 8446, B.1; RFC 6520.
mod content {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const APPLICATION_DATA: u8 = 23;
    pub const HEARTBEAT: u8 = 24;
}

/// Handshake messages. Source: RFC 5246, 7.4; RFC 8446, B.3.
mod message {
    pub const HELLO_REQUEST: u8 = 0;
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const NEW_SESSION_TICKET: u8 = 4;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    pub const CERTIFICATE_REQUEST: u8 = 13;
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    /// Server hello done, certificate verify.
    pub const REQUESTS: std::ops::RangeInclusive<u8> = 14..=15;
    /// Finished, certificate URL, certificate status.
    pub const ENDS: std::ops::RangeInclusive<u8> = 20..=22;
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    records: Records,
    /// The current record's first bytes.
    beginning: SmallVec<[u8; BEGINNING_BYTES]>,
    /// The handshake message being put together, with its header.
    message: Vec<u8>,
    /// Bytes of a handshake message that is not kept, still to come.
    passing_over: usize,
    /// A hello came this way.
    greeted: bool,
    /// What follows this way is encrypted.
    encrypted: bool,
    /// An SSL 2 hello came this way.
    greeted_ssl2: bool,
    /// The boundaries of its records are lost.
    lost: bool,
}

/// A heartbeat that is not answered yet. Source: RFC 6520, 4.
#[derive(Clone, Copy, Debug)]
struct Heartbeat {
    from: Direction,
    /// Length of its record, where that is encrypted.
    len: Option<usize>,
}

/// One connection that speaks SSL or TLS.
#[derive(Debug, Default)]
pub struct Connection {
    single: Single<Transaction>,
    halves: [Half; 2],
    /// A change of ciphers was announced by either side: handshake messages are encrypted from now on.
    changed_cipher: bool,
    /// The client announced data along with its hello.
    early_data: bool,
    /// The client's hello names the versions it supports in the extension.
    named_versions: bool,
    heartbeat: Option<Heartbeat>,
    /// It is no TLS any more.
    broken: bool,
    /// What only the inspection of the handshake needed was let go.
    shed: bool,
}

impl Connection {
    fn read(&mut self, direction: Direction, bytes: &[u8]) {
        let mut input = bytes;
        let last = self.single.get().map(|tx| tx.state);
        if last != Some(State::Other) && self.halves[direction as usize].records.is_between() {
            self.single.change(|tx| tx.state = State::Other);
        }
        while !self.broken && !self.halves[direction as usize].lost {
            let Some(step) = self.halves[direction as usize].records.next(&mut input) else {
                break;
            };
            match step {
                Step::Header(record) => self.begin(direction, record),
                Step::Body {
                    record,
                    bytes,
                    left,
                } => self.body(direction, record, bytes, left),
            }
        }
    }

    /// A record begins.
    fn begin(&mut self, direction: Direction, record: Record) {
        let half = &mut self.halves[direction as usize];
        half.beginning.clear();
        let greeted = half.greeted;
        match record {
            Record::Ssl2 { len } => {
                self.set_version(direction, SSL2);
                if len == 0 {
                    self.single.raise(event::INVALID_SSLV2_HEADER);
                    self.give_up(event::INVALID_SSL_RECORD);
                }
            }
            Record::Tls {
                content,
                version,
                len,
            } => {
                let known = self.version(direction);
                if !greeted || known == 0 || known == SSL2 {
                    self.set_version(direction, version);
                }
                if len > RECORD_LIMIT {
                    self.single.raise(event::INVALID_RECORD_LENGTH);
                }
                self.begin_content(direction, content, len);
            }
        }
    }

    fn begin_content(&mut self, direction: Direction, content: u8, len: usize) {
        match content {
            content::CHANGE_CIPHER_SPEC => {
                self.changed_cipher = true;
                self.pass_certificate(direction);
            }
            content::APPLICATION_DATA => {
                // Data along with the client's hello says nothing of what the server makes of it.
                let early = self.early_data && !self.halves[Direction::ToClient as usize].greeted;
                if !early && !self.halves[direction as usize].encrypted {
                    self.pass_certificate(direction);
                    self.halves[direction as usize].encrypted = true;
                    self.single.change(|tx| tx.done = true);
                }
            }
            content::HANDSHAKE if len < MESSAGE_HEADER_BYTES && len > 0 && !self.is_hidden() => {
                self.single.raise(event::INVALID_SSL_RECORD);
            }
            content::ALERT | content::HANDSHAKE | content::HEARTBEAT => {}
            _ => self.give_up(event::INVALID_RECORD_TYPE),
        }
    }

    /// Bytes of a record's body.
    fn body(&mut self, direction: Direction, record: Record, bytes: &[u8], left: usize) {
        let wanted = match record {
            Record::Ssl2 { .. } => BEGINNING_BYTES,
            Record::Tls { content, .. } => match content {
                content::HANDSHAKE if !self.is_hidden() => {
                    return self.handshake(direction, bytes, left);
                }
                content::HEARTBEAT => 3,
                _ => return,
            },
        };
        let half = &mut self.halves[direction as usize];
        if half.beginning.len() >= wanted.min(record.body_bytes()) {
            return;
        }
        let missing = wanted - half.beginning.len();
        half.beginning
            .extend_from_slice(&bytes[..missing.min(bytes.len())]);
        if half.beginning.len() < wanted && left > 0 {
            return;
        }
        let beginning = half.beginning.clone();
        match record {
            Record::Ssl2 { .. } => self.ssl2(direction, &beginning),
            Record::Tls { len, .. } => self.heartbeat(direction, &beginning, len),
        }
    }

    /// Whether handshake messages cannot be read: after a change of ciphers, but for the one that TLS 1.3's
    /// clients send to please middleboxes before the server answered (RFC 8446, D.4).
    fn is_hidden(&self) -> bool {
        let [client, server] = &self.halves;
        let pretended =
            client.greeted && !server.greeted && self.version(Direction::ToServer) > 0x0303;
        self.changed_cipher && !pretended
    }

    /// Handshake messages, which may share a record or stretch over several.
    fn handshake(&mut self, direction: Direction, mut bytes: &[u8], left: usize) {
        while !bytes.is_empty() && !self.is_hidden() {
            let half = &mut self.halves[direction as usize];
            if half.passing_over > 0 {
                let len = half.passing_over.min(bytes.len());
                half.passing_over -= len;
                bytes = &bytes[len..];
                continue;
            }
            let wanted = match announced(&half.message) {
                None => MESSAGE_HEADER_BYTES,
                Some((_, len)) => MESSAGE_HEADER_BYTES + len.min(MESSAGE_LIMIT),
            };
            let missing = wanted - half.message.len();
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            half.message.extend_from_slice(taken);
            bytes = rest;
            let Some((kind, len)) = announced(&half.message) else {
                return;
            };
            if half.message.len() == MESSAGE_HEADER_BYTES {
                self.begin_message(direction, kind, len, bytes.len() + left);
            }
            let half = &mut self.halves[direction as usize];
            if half.message.len() == MESSAGE_HEADER_BYTES + len.min(MESSAGE_LIMIT) {
                let message = std::mem::take(&mut half.message);
                half.passing_over = len.saturating_sub(MESSAGE_LIMIT);
                self.message(direction, kind, &message[MESSAGE_HEADER_BYTES..]);
            }
        }
    }

    /// A message's header is there: it is kept, or passed over. `in_record`: bytes left in its first record.
    fn begin_message(&mut self, direction: Direction, kind: u8, len: usize, in_record: usize) {
        let pass_over = match kind {
            message::CERTIFICATE => return,
            message::CLIENT_HELLO | message::SERVER_HELLO => {
                if len <= MESSAGE_LIMIT {
                    return;
                }
                self.single.raise(event::HANDSHAKE_INVALID_LENGTH);
                len
            }
            message::SERVER_KEY_EXCHANGE => {
                self.single.change(|tx| tx.state = State::ServerKeyExchange);
                len
            }
            message::CLIENT_KEY_EXCHANGE => {
                self.single.change(|tx| tx.state = State::ClientKeyExchange);
                self.pass_certificate(direction);
                len
            }
            message::HELLO_REQUEST | message::NEW_SESSION_TICKET => len,
            message::CERTIFICATE_REQUEST => {
                if direction == Direction::ToClient {
                    self.single.quietly(|tx| tx.awaits_certificate = true);
                }
                len
            }
            kind if message::REQUESTS.contains(&kind) || message::ENDS.contains(&kind) => len,
            _ => {
                self.single.raise(event::INVALID_HANDSHAKE_MESSAGE);
                len.min(in_record)
            }
        };
        let half = &mut self.halves[direction as usize];
        half.message.clear();
        half.passing_over = pass_over;
    }

    fn awaits_certificate(&self) -> bool {
        self.single.get().is_some_and(|tx| tx.awaits_certificate)
    }

    /// A client's certificate that is not here by now will not come.
    fn pass_certificate(&mut self, direction: Direction) {
        if direction == Direction::ToServer && self.awaits_certificate() {
            self.single.change(|tx| tx.awaits_certificate = false);
        }
    }

    /// A whole message.
    fn message(&mut self, direction: Direction, kind: u8, body: &[u8]) {
        let mut oddities = Oddities::new();
        match kind {
            message::CLIENT_HELLO => self.hello(direction, Kind::Client, body, &mut oddities),
            message::SERVER_HELLO => self.hello(direction, Kind::Server, body, &mut oddities),
            message::CERTIFICATE => {
                let is_cut = self.halves[direction as usize].passing_over > 0;
                self.single.change(|tx| {
                    tx.peer_mut(direction)
                        .chain
                        .add(body, is_cut, &mut oddities);
                    tx.done |= tx.server.chain.first.is_some();
                });
                self.pass_certificate(direction);
            }
            _ => {}
        }
        for name in oddities {
            self.single.raise(name);
        }
    }

    fn hello(&mut self, direction: Direction, kind: Kind, body: &[u8], oddities: &mut Oddities) {
        let hello = Hello::read(kind, body, oddities);
        if body.len() < 2 {
            return;
        }
        self.halves[direction as usize].greeted = true;
        self.named_versions |= kind == Kind::Client && !hello.versions.is_empty();
        self.early_data |= hello.early_data;
        let named_versions = self.named_versions;
        let is_repeated = self
            .single
            .get()
            .and_then(|tx| tx.peer(direction).hello.as_ref())
            .is_some_and(|first| first.sni.is_some());
        if is_repeated && hello.sni.is_some() {
            oddities.push(event::MULTIPLE_SNI_EXTENSIONS);
        }
        self.single.change(|tx| {
            tx.state = match kind {
                Kind::Client => State::ClientHello,
                Kind::Server => State::ServerHello,
            };
            tx.peer_mut(direction).version = final_version(hello.version);
            if kind == Kind::Server {
                tx.answered = true;
                tx.hides_certificates |= super::hello::is_draft(hello.legacy_version)
                    || named_versions && !hello.versions.is_empty() && hello.version > 0x0303;
                let asked = tx.client.hello.as_ref().map(|hello| &hello.session_id);
                let same = asked == Some(&hello.session_id) && !hello.session_id.is_empty();
                tx.resumed |= same;
            } else {
                tx.resumed |= hello.ticket;
            }
            let peer = tx.peer_mut(direction);
            if peer.hello.is_none() {
                peer.hello = Some(Box::new(hello));
            }
        });
    }

    /// An SSL 2 message: its type, and of a hello the version and three lengths.
    ///
    /// Source: Hickman, "The SSL Protocol", 1995.
    fn ssl2(&mut self, direction: Direction, beginning: &[u8]) {
        let mut bytes = Cursor(beginning);
        let kind = bytes.u8();
        let half = &mut self.halves[direction as usize];
        match kind {
            Some(0) => self.single.raise(event::ERROR_MESSAGE_ENCOUNTERED),
            Some(1) => {
                half.greeted_ssl2 = true;
                half.greeted = true;
                self.single.change(|tx| tx.state = State::ClientHello);
            }
            Some(4) => {
                half.greeted_ssl2 = true;
                half.greeted = true;
                self.single.change(|tx| {
                    tx.state = State::ServerHello;
                    tx.answered = true;
                });
            }
            Some(3 | 5..=8) => {
                let all_greeted = self.halves.iter().all(|half| half.greeted_ssl2);
                self.halves[direction as usize].encrypted |= all_greeted;
            }
            _ => {}
        }
    }

    /// Source: RFC 6520, 4; CVE-2014-0160.
    fn heartbeat(&mut self, direction: Direction, beginning: &[u8], len: usize) {
        let mut bytes = Cursor(beginning);
        let (Some(kind), Some(payload)) = (bytes.u8(), bytes.u16()) else {
            return;
        };
        if !self.changed_cipher && !matches!(kind, 1 | 2) {
            return self.give_up(event::INVALID_HEARTBEAT_MESSAGE);
        }
        let Some(before) = self.heartbeat else {
            self.heartbeat = Some(Heartbeat {
                from: direction,
                len: self.changed_cipher.then_some(len),
            });
            let payload = usize::from(payload);
            match len.checked_sub(payload + 3) {
                _ if self.changed_cipher => {}
                None => self.give_up(event::OVERFLOW_HEARTBEAT_MESSAGE),
                // Padding is at least 16 bytes.
                Some(padding) if padding < 16 => self.give_up(event::INVALID_HEARTBEAT_MESSAGE),
                Some(_) => {}
            }
            return;
        };
        if before.from == direction {
            return self.give_up(event::INVALID_HEARTBEAT_MESSAGE);
        }
        self.heartbeat = None;
        if self.changed_cipher && before.len.is_some_and(|asked| asked < len) {
            self.give_up(event::DATALEAK_HEARTBEAT_MISMATCH);
        }
    }

    fn version(&self, direction: Direction) -> u16 {
        self.single.get().map_or(0, |tx| tx.peer(direction).version)
    }

    fn set_version(&mut self, direction: Direction, version: u16) {
        if self.version(direction) != version {
            self.single
                .change(|tx| tx.peer_mut(direction).version = version);
        }
    }

    /// Reads no further: neither would a peer.
    fn give_up(&mut self, name: &'static str) {
        self.single.raise(name);
        self.broken = true;
    }

    /// Says how far that side was read, and which transactions the call has changed.
    fn settle(&mut self, direction: Direction, stage: Option<Stage>) -> Touched {
        if !self.single.has_news(direction) && stage.is_none() {
            self.shed();
            return 0..0;
        }
        let done = self.single.get().is_some_and(|tx| tx.done);
        let awaits = self.awaits_certificate() && direction == Direction::ToServer;
        let read = match (done && !awaits, self.halves[direction as usize].greeted) {
            (true, _) => Stage::Body,
            (false, true) => Stage::Headers,
            (false, false) => Stage::Line,
        };
        self.single.show(direction, stage.unwrap_or(read))
    }

    /// Lets go of the certificates' bytes once both sides were inspected and will not be again.
    fn shed(&mut self) {
        let encrypted = self.halves.iter().all(|half| half.encrypted);
        let seen = Direction::BOTH
            .into_iter()
            .all(|direction| !self.single.has_news(direction));
        if encrypted && seen && !std::mem::replace(&mut self.shed, true) {
            self.single.quietly(|tx| {
                tx.client.chain.shed();
                tx.server.chain.shed();
            });
        }
    }
}

/// Type and length of the message that begins there.
fn announced(message: &[u8]) -> Option<(u8, usize)> {
    let mut bytes = Cursor(message);
    Some((bytes.u8()?, bytes.u24()? as usize))
}

/// Drafts of TLS 1.3 up to 15 cannot be told apart.
fn final_version(version: u16) -> u16 {
    match version {
        0x7f01..=0x7f0f => 0x7f01,
        version => version,
    }
}

impl Parser for Connection {
    fn come_from(&mut self, left: AppProto) {
        self.single.quietly(|tx| tx.from = Some(left));
    }

    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        self.read(direction, bytes);
        self.settle(direction, None)
    }

    /// A gap inside of a record that needs no reading is harmless; elsewhere the boundaries are lost.
    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        let half = &mut self.halves[direction as usize];
        let read_on = match half.records.current() {
            Some((Record::Tls { content, .. }, _)) if content != content::HANDSHAKE => {
                half.records.skip(len)
            }
            _ => false,
        };
        self.halves[direction as usize].lost |= !read_on;
        self.settle(direction, None)
    }

    fn close(&mut self, direction: Direction) -> Touched {
        self.settle(direction, Some(Stage::Complete))
    }

    fn transactions(&self) -> &dyn Transactions {
        self.single.transactions()
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        self.single.transactions_mut()
    }

    fn skippable(&self, direction: Direction) -> u64 {
        if self.broken || self.halves[direction as usize].lost {
            return u64::MAX;
        }
        match self.halves[direction as usize].records.current() {
            Some((Record::Tls { content, .. }, left)) if content == content::APPLICATION_DATA => {
                left as u64
            }
            _ => 0,
        }
    }

    fn is_encrypted(&self) -> bool {
        self.halves.iter().any(|half| half.encrypted)
    }

    fn is_sealed(&self) -> bool {
        self.halves.iter().all(|half| half.encrypted)
    }

    fn heap_bytes(&self) -> usize {
        let messages = self.halves.iter().map(|half| half.message.capacity());
        size_of::<Self>() + messages.sum::<usize>() + self.single.heap_bytes()
    }
}
