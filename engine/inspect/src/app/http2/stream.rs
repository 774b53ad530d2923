//! What one stream has shown so far; a frame about the connection itself is a stream of its own.
use std::any::Any;

use smallvec::SmallVec;

use super::eve;
use super::events;
use super::hpack::{Field, Instruction};
use crate::app::http::body::{self, BodyReader, Framing};
use crate::app::http::{Body, Events, HttpEvent, Settings};
use crate::app::{AppProto, Description, File, Head, Purpose, Stage};
use crate::Direction;

/// Numbers of one kind that are kept of a side (weights, windows, settings): what keywords and records show.
const MAX_NOTED: usize = 64;
/// Bytes of a side's fields together, names and values: four times what servers take.
pub(super) const MAX_FIELD_BYTES: usize = 256 << 10;

/// Numbers of one kind, each once, the first [`MAX_NOTED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted<T>(pub SmallVec<[T; 2]>);

impl<T> Default for Noted<T> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<T: PartialEq> Noted<T> {
    fn add(&mut self, value: T) {
        if self.0.len() < MAX_NOTED && !self.0.contains(&value) {
            self.0.push(value);
        }
    }

    pub(super) fn add_some(&mut self, value: Option<T>) {
        value.into_iter().for_each(|value| self.add(value));
    }
}

/// One side of a stream.
#[derive(Debug, Default)]
pub struct Side {
    /// Fields in the order in which they came, those of interim responses and those behind the body too.
    pub fields: Vec<Field>,
    /// The body.
    pub body: Body,
    /// Kinds of frames that came, one bit each.
    kinds: [u64; 4],
    /// Weights, as sent: one less than they mean.
    pub priorities: Noted<u8>,
    /// What WINDOW_UPDATEs add.
    pub windows: Noted<u32>,
    /// Why the stream or the connection was ended.
    pub errors: Noted<u32>,
    /// Sizes of the header table.
    pub size_updates: Noted<u64>,
    /// Settings and their values, repetitions included.
    pub settings: SmallVec<[(u16, u32); 4]>,
    /// Bytes of all fields.
    field_bytes: usize,
    reader: Option<BodyReader>,
}

impl Side {
    /// Whether a frame of that kind came.
    pub fn has_frame(&self, kind: u8) -> bool {
        self.kinds[usize::from(kind >> 6)] & 1 << (kind & 0x3f) != 0
    }

    /// Notes a frame.
    pub(super) fn note_frame(&mut self, kind: u8) {
        self.kinds[usize::from(kind >> 6)] |= 1 << (kind & 0x3f);
    }

    /// Notes settings, as many as are kept. Source: RFC 9113, 6.5.1.
    pub(super) fn note_settings(&mut self, payload: &[u8]) {
        let settings = payload.chunks_exact(6).map(|it| {
            let value = u32::from_be_bytes([it[2], it[3], it[4], it[5]]);
            (u16::from_be_bytes([it[0], it[1]]), value)
        });
        let room = MAX_NOTED.saturating_sub(self.settings.len());
        self.settings.extend(settings.take(room));
    }

    /// The values of the fields of that name, whatever its case.
    pub fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let same = self
            .fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name));
        same.map(|field| &*field.value)
    }

    /// The first of those.
    pub fn value<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// The response's status: the last one, which no interim response has.
    pub fn status(&self) -> Option<&[u8]> {
        self.values(b":status").last()
    }

    /// Adds what a header block says; false where a field is more than is kept.
    pub(super) fn add(&mut self, instruction: Instruction, most: usize) -> bool {
        let field = match instruction {
            Instruction::Field(field) => field,
            Instruction::SizeUpdate(bytes) => {
                self.size_updates.add(bytes);
                return true;
            }
        };
        let bytes = field.name.len() + field.value.len();
        let fits = self.field_bytes + bytes <= MAX_FIELD_BYTES && self.fields.len() < most;
        if fits {
            self.field_bytes += bytes;
            self.fields.push(field);
        }
        fits
    }

    fn heap_bytes(&self) -> usize {
        let fields = self.fields.capacity() * size_of::<Field>();
        let reader = self.reader.as_ref().map_or(0, BodyReader::heap_bytes);
        fields + self.field_bytes + self.body.heap_bytes() + reader
    }
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    head: Head,
    /// Its number; 0: the connection.
    pub number: u32,
    sides: [Side; 2],
}

impl Stream {
    pub(super) fn new(number: u32, files: [File; 2]) -> Self {
        Self {
            head: Head::default(),
            number,
            sides: files.map(|file| Side {
                body: Body::of(file),
                ..Side::default()
            }),
        }
    }

    /// What one direction sent.
    pub fn side(&self, direction: Direction) -> &Side {
        &self.sides[direction as usize]
    }

    pub(super) fn side_mut(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[direction as usize]
    }

    pub(super) fn raise(&mut self, event: &'static str) {
        self.head.raise(event);
    }

    pub(super) fn reach(&mut self, direction: Direction, stage: Stage) {
        self.head.reach(direction, stage);
    }

    pub(super) fn has_ended(&self, direction: Direction) -> bool {
        self.head.stages[direction as usize] == Stage::Complete
    }

    /// Whether a message's header is whole on that side.
    pub(super) fn has_headers(&self, direction: Direction) -> bool {
        self.head.stages[direction as usize] >= Stage::Headers
    }

