//! Records as JSON, the keys in Suricata's order.
//!
//! Checked against what Suricata 7.0.10 writes for the same captures.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::net::IpAddr;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::classification::category;
use super::file::FileInfo;
use super::header;
use super::protocol::Protocol;
use super::record::{
    Action, Alert, Anomaly, AnomalyKind, Drop, Endpoints, Event, FlowEnd, FlowSummary, FlowTotals,
    Http, Kind, Outer, TcpEnd,
};
use super::remembered;
use super::text::{Printable, Text, UpperCase};
use super::time::Timestamp;
use crate::app::http::{buffers, ContentRange, Headers};
use crate::rule::Pair;
use crate::wire::{flags, linktype};
use crate::Direction;

const SECOND_NS: u64 = 1_000_000_000;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

#[derive(Serialize)]
struct LinkType {
    linktype: u32,
}

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &Timestamp(self.time_ns))?;
        entry(&mut map, "flow_id", self.flow_id)?;
        entry(&mut map, "parent_id", self.parent_id)?;
        text(&mut map, "in_iface", self.in_iface)?;
        entry(&mut map, "pcap_cnt", self.pcap_cnt)?;
        map.serialize_entry("event_type", self.kind.name())?;
        if !self.vlan.is_empty() {
            map.serialize_entry("vlan", self.vlan)?;
        }
        if let Some(endpoints) = self.endpoints {
            endpoints.entries(&mut map, true)?;
        }
        text(&mut map, "pkt_src", self.pkt_src)?;
        remembered::entries(&mut map, &self.remembered)?;
        entry(&mut map, "tx_id", self.tx_id)?;
        entry(&mut map, "tx_guessed", self.tx_guessed.then_some(true))?;
        self.body(&mut map)?;
        entry(&mut map, "sekisho", self.sekisho.as_ref())?;
        map.end()
    }
}

impl Event<'_> {
    /// What follows the common part.
    fn body<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match &self.kind {
            Kind::Alert(alert) => {
                map.serialize_entry("alert", alert)?;
                entry(map, "tunnel", self.outer.as_ref())?;
                self.app_entry(map)?;
                self.files_entry(map)?;
                self.conversation(map)?;
            }
            Kind::Drop(drop) => {
                entry(map, "direction", self.direction.map(direction_name))?;
                map.serialize_entry("drop", drop)?;
                entry(map, "alert", drop.alert.as_ref())?;
            }
            Kind::App(_) => self.app_entry(map)?,
            Kind::File(file) => {
                self.app_entry(map)?;
                entry(map, "app_proto", self.app_proto)?;
                map.serialize_entry("fileinfo", file)?;
            }
            Kind::Flow(flow) => {
                self.app_proto_entries(map)?;
                if let Some((kind, code)) = flow.icmp_answer {
                    map.serialize_entry("response_icmp_type", &kind)?;
                    map.serialize_entry("response_icmp_code", &code)?;
                }
                map.serialize_entry("flow", flow)?;
                entry(map, "tcp", flow.tcp.as_ref())?;
            }
            Kind::Anomaly(anomaly) => {
                map.serialize_entry(
                    "anomaly",
                    &AnomalyOf {
                        anomaly,
                        app_proto: self.app_proto,
                    },
                )?;
            }
            Kind::Packet => self.packet_entries(map)?,
            Kind::Stats(counters) => map.serialize_entry("stats", &nested(counters))?,
        }
        Ok(())
    }

    /// What is spoken, and what either end or the time before says otherwise.
    fn app_proto_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        entry(map, "app_proto", self.app_proto)?;
        entry(map, "app_proto_ts", self.app_others.toserver)?;
        entry(map, "app_proto_tc", self.app_others.toclient)?;
        entry(map, "app_proto_orig", self.app_others.original)
    }

    /// The application's object.
    fn app_entry<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for (key, object) in self.app.iter().chain(&self.app_also) {
            map.serialize_entry(key, object)?;
        }
        Ok(())
    }

    /// The files of the transaction that an alert is about.
    fn files_entry<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if self.files.is_empty() {
            return Ok(());
        }
        let tx_id = self.tx_id.unwrap_or_default();
        let files: Vec<_> = self
            .files
            .iter()
            .map(|file| FileInfo {
                file,
                tx_id,
                range: self.file_range,
            })
            .collect();
        map.serialize_entry("files", &files)
    }

    /// What an alert says of its flow and packet.
    fn conversation<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.app_proto_entries(map)?;
        entry(map, "direction", self.direction.map(direction_name))?;
        entry(map, "flow", self.flow.as_ref())?;
        if let Some(payload) = self.payload {
            map.serialize_entry("payload", &Base64(payload.bytes))?;
            map.serialize_entry("payload_printable", &Printable(payload.bytes))?;
            map.serialize_entry("stream", &u8::from(payload.stream))?;
        }
        self.packet_entries(map)
    }

    /// The packet, with its link header.
    fn packet_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let Some(packet) = self.packet else {
            return Ok(());
        };
        let (bytes, linktype) = match packet.link_type {
            // As libpcap calls it to programs, and so Suricata.
            linktype::RAW => (packet.ip_bytes(), linktype::RAW_OLD_12),
            other => (packet.frame, other),
        };
        map.serialize_entry("packet", &Base64(bytes))?;
        map.serialize_entry("packet_info", &LinkType { linktype })
    }
}

