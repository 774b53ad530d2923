//! What must be looked at for a guest: which connections, by port, in which directions.
//!
//! What no assigned signature can look at need not leave the kernel. What one looks at is more than its own
//! packets: a signature on a protocol needs both directions of every connection that may turn out to speak it,
//! for requests are not understood without their answers (CONNECT, STARTTLS, 101, FTP, SMB), nor is a protocol
//! told without them. What a signature remembers for another (flowbits, xbits) is in here because whoever
//! remembers it is assigned too.
//!
//! A guest is an end of each of its connections, the server or the client; ports are its *own* and the *peer*'s.
use serde::Serialize;

use crate::app::{AppProto, AppSet};
use crate::detect::address::{resolve, within, AddressTest, PortTest};
use crate::rule::buffer::{Inspection, Test};
use crate::rule::threshold::ThresholdKind;
use crate::rule::{may_fit_empty_segment, Operand, Scene, Signature, TagScope, Variables};
use crate::wire::TUNNEL_UDP_PORTS;
use crate::Direction;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ROLES: [Role; 2] = [Role::Server, Role::Client];
const EVERY_PORT: (u16, u16) = (0, u16::MAX);

/// Ranges of which many may be the same ones are put in order when there are more than these.
const MAX_UNSETTLED: usize = 4096;

/// Conditions on a packet that are about what its connection did in both directions.
const ABOUT_BOTH_DIRECTIONS: &[&str] = &["stream_size", "flow.age", "engine-event"];

/// Protocols whose connections turn into, or announce, others: what they speak in the end is not told yet.
const LEADS_ELSEWHERE: AppSet = AppSet::of(&[
    AppProto::Http,
    AppProto::Http2,
    AppProto::Smtp,
    AppProto::Ftp,
    AppProto::Imap,
    AppProto::Rdp,
    AppProto::Smb,
    AppProto::Dcerpc,
]);

/// Which end of a connection a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It was connected to.
    Server,
    /// It connected.
    Client,
}

/// Ports, as sorted ranges that neither overlap nor touch once settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ports(Vec<(u16, u16)>);

impl Ports {
    fn add(&mut self, ranges: &[(u16, u16)]) {
        if self.0 != [EVERY_PORT] {
            match ranges {
                [EVERY_PORT] => self.0 = vec![EVERY_PORT],
                _ => self.0.extend_from_slice(ranges),
            }
            if self.0.len() > MAX_UNSETTLED {
                self.settle();
            }
        }
    }

    fn settle(&mut self) {
        self.0.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (first, last) in self.0.drain(..) {
            match merged.last_mut() {
                Some(open) if u32::from(first) <= u32::from(open.1) + 1 => {
                    open.1 = open.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        self.0 = merged;
    }

    fn holds(&self, port: u16) -> bool {
        within(&self.0, &port)
    }
}

/// Connections by the ports of their ends: any whose port at the guest, or at its peer, is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// The guest's port.
    pub own: Ports,
    /// The other one.
    pub peer: Ports,
}

impl Ends {
    fn every() -> Self {
        Self {
            own: Ports(vec![EVERY_PORT]),
            peer: Ports::default(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.own.add(&other.own.0);
        self.peer.add(&other.peer.0);
    }

    fn settle(&mut self) {
        self.own.settle();
        self.peer.settle();
    }

    fn holds(&self, own: u16, peer: u16) -> bool {
        self.own.holds(own) || self.peer.holds(peer)
    }
}

/// What is looked at in the connections of one transport at whose one end a guest is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Looks {
    /// Packets and streams, whatever is spoken, by direction.
    raw: [Ends; 2],
    /// First packets only (addresses), by direction.
    first: [Ends; 2],
    /// Packets whatever their bytes are, so that these may be encrypted, by direction.
    headers: [Ends; 2],
    /// Acknowledgments without payload, by direction.
    empty: [Ends; 2],
    /// Connections that may speak a protocol that is looked at.
    app: Ends,
    /// Those protocols, by the direction that is looked at.
    apps: [AppSet; 2],
}

impl Looks {
    fn everything() -> Self {
        Self {
            raw: [Ends::every(), Ends::every()],
            headers: [Ends::every(), Ends::every()],
            empty: [Ends::every(), Ends::every()],
            ..Self::default()
        }
    }

    fn add(&mut self, other: &Self) {
        for direction in Direction::BOTH.map(|it| it as usize) {
            self.raw[direction].add(&other.raw[direction]);
            self.first[direction].add(&other.first[direction]);
            self.headers[direction].add(&other.headers[direction]);
            self.empty[direction].add(&other.empty[direction]);
            self.apps[direction] = self.apps[direction].or(other.apps[direction]);
        }
        self.app.add(&other.app);
    }

    fn settle(&mut self) {
        let Self {
            raw,
            first,
            headers,
            empty,
            app,
            apps: _,
        } = self;
        let by_direction = [raw, first, headers, empty];
        by_direction.into_iter().flatten().for_each(Ends::settle);
        app.settle();
    }

    /// All connections of which `direction` is looked at at first.
    fn at_first(&self, direction: Direction) -> Ends {
        let mut ends = self.app.clone();
        ends.add(&self.raw[direction as usize]);
        ends.add(&self.first[direction as usize]);
        ends.settle();
        ends
    }
}

/// What one signature looks at.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    tcp: [Looks; 2],
    udp: [Looks; 2],
}

impl Sought {
    /// What `signature` looks at, for whichever guest it is assigned to.
    pub fn by(signature: &Signature, variables: &Variables) -> Self {
        let carries = |transport| may_travel_over(signature, transport);
        let looks = Looking::of(signature, variables);
        let over = |transport| match carries(transport) {
            true => ROLES.map(|role| looks.looks(role)),
            false => Default::default(),
        };
        Self {
            tcp: over(TCP),
            udp: over(UDP),
        }
    }
}

/// All that must be looked at for one guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    tcp: [Looks; 2],
    udp: [Looks; 2],
    /// Whether there is a signature, be it about neither.
    any: bool,
}

impl Needs {
    /// Adds what a signature assigned to the guest looks at.
    pub fn add(&mut self, sought: &Sought) {
        self.any = true;
        let own = self.tcp.iter_mut().chain(&mut self.udp);
        let other = sought.tcp.iter().chain(&sought.udp);
        own.zip(other).for_each(|(own, other)| own.add(other));
    }