    /// Says that trailers came: what was shown without them is shown again. False where that was before: servers
    /// take no second ones.
    pub(super) fn add_trailers(&mut self, direction: Direction) -> bool {
        let first = self.head.stages[direction as usize] < Stage::Trailer;
        if first {
            self.head.detect.restart_side(direction);
        }
        self.reach(direction, Stage::Trailer);
        first
    }

    /// Adds bytes of a body.
    pub(super) fn data(&mut self, direction: Direction, bytes: &[u8], settings: &Settings) {
        self.reach(direction, Stage::Body);
        let mut events = Events::default();
        let side = &mut self.sides[direction as usize];
        if side.reader.is_none() {
            let encoding: Vec<_> = side.values(b"content-encoding").collect();
            let encoding = (!encoding.is_empty()).then(|| encoding.join(&b", "[..]));
            let codings = body::codings(encoding.as_deref(), settings, &mut events);
            side.reader = Some(BodyReader::new(Framing::UntilClose, codings));
        }
        let mut input = bytes;
        if let Some(reader) = &mut side.reader {
            let mut target = body::Target {
                body: &mut side.body,
                events: &mut events,
                is_request: direction == Direction::ToServer,
            };
            reader.read(&mut input, &mut target);
        }
        self.tell_coding(events, direction);
    }

    /// Counts bytes of a body that are not looked at.
    pub(super) fn skip(&mut self, direction: Direction, len: u64) {
        let body = &mut self.sides[direction as usize].body;
        body.coded = body.coded.saturating_add(len);
        body.file.skip(len);
        self.reach(direction, Stage::Body);
    }

    /// Gives up what would be needed to read the body on.
    pub(super) fn give_up_body(&mut self, direction: Direction) {
        self.sides[direction as usize].reader = None;
    }

    /// How many more bytes of that body change nothing but its size.
    pub(super) fn skippable(&self, direction: Direction) -> u64 {
        let side = &self.sides[direction as usize];
        let reader = side.reader.as_ref();
        reader.map_or(0, |reader| reader.skippable(&side.body))
    }

    /// Bytes of a body that were never seen.
    pub(super) fn gap(&mut self, direction: Direction, len: u64) {
        let side = &mut self.sides[direction as usize];
        let mut events = Events::default();
        if let Some(reader) = &mut side.reader {
            let mut target = body::Target {
                body: &mut side.body,
                events: &mut events,
                is_request: direction == Direction::ToServer,
            };
            reader.gap(len, &mut target);
        } else {
            side.body.gap(len);
        }
    }

    /// Says that nothing more comes that way; `whole`: as it should.
    pub(super) fn end(&mut self, direction: Direction, whole: bool) {
        if self.has_ended(direction) {
            return;
        }
        let mut events = Events::default();
        let side = &mut self.sides[direction as usize];
        match &mut side.reader {
            Some(reader) if whole => reader.finish(&mut body::Target {
                body: &mut side.body,
                events: &mut events,
                is_request: direction == Direction::ToServer,
            }),
            _ => side.body.end(whole),
        }
        side.reader = None;
        self.tell_coding(events, direction);
        self.reach(direction, Stage::Complete);
    }

    fn tell_coding(&mut self, events: Events, direction: Direction) {
        let failed = [
            HttpEvent::GzipDecompressionFailed,
            HttpEvent::CompressionBomb,
        ];
        let undecoded = self.sides[direction as usize].body.undecoded.is_some();
        if undecoded || failed.iter().any(|event| events.contains(*event)) {
            self.raise(events::FAILED_DECOMPRESSION);
        }
    }

    /// Judges a message's header when it is whole.
    pub(super) fn check(&mut self, direction: Direction) {
        let side = &self.sides[direction as usize];
        let is_range = |value: &[u8]| super::is_content_range(value);
        let bad_range = side
            .value(b"content-range")
            .is_some_and(|value| !is_range(value));
        let authority = side.value(b":authority");
        let differs = authority.is_some_and(|authority| {
            side.values(b"host")
                .any(|host| !host.eq_ignore_ascii_case(authority))
        });
        let names_user = authority.is_some_and(|it| it.contains(&b'@'));
        for (is_so, event) in [
            (bad_range, events::INVALID_RANGE),
            (differs, events::AUTHORITY_HOST_MISMATCH),
            (names_user, events::USERINFO_IN_URI),
        ] {
            if is_so {
                self.raise(event);
            }
        }
    }
}

impl crate::app::Transaction for Stream {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn app(&self) -> AppProto {
        AppProto::Http2
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_full(&self, direction: Direction) -> bool {
        let body = &self.side(direction).body;
        let undecoded = body.undecoded.as_ref();
        body.file.is_full() && undecoded.is_none_or(|file| file.is_full())
    }

    fn files(&self, direction: Direction) -> &[File] {
        let file = &self.side(direction).body.file;
        match file.seen {
            0 => &[],
            _ => std::slice::from_ref(file),
        }
    }

    fn undecoded(&self, direction: Direction) -> Option<&File> {
        self.side(direction).body.undecoded.as_deref()
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(("http", Box::new(eve::Http2(self))))
    }

    fn record(&self, index: usize) -> Option<Description<'_>> {
        let shown = index == 0 && eve::is_recorded(self);
        shown.then(|| self.describe(Purpose::Record)).flatten()
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.sides.iter().map(Side::heap_bytes).sum::<usize>()
    }
}
