//! One direction's frames.
//!
//! ```text
//! Preface ─► Header ─┬─► Whole (all but DATA, in full or to a bound) ─┐
//!    (client) ▲      ├─► Padding ─► Data ─────────────────────────────┤
//!             │      └─► Skip (kinds nobody knows, padding's end) ────┤
//!             └───────────────────────────────────────────────────────┘
//! ```
//! `Lost` is entered where the next frame's place is unknown: behind a gap, or where HTTP/2 does not begin.
use super::events;
use super::frame::{self, flag, kind, Header, HEADER_BYTES, PREFACE};
use super::hpack::{Decoder, Malformed};
use super::streams::Streams;
use crate::app::cursor::Cursor;
use crate::app::http::Settings;
use crate::app::Stage;
use crate::Direction;

/// Bytes of a header block, continuations included, that are decoded (Suricata's figure).
pub(super) const MAX_BLOCK_BYTES: usize = 100 << 10;
/// Bytes of any other frame that are read; settings go on behind them, and nobody has so many.
const MAX_CONTROL_BYTES: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preface,
    Header,
    Whole,
    Padding,
    Data,
    Skip,
    Lost,
}

/// A header block whose end has not come.
#[derive(Debug)]
struct Block {
    /// The stream that carries it, and the one it is about.
    carrier: u32,
    stream: u32,
    kind: u8,
    ends_stream: bool,
    bytes: Vec<u8>,
    /// More came than is kept.
    cut: bool,
}

/// Reads one direction.
#[derive(Debug)]
pub(super) struct Half {
    direction: Direction,
    state: State,
    /// What was read of the preface, a frame's header, or a frame that is read whole.
    held: Vec<u8>,
    frame: Header,
    /// Bytes of the state that are still to come, and of padding behind them.
    left: u32,
    padding: u32,
    decoder: Decoder,
    block: Option<Block>,
    /// The highest number of a stream on which a message began.
    newest: u32,
    /// Something of it was not shown although a peer may read it.
    pub(super) blind: bool,
}

impl Half {
    pub(super) fn new(direction: Direction) -> Self {
        Self {
            direction,
            state: match direction {
                Direction::ToServer => State::Preface,
                Direction::ToClient => State::Header,
            },
            held: Vec::new(),
            frame: Header::parse(&[0; HEADER_BYTES]),
            left: 0,
            padding: 0,
            decoder: Decoder::new(),
            block: None,
            newest: 0,
            blind: false,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], streams: &mut Streams, settings: &Settings) {
        let mut input = bytes;
        while !input.is_empty() {
            match self.state {
                State::Lost => return,
                State::Preface => self.read_preface(&mut input, streams),
                State::Header => {
                    self.hold(&mut input, HEADER_BYTES);
                    if let Ok(header) = self.held.as_slice().try_into() {
                        let header = Header::parse(header);
                        self.held.clear();
                        self.begin(header, streams, settings);
                    }
                }
                State::Padding => self.read_padding(&mut input, streams, settings),
                State::Whole | State::Data | State::Skip => {
                    let len = (self.left as usize).min(input.len());
                    let (piece, rest) = input.split_at(len);
                    input = rest;
                    self.left -= len as u32;
                    self.piece(piece, streams, settings);
                    self.end_state(streams, settings);
                }
            }
        }
    }

    /// Takes bytes until `most` are held.
    fn hold(&mut self, input: &mut &[u8], most: usize) {
        let len = input.len().min(most.saturating_sub(self.held.len()));
        let (taken, rest) = input.split_at(len);
        self.held.extend_from_slice(taken);
        *input = rest;
    }

    fn read_preface(&mut self, input: &mut &[u8], streams: &mut Streams) {
        self.hold(input, PREFACE.len());
        if !PREFACE.starts_with(&self.held) {
            self.lose(events::INVALID_CLIENT_MAGIC, streams);
        } else if self.held.len() == PREFACE.len() {
            self.held.clear();
            self.state = State::Header;
        }
    }