impl Kind<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Alert(_) => "alert",
            Self::Drop(_) => "drop",
            Self::App(name) => name,
            Self::File(_) => "fileinfo",
            Self::Flow(_) => "flow",
            Self::Anomaly(_) => "anomaly",
            Self::Packet => "packet",
            Self::Stats(_) => "stats",
        }
    }
}

impl Endpoints {
    fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP | SCTP)
    }

    /// Addresses, and ports where the protocol has some; with `protocol`, also its name and ICMP's type and code.
    fn entries<M: SerializeMap>(&self, map: &mut M, protocol: bool) -> Result<(), M::Error> {
        let ports = self.has_ports();
        map.serialize_entry("src_ip", &Address(self.src))?;
        entry(map, "src_port", ports.then_some(self.src_port))?;
        map.serialize_entry("dest_ip", &Address(self.dst))?;
        entry(map, "dest_port", ports.then_some(self.dst_port))?;
        if protocol {
            map.serialize_entry("proto", &Protocol(self.protocol))?;
            let icmp = matches!(self.protocol, ICMP | ICMPV6);
            entry(map, "icmp_type", icmp.then_some(self.src_port))?;
            entry(map, "icmp_code", icmp.then_some(self.dst_port))?;
        }
        Ok(())
    }
}

impl Serialize for Alert<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let action = match self.action {
            Action::Allowed => "allowed",
            Action::Blocked => "blocked",
        };
        map.serialize_entry("action", action)?;
        map.serialize_entry("gid", &self.gid)?;
        map.serialize_entry("signature_id", &self.sid)?;
        map.serialize_entry("rev", &self.rev)?;
        map.serialize_entry("signature", self.msg)?;
        map.serialize_entry("category", category(self.classtype))?;
        map.serialize_entry("severity", &self.priority)?;
        if let Some(attack) = self.attack {
            map.serialize_entry("source", &End(attack))?;
            map.serialize_entry("target", &End(attack.reversed()))?;
        }
        if !self.metadata.is_empty() {
            map.serialize_entry("metadata", &Metadata(self.metadata))?;
        }
        map.end()
    }
}

/// One end of an attack: the first of the two.
struct End(Endpoints);

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ip", &Address(self.0.src))?;
        entry(
            &mut map,
            "port",
            self.0.has_ports().then_some(self.0.src_port),
        )?;
        map.end()
    }
}

/// A signature's metadata: a list of values a key, the last first, as Suricata has them.
struct Metadata<'a>(&'a [Pair]);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, pair) in self.0.iter().enumerate() {
            let key = &pair.0;
            if self.0[..at].iter().all(|earlier| earlier.0 != *key) {
                let values: Vec<_> = self
                    .0
                    .iter()
                    .rev()
                    .filter(|row| row.0 == *key)
                    .map(|row| &row.1)
                    .collect();
                map.serialize_entry(key, &values)?;
            }
        }
        map.end()
    }
}

impl Serialize for Outer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let ends = &self.endpoints;
        map.serialize_entry("src_ip", &Address(ends.src))?;
        map.serialize_entry("src_port", &ends.src_port)?;
        map.serialize_entry("dest_ip", &Address(ends.dst))?;
        map.serialize_entry("dest_port", &ends.dst_port)?;
        map.serialize_entry("proto", &Protocol(ends.protocol))?;
        map.serialize_entry("depth", &self.depth)?;
        entry(&mut map, "pcap_cnt", self.pcap_cnt)?;
        map.serialize_entry("pkt_src", self.pkt_src)?;
        map.end()
    }
}

