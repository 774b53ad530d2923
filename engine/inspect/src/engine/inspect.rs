//! One packet through its flow: stream, application, signatures, verdict.
use smallvec::SmallVec;

use crate::app;
use crate::detect::{Context, PacketView, Side, MAX_SIDES};
use crate::event::AnomalyKind;
use crate::flow::{EndReason, Flow, FlowPhase, FlowTable, Lookup};
use crate::policy::{OpenOrClosed, Policy, Shield};
use crate::stream::{self, Undecided, Verdict};
use crate::wire::{
    flags, proto, transport_checksum_ok, Packet, PacketEvent, PacketEvents, Transport,
};
use crate::Direction;

use super::conversation::{Conversation, Ends, TcpLayer};
use super::judge::{judge, Judgement, Tell};
use super::reader::Reader;
use super::report::{summary_of, Scene};
use super::reset::Stand;
use super::views::{flow_view, packet_view, parties, pseudo_view};
use super::{Arrival, Clear, Desk, EventSink, FlowMark, Outcome, Reason};

/// How often a flow's memory is counted.
const ACCOUNT_EVERY_PACKETS: u64 = 16;

/// And with each packet of this size: what the kernel has not cut into segments yet.
const ACCOUNT_AT_BYTES: usize = 4096;

/// Single messages looked at to report them before they are finished.
const MAX_WAITING: u64 = 8;

type Flows = FlowTable<Conversation>;

/// Whether a direction is to be looked at too.
type Asks = fn(&TcpLayer, Direction) -> bool;

impl Desk {
    /// Which flows the packet can belong to: its segment's, offline its VLANs'; inside `tunnels` tunnels others
    /// than outside.
    pub(super) fn zone(&self, arrival: &Arrival, packet: &Packet<'_>, tunnels: usize) -> u64 {
        let ports = [arrival.in_port, arrival.out_port];
        let shield = ports.iter().find_map(|port| self.shield_at(*port));
        let tags = packet.vlans.tags().iter();
        let zone = match shield {
            Some(shield) => u64::from(shield.zone),
            None => tags.fold(0, |zone, tag| zone << 12 | u64::from(tag.id())),
        };
        (tunnels as u64) << 48 | zone
    }

    pub(super) fn shield_at(&self, port: u32) -> Option<&Shield> {
        self.policy
            .shields()
            .get(self.policy.port(port)?.shield as usize)
    }

    /// Finds the packet's flow and inspects it there.
    pub(super) fn flow_packet(
        &mut self,
        flows: &mut Flows,
        zone: u64,
        arrival: &Arrival,
        packet: &Packet<'_>,
        sink: &mut dyn EventSink,
    ) -> Outcome {
        let mut successor = None;
        // A SYN may end the flow it was found in, once; the packet is then the first of the next one.
        for _ in 0..2 {
            let fresh = successor.take();
            let made = flows.find_or_create(zone, packet, arrival.now_ns, |flow| {
                let new = || Box::new(TcpLayer::new(self.stream.clone()));
                let tcp = (flow.key.protocol == proto::TCP).then(|| fresh.unwrap_or_else(new));
                let udp = flow.key.protocol == proto::UDP;
                let conversation = Conversation {
                    unseen: self.unseen,
                    ..Conversation::new(self.next_flow_id(), arrival, tcp, udp)
                };
                let payer = self.policy.payer(arrival.in_port, arrival.out_port);
                (payer, conversation)
            });
            let Some(mut lookup) = made else {
                return self.lone_packet(arrival, packet, sink);
            };
            let Some(flow) = flows.get_mut(lookup.id) else {
                return Outcome::default();
            };
            if !lookup.created {
                flow.data.heed(arrival, self.unseen);
            }
            flow.data.observe(
                &self.policy,
                arrival,
                packet,
                lookup.direction,
                lookup.created,
            );
            let answers = flow.data.udp.is_some() && begins_with_answer(packet)
                || flow.midstream && arrival.travels.is_some_and(|way| way != lookup.direction);
            let answers = answers || lookup.created && self.takes_answerer_for_client(packet);
            flow.data.placed |= arrival.travels.is_some();
            if lookup.created && answers {
                flow.reverse();
                flow.data.reverse(&self.policy);
                lookup.direction = lookup.direction.reverse();
            }
            let opens = is_first_syn(packet);
            let reopens = flow.data.dropped && opens;
            if !reopens {
                match self.inspect(flow, &lookup, arrival, packet, sink) {
                    Step::Done(mut outcome) => {
                        settle(flows, &lookup, packet.payload.len(), arrival.now_ns);
                        // The kernel may remember a drop that was forgotten here: this engine may be younger.
                        if lookup.created && opens && outcome.flow == FlowMark::Keep {
                            outcome.flow = FlowMark::Forget;
                        }
                        return outcome;
                    }
                    Step::NewSession => {}
                }
            }
            if let Some(mut ended) = flows.end(lookup.id) {
                successor = ended
                    .data
                    .tcp
                    .as_deref()
                    .map(|tcp| Box::new(tcp.successor()));
                self.end_flow(arrival, &mut ended, EndReason::Ended, sink);
            }
        }
        Outcome::default()
    }

