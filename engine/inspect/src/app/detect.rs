//! Says which protocol a flow speaks, from the first bytes of either direction, on any port.

use super::{dcerpc, dns, http, ike, krb5, mqtt, nfs, quic, rdp, AppProto};
use crate::Direction;

/// Bytes of one direction after which nothing known will still be found in it.
const LIMIT_BYTES: usize = 2048;

/// Bytes of a client, of a server, with which Suricata has them for nothing known: as long as the longest of its
/// patterns (`BASELINE-CONTROL `, `HTTP/1.1`).
pub const PATTERN_BYTES: [usize; 2] = [17, 8];

/// What the first bytes told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// Too few bytes to say.
    NeedMore,
    /// The flow speaks this.
    Found(AppProto),
    /// Nothing known; it will stay so.
    Unknown,
}

/// How a direction's first bytes stand to the protocol that the other one told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// They are its, or may become so.
    Same,
    /// They are another one's.
    Other,
    /// They are nothing known.
    Nothing,
}

/// One flow's detection; small, and done after the first bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detector {
    given_up: [bool; 2],
    /// What each direction's bytes are not, whatever follows.
    excluded: [Excluded; 2],
    /// How many bytes each direction had when it was asked last, and whether it had ended.
    asked: [Option<(u32, bool)>; 2],
    found: Option<AppProto>,
    /// What the server's greeting makes likely, should the client's bytes be nothing known.
    greeted: Option<AppProto>,
    datagrams: u8,
    server_port: u16,
}

/// What one direction's bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    Found(AppProto),
    /// More bytes could still be something.
    Open,
    /// They are nothing known.
    Nothing,
}

impl Guess {
    fn of(proto: AppProto, said: Option<bool>) -> Self {
        match said {
            Some(true) => Self::Found(proto),
            Some(false) => Self::Nothing,
            None => Self::Open,
        }
    }
}

