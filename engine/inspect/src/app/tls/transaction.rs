//! A connection's handshake, which is its one transaction.

use std::any::Any;
use std::cell::OnceCell;

use super::certificate::Chain;
use super::eve;
use super::fingerprint::{ja3, ja3s, ja4, Ja3};
use super::hello::Hello;
use crate::app::{AppProto, Description, Head, Purpose};
use crate::Direction;

/// What one end said of itself.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The version it speaks: its hello's, before that its records'. 0: unknown.
    pub version: u16,
    /// Its first hello.
    pub hello: Option<Box<Hello>>,
    /// Its certificates.
    pub chain: Chain,
}

/// The handshake message read last, as `ssl_state` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// None, or another.
    #[default]
    Other,
    /// `client_hello`
    ClientHello,
    /// `server_hello`
    ServerHello,
    /// `client_keyx`
    ClientKeyExchange,
    /// `server_keyx`
    ServerKeyExchange,
}

/// One connection's handshake.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What the engine keeps in it.
    pub head: Head,
    /// The client.
    pub client: Peer,
    /// The server.
    pub server: Peer,
    /// The handshake message that was read last.
    pub state: State,
    /// Something that tells the peers have agreed: the server's certificate, or application data.
    pub done: bool,
    /// The server's hello is one of TLS 1.3, whose certificates are encrypted.
    pub hides_certificates: bool,
    /// A session was offered and taken up, or a ticket was offered.
    pub resumed: bool,
    /// The server asked for the client's certificate, which is still to come.
    pub awaits_certificate: bool,
    /// What was spoken until the peers agreed on TLS.
    pub from: Option<AppProto>,
    /// A server's hello was seen, of SSL 2 too.
    pub answered: bool,
    ja3: OnceCell<Box<Ja3>>,
    ja3s: OnceCell<Box<Ja3>>,
    ja4: OnceCell<String>,
}

impl Transaction {
    /// The end that sends in that direction.
    pub fn peer(&self, direction: Direction) -> &Peer {
        match direction {
            Direction::ToServer => &self.client,
            Direction::ToClient => &self.server,
        }
    }

    /// The same, mutable.
    pub fn peer_mut(&mut self, direction: Direction) -> &mut Peer {
        match direction {
            Direction::ToServer => &mut self.client,
            Direction::ToClient => &mut self.server,
        }
    }

    /// The fingerprint of that end's hello, if it could be read whole. Made when first asked for.
    pub fn ja3(&self, direction: Direction) -> Option<&Ja3> {
        let hello = self.peer(direction).hello.as_deref();
        let hello = hello.filter(|hello| hello.complete)?;
        Some(match direction {
            Direction::ToServer => self.ja3.get_or_init(|| Box::new(ja3(hello))),
            Direction::ToClient => self.ja3s.get_or_init(|| Box::new(ja3s(hello))),
        })
    }

    /// Likewise JA4.
    pub fn ja4(&self) -> Option<&str> {
        let hello = self.client.hello.as_deref().filter(|it| it.complete)?;
        Some(self.ja4.get_or_init(|| ja4(hello, false)))
    }

    /// Whether some signature asked for JA3 or JA3S.
    pub(super) fn has_ja3(&self) -> bool {
        self.ja3.get().is_some() || self.ja3s.get().is_some()
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
        AppProto::Tls
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_tellable(&self) -> bool {
        self.done && !self.awaits_certificate
    }

    fn describe(&self, purpose: Purpose) -> Option<Description<'_>> {
        let known = self.server.chain.first.is_some() || self.resumed || self.hides_certificates;
        let told = purpose != Purpose::Record || known;
        told.then(|| eve::describe(self, purpose))
    }

    fn heap_bytes(&self) -> usize {
        let peers = [&self.client, &self.server].into_iter().map(|peer| {
            peer.chain.heap_bytes() + peer.hello.as_ref().map_or(0, |it| it.heap_bytes() + 256)
        });
        let fingerprints = [&self.ja3, &self.ja3s]
            .into_iter()
            .filter_map(OnceCell::get)
            .map(|made| 96 + made.string.capacity());
        size_of::<Self>() + peers.sum::<usize>() + fingerprints.sum::<usize>()
    }
}