    /// Whether the sender of a SYN/ACK whose SYN was not seen counts as the client: to Suricata, of a capture whose
    /// connections it does not take up midstream.
    fn takes_answerer_for_client(&self, packet: &Packet<'_>) -> bool {
        let stream = self.settings.stream;
        let both = |tcp: &crate::wire::Tcp<'_>| tcp.has(flags::SYN) && tcp.has(flags::ACK);
        matches!(stream.mode, stream::Mode::Detect(_))
            && !stream.midstream
            && packet.tcp().is_some_and(both)
    }

    /// A number no two flows of one engine share, and that fits the integers of JavaScript.
    fn next_flow_id(&mut self) -> u64 {
        self.counters.flow_ids += 1;
        let mixed =
            (self.counters.flow_ids ^ self.settings.seed[0]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 32)) & ((1 << 53) - 1)
    }

    fn inspect(
        &mut self,
        flow: &mut Flow<Conversation>,
        lookup: &Lookup,
        arrival: &Arrival,
        packet: &Packet<'_>,
        sink: &mut dyn EventSink,
    ) -> Step {
        self.count_bytes(flow, arrival, packet, lookup.direction);
        if self.leaves_alone(&flow.data) {
            return Step::Done(Outcome::default());
        }
        let mut view = packet_view(packet, lookup.direction, arrival.defragmented);
        let summary = summary_of(flow);
        let ip_len = packet.ip_bytes().len() as u32;
        let scene = Scene {
            arrival,
            view: &view,
            ip_len,
            packet: Some(packet),
            summary: &summary,
        };
        if flow.data.dropped && self.settings.inline {
            return Step::Done(self.dropped_already(&scene, &mut flow.data, sink));
        }
        let enforced = self.enforces(&flow.data);
        if enforced && arrival.verify_checksum && transport_checksum_ok(packet) == Some(false) {
            return Step::Done(self.refuse(
                &scene,
                &mut flow.data,
                "malformed",
                "bad checksum",
                sink,
            ));
        }
        let before = self.steer(flow);
        let mut streamed = Streamed::default();
        if !lookup.related {
            if let Transport::Tcp(tcp) = &packet.transport {
                match self.segment(flow, &scene, tcp, &mut streamed, sink) {
                    SegmentStep::Accepted if streamed.given_up => {
                        return Step::Done(Outcome {
                            block: streamed.dropped,
                            ..Outcome::default()
                        })
                    }
                    SegmentStep::Accepted => {}
                    SegmentStep::NewSession => return Step::NewSession,
                    SegmentStep::Refused(outcome) => return Step::Done(outcome),
                }
            }
        }
        if let Some(tcp) = &flow.data.tcp {
            flow.data.was_established = tcp.session.is_established();
        }
        // Nothing can be told from what is encrypted but by accident: Suricata, too, looks at its headers only.
        let read = self.policy.matcher.reads_streams(lookup.direction);
        let unseen = before.directions[lookup.direction as usize];
        let hidden = streamed.hidden || unseen || flow.data.is_encrypted();
        view.stream_news = flow.data.tcp.as_deref_mut().is_some_and(|tcp| {
            let shown = std::mem::take(&mut tcp.shown_since[lookup.direction as usize]);
            (shown || tcp.is_behind(lookup.direction)) && read
        });
        view.in_stream = self.is_shown_as_stream(flow, &view, &streamed);
        view.hidden_bytes = if hidden { view.payload.len() } else { 0 };
        view.payload = match &streamed.rewritten {
            _ if hidden => &[],
            Some(rewritten) => rewritten,
            None => view.payload,
        };
        view.events.extend(streamed.found);
        let scene = Scene {
            arrival,
            view: &view,
            ip_len,
            packet: Some(packet),
            summary: &summary,
        };
        let judgement = self.rounds(flow, &scene, sink);
        let mut outcome = self.conclude(&scene, &mut flow.data, packet, streamed.stand, judgement);
        outcome.block |= streamed.dropped;
        if !lookup.related {
            outcome.clear = self.steer(flow);
        }
        Step::Done(outcome)
    }

    /// Whether signatures on the stream see the packet's bytes there, not in the packet.
    ///
    /// In IPS mode Suricata gives up a connection that it may not pick up midstream; in IDS mode it still looks at
    /// its packets one by one.
    fn is_shown_as_stream(
        &self,
        flow: &Flow<Conversation>,
        view: &PacketView<'_>,
        streamed: &Streamed,
    ) -> bool {
        let Some(tcp) = flow.data.tcp.as_ref() else {
            return false;
        };
        match tcp.is_followed() {
            true => streamed.belongs || view.payload.is_empty(),
            false => self.settings.inline,
        }
    }

    /// Whether no signature looks at the flow any more, and no record will tell of what else it brings.
    fn leaves_alone(&self, conversation: &Conversation) -> bool {
        let recorded = self.settings.records.are_of_flows() && !conversation.detect.is_bypassed();
        conversation.is_passed() && !(conversation.dropped && self.settings.inline) && !recorded
    }

    /// A packet of a flow that a signature ended.
    fn dropped_already(
        &mut self,
        scene: &Scene<'_>,
        conversation: &mut Conversation,
        sink: &mut dyn EventSink,
    ) -> Outcome {
        self.report_drop(scene, conversation, "flow drop", None, sink);
        self.count_blocked(conversation);
        Outcome {
            block: true,
            flow: FlowMark::Drop,
            ..Outcome::default()
        }
    }

    /// Gives the segment to the stream, and fills in what that makes of it where it goes on.
    fn segment(
        &mut self,
        flow: &mut Flow<Conversation>,
        scene: &Scene<'_>,
        tcp: &crate::wire::Tcp<'_>,
        streamed: &mut Streamed,
        sink: &mut dyn EventSink,
    ) -> SegmentStep {
        let direction = scene.view.direction;
        let midstream = flow.midstream;
        if self.may_not_join(&flow.data, tcp) {
            flow.data.dropped = true;
            let reason = "stream midstream";
            let outcome = self.refuse(scene, &mut flow.data, "midstream", reason, sink);
            return SegmentStep::Refused(outcome);
        }
        let live = self.settings.stream.mode == stream::Mode::Inline;
        let unread = || has_two_readings(tcp) || is_ignored_by_receiver(flow, scene.view, tcp);
        if live && self.guards(&flow.data) && unread() {
            self.counters.stream_drops += 1;
            return SegmentStep::Refused(self.refuse(
                scene,
                &mut flow.data,
                "stream",
                "stream error",
                sink,
            ));
        }
        let Some(layer) = flow.data.tcp.as_deref_mut() else {
            return SegmentStep::Accepted;
        };
        if self.settings.inline {
            streamed.stand = stand(&layer.session, direction, tcp);
        }
        if !layer.tells_holes() {
            layer.session.keep_holes_quiet();
        }
        let mut outcome =
            layer
                .session
                .on_segment(direction, tcp, scene.view.payload, scene.arrival.now_ns);
        if layer.passes_depth(direction) {
            let event = PacketEvent::StreamReassemblyDepthReached;
            outcome.found.insert(event);
        }
        if outcome.unseen_bytes > 0 {
            layer.resume(direction, outcome.unseen_bytes);
        }
        if !outcome.found.is_empty() {
            layer.gapped[direction.reverse() as usize] |=
                outcome.found.contains(PacketEvent::StreamReassemblySeqGap);
            for event in outcome.found.iter() {
                let (kind, name) = (AnomalyKind::Stream, event.name());
                self.report_anomaly(scene, &flow.data, kind, name, None, sink);
            }
        }
        streamed.found = outcome.found;
        streamed.belongs = outcome.belongs;
        streamed.rewritten = outcome.rewritten;
        if midstream
            && self.failed_closed(&flow.data, "midstream", |shield| shield.failure.midstream)
        {
            return SegmentStep::Refused(self.refuse(
                scene,
                &mut flow.data,
                "midstream",
                "stream midstream",
                sink,
            ));
        }
        match outcome.verdict {
            Verdict::Accept => SegmentStep::Accepted,
            Verdict::NewSession => SegmentStep::NewSession,
            Verdict::Drop(_) => {
                self.counters.stream_drops += 1;
                let state = flow.data.tcp.as_ref().map(|tcp| tcp.session.state());
                streamed.hidden = !live && is_hidden(streamed.found);
                streamed.given_up = !live
                    && state == Some(stream::TcpState::None)
                    && tcp.flags() & (flags::ACK | flags::FIN) != 0
                    && !tcp.has(flags::RST);
                if !self.enforces(&flow.data) {
                    return SegmentStep::Accepted;
                }
                let refused = self.refuse(scene, &mut flow.data, "stream", "stream error", sink);
                if live {
                    return SegmentStep::Refused(refused);
                }
                // Suricata drops it and still shows it to signatures.
                streamed.dropped = true;
                SegmentStep::Accepted
            }
            // Whoever let them pass before has decided; signatures on streams see them as they see lone packets.
            Verdict::Undecided(Undecided::Unseen) => {
                streamed.belongs = false;
                let bytes = u64::from(scene.ip_len);
                self.count_uninspected(&flow.data, Reason::Midstream, bytes);
                SegmentStep::Accepted
            }
            Verdict::Undecided(why) => {
                let (name, which): (_, fn(&Shield) -> OpenOrClosed) = match why {
                    Undecided::Midstream | Undecided::Unseen => {
                        ("midstream", |shield| shield.failure.midstream)
                    }
                    Undecided::PastHistory | Undecided::Unread => {
                        ("memory", |shield| shield.failure.memory)
                    }
                };
                // Bytes that cannot be compared or shown must not reach a guest that is to be protected.
                let unsafe_to_pass = why != Undecided::Midstream && self.enforces(&flow.data);
                if self.failed_closed(&flow.data, name, which) || unsafe_to_pass {
                    SegmentStep::Refused(self.refuse(
                        scene,
                        &mut flow.data,
                        name,
                        "stream memcap",
                        sink,
                    ))
                } else {
                    SegmentStep::Accepted
                }
            }
        }
    }

    /// Whether the segment belongs to a connection whose beginning was not seen, and such are given up: offline in
    /// IPS mode. Between guests the failure policy decides.
    fn may_not_join(&self, conversation: &Conversation, tcp: &crate::wire::Tcp<'_>) -> bool {
        let gives_up = self.settings.inline && !self.settings.stream.midstream;
        let layer = conversation.tcp.as_ref().filter(|_| gives_up);
        layer.is_some_and(|layer| {
            let joins = tcp.flags() & (flags::ACK | flags::FIN) != 0 && !tcp.has(flags::RST);
            joins && !layer.is_followed()
        })
    }

    /// Shows the signatures what the packet brought: itself and its direction's stream; what lies behind a change
    /// of the protocol in it; and, where it acknowledged bytes that were held, the other direction's.
    fn rounds(
        &mut self,
        flow: &mut Flow<Conversation>,
        scene: &Scene<'_>,
        sink: &mut dyn EventSink,
    ) -> Judgement {
        let direction = scene.view.direction;
        // What the packet acknowledged tells what is spoken, before any signature is asked.
        let mut found = self.tell_protocol(flow, direction, scene);
        found.extend(self.tell_protocol(flow, direction.reverse(), scene));
        let mut judgement = match found.is_empty() {
            true => self.round(flow, scene, sink),
            false => self.odd_round(flow, scene, found, sink),
        };
        let further: [(Direction, Asks); 2] = [
            (direction, TcpLayer::awaits_switch),
            (direction.reverse(), TcpLayer::has_news),
        ];
        for (direction, asks) in further {
            let layer = flow.data.tcp.as_deref_mut();
            let asked = layer.is_some_and(|it| asks(it, direction) && !it.sets_aside(direction));
            if !asked || self.leaves_alone(&flow.data) {
                continue;
            }
            self.tell_protocol(flow, direction, scene);
            let view = pseudo_view(flow, direction);
            let scene = Scene {
                view: &view,
                ..*scene
            };
            let other = self.round(flow, &scene, sink);
            judgement.block |= other.block;
            judgement.block_flow |= other.block_flow;
            judgement.reset |= other.reset;
        }
        judgement
    }

    /// The evaluation of a packet with which something odd about how its connection began was found.
    fn odd_round(
        &mut self,
        flow: &mut Flow<Conversation>,
        scene: &Scene<'_>,
        found: PacketEvents,
        sink: &mut dyn EventSink,
    ) -> Judgement {
        for event in found.iter() {
            let name = event.name();
            self.report_anomaly(scene, &flow.data, AnomalyKind::Applayer, name, None, sink);
        }
        let mut view = *scene.view;
        view.events.extend(found);
        let scene = Scene {
            view: &view,
            ..*scene
        };
        self.round(flow, &scene, sink)
    }

    /// One direction's evaluation: packet (unless pseudo), stream, transactions; then verdict and alerts.
    fn round(
        &mut self,
        flow: &mut Flow<Conversation>,
        scene: &Scene<'_>,
        sink: &mut dyn EventSink,
    ) -> Judgement {
        let direction = scene.view.direction;
        let flow_view = flow_view(flow, scene.arrival, direction, scene.view.pseudo);
        let matcher = &self.policy.matcher;
        let mut sides = Sides::new();
        take_sides(&self.policy, &flow.data, &mut sides);
        let context = Context {
            now_ns: scene.arrival.now_ns,
            flow: Some(&flow_view),
            packet: scene.view,
            sides: &sides,
            at_once: self.settings.inline,
            shared: &self.shared,
        };
        let Conversation {
            tcp, udp, detect, ..
        } = &mut flow.data;
        self.scratch.begin();
        matcher.packet(&context, detect, &mut self.scratch);
        let mut reader = Reader {
            matcher,
            context: &context,
            detect,
            scratch: &mut self.scratch,
            blind: false,
            anew: self.settings.stream.mode == stream::Mode::Rewrite
                && !scene.view.payload.is_empty(),
            seen_s: scene.arrival.wall_ns / 1_000_000_000,
            answered: false,
            expected: Vec::new(),
        };
        let mut skipped = 0;
        if let Some(layer) = tcp.as_deref_mut() {
            skipped = reader.drain(layer, direction);
            let answered = &mut layer.answered_since[direction as usize];
            *answered = scene.view.pseudo && (*answered || reader.answered);
        }
        if let Some(layer) = udp.as_deref_mut() {
            match scene.view {
                view if view.pseudo => reader.no_more_datagrams(layer, direction),
                view if view.payload.is_empty() => {}
                view => reader.datagram(layer, direction, view.payload),
            }
        }
        let Reader {
            blind, expected, ..
        } = reader;
        matcher.finish(&context, &mut flow.data.detect, &mut self.scratch);
        let tagged = !scene.view.pseudo
            && matcher.is_tagged(
                &context,
                &mut flow.data.detect,
                scene.arrival.frame_bytes.max(scene.ip_len),
            );
        drop(sides);
        if tagged {
            self.report_packet(scene, &flow.data, sink);
        }

        for agreement in expected {
            let payer = self
                .policy
                .payer(scene.arrival.in_port, scene.arrival.out_port);
            self.agreements
                .add(flow, agreement, payer, scene.arrival.now_ns);
        }
        self.count_uninspected(&flow.data, Reason::PastDepth, skipped);
        let mut judgement = Judgement::default();
        if !self.scratch.hits().is_empty() {
            let parties = parties(flow, scene.arrival);
            judgement = judge(&self.policy, &parties, self.scratch.hits());
            self.report_hits(scene, &mut flow.data, &parties, sink);
            if judgement.block && self.settings.inline {
                let by = judgement.by.and_then(|it| self.scratch.hits().get(it));
                let reason = match by.and_then(|hit| hit.instead) {
                    Some(_) => "threshold detection_filter",
                    None => "rules",
                };
                self.report_drop(
                    scene,
                    &mut flow.data,
                    reason,
                    Some((&judgement, &parties)),
                    sink,
                );
            }
        }
        if blind && self.enforces(&flow.data) {
            // Nothing honest does this, and what was not shown may be anything: no failure policy passes it.
            judgement.block = true;
            judgement.block_flow = true;
            judgement.reset = true;
            self.counters.failure("parser_error");
            self.report_drop(scene, &mut flow.data, "applayer error", None, sink);
            // Its record and anomalies say what it was that servers read in two ways.
            flow.data.break_off();
        }
        self.finish_transactions(flow, scene, sink);
        judgement
    }

    /// Learns what the flow speaks, where that is not settled; returns what is odd about how it began.
    #[inline]
    fn tell_protocol(
        &mut self,
        flow: &mut Flow<Conversation>,
        direction: Direction,
        scene: &Scene<'_>,
    ) -> PacketEvents {
        match flow.data.is_settled(direction) {
            true => PacketEvents::NONE,
            false => self.learn_protocol(flow, direction, scene),
        }
    }

    fn learn_protocol(
        &mut self,
        flow: &mut Flow<Conversation>,
        direction: Direction,
        scene: &Scene<'_>,
    ) -> PacketEvents {
        let mut found = PacketEvents::NONE;
        let begins = flow
            .data
            .tcp
            .as_ref()
            .is_some_and(|tcp| tcp.begins(direction));
        // Asked with the first byte: a client may connect before it says what for.
        let announced = begins
            .then(|| self.agreements.take(flow, scene.arrival.now_ns))
            .flatten();
        flow.data.parent = announced.as_ref().map(|it| it.parent).or(flow.data.parent);
        let ends = Ends {
            client: flow.client,
            server: flow.server(),
        };
        let settings = &self.settings.app;
        if let Some(layer) = flow.data.tcp.as_deref_mut() {
            if let Some(announced) = announced {
                layer.announce(announced, ends, settings);
            }
            found = layer.detect_app(direction, ends, settings);
        }
        let layer = flow.data.udp.as_deref_mut();
        if let Some(layer) = layer.filter(|_| direction == scene.view.direction) {
            layer.detect_app(direction, scene.view.payload, ends, settings);
        }
        found
    }

    /// Reports and forgets the transactions that are complete.
    fn finish_transactions(
        &mut self,
        flow: &mut Flow<Conversation>,
        scene: &Scene<'_>,
        sink: &mut dyn EventSink,
    ) {
        while let Some(transaction) = flow.data.pop_finished() {
            self.report_transaction(scene, &flow.data, transaction.as_ref(), sink);
            self.report_files(scene, &flow.data, transaction.as_ref(), sink);
            for event in transaction.events() {
                let (kind, tx_id) = (AnomalyKind::Applayer, Some(transaction.head().id));
                self.report_anomaly(scene, &flow.data, kind, event, tx_id, sink);
            }
        }
        self.tell_waiting(flow, scene, sink);
    }

    /// Reports what stays open only for evaluation the other way, while its packet is at hand.
    fn tell_waiting(
        &mut self,
        flow: &mut Flow<Conversation>,
        scene: &Scene<'_>,
        sink: &mut dyn EventSink,
    ) {
        for id in flow.data.newest_open(MAX_WAITING) {
            let waiting = flow.data.transaction(id);
            let Some(waiting) = waiting.filter(|it| it.is_tellable() && !it.head().reported) else {
                return;
            };
            self.report_transaction(scene, &flow.data, waiting, sink);
            if let Some(waiting) = flow.data.transaction_mut(id) {
                waiting.head_mut().reported = true;
            }
        }
    }

    /// From judgement to outcome: marks the flow, tells its ends.
    fn conclude(
        &mut self,
        scene: &Scene<'_>,
        conversation: &mut Conversation,
        packet: &Packet<'_>,
        stand: Option<Stand>,
        judgement: Judgement,
    ) -> Outcome {
        conversation.dropped |= judgement.block_flow;
        if judgement.block_flow && !self.settings.inline {
            // Who only listens records what the flow goes on to bring, and alerts no more.
            conversation.detect.pass_all();
        }
        if !judgement.block || !self.settings.inline {
            return Outcome::default();
        }
        self.count_blocked(conversation);
        let told = judgement.block_flow || judgement.tell != Tell::default();
        let frames = if told {
            self.tell(
                conversation,
                scene.view.direction,
                packet,
                stand,
                &judgement,
            )
        } else {
            Vec::new()
        };
        let flow = if judgement.block_flow {
            FlowMark::Drop
        } else {
            FlowMark::Keep
        };
        Outcome {
            block: true,
            flow,
            frames,
            clear: Clear::default(),
        }
    }

    /// Inspects what an ended flow still held, and reports it.
    pub(super) fn end_flow(
        &mut self,
        arrival: &Arrival,
        flow: &mut Flow<Conversation>,
        reason: EndReason,
        sink: &mut dyn EventSink,
    ) {
        let armed = flow.data.generation == self.policy.generation;
        let cut = flow.data.dropped && self.settings.inline;
        if armed && !cut {
            let layered = flow.data.tcp.is_some() || flow.data.udp.is_some();
            let closing = flow.data.unshown();
            if let Some(layer) = flow.data.tcp.as_deref_mut() {
                layer.flush();
            }
            if layered {
                for direction in Direction::BOTH {
                    let view = PacketView {
                        closing: closing[direction as usize],
                        ..pseudo_view(flow, direction)
                    };
                    let summary = summary_of(flow);
                    let scene = Scene {
                        arrival,
                        view: &view,
                        ip_len: 0,
                        packet: None,
                        summary: &summary,
                    };
                    self.tell_protocol(flow, direction, &scene);
                    self.round(flow, &scene, sink);
                }
            }
        }
        let view = pseudo_view(flow, Direction::ToServer);
        let summary = summary_of(flow);
        let scene = Scene {
            arrival,
            view: &view,
            ip_len: 0,
            packet: None,
            summary: &summary,
        };
        self.finish_transactions(flow, &scene, sink);
        self.report_flow(arrival, flow, reason, sink);
    }
}