/// Of bytes that a session holds, whose bounds lie far below.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Detector {
    /// Learns the server's port, on which some protocols are told by less than elsewhere.
    pub fn meet(&mut self, server_port: u16) {
        self.server_port = server_port;
    }

    /// Says what the flow speaks, given one direction's bytes from its start (call again with more of them).
    ///
    /// `ended`: no more bytes of its start will come that way. A direction that has had its say is not asked
    /// again. Either direction may decide; `Unknown` comes when both have nothing to say, or one has said nothing
    /// known for 2,048 bytes.
    pub fn probe_tcp(&mut self, direction: Direction, prefix: &[u8], ended: bool) -> Detection {
        if let Some(proto) = self.found {
            return Detection::Found(proto);
        }
        // Most packets of a flow that tells nothing bring nothing new: what was not certain still is not.
        let side = direction as usize;
        let asked = Some((length(prefix.len()), ended));
        let before = std::mem::replace(&mut self.asked[side], asked);
        if before == asked {
            return Detection::NeedMore;
        }
        let known = before.map_or(0, |(bytes, _)| bytes as usize);
        if prefix.len() < known {
            self.excluded[side] = 0;
        }
        let guess = match prefix.get(known..) {
            _ if self.given_up[side] => Guess::Nothing,
            Some(fresh) if self.is_word_of_request(direction, fresh) => Guess::Open,
            _ => guess(
                direction,
                self.server_port,
                prefix,
                &mut self.excluded[side],
            ),
        };
        // Servers skip empty lines in front without end, so they do not count.
        let blank = prefix.iter().take_while(|byte| byte.is_ascii_whitespace());
        let long = prefix.len() - blank.count() >= LIMIT_BYTES;
        match guess {
            Guess::Found(proto) => {
                self.found = Some(proto);
                return Detection::Found(proto);
            }
            Guess::Open if !ended && !long => return Detection::NeedMore,
            Guess::Open | Guess::Nothing => self.given_up[side] = true,
        }
        if direction == Direction::ToClient {
            self.greeted = greeting_of(self.server_port, prefix);
        }
        if !long && self.given_up != [true; 2] {
            return Detection::NeedMore;
        }
        self.found = self.greeted;
        self.found.map_or(Detection::Unknown, Detection::Found)
    }

    /// Whether a client's bytes so far are a request's first line, if anything, and remain so with these behind them.
    fn is_word_of_request(&self, direction: Direction, fresh: &[u8]) -> bool {
        direction == Direction::ToServer
            && self.excluded[direction as usize] == ALL_BUT_REQUEST
            && fresh.iter().all(u8::is_ascii_graphic)
    }

    /// Whether it was last asked with so many bytes of `direction`: `Some` of whether those were all.
    pub fn was_asked(&self, direction: Direction, bytes: usize) -> Option<bool> {
        let (before, ended) = self.asked[direction as usize]?;
        (before == length(bytes)).then_some(ended)
    }

    /// How many bytes of `direction` were there when it was last asked.
    pub fn asked_bytes(&self, direction: Direction) -> usize {
        self.asked[direction as usize].map_or(0, |(bytes, _)| bytes as usize)
    }

    /// How the first bytes of `direction` stand to `proto`, by what Suricata would tell from them alone.
    ///
    /// We take a greeting that names FTP or SMTP for what it says, and any word before an HTTP version for a method;
    /// Suricata knows fewer of them.
    pub fn compare(&self, proto: AppProto, direction: Direction, prefix: &[u8]) -> Beginning {
        let greeting = match (proto, direction) {
            (AppProto::Ftp, Direction::ToClient) => Some(&b"220 ("[..]),
            (AppProto::Smtp, Direction::ToClient) => return Beginning::Nothing,
            (AppProto::Http, Direction::ToServer) if !names_known_method(prefix) => {
                return Beginning::Nothing
            }
            _ => None,
        };
        let guess = match greeting {
            Some(word) => Guess::of(proto, starts_with(prefix, word)),
            None => guess(direction, self.server_port, prefix, &mut 0),
        };
        match guess {
            Guess::Found(found) if found != proto => Beginning::Other,
            _ if proto == AppProto::Http
                && direction == Direction::ToClient
                && !names_known_version(prefix) =>
            {
                Beginning::Nothing
            }
            Guess::Found(_) | Guess::Open => Beginning::Same,
            Guess::Nothing => Beginning::Nothing,
        }
    }

    /// The same for one datagram. A flow of which 32 datagrams told nothing is not asked again.
    pub fn probe_udp(&mut self, direction: Direction, datagram: &[u8], ports: Ports) -> Detection {
        if let Some(proto) = self.found {
            return Detection::Found(proto);
        }
        if self.datagrams >= DATAGRAMS {
            return Detection::Unknown;
        }
        self.datagrams += 1;
        self.found = DATAGRAM_PROBES
            .iter()
            .find(|(_, probe)| probe(direction, datagram, ports))
            .map(|(proto, _)| *proto);
        match self.found {
            Some(proto) => Detection::Found(proto),
            None if self.datagrams >= DATAGRAMS => Detection::Unknown,
            None => Detection::NeedMore,
        }
    }
}

/// What a direction's first bytes say. Those of `excluded` are not asked again.
fn guess(direction: Direction, server_port: u16, prefix: &[u8], excluded: &mut Excluded) -> Guess {
    let probes = match direction {
        Direction::ToServer => CLIENT_PROBES,
        Direction::ToClient => SERVER_PROBES,
    };
    let guess = match first_of(probes, prefix, excluded) {
        // `USER ` may go on as `USER / HTTP/1.1`: servers take any method, so the line's end decides.
        Guess::Found(AppProto::Ssh | AppProto::Smtp | AppProto::Ftp | AppProto::Rfb)
            if direction == Direction::ToServer && is_http_request(prefix).is_none() =>
        {
            Guess::Open
        }
        guess => guess,
    };
    match (guess, guess_by_port(server_port, direction, prefix)) {
        (Guess::Nothing, by_port) => by_port,
        // What is open goes on as text, or is a binary protocol at home on another port.
        (Guess::Open, Guess::Found(app)) if !is_text(prefix) => Guess::Found(app),
        (guess, _) => guess,
    }
}

/// Client's and server's port.
pub type Ports = (u16, u16);

/// Whether a datagram is one of a protocol's messages.
type DatagramProbe = fn(Direction, &[u8], Ports) -> bool;

