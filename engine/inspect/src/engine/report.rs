//! Turns what happened into EVE records.
use crate::app::{self, AppProto, AppSet, Purpose, Transaction};
use crate::detect::{Hit, PacketView};
use crate::event::{
    write_line, Action, Alert, Anomaly, AnomalyKind, Drop, Endpoints, Event, FileInfo, FlowEnd,
    FlowSummary, FlowTotals, Kind, Outer, Payload, Sekisho, TcpEnd,
};
use crate::flow::{EndReason, Endpoint, Flow, FlowPhase};
use crate::rule::{Signature, Target};
use crate::wire::{proto, Inner, Network, Packet, Transport, Tunnel};
use crate::Direction;

use super::conversation::{vlan_ids, Conversation, STREAM_TAIL_BYTES};
use super::judge::{Effect, Judgement, Parties, Tell};
use super::lone::NO_FLOW;
use super::{Arrival, Desk};

/// Spool severity of records that no signature's priority decides.
const SEVERITY_DROP: u8 = 2;
const SEVERITY_ANOMALY: u8 = 3;
const SEVERITY_RECORD: u8 = 4;

/// Protocols whose own records name the transaction's number beside the endpoints, as Suricata has it.
const NUMBERED: AppSet = AppSet::of(&[
    AppProto::Ftp,
    AppProto::FtpData,
    AppProto::Http,
    AppProto::Http2,
    AppProto::Smtp,
    AppProto::Ssh,
]);
/// Protocols whose own records show the ends of the packet with which they are written, as Suricata has it: a reply's
/// sender first.
const BY_PACKET: AppSet =
    AppSet::of(&[AppProto::Ike, AppProto::Krb5, AppProto::Nfs, AppProto::Quic]);
/// Source: RFC 8200, 3.
const IPV6_HEADER_BYTES: u32 = 40;
/// Where packets come from that no other packet carried.
const WIRE: &str = "wire/pcap";

/// Takes finished lines of EVE JSON, newline included. `severity`: 1 most severe … 4.
pub trait EventSink {
    /// Takes one line.
    fn event(&mut self, severity: u8, line: &[u8]);
}

/// Which records are written beside alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// `drop`, one a flow.
    pub drop: bool,
    /// `drop`, one a packet.
    pub drop_each: bool,
    /// `http`, `dns`, …: one a transaction of these protocols.
    pub app: AppSet,
    /// `fileinfo`, one a file, with its SHA-256.
    pub files: bool,
    /// `flow`, one a flow.
    pub flow: bool,
    /// `anomaly`.
    pub anomaly: bool,
    /// `stats`, once, at the end.
    pub stats: bool,
    /// Alerts show the bytes that matched: of a stream what was seen last of it.
    pub payload: bool,
    /// Alerts show their packet.
    pub packet: bool,
}

impl Records {
    /// Everything: offline.
    pub const ALL: Self = Self {
        drop: true,
        drop_each: true,
        app: AppSet::ALL,
        files: true,
        flow: true,
        anomaly: true,
        stats: true,
        payload: false,
        packet: false,
    };
    /// Whether some tell of whole flows, so that all of them must be shown.
    pub fn are_of_flows(&self) -> bool {
        let Self {
            app,
            files,
            flow,
            anomaly,
            ..
        } = *self;
        !app.is_empty() || files || flow || anomaly
    }

    /// The live path: what a peer could provoke without end is counted instead of written.
    pub const LIVE: Self = Self {
        drop: true,
        drop_each: false,
        app: AppSet::EMPTY,
        files: false,
        flow: false,
        anomaly: false,
        stats: false,
        payload: false,
        packet: false,
    };
}

/// The packet, or the moment, that records are about.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub arrival: &'a Arrival,
    pub view: &'a PacketView<'a>,
    pub ip_len: u32,
    /// The packet that arrived, though the view may be of the other direction.
    pub packet: Option<&'a Packet<'a>>,
    pub summary: &'a FlowSummary,
}

impl Scene<'_> {
    /// The ends of the packet that arrived; where none did, as the moment has them.
    fn endpoints(&self) -> Option<Endpoints> {
        match self.packet {
            Some(packet) => packet_endpoints(packet),
            None => Some(endpoints_of(self.view)),
        }
    }

    fn pkt_src(&self) -> &'static str {
        match self.arrival.outer {
            _ if self.packet.is_none() => "stream (flow timeout)",
            Some(outer) => outer.inner_src,
            None if self.arrival.defragmented => "defrag",
            None => WIRE,
        }
    }
}