enum Step {
    Done(Outcome),
    NewSession,
}

/// What the stream made of a segment that goes on.
#[derive(Default)]
struct Streamed {
    stand: Option<Stand>,
    found: PacketEvents,
    belongs: bool,
    rewritten: Option<Vec<u8>>,
    dropped: bool,
    /// It came before the handshake was complete, and its payload is not looked at.
    hidden: bool,
    /// Its connection is not followed, and it is not looked at.
    given_up: bool,
}

enum SegmentStep {
    Accepted,
    NewSession,
    Refused(Outcome),
}

/// Where the ends of a connection stand before `tcp`, so that they can be told should it be stopped.
fn stand(
    session: &stream::TcpSession,
    direction: Direction,
    tcp: &crate::wire::Tcp<'_>,
) -> Option<Stand> {
    // What was not shown, a segment tells itself: where its sender stands, and what it has received.
    let tells = tcp.has(flags::ACK) && !tcp.has(flags::SYN);
    let other = direction.reverse();
    let shown = !session.was_unseen(other);
    let received = session.expected_seq(other).filter(|_| shown);
    let sender_expects = received.or(tells.then(|| tcp.ack()));
    // Behind bytes that passed unseen its receiver stands where it goes on.
    let unseen = session.was_unseen(direction);
    let jumps = |expected: &u32| unseen && (tcp.seq().wrapping_sub(*expected) as i32) > 0;
    let expected = session.expected_seq(direction);
    let expected = expected.filter(|expected| !jumps(expected));
    let receiver_expects = expected.or(tells.then(|| tcp.seq()))?;
    Some(Stand {
        receiver_expects,
        sender_expects,
    })
}