/// Datagrams of a flow that are looked at to tell its protocol.
const DATAGRAMS: u8 = 32;

/// Asked in this order; the first that says yes is believed.
const DATAGRAM_PROBES: &[(AppProto, DatagramProbe)] = &[
    (AppProto::BittorrentDht, |_, datagram, _| {
        super::bittorrent_dht::is_datagram(datagram)
    }),
    (AppProto::Dns, dns::is_datagram),
    (AppProto::Dcerpc, |_, datagram, _| dcerpc::is_udp(datagram)),
    (AppProto::Quic, |_, datagram, ports| {
        quic::is_datagram(datagram, ports)
    }),
    (AppProto::Ike, |_, datagram, ports| {
        ike::is_datagram(datagram, ports)
    }),
    (AppProto::Krb5, |_, datagram, _| krb5::is_datagram(datagram)),
    (AppProto::Nfs, nfs::rpc::is_datagram),
    (AppProto::Dhcp, |_, datagram, ports| {
        super::dhcp::is_datagram(datagram, ports)
    }),
    (AppProto::Ntp, |_, datagram, ports| {
        super::ntp::is_datagram(datagram, ports)
    }),
    (AppProto::Tftp, |_, datagram, ports| {
        super::tftp::is_datagram(datagram, ports)
    }),
    (AppProto::Sip, super::sip::is_datagram),
    (AppProto::Snmp, |_, datagram, _| {
        super::snmp::is_datagram(datagram)
    }),
];

/// What is spoken on a server's port, whatever else a client sends there: a server does not remember that.
const DATAGRAM_HOMES: &[(u16, AppProto)] = &[
    (53, AppProto::Dns),
    (67, AppProto::Dhcp),
    (69, AppProto::Tftp),
    (88, AppProto::Krb5),
    (111, AppProto::Nfs),
    (123, AppProto::Ntp),
    (161, AppProto::Snmp),
    (443, AppProto::Quic),
    (500, AppProto::Ike),
    (2049, AppProto::Nfs),
    (4500, AppProto::Ike),
    (5060, AppProto::Sip),
];

/// The protocol that is at home on a server's port.
pub fn at_home(server_port: u16) -> Option<AppProto> {
    let mut homes = DATAGRAM_HOMES.iter();
    let home = homes.find(|(port, _)| *port == server_port);
    home.map(|(_, app)| *app)
}

/// Whether a client's datagram is one of `app`'s. `ports`: the client's and the server's.
pub fn is_datagram_of(app: AppProto, datagram: &[u8], ports: Ports) -> bool {
    let mut probes = DATAGRAM_PROBES.iter();
    let probe = probes.find(|(known, _)| *known == app);
    probe.is_some_and(|(_, probe)| probe(Direction::ToServer, datagram, ports))
}

/// Whether a flow's first datagram answers one that was not seen, so that its receiver is the client.
///
/// `ports`: sender's and receiver's.
pub fn is_answer(datagram: &[u8], ports: Ports) -> bool {
    dns::is_datagram(Direction::ToClient, datagram, (ports.1, ports.0))
}

/// Whether the bytes that a direction begins with are those of a protocol; `None` while that is open.
type PortProbe = fn(Direction, &[u8]) -> Option<bool>;

/// Protocols that are told by little, on the server's port that is their own, from bytes that are those of no other.
const PORT_PROBES: &[(AppProto, u16, PortProbe)] = &[
    (AppProto::Mqtt, mqtt::PORT, |_, prefix| {
        mqtt::is_packet(prefix)
    }),
    (AppProto::Rdp, rdp::PORT, |_, prefix| rdp::is_stream(prefix)),
    // Nothing tells Telnet from other text but its port.
    (AppProto::Telnet, 23, |_, prefix| {
        (!prefix.is_empty()).then_some(true)
    }),
];

fn is_text(prefix: &[u8]) -> bool {
    let first = prefix.first();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'\r' | b'\n'))
}

fn guess_by_port(server_port: u16, direction: Direction, prefix: &[u8]) -> Guess {
    let mut probes = PORT_PROBES.iter().filter(|row| row.1 == server_port);
    probes.next().map_or(Guess::Nothing, |(app, _, probe)| {
        Guess::of(*app, probe(direction, prefix))
    })
}

