//! What the engine asks of an application protocol's parser.
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use super::{dcerpc, dns, ftp, http, http2, ike, krb5, mqtt, nfs, quic, rfb, smb, smtp, ssh, tls};
use super::{AppProto, FileSettings, HashKinds, Touched, Transactions};
use crate::Direction;

/// Bounds and depths of all parsers.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// HTTP's, of either version; all its connections share them.
    pub http: Arc<http::Settings>,
    /// How files are kept, of every protocol but HTTP, whose bodies have depths of their own.
    pub files: FileSettings,
    /// FTP's commands are shown once they are answered, as Suricata has them looked at: of a capture alone, for
    /// nothing would be held back that way.
    pub answered_only: bool,
    /// Fingerprints of SSH's key exchanges are made: where signatures ask for them.
    pub hassh: bool,
}

impl Settings {
    /// What is computed of the files of every protocol that are begun from now on.
    pub fn look_at_files(&mut self, hashes: HashKinds, magic: bool) {
        for files in [&mut self.files, &mut Arc::make_mut(&mut self.http).files] {
            files.hashes = hashes;
            files.magic = magic;
        }
    }
}

/// What carries a protocol's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TCP: bytes in any pieces.
    Stream,
    /// UDP: one message a datagram.
    Datagrams,
}

/// The bytes of one flow, read as one protocol.
///
/// Memory is bounded by each parser's own named bounds; nothing that a peer sends makes it panic.
pub trait Parser: Debug + Send {
    /// Learns the addresses of the two ends, once and before anything else.
    fn meet(&mut self, _client: IpAddr, _server: IpAddr) {}

    /// Learns what the peers spoke until they agreed on this protocol, before any bytes.
    fn come_from(&mut self, _left: AppProto) {}

    /// Reads the next bytes of one direction, in whatever pieces they come; over UDP one whole datagram.
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched;

    /// Says that `len` bytes of one direction were never seen.
    fn gap(&mut self, direction: Direction, len: u64) -> Touched;

    /// Says that one direction has ended: whatever is half-read there is complete.
    fn close(&mut self, direction: Direction) -> Touched;

    /// The open transactions.
    fn transactions(&self) -> &dyn Transactions;

    /// The same, mutable.
    fn transactions_mut(&mut self) -> &mut dyn Transactions;

    /// How many of the next bytes that way change nothing but counters (a body past its inspection depth), so
    /// that [`Parser::gap`] does for them. `u64::MAX`: all there will ever be.
    fn skippable(&self, _direction: Direction) -> u64 {
        0
    }

    /// Bytes reached the receiver that no signature can have been shown, by intent of the sender.
    fn is_blind(&self) -> bool {
        false
    }

    /// It met what Suricata stops reading at, though it reads on itself.
    fn has_failed(&self) -> bool {
        false
    }

    /// Suricata stops reading at bytes that come in `direction` now.
    fn is_out_of_turn(&self, _direction: Direction) -> bool {
        false
    }

    /// The peers agreed on another protocol (STARTTLS, CONNECT, Upgrade): what follows in both directions is to
    /// be told anew.
    fn has_switched(&self) -> bool {
        false
    }

    /// What reads on where this one has switched, if it was agreed upon by name; whatever the client sent of it
    /// too early it has been given.
    fn successor(&mut self) -> Option<(AppProto, Box<dyn Parser>)> {
        None
    }

    /// How many of the last bytes it was fed belong to what it switched to.
    fn unread(&self) -> usize {
        0
    }

    /// What follows is encrypted.
    fn is_encrypted(&self) -> bool {
        false
    }

    /// Both ends encrypt, so that nothing of what follows can be looked into.
    fn is_sealed(&self) -> bool {
        self.is_encrypted()
    }

    /// What the server sends must be shown even where nobody looks at it: what the client sends cannot be
    /// understood without. Where it may say no it must bear with [`Parser::skip_answers`].
    fn awaits_answers(&self) -> bool {
        true
    }

    /// Says that what the server sends is not shown (`true`), or shown again.
    fn skip_answers(&mut self, _skipped: bool) {}

    /// Where it has switched, its peers may not have: what then is told to be no protocol is this one still.
    fn may_go_on(&self) -> bool {
        false
    }

    /// A connection that the peers agreed to open beside this one; each is returned once.
    fn take_expected(&mut self) -> Option<Expected> {
        None
    }

    /// Bytes of heap held, roughly, for the flow table's memory bound; may walk the open transactions.
    fn heap_bytes(&self) -> usize;
}

/// A connection that two peers agreed on, as FTP does for its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What it will speak.
    pub app: AppProto,
    /// Which end of *this* flow will listen: `ToServer` its server, `ToClient` its client.
    pub listener: Direction,
    /// The listener's address where it was told another than its own.
    pub address: Option<IpAddr>,
    /// The listener's port.
    pub port: u16,
    /// What is handed to the parser of that connection (a file's name, a command).
    pub note: Vec<u8>,
}

/// A parser for a flow that speaks `app`; `None`: that protocol is told but not parsed.
///
/// `note`: what announced it said of it, see [`Expected::note`].
pub fn parser_for(
    app: AppProto,
    carrier: Carrier,
    note: &[u8],
    settings: &Settings,
) -> Option<Box<dyn Parser>> {
    match app {
        AppProto::Dcerpc => Some(match carrier {
            Carrier::Stream => Box::new(dcerpc::Connection::default()),
            Carrier::Datagrams => Box::new(dcerpc::Exchange::default()),
        }),
        AppProto::Dns => Some(Box::new(dns::Connection::new(carrier))),
        AppProto::Ftp => Some(Box::new(ftp::Connection::new(settings.answered_only))),
        AppProto::FtpData => Some(Box::new(ftp::DataConnection::new(note, settings.files))),
        AppProto::Http => Some(Box::new(http::Connection::new(settings.http.clone()))),
        AppProto::Http2 => Some(Box::new(http2::Connection::new(settings.http.clone()))),
        AppProto::Smb => Some(Box::new(smb::Connection::new(settings.files))),
        AppProto::Smtp => Some(Box::new(smtp::Connection::new(settings.files))),
        AppProto::Ike => Some(Box::new(ike::Connection::default())),
        AppProto::Krb5 => Some(Box::new(krb5::Connection::new(carrier))),
        AppProto::Mqtt => Some(Box::new(mqtt::Connection::new())),
        AppProto::Nfs => Some(Box::new(nfs::Connection::new(carrier, settings.files))),
        AppProto::Quic => Some(Box::new(quic::Connection::default())),
        AppProto::BittorrentDht => Some(Box::new(super::bittorrent_dht::Connection::new())),
        AppProto::Rdp => Some(Box::new(super::rdp::Connection::new())),
        AppProto::Rfb => Some(Box::new(rfb::Connection::default())),
        AppProto::Ssh => Some(Box::new(ssh::Connection::new(settings.hassh))),
        AppProto::Tls => Some(Box::new(tls::Connection::default())),
        AppProto::Dhcp => Some(Box::new(super::dhcp::Connection::new())),
        AppProto::Ntp => Some(Box::new(super::ntp::Connection::new())),
        AppProto::Tftp => Some(Box::new(super::tftp::Connection::new())),
        AppProto::Sip => Some(Box::new(super::sip::Connection::new())),
        AppProto::Snmp => Some(Box::new(super::snmp::Connection::new())),
        _ => None,
    }
}