/// Whether what is odd about a dropped segment keeps its bytes from signatures: Suricata looks at those that are only
/// out of place in an open connection.
fn is_hidden(found: PacketEvents) -> bool {
    use PacketEvent::*;
    let open = found.contains(StreamEstInvalidAck);
    found.iter().any(|event| match event {
        StreamPktInvalidAck => !open,
        StreamEstInvalidAck
        | StreamEstPacketOutOfWindow
        | StreamEstPktBeforeLastAck
        | StreamPktBrokenAck
        | StreamPktRetransmission
        | StreamPktSpuriousRetransmission
        | StreamRstWithData => false,
        _ => true,
    })
}

pub(super) type Sides<'a> = SmallVec<[Side<'a>; MAX_SIDES]>;

/// The perspectives from which a flow is looked at. They are filled in where they stay: a list that was just written
/// is slow to move.
pub(super) fn take_sides<'a>(
    policy: &'a Policy,
    conversation: &Conversation,
    sides: &mut Sides<'a>,
) {
    for party in &conversation.sides {
        if let Some(shield) = policy.shields().get(party.shield as usize) {
            let assigned = (!shield.guest.is_empty()).then_some(&shield.assigned);
            sides.push(Side {
                home: party.home,
                assigned,
                guest: party.shield,
            });
        }
    }
}

