//! One signature as read.
use std::cmp::Ordering;
use std::sync::Arc;

use crate::app::{AppProto, AppSet};
use crate::Direction;

use super::buffer::Inspection;
use super::condition::{FlowbitTest, PacketTest, TxTest};
use super::content::Needle;
use super::header::Header;
use super::pcre::Variable;
use super::shared::Pair;
use super::threshold::{Suppression, Threshold, ThresholdKind};

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
    /// How rules name them; `reject` has two names.
    pub(crate) const NAMED: [(&'static str, Self); 7] = [
        ("alert", Self::Alert),
        ("drop", Self::Drop),
        ("pass", Self::Pass),
        ("reject", Self::Reject),
        ("rejectsrc", Self::Reject),
        ("rejectdst", Self::RejectDst),
        ("rejectboth", Self::RejectBoth),
    ];

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
    /// Any IP packet, and for conditions on events any packet (`ip`, `any`, `pkthdr`).
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
    /// ICMP for IPv4 alone.
    Icmpv4,
    /// ICMPv6 alone.
    Icmpv6,
    /// SCTP.
    Sctp,
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
            Self::Icmpv4 => "icmpv4",
            Self::Icmpv6 => "icmpv6",
            Self::Sctp => "sctp",
            Self::Http1 => "http1",
            Self::App(app) => app.name(),
        }
    }

    /// The application protocols it asks for; empty: none.
    pub fn apps(self) -> AppSet {
        match self {
            Self::Http1 => AppSet::of(&[AppProto::Http]),
            Self::App(AppProto::Http) => AppSet::of(&[AppProto::Http, AppProto::Http2]),
            // Its calls go through SMB's pipes too.
            Self::App(AppProto::Dcerpc) => AppSet::of(&[AppProto::Dcerpc, AppProto::Smb]),
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
        const SCTP: u8 = 132;
        match self {
            Self::Ip | Self::Ip4 | Self::Ip6 => true,
            Self::Tcp | Self::TcpPkt | Self::TcpStream => ip_proto == TCP,
            Self::Udp => ip_proto == UDP,
            Self::Icmp => ip_proto == ICMP || ip_proto == ICMP6,
            Self::Icmpv4 => ip_proto == ICMP,
            Self::Icmpv6 => ip_proto == ICMP6,
            Self::Sctp => ip_proto == SCTP,
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
    /// Only packets that were (or were not) put together from fragments.
    pub defragmented: Option<bool>,
}

impl FlowTest {
    /// Whether it asks for a direction at most: to Suricata that is no condition on a packet.
    pub fn is_direction_alone(&self) -> bool {
        self.state.is_none() && self.defragmented.is_none()
    }
}

/// What a signature looks at, by which its place and time of evaluation are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Addresses only: once per flow and direction.
    AddressesOnly,
    /// Decoder and stream events only: packets of which something is odd, those without an IP header too.
    EventsOnly,
    /// `app-layer-protocol` only: when the protocol has been told, see [`crate::detect::FlowView::app_news`].
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
    /// In the stream only; without such conditions nowhere.
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
    pub msg: Box<str>,
    /// What it asks for.
    pub action: Action,
    /// The header's protocol.
    pub protocol: Protocol,
    /// Class, empty without one.
    pub classtype: Arc<str>,
    /// The smaller the more severe; by class (1 … 4) unless given, 3 without either.
    pub priority: u32,
    /// `type,id` as written.
    pub references: Box<[Arc<str>]>,
    /// Key and value pairs as written.
    pub metadata: Box<[Pair]>,
    /// CVEs named by references, metadata and message, as `CVE-2021-44228`, sorted, once each.
    pub cves: Box<[Arc<str>]>,
    /// Which end `target` names.
    pub target: Option<Target>,
    /// File it came from.
    pub file: Arc<str>,
    /// Line it starts on, from 1.
    pub line: u32,

    /// Addresses and ports.
    pub(crate) header: Arc<Header>,
    /// The flow must speak one of these; empty: anything.
    pub(crate) apps: AppSet,
    /// `app-layer-protocol` conditions: protocol (`None`: failed) and whether it must not be that.
    pub(crate) app_tests: Box<[AppTest]>,
    /// Direction and handshake.
    pub(crate) flow: FlowTest,
    /// Conditions on packet headers.
    pub(crate) packet_tests: Box<[PacketTest]>,
    /// Conditions on flowbits.
    pub(crate) flowbit_tests: Box<[FlowbitTest]>,
    /// Conditions on, and changes of, the flow's integers.
    pub(crate) flowints: Box<[Flowint]>,
    /// Conditions on what expressions captured.
    pub(crate) variable_tests: Box<[VariableTest]>,
    /// Conditions on bits of hosts.
    pub(crate) host_tests: Box<[HostTest]>,
    /// What a match does to them.
    pub(crate) host_changes: Box<[HostChange]>,
    /// What is logged after an alert.
    pub(crate) tags: Box<[Tag]>,
    /// The flow is not inspected any more after a match.
    pub(crate) bypass: bool,
    /// A match leaves its transaction without a record.
    pub(crate) unrecorded: bool,
    /// What a match does to flowbits.
    pub(crate) flowbit_changes: Box<[FlowbitChange]>,
    /// What the flowbits, integers and captures that a match sets are called.
    pub(crate) names: Box<[(u64, String)]>,
    /// Conditions on a transaction besides those on buffers.
    pub(crate) tx_tests: Box<[TxTest]>,
    /// Conditions on payload and buffers, one entry a buffer.
    pub(crate) inspections: Box<[Inspection]>,
    /// `threshold`, `detection_filter`, or what `threshold.config` says instead; seldom more than one.
    pub(crate) thresholds: Box<[Threshold]>,
    /// Packets of which it does not speak.
    pub(crate) suppressions: Vec<Arc<Suppression>>,
    /// It never speaks, though its action holds.
    pub(crate) suppressed: bool,
    /// A match makes no alert.
    pub(crate) noalert: bool,
    /// Where and when it is evaluated.
    pub(crate) scene: Scene,
}

impl Signature {
    /// Whether it looks at the transaction's buffer of that name.
    pub(crate) fn asks_for(&self, buffer: &str) -> bool {
        let mut buffers = self.inspections.iter().filter_map(|it| it.buffer);
        buffers.any(|it| it.name == buffer)
    }
}

/// One `app-layer-protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppTest {
    /// The protocols that the name stands for; none: `failed`.
    pub apps: AppSet,
    /// It must not be that.
    pub negated: bool,
    /// Asked only when it has been told, as `prefilter` beside it wants: see [`crate::detect::FlowView::app_news`].
    pub once: bool,
}

