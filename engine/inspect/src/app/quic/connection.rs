//! Datagrams as they come, up to both hellos.

use md5::{Digest, Md5};

use super::frames::{frames, Assembly, Frame, Tag};
use super::header::{Kind, Packet};
use super::keys::Keys;
use super::transaction::{Cyu, Transaction};
use super::{CRYPTO_FRAG_TOO_LONG, ERROR_ON_DATA, FAILED_DECRYPT};
use crate::app::tls::{self, hex, Hello, Oddities};
use crate::app::{Parser, Store, Touched, Transactions};
use crate::Direction;

/// Open transactions at once; each is complete when it comes.
const OPEN_LIMIT: usize = 32;
/// Packets of one flow that are looked at for a hello: handshakes take a handful.
const PACKETS_LIMIT: u32 = 256;

/// One flow.
#[derive(Debug)]
pub struct Connection {
    store: Store<Transaction>,
    keys: Option<Keys>,
    hellos: [Assembly; 2],
    /// The hello that way was read: what follows is encrypted.
    greeted: [bool; 2],
    packets: u32,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            store: Store::new(OPEN_LIMIT),
            keys: None,
            hellos: Default::default(),
            greeted: [false; 2],
            packets: 0,
        }
    }
}

impl Connection {
    fn datagram(&mut self, direction: Direction, mut datagram: &[u8]) {
        while !datagram.is_empty() && !self.greeted[direction as usize] {
            // A datagram may carry several packets; a short header is the last.
            let Some(packet) = Packet::read(&mut datagram) else {
                return;
            };
            self.packets += 1;
            if self.packets > PACKETS_LIMIT {
                self.greeted = [true; 2];
                return;
            }
            let mut tx = Transaction::new(packet.version, direction);
            let readable = self.packet(direction, &packet, &mut tx);
            tx.head.complete();
            self.store.open(tx);
            if !readable {
                return;
            }
        }
    }

    /// Reads what a packet holds into its transaction; false: the rest of the datagram cannot be read.
    fn packet(&mut self, direction: Direction, packet: &Packet<'_>, tx: &mut Transaction) -> bool {
        match packet.kind {
            Kind::Initial => {}
            Kind::Retry => {
                // The client begins anew, with keys that are made of the server's identifier.
                self.keys = None;
                self.hellos = Default::default();
                self.greeted = [false; 2];
                return true;
            }
            _ => return true,
        }
        if self.keys.is_none() && direction == Direction::ToServer {
            self.keys = Keys::new(packet.version, packet.destination);
        }
        let opened = match &self.keys {
            Some(keys) => {
                let Some(opened) = keys.open(direction, packet.header, packet.body) else {
                    tx.head.raise(FAILED_DECRYPT);
                    return false;
                };
                Some(opened)
            }
            None => None,
        };
        let Ok(frames) = frames(opened.as_deref().unwrap_or(packet.body)) else {
            tx.head.raise(ERROR_ON_DATA);
            return false;
        };
        for frame in frames {
            match frame {
                Frame::Crypto { offset, bytes } => {
                    if !self.hellos[direction as usize].add(offset, bytes) {
                        tx.head.raise(CRYPTO_FRAG_TOO_LONG);
                    }
                }
                Frame::Tags(Some(tags)) => read_tags(packet.version, &tags, tx),
                Frame::Tags(None) | Frame::Other => {}
            }
        }
        self.hello(direction, tx);
        true
    }

    /// Reads the hello, once it is whole.
    fn hello(&mut self, direction: Direction, tx: &mut Transaction) {
        let Some((kind, body)) = self.hellos[direction as usize].message() else {
            return;
        };
        let kind = match kind {
            1 => tls::Kind::Client,
            2 => tls::Kind::Server,
            _ => return,
        };
        self.hellos[direction as usize] = Assembly::default();
        self.greeted[direction as usize] = true;
        let hello = Hello::read(kind, &body, &mut Oddities::new());
        tx.sni.clone_from(&hello.sni);
        tx.ja3 = Some(Box::new(tls::ja3_with_grease(kind, &hello)));
        tx.hello = Some(Box::new(hello));
    }
}

/// What Google's hello says, and its fingerprint.
fn read_tags(version: u32, tags: &[Tag<'_>], tx: &mut Transaction) {
    for (tag, value) in tags {
        match tag {
            b"SNI\0" => tx.sni = Some(value.to_vec()),
            b"UAID" => tx.user_agent = Some(value.to_vec()),
            _ => {}
        }
    }
    let version = match &version.to_be_bytes() {
        b"Q043" => "43",
        b"Q044" | b"Q045" => "44",
        b"Q046" => "46",
        _ => return,
    };
    let names: Vec<_> = tags
        .iter()
        .map(|(tag, _)| String::from_utf8_lossy(tag.strip_suffix(b"\0").unwrap_or(tag)))
        .collect();
    let string = format!("{version},{}", names.join("-"));
    let hash = hex(&Md5::digest(&string));
    tx.cyu.push(Cyu { string, hash });
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        self.datagram(direction, bytes);
        self.store.take_touched()
    }

    fn gap(&mut self, _direction: Direction, _len: u64) -> Touched {
        self.store.take_touched()
    }

    fn close(&mut self, _direction: Direction) -> Touched {
        self.store.take_touched()
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.store
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.store
    }

    fn is_encrypted(&self) -> bool {
        self.greeted == [true; 2]
    }

    fn heap_bytes(&self) -> usize {
        let hellos = self.hellos.iter().map(Assembly::heap_bytes);
        let keys = if self.keys.is_some() { 2_048 } else { 0 };
        size_of::<Self>() + hellos.sum::<usize>() + keys + self.store.heap_bytes()
    }
}
