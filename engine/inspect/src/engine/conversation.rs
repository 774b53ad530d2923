//! What the engine remembers of one flow.
use std::sync::Arc;

use smallvec::SmallVec;

use crate::app::detect::{at_home, is_datagram_of};
use crate::app::frame::Frames;
use crate::app::{
    self, parser_for, AppProto, AppSet, Carrier, Detection, Detector, Parser, Transaction,
};
use crate::detect::{FlowState, Home, MAX_SIDES};
use crate::event::AppOthers;
use crate::flow::Endpoint;
use crate::policy::Policy;
use crate::stream::{self, StreamConfig, TcpSession};
use crate::wire::{Packet, PacketEvents};
use crate::Direction;

use super::beginnings::Beginnings;
use super::expected::Announced;
use super::Arrival;

/// Bytes of a stream kept after they were inspected, so that a signature still matches across two packets, where each
/// packet is judged at once: a match longer than this, or one whose parts lie further apart, is not seen.
///
/// A capture's stream is looked at in pieces that do not overlap, as by Suricata.
pub const STREAM_TAIL_BYTES: usize = 4096;

/// How much of a stream is looked at in one go: offline before its bytes are judged, and where each packet is judged
/// at once with the packet (Suricata's `stream.reassembly.toserver-chunk-size`).
pub const CHUNK_BYTES: usize = 2560;

/// How much of each direction Suricata follows (`stream.reassembly.depth`).
const STREAM_DEPTH_BYTES: u64 = 1 << 20;
/// Who lacks an acknowledgment has said it again by then, twice: the first wait is a second at most (RFC 6298, 2.1).
const SENT_AGAIN_WITHIN_NS: u64 = 3_000_000_000;

/// The guest-side facts and the protocol state of one flow.
#[derive(Debug)]
pub struct Conversation {
    /// Its number in events.
    pub id: u64,
    /// Number of the flow that announced it.
    pub parent: Option<u64>,
    /// Policy generation it was armed for.
    pub generation: u32,
    /// How often packets of all connections had passed unseen when it was seen last.
    pub unseen: u32,
    /// The protected guests at its ends.
    pub sides: SmallVec<[PartySide; MAX_SIDES]>,
    /// Detection's memory.
    pub detect: FlowState,
    /// TCP's state; `None` for other protocols.
    pub tcp: Option<Box<TcpLayer>>,
    /// UDP's state; `None` for other protocols.
    pub udp: Option<Box<UdpLayer>>,
    /// The port and MAC address at which each direction's sender was last seen.
    pub senders: [Sender; 2],
    /// VLANs it was first seen in, outermost first.
    pub vlans: SmallVec<[u16; 3]>,
    /// Bytes of link headers, by direction.
    pub link_bytes: [u64; 2],
    /// TCP: the handshake was complete before the packet at hand.
    pub was_established: bool,
    /// TCP flags that were seen, by direction.
    pub tcp_flags: [u8; 2],
    /// The kernel said which end is which.
    pub placed: bool,
    /// What is spoken was not asked for: no signature of its guests could look at it.
    pub untold: bool,
    /// Every further packet is dropped.
    pub dropped: bool,
    /// A drop was reported.
    pub drop_reported: bool,
    /// A signature alerted.
    pub alerted: bool,
    /// When it began, Unix time.
    pub start_wall_ns: u64,
    /// When it was last seen, Unix time.
    pub last_wall_ns: u64,
}

/// One protected guest at an end of the flow.
#[derive(Clone, Copy, Debug)]
pub struct PartySide {
    /// Index of its shield in the policy.
    pub shield: u32,
    /// Which end it is.
    pub home: Home,
}

/// Where a direction's sender sits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sender {
    /// Interface index of its bridge port; 0: not seen.
    pub port: u32,
    /// Its MAC address.
    pub mac: Option<[u8; 6]>,
}

/// One TCP connection.
#[derive(Debug)]
pub struct TcpLayer {
    /// Reassembly.
    pub session: TcpSession,
    /// Protocol detection, until it is done.
    pub detector: Detector,
    /// What is spoken.
    pub app: AppState,
    /// What was spoken until the peers switched: the connection's name while nobody knows what follows.
    left: Option<AppProto>,
    /// What either direction's first bytes say of what is spoken, while that is still to be compared.
    beginnings: Option<Box<Beginnings>>,
    /// Bytes were lost with others behind them.
    pub holed: bool,
    /// Whether it was said that bytes of a direction were never seen.
    pub gapped: [bool; 2],
    /// Nothing more is read of what is spoken: bytes that its parser needs were lost, or it failed.
    pub given_up: bool,
    /// Its frames, where signatures ask for some; `None` before its first bytes are read.
    pub frames: Option<Option<Box<Frames>>>,
    /// Bytes that each direction lost before the protocol was known, and that its parser is still to be told of.
    pub lost: [u64; 2],
    /// What it is if its first bytes are those of no protocol.
    hint: Option<Box<(AppProto, Vec<u8>)>>,
    /// Up to which stream offset each direction was shown to stream signatures.
    pub streamed: [u64; 2],
    /// From which stream offset on a direction's bytes may be shown again; of those behind it the session keeps enough.
    pub shown_from: [u64; 2],
    /// How many bytes wait, by direction.
    pub waiting: [u32; 2],
    /// Whether bytes of a direction were shown since its last packet.
    pub shown_since: [bool; 2],
    /// Whether a message is over, so that what waits is to be shown, by direction.
    pub message_over: [bool; 2],
    /// Whether a direction came past Suricata's depth.
    deep: [bool; 2],
    /// Whether the application was told that a direction ended.
    pub closed: [bool; 2],
    /// Whether a direction's first bytes came since it is known what is spoken, or that nothing known is.
    told: [bool; 2],
    /// Whether signatures on the protocol alone are still to see a packet of that direction.
    due: [bool; 2],
    /// Whether a direction's own first bytes are nothing known, though the other one told what is spoken.
    foreign: [bool; 2],
    /// Whether transactions of a direction were shown since its last packet.
    pub answered_since: [bool; 2],
    /// A request was not answered when a direction ended.
    pub cut_short: bool,
    flushed: bool,
    inline: bool,
    /// Bytes are looked at with the packet that brings them, not with the one that acknowledges them.
    at_once: bool,
}