/// What a client's first bytes are asked, in this order.
const CLIENT_PROBES: &[(AppProto, Probe)] = &[
    (AppProto::Http2, |it| starts_with(it, b"PRI * HTTP/2.0\r\n")),
    (AppProto::Http, is_http_request),
    (AppProto::Ssh, |it| starts_with(it, b"SSH-")),
    (AppProto::Tls, |it| is_tls_record(it, 1)),
    (AppProto::Krb5, krb5::is_stream),
    (AppProto::Smb, is_smb),
    (AppProto::Dcerpc, dcerpc::is_tcp),
    (AppProto::Nfs, nfs::rpc::is_stream),
    (AppProto::Smtp, |it| {
        is_command(it, &["EHLO", "HELO", "LHLO"])
    }),
    (AppProto::Ftp, |it| {
        is_command(it, &["USER", "PASS", "PORT", "AUTH TLS", "FEAT"])
    }),
    (AppProto::Mqtt, mqtt::is_connect),
    (AppProto::Rfb, |it| starts_with(it, b"RFB ")),
    // All that Suricata tells it by.
    (AppProto::Imap, |it| starts_with(it, b"1 capability")),
    (AppProto::Dns, |it| dns::is_stream(Direction::ToServer, it)),
];

/// What a server's first bytes are asked.
const SERVER_PROBES: &[(AppProto, Probe)] = &[
    (AppProto::Http, is_http_response),
    (AppProto::Ssh, |it| starts_with(it, b"SSH-")),
    (AppProto::Tls, |it| is_tls_record(it, 2)),
    (AppProto::Krb5, krb5::is_stream),
    (AppProto::Smb, is_smb),
    (AppProto::Dcerpc, dcerpc::is_tcp),
    // A greeting alone tells nothing, but is waited for.
    (AppProto::Smtp, |it| is_greeting(it).map(|_| false)),
    (AppProto::Rfb, |it| starts_with(it, b"RFB ")),
    (AppProto::Dns, |it| dns::is_stream(Direction::ToClient, it)),
];

/// Whether a direction's first bytes are those of a protocol; `None` while more could make them so. What is not, with
/// more bytes behind it, is not either.
type Probe = fn(&[u8]) -> Option<bool>;

/// A bit for each probe that said no.
type Excluded = u16;

/// Of a client's, that nothing but a request of HTTP is left.
const ALL_BUT_REQUEST: Excluded = (1 << CLIENT_PROBES.len()) - 1 - (1 << HTTP_PLACE);
const HTTP_PLACE: usize = 1;

/// The first that is certain; open while one could still be. Those of `excluded` are not asked again.
fn first_of(probes: &[(AppProto, Probe)], prefix: &[u8], excluded: &mut Excluded) -> Guess {
    let mut guess = Guess::Nothing;
    for (place, (proto, probe)) in probes.iter().enumerate() {
        if *excluded >> place & 1 != 0 {
            continue;
        }
        match probe(prefix) {
            Some(true) => return Guess::Found(*proto),
            Some(false) => *excluded |= 1 << place,
            None => guess = Guess::Open,
        }
    }
    guess
}

/// `None`: so far, but there is not enough.
fn starts_with(bytes: &[u8], word: &[u8]) -> Option<bool> {
    let shared = bytes.len().min(word.len());
    if bytes[..shared] != word[..shared] {
        return Some(false);
    }
    (shared == word.len()).then_some(true)
}

/// A line that begins with one of these words, in any case, and goes on with a space or ends.
fn is_command(bytes: &[u8], words: &[&str]) -> Option<bool> {
    let mut open = bytes.is_empty();
    for word in words {
        let shared = bytes.len().min(word.len());
        if bytes[..shared].eq_ignore_ascii_case(&word.as_bytes()[..shared]) {
            match bytes.get(word.len()) {
                Some(b' ' | b'\r' | b'\n') => return Some(true),
                Some(_) => {}
                None => open = true,
            }
        }
    }
    if open {
        None
    } else {
        Some(false)
    }
}

