//! A connection's two streams: a banner each, then packets until both are encrypted.

use super::transaction::{Hassh, Transaction};
use super::{INVALID_BANNER, INVALID_RECORD, LONG_BANNER};
use crate::app::cursor::Cursor;
use crate::app::single::Single;
use crate::app::{Parser, Stage, Touched, Transactions};
use crate::Direction;

/// A banner has at most 255 bytes (RFC 4253, 4.2); of a longer one this much is read.
const BANNER_LIMIT: usize = 256;
/// So many lines may stand before a server's banner: more than clients bear (OpenSSH: 1,024).
const MAX_LINES_BEFORE: u32 = 1_024;
/// Bytes kept of a key exchange's first packet; OpenSSH takes packets of up to 262,144 and sends 1,500.
const PACKET_LIMIT: usize = 65_536;
/// Length, padding and message number, which begin every packet.
const HEADER_BYTES: usize = 6;

/// Message numbers. Source: RFC 4253, 12.
const KEY_EXCHANGE_INIT: u8 = 20;
const NEW_KEYS: u8 = 21;

/// Where one direction stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// In the banner, or a line before the server's.
    #[default]
    Banner,
    /// In the rest of a line before it that is too long for a banner.
    RestOfLine,
    /// In the rest of a banner that is too long.
    RestOfBanner,
    /// At or in a packet's header.
    Header,
    /// In a packet that is read when it is whole: so many bytes are to come.
    Packet(usize),
    /// In a packet that is passed over.
    PassingOver(usize),
    /// Behind the new keys.
    Encrypted,
    /// Behind bytes that were not seen.
    Lost,
}

#[derive(Debug, Default)]
struct Half {
    phase: Phase,
    /// What is being put together.
    buffer: Vec<u8>,
}

/// One SSH connection.
#[derive(Debug, Default)]
pub struct Connection {
    single: Single<Transaction>,
    halves: [Half; 2],
    /// Lines that stood before the server's banner.
    lines_before: u32,
    /// It is no SSH.
    broken: bool,
}

impl Connection {
    /// A connection of which nothing was seen; `hassh`: fingerprints are made.
    pub fn new(hassh: bool) -> Self {
        let mut connection = Self::default();
        connection.single.quietly(|tx| tx.hassh = hassh);
        connection
    }

    fn read(&mut self, direction: Direction, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.broken {
            let half = &mut self.halves[direction as usize];
            match half.phase {
                Phase::Banner => bytes = self.banner(direction, bytes),
                Phase::RestOfLine | Phase::RestOfBanner => {
                    let Some(at) = memchr::memchr(b'\n', bytes) else {
                        return;
                    };
                    bytes = &bytes[at + 1..];
                    if half.phase == Phase::RestOfLine {
                        half.phase = Phase::Banner;
                    } else {
                        half.phase = Phase::Header;
                        self.reach(direction, Stage::Headers);
                    }
                }
                Phase::Header => {
                    let missing = HEADER_BYTES - half.buffer.len();
                    let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
                    half.buffer.extend_from_slice(taken);
                    bytes = rest;
                    if half.buffer.len() == HEADER_BYTES {
                        self.header(direction);
                    }
                }
                Phase::Packet(left) => {
                    let (taken, rest) = bytes.split_at(left.min(bytes.len()));
                    half.buffer.extend_from_slice(taken);
                    bytes = rest;
                    half.phase = Phase::Packet(left - taken.len());
                    if left == taken.len() {
                        half.phase = Phase::Header;
                        let packet = std::mem::take(&mut half.buffer);
                        self.key_exchange(direction, &packet[HEADER_BYTES..]);
                    }
                }
                Phase::PassingOver(left) => {
                    let passed = left.min(bytes.len());
                    bytes = &bytes[passed..];
                    half.phase = match left - passed {
                        0 => Phase::Header,
                        left => Phase::PassingOver(left),
                    };
                }
                Phase::Encrypted | Phase::Lost => return,
            }
        }
    }