/// The datagrams between two ports.
#[derive(Debug)]
pub struct UdpLayer {
    /// Protocol detection, until it is done.
    pub detector: Detector,
    /// What is spoken.
    pub app: AppState,
    /// The protocol at home on the server's port, if another was told: it may come yet.
    awaited: Option<AppProto>,
    /// Its frames, where signatures ask for some; `None` before its first datagram is read.
    pub frames: Option<Option<Box<Frames>>>,
}

impl UdpLayer {
    /// Datagrams of which none was seen.
    pub fn new() -> Self {
        Self {
            detector: Detector::default(),
            app: AppState::Detecting,
            awaited: None,
            frames: None,
        }
    }

    /// Whether it is known what is spoken, or that nothing known is, and no datagram can change that.
    pub fn is_settled(&self) -> bool {
        !matches!(self.app, AppState::Detecting) && self.awaited.is_none()
    }

    /// Learns the protocol from a datagram, if it is not known yet.
    pub fn detect_app(
        &mut self,
        direction: Direction,
        datagram: &[u8],
        ends: Ends,
        settings: &app::Settings,
    ) {
        if self.is_settled() || datagram.is_empty() {
            return;
        }
        let ports = (ends.client.port, ends.server.port);
        if let Some(home) = self.awaited {
            if direction == Direction::ToServer && is_datagram_of(home, datagram, ports) {
                self.app = AppState::found(home, Carrier::Datagrams, &[], ends, settings);
                self.awaited = None;
                self.frames = None;
            }
            return;
        }
        self.app = match self.detector.probe_udp(direction, datagram, ports) {
            Detection::NeedMore => return,
            Detection::Unknown => AppState::Other(None),
            Detection::Found(proto) => {
                AppState::found(proto, Carrier::Datagrams, &[], ends, settings)
            }
        };
        self.awaited = at_home(ends.server.port).filter(|home| self.app.proto() != Some(*home));
    }
}

/// The two ends of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The one that opened it.
    pub client: Endpoint,
    /// The other.
    pub server: Endpoint,
}

/// Protocols that cannot be looked into even where they are not parsed.
const ENCRYPTED: AppSet = AppSet::of(&[AppProto::Tls, AppProto::Ssh, AppProto::Quic]);

/// Protocols that Suricata does not read on behind bytes that it never saw.
const GAPLESS: AppSet = AppSet::of(&[
    AppProto::Ftp,
    AppProto::Http2,
    AppProto::Krb5,
    AppProto::Mqtt,
    AppProto::Rdp,
    AppProto::Rfb,
    AppProto::Smtp,
    AppProto::Ssh,
    AppProto::Tls,
]);

/// Protocols of which a capture's stream is looked at with each segment.
const SHAPED: AppSet = AppSet::of(&[AppProto::Tls, AppProto::Dcerpc, AppProto::Dns]);

/// The application layer of a flow.
#[derive(Debug)]
pub enum AppState {
    /// Not known yet; bytes stay in the stream.
    Detecting,
    /// A protocol that is parsed.
    Parsed(AppProto, Box<dyn Parser>),
    /// A protocol that is not parsed, or none.
    Other(Option<AppProto>),
}

impl AppState {
    /// The protocol, once told.
    pub fn proto(&self) -> Option<AppProto> {
        match self {
            Self::Detecting => None,
            Self::Parsed(proto, _) => Some(*proto),
            Self::Other(proto) => *proto,
        }
    }

    /// The rest of the connection is encrypted and cannot be looked into.
    pub fn is_encrypted(&self) -> bool {
        match self {
            Self::Detecting => false,
            // The set first: it is asked of each packet, and a call through the parser costs more.
            Self::Parsed(proto, parser) => ENCRYPTED.contains(*proto) && parser.is_encrypted(),
            Self::Other(proto) => proto.is_some_and(|proto| ENCRYPTED.contains(proto)),
        }
    }

