//! Messages as they come.

use super::transaction::{Algorithms, Header, Peer, Transaction};
use super::{version1, version2, MALFORMED_DATA, MULTIPLE_SERVER_PROPOSAL};
use crate::app::{Parser, Store, Touched, Transactions};
use crate::Direction;

/// Open transactions at once; each is complete when it comes.
const OPEN_LIMIT: usize = 32;
/// The port of key exchanges.
const PORT: u16 = 500;
/// Bytes of a header.
const HEADER_BYTES: u32 = 28;

/// One flow.
#[derive(Debug)]
pub struct Connection {
    store: Store<Transaction>,
    interpretation: Option<u32>,
    client: Peer,
    server: Peer,
    algorithms: Algorithms,
    /// What the server chose last, in version 2.
    chosen: Vec<(u8, u16)>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            store: Store::new(OPEN_LIMIT),
            interpretation: None,
            client: Peer::default(),
            server: Peer::default(),
            algorithms: Algorithms::default(),
            chosen: Vec::new(),
        }
    }
}

impl Connection {
    fn message(&mut self, direction: Direction, datagram: &[u8]) {
        let Some((header, payloads)) = Header::read(datagram) else {
            return;
        };
        let mut tx = Transaction::new(header, direction);
        match header.version.0 {
            1 => {
                tx.interpretation = self.interpretation;
                if version1::read(&mut tx, payloads).is_none() {
                    return;
                }
                self.learn(&mut tx);
            }
            2 => {
                if version2::read(&mut tx, payloads).is_none() {
                    tx.head.raise(MALFORMED_DATA);
                }
                if tx.from_server {
                    if !tx.chosen.is_empty() {
                        version2::choose(&mut self.algorithms, &tx.chosen);
                        self.chosen.clone_from(&tx.chosen);
                    }
                    tx.chosen.clone_from(&self.chosen);
                }
            }
            _ => return,
        }
        tx.client = self.client.clone();
        tx.server = self.server.clone();
        tx.algorithms = self.algorithms;
        tx.head.complete();
        self.store.open(tx);
    }

    /// Remembers what a message of version 1 says of its sender.
    fn learn(&mut self, tx: &mut Transaction) {
        const SECURITY_ASSOCIATION: u8 = 1;
        self.interpretation = tx.interpretation;
        if tx.header.flags & 1 != 0 {
            return;
        }
        let peer = match tx.from_server {
            true => &mut self.server,
            false => &mut self.client,
        };
        if tx.payloads.contains(&SECURITY_ASSOCIATION) {
            *peer = Peer::default();
        }
        if tx.from_server && peer.transforms <= 1 && peer.transforms + tx.transforms.len() > 1 {
            tx.head.raise(MULTIPLE_SERVER_PROPOSAL);
        }
        peer.key_exchange = tx.key_exchange.as_slice().into();
        peer.nonce = tx.nonce.as_slice().into();
        if let (0, Some(first)) = (peer.transforms, tx.transforms.first()) {
            peer.first = first.as_slice().into();
        }
        peer.transforms += tx.transforms.len();
    }
}

/// Whether a datagram is a key exchange's; its header is too little to tell it on other ports than its own.
pub(crate) fn is_datagram(datagram: &[u8], ports: (u16, u16)) -> bool {
    let Some((header, _)) = Header::read(datagram) else {
        return false;
    };
    let usual = ports.0 == PORT || ports.1 == PORT;
    let whole = usize::try_from(header.length) == Ok(datagram.len());
    match header.version {
        (1, _) => usual && header.length >= HEADER_BYTES,
        (2, 0) => usual && whole && (34..=37).contains(&header.exchange),
        _ => false,
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        self.message(direction, bytes);
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

    fn heap_bytes(&self) -> usize {
        let peers = [&self.client, &self.server].map(|peer| {
            let attributes = peer.first.iter().map(|it| 48 + it.bytes.len());
            peer.key_exchange.len() + peer.nonce.len() + attributes.sum::<usize>()
        });
        size_of::<Self>()
            + peers.iter().sum::<usize>()
            + 4 * self.chosen.capacity()
            + self.store.heap_bytes()
    }
}