/// What is asked of, or done to, one of the flow's integers; done in order, each only if all before it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flowint {
    /// Hash of its name.
    pub name: u64,
    /// What.
    pub what: FlowintStep,
}

/// One step; numbers wrap around at 32 bits, and a change always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowintStep {
    /// It was set.
    IsSet,
    /// It was not.
    IsNotSet,
    /// It was, and compares so (or, where true, not so) with a number.
    Compares(Ordering, bool, Amount),
    /// It becomes this.
    Set(Amount),
    /// This is added; one that was never set counts as 0.
    Add(Amount),
    /// This is subtracted; likewise.
    Subtract(Amount),
}

impl FlowintStep {
    /// Whether it is a condition rather than a change.
    pub fn reads(self) -> bool {
        matches!(self, Self::IsSet | Self::IsNotSet | Self::Compares(..))
    }
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// As written.
    Fixed(u32),
    /// Another of the flow's integers (hash of its name); 0 if it was never set.
    Of(u64),
}

/// Whose bit `xbits` and `hostbits` are about; packets go from source to destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The source address's.
    Source,
    /// The destination address's.
    Destination,
    /// That of both, in either order.
    Pair,
}

/// A condition on a bit of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostTest {
    /// Whose.
    pub owner: Owner,
    /// Hash of its name.
    pub name: u64,
    /// It must not be set.
    pub negated: bool,
    /// Written as `hostbits`, which decides the order of evaluation.
    pub hostbits: bool,
}

/// What a match does to a bit of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostChange {
    /// Whose.
    pub owner: Owner,
    /// Hash of its name.
    pub name: u64,
    /// What.
    pub step: HostStep,
    /// How long it then stays set, in seconds.
    pub expire_s: u32,
    /// Written as `hostbits`.
    pub hostbits: bool,
}

/// How a bit of hosts is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostStep {
    /// It is set.
    Set,
    /// It is cleared.
    Unset,
    /// It is flipped.
    Toggle,
}

/// `flowvar` and `pktvar`: what was captured holds these bytes.
#[derive(Clone, Debug)]
pub struct VariableTest {
    /// Where it was kept.
    pub variable: Variable,
    /// The bytes.
    pub needle: Needle,
}

/// `tag`: packets that follow an alert are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Which packets.
    pub scope: TagScope,
    /// What is counted.
    pub metric: TagMetric,
    /// How many, the packet of the alert included.
    pub count: u32,
}

/// Which packets a tag is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagScope {
    /// Those of the flow.
    Flow,
    /// Those from or to the alert's source.
    Source,
    /// Those from or to the alert's destination.
    Destination,
}

/// What a tag counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagMetric {
    /// Packets.
    Packets,
    /// Seconds since the alert.
    Seconds,
    /// Bytes of frames.
    Bytes,
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
    /// Whether it may match and say nothing, by a threshold, a suppression or `noalert`.
    pub fn may_be_silent(&self) -> bool {
        let quieted = self.suppressed || !self.suppressions.is_empty();
        quieted || self.noalert || !self.thresholds.is_empty()
    }

    /// Whether it can stop packets as it is written, or once a rate filter changes its action.
    pub fn can_block(&self) -> bool {
        let filtered = |threshold: &Threshold| match threshold.kind {
            ThresholdKind::Rate { action, .. } => action.blocks(),
            _ => false,
        };
        self.action.blocks() || self.thresholds.iter().any(filtered)
    }

    /// Whether it makes no alert when it matches (`noalert`).
    pub fn is_silent(&self) -> bool {
        self.noalert
    }

    /// Whether it asks for what earlier packets left behind, of its flow, its packet's expressions or its hosts.
    pub(crate) fn asks_for_memory(&self) -> bool {
        !self.flowbit_tests.is_empty()
            || !self.flowints.is_empty()
            || !self.variable_tests.is_empty()
            || !self.host_tests.is_empty()
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
