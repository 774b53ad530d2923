//! The records themselves.

use std::net::IpAddr;

use serde::Serialize;

use super::FileInfo;
use crate::app::http::Transaction;
use crate::app::{Description, File};
use crate::detect::Remembered;
use crate::rule::Pair;
use crate::wire::Packet;
use crate::Direction;

/// Who talked to whom, as the packet (or for flow records the flow) has it.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints {
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// Sender's port; meaningless unless TCP, UDP or SCTP. ICMP: the type.
    pub src_port: u16,
    /// Receiver's port. ICMP: the code.
    pub dst_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl Endpoints {
    /// The other way round.
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            protocol: self.protocol,
        }
    }
}

/// What was done with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It passed.
    Allowed,
    /// It was dropped or rejected.
    Blocked,
}

/// `event_type: alert`.
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a> {
    /// What was done.
    pub action: Action,
    /// Group.
    pub gid: u32,
    /// Signature.
    pub sid: u32,
    /// Its revision.
    pub rev: u32,
    /// Its `msg`.
    pub msg: &'a str,
    /// Its `classtype`, empty if none; shown as the class's text.
    pub classtype: &'a str,
    /// 1 most severe … 255.
    pub priority: u32,
    /// From whom the attack comes and whom it is for, where the signature's `target` says so.
    pub attack: Option<Endpoints>,
    /// Its `metadata` in order: keys may repeat.
    pub metadata: &'a [Pair],
}

/// `event_type: drop`.
#[derive(Clone, Copy, Debug)]
pub struct Drop<'a> {
    /// Length of the packet's IP part in bytes.
    pub len: u32,
    /// Suricata's word: `rules`, `flow drop`, `stream error`, `defrag memcap`, …
    pub reason: &'a str,
    /// The signature that dropped it, if one did.
    pub alert: Option<Alert<'a>>,
    /// The packet.
    pub packet: Option<&'a Packet<'a>>,
}

/// What an alert in a tunnel says of the packet around.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// Who tunnels.
    pub endpoints: Endpoints,
    /// The outer packet's number in the capture.
    pub pcap_cnt: Option<u64>,
    /// How many tunnels the inner packet is in.
    pub depth: u8,
    /// Where the outer packet came from.
    pub pkt_src: &'static str,
    /// Where the inner packet came from: `gre tunnel`, …
    pub inner_src: &'static str,
}

/// Where an anomaly was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnomalyKind {
    /// While decoding a packet.
    Decode,
    /// While putting segments together.
    Stream,
    /// By an application parser.
    Applayer,
}

/// `event_type: anomaly`.
#[derive(Clone, Copy, Debug)]
pub struct Anomaly<'a> {
    /// Where.
    pub kind: AnomalyKind,
    /// The event's name: `decoder.ipv4.trunc_pkt`, `stream.…`, `missing_host_header` (shown in capitals), …
    pub event: &'a str,
    /// For [`AnomalyKind::Applayer`]: `proto_parser` or `proto_detect`; empty: left out.
    pub layer: &'a str,
}

/// Packet and byte counts of a flow.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowTotals {
    /// Packets from the client.
    pub pkts_toserver: u64,
    /// Packets from the server.
    pub pkts_toclient: u64,
    /// Bytes from the client.
    pub bytes_toserver: u64,
    /// Bytes from the server.
    pub bytes_toclient: u64,
}

/// The `flow` object of alerts and drops.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowSummary {
    /// Counts up to now.
    pub totals: FlowTotals,
    /// When its first packet came, Unix nanoseconds.
    pub start_ns: u64,
    /// Endpoints from the client's point of view; `src` is the client.
    pub endpoints: Option<Endpoints>,
}

/// Bytes that an alert shows.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// They.
    pub bytes: &'a [u8],
    /// They are a stream's rather than a packet's.
    pub stream: bool,
}

/// The `tcp` object of flow records.
#[derive(Clone, Copy, Debug)]
pub struct TcpEnd {
    /// Flags that were seen, by direction.
    pub flags: [u8; 2],
    /// `syn_sent`, `established`, …; empty: left out.
    pub state: &'static str,
    /// Whether bytes were never seen, by direction.
    pub gaps: [bool; 2],
}

/// `event_type: flow`: a flow has ended.
#[derive(Clone, Copy, Debug)]
pub struct FlowEnd<'a> {
    /// Counts.
    pub totals: FlowTotals,
    /// First packet, Unix nanoseconds.
    pub start_ns: u64,
    /// Last packet, Unix nanoseconds.
    pub end_ns: u64,
    /// A signature let the rest of it through unseen.
    pub bypassed: bool,
    /// `new`, `established`, `closed`, `bypassed`.
    pub state: &'a str,
    /// `timeout`, `forced`, `shutdown`, `tcp_reuse`.
    pub reason: &'a str,
    /// Whether a signature alerted on it.
    pub alerted: bool,
    /// ICMP: type and code of the answer, where there was one.
    pub icmp_answer: Option<(u8, u8)>,
    /// What its segments said, where it is a TCP connection.
    pub tcp: Option<TcpEnd>,
    /// What was done with it at its end: `accept`, `drop`, `pass`; empty: left out.
    pub action: &'a str,
}

