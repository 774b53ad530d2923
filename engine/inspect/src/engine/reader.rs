//! Moves one direction's readable bytes to stream signatures and the application parser.
use crate::app::frame::{Frame, Frames};
use crate::app::{AppProto, Expected, Parser, Stage, Touched};
use crate::detect::{Context, FlowState, Matcher, Scratch, StreamView};
use crate::stream::MIN_HISTORY_BYTES;
use crate::Direction;

use super::conversation::{AppState, TcpLayer, UdpLayer, CHUNK_BYTES, STREAM_TAIL_BYTES};

/// What is shown again was read, and is kept only as history.
const _: () = assert!(STREAM_TAIL_BYTES + CHUNK_BYTES <= MIN_HISTORY_BYTES);

/// Everything a direction's bytes are shown to.
pub struct Reader<'a> {
    /// The signatures.
    pub matcher: &'a Matcher,
    /// The moment.
    pub context: &'a Context<'a>,
    /// The flow's memory of detection.
    pub detect: &'a mut FlowState,
    /// Work space, taking hits.
    pub scratch: &'a mut Scratch,
    /// Something reached its receiver that no signature was shown: fields past a bound, bytes behind a CONNECT.
    pub blind: bool,
    /// Stream signatures are asked anew with each packet that brings bytes of its direction, old or new: as Suricata
    /// does where packets can be held back.
    pub anew: bool,
    /// When the packet came, Unix seconds.
    pub seen_s: u64,
    /// Transactions were shown.
    pub answered: bool,
    /// Connections that the peers agreed on meanwhile.
    pub expected: Vec<Expected>,
}