    /// No frame can be told any more.
    fn lose(&mut self, event: &'static str, streams: &mut Streams) {
        self.blind = true;
        self.state = State::Lost;
        self.held = Vec::new();
        self.block = None;
        if let Some(id) = streams.find_or_open(0, false) {
            streams.change(id, |stream| stream.raise(event));
        }
        streams.finish_number(0);
    }

    fn begin(&mut self, header: Header, streams: &mut Streams, settings: &Settings) {
        self.frame = header;
        self.left = header.length;
        let continues =
            |block: &Block| header.kind == kind::CONTINUATION && header.stream == block.carrier;
        if self.block.as_ref().is_some_and(|block| !continues(block)) {
            // Peers close the connection here.
            self.blind = true;
            self.end_block(Some(events::INVALID_FRAME_DATA), streams, settings);
        }
        self.state = match header.kind {
            kind::DATA if header.has(flag::PADDED) && header.length > 0 => State::Padding,
            kind::DATA => State::Data,
            kind::HEADERS..=kind::CONTINUATION => State::Whole,
            _ => State::Skip,
        };
        if header.kind == kind::DATA {
            self.note(streams, |_| {});
        }
        if self.left == 0 {
            self.end_state(streams, settings);
        }
    }

    /// The first byte of a padded frame says how much of its end is padding.
    fn read_padding(&mut self, input: &mut &[u8], streams: &mut Streams, settings: &Settings) {
        let Some((first, rest)) = input.split_first() else {
            return;
        };
        *input = rest;
        self.left -= 1;
        self.state = State::Data;
        match self.left.checked_sub(u32::from(*first)) {
            Some(left) => (self.left, self.padding) = (left, u32::from(*first)),
            None => self.piece(&[*first], streams, settings),
        }
        self.end_state(streams, settings);
    }

    /// Bytes of the payload.
    fn piece(&mut self, bytes: &[u8], streams: &mut Streams, settings: &Settings) {
        match self.state {
            State::Data if !bytes.is_empty() => self.data(bytes, streams, settings),
            State::Whole => {
                let most = match self.frame.kind {
                    kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => MAX_BLOCK_BYTES,
                    _ => MAX_CONTROL_BYTES,
                };
                self.hold(&mut &*bytes, most);
            }
            _ => {}
        }
    }

    fn data(&mut self, bytes: &[u8], streams: &mut Streams, settings: &Settings) {
        let Some(id) = streams.find_or_open(self.frame.stream, true) else {
            self.blind = true;
            return;
        };
        let overfull = streams.is_overfull();
        let direction = self.direction;
        self.blind |= overfull;
        streams.change(id, |stream| {
            if overfull {
                stream.raise(events::REASSEMBLY_LIMIT_REACHED);
                stream.give_up_body(direction);
                stream.skip(direction, bytes.len() as u64);
            } else {
                stream.data(direction, bytes, settings);
            }
        });
    }

    /// What follows the bytes of a state when all of them came.
    fn end_state(&mut self, streams: &mut Streams, settings: &Settings) {
        if self.left > 0 {
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Header);
        if state == State::Data && self.padding > 0 {
            self.left = std::mem::take(&mut self.padding);
            self.state = State::Skip;
            return;
        }
        match self.frame.kind {
            kind::DATA if self.frame.has(flag::END_STREAM) => {
                if let Some(id) = streams.find_or_open(self.frame.stream, true) {
                    streams.change(id, |stream| stream.end(self.direction, true));
                }
            }
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => {
                self.header_frame(streams, settings);
            }
            kind::PRIORITY..=kind::WINDOW_UPDATE => self.control_frame(streams),
            _ => {}
        }
        self.held.clear();
        // Frames about the connection are each a transaction, which ends with it.
        if self.frame.stream == 0 {
            streams.finish_number(0);
        }
    }

    /// Notes the frame on its stream; `None` where that one is not followed.
    fn note(
        &mut self,
        streams: &mut Streams,
        change: impl FnOnce(&mut super::Stream),
    ) -> Option<u64> {
        let is_message = self.frame.kind == kind::DATA;
        let id = streams.find_or_open(self.frame.stream, is_message)?;
        let (direction, kind) = (self.direction, self.frame.kind);
        streams.change(id, |stream| {
            stream.side_mut(direction).note_frame(kind);
            stream.reach(direction, Stage::Begun);
            change(stream);
        });
        Some(id)
    }