/// What is said of `packet` in alerts on what it carries.
pub(super) fn outer(arrival: &Arrival, packet: &Packet<'_>, inner: &Inner<'_>) -> Option<Outer> {
    let around = arrival.outer;
    let inner_src = match inner.tunnel {
        Tunnel::Ip | Tunnel::Ip4InIp4 => match inner.packet.network {
            Network::V4(_) => "ipv4 tunnel",
            _ => "ipv6 tunnel",
        },
        Tunnel::Gre | Tunnel::Erspan => "gre tunnel",
        Tunnel::Vxlan => "vxlan encapsulation",
        Tunnel::Geneve => "geneve encapsulation",
        Tunnel::Teredo => "teredo tunnel",
    };
    // Of several packets around one the outermost is told of.
    let outermost = around.or_else(|| {
        Some(Outer {
            endpoints: packet_endpoints(packet)?,
            pcap_cnt: arrival.number,
            depth: 0,
            pkt_src: WIRE,
            inner_src,
        })
    })?;
    Some(Outer {
        depth: outermost.depth.saturating_add(1),
        inner_src,
        ..outermost
    })
}

/// The length that the packet's IP header gives: in IPv6 without that header.
fn length_of(packet: &Packet<'_>) -> u32 {
    let bytes = packet.ip_bytes().len() as u32;
    match packet.network {
        Network::V6(_) => bytes.saturating_sub(IPV6_HEADER_BYTES),
        _ => bytes,
    }
}

fn packet_endpoints(packet: &Packet<'_>) -> Option<Endpoints> {
    let (src_port, dst_port) = match packet.transport {
        Transport::Icmpv4(icmp) | Transport::Icmpv6(icmp) => {
            (icmp.kind().into(), icmp.code().into())
        }
        _ => packet.ports().unwrap_or_default(),
    };
    let (src, dst) = packet.addresses()?;
    Some(Endpoints {
        src,
        dst,
        src_port,
        dst_port,
        protocol: packet.protocol().unwrap_or(0),
    })
}

/// Type and code of an ICMP message, which stand for the port of a flow's end.
fn icmp_of(end: Endpoint) -> (u8, u8) {
    let [kind, code] = end.port.to_be_bytes();
    (kind, code)
}

fn is_icmp(flow: &Flow<Conversation>) -> bool {
    matches!(flow.key.protocol, proto::ICMP | proto::ICMPV6)
}

pub(super) fn summary_of(flow: &Flow<Conversation>) -> FlowSummary {
    let server = flow.server();
    let (src_port, dst_port) = match is_icmp(flow) {
        true => {
            let (kind, code) = icmp_of(flow.client);
            (kind.into(), code.into())
        }
        false => (flow.client.port, server.port),
    };
    FlowSummary {
        totals: FlowTotals {
            pkts_toserver: flow.packets[0],
            pkts_toclient: flow.packets[1],
            bytes_toserver: flow.bytes[0] + flow.data.link_bytes[0],
            bytes_toclient: flow.bytes[1] + flow.data.link_bytes[1],
        },
        start_ns: flow.data.start_wall_ns,
        endpoints: Some(Endpoints {
            src: flow.client.address,
            dst: server.address,
            src_port,
            dst_port,
            protocol: flow.key.protocol,
        }),
    }
}

fn endpoints_of(view: &PacketView<'_>) -> Endpoints {
    let (src_port, dst_port) = match view.icmp {
        Some(icmp) => (u16::from(icmp.kind), u16::from(icmp.code)),
        None => (view.src_port, view.dst_port),
    };
    Endpoints {
        src: view.src,
        dst: view.dst,
        src_port,
        dst_port,
        protocol: view.ip_proto,
    }
}

fn alert_of<'a>(signature: &'a Signature, action: Action, view: &PacketView<'_>) -> Alert<'a> {
    let attack = signature.target.map(|target| match target {
        Target::Source => endpoints_of(view).reversed(),
        Target::Destination => endpoints_of(view),
    });
    Alert {
        action,
        gid: signature.gid,
        sid: signature.sid,
        rev: signature.rev,
        msg: &signature.msg,
        classtype: &signature.classtype,
        priority: signature.priority,
        attack,
        metadata: &signature.metadata,
    }
}