    fn found(
        proto: AppProto,
        carrier: Carrier,
        note: &[u8],
        ends: Ends,
        settings: &app::Settings,
    ) -> Self {
        match parser_for(proto, carrier, note, settings) {
            Some(mut parser) => {
                parser.meet(ends.client.address, ends.server.address);
                Self::Parsed(proto, parser)
            }
            None => Self::Other(Some(proto)),
        }
    }

    /// Its parser, where it has one.
    pub fn parser(&self) -> Option<&dyn Parser> {
        match self {
            Self::Parsed(_, parser) => Some(parser.as_ref()),
            _ => None,
        }
    }

    /// The same, mutable.
    pub fn parser_mut(&mut self) -> Option<&mut (dyn Parser + 'static)> {
        match self {
            Self::Parsed(_, parser) => Some(parser.as_mut()),
            _ => None,
        }
    }
}

impl TcpLayer {
    /// A connection of which nothing was seen.
    pub fn new(config: impl Into<Arc<StreamConfig>>) -> Self {
        let config = config.into();
        let inline = config.mode == stream::Mode::Inline;
        let at_once = !matches!(config.mode, stream::Mode::Detect(_));
        Self::with_session(TcpSession::new(config), inline, at_once)
    }

    /// The connection that follows on the same addresses and ports.
    pub fn successor(&self) -> Self {
        Self::with_session(self.session.successor(), self.inline, self.at_once)
    }

    fn with_session(session: TcpSession, inline: bool, at_once: bool) -> Self {
        Self {
            session,
            detector: Detector::default(),
            app: AppState::Detecting,
            left: None,
            beginnings: None,
            holed: false,
            gapped: [false; 2],
            given_up: false,
            frames: None,
            lost: [0; 2],
            hint: None,
            streamed: [0; 2],
            shown_from: [0; 2],
            waiting: [0; 2],
            shown_since: [false; 2],
            message_over: [false; 2],
            deep: [false; 2],
            closed: [false; 2],
            told: [false; 2],
            due: [false; 2],
            foreign: [false; 2],
            answered_since: [false; 2],
            cut_short: false,
            flushed: false,
            inline,
            at_once,
        }
    }

    /// Whether `direction` brings the first bytes there are.
    pub fn begins(&self, direction: Direction) -> bool {
        matches!(self.app, AppState::Detecting)
            && self.streamed == [0; 2]
            && !self.session.readable(direction).is_empty()
    }

    /// Takes it for what its peers announced it to be elsewhere.
    pub(super) fn announce(&mut self, announced: Announced, ends: Ends, settings: &app::Settings) {
        if announced.third_host {
            self.hint = Some(Box::new((announced.app, announced.note)));
        } else {
            self.app = AppState::found(
                announced.app,
                Carrier::Stream,
                &announced.note,
                ends,
                settings,
            );
        }
    }

    /// Whether what `direction` has brought tells nothing that was not told: so with most packets.
    pub fn is_settled(&self, direction: Direction) -> bool {
        match &self.app {
            AppState::Detecting => {
                let bytes = self.session.readable(direction).len();
                let asked = self.detector.was_asked(direction, bytes);
                asked.is_some_and(|ended| ended == self.begins_no_more(direction))
            }
            AppState::Parsed(_, parser) => self.beginnings.is_none() && !parser.has_switched(),
            AppState::Other(_) => self.beginnings.is_none(),
        }
    }

    /// What lies behind a hole is no beginning: only the other direction can still tell.
    fn begins_no_more(&self, direction: Direction) -> bool {
        self.ended(direction) || self.gap(direction).is_some()
    }

    /// Learns the protocol from what `direction` has brought, if it is not known yet or given up for another.
    ///
    /// Returns what is odd about how the connection began, once.
    pub fn detect_app(
        &mut self,
        direction: Direction,
        ends: Ends,
        settings: &app::Settings,
    ) -> PacketEvents {
        let proto = self.app.proto();
        if let Some(parser) = self.app.parser_mut().filter(|it| it.has_switched()) {
            self.left = proto;
            self.beginnings = None;
            if let Some(proto) = proto.filter(|_| parser.may_go_on()) {
                self.hint = Some(Box::new((proto, Vec::new())));
            }
            self.app = match parser.successor() {
                Some((proto, parser)) => AppState::Parsed(proto, parser),
                None => AppState::Detecting,
            };
            self.frames = None;
            (self.told, self.foreign) = ([false; 2], [false; 2]);
            self.detector = Detector::default();
        }
        if !matches!(self.app, AppState::Detecting) {
            return self.compare_beginnings();
        }
        self.detector.meet(ends.server.port);
        let bytes = self.session.readable(direction);
        let last = self.begins_no_more(direction);
        self.app = match self.detector.probe_tcp(direction, bytes, last) {
            Detection::NeedMore => return PacketEvents::NONE,
            Detection::Unknown => match self.hint.take().map(|hint| *hint) {
                Some((proto, note)) => {
                    AppState::found(proto, Carrier::Stream, &note, ends, settings)
                }
                None => {
                    // It was told once that the connection is no other protocol; Suricata does not say so again.
                    self.told = self.told.map(|told| told || self.left.is_some());
                    AppState::Other(None)
                }
            },
            Detection::Found(proto) => {
                self.beginnings = Some(Box::new(Beginnings::of(proto, self.left)));
                let mut found = AppState::found(proto, Carrier::Stream, &[], ends, settings);
                if let (Some(left), Some(parser)) = (self.left, found.parser_mut()) {
                    parser.come_from(left);
                }
                found
            }
        };
        self.compare_beginnings()
    }