/// Tells the flow table how far the flow has come and what it holds.
fn settle(flows: &mut Flows, lookup: &Lookup, payload_bytes: usize, now_ns: u64) {
    let Some(flow) = flows.get_mut(lookup.id) else {
        return;
    };
    let count = flow.packets.iter().sum::<u64>();
    let answered = flow.packets.iter().all(|count| *count > 0);
    let Some(tcp) = flow.data.tcp.as_deref_mut() else {
        return;
    };
    let phase = match tcp.session.state() {
        stream::TcpState::Closed => FlowPhase::Closed,
        stream::TcpState::Established => FlowPhase::Established,
        stream::TcpState::Closing => FlowPhase::Closing,
        stream::TcpState::New if answered => FlowPhase::Answered,
        _ => FlowPhase::New,
    };
    let phase = match tcp.session.may_be_over() {
        true => FlowPhase::Closed,
        false => phase,
    };
    // Walking all transactions costs: the bound is kept well enough by looking now and then, and whenever a packet
    // brought as much as several ordinary ones.
    let many = count % ACCOUNT_EVERY_PACKETS == 0;
    let due = tcp.retire() || many || payload_bytes >= ACCOUNT_AT_BYTES;
    let bytes = due.then(|| tcp.heap_bytes());
    flows.set_phase(lookup.id, phase);
    if let Some(bytes) = bytes {
        flows.account(lookup.id, bytes, now_ns, Conversation::rest);
    }
}