/// The bytes that an alert shows: the stream's last ones, or the packet's.
fn payload_of<'a>(scene: &Scene<'a>, conversation: &'a Conversation) -> Option<Payload<'a>> {
    let tcp = conversation.tcp.as_ref().filter(|_| scene.view.in_stream);
    let tail = tcp.map_or(&[][..], |tcp| {
        tcp.shown(scene.view.direction, STREAM_TAIL_BYTES)
    });
    let (bytes, stream) = if tail.is_empty() {
        (scene.view.payload, false)
    } else {
        (tail, true)
    };
    (!bytes.is_empty()).then_some(Payload { bytes, stream })
}

/// What a connection's segments said of it; `None` for other flows.
fn tcp_of(conversation: &Conversation) -> Option<TcpEnd> {
    let tcp = conversation.tcp.as_ref()?;
    let followed = tcp.is_followed();
    Some(TcpEnd {
        // Of a connection that is not followed nothing is known.
        flags: if followed {
            conversation.tcp_flags
        } else {
            [0; 2]
        },
        state: tcp.session.state_name(),
        gaps: tcp.gapped,
    })
}

/// The transaction of which records on a hit tell.
struct Told<'a> {
    transaction: Option<&'a dyn Transaction>,
    /// The transaction's number; frames have none.
    id: Option<u64>,
    /// It is not the one that matched, but the only one that is open while the stream matched.
    guessed: bool,
}

impl<'a> Told<'a> {
    fn of(conversation: &'a Conversation, signature: &Signature, hit: &Hit) -> Self {
        let open = |id: Option<u64>| id.and_then(|id| conversation.transaction(id));
        let datagram = conversation.udp.is_some() && !signature.apps.is_empty();
        let transaction = match hit.tx_id {
            Some(_) => open(hit.tx_id),
            // What a datagram brought is the newest there is; Suricata counts on where it brought nothing.
            None if datagram => open(conversation.newest_open(1).next()),
            None if hit.in_stream => conversation.only_transaction(),
            None => None,
        };
        let next = conversation.next_transaction().filter(|_| datagram);
        let found = hit.tx_id.or(transaction.map(|it| it.head().id));
        let id = found.or(next);
        Self {
            transaction,
            id: id.filter(|id| *id < app::frame::FIRST_ID),
            guessed: hit.tx_id.is_none() && !datagram && transaction.is_some(),
        }
    }
}

impl Desk {
    /// The tap behind which a side's guest sits.
    fn vnic_of(&self, conversation: &Conversation, side: usize) -> &str {
        let Some(party) = conversation.sides.get(side) else {
            return "";
        };
        let ends = conversation
            .senders
            .iter()
            .filter_map(|sender| self.policy.port(sender.port));
        ends.into_iter()
            .find(|port| port.shield == party.shield)
            .map_or("", |port| &port.tap)
    }

    fn tap(&self, ifindex: u32) -> &str {
        self.policy.port(ifindex).map_or("", |port| &port.tap)
    }

    /// Writes an alert for every hit that is due one.
    pub(super) fn report_hits(
        &mut self,
        scene: &Scene<'_>,
        conversation: &mut Conversation,
        parties: &Parties,
        sink: &mut dyn super::EventSink,
    ) {
        for index in 0..self.scratch.hits().len() {
            let hit = self.scratch.hits()[index];
            let signature = &self.policy.matcher.signatures()[hit.signature as usize];
            if signature.unrecorded {
                if let Some(transaction) = hit.tx_id.and_then(|id| conversation.transaction_mut(id))
                {
                    transaction.head_mut().reported = true;
                }
            }
            if !hit.alert {
                continue;
            }
            let effect = parties.effect(&self.policy, &hit);
            if effect == Effect::None {
                continue;
            }
            conversation.alerted = true;
            if let Some(party) = conversation.sides.get(usize::from(hit.side)) {
                if let Some(guest) = self.counters.guest(party.shield) {
                    guest.alerts += 1;
                }
            }
            self.report_alert(scene, conversation, parties, &hit, effect, sink);
        }
    }