    /// Puts ports in order; to be called once all is added, before anything is asked.
    pub fn settle(&mut self) {
        if self.any {
            // Whatever is looked at may travel in a tunnel.
            let tunnels = TUNNEL_UDP_PORTS.map(|port| (port, port));
            for ends in self.udp.iter_mut().flat_map(|looks| &mut looks.raw) {
                ends.own.add(&tunnels);
                ends.peer.add(&tunnels);
            }
        }
        let all = self.tcp.iter_mut().chain(&mut self.udp);
        all.for_each(Looks::settle);
    }

    /// In which directions a TCP connection is looked at while nothing is known of it but its ports.
    pub fn at_first(&self, role: Role, own: u16, peer: u16) -> [bool; 2] {
        let looks = &self.tcp[role as usize];
        Direction::BOTH.map(|direction| {
            let at = direction as usize;
            looks.app.holds(own, peer)
                || looks.raw[at].holds(own, peer)
                || looks.first[at].holds(own, peer)
        })
    }

    /// Whether packets and streams of a TCP connection are looked at in `direction` whatever it speaks.
    pub fn raw(&self, role: Role, own: u16, peer: u16, direction: Direction) -> bool {
        self.tcp[role as usize].raw[direction as usize].holds(own, peer)
    }

    /// Whether `app`, or what its connections may lead to, is looked at in `direction`.
    pub fn app(&self, role: Role, app: AppProto, direction: Direction) -> bool {
        let apps = self.tcp[role as usize].apps[direction as usize];
        apps.contains(app) || LEADS_ELSEWHERE.contains(app) && !apps.is_empty()
    }

    /// Whether messages of `app` itself are looked at in `direction`, not what it may lead to.
    pub fn messages(&self, role: Role, app: AppProto, direction: Direction) -> bool {
        self.tcp[role as usize].apps[direction as usize].contains(app)
    }

    /// Whether connections of which no protocol is known are looked at in `direction` for what they do not speak.
    pub fn unknown(&self, role: Role, direction: Direction) -> bool {
        self.tcp[role as usize].apps[direction as usize] == AppSet::ALL
    }

    /// Whether any protocol is looked at in a TCP connection between these ports.
    pub fn any_protocol(&self, role: Role, own: u16, peer: u16) -> bool {
        self.tcp[role as usize].app.holds(own, peer)
    }

    /// Whether packets of a TCP connection are looked at in `direction` though their bytes be encrypted.
    pub fn headers(&self, role: Role, own: u16, peer: u16, direction: Direction) -> bool {
        self.tcp[role as usize].headers[direction as usize].holds(own, peer)
    }

