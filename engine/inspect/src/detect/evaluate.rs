//! Conditions that do not look at buffers, and evaluation on packets and streams.
use smallvec::SmallVec;

use crate::rule::pcre::Life;
use crate::rule::threshold::Whose;
use crate::rule::{Action, FlowStateTest, PayloadScene, Scene, Signature, TagScope};
use crate::Direction;

use super::chain::{self, Subject, Work};
use super::headers::{home_ends, Fits, Tests};
use super::hosts::Ends;
use super::lane::Lane;
use super::matcher::Class;
use super::scratch::{Candidates, Scratch};
use super::state::{Found, Scanning};
use super::tag::{self, TagState};
use super::threshold::Permit;
use super::{Context, FlowState, Hit, Home, Matcher, Scope, StreamView, MAX_SIDES};

/// Alerts for one packet and guest; the actions of further hits still hold. Suricata's default.
const MAX_ALERTS: u32 = 15;

impl Matcher {
    /// Evaluates signatures on the packet's header and payload.
    pub fn packet(&self, context: &Context<'_>, flow: &mut FlowState, scratch: &mut Scratch) {
        flow.belong_to(self.id);
        scratch.fits.turn_to(self.id, &self.headers, context);
        scratch.work.learn_in(&context.shared.learned);
        let at = context.packet.direction as usize;
        let class = Class::of(context.packet.ip_proto);
        scratch.candidates.clear(self.signatures.len());
        let payload = context.packet.payload;
        let odd = !context.packet.events.is_empty();
        if odd {
            let candidates = &mut scratch.candidates;
            self.events_only.iter().for_each(|it| candidates.add(*it));
        }
        // Only signatures on events are asked about a packet whose IP header could not be read.
        let shown = !context.packet.undecoded || !odd;
        if shown && !context.packet.pseudo {
            let lane = &self.packets[class as usize][at];
            self.gather(context, lane, payload, 0, scratch);
            let unstreamed = class == Class::Tcp && !context.packet.in_stream;
            if unstreamed && !payload.is_empty() {
                self.gather(context, &self.streams[at], payload, 0, scratch);
            }
        }
        if context.packet.closing {
            let candidates = &mut scratch.candidates;
            self.ends_only.iter().for_each(|it| candidates.add(*it));
        }
        self.gather_once(context, flow, scratch);
        self.evaluate(
            context,
            flow,
            Subject::whole(payload),
            Where::Packet,
            scratch,
        );
    }

    /// Evaluates signatures on stream bytes that travel in the packet's direction.
    pub fn stream(
        &self,
        context: &Context<'_>,
        flow: &mut FlowState,
        stream: &StreamView<'_>,
        scratch: &mut Scratch,
    ) {
        flow.belong_to(self.id);
        scratch.fits.turn_to(self.id, &self.headers, context);
        scratch.candidates.clear(self.signatures.len());
        self.gather_stream(context, flow, stream, scratch);
        let subject = Subject {
            bytes: stream.bytes,
            offset: stream.offset,
            beyond: stream.seen_before.min(stream.bytes.len()),
            little: false,
        };
        self.evaluate(context, flow, subject, Where::Stream, scratch);
        self.retry_deferred(context, flow, scratch);
    }

    /// Looks again at the packet's signatures that lacked a flowbit: the stream may have set it.
    fn retry_deferred(&self, context: &Context<'_>, flow: &mut FlowState, scratch: &mut Scratch) {
        if scratch.deferred.is_empty() || context.packet.pseudo {
            return;
        }
        std::mem::swap(&mut scratch.candidates.found, &mut scratch.deferred);
        scratch.deferred.clear();
        let subject = Subject::whole(context.packet.payload);
        self.evaluate(context, flow, subject, Where::Packet, scratch);
    }