impl Serialize for Drop<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("len", &self.len)?;
        if let Some(packet) = self.packet {
            header::entries(&mut map, packet)?;
        }
        text(&mut map, "reason", self.reason)?;
        map.end()
    }
}

impl Serialize for Http<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (request, response) = (&self.transaction.request, &self.transaction.response);
        let mut map = serializer.serialize_map(None)?;
        bytes(&mut map, "hostname", Some(request.host_as_recorded()))?;
        // Of a request that names neither version nor host Suricata says this.
        let nameless = request.protocol.is_empty() && request.host.is_empty();
        entry(
            &mut map,
            "http_port",
            request.port.or(nameless.then_some(0)),
        )?;
        bytes(&mut map, "url", Some(&request.uri_raw))?;
        // As signatures see them: with the values of all fields of one name.
        let sent = |name| joined(&request.headers, name);
        let answered = |name| joined(&response.headers, name);
        bytes(&mut map, "http_user_agent", sent("user-agent").as_deref())?;
        bytes(&mut map, "xff", sent("x-forwarded-for").as_deref())?;
        let kind = answered("content-type");
        bytes(
            &mut map,
            "http_content_type",
            kind.as_deref().map(media_type),
        )?;
        let range = response.headers.first("content-range");
        entry(&mut map, "content_range", range.map(RangeObject))?;
        bytes(&mut map, "http_refer", sent("referer").as_deref())?;
        bytes(&mut map, "http_method", Some(&request.method))?;
        bytes(&mut map, "protocol", Some(&request.protocol))?;
        let status = std::str::from_utf8(&response.status)
            .ok()
            .and_then(|status| status.parse::<u16>().ok());
        entry(&mut map, "status", status)?;
        if status.is_some() {
            bytes(&mut map, "redirect", answered("location").as_deref())?;
        }
        let body = &response.body;
        map.serialize_entry("length", &body.coded.saturating_add(body.framing))?;
        map.end()
    }
}

/// The value of a field, with those of all others of its name.
fn joined<'a>(headers: &'a Headers, name: &str) -> Option<Cow<'a, [u8]>> {
    let first = headers.first(name)?;
    if headers.count(name.as_bytes()) == 1 {
        return Some(first.into());
    }
    let mut all = Vec::new();
    buffers::value(headers, name, &mut all);
    Some(all.into())
}

/// A Content-Range, as sent and as numbers.
struct RangeObject<'a>(&'a [u8]);

impl Serialize for RangeObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        bytes(&mut map, "raw", Some(self.0))?;
        let ContentRange { ends, size } = ContentRange::read(self.0).unwrap_or_default();
        entry(&mut map, "start", ends.map(|ends| ends.0))?;
        entry(&mut map, "end", ends.map(|ends| ends.1))?;
        entry(&mut map, "size", size)?;
        map.end()
    }
}

/// A Content-Type without its parameters, cut where Suricata cuts it.
fn media_type(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b';').next().unwrap_or_default()
}

impl FlowTotals {
    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("pkts_toserver", &self.pkts_toserver)?;
        map.serialize_entry("pkts_toclient", &self.pkts_toclient)?;
        map.serialize_entry("bytes_toserver", &self.bytes_toserver)?;
        map.serialize_entry("bytes_toclient", &self.bytes_toclient)
    }
}

impl Serialize for FlowSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.totals.entries(&mut map)?;
        map.serialize_entry("start", &Timestamp(self.start_ns))?;
        if let Some(endpoints) = self.endpoints {
            endpoints.entries(&mut map, false)?;
        }
        map.end()
    }
}

impl Serialize for FlowEnd<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.totals.entries(&mut map)?;
        map.serialize_entry("start", &Timestamp(self.start_ns))?;
        map.serialize_entry("end", &Timestamp(self.end_ns))?;
        map.serialize_entry(
            "age",
            &(self.end_ns / SECOND_NS).saturating_sub(self.start_ns / SECOND_NS),
        )?;
        text(&mut map, "bypass", if self.bypassed { "local" } else { "" })?;
        text(&mut map, "state", self.state)?;
        text(&mut map, "reason", self.reason)?;
        map.serialize_entry("alerted", &self.alerted)?;
        text(&mut map, "action", self.action)?;
        map.end()
    }
}