    /// The same as a value for the kernel's rules: ports by transport, direction and role.
    pub fn export(&self) -> Exported {
        let both = |looks: &[Looks; 2], ends: fn(&Looks, Direction) -> Ends| {
            let [to_server, to_client] = Direction::BOTH.map(|direction| {
                let [server, client] = [0, 1].map(|role: usize| ends(&looks[role], direction));
                ExportedDirection { server, client }
            });
            ExportedTransport {
                to_server,
                to_client,
            }
        };
        Exported {
            tcp: both(&self.tcp, Looks::at_first),
            udp: both(&self.udp, Looks::at_first),
            empty: both(&self.tcp, |looks, direction| {
                looks.empty[direction as usize].clone()
            }),
        }
    }
}

/// [`Needs`] for the kernel's rules.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// TCP's.
    pub tcp: ExportedTransport,
    /// UDP's.
    pub udp: ExportedTransport,
    /// TCP's acknowledgments without payload.
    pub empty: ExportedTransport,
}

/// One transport's part.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedTransport {
    /// What clients send.
    pub to_server: ExportedDirection,
    /// What servers send.
    pub to_client: ExportedDirection,
}

/// One direction's part, by what the guest is.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedDirection {
    /// The guest is the server.
    pub server: Ends,
    /// The guest is the client.
    pub client: Ends,
}

/// A signature's header and directions, resolved.
struct Looking<'a> {
    signature: &'a Signature,
    /// Source and destination, twice where it looks both ways.
    ways: Vec<[(AddressTest, PortTest); 2]>,
}

impl<'a> Looking<'a> {
    fn of(signature: &'a Signature, variables: &Variables) -> Self {
        let header = &signature.header;
        let end = |addresses, ports| {
            let ports = PortTest::new(ports, variables);
            (resolve(addresses, variables), ports)
        };
        let src = end(&header.src, &header.src_ports);
        let dst = end(&header.dst, &header.dst_ports);
        let mut ways = vec![[src.clone(), dst.clone()]];
        if header.both_ways {
            ways.push([dst, src]);
        }
        Self { signature, ways }
    }

    fn looks(&self, role: Role) -> Looks {
        if looks_at_everything(self.signature) {
            return Looks::everything();
        }
        let fits = Direction::BOTH.map(|direction| self.fitting(role, direction));
        let mut packets = fits.clone();
        if is_about_both_directions(self.signature) {
            let [one, other] = &mut packets;
            one.add(&fits[1]);
            other.add(&fits[0]);
        }
        let mut looks = Looks::default();
        if asks_of_headers(self.signature) {
            looks.headers.clone_from(&packets);
        }
        if may_fit_acknowledgment(self.signature) {
            looks.empty.clone_from(&packets);
        }
        if is_about_app(self.signature) {
            looks.app.add(&fits[0]);
            looks.app.add(&fits[1]);
            for direction in Direction::BOTH.map(|it| it as usize) {
                if fits[direction] != Ends::default() {
                    looks.apps[direction] = apps_of(self.signature);
                }
            }
        } else if self.signature.scene == Scene::AddressesOnly {
            looks.first = packets;
        } else {
            looks.raw = packets;
        }
        looks
    }

    /// The connections whose packets of `direction` fit the header, the guest being `role`: by the port that
    /// leaves fewer.
    fn fitting(&self, role: Role, direction: Direction) -> Ends {
        let mut ends = Ends::default();
        if !travels(self.signature, direction) {
            return ends;
        }
        // What a client sends its server receives.
        let receives = (role == Role::Server) == (direction == Direction::ToServer);
        for [src, dst] in &self.ways {
            let (own, peer) = if receives { (dst, src) } else { (src, dst) };
            let fits = |own, peer| may_be(own, true) && may_be(peer, false);
            let between = fits(&own.0, &peer.0);
            // Both ends home: between two vNICs of one guest.
            let within = !between && !fits(&peer.0, &own.0);
            let (own, peer) = (&own.1, &peer.1);
            if !(between || within) || own.count() == 0 || peer.count() == 0 {
                continue;
            }
            let by_peer = match role {
                Role::Server => peer.count() < own.count(),
                Role::Client => peer.count() <= own.count(),
            };
            match by_peer {
                true => ends.peer.add(peer.ranges()),
                false => ends.own.add(own.ranges()),
            }
        }
        ends
    }
}