    /// Compares what both directions began with, once both have.
    fn compare_beginnings(&mut self) -> PacketEvents {
        let Some(beginnings) = &mut self.beginnings else {
            return PacketEvents::NONE;
        };
        for direction in Direction::BOTH {
            beginnings.hear(&self.detector, direction, self.session.readable(direction));
        }
        let found = beginnings.odd();
        self.foreign = beginnings.foreign();
        if beginnings.are_heard() {
            self.beginnings = None;
        }
        found
    }

    /// Lets go of what only further bytes would need, once both ends are closed and everything was shown: a connection
    /// is remembered for a minute then. The end of what was sent stays, for it may be sent again. Returns whether there
    /// was anything.
    pub fn retire(&mut self) -> bool {
        if self.session.state() != stream::TcpState::Closed || self.waiting != [0; 2] {
            return false;
        }
        let parser = self.app.parser();
        let busy =
            parser.is_some_and(|it| it.has_switched() || !it.transactions().ids().is_empty());
        if busy || Direction::BOTH.into_iter().any(|at| self.has_news(at)) {
            return false;
        }
        let held = self.heap_bytes();
        // Who has not begun by now never will.
        self.beginnings = None;
        self.shown_from = self.streamed;
        self.session.retire(false);
        // A handshake that was not finished is not encrypted, which only its parser knows.
        let keeps = self.app.proto().is_some_and(|it| ENCRYPTED.contains(it));
        if let AppState::Parsed(proto, _) = self.app {
            if !keeps {
                self.app = AppState::Other(Some(proto));
            }
        }
        self.heap_bytes() < held
    }

    /// Makes all that is held readable and both directions ended: the flow is over.
    pub fn flush(&mut self) {
        self.session.flush();
        self.flushed = true;
    }

    /// The hole behind the readable bytes, if they will not come any more.
    ///
    /// Inline every byte passes here, so nobody can have received what was not seen: an acknowledgment that says
    /// so is a lie (its receiver ignores it) and must not make us give up bytes that are still to come.
    pub fn gap(&self, direction: Direction) -> Option<u64> {
        let believed = !self.inline || self.flushed || self.session.midstream();
        self.session.gap(direction).filter(|_| believed)
    }

    /// Gives up what `direction` holds before its hole, and the hole; returns how many bytes that is.
    pub fn step_over(&mut self, direction: Direction) -> u64 {
        let held = self.session.readable(direction).len();
        self.session.consume(direction, held);
        held as u64 + self.session.skip_gap(direction)
    }

    /// Whether a hole ends the reading of what is spoken, as in Suricata. Never inline, where whoever can make a hole
    /// must not make us blind.
    pub fn ends_with_hole(&self) -> bool {
        let gapless = self.app.proto().is_some_and(|app| GAPLESS.contains(app));
        gapless && self.holed && !self.inline && !self.given_up
    }

    /// Whether its parser met what ends its reading; never inline, likewise.
    pub fn ends_with_failure(&self) -> bool {
        self.fallible().is_some_and(|parser| parser.has_failed())
    }

    /// Whether its reading ends before the bytes that are held of `direction`.
    pub fn ends_before(&self, direction: Direction) -> bool {
        self.fallible()
            .is_some_and(|parser| parser.is_out_of_turn(direction))
    }

    fn fallible(&self) -> Option<&dyn Parser> {
        let may_fail = !self.inline && !self.given_up;
        self.app.parser().filter(|_| may_fail)
    }

    /// Whether a hole is told: not where nobody reads what is spoken.
    pub fn tells_holes(&self) -> bool {
        match &self.app {
            AppState::Detecting => true,
            AppState::Parsed(AppProto::Ssh, parser) => !parser.is_sealed() && !self.given_up,
            AppState::Parsed(..) => !self.given_up,
            AppState::Other(_) => false,
        }
    }

    /// Goes on behind bytes of `direction` that were let through without being shown.
    pub fn resume(&mut self, direction: Direction, bytes: u64) {
        let side = direction as usize;
        self.lost[side] += bytes;
        self.begin_anew(direction);
    }

    /// Has nothing before what is read next of `direction` shown any more: bytes between are missing.
    pub fn begin_anew(&mut self, direction: Direction) {
        let side = direction as usize;
        let next = self.session.offset(direction);
        (
            self.waiting[side],
            self.streamed[side],
            self.shown_from[side],
        ) = (0, next, next);
    }

    /// The last of the bytes that were shown of `direction` or wait for that, at most `most`.
    pub fn shown(&self, direction: Direction, most: usize) -> &[u8] {
        let side = direction as usize;
        let (from, end) = (self.shown_from[side], self.streamed[side]);
        let first = from.max(end.saturating_sub(most as u64));
        self.session.between(direction, first, end)
    }

