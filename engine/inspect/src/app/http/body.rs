//! A message body: framing off, codings undone, kept up to the inspection depth.

use super::ambiguity;
use super::coding::{Bounds, Codings, Stopped};
use super::connection::Settings;
use super::events::{Events, HttpEvent};
use super::transaction::Body;

/// Bytes of a chunk's length line that are looked at; the rest of it is skipped.
const CHUNK_LINE_BYTES: usize = 256;
/// Bytes of a coded body that are held as sent; what was decoded beyond is shown decoded only.
const HELD_BYTES: usize = 16 << 10;

/// How a body's end is found.
#[derive(Debug)]
pub(in crate::app) enum Framing {
    /// Bytes still to come.
    Length(u64),
    /// Chunks. Source: RFC 9112, 7.1.
    Chunked(Chunks),
    /// The connection's end.
    UntilClose,
}

/// What a chunked body expects next.
#[derive(Debug)]
pub(in crate::app) enum Chunks {
    /// A length line; what was read of it.
    Length(Vec<u8>),
    /// The rest of a length line that has been understood; then this many bytes.
    LineEnd(u64),
    /// Bytes of a chunk.
    Data(u64),
    /// The line end behind a chunk.
    DataEnd,
}

/// Where reading a body has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Status {
    /// More is to come.
    More,
    /// The body has ended.
    Complete,
    /// The body has ended; trailers follow.
    Trailers,
}

/// Where a body's bytes go.
pub(in crate::app) struct Target<'a> {
    pub body: &'a mut Body,
    pub events: &'a mut Events,
    /// Which side's event names.
    pub is_request: bool,
}

/// A body being read.
#[derive(Debug)]
pub(in crate::app) struct BodyReader {
    framing: Framing,
    codings: Option<Codings>,
    /// Nothing more is kept: a bomb.
    muted: bool,
    /// The first bytes of a coded body as sent, for the case that its receiver ignores the coding.
    held: Vec<u8>,
    /// Chunks that not every receiver finds the same end of.
    ambiguous: bool,
}

impl BodyReader {
    pub(in crate::app) fn new(framing: Framing, codings: Option<Codings>) -> Self {
        Self {
            framing,
            codings,
            muted: false,
            held: Vec::new(),
            ambiguous: false,
        }
    }

    /// Whether receivers may disagree on where it ends.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// What undoes its codings.
    pub(super) fn codings_mut(&mut self) -> Option<&mut Codings> {
        self.codings.as_mut()
    }

    /// A body that begins with its first chunk's length.
    pub(super) fn chunked(codings: Option<Codings>) -> Self {
        Self::new(Framing::Chunked(Chunks::Length(Vec::new())), codings)
    }

    /// Takes bytes off `input` up to the body's end.
    pub(in crate::app) fn read(&mut self, input: &mut &[u8], target: &mut Target<'_>) -> Status {
        loop {
            match &mut self.framing {
                Framing::UntilClose => {
                    let all = std::mem::take(input);
                    self.data(all, target);
                    return Status::More;
                }
                Framing::Length(left) => {
                    let piece = take_up_to(input, left);
                    let ended = *left == 0;
                    self.data(piece, target);
                    if ended {
                        self.finish(target);
                        return Status::Complete;
                    }
                    return Status::More;
                }
                Framing::Chunked(_) => {
                    if let Some(status) = self.read_chunks(input, target) {
                        return status;
                    }
                }
            }
        }
    }