/// The `http` object: a transaction, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Http<'a> {
    /// What it is about.
    pub transaction: &'a Transaction,
}

/// What Suricata has no word for.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sekisho<'a> {
    /// Guest whose assignment holds the signature.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub guest: &'a str,
    /// Its vNIC.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub vnic: &'a str,
    /// The assignment's mode: `detect`, `as-written`, `prevent`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub mode: &'a str,
    /// Version of the policy that was live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<u64>,
    /// What would have been done, had the mode allowed it: `drop`, `reject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<&'a str>,
    /// The override that applied to this sid, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#override: Option<&'a str>,
    /// What the packet got: `accept`, `drop`, `reject`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub verdict: &'a str,
    /// From the packet's arrival in the inspector to its verdict, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// A signature matched.
    Alert(Alert<'a>),
    /// A packet was dropped.
    Drop(Drop<'a>),
    /// A transaction is complete: its protocol's name for that.
    App(&'static str),
    /// A file came.
    File(FileInfo<'a>),
    /// A flow has ended.
    Flow(FlowEnd<'a>),
    /// Something is malformed.
    Anomaly(Anomaly<'a>),
    /// A packet that a tag wants logged: [`Event::packet`].
    Packet,
    /// Counters: dotted names (`decoder.pkts`) become nested objects.
    Stats(&'a [(&'a str, u64)]),
}

/// Names of protocols beside a flow's own; `None` is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct AppOthers {
    /// What the client speaks, where its own first bytes say otherwise.
    pub toserver: Option<&'static str>,
    /// The same of the server.
    pub toclient: Option<&'static str>,
    /// What was spoken until the peers agreed on another protocol.
    pub original: Option<&'static str>,
}

/// One line of EVE.
pub struct Event<'a> {
    /// When, Unix nanoseconds.
    pub time_ns: u64,
    /// The flow's number; `None` for what belongs to none.
    pub flow_id: Option<u64>,
    /// Number of the flow that announced it, as FTP's control connection does its data's.
    pub parent_id: Option<u64>,
    /// Interface it came in by; empty: left out.
    pub in_iface: &'a str,
    /// Frame number in a capture, from 1.
    pub pcap_cnt: Option<u64>,
    /// VLAN identifiers, outermost first.
    pub vlan: &'a [u16],
    /// Who; `None` for stats.
    pub endpoints: Option<Endpoints>,
    /// Where the packet came from (`wire/pcap`, `stream (flow timeout)`, …); empty: left out.
    pub pkt_src: &'a str,
    /// What detection remembers.
    pub remembered: Remembered<'a>,
    /// The packet around it.
    pub outer: Option<Outer>,
    /// The transaction's number within its flow.
    pub tx_id: Option<u64>,
    /// The transaction is the only one there is, rather than the one that matched.
    pub tx_guessed: bool,
    /// What.
    pub kind: Kind<'a>,
    /// What the transaction it is about says of itself.
    pub app: Option<Description<'a>>,
    /// What goes beside that.
    pub app_also: Option<Description<'a>>,
    /// The files that transaction carries in the packet's direction (alerts).
    pub files: &'a [File],
    /// Which part of a whole these are.
    pub file_range: Option<(i64, i64)>,
    /// What the flow's protocol is called; `None` is left out.
    pub app_proto: Option<&'static str>,
    /// What else is known of it (alerts, flows).
    pub app_others: AppOthers,
    /// Which way the packet went.
    pub direction: Option<Direction>,
    /// The flow so far (alerts, drops).
    pub flow: Option<FlowSummary>,
    /// Bytes that matched, to be shown as `payload` (base64) and `payload_printable`.
    pub payload: Option<Payload<'a>>,
    /// The packet, to be shown as `packet` (base64).
    pub packet: Option<&'a Packet<'a>>,
    /// Ours.
    pub sekisho: Option<Sekisho<'a>>,
}

impl<'a> Event<'a> {
    /// An event of which only the time and the kind are known; set the rest with struct update.
    pub fn new(time_ns: u64, kind: Kind<'a>) -> Self {
        Self {
            time_ns,
            flow_id: None,
            parent_id: None,
            in_iface: "",
            pcap_cnt: None,
            vlan: &[],
            endpoints: None,
            pkt_src: "",
            remembered: Remembered::default(),
            outer: None,
            tx_id: None,
            tx_guessed: false,
            kind,
            app: None,
            app_also: None,
            files: &[],
            file_range: None,
            app_proto: None,
            app_others: AppOthers::default(),
            direction: None,
            flow: None,
            payload: None,
            packet: None,
            sekisho: None,
        }
    }
}

/// Appends the event to `out` as one line of JSON, newline included.
pub fn write_line(event: &Event<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, event).is_err() {
        // Writing to memory does not fail and no map key here is other than a string.
        out.truncate(start);
        return;
    }
    out.push(b'\n');
}