/// TCP's flags and what EVE calls them.
const FLAGS: [(&str, u8); 8] = [
    ("syn", flags::SYN),
    ("fin", flags::FIN),
    ("rst", flags::RST),
    ("psh", flags::PSH),
    ("ack", flags::ACK),
    ("urg", flags::URG),
    ("ecn", flags::ECE),
    ("cwr", flags::CWR),
];

impl Serialize for TcpEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let [ts, tc] = self.flags;
        for (key, flags) in [
            ("tcp_flags", ts | tc),
            ("tcp_flags_ts", ts),
            ("tcp_flags_tc", tc),
        ] {
            map.serialize_entry(key, &format_args!("{flags:02x}"))?;
        }
        for (key, _) in FLAGS.iter().filter(|(_, flag)| (ts | tc) & flag != 0) {
            map.serialize_entry(key, &true)?;
        }
        text(&mut map, "state", self.state)?;
        let [ts_gap, tc_gap] = self.gaps;
        entry(&mut map, "tc_gap", tc_gap.then_some(true))?;
        entry(&mut map, "ts_gap", ts_gap.then_some(true))?;
        map.end()
    }
}

struct AnomalyOf<'a> {
    anomaly: &'a Anomaly<'a>,
    app_proto: Option<&'static str>,
}

/// Protocols whose events Suricata logs in capitals.
const CAPITALS: [&str; 5] = ["http", "smtp", "ftp", "tls", "dnp3"];

impl Serialize for AnomalyOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let kind = match self.anomaly.kind {
            AnomalyKind::Decode => "decode",
            AnomalyKind::Stream => "stream",
            AnomalyKind::Applayer => "applayer",
        };
        let applayer = self.anomaly.kind == AnomalyKind::Applayer;
        entry(&mut map, "app_proto", self.app_proto.filter(|_| applayer))?;
        map.serialize_entry("type", kind)?;
        let beginning = self.anomaly.event.starts_with("applayer_");
        let loud = beginning || self.app_proto.is_some_and(|app| CAPITALS.contains(&app));
        if applayer && loud {
            map.serialize_entry("event", &UpperCase(self.anomaly.event))?;
        } else {
            map.serialize_entry("event", self.anomaly.event)?;
        }
        text(&mut map, "layer", self.anomaly.layer)?;
        map.end()
    }
}

/// Dotted names as nested objects.
///
/// A name that is also the beginning of others is their `total`; one below a name with a value of its own keeps
/// its dots.
fn nested(counters: &[(&str, u64)]) -> Map<String, Value> {
    let mut root = Map::new();
    for &(name, count) in counters {
        if insert(&mut root, name, count).is_none() {
            root.insert(name.to_owned(), count.into());
        }
    }
    root
}

fn insert(object: &mut Map<String, Value>, name: &str, count: u64) -> Option<()> {
    match name.split_once('.') {
        Some((head, tail)) => {
            let inner = object
                .entry(head)
                .or_insert_with(|| Value::Object(Map::new()));
            insert(inner.as_object_mut()?, tail, count)
        }
        None => {
            match object.get_mut(name) {
                Some(Value::Object(inner)) => inner.insert("total".to_owned(), count.into()),
                _ => object.insert(name.to_owned(), count.into()),
            };
            Some(())
        }
    }
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "to_server",
        Direction::ToClient => "to_client",
    }
}

fn entry<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &str,
    value: Option<T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, &value))
}

fn text<M: SerializeMap>(map: &mut M, key: &str, value: &str) -> Result<(), M::Error> {
    entry(map, key, (!value.is_empty()).then_some(value))
}

fn bytes<M: SerializeMap>(map: &mut M, key: &str, value: Option<&[u8]>) -> Result<(), M::Error> {
    entry(map, key, value.filter(|value| !value.is_empty()).map(Text))
}

struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// An address as Suricata prints it: IPv6 with all its zeros.
struct Address(IpAddr);

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => {
                for (at, group) in address.segments().iter().enumerate() {
                    let colon = if at == 0 { "" } else { ":" };
                    write!(f, "{colon}{group:04x}")?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