/// A known method and white space, or any first line that ends in `HTTP/` and a version.
///
/// Empty lines before it are skipped, as servers skip them.
fn is_http_request(bytes: &[u8]) -> Option<bool> {
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n' | b' ' | b'\t'))?;
    let text = &bytes[start..];
    let end = memchr::memchr(b'\n', text);
    let line = &text[..end.unwrap_or(text.len())];
    let word_end = line.iter().position(u8::is_ascii_whitespace);
    let method = &line[..word_end.unwrap_or(line.len())];
    if word_end.is_some() && http::is_known_method(method) {
        return Some(true);
    }
    if method.is_empty() || !method.iter().all(|byte| byte.is_ascii_graphic()) {
        return Some(false);
    }
    // The line's end decides, whatever stands before it.
    end.map(|_| http::names_protocol(line))
}

/// Whether a response begins with one of the versions that Suricata knows it by, or may still.
fn names_known_version(prefix: &[u8]) -> bool {
    [b"HTTP/0.9", b"HTTP/1.0", b"HTTP/1.1"]
        .iter()
        .any(|version| {
            let mut both = version.iter().zip(prefix);
            both.all(|(known, byte)| known.eq_ignore_ascii_case(byte))
        })
}

/// Whether a request begins with a method of a standard, as far as it is there.
fn names_known_method(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace);
    end.is_none_or(|end| http::is_known_method(&text[..end]))
}

fn is_http_response(bytes: &[u8]) -> Option<bool> {
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let text = &bytes[start..];
    let word = b"HTTP/";
    let shared = text.len().min(word.len());
    if !text[..shared].eq_ignore_ascii_case(&word[..shared]) {
        return Some(false);
    }
    text.get(word.len()).map(u8::is_ascii_digit)
}

/// A TLS record that begins a handshake, or SSL 2's hello. `hello`: 1 the client's, 2 the server's.
///
/// Source: RFC 8446, 5.1 and 4; RFC 6101, E.
fn is_tls_record(bytes: &[u8], hello: u8) -> Option<bool> {
    let handshake = [Some(0x16), Some(3), None, None, None, Some(hello)];
    let alert = [Some(0x15), Some(3), None, Some(0), Some(2)];
    let ssl2_tail = if hello == 1 {
        [Some(1), Some(3)]
    } else {
        [Some(4), None]
    };
    let ssl2 = [None, None, ssl2_tail[0], ssl2_tail[1]];
    let is_ssl2 = match bytes.first() {
        Some(first) if first & 0x80 == 0 => Some(false),
        _ if hello == 2 => matches(bytes, &ssl2).and_then(|fits| {
            if fits {
                is_ssl2_server(bytes)
            } else {
                Some(false)
            }
        }),
        _ => matches(bytes, &ssl2).and_then(|fits| {
            if fits {
                bytes.get(4).map(|minor| *minor <= 4)
            } else {
                Some(false)
            }
        }),
    };
    any_of(&[
        version_fits(bytes, matches(bytes, &handshake)),
        version_fits(bytes, matches(bytes, &alert)),
        is_ssl2,
    ])
}

fn version_fits(bytes: &[u8], fits: Option<bool>) -> Option<bool> {
    match bytes.get(2) {
        Some(minor) if *minor > 4 => Some(false),
        _ => fits,
    }
}

/// SSL 2's server hello: session-id-hit 0 or 1, certificate type 0 or 1, version 2.
fn is_ssl2_server(bytes: &[u8]) -> Option<bool> {
    matches(bytes, &[None, None, None, None, None, Some(0), Some(2)])
        .map(|fits| fits && bytes[3] <= 1 && bytes[4] <= 1)
}

/// Bytes against a pattern with holes; `None` while they are too few.
fn matches(bytes: &[u8], pattern: &[Option<u8>]) -> Option<bool> {
    let fits = bytes
        .iter()
        .zip(pattern)
        .all(|(byte, wanted)| wanted.is_none_or(|wanted| wanted == *byte));
    if !fits {
        return Some(false);
    }
    (bytes.len() >= pattern.len()).then_some(true)
}