    /// Whether nothing more will come in `direction`.
    pub fn ended(&self, direction: Direction) -> bool {
        self.flushed || self.session.ended(direction)
    }

    /// Whether its segments are put together: not when it was found midstream and that is not asked for.
    pub fn is_followed(&self) -> bool {
        self.session.state() != stream::TcpState::None
    }

    /// Notes a packet of `direction`, or a moment without one; whether signatures on the protocol alone see it.
    ///
    /// As Suricata 7 does, they see the packet after the one with which its direction's protocol was told, and where
    /// packets can be held back that one too.
    pub fn asks_protocol(&mut self, direction: Direction, pseudo: bool) -> bool {
        let side = direction as usize;
        let heard = match &self.app {
            AppState::Detecting => self.is_exhausted(|at| self.detector.asked_bytes(at)),
            AppState::Other(None) => self.is_exhausted(|at| {
                self.session.offset(at) as usize + self.session.readable(at).len()
            }),
            _ => self.has_spoken(direction) || self.ended(direction),
        };
        if heard && !self.told[side] {
            (self.told[side], self.due[side]) = (true, true);
            let silent = !self.has_spoken(direction);
            self.foreign[side] |= silent && !matches!(self.app, AppState::Detecting);
            return !pseudo && self.at_once;
        }
        !pseudo && std::mem::take(&mut self.due[side])
    }

    fn has_spoken(&self, direction: Direction) -> bool {
        self.streamed[direction as usize] > 0 || !self.session.readable(direction).is_empty()
    }

    /// Whether what `direction` itself brought is nothing known, though it is told what is spoken.
    pub fn is_foreign(&self, direction: Direction) -> bool {
        self.foreign[direction as usize]
    }

    /// Whether both directions brought as much as Suricata waits for before it says that they speak nothing known.
    fn is_exhausted(&self, bytes: impl Fn(Direction) -> usize) -> bool {
        let mut sides = Direction::BOTH.into_iter();
        sides.all(|at| bytes(at) >= app::detect::PATTERN_BYTES[at as usize])
    }

    /// Whether `direction` has just come past the depth at which Suricata stops following it; we go on. It follows SMB
    /// without end.
    pub fn passes_depth(&mut self, direction: Direction) -> bool {
        let deep = !self.inline && self.session.held_to(direction) > STREAM_DEPTH_BYTES;
        let first = deep && !std::mem::replace(&mut self.deep[direction as usize], true);
        first && self.app.proto() != Some(AppProto::Smb) && self.tells_holes()
    }

    /// Whether Suricata says that a packet of `direction` has bytes of its stream looked at: where one end is closed,
    /// any that were not, even those that are not acknowledged yet.
    pub fn is_behind(&self, direction: Direction) -> bool {
        let side = direction as usize;
        let shown = self.streamed[side] - u64::from(self.waiting[side]).min(self.streamed[side]);
        let sealed =
            matches!(&self.app, AppState::Parsed(AppProto::Ssh, parser) if parser.is_sealed());
        !self.at_once
            && !sealed
            && self.session.is_hurried()
            && self.session.held_to(direction) > shown
    }

    /// Whether no protocol has the stream looked at with each segment: of those that Suricata parses few do.
    pub fn is_shapeless(&self) -> bool {
        let app = self.app.proto();
        self.given_up || !app.is_some_and(|app| SHAPED.contains(app))
    }

    /// Whether what `direction` speaks will not change any more.
    pub fn is_told(&self, direction: Direction) -> bool {
        self.told[direction as usize] || self.left.is_some()
    }

    /// Whether Suricata would not say that it speaks nothing known, though it does: of a connection that it does not
    /// follow, or whose ends said too little.
    fn is_undecided(&self) -> bool {
        !self.is_followed() || !self.told.contains(&true)
    }

    /// Whether its handshake is complete.
    pub fn is_established(&self) -> bool {
        self.session.state() >= stream::TcpState::Established
    }

    /// Whether bytes of `direction` wait for the protocol that the peers have just switched to.
    pub fn awaits_switch(&self, direction: Direction) -> bool {
        self.app.parser().is_some_and(Parser::has_switched)
            && !self.session.readable(direction).is_empty()
    }

    /// How far each direction's sequence numbers have come: the bytes in order, gaps included, and the SYN; of a
    /// capture's connection acknowledged or not.
    pub fn stream_bytes(&self) -> [u64; 2] {
        Direction::BOTH.map(|direction| {
            if !self.inline {
                return u64::from(self.session.sent(direction));
            }
            let opened = u64::from(self.session.expected_seq(direction).is_some());
            self.session.offset(direction) + self.session.readable(direction).len() as u64 + opened
        })
    }

    /// How many readable bytes of `direction` signatures on the stream have neither seen nor set aside.
    pub fn fresh(&self, direction: Direction) -> usize {
        let readable = self.session.readable(direction).len();
        let offset = self.session.offset(direction);
        let seen = self.streamed[direction as usize].saturating_sub(offset);
        readable.saturating_sub(usize::try_from(seen).unwrap_or(usize::MAX))
    }