    /// Bytes of the banner's line; returns what follows them.
    fn banner<'a>(&mut self, direction: Direction, bytes: &'a [u8]) -> &'a [u8] {
        let half = &mut self.halves[direction as usize];
        let room = BANNER_LIMIT - half.buffer.len();
        let end = memchr::memchr(b'\n', &bytes[..room.min(bytes.len())]);
        let taken = end.unwrap_or(room.min(bytes.len()));
        half.buffer.extend_from_slice(&bytes[..taken]);
        let is_long = end.is_none() && half.buffer.len() == BANNER_LIMIT;
        if end.is_none() && !is_long {
            return &[];
        }
        let line = std::mem::take(&mut half.buffer);
        half.phase = match end {
            Some(_) => Phase::Header,
            None => Phase::RestOfBanner,
        };
        let rest = &bytes[taken + usize::from(end.is_some())..];
        let Some((protocol, software)) = split_banner(&line) else {
            self.pass_over(direction, &line, end.is_some());
            return rest;
        };
        self.single.change(|tx| {
            let peer = tx.peer_mut(direction);
            peer.protocol = protocol.to_vec();
            peer.software = software.to_vec();
            if is_long {
                tx.head.raise(LONG_BANNER);
            }
        });
        if !is_long {
            self.reach(direction, Stage::Headers);
        }
        rest
    }

    /// A line that is no banner: before its own a server may send others, which do not begin like one.
    fn pass_over(&mut self, direction: Direction, line: &[u8], ended: bool) {
        self.lines_before += 1;
        if direction == Direction::ToServer
            || line.starts_with(b"SSH-")
            || self.lines_before > MAX_LINES_BEFORE
        {
            return self.give_up(INVALID_BANNER);
        }
        // Suricata calls it that, and reads nothing more of the server.
        if self.lines_before == 1 {
            self.single.raise(INVALID_BANNER);
        }
        self.halves[direction as usize].phase = match ended {
            true => Phase::Banner,
            false => Phase::RestOfLine,
        };
    }

    /// A packet's header is whole.
    fn header(&mut self, direction: Direction) {
        let half = &mut self.halves[direction as usize];
        let mut header = Cursor(&half.buffer);
        let length = header.array().map_or(0, u32::from_be_bytes) as usize;
        let message = header.take(1).and(header.u8());
        // The length counts padding's length and message number, which the header holds already.
        let Some(left) = length.checked_sub(2) else {
            return self.give_up(INVALID_RECORD);
        };
        match message {
            Some(KEY_EXCHANGE_INIT) if left <= PACKET_LIMIT && left > 0 => {
                half.phase = Phase::Packet(left);
                return;
            }
            Some(NEW_KEYS) => {
                half.phase = Phase::Encrypted;
                self.single
                    .quietly(|tx| tx.peer_mut(direction).sealed = true);
                self.reach(direction, Stage::Trailer);
            }
            _ if left > 0 => half.phase = Phase::PassingOver(left),
            _ => {}
        }
        self.halves[direction as usize].buffer.clear();
    }

    /// A key exchange's first message, without its number: cookie, ten lists of names, …
    fn key_exchange(&mut self, direction: Direction, body: &[u8]) {
        let Some(lists) = name_lists(body) else {
            return self.single.raise(INVALID_RECORD);
        };
        if self.single.get().is_some_and(|tx| tx.hassh) {
            // Of each pair the first is about what the client sends, the second about what the server sends.
            let own = direction as usize;
            let hassh = Hassh::new([lists[0], lists[2 + own], lists[4 + own], lists[6 + own]]);
            self.single.change(|tx| {
                let peer = tx.peer_mut(direction);
                peer.hassh.get_or_insert_with(|| Box::new(hassh));
            });
        }
        self.reach(direction, Stage::Body);
    }

    fn reach(&mut self, direction: Direction, stage: Stage) {
        self.single.change(|tx| tx.head.reach(direction, stage));
    }

    fn give_up(&mut self, name: &'static str) {
        self.single.raise(name);
        self.broken = true;
    }

    /// The transaction, if it changed since that direction was last inspected.
    fn touched(&mut self, direction: Direction) -> Touched {
        if !self.single.has_news(direction) {
            return 0..0;
        }
        self.single.show(direction, Stage::Line)
    }
}

/// Protocol and software version of `SSH-2.0-OpenSSH_9.2p1 Debian-2`. Source: RFC 4253, 4.2.
fn split_banner(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = line.strip_prefix(b"SSH-")?;
    let dash = memchr::memchr(b'-', rest)?;
    let (protocol, software) = (&rest[..dash], &rest[dash + 1..]);
    let end = memchr::memchr2(b' ', b'\r', software).unwrap_or(software.len());
    (!protocol.is_empty()).then_some((protocol, &software[..end]))
}

/// The ten lists behind the cookie. Source: RFC 4253, 7.1.
fn name_lists(body: &[u8]) -> Option<[&[u8]; 10]> {
    let mut rest = Cursor(body);
    rest.take(16)?;
    let mut lists = [&[][..]; 10];
    for list in &mut lists {
        let len = u32::from_be_bytes(rest.array()?);
        *list = rest.take(usize::try_from(len).ok()?)?;
    }
    Some(lists)
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        self.read(direction, bytes);
        self.touched(direction)
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        let half = &mut self.halves[direction as usize];
        match half.phase {
            Phase::Encrypted => {}
            Phase::PassingOver(left) if left as u64 > len => {
                half.phase = Phase::PassingOver(left - len as usize);
            }
            _ => half.phase = Phase::Lost,
        }
        self.touched(direction)
    }

    fn close(&mut self, direction: Direction) -> Touched {
        self.single.show(direction, Stage::Complete)
    }

    fn transactions(&self) -> &dyn Transactions {
        self.single.transactions()
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        self.single.transactions_mut()
    }

    fn skippable(&self, direction: Direction) -> u64 {
        match self.halves[direction as usize].phase {
            _ if self.broken => u64::MAX,
            Phase::Encrypted | Phase::Lost => u64::MAX,
            _ => 0,
        }
    }

    fn is_encrypted(&self) -> bool {
        self.halves
            .iter()
            .all(|half| half.phase == Phase::Encrypted)
    }

    fn heap_bytes(&self) -> usize {
        let buffers = self.halves.iter().map(|half| half.buffer.capacity());
        size_of::<Self>() + buffers.sum::<usize>() + self.single.heap_bytes()
    }
}