    /// Puts the hits in order of their actions, applies `pass` and thresholds.
    pub fn finish(&self, context: &Context<'_>, flow: &mut FlowState, scratch: &mut Scratch) {
        let order = |hit: &Hit| {
            let signature = &self.signatures[hit.signature as usize];
            (
                signature.action,
                signature.priority,
                hit.signature,
                hit.side,
                hit.tx_id,
            )
        };
        scratch.hits.sort_by_key(order);
        let mut passing = [false; MAX_SIDES];
        let mut alerts = [0; MAX_SIDES];
        let mut overflowed = 0;
        scratch.hits.retain_mut(|hit| {
            let signature = &self.signatures[hit.signature as usize];
            let side = usize::from(hit.side);
            if passing[side] {
                return false;
            }
            let permit = self.permit(signature, hit, context);
            match permit {
                Permit::Nothing => return false,
                Permit::Silent => hit.alert = false,
                Permit::Alert => hit.alert = !signature.noalert && !signature.suppressed,
                Permit::Instead(action) => hit.instead = Some(action),
            }
            self.tag(context, hit, flow);
            flow.passed |= u8::from(signature.bypass) << side;
            flow.bypassed |= signature.bypass;
            if signature.noalert && signature.action == Action::Alert && !signature.unrecorded {
                return false;
            }
            if hit.instead.unwrap_or(signature.action) == Action::Pass {
                // What silences a pass silences it for this packet only: it does not spare the others.
                passing[side] = permit != Permit::Silent;
                flow.passed |= u8::from(hit.scope == Scope::Flow) << side;
            }
            alerts[side] += u32::from(hit.alert);
            let overflows = hit.alert && alerts[side] > MAX_ALERTS;
            overflowed += u64::from(overflows);
            hit.alert &= !overflows;
            true
        });
        scratch.overflowed += overflowed;
    }

    /// What suppressions and the threshold leave of a hit.
    fn permit(&self, signature: &Signature, hit: &Hit, context: &Context<'_>) -> Permit {
        let side = context.sides.get(usize::from(hit.side));
        if self.is_suppressed(
            hit.signature,
            side.map_or(Home::Addresses, |it| it.home),
            context,
        ) {
            return Permit::Silent;
        }
        if signature.thresholds.is_empty() {
            return Permit::Alert;
        }
        let counter = (signature.key(), side.map_or(0, |side| side.guest));
        let ends = (context.packet.src, context.packet.dst);
        let counters = &context.shared.thresholds;
        counters.count(&signature.thresholds, counter, ends, context.now_ns)
    }

    fn is_suppressed(&self, index: u32, home: Home, context: &Context<'_>) -> bool {
        let suppressions = &self.compiled[index as usize].suppressions;
        if suppressions.is_empty() {
            return false;
        }
        let packet = context.packet;
        let (src_home, dst_home) = home_ends(home, packet.direction);
        suppressions.iter().any(|(whose, number)| {
            let Tests {
                addresses, home, ..
            } = &self.headers.tests;
            let addresses = &addresses[*number as usize];
            let src = || addresses.holds(packet.src, src_home, home);
            let dst = || addresses.holds(packet.dst, dst_home, home);
            match whose {
                Whose::Source => src(),
                Whose::Destination => dst(),
                Whose::Either => src() || dst(),
            }
        })
    }

    /// Sets the tags of a signature that matched.
    fn tag(&self, context: &Context<'_>, hit: &Hit, flow: &mut FlowState) {
        let signature = &self.signatures[hit.signature as usize];
        let key = signature.key();
        for it in &signature.tags {
            for ends in ends_of(context, 1 << hit.side) {
                let host = match it.scope {
                    TagScope::Flow => {
                        let state = TagState::new(it, key, context.now_ns);
                        tag::add(flow.tags_mut(), state);
                        continue;
                    }
                    TagScope::Source => ends.src,
                    TagScope::Destination => ends.dst,
                };
                let hosts = &context.shared.hosts;
                hosts.tag(host, ends.guest, it, key, context.now_ns);
            }
        }
    }

    /// Counts the packet for the tags on its flow and on its ends; whether it is to be logged.
    ///
    /// To be called once for every packet from the wire, after [`Matcher::finish`]. `frame_bytes`: its length
    /// with its link header.
    pub fn is_tagged(&self, context: &Context<'_>, flow: &mut FlowState, frame_bytes: u32) -> bool {
        let hosts = &context.shared.hosts;
        if !flow.is_tagged() && !hosts.any_tagged() {
            return false;
        }
        let mut found =
            flow.is_tagged() && tag::count(flow.tags_mut(), frame_bytes, context.now_ns);
        for ends in ends_of(context, u8::MAX) {
            found |= hosts.is_tagged(&ends, frame_bytes, context.now_ns);
        }
        found
    }