    /// Any frame but DATA and header blocks.
    fn control_frame(&mut self, streams: &mut Streams) {
        let (frame, direction) = (self.frame, self.direction);
        if frame.kind == kind::SETTINGS && (self.held.is_empty() || frame.has(flag::ACK)) {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let noted = self.note(streams, |stream| {
            if !frame.is_sized() {
                stream.raise(events::INVALID_FRAME_LENGTH);
                return;
            }
            let side = stream.side_mut(direction);
            let mut cursor = Cursor::new(&held);
            match frame.kind {
                kind::PRIORITY => side.priorities.add_some(held.get(4).copied()),
                kind::RST_STREAM => side.errors.add_some(cursor.u32()),
                kind::GOAWAY => {
                    let behind_last_stream = cursor.skip(4).and_then(|()| cursor.u32());
                    side.errors.add_some(behind_last_stream);
                }
                kind::WINDOW_UPDATE => {
                    side.windows
                        .add_some(cursor.u32().map(|it| it & 0x7fff_ffff));
                }
                kind::SETTINGS => side.note_settings(&held),
                _ => {}
            }
        });
        if let (Some(id), kind::RST_STREAM) = (noted, frame.kind) {
            streams.finish(id);
        }
        self.held = held;
    }

    /// HEADERS, PUSH_PROMISE or CONTINUATION.
    fn header_frame(&mut self, streams: &mut Streams, settings: &Settings) {
        let frame = self.frame;
        let held = std::mem::take(&mut self.held);
        let cut = frame.length as usize > held.len();
        match (&mut self.block, frame.kind) {
            (Some(block), kind::CONTINUATION) => {
                let room = MAX_BLOCK_BYTES.saturating_sub(block.bytes.len());
                block.cut |= cut || held.len() > room;
                let kept = &held[..held.len().min(room)];
                block.bytes.extend_from_slice(kept);
                let stream = block.stream;
                self.note_on(stream, streams);
            }
            (None, kind::CONTINUATION) => {
                self.blind = true;
                self.note(streams, |stream| stream.raise(events::INVALID_FRAME_DATA));
            }
            _ => self.begin_block(&held, cut, streams),
        }
        self.held = held;
        if frame.has(flag::END_HEADERS) {
            self.end_block(None, streams, settings);
        }
    }

    fn begin_block(&mut self, payload: &[u8], cut: bool, streams: &mut Streams) {
        let frame = self.frame;
        let range = frame::unpad(&frame, payload);
        let mut cursor = Cursor::new(payload.get(range).unwrap_or_default());
        let mut stream = frame.stream;
        let mut priority = None;
        if frame.kind == kind::PUSH_PROMISE {
            stream = cursor.array().map_or(stream, frame::stream_of);
        } else if frame.has(flag::PRIORITY) {
            cursor.skip(4);
            priority = cursor.u8();
        }
        let is_new = stream > self.newest;
        self.newest = self.newest.max(stream);
        self.block = Some(Block {
            carrier: frame.stream,
            stream,
            kind: frame.kind,
            ends_stream: frame.kind == kind::HEADERS && frame.has(flag::END_STREAM),
            bytes: cursor.rest().to_vec(),
            cut,
        });
        let Some(id) = self.note_on(stream, streams) else {
            return;
        };
        let direction = self.direction;
        streams.change(id, |stream| {
            let unasked = !is_new && !stream.has_headers(direction);
            let is_answer = direction == Direction::ToClient && frame.kind == kind::HEADERS;
            if stream.has_ended(direction) || unasked && !is_answer {
                stream.raise(events::STREAM_ID_REUSE);
            }
            stream.side_mut(direction).priorities.add_some(priority);
        });
    }

    /// Notes the frame on the stream that its block is about.
    fn note_on(&mut self, number: u32, streams: &mut Streams) -> Option<u64> {
        let id = streams.find_or_open(number, true);
        let (direction, kind) = (self.direction, self.frame.kind);
        match id {
            Some(id) => streams.change(id, |stream| {
                stream.side_mut(direction).note_frame(kind);
                stream.reach(direction, Stage::Begun);
            })?,
            None => self.blind = true,
        }
        id
    }

    /// Decodes the block, which is whole unless `event` says why not.
    fn end_block(
        &mut self,
        event: Option<&'static str>,
        streams: &mut Streams,
        settings: &Settings,
    ) {
        let Some(block) = self.block.take() else {
            return;
        };
        let (direction, decoder) = (self.direction, &mut self.decoder);
        let Some(id) = streams.find_or_open(block.stream, true) else {
            // The table goes on all the same.
            let _ = decoder.decode(&block.bytes, &mut |_| {});
            self.blind = true;
            return;
        };
        let most = settings.header_fields;
        let complete = streams.change(id, |stream| {
            let trailer = stream.has_headers(direction);
            let side = stream.side_mut(direction);
            side.note_frame(block.kind);
            let mut fits = !block.cut;
            let outcome = decoder.decode(&block.bytes, &mut |instruction| {
                fits &= side.add(instruction, most);
            });
            let interim = direction == Direction::ToClient
                && side.status().is_some_and(|status| status.starts_with(b"1"));
            if !fits {
                stream.raise(events::REASSEMBLY_LIMIT_REACHED);
            }
            let wrong = outcome.err().map(event_of);
            for event in event.into_iter().chain(wrong) {
                stream.raise(event);
            }
            stream.check(direction);
            if block.kind == kind::PUSH_PROMISE {
                // The request is the server's: the client sends nothing on it.
                stream.reach(direction, Stage::Begun);
                stream.end(Direction::ToServer, true);
            } else if trailer {
                fits &= stream.add_trailers(direction);
            } else {
                stream.reach(
                    direction,
                    if interim {
                        Stage::Begun
                    } else {
                        Stage::Headers
                    },
                );
            }
            if block.ends_stream {
                stream.end(direction, true);
            }
            fits && wrong.is_none()
        });
        self.blind |= complete == Some(false) || streams.is_overfull();
    }

    /// Skips bytes that were never seen.
    pub(super) fn gap(&mut self, len: u64, streams: &mut Streams, settings: &Settings) {
        match self.state {
            State::Data if len <= u64::from(self.left) => {
                self.left -= len as u32;
                let id = streams.find_or_open(self.frame.stream, true);
                id.and_then(|id| streams.change(id, |stream| stream.gap(self.direction, len)));
                self.end_state(streams, settings);
            }
            State::Skip if len <= u64::from(self.left) => {
                self.left -= len as u32;
                self.end_state(streams, settings);
            }
            State::Lost => {}
            _ => {
                self.state = State::Lost;
                self.held = Vec::new();
                self.block = None;
                streams.end_all(&[self.direction]);
            }
        }
    }

    pub(super) fn skippable(&self, streams: &Streams, id: Option<u64>) -> u64 {
        match self.state {
            State::Lost => u64::MAX,
            State::Data => {
                let stream = id.and_then(|id| streams.get(id));
                let most = stream.map_or(0, |stream| stream.skippable(self.direction));
                most.min(self.left.into())
            }
            _ => 0,
        }
    }

    /// The stream whose body is being read.
    pub(super) fn reading(&self) -> u32 {
        self.frame.stream
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let block = self
            .block
            .as_ref()
            .map_or(0, |block| block.bytes.capacity());
        self.held.capacity() + block + self.decoder.heap_bytes()
    }
}

fn event_of(wrong: Malformed) -> &'static str {
    match wrong {
        Malformed::Truncated => events::INVALID_FRAME_DATA,
        Malformed::Overflow => events::HEADER_INTEGER_OVERFLOW,
        Malformed::NotIndexed | Malformed::BadHuffman | Malformed::TableTooLarge => {
            events::INVALID_HEADER
        }
    }
}
