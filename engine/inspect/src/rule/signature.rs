//! One signature as read.
use crate::app::{AppProto, AppSet};
use crate::Direction;

use super::buffer::Inspection;
use super::condition::{FlowbitTest, PacketTest, TxTest};
use super::header::Header;
use super::number::Range;
use super::threshold::Threshold;

/// What a signature asks for when it matches; ordered as Suricata evaluates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Let through without looking further.
    Pass,
    /// Block.
    Drop,
    /// Block and tell the source.
    Reject,
    /// Block and tell the destination.
    RejectDst,
    /// Block and tell both.
    RejectBoth,
    /// Say so.
    Alert,
}

impl Action {
    /// The keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::RejectDst => "rejectdst",
            Self::RejectBoth => "rejectboth",
            Self::Alert => "alert",
        }
    }

    /// Whether the packet must not pass.
    pub fn blocks(self) -> bool {
        !matches!(self, Self::Pass | Self::Alert)
    }
}

/// The protocol in a signature's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Any IP packet.
    Ip,
    /// Any IPv4 packet.
    Ip4,
    /// Any IPv6 packet.
    Ip6,
    /// TCP: stream, or packets where a condition asks for them.
    Tcp,
    /// TCP, packets only.
    TcpPkt,
    /// TCP, stream only.
    TcpStream,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
    /// HTTP/1 alone (`http` is any version).
    Http1,
    /// An application protocol.
    App(AppProto),
}

impl Protocol {
    /// The keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip4 => "ipv4",
            Self::Ip6 => "ipv6",
            Self::Tcp => "tcp",
            Self::TcpPkt => "tcp-pkt",
            Self::TcpStream => "tcp-stream",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Http1 => "http1",
            Self::App(app) => app.name(),
        }
    }

    /// The application protocols it asks for; empty: none.
    pub fn apps(self) -> AppSet {
        match self {
            Self::Http1 => AppSet::of(&[AppProto::Http]),
            Self::App(AppProto::Http) => AppSet::of(&[AppProto::Http, AppProto::Http2]),
            Self::App(app) => AppSet::of(&[app]),
            _ => AppSet::EMPTY,
        }
    }

    /// Whether packets of this IP protocol number can match.
    pub fn carries(self, ip_proto: u8) -> bool {
        const ICMP: u8 = 1;
        const TCP: u8 = 6;
        const UDP: u8 = 17;
        const ICMP6: u8 = 58;
        match self {
            Self::Ip | Self::Ip4 | Self::Ip6 => true,
            Self::Tcp | Self::TcpPkt | Self::TcpStream => ip_proto == TCP,
            Self::Udp => ip_proto == UDP,
            Self::Icmp => ip_proto == ICMP || ip_proto == ICMP6,
            Self::Http1 | Self::App(_) => self.apps().runs_over(ip_proto),
        }
    }
}

/// `target:`, which end is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The packet's source.
    Source,
    /// The packet's destination.
    Destination,
}

/// What `flow` says of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowStateTest {
    /// Both ends have spoken.
    Established,
    /// They have not.
    NotEstablished,
    /// Either.
    Stateless,
}

/// `flow` and what other keywords imply of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTest {
    /// A `flow` keyword was given: packets without a flow don't match.
    pub given: bool,
    /// Only packets that travel this way.
    pub direction: Option<Direction>,
    /// State of the handshake.
    pub state: Option<FlowStateTest>,
}

/// What a signature looks at, by which its place and time of evaluation are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Addresses only: once per flow and direction.
    AddressesOnly,
    /// `app-layer-protocol` only: when the protocol has been told, once per direction.
    ProtocolOnly,
    /// Packets' headers, and payload where `payload` says so.
    Packet {
        /// Where its payload conditions look.
        payload: PayloadScene,
    },
    /// An application transaction, and the stream where it has payload conditions too.
    Transaction,
}

/// Where payload conditions look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadScene {
    /// There are none.
    None,
    /// In each packet's payload.
    Packet,
    /// In the stream, and in payload that never became part of a stream.
    Stream,
    /// In the stream only.
    StreamOnly,
    /// In both.
    Both,
}