impl Reader<'_> {
    /// Shows all that `direction` holds, across gaps, and says if it ended. Returns the bytes of bodies past
    /// their depth that no parser looked at.
    pub fn drain(&mut self, layer: &mut TcpLayer, direction: Direction) -> u64 {
        if !self.anew && layer.is_quiet(direction) {
            return 0;
        }
        let mut skipped = 0;
        loop {
            self.stream(layer, direction);
            let detecting = matches!(layer.app, AppState::Detecting);
            if !detecting {
                self.lost(layer, direction);
                skipped += self.application(layer, direction);
            }
            match layer.gap(direction) {
                Some(_) => self.gap(layer, direction),
                None if detecting => return skipped,
                None => break,
            }
        }
        self.end(layer, direction);
        skipped
    }

    /// Shows one datagram to its protocol's parser.
    pub fn datagram(&mut self, layer: &mut UdpLayer, direction: Direction, bytes: &[u8]) {
        if let Some(parser) = layer.app.parser_mut() {
            let touched = parser.feed(direction, bytes);
            self.transactions(parser, touched);
        }
        if let Some(frames) = self.frames(layer.app.proto(), &mut layer.frames) {
            frames.datagram(direction, bytes, |frame| self.frame(frame));
        }
    }

    /// Says that no datagram will follow.
    pub fn no_more_datagrams(&mut self, layer: &mut UdpLayer, direction: Direction) {
        if let Some(parser) = layer.app.parser_mut() {
            let touched = parser.close(direction);
            self.transactions(parser, touched);
        }
    }

    /// Shows stream signatures the bytes they have not seen, with the tail of those they have.
    ///
    /// Offline, and where no protocol divides them, bytes wait until there are [`CHUNK_BYTES`], a message is over or no
    /// more come: as often as that Suricata looks at such a stream.
    fn stream(&mut self, layer: &mut TcpLayer, direction: Direction) {
        let side = direction as usize;
        let fresh = layer.fresh(direction);
        if layer.app.is_encrypted() {
            // What waited is from before the peers agreed on keys.
            let due = std::mem::take(&mut layer.waiting[side]) as usize;
            let waited = layer.shown(direction, due);
            let view = StreamView {
                offset: layer.streamed[side].saturating_sub(waited.len() as u64),
                bytes: waited,
                seen_before: 0,
                last: true,
            };
            if !waited.is_empty() {
                self.matcher
                    .stream(self.context, self.detect, &view, self.scratch);
            }
            layer.streamed[side] += fresh as u64;
            layer.shown_from[side] = layer.streamed[side];
            return;
        }
        let last = layer.ended(direction);
        if layer.puts_off(direction) {
            return;
        }
        layer.message_over[side] = false;
        let due = std::mem::take(&mut layer.waiting[side]) as usize + fresh;
        let again = self.anew && layer.streamed[side] > layer.shown_from[side];
        if due == 0 && !again {
            return;
        }
        layer.streamed[side] += fresh as u64;
        layer.shown_since[side] |= self.context.packet.pseudo;
        let before = match (self.anew, self.context.at_once) {
            (true, _) => CHUNK_BYTES,
            (false, true) => STREAM_TAIL_BYTES,
            (false, false) => 0,
        };
        let bytes = layer.shown(direction, due + before);
        let seen_before = match self.anew {
            true => 0,
            false => bytes.len().saturating_sub(due),
        };
        let view = StreamView {
            offset: layer.streamed[side].saturating_sub(bytes.len() as u64),
            bytes,
            seen_before,
            last,
        };
        self.matcher
            .stream(self.context, self.detect, &view, self.scratch);
    }

    /// Feeds the parser, inspects the transactions that changed, gives up the bytes.
    fn application(&mut self, layer: &mut TcpLayer, direction: Direction) -> u64 {
        let len = layer.session.readable(direction).len();
        if len > 0 && layer.ends_before(direction) {
            self.give_up(layer);
        }
        let readable = layer.session.readable(direction);
        let (mut skipped, mut unread) = (0, 0);
        if len > 0 {
            let reads = !layer.given_up;
            let proto = layer.app.proto().filter(|_| reads);
            if let Some(frames) = self.frames(proto, &mut layer.frames) {
                frames.feed(direction, readable, |frame| self.frame(frame));
            }
            if let Some(parser) = layer.app.parser_mut().filter(|_| reads) {
                let skippable = parser.skippable(direction).min(len as u64);
                let touched = if skippable == len as u64 {
                    skipped = skippable;
                    parser.gap(direction, skippable)
                } else {
                    parser.feed(direction, readable)
                };
                if proto.is_some_and(|proto| ends_message(proto, parser, &touched, direction)) {
                    layer.message_over[direction as usize] = true;
                    self.stream(layer, direction);
                }
                if let Some(parser) = layer.app.parser_mut() {
                    self.transactions(parser, touched);
                    self.blind |= parser.is_blind();
                    unread = parser.unread();
                }
            }
        }
        layer.session.consume(direction, len.saturating_sub(unread));
        if layer.ends_with_failure() {
            self.give_up(layer);
        }
        skipped
    }

    /// Steps over a hole; the parser is told when there is one.
    fn gap(&mut self, layer: &mut TcpLayer, direction: Direction) {
        let side = direction as usize;
        // What nothing but a FIN follows is no hole to Suricata.
        layer.holed |= layer.session.has_hole(direction);
        layer.lost[side] += layer.step_over(direction);
        layer.begin_anew(direction);
        if !matches!(layer.app, AppState::Detecting) {
            self.lost(layer, direction);
        }
    }

    /// Tells the parser what `direction` lost.
    fn lost(&mut self, layer: &mut TcpLayer, direction: Direction) {
        let lost = std::mem::take(&mut layer.lost[direction as usize]);
        if lost == 0 || layer.given_up {
            return;
        }
        if layer.ends_with_hole() {
            return self.give_up(layer);
        }
        if let Some(Some(frames)) = &mut layer.frames {
            frames.gap(direction, lost);
        }
        if let Some(parser) = layer.app.parser_mut() {
            let touched = parser.gap(direction, lost);
            self.transactions(parser, touched);
        }
    }

    /// Reads nothing more of what is spoken: whatever is open is as complete as it will be.
    fn give_up(&mut self, layer: &mut TcpLayer) {
        layer.given_up = true;
        layer.frames = Some(None);
        let Some(parser) = layer.app.parser_mut() else {
            return;
        };
        for direction in Direction::BOTH {
            let touched = parser.close(direction);
            self.transactions(parser, touched);
        }
    }

    fn end(&mut self, layer: &mut TcpLayer, direction: Direction) {
        let side = direction as usize;
        if layer.closed[side] || !layer.ended(direction) {
            return;
        }
        layer.closed[side] = true;
        if layer.given_up {
            return;
        }
        if let Some(Some(frames)) = &mut layer.frames {
            frames.close(direction, |frame| self.frame(frame));
        }
        if let Some(parser) = layer.app.parser_mut() {
            let transactions = parser.transactions();
            let mut open = transactions.ids().filter_map(|id| transactions.find(id));
            layer.cut_short |= open.any(|it| it.stage(Direction::ToClient) < Stage::Line);
            let touched = parser.close(direction);
            self.transactions(parser, touched);
        }
    }

    /// The flow's frames, made with the first bytes of its protocol if signatures ask for some.
    fn frames<'f>(
        &self,
        app: Option<AppProto>,
        frames: &'f mut Option<Option<Box<Frames>>>,
    ) -> Option<&'f mut Frames> {
        let make = || {
            let wanted = app.map(|app| (app, self.matcher.wanted_frames(app)));
            let wanted = wanted.filter(|(_, names)| !names.is_empty());
            wanted.map(|(app, names)| Box::new(Frames::new(app, names)))
        };
        frames.get_or_insert_with(make).as_deref_mut()
    }

    fn frame(&mut self, frame: &mut Frame) {
        self.matcher
            .transaction(self.context, self.detect, frame, self.scratch);
    }

    fn transactions(&mut self, parser: &mut dyn Parser, touched: Touched) {
        self.answered |= !touched.is_empty();
        for id in touched {
            if let Some(transaction) = parser.transactions_mut().changed(id) {
                self.blind |= transaction.is_blind();
                transaction.head_mut().seen_s = self.seen_s;
                self.matcher
                    .transaction(self.context, self.detect, transaction, self.scratch);
            }
        }
        while let Some(expected) = parser.take_expected() {
            self.expected.push(expected);
        }
    }
}

/// Whether what was read ends a message of `direction`, which has the stream before it looked at: HTTP's, and a mail
/// with attachments.
fn ends_message(
    proto: AppProto,
    parser: &mut dyn Parser,
    touched: &Touched,
    direction: Direction,
) -> bool {
    let side = direction as usize;
    let mut ended = false;
    if !matches!(proto, AppProto::Http | AppProto::Smtp) {
        return false;
    }
    for id in touched.clone() {
        let Some(transaction) = parser.transactions_mut().find_mut(id) else {
            continue;
        };
        if transaction.stage(direction) == Stage::Complete && !transaction.head().over[side] {
            transaction.head_mut().over[side] = true;
            ended |= proto == AppProto::Http || !transaction.files(direction).is_empty();
        }
    }
    ended
}