fn any_of(guesses: &[Option<bool>]) -> Option<bool> {
    if guesses.contains(&Some(true)) {
        return Some(true);
    }
    if guesses.contains(&None) {
        None
    } else {
        Some(false)
    }
}

/// SMB 1, 2 or 3 behind NetBIOS's four bytes, or NetBIOS's session request. Source: MS-SMB2, 2.1; RFC 1002, 4.3.
fn is_smb(bytes: &[u8]) -> Option<bool> {
    let framed = |first| {
        [
            Some(0),
            None,
            None,
            None,
            Some(first),
            Some(b'S'),
            Some(b'M'),
            Some(b'B'),
        ]
    };
    any_of(&[
        matches(bytes, &framed(0xff)),
        matches(bytes, &framed(0xfe)),
        matches(bytes, &framed(0xfd)),
        matches(
            bytes,
            &[Some(0x81), Some(0), Some(0), Some(0x44), Some(0x20)],
        ),
        matches(bytes, &[Some(0x82), Some(0), Some(0), Some(0)]),
    ])
}

/// Whether bytes begin with a whole line of the kind `220 host ESMTP`; `None` while they may come to.
fn is_greeting(bytes: &[u8]) -> Option<bool> {
    let shared = bytes.len().min(3);
    let dash = bytes.get(3).is_none_or(|byte| b" -".contains(byte));
    match bytes[..shared] == b"220"[..shared] && dash {
        true => memchr::memchr(b'\n', bytes).map(|_| true),
        false => Some(false),
    }
}