    /// Has signatures on the stream shown what `direction` brought together with later bytes, where that may be;
    /// returns whether it may.
    pub fn puts_off(&mut self, direction: Direction) -> bool {
        let side = direction as usize;
        let may_wait = !self.at_once
            && self.is_shapeless()
            && !self.message_over[side]
            && !self.session.is_hurried();
        let fresh = self.fresh(direction);
        let due = self.waiting[side] as usize + fresh;
        let waits = may_wait
            && due < CHUNK_BYTES
            && !self.ended(direction)
            && self.gap(direction).is_none();
        if waits {
            self.streamed[side] += fresh as u64;
            // Less than a chunk.
            self.waiting[side] = due as u32;
        }
        waits
    }

    /// Sets aside what `direction` brought, if nothing that is known is spoken and signatures on the stream are shown
    /// it later: so with most small packets. Returns whether that was all there was to do.
    pub fn sets_aside(&mut self, direction: Direction) -> bool {
        let unread = matches!(self.app, AppState::Detecting | AppState::Other(None));
        if !unread || self.lost[direction as usize] != 0 || !self.puts_off(direction) {
            return false;
        }
        self.asks_protocol(direction, true);
        if !matches!(self.app, AppState::Detecting) {
            let held = self.session.readable(direction).len();
            self.session.consume(direction, held);
        }
        true
    }

    /// Whether `direction` brought nothing, and what waits of it waits on: so with most packets of a capture, whose
    /// bytes are looked at once they are acknowledged.
    pub fn is_quiet(&mut self, direction: Direction) -> bool {
        let side = direction as usize;
        self.lost[side] == 0
            && !self.has_news(direction)
            && (self.waiting[side] == 0 || !self.app.is_encrypted() && self.puts_off(direction))
    }

    /// Whether a direction holds anything that was not shown yet.
    pub fn has_news(&self, direction: Direction) -> bool {
        let side = direction as usize;
        let end = self.session.offset(direction) + self.session.readable(direction).len() as u64;
        let unread = !self.session.readable(direction).is_empty()
            && !matches!(self.app, AppState::Detecting);
        end > self.streamed[side]
            || unread
            || self.gap(direction).is_some()
            || self.ended(direction) && !self.closed[side]
    }

    /// Heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        let app = self.app.parser().map_or(0, Parser::heap_bytes);
        let frames = self.frames.iter().flatten();
        let app = app + frames.map(|it| it.heap_bytes()).sum::<usize>();
        self.session.memory_bytes() + app
    }
}

impl Conversation {
    /// Makes a conversation that is silent for so long hold as little as may be; returns how many bytes that are, or
    /// `None` where what was sent last may be sent again.
    pub fn rest(&mut self, silent_ns: u64) -> Option<usize> {
        let tcp = self.tcp.as_deref_mut()?;
        if silent_ns < SENT_AGAIN_WITHIN_NS {
            return None;
        }
        tcp.session.retire(true);
        Some(tcp.heap_bytes())
    }

    /// A flow that begins with a packet sent in `direction`.
    pub fn new(id: u64, arrival: &Arrival, tcp: Option<Box<TcpLayer>>, udp: bool) -> Self {
        Self {
            id,
            parent: None,
            generation: 0,
            unseen: 0,
            sides: SmallVec::new(),
            detect: FlowState::default(),
            tcp,
            udp: udp.then(|| Box::new(UdpLayer::new())),
            senders: Default::default(),
            vlans: SmallVec::new(),
            link_bytes: [0; 2],
            was_established: false,
            tcp_flags: [0; 2],
            placed: false,
            untold: false,
            dropped: false,
            drop_reported: false,
            alerted: false,
            start_wall_ns: arrival.wall_ns,
            last_wall_ns: arrival.wall_ns,
        }
    }

    /// Notes who sent a packet, and arms the flow for the policy that runs.
    pub fn observe(
        &mut self,
        policy: &Policy,
        arrival: &Arrival,
        packet: &Packet<'_>,
        direction: Direction,
        created: bool,
    ) {
        self.last_wall_ns = arrival.wall_ns;
        let side = direction as usize;
        let link = u64::from(arrival.frame_bytes).saturating_sub(packet.ip_bytes().len() as u64);
        self.link_bytes[side] += link;
        self.tcp_flags[side] |= packet.tcp().map_or(0, |tcp| tcp.flags());
        let sender = &mut self.senders[direction as usize];
        sender.port = arrival.in_port;
        sender.mac = arrival.source_mac.or(sender.mac);
        let receiver = &mut self.senders[direction.reverse() as usize];
        if receiver.port == 0 {
            receiver.port = arrival.out_port;
        }
        if created {
            self.vlans = vlan_ids(packet);
        }
        if created || self.generation != policy.generation {
            self.arm(policy, created);
        }
    }