/// Whether the receiver will throw the segment's bytes away, so that they must not count as delivered: data on a
/// SYN or before the answer to it, and segments without ACK. A sender that means them sends them again.
fn is_ignored_by_receiver(
    flow: &Flow<Conversation>,
    view: &PacketView<'_>,
    tcp: &crate::wire::Tcp<'_>,
) -> bool {
    if tcp.flags() & (flags::ACK | flags::SYN | flags::RST) == 0 {
        return true;
    }
    let Some(layer) = flow.data.tcp.as_deref() else {
        return false;
    };
    let opening = layer.session.state() < stream::TcpState::Established && !flow.midstream;
    let answer = view.direction.reverse();
    let unanswered =
        layer.session.expected_seq(answer).is_none() && !layer.session.was_unseen(answer);
    !view.payload.is_empty() && (tcp.has(flags::SYN) || opening && unanswered)
}

/// Whether its receiver may read its bytes in two ways: it takes the urgent byte out of the stream, or leaves it
/// there (RFC 6093, 3.1), as its application asked of the socket. Offline they stay, as by Suricata's default.
fn has_two_readings(tcp: &crate::wire::Tcp<'_>) -> bool {
    tcp.has(flags::URG) && !tcp.has(flags::RST)
}

fn begins_with_answer(packet: &Packet<'_>) -> bool {
    let ports = packet.ports();
    ports.is_some_and(|ports| app::detect::is_answer(packet.payload, ports))
}

fn is_first_syn(packet: &Packet<'_>) -> bool {
    packet
        .tcp()
        .is_some_and(|tcp| tcp.has(flags::SYN) && !tcp.has(flags::ACK))
}