    /// One step through a chunked body; `None`: go on.
    fn read_chunks(&mut self, input: &mut &[u8], target: &mut Target<'_>) -> Option<Status> {
        let Framing::Chunked(chunks) = &mut self.framing else {
            return None;
        };
        if input.is_empty() {
            return Some(Status::More);
        }
        match chunks {
            Chunks::Length(line) => match read_chunk_length(line, input, &mut self.ambiguous) {
                ChunkLength::More => return Some(Status::More),
                ChunkLength::Found { length, extension } => {
                    if extension {
                        target.raise(
                            HttpEvent::RequestChunkExtension,
                            HttpEvent::ResponseChunkExtension,
                        );
                    }
                    target.framing(line.len());
                    *chunks = Chunks::LineEnd(length);
                }
                ChunkLength::Invalid => {
                    // Clients take what follows as the body then, so do we.
                    let line = std::mem::take(line);
                    self.ambiguous = true;
                    target.raise(
                        HttpEvent::InvalidRequestChunkLen,
                        HttpEvent::InvalidResponseChunkLen,
                    );
                    self.framing = Framing::UntilClose;
                    self.data(&line, target);
                }
            },
            Chunks::LineEnd(length) => {
                let length = *length;
                let end = memchr::memchr(b'\n', input);
                let rest = end.map_or(&[][..], |at| &input[at + 1..]);
                target.framing(input.len() - rest.len());
                *input = rest;
                if end.is_some() {
                    if length == 0 {
                        self.finish(target);
                        return Some(Status::Trailers);
                    }
                    *chunks = Chunks::Data(length);
                }
            }
            Chunks::Data(left) => {
                let piece = take_up_to(input, left);
                if *left == 0 {
                    *chunks = Chunks::DataEnd;
                }
                self.data(piece, target);
            }
            Chunks::DataEnd => {
                let end = memchr::memchr(b'\n', input);
                let before = &input[..end.unwrap_or(input.len())];
                self.ambiguous |= !matches!(before, b"" | b"\r");
                let rest = end.map_or(&[][..], |at| &input[at + 1..]);
                target.framing(input.len() - rest.len());
                *input = rest;
                if end.is_some() {
                    *chunks = Chunks::Length(Vec::new());
                }
            }
        }
        None
    }

    /// Bytes of the body proper.
    fn data(&mut self, bytes: &[u8], target: &mut Target<'_>) {
        let body = &mut *target.body;
        body.coded = body.coded.saturating_add(bytes.len() as u64);
        if let Some(undecoded) = &mut body.undecoded {
            undecoded.append(bytes);
        }
        if self.muted {
            body.file.skip(bytes.len() as u64);
            return;
        }
        let Some(codings) = &mut self.codings else {
            body.append_decoded(bytes, target.events);
            return;
        };
        let held = bytes.len().min(HELD_BYTES.saturating_sub(self.held.len()));
        self.held.extend_from_slice(&bytes[..held]);
        let mut events = Events::default();
        let result = codings.push(bytes, target.events, &mut |piece| {
            body.append_decoded(piece, &mut events)
        });
        target.events.merge(events);
        if result.is_err() || codings.has_leftover() {
            self.keep_undecoded(&bytes[held..], target.body);
        }
        self.stop(result);
    }

    /// Keeps the body as sent from here on too: what was held of it, and `rest` behind that.
    fn keep_undecoded(&mut self, rest: &[u8], body: &mut Body) {
        if body.undecoded.is_none() {
            let mut file = body.file.sibling();
            file.append(&std::mem::take(&mut self.held));
            file.append(rest);
            body.undecoded = Some(Box::new(file));
        }
    }

    fn stop(&mut self, result: Result<(), Stopped>) {
        if let Err(stopped) = result {
            self.codings = None;
            self.muted = stopped == Stopped::Bomb;
        }
    }

    /// Says that no more bytes come.
    pub(in crate::app) fn finish(&mut self, target: &mut Target<'_>) {
        if let Some(codings) = &mut self.codings {
            let (body, mut events) = (&mut *target.body, Events::default());
            let result = codings.finish(target.events, &mut |piece| {
                body.append_decoded(piece, &mut events)
            });
            target.events.merge(events);
            if codings.has_leftover() {
                self.keep_undecoded(&[], target.body);
            }
            self.stop(result);
        }
        let ended = match &self.framing {
            Framing::UntilClose | Framing::Length(0) => true,
            Framing::Length(_) => false,
            Framing::Chunked(chunks) => matches!(chunks, Chunks::LineEnd(0)),
        };
        target.body.end(ended);
        if let Framing::Chunked(Chunks::Length(line)) = &mut self.framing {
            line.clear();
        }
    }

    /// Skips bytes that were never seen; what is left of `len` behind what could be skipped.
    pub(in crate::app) fn gap(&mut self, len: u64, target: &mut Target<'_>) -> (u64, Status) {
        let skippable = self.is_skippable(target.body);
        let left = match &mut self.framing {
            Framing::UntilClose => None,
            Framing::Length(left) | Framing::Chunked(Chunks::Data(left)) => Some(left),
            Framing::Chunked(_) => return (len, Status::More),
        };
        let lost = left.as_ref().map_or(len, |left| len.min(**left));
        target.body.coded = target.body.coded.saturating_add(lost);
        if skippable {
            target.body.file.skip(lost);
        } else {
            target.body.gap(lost);
        }
        if lost > 0 {
            // No decoder goes on behind a hole.
            self.muted |= self.codings.take().is_some();
        }
        let ended = left.is_some_and(|left| {
            *left -= lost;
            *left == 0
        });
        match &mut self.framing {
            Framing::Length(0) => (len - lost, Status::Complete),
            Framing::Chunked(chunks) if ended => {
                *chunks = Chunks::DataEnd;
                (len - lost, Status::More)
            }
            _ => (len - lost, Status::More),
        }
    }