    /// Takes note of what passed before the packet, in whichever direction: as the kernel says of this connection,
    /// or `unseen` of all.
    pub fn heed(&mut self, arrival: &Arrival, unseen: u32) {
        let told = std::mem::replace(&mut self.unseen, unseen) != unseen;
        if told || arrival.after_unseen {
            self.lose_sight(Direction::ToServer);
            self.lose_sight(Direction::ToClient);
        }
    }

    /// Bytes of `direction` may have passed without being shown.
    pub fn lose_sight(&mut self, direction: Direction) {
        if let Some(layer) = self.tcp.as_deref_mut() {
            layer.session.lose_sight(direction);
        }
    }

    /// Ends what was read of a connection that is cut, uninspected: so its records say how far it had come.
    pub fn break_off(&mut self) {
        let parser = self.tcp.as_deref_mut().and_then(|it| it.app.parser_mut());
        if let Some(parser) = parser {
            for direction in Direction::BOTH {
                parser.close(direction);
            }
        }
    }

    /// Whether TCP's peers have agreed on keys, so that what follows cannot be looked into.
    pub fn is_encrypted(&self) -> bool {
        let tcp = self.tcp.as_ref();
        tcp.is_some_and(|tcp| tcp.app.is_encrypted())
    }

    /// Whether nobody looks at it: no guest, or all of them let the rest of it pass.
    pub fn is_passed(&self) -> bool {
        (0..self.sides.len()).all(|side| self.detect.passed(side))
    }

    /// Follows [`crate::flow::Flow::reverse`], when nothing was inspected yet.
    pub fn reverse(&mut self, policy: &Policy) {
        self.senders.reverse();
        self.link_bytes.reverse();
        self.tcp_flags.reverse();
        self.arm(policy, true);
    }

    fn arm(&mut self, policy: &Policy, created: bool) {
        self.generation = policy.generation;
        self.sides = sides(policy, self.senders[0].port, self.senders[1].port);
        if created {
            return;
        }
        // Signature numbers belong to a policy: what was remembered under the old one means nothing now.
        self.detect = FlowState::default();
        if let Some(layer) = self.tcp.as_deref_mut().filter(|_| self.untold) {
            layer.app = AppState::Detecting;
        }
        self.untold = false;
        if let Some(parser) = self.app_mut().and_then(AppState::parser_mut) {
            let transactions = parser.transactions_mut();
            for id in transactions.ids() {
                if let Some(transaction) = transactions.find_mut(id) {
                    transaction.head_mut().detect = Default::default();
                }
            }
        }
    }

    /// Takes the oldest transaction if it is complete on both sides.
    pub fn pop_finished(&mut self) -> Option<Box<dyn Transaction>> {
        let parser = self.app_mut()?.parser_mut()?;
        parser.transactions_mut().pop_finished()
    }

    /// In which directions of a connection something is to be shown when it ends: all of one that was not closed;
    /// bytes that nobody acknowledged; a transaction that is not complete, or became so without a packet of its
    /// direction.
    pub fn unshown(&self) -> [bool; 2] {
        let Some(layer) = &self.tcp else {
            return [false; 2];
        };
        let open = layer.app.parser().is_some_and(|parser| {
            let ids = parser.transactions().ids();
            !ids.is_empty()
        });
        let open = open || layer.cut_short || layer.session.is_open();
        Direction::BOTH
            .map(|at| open || layer.session.holds_back(at) || layer.answered_since[at as usize])
    }

    /// Ids of at most `most` open transactions, the newest first.
    pub fn newest_open(&self, most: u64) -> impl Iterator<Item = u64> {
        let parser = self.app().and_then(AppState::parser);
        let ids = parser.map_or(0..0, |parser| parser.transactions().ids());
        (ids.start.max(ids.end.saturating_sub(most))..ids.end).rev()
    }

    /// The id that the next transaction will have.
    pub fn next_transaction(&self) -> Option<u64> {
        let parser = self.app()?.parser()?;
        Some(parser.transactions().ids().end)
    }

    /// One open transaction.
    pub fn transaction(&self, id: u64) -> Option<&dyn Transaction> {
        self.app()?.parser()?.transactions().find(id)
    }

    /// The same, mutable.
    pub fn transaction_mut(&mut self, id: u64) -> Option<&mut dyn Transaction> {
        self.app_mut()?
            .parser_mut()?
            .transactions_mut()
            .find_mut(id)
    }

    /// The application layer; `None` for flows that have none.
    pub fn app(&self) -> Option<&AppState> {
        match (&self.tcp, &self.udp) {
            (Some(tcp), _) => Some(&tcp.app),
            (None, Some(udp)) => Some(&udp.app),
            (None, None) => None,
        }
    }

    fn app_mut(&mut self) -> Option<&mut AppState> {
        match (&mut self.tcp, &mut self.udp) {
            (Some(tcp), _) => Some(&mut tcp.app),
            (None, Some(udp)) => Some(&mut udp.app),
            (None, None) => None,
        }
    }

    /// The application protocol, once told.
    pub fn app_proto(&self) -> Option<AppProto> {
        let left = self.tcp.as_ref().and_then(|tcp| tcp.left);
        self.app().and_then(AppState::proto).or(left)
    }