/// One signature.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Generator, 1 by default.
    pub gid: u32,
    /// Signature number.
    pub sid: u32,
    /// Revision.
    pub rev: u32,
    /// What it says.
    pub msg: String,
    /// What it asks for.
    pub action: Action,
    /// The header's protocol.
    pub protocol: Protocol,
    /// Class, empty without one.
    pub classtype: String,
    /// 1 most severe … 255; by class unless given, 3 without either.
    pub priority: u8,
    /// `type,id` as written.
    pub references: Vec<String>,
    /// Key and value pairs as written.
    pub metadata: Vec<(String, String)>,
    /// CVEs named by references, metadata and message, as `CVE-2021-44228`, sorted, once each.
    pub cves: Vec<String>,
    /// Which end `target` names.
    pub target: Option<Target>,
    /// File it came from.
    pub file: String,
    /// Line it starts on, from 1.
    pub line: u32,

    /// Addresses and ports.
    pub(crate) header: Header,
    /// The flow must speak one of these; empty: anything.
    pub(crate) apps: AppSet,
    /// `app-layer-protocol` conditions: protocol (`None`: failed) and whether it must not be that.
    pub(crate) app_tests: Vec<AppTest>,
    /// Direction and handshake.
    pub(crate) flow: FlowTest,
    /// Conditions on packet headers.
    pub(crate) packet_tests: Vec<PacketTest>,
    /// Conditions on flowbits.
    pub(crate) flowbit_tests: Vec<FlowbitTest>,
    /// Conditions on the flow's integers.
    pub(crate) flowint_tests: Vec<FlowintTest>,
    /// What a match does to them.
    pub(crate) flowint_changes: Vec<FlowintChange>,
    /// What a match does to flowbits.
    pub(crate) flowbit_changes: Vec<FlowbitChange>,
    /// Conditions on a transaction besides those on buffers.
    pub(crate) tx_tests: Vec<TxTest>,
    /// Conditions on payload and buffers, one entry a buffer.
    pub(crate) inspections: Vec<Inspection>,
    /// `threshold` and `detection_filter`: all must permit an alert.
    pub(crate) thresholds: Vec<Threshold>,
    /// A match makes no alert.
    pub(crate) noalert: bool,
    /// Where and when it is evaluated.
    pub(crate) scene: Scene,
}

/// One `app-layer-protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppTest {
    /// The protocol named; `None` is `failed`.
    pub app: Option<AppProto>,
    /// It must not be that.
    pub negated: bool,
}

/// A condition on one of the flow's integers; one that was never set fulfils only `isnotset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowintTest {
    /// Hash of its name.
    pub name: u64,
    /// What it is compared with.
    pub test: IntegerTest,
}

/// What an integer is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegerTest {
    /// It was set.
    IsSet,
    /// It was not.
    IsNotSet,
    /// It was, and compares with a number.
    Compares(Range),
}

/// What a match does to one of the flow's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowintChange {
    /// Hash of its name.
    pub name: u64,
    /// How.
    pub how: IntegerChange,
}

/// How an integer is changed; one that was never set counts as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegerChange {
    /// It becomes this.
    Set(u32),
    /// This is added.
    Add(u32),
    /// This is subtracted, down to 0.
    Subtract(u32),
}

/// What a match does to one flowbit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowbitChange {
    /// Sets it.
    Set(u64),
    /// Clears it.
    Unset(u64),
    /// Flips it.
    Toggle(u64),
}

impl Signature {
    /// Whether it makes no alert when it matches (`noalert`).
    pub fn is_silent(&self) -> bool {
        self.noalert
    }

    /// The only direction its packets can travel in, if there is one.
    pub fn direction(&self) -> Option<Direction> {
        self.flow.direction
    }

    /// The application protocols of which the flow must speak one; empty: anything.
    pub fn apps(&self) -> AppSet {
        self.apps
    }

    /// Gid and sid as one number, the same in every version of a rule set.
    pub(crate) fn key(&self) -> u64 {
        u64::from(self.gid) << 32 | u64::from(self.sid)
    }
}