    fn gather(
        &self,
        context: &Context<'_>,
        lane: &Lane,
        bytes: &[u8],
        base: u64,
        scratch: &mut Scratch,
    ) {
        let candidates = &mut scratch.candidates;
        let ports = (context.packet.src_port, context.packet.dst_port);
        self.gather_unpatterned(context, lane, Where::Packet, candidates);
        lane.scan(ports, bytes, 0, base, |signature, _| {
            candidates.add(signature)
        });
    }

    /// Adds the signatures whose pattern is in the window, of which only what is new is looked through: those
    /// that were found in the rest of it are remembered.
    fn gather_stream(
        &self,
        context: &Context<'_>,
        flow: &mut FlowState,
        stream: &StreamView<'_>,
        scratch: &mut Scratch,
    ) {
        let at = context.packet.direction as usize;
        let lane = &self.streams[at];
        let Scratch {
            candidates, fits, ..
        } = scratch;
        let seen = stream.offset + stream.seen_before.min(stream.bytes.len()) as u64;
        let scanned = flow.streams[at].scanned.min(seen);
        let again = scanned.saturating_sub(stream.offset) as usize;
        let from = again.saturating_sub(lane.overlap());
        let ports = (context.packet.src_port, context.packet.dst_port);
        lane.scan(
            ports,
            stream.bytes,
            from,
            stream.offset,
            |signature, place| candidates.add_at(signature, place),
        );
        let mut open = std::mem::take(&mut flow.streams[at].open);
        for known in open.iter().filter(|it| it.place >= stream.offset) {
            candidates.add_at(known.signature, known.place);
        }
        open.clear();
        candidates.found.retain(|signature| {
            let fits = self.signatures[*signature as usize].scene == Scene::Transaction
                || self.sides(*signature, context, flow, fits) != 0;
            if fits {
                let place = candidates.places[*signature as usize];
                open.push(Found {
                    signature: *signature,
                    place,
                });
            }
            fits
        });
        flow.streams[at] = Scanning {
            scanned: stream.offset + stream.bytes.len() as u64,
            open,
        };
        self.gather_unpatterned(context, lane, Where::Stream, candidates);
    }

    /// Adds the signatures that no pattern brings up, but for the most of them, which do not fit the packet at all.
    fn gather_unpatterned(
        &self,
        context: &Context<'_>,
        lane: &Lane,
        place: Where,
        candidates: &mut Candidates,
    ) {
        let ports = (context.packet.src_port, context.packet.dst_port);
        lane.unpatterned(ports, |it| {
            if self.may_be_asked(it, context, place) {
                candidates.add(it);
            }
        });
    }

    /// Adds the signatures that are evaluated once a flow and direction, when it is time.
    fn gather_once(&self, context: &Context<'_>, flow: &mut FlowState, scratch: &mut Scratch) {
        let at = context.packet.direction as usize;
        let real = !context.packet.pseudo;
        if real && (context.flow.is_none() || !flow.addresses_done[at]) {
            let (src, dst) = (context.packet.src, context.packet.dst);
            let candidates = &mut scratch.candidates;
            if context.packet.ip_proto != 0 || !src.is_unspecified() {
                self.addresses_only.find(src, dst, |it| candidates.add(it));
            }
            flow.addresses_done[at] = true;
        }
        if context.flow.is_some_and(|flow| flow.app_news) {
            let candidates = &mut scratch.candidates;
            self.protocol_only.iter().for_each(|it| candidates.add(*it));
        }
    }