    fn report_alert(
        &mut self,
        scene: &Scene<'_>,
        conversation: &Conversation,
        parties: &Parties,
        hit: &Hit,
        effect: Effect,
        sink: &mut dyn super::EventSink,
    ) {
        // To reject is to answer, which also who only listens can do.
        let rejects = matches!(effect, Effect::Block(tell) if tell != Tell::default());
        let changed = hit.instead.is_some() && matches!(effect, Effect::Block(_));
        let blocks =
            rejects || changed || self.settings.inline && matches!(effect, Effect::Block(_));
        let action = if blocks {
            Action::Blocked
        } else {
            Action::Allowed
        };
        let signature = &self.policy.matcher.signatures()[hit.signature as usize];
        let told = Told::of(conversation, signature, hit);
        let transaction = told.transaction;
        let mut event = self.inspected_event(
            scene,
            conversation,
            Kind::Alert(alert_of(signature, action, scene.view)),
        );
        event.tx_id = told.id;
        event.tx_guessed = told.guessed;
        event.outer = scene.arrival.outer;
        let purpose = match signature.asks_for("ja4.hash") {
            true => Purpose::AlertOnJa4,
            false => Purpose::Alert,
        };
        event.app = transaction.and_then(|transaction| transaction.describe(purpose));
        event.app_also =
            transaction.and_then(|transaction| transaction.describe_also(Purpose::Alert));
        event.files = transaction.map_or(&[], |it| it.files(scene.view.direction));
        event.file_range = transaction.and_then(|it| it.file_range(scene.view.direction));
        event.sekisho = self.sekisho(conversation, parties, hit, effect, blocks);
        if self.settings.records.payload {
            event.payload = payload_of(scene, conversation);
        }
        if self.settings.records.packet {
            event.packet = scene.packet;
        }
        self.write(&event, signature.priority.clamp(1, 4) as u8, sink);
    }