/// What a first line of the kind `220 host ESMTP` makes likely, by the protocol's name in it or by the server's port. It
/// is for the client to say: whoever greets so may still be spoken to in HTTP.
fn greeting_of(server_port: u16, bytes: &[u8]) -> Option<AppProto> {
    let end = memchr::memchr(b'\n', bytes).filter(|_| is_greeting(bytes) == Some(true))?;
    let line = bytes[..end].to_ascii_uppercase();
    let names = |name: &[u8]| memchr::memmem::find(&line, name).is_some();
    match server_port {
        _ if names(b"SMTP") => Some(AppProto::Smtp),
        _ if names(b"FTP") => Some(AppProto::Ftp),
        25 | 587 => Some(AppProto::Smtp),
        21 => Some(AppProto::Ftp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use AppProto::*;
    use Direction::{ToClient, ToServer};

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x02ab\x00\x00\x01\x00\x01";
    const ANSWER: &[u8] =
        b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x02ab\x00\x00\x01\x00\x01\xc0\x0c";

    /// What beginnings are put together from.
    const WORDS: &[&[u8]] = &[
        b"GET",
        b"FROB",
        b" ",
        b"/",
        b"\r\n",
        b" HTTP/1.1",
        b"\x01",
        b"\x00",
        b"SSH-",
        b"USER",
        b"220 ",
        b"FTP",
        b"\x16\x03",
        b"\xfeSMB",
        b"RFB ",
        b"\x80",
    ];

    /// Beginnings that tell a protocol.
    fn beginnings() -> Vec<(Direction, Vec<u8>, AppProto)> {
        let over_tcp =
            |message: &[u8]| [&(message.len() as u16).to_be_bytes()[..], message].concat();
        let rows: &[(Direction, &[u8], AppProto)] = &[
            (ToServer, b"GET / HTTP/1.1\r\n", Http),
            (ToServer, b"\r\n\r\nget /x\r\n", Http),
            (ToServer, b"POST\t/ HTTP/1.0\r\n", Http),
            (ToServer, b"FROB /x HTTP/1.1\r\n", Http),
            (ToClient, b"HTTP/1.1 200 OK\r\n", Http),
            (ToClient, b"http/1.0 404\n", Http),
            (ToServer, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Http2),
            (
                ToServer,
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                Tls,
            ),
            (ToClient, b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76", Tls),
            (ToClient, b"\x15\x03\x01\x00\x02\x02\x28", Tls),
            (ToServer, b"\x80\x2e\x01\x03\x01\x00\x15", Tls),
            (ToServer, b"SSH-2.0-OpenSSH_9\r\n", Ssh),
            (ToClient, b"SSH-1.99-x\n", Ssh),
            (ToServer, b"EHLO a\r\n", Smtp),
            (ToServer, b"helo a\r\n", Smtp),
            (ToServer, b"USER anonymous\r\n", Ftp),
            (ToServer, b"\x00\x00\x00\x85\xffSMBr", Smb),
            (ToClient, b"\x00\x00\x00\xf8\xfeSMB@\x00", Smb),
            (
                ToServer,
                b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c",
                AppProto::Mqtt,
            ),
            (ToClient, b"RFB 003.008\n", AppProto::Rfb),
            (ToServer, b"1 capability\r\n", AppProto::Imap),
        ];
        let mut all: Vec<_> = rows
            .iter()
            .map(|(way, bytes, proto)| (*way, bytes.to_vec(), *proto))
            .collect();
        all.push((ToServer, over_tcp(QUERY), Dns));
        all.push((ToClient, over_tcp(ANSWER), Dns));
        all
    }

    #[test]
    fn tells_protocols_by_their_first_bytes() {
        for (direction, bytes, proto) in beginnings() {
            let found = Detector::default().probe_tcp(direction, &bytes, false);
            assert_eq!(found, Detection::Found(proto), "{}", bytes.escape_ascii());
        }
        assert_eq!(
            Detector::default().probe_udp(ToServer, QUERY, (40000, 53)),
            Detection::Found(Dns)
        );
        assert_eq!(
            Detector::default().probe_udp(ToClient, ANSWER, (40000, 53)),
            Detection::Found(Dns)
        );
        assert_eq!(
            Detector::default().probe_udp(ToServer, ANSWER, (40000, 53)),
            Detection::NeedMore
        );
    }

    #[test]
    fn on_a_port_of_its_own_a_protocol_is_told_by_less() {
        let rows: &[(u16, Direction, &[u8], AppProto)] = &[
            (1883, ToClient, b"\x20\x02\x00\x00", AppProto::Mqtt),
            (1883, ToServer, b"GET / HTTP/1.1\r\n", Http),
            (3389, ToServer, b"\x03\x00\x00\x0b\x06\xe0", AppProto::Rdp),
            (3389, ToServer, b"\x16\x03\x01\x02\x00\x01", Tls),
            (23, ToClient, b"\xff\xfd\x18", AppProto::Telnet),
        ];
        for (port, direction, bytes, proto) in rows {
            let mut detector = Detector::default();
            detector.meet(*port);
            let told = detector.probe_tcp(*direction, bytes, false);
            assert_eq!(told, Detection::Found(*proto), "{port}");
            let elsewhere = Detector::default().probe_tcp(*direction, bytes, false);
            let known = [Http, Tls].contains(proto);
            assert_eq!(elsewhere == told, known, "{port}");
        }
    }

    #[test]
    fn every_prefix_asks_for_more_until_it_is_certain() {
        for (direction, bytes, proto) in beginnings() {
            let mut detector = Detector::default();
            let mut before = Detection::NeedMore;
            for end in 0..=bytes.len() {
                let now = detector.probe_tcp(direction, &bytes[..end], false);
                let allowed = [Detection::NeedMore, Detection::Found(proto)];
                assert!(
                    allowed.contains(&now),
                    "{now:?} after {}",
                    bytes[..end].escape_ascii()
                );
                assert!(before == Detection::NeedMore || before == now);
                before = now;
            }
        }
    }

    #[test]
    fn unknown_takes_both_directions_or_many_bytes() {
        let mut detector = Detector::default();
        assert_eq!(
            detector.probe_tcp(ToServer, b"\x00\x01\x02\x03junk\n", false),
            Detection::NeedMore
        );
        assert_eq!(
            detector.probe_tcp(ToClient, b"+OK hello\r\n", false),
            Detection::Unknown
        );
        let mut detector = Detector::default();
        assert_eq!(
            detector.probe_tcp(ToServer, b"FROB\r\n", false),
            Detection::NeedMore
        );
        assert_eq!(
            detector.probe_tcp(ToClient, b"HTTP/1.1 400 Bad\r\n", false),
            Detection::Found(Http)
        );
        let mut detector = Detector::default();
        assert_eq!(
            detector.probe_tcp(ToServer, &[b'x'; 3000], false),
            Detection::Unknown
        );
        let mut detector = Detector::default();
        assert_eq!(detector.probe_tcp(ToServer, b"", true), Detection::NeedMore);
        assert_eq!(detector.probe_tcp(ToClient, b"", true), Detection::Unknown);
    }

    #[test]
    fn a_greeting_leaves_it_to_the_client() {
        let mut detector = Detector::default();
        assert_eq!(
            detector.probe_tcp(ToClient, b"220 hello\r\n", false),
            Detection::NeedMore
        );
        assert_eq!(
            detector.probe_tcp(ToServer, b"EHLO a\r\n", false),
            Detection::Found(Smtp)
        );
    }

    #[test]
    fn a_greeting_tells_where_the_client_says_nothing_known() {
        let request = b"GET / HTTP/1.1\r\n\r\n";
        for (port, greeting, client, found) in [
            (
                1,
                &b"220 mail.example ESMTP\r\n"[..],
                &b"NOOP\r\n"[..],
                Some(Smtp),
            ),
            (1, b"220-Welcome to vsFTPd\r\n", b"SYST\r\n", Some(Ftp)),
            (25, b"220 hello\r\n", b"NOOP\r\n", Some(Smtp)),
            (21, b"220 hello\r\n", b"SYST\r\n", Some(Ftp)),
            (1, b"220 hello\r\n", b"NOOP\r\n", None),
            (25, b"250 hello\r\n", b"NOOP\r\n", None),
            (25, b"220 x FTP\r\n", b"EHLO a\r\n", Some(Smtp)),
            (25, b"220 x ESMTP\r\n", request, Some(Http)),
        ] {
            for early in [false, true] {
                let mut detector = Detector::default();
                detector.meet(port);
                detector.probe_tcp(ToClient, &greeting[..4], false);
                if early {
                    detector.probe_tcp(ToServer, client, false);
                }
                detector.probe_tcp(ToClient, greeting, false);
                let last = detector.probe_tcp(ToServer, client, true);
                let told = found.map_or(Detection::Unknown, Detection::Found);
                let why = greeting.escape_ascii();
                assert!(last == told || early && detector.found == found, "{why}");
            }
        }
    }

    #[test]
    fn names_are_their_own_inverse() {
        for proto in [Http, Http2, Tls, Ssh, Smtp, Ftp, Dns, Smb] {
            assert_eq!(AppProto::from_name(proto.name()), Some(proto));
        }
        assert_eq!(AppProto::from_name("gopher"), None);
    }

    #[test]
    fn nothing_but_a_request_is_left_of_a_word_that_is_no_command() {
        assert_eq!(CLIENT_PROBES[HTTP_PLACE].0, Http);
        let mut detector = Detector::default();
        detector.probe_tcp(ToServer, b"FROB /of/what/nobody/knows", false);
        assert_eq!(detector.excluded[ToServer as usize], ALL_BUT_REQUEST);
    }

    proptest! {
        #[test]
        fn what_comes_in_pieces_is_told_as_if_it_came_at_once(
            words in prop::collection::vec(prop::sample::select(WORDS), 1..8),
            cuts in prop::collection::vec(0_usize..64, 0..8),
            to_server: bool,
        ) {
            let direction = if to_server { ToServer } else { ToClient };
            let bytes = words.concat();
            let mut detector = Detector::default();
            let mut ends: Vec<_> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
            ends.sort_unstable();
            for end in ends {
                detector.probe_tcp(direction, &bytes[..end], false);
            }
            let whole = Detector::default().probe_tcp(direction, &bytes, false);
            prop_assert_eq!(detector.probe_tcp(direction, &bytes, false), whole);
        }

        #[test]
        fn more_bytes_never_change_what_was_found(bytes: Vec<u8>, cut in 0_usize..100, to_server: bool) {
            let direction = if to_server { ToServer } else { ToClient };
            let early = Detector::default().probe_tcp(direction, &bytes[..cut.min(bytes.len())], false);
            let late = Detector::default().probe_tcp(direction, &bytes, false);
            if let Detection::Found(_) = early {
                prop_assert_eq!(early, late);
            }
        }
    }
}