    /// Evaluates the candidates on a packet's payload or on stream bytes.
    fn evaluate(
        &self,
        context: &Context<'_>,
        flow: &mut FlowState,
        subject: Subject<'_>,
        place: Where,
        scratch: &mut Scratch,
    ) {
        if scratch.candidates.found.is_empty() {
            return;
        }
        let mut candidates = std::mem::take(&mut scratch.candidates.found);
        candidates.retain(|index| self.may_be_asked(*index, context, place));
        candidates.sort_unstable();
        for index in &candidates {
            let signature = &self.signatures[*index as usize];
            if signature.scene == Scene::Transaction {
                if self.may_hold_payload(*index, context, flow, &mut scratch.fits) {
                    let direction = context.packet.direction;
                    self.hold_payload((*index, direction), subject, flow, &mut scratch.work);
                }
                continue;
            }
            let sides =
                self.sides(*index, context, flow, &mut scratch.fits) & !scratch.hit_sides(*index);
            if sides == 0 {
                continue;
            }
            let fitting = state_fits(signature, context, flow, scratch, sides);
            if fitting == 0 {
                if place == Where::Packet {
                    scratch.deferred.push(*index);
                }
                continue;
            }
            // What asks for no bytes that stand somewhere is asked about each piece for itself, as in Suricata; not
            // where an expression must not be missed because its bytes come in two packets.
            let by_piece = self.compiled[*index as usize].placeless && !context.at_once;
            let subject = match by_piece {
                true => subject.fresh(),
                false => subject,
            };
            scratch.work.begin();
            if !on_payload(signature, context, subject, place, &mut scratch.work)
                || !buffers_fit(signature, context, &mut scratch.work)
            {
                continue;
            }
            let in_stream = place == Where::Stream;
            let scope = scope(signature, in_stream);
            self.hit(
                context, *index, fitting, scope, None, in_stream, flow, scratch,
            );
        }
        scratch.candidates.found = candidates;
    }

    /// Whether all that is cheap to ask of the packet, its flow and what is spoken fits a signature.
    fn may_be_asked(&self, index: u32, context: &Context<'_>, place: Where) -> bool {
        let signature = &self.signatures[index as usize];
        signature.scene == Scene::Transaction || surroundings_fit(signature, context, place)
    }

    /// Whether the payload conditions of a signature on a transaction are worth evaluating in this flow.
    fn may_hold_payload(
        &self,
        index: u32,
        context: &Context<'_>,
        flow: &FlowState,
        fits: &mut Fits,
    ) -> bool {
        let signature = &self.signatures[index as usize];
        let spoken = context.flow.and_then(|flow| flow.app);
        let speaks =
            signature.apps.is_empty() || spoken.is_some_and(|app| signature.apps.contains(app));
        // Without a direction its transaction may be looked at where the header fits the other way round.
        speaks
            && !flow
                .payload_held
                .contains(&(index, context.packet.direction))
            && (signature.flow.direction.is_none() || self.sides(index, context, flow, fits) != 0)
    }

    /// Remembers that the payload conditions of a signature on a transaction held.
    fn hold_payload(
        &self,
        (index, direction): (u32, Direction),
        subject: Subject<'_>,
        flow: &mut FlowState,
        work: &mut Work,
    ) {
        let inspections = &self.signatures[index as usize].inspections;
        let held = inspections
            .iter()
            .filter(|inspection| inspection.is_payload())
            .all(|inspection| chain::holds(&inspection.tests, subject, work));
        if held {
            flow.payload_held.push((index, direction));
        }
    }

    /// Records a match for `sides`, once a packet, and changes flowbits.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn hit(
        &self,
        context: &Context<'_>,
        index: u32,
        sides: u8,
        scope: Scope,
        tx_id: Option<u64>,
        in_stream: bool,
        flow: &mut FlowState,
        scratch: &mut Scratch,
    ) {
        let signature = &self.signatures[index as usize];
        signature
            .flowbit_changes
            .iter()
            .for_each(|change| flow.change(*change));
        flow.change_integers(&signature.flowints);
        for (variable, text) in scratch.work.captured.drain(..) {
            match variable.life {
                Life::Flow => flow.set_text(variable.name, &text),
                Life::Packet => scratch.texts.push((variable.name, text)),
            }
        }
        for change in &signature.host_changes {
            for ends in ends_of(context, sides) {
                context.shared.hosts.change(change, &ends, context.now_ns);
            }
        }
        let known = scratch.hit_by.entry((index, tx_id)).or_default();
        let fresh = sides & !std::mem::replace(known, *known | sides);
        for side in (0..MAX_SIDES as u8).filter(|side| fresh & (1 << side) != 0) {
            let alert = !signature.noalert;
            scratch.hits.push(Hit {
                signature: index,
                side,
                alert,
                instead: None,
                scope,
                tx_id,
                in_stream,
            });
        }
    }

    /// The sides that hold the signature, have not passed the flow, and whose header fits: one bit each.
    pub(super) fn sides(
        &self,
        index: u32,
        context: &Context<'_>,
        flow: &FlowState,
        fits: &mut Fits,
    ) -> u8 {
        let header = self.compiled[index as usize].header;
        let fitting = self.headers.sides(header, context, fits);
        let sides = context.sides.iter().take(MAX_SIDES).enumerate();
        sides
            .filter(|(at, side)| {
                let assigned = side.assigned.is_none_or(|set| set.contains(index));
                fitting & 1 << at != 0 && assigned && !flow.passed(*at)
            })
            .fold(0, |found, (at, _)| found | 1 << at)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Packet,
    Stream,
}