/// Whether an address at the guest's end (`home`), or at the other one, may be in the group.
fn may_be(test: &AddressTest, home: bool) -> bool {
    match test {
        AddressTest::Any | AddressTest::Ranges(..) => true,
        AddressTest::Home => home,
        AddressTest::External => !home,
        AddressTest::List(include, exclude) => {
            (include.is_empty() || include.iter().any(|it| may_be(it, home)))
                && !exclude.iter().any(|it| must_be(it, home))
        }
    }
}

/// Whether every address at that end is in the group.
fn must_be(test: &AddressTest, home: bool) -> bool {
    match test {
        AddressTest::Any => true,
        AddressTest::Ranges(..) => false,
        AddressTest::Home => home,
        AddressTest::External => !home,
        AddressTest::List(include, exclude) => {
            (include.is_empty() || include.iter().any(|it| must_be(it, home)))
                && !exclude.iter().any(|it| may_be(it, home))
        }
    }
}

/// Whether it can match what travels in `direction`.
fn travels(signature: &Signature, direction: Direction) -> bool {
    if signature.direction().is_some_and(|only| only != direction) {
        return false;
    }
    let buffers = signature.inspections.iter().filter_map(|it| it.buffer);
    let mut stages = buffers.map(|it| it.stage(direction)).collect::<Vec<_>>();
    let tests = signature.tx_tests.iter();
    stages.extend(tests.map(|it| it.sides[direction as usize]));
    stages.is_empty() || stages.iter().any(Option::is_some)
}

/// Whether it asks what is spoken.
fn is_about_app(signature: &Signature) -> bool {
    !signature.apps.is_empty()
        || !signature.app_tests.is_empty()
        || matches!(signature.scene, Scene::ProtocolOnly | Scene::Transaction)
}

/// The protocols in which it looks at something: every one where it says what it must not be.
fn apps_of(signature: &Signature) -> AppSet {
    match signature.apps.is_empty() {
        true => AppSet::ALL,
        false => signature.apps,
    }
}

/// Whether what it looks at does not follow from ports: what is odd about packets, what a host does after a match.
fn looks_at_everything(signature: &Signature) -> bool {
    let mut tags = signature.tags.iter();
    signature.scene == Scene::EventsOnly || tags.any(|tag| tag.scope != TagScope::Flow)
}

/// Whether it asks, or logs after a match, what its connection does in both directions.
fn is_about_both_directions(signature: &Signature) -> bool {
    let mut tests = signature.packet_tests.iter();
    !signature.tags.is_empty() || tests.any(|it| ABOUT_BOTH_DIRECTIONS.contains(&it.keyword))
}

/// Whether a packet of this IP protocol number can match it.
fn may_travel_over(signature: &Signature, ip_proto: u8) -> bool {
    signature.protocol.carries(ip_proto)
        && signature
            .packet_tests
            .iter()
            .all(|test| match (test.keyword, test.operand) {
                ("ip_proto", Operand::Range(number)) => number.holds(ip_proto.into()),
                _ => true,
            })
}

/// Whether it can match a packet whatever its bytes are.
fn asks_of_headers(signature: &Signature) -> bool {
    let asks_for_bytes = |inspection: &Inspection| {
        inspection.is_payload() && inspection.contents().any(|content| !content.negated)
    };
    // One that asks for a protocol alone has matched when that was told; what is remembered or counted, changes.
    let asks_for_protocol = is_about_app(signature)
        && signature.packet_tests.is_empty()
        && signature.inspections.is_empty()
        && !signature.asks_for_memory()
        && signature
            .thresholds
            .iter()
            .all(|it| it.kind == ThresholdKind::Limit);
    matches!(signature.scene, Scene::Packet { .. })
        && !asks_for_protocol
        && !signature.inspections.iter().any(asks_for_bytes)
}

/// Whether it can match a TCP segment that carries nothing and has no flag but ACK and the two of congestion.
fn may_fit_acknowledgment(signature: &Signature) -> bool {
    const ACK: u8 = 0x10;
    const CONGESTION: [u8; 4] = [0, 0x40, 0x80, 0xc0];
    let reads_bytes = |test: &Test| {
        matches!(
            test,
            Test::ByteTest(_) | Test::ByteExtract(_) | Test::ByteMath(_)
        )
    };
    let mut inspections = signature.inspections.iter();
    let needs_bytes = inspections.any(|it| it.is_payload() && it.tests.iter().any(reads_bytes));
    asks_of_headers(signature)
        && !needs_bytes
        && CONGESTION
            .iter()
            .any(|flags| may_fit_empty_segment(&signature.packet_tests, ACK | flags))
}

#[cfg(test)]
mod tests;