    fn sekisho<'a>(
        &'a self,
        conversation: &Conversation,
        parties: &Parties,
        hit: &Hit,
        effect: Effect,
        blocks: bool,
    ) -> Option<Sekisho<'a>> {
        let side = usize::from(hit.side);
        let shield = self
            .policy
            .shields()
            .get(conversation.sides.get(side)?.shield as usize)?;
        if shield.guest.is_empty() {
            return None;
        }
        Some(Sekisho {
            guest: &shield.guest,
            vnic: self.vnic_of(conversation, side),
            mode: parties.mode(&self.policy, hit).as_str(),
            policy_version: Some(self.policy.version),
            would: match effect {
                Effect::Alert { would } => would,
                _ => None,
            },
            verdict: if blocks { "drop" } else { "accept" },
            ..Sekisho::default()
        })
    }

    fn event<'a>(
        &'a self,
        scene: &Scene<'a>,
        conversation: &'a Conversation,
        kind: Kind<'a>,
    ) -> Event<'a> {
        let pcap_cnt = scene.packet.and(scene.arrival.number);
        let named = scene
            .packet
            .is_none_or(|packet| packet.addresses().is_some());
        Event {
            flow_id: (conversation.id != NO_FLOW).then_some(conversation.id),
            parent_id: conversation.parent,
            in_iface: self.tap(scene.arrival.in_port),
            pcap_cnt,
            vlan: &conversation.vlans,
            remembered: self.policy.matcher.remembered(&conversation.detect),
            endpoints: named.then(|| endpoints_of(scene.view)),
            pkt_src: scene.pkt_src(),
            app_proto: conversation.app_name(),
            app_others: conversation.app_others(),
            direction: (conversation.id != NO_FLOW).then_some(scene.view.direction),
            flow: (conversation.id != NO_FLOW).then_some(*scene.summary),
            ..Event::new(scene.arrival.wall_ns, kind)
        }
    }

    /// The same of a packet that signatures were shown, with what they captured of it.
    fn inspected_event<'a>(
        &'a self,
        scene: &Scene<'a>,
        conversation: &'a Conversation,
        kind: Kind<'a>,
    ) -> Event<'a> {
        let mut event = self.event(scene, conversation, kind);
        if scene.packet.is_some() {
            event.remembered.packet_texts = self.policy.matcher.captured(&self.scratch);
        }
        event
    }

    fn write(&self, event: &Event<'_>, severity: u8, sink: &mut dyn super::EventSink) {
        let mut line = self.line.borrow_mut();
        line.clear();
        write_line(event, &mut line);
        sink.event(severity, &line);
    }

    /// Writes a `drop` record: one a flow, or one a packet.
    pub(super) fn report_drop(
        &mut self,
        scene: &Scene<'_>,
        conversation: &mut Conversation,
        reason: &str,
        by: Option<(&Judgement, &Parties)>,
        sink: &mut dyn super::EventSink,
    ) {
        let records = self.settings.records;
        if !records.drop || conversation.drop_reported && !records.drop_each {
            return;
        }
        conversation.drop_reported = true;
        let policy = self.policy.clone();
        let hit = by
            .and_then(|(judgement, _)| judgement.by)
            .map(|index| self.scratch.hits()[index]);
        let signature = hit.map(|hit| &policy.matcher.signatures()[hit.signature as usize]);
        let alert = signature.map(|signature| alert_of(signature, Action::Blocked, scene.view));
        let kind = Kind::Drop(Drop {
            len: scene.packet.map_or(0, length_of),
            reason,
            alert,
            packet: scene.packet,
        });
        let mut event = self.event(scene, conversation, kind);
        if let (Some(hit), Some(signature), Some((_, parties))) = (hit, signature, by) {
            let told = Told::of(conversation, signature, &hit);
            event.tx_id = told.id;
            event.tx_guessed = told.guessed;
            event.remembered.packet_texts = policy.matcher.captured(&self.scratch);
            let effect = parties.effect(&policy, &hit);
            event.sekisho = self.sekisho(conversation, parties, &hit, effect, true);
        }
        self.write(&event, SEVERITY_DROP, sink);
    }

    /// Writes a packet that a tag wants logged.
    pub(super) fn report_packet(
        &mut self,
        scene: &Scene<'_>,
        conversation: &Conversation,
        sink: &mut dyn super::EventSink,
    ) {
        let Some(wire) = scene.view.wire else {
            return;
        };
        let event = Event {
            packet: Some(wire),
            ..self.event(scene, conversation, Kind::Packet)
        };
        self.write(&event, SEVERITY_RECORD, sink);
    }

    /// Writes a stream or application anomaly of a flow, the latter with its transaction's number.
    pub(super) fn report_anomaly(
        &mut self,
        scene: &Scene<'_>,
        conversation: &Conversation,
        kind: AnomalyKind,
        name: &str,
        tx_id: Option<u64>,
        sink: &mut dyn super::EventSink,
    ) {
        if !self.settings.records.anomaly {
            return;
        }
        let layer = match kind {
            AnomalyKind::Applayer if name.starts_with("applayer_") => "proto_detect",
            AnomalyKind::Applayer => "proto_parser",
            _ => "",
        };
        let anomaly = Kind::Anomaly(Anomaly {
            kind,
            event: name,
            layer,
        });
        let mut event = self.event(scene, conversation, anomaly);
        event.tx_id = tx_id;
        if kind == AnomalyKind::Applayer {
            event.endpoints = scene.endpoints();
        }
        self.write(&event, SEVERITY_ANOMALY, sink);
    }

    /// Writes what is odd about a packet's headers.
    pub(super) fn report_decoding(
        &mut self,
        arrival: &Arrival,
        packet: &Packet<'_>,
        sink: &mut dyn super::EventSink,
    ) {
        if packet.events.is_empty() && packet.malformed.is_none() {
            return;
        }
        self.counters.malformed += 1;
        for event in packet.events.iter() {
            self.report_decode(arrival, packet, event.name(), sink);
        }
        // A reason that Suricata has no event for is named by ours.
        if let Some(malformed) = packet.malformed.filter(|it| it.event().is_none()) {
            self.report_decode(arrival, packet, malformed.reason(), sink);
        }
    }

    fn report_decode(
        &mut self,
        arrival: &Arrival,
        packet: &Packet<'_>,
        name: &str,
        sink: &mut dyn super::EventSink,
    ) {
        if !self.settings.records.anomaly {
            return;
        }
        let kind = Kind::Anomaly(Anomaly {
            kind: AnomalyKind::Decode,
            event: name,
            layer: "",
        });
        let vlans = vlan_ids(packet);
        let event = Event {
            pcap_cnt: arrival.number,
            vlan: &vlans,
            endpoints: packet_endpoints(packet),
            pkt_src: arrival.outer.map_or(WIRE, |it| it.inner_src),
            ..Event::new(arrival.wall_ns, kind)
        };
        self.write(&event, SEVERITY_ANOMALY, sink);
    }

    /// Writes a transaction's own record.
    pub(super) fn report_transaction(
        &mut self,
        scene: &Scene<'_>,
        conversation: &Conversation,
        transaction: &dyn Transaction,
        sink: &mut dyn super::EventSink,
    ) {
        let told = transaction.head().reported;
        if told || !self.settings.records.app.contains(transaction.app()) {
            return;
        }
        for description in (0..).map_while(|index| transaction.record(index)) {
            let mut event = self.inspected_event(scene, conversation, Kind::App(description.0));
            event.endpoints = match transaction.sent() {
                None if BY_PACKET.contains(transaction.app()) => scene.endpoints(),
                Some(Direction::ToClient) => scene.summary.endpoints.map(Endpoints::reversed),
                _ => scene.summary.endpoints,
            };
            event.flow = None;
            event.direction = None;
            let numbered = NUMBERED.contains(transaction.app());
            event.tx_id = numbered.then_some(transaction.head().id);
            event.app = Some(description);
            event.app_also = transaction.describe_also(Purpose::Record);
            self.write(&event, SEVERITY_RECORD, sink);
        }
    }

    /// Writes a record for each file of a transaction.
    pub(super) fn report_files(
        &mut self,
        scene: &Scene<'_>,
        conversation: &Conversation,
        transaction: &dyn Transaction,
        sink: &mut dyn super::EventSink,
    ) {
        if !self.settings.records.files {
            return;
        }
        for direction in Direction::BOTH {
            for file in transaction.files(direction) {
                let tx_id = transaction.head().id;
                let range = transaction.file_range(direction);
                let kind = Kind::File(FileInfo { file, tx_id, range });
                let mut event = self.inspected_event(scene, conversation, kind);
                event.endpoints = scene.summary.endpoints.map(|ends| match direction {
                    Direction::ToServer => ends,
                    Direction::ToClient => ends.reversed(),
                });
                if transaction.app() != AppProto::FtpData {
                    event.app = transaction.describe(Purpose::Alert);
                    event.app_also = transaction.describe_also(Purpose::Alert);
                }
                self.write(&event, SEVERITY_RECORD, sink);
            }
        }
    }

    /// Writes the `flow` record.
    pub(super) fn report_flow(
        &mut self,
        arrival: &Arrival,
        flow: &Flow<Conversation>,
        reason: EndReason,
        sink: &mut dyn super::EventSink,
    ) {
        self.counters.flows += 1;
        if !self.settings.records.flow {
            return;
        }
        let summary = summary_of(flow);
        let kind = Kind::Flow(FlowEnd {
            totals: summary.totals,
            start_ns: summary.start_ns,
            end_ns: flow.data.last_wall_ns,
            bypassed: flow.data.detect.is_bypassed(),
            state: match flow.phase {
                _ if flow.data.detect.is_bypassed() => "bypassed",
                FlowPhase::New | FlowPhase::Answered => "new",
                FlowPhase::Established | FlowPhase::Closing => "established",
                FlowPhase::Closed => "closed",
            },
            reason: match reason {
                EndReason::Timeout => "timeout",
                EndReason::Evicted => "forced",
                EndReason::Ended => "shutdown",
            },
            alerted: flow.data.alerted,
            icmp_answer: (is_icmp(flow) && flow.packets[1] > 0).then(|| icmp_of(flow.server())),
            tcp: tcp_of(&flow.data),
            action: match (flow.data.dropped, flow.data.is_passed()) {
                (true, _) => "drop",
                (false, true) if !flow.data.detect.is_bypassed() => "pass",
                (false, _) => "",
            },
        });
        let event = Event {
            flow_id: Some(flow.data.id),
            parent_id: flow.data.parent,
            endpoints: summary.endpoints,
            app_proto: flow.data.app_name(),
            app_others: flow.data.app_others(),
            vlan: &flow.data.vlans,
            remembered: self.policy.matcher.remembered(&flow.data.detect),
            direction: None::<Direction>,
            ..Event::new(arrival.wall_ns.max(flow.data.last_wall_ns), kind)
        };
        self.write(&event, SEVERITY_RECORD, sink);
    }

    /// Writes what was counted.
    pub(super) fn report_stats(&self, arrival: &Arrival, sink: &mut dyn super::EventSink) {
        if !self.settings.records.stats {
            return;
        }
        let mut counters = self.counters.named();
        counters.push(("detect.alert_queue_overflow", self.scratch.overflowed()));
        let event = Event::new(arrival.wall_ns, Kind::Stats(&counters));
        self.write(&event, SEVERITY_RECORD, sink);
    }
}