/// Whether the payload conditions hold here, if here is where they look.
fn on_payload(
    signature: &Signature,
    context: &Context<'_>,
    subject: Subject<'_>,
    place: Where,
    work: &mut Work,
) -> bool {
    let Scene::Packet { payload } = signature.scene else {
        return true;
    };
    let tcp = Class::of(context.packet.ip_proto) == Class::Tcp;
    let looks_here = match (payload, place) {
        (PayloadScene::None, _) => return true,
        (PayloadScene::Packet | PayloadScene::Both, Where::Packet) => has_payload(context),
        (PayloadScene::Packet, Where::Stream) => false,
        (PayloadScene::StreamOnly, Where::Packet) => false,
        (PayloadScene::Stream, Where::Packet) => {
            has_payload(context) && (!tcp || !context.packet.in_stream)
        }
        (_, Where::Stream) => true,
    };
    looks_here
        && !(place == Where::Packet && context.packet.pseudo)
        && signature
            .inspections
            .iter()
            .filter(|it| it.is_payload())
            .all(|it| chain::holds(&it.tests, subject, work))
}

/// Whether a packet has a payload to look at: as in Suricata, one without has it if bytes of its stream are shown with it.
fn has_payload(context: &Context<'_>) -> bool {
    !context.packet.payload.is_empty() || context.packet.stream_news
}

/// Whether the conditions on the packet's own buffers hold.
pub(super) fn buffers_fit(signature: &Signature, context: &Context<'_>, work: &mut Work) -> bool {
    signature.inspections.iter().all(|inspection| {
        let Some(buffer) = inspection.packet else {
            return true;
        };
        let mut room = Vec::new();
        let Some(bytes) = (buffer.extract)(context.packet, &mut room) else {
            return false;
        };
        match inspection.transforms.split_first() {
            None => chain::holds(&inspection.tests, Subject::whole(bytes), work),
            Some(_) => {
                let bytes = transformed(&inspection.transforms, bytes);
                chain::holds(&inspection.tests, Subject::whole(&bytes), work)
            }
        }
    })
}

fn transformed(transforms: &[crate::rule::Transform], bytes: &[u8]) -> Vec<u8> {
    transforms.iter().fold(bytes.to_vec(), |bytes, transform| {
        let mut out = Vec::new();
        transform.apply(&bytes, &mut out);
        out
    })
}

/// The sides for which the conditions on flow, protocol, header and what is remembered hold.
pub(super) fn conditions_hold(
    signature: &Signature,
    context: &Context<'_>,
    flow: &FlowState,
    scratch: &Scratch,
    sides: u8,
) -> u8 {
    if surroundings_fit(signature, context, Where::Stream) {
        state_fits(signature, context, flow, scratch, sides)
    } else {
        0
    }
}

fn surroundings_fit(signature: &Signature, context: &Context<'_>, place: Where) -> bool {
    flow_fits(signature, context, place)
        && app_fits(signature, context)
        && signature.packet_tests.iter().all(|test| {
            let shown = !(test.needs_header && context.packet.pseudo);
            shown && (test.holds)(context.packet, context.flow, &test.operand)
        })
}