    /// How many of the next bytes are body bytes that will not be kept.
    pub(in crate::app) fn skippable(&self, body: &Body) -> u64 {
        if !self.is_skippable(body) {
            return 0;
        }
        match &self.framing {
            Framing::UntilClose => u64::MAX,
            Framing::Length(left) | Framing::Chunked(Chunks::Data(left)) => *left,
            Framing::Chunked(_) => 0,
        }
    }

    fn is_skippable(&self, body: &Body) -> bool {
        let undecoded = body.undecoded.as_ref();
        (self.muted || !body.file.wants_more()) && undecoded.is_none_or(|file| !file.wants_more())
    }

    pub(in crate::app) fn heap_bytes(&self) -> usize {
        self.codings.as_ref().map_or(0, Codings::heap_bytes) + self.held.capacity()
    }
}

impl Target<'_> {
    /// Counts bytes that say where chunks begin and end.
    fn framing(&mut self, bytes: usize) {
        self.body.framing = self.body.framing.saturating_add(bytes as u64);
    }

    fn raise(&mut self, request: HttpEvent, response: HttpEvent) {
        self.events
            .raise(if self.is_request { request } else { response });
    }
}

/// What a Content-Encoding asks for.
pub(in crate::app) fn codings(
    value: Option<&[u8]>,
    settings: &Settings,
    events: &mut Events,
) -> Option<Codings> {
    let bounds = Bounds {
        layers: settings.coding_layers,
        bomb_bytes: settings.bomb_bytes,
        bomb_ratio: settings.bomb_ratio,
    };
    Codings::from_header(value?, bounds, events)
}

fn take_up_to<'a>(input: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let count = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(input.len());
    let (taken, rest) = input.split_at(count);
    *input = rest;
    *left -= count as u64;
    taken
}

enum ChunkLength {
    More,
    Found { length: u64, extension: bool },
    Invalid,
}

/// Reads a chunk's length line up to, but without, its LF.
///
/// Control characters and spaces before the number are skipped, empty lines too; whatever follows the number is
/// ignored, though not every server does so. A number past `i32::MAX` is none, as in libhtp.
fn read_chunk_length(line: &mut Vec<u8>, input: &mut &[u8], ambiguous: &mut bool) -> ChunkLength {
    while let Some((&byte, rest)) = input.split_first() {
        let digits = line.iter().position(u8::is_ascii_hexdigit);
        if byte == b'\n' {
            let Some(start) = digits else {
                *ambiguous = true;
                line.clear();
                *input = rest;
                continue;
            };
            *ambiguous |= line.len() >= CHUNK_LINE_BYTES || !ambiguity::is_plain_chunk_line(line);
            let end = line[start..]
                .iter()
                .position(|byte| !byte.is_ascii_hexdigit())
                .map_or(line.len(), |at| start + at);
            let length = std::str::from_utf8(&line[start..end])
                .ok()
                .and_then(|text| u64::from_str_radix(text, 16).ok());
            return match length.filter(|&length| length <= i32::MAX as u64) {
                Some(length) => ChunkLength::Found {
                    length,
                    extension: line[end..].contains(&b';'),
                },
                None => invalid(line, input, rest),
            };
        }
        let is_space = matches!(byte, b'\r' | b' ' | b'\t' | 0x0b | 0x0c);
        if digits.is_none() && !is_space && !byte.is_ascii_hexdigit() {
            return ChunkLength::Invalid;
        }
        // Any number of leading zeros is one: they must not push the length out of the line's bound.
        let leading_zero = byte == b'0' && line.as_slice() == b"0";
        if line.len() < CHUNK_LINE_BYTES && !leading_zero {
            line.push(byte);
        }
        *input = rest;
    }
    ChunkLength::More
}

fn invalid<'a>(line: &mut Vec<u8>, input: &mut &'a [u8], rest: &'a [u8]) -> ChunkLength {
    line.push(b'\n');
    *input = rest;
    ChunkLength::Invalid
}