    /// Whether what `direction` has brought tells nothing of what is spoken that was not told.
    pub fn is_settled(&self, direction: Direction) -> bool {
        match (&self.tcp, &self.udp) {
            (Some(tcp), _) => tcp.is_settled(direction),
            (None, Some(udp)) => udp.is_settled(),
            (None, None) => true,
        }
    }

    /// What the protocol is called in events.
    pub fn app_name(&self) -> Option<&'static str> {
        match self.app()? {
            // Suricata asks one datagram; we may yet hear what is spoken.
            AppState::Detecting if self.udp.is_some() => Some("failed"),
            AppState::Other(None) if self.tcp.as_ref().is_some_and(|it| it.is_undecided()) => None,
            AppState::Other(None) if self.app_proto().is_none() => Some("failed"),
            _ => self.app_proto().map(AppProto::name),
        }
    }

    /// What else events say of it.
    pub fn app_others(&self) -> AppOthers {
        let Some(tcp) = self.tcp.as_ref().filter(|_| self.app_proto().is_some()) else {
            return AppOthers::default();
        };
        let failed = |direction| {
            let foreign = tcp.is_foreign(direction) && tcp.has_spoken(direction);
            foreign.then_some("failed")
        };
        AppOthers {
            toserver: failed(Direction::ToServer),
            toclient: failed(Direction::ToClient),
            original: tcp
                .left
                .filter(|_| tcp.app.proto().is_some())
                .map(AppProto::name),
        }
    }

    /// The transaction there is, if there is one only.
    pub fn only_transaction(&self) -> Option<&dyn Transaction> {
        let transactions = self.app()?.parser()?.transactions();
        let mut ids = transactions.ids();
        match (ids.next(), ids.next()) {
            (Some(id), None) => transactions.find(id),
            _ => None,
        }
    }
}

/// The identifiers of a packet's VLAN tags, outermost first.
pub(super) fn vlan_ids(packet: &Packet<'_>) -> SmallVec<[u16; 3]> {
    packet.vlans.tags().iter().map(|tag| tag.id()).collect()
}

/// The protected guests at the ends of a flow between two ports; offline the one shield, home by address.
fn sides(policy: &Policy, client: u32, server: u32) -> SmallVec<[PartySide; MAX_SIDES]> {
    let mut sides = SmallVec::new();
    if let [only] = policy.shields() {
        if only.guest.is_empty() {
            sides.push(PartySide {
                shield: 0,
                home: Home::Addresses,
            });
            return sides;
        }
    }
    let shield = |port: u32| policy.port(port).map(|port| port.shield);
    match (shield(client), shield(server)) {
        (Some(a), Some(b)) if a == b => sides.push(PartySide {
            shield: a,
            home: Home::Both,
        }),
        (a, b) => {
            sides.extend(a.map(|shield| PartySide {
                shield,
                home: Home::Client,
            }));
            sides.extend(b.map(|shield| PartySide {
                shield,
                home: Home::Server,
            }));
        }
    }
    sides
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use crate::flow::Flow;

    use super::*;

    /// A hundred thousand connections are open at once: ten bytes of each are a megabyte.
    #[test]
    fn what_is_kept_of_a_tcp_connection_without_its_protocol_fits_in_960_bytes() {
        let flow = size_of::<Flow<Conversation>>();
        let layer = size_of::<TcpLayer>();
        assert!(size_of::<FlowState>() <= 144);
        assert!(flow <= 424, "{flow}");
        assert!(layer <= 536, "{layer}");
    }

    #[test]
    fn a_hole_ends_the_reading_of_ftp_in_a_capture_and_never_between_guests() {
        for (config, ends) in [
            (StreamConfig::detect(), true),
            (StreamConfig::rewrite(), true),
            (StreamConfig::inline(), false),
        ] {
            let mut layer = TcpLayer::new(config);
            layer.holed = true;
            layer.app = AppState::Other(Some(AppProto::Ftp));
            assert_eq!(ends, layer.ends_with_hole(), "{config:?}");
            layer.app = AppState::Other(Some(AppProto::Http));
            assert!(!layer.ends_with_hole());
        }
    }

    #[test]
    fn a_server_hears_its_own_protocol_behind_whatever_came_to_its_port_before() {
        const QUERY: &[u8] =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x02ab\x00\x00\x01\x00\x01";
        const DHT: &[u8] = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
        let junk: Vec<&[u8]> = vec![b"x"; 40];
        for (port, before, told) in [
            (53, junk.clone(), Some(AppProto::Dns)),
            (53, vec![DHT], Some(AppProto::Dns)),
            (5_300, junk, None),
            (5_300, vec![DHT], Some(AppProto::BittorrentDht)),
        ] {
            let end = |port| Endpoint {
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                port,
            };
            let (client, server) = (end(40_000), end(port));
            let mut layer = UdpLayer::new();
            for datagram in before.into_iter().chain([QUERY]) {
                let ends = Ends { client, server };
                layer.detect_app(
                    Direction::ToServer,
                    datagram,
                    ends,
                    &app::Settings::default(),
                );
            }
            assert_eq!(layer.app.proto(), told, "port {port}");
        }
    }
}