/// The sides for which bits and variables are as they should be; a packet without a flow has none of a flow's.
fn state_fits(
    signature: &Signature,
    context: &Context<'_>,
    flow: &FlowState,
    scratch: &Scratch,
    sides: u8,
) -> u8 {
    let bits_fit = signature.flowbit_tests.iter().all(|test| {
        let mut bits = test.bits.iter();
        bits.any(|bit| flow.is_set(*bit) != test.negated)
    });
    let integers_fit = flow.integers_fit(&signature.flowints);
    let texts_fit = signature.variable_tests.iter().all(|test| {
        let name = test.variable.name;
        let text = match test.variable.life {
            Life::Flow => flow.text(name),
            Life::Packet => scratch.text(name),
        };
        text.is_some_and(|text| test.needle.find(text).is_some())
    });
    let stateful = !signature.flowbit_tests.is_empty() || !signature.flowints.is_empty();
    if !bits_fit || !integers_fit || !texts_fit || stateful && context.flow.is_none() {
        return 0;
    }
    if signature.host_tests.is_empty() {
        return sides;
    }
    let fits = |side: &u8| {
        let ends = ends_of(context, 1 << side);
        ends.into_iter().all(|ends| {
            let mut tests = signature.host_tests.iter();
            tests.all(|test| context.shared.hosts.fits(test, &ends, context.now_ns))
        })
    };
    (0..MAX_SIDES as u8)
        .filter(|side| sides & (1 << side) != 0)
        .filter(fits)
        .fold(0, |found, side| found | 1 << side)
}

/// The packet's ends, once for the guest of each of `sides`.
fn ends_of(context: &Context<'_>, sides: u8) -> SmallVec<[Ends; MAX_SIDES]> {
    let (src, dst) = (context.packet.src, context.packet.dst);
    let all = context.sides.iter().take(MAX_SIDES).enumerate();
    all.filter(|(at, _)| sides & (1 << at) != 0)
        .map(|(_, side)| Ends {
            guest: side.guest,
            src,
            dst,
        })
        .collect()
}

fn flow_fits(signature: &Signature, context: &Context<'_>, place: Where) -> bool {
    let test = &signature.flow;
    let Some(flow) = context.flow else {
        // As in Suricata: what belongs to no flow counts as a client's, and a direction alone asks for no flow.
        return match test.direction {
            None => !test.given,
            Some(direction) => test.is_direction_alone() && direction == context.packet.direction,
        };
    };
    // A packet finds the flow as the one before it left it: the last of a handshake does not count as established.
    // Inline its bytes do, or what comes with it would be delivered before a signature sees it.
    let carries = place == Where::Stream || context.at_once && !context.packet.payload.is_empty();
    let state_fits = match test.state {
        Some(FlowStateTest::Established) => flow.was_established || carries && flow.established,
        Some(FlowStateTest::NotEstablished) => !flow.was_established,
        Some(FlowStateTest::Stateless) | None => true,
    };
    state_fits
        && test
            .defragmented
            .is_none_or(|wanted| wanted == context.packet.defragmented)
        && test
            .direction
            .is_none_or(|direction| direction == context.packet.direction)
}

fn app_fits(signature: &Signature, context: &Context<'_>) -> bool {
    if signature.apps.is_empty() && signature.app_tests.is_empty() {
        return true;
    }
    let Some(flow) = context.flow else {
        return false;
    };
    let named_fits =
        signature.apps.is_empty() || flow.app.is_some_and(|app| signature.apps.contains(app));
    named_fits
        && signature.app_tests.iter().all(|test| {
            let spoken = match flow.app.filter(|_| !flow.app_foreign) {
                Some(app) => test.apps.contains(app),
                None => test.apps.is_empty(),
            };
            let asked = flow.app_done && (!test.once || flow.app_news);
            asked && spoken != test.negated
        })
}

/// How far a signature's action reaches; Suricata's table of signature types.
fn scope(signature: &Signature, in_stream: bool) -> Scope {
    match signature.scene {
        Scene::AddressesOnly | Scene::ProtocolOnly | Scene::Transaction => Scope::Flow,
        Scene::EventsOnly => Scope::Packet,
        Scene::Packet { .. } if signature.packet_tests.iter().any(|test| test.needs_header) => {
            Scope::Packet
        }
        Scene::Packet { .. } if in_stream || !signature.apps.is_empty() => Scope::Flow,
        Scene::Packet { .. } => Scope::Packet,
    }
}
