//! Content codings undone: gzip, deflate, br.
//!
//! Servers lie about codings and clients try hard, so a layer that fails before it has produced anything is
//! retried as the other formats that share the name (`deflate` is raw deflate, zlib or even gzip, and the other
//! way round) and then passed through. What a layer produces is bounded three ways: the sink stops it when the
//! inspection depth is reached, a ratio marks a bomb, and all layers together have a budget of work, so that
//! codings nested in codings cannot spin either.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};

use super::events::{Events, HttpEvent};
use super::fields::is_word;

/// Bytes of a coded body held for another attempt, until its first decoded byte.
const HELD_BYTES: usize = 16 << 10;
/// One call's output; at least deflate's window, so that nothing stays behind in the decompressor on an error.
const OUTPUT_BYTES: usize = 32 << 10;
/// Work of all layers of one body, in decoded bytes, as a multiple of `Bounds::bomb_bytes`.
const WORK_FACTOR: u64 = 16;
/// Brotli windows up to 4 MiB (what browsers accept and servers use); a larger one would be memory for nothing.
const MAX_BROTLI_WINDOW_BITS: u8 = 22;

/// Where decoded bytes go; false: no more is wanted.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

/// What bounds decoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub layers: usize,
    pub bomb_bytes: u64,
    pub bomb_ratio: u64,
}

/// Why decoding has ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The sink wants no more.
    Enough,
    /// It grew past the bounds.
    Bomb,
}

/// The codings of one body, outermost first.
#[derive(Debug)]
pub(in crate::app) struct Codings {
    layers: Vec<Layer>,
    meter: Meter,
}

#[derive(Debug)]
struct Meter {
    bounds: Bounds,
    coded: u64,
    decoded: u64,
    work: u64,
}

impl Codings {
    /// What a Content-Encoding asks for; `None` if there is nothing to undo.
    ///
    /// The last coding named was applied last, so it is undone first. Source: RFC 9110, 8.4.
    pub(super) fn from_header(value: &[u8], bounds: Bounds, events: &mut Events) -> Option<Self> {
        let mut layers = Vec::new();
        for (name, count) in names(value).zip(1..) {
            if count > bounds.layers {
                events.raise(HttpEvent::TooManyEncodingLayers);
                break;
            }
            layers.extend(Format::from_name(name, events).map(Layer::new));
        }
        layers.reverse();
        let meter = Meter {
            bounds,
            coded: 0,
            decoded: 0,
            work: 0,
        };
        (!layers.is_empty()).then_some(Self { layers, meter })
    }

    /// Decodes the next bytes into `sink`.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        events: &mut Events,
        sink: Sink<'_>,
    ) -> Result<(), Stopped> {
        self.meter.coded += bytes.len() as u64;
        run(&mut self.layers, &mut self.meter, bytes, events, sink)
    }

    /// Says that the body has ended: bytes held for another attempt come out as they are.
    pub(super) fn finish(&mut self, events: &mut Events, sink: Sink<'_>) -> Result<(), Stopped> {
        for at in 0..self.layers.len() {
            let held = self.layers[at].give_up();
            run(
                &mut self.layers[at + 1..],
                &mut self.meter,
                &held,
                events,
                sink,
            )?;
        }
        Ok(())
    }

    /// Whether some layer could not be undone, or ended before its bytes did.
    pub(super) fn has_leftover(&self) -> bool {
        self.layers.iter().any(|layer| layer.leftover)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.layers.iter().map(Layer::heap_bytes).sum()
    }
}

/// The names of codings in a Content-Encoding, known or not: each counts as a layer.
///
/// As libhtp goes on only by a name's length and one byte, blanks before a name leave the end of it to be read as a
/// further one.
fn names(mut value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let separates = |byte: &u8| matches!(byte, b',' | b' ');
    std::iter::from_fn(move || {
        let start = value.iter().position(|byte| !separates(byte))?;
        let name = &value[start..];
        let end = name.iter().position(separates).unwrap_or(name.len());
        let name = &name[..end];
        value = value.get(name.len() + 1..).unwrap_or_default();
        Some(name)
    })
}

/// Decodes `bytes` through `layers` into `sink`.
fn run(
    layers: &mut [Layer],
    meter: &mut Meter,
    bytes: &[u8],
    events: &mut Events,
    sink: Sink<'_>,
) -> Result<(), Stopped> {
    let Some((layer, inner)) = layers.split_first_mut() else {
        meter.count_decoded(bytes.len(), events)?;
        return if bytes.is_empty() || sink(bytes) {
            Ok(())
        } else {
            Err(Stopped::Enough)
        };
    };
    let mut passed_events = Events::default();
    let result = layer.push(bytes, &mut passed_events, &mut |piece| {
        meter.count_work(piece.len(), events)?;
        run(inner, meter, piece, events, sink)
    });
    events.merge(passed_events);
    result
}

impl Meter {
    fn count_decoded(&mut self, count: usize, events: &mut Events) -> Result<(), Stopped> {
        self.decoded += count as u64;
        let too_much = self.decoded > self.bounds.bomb_bytes
            && self.decoded > self.bounds.bomb_ratio.saturating_mul(self.coded);
        if too_much {
            Err(bomb(events))
        } else {
            Ok(())
        }
    }

    fn count_work(&mut self, count: usize, events: &mut Events) -> Result<(), Stopped> {
        self.work += count as u64;
        if self.work > self.bounds.bomb_bytes.saturating_mul(WORK_FACTOR) {
            Err(bomb(events))
        } else {
            Ok(())
        }
    }
}

fn bomb(events: &mut Events) -> Stopped {
    events.raise(HttpEvent::CompressionBomb);
    Stopped::Bomb
}

/// A coding, or a guess at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Gzip,
    Zlib,
    Deflate,
    Brotli,
}

impl Format {
    /// The coding of that name. `identity`, `inflate` and `lzma` (off by default in Suricata too) are `None`.
    fn from_name(name: &[u8], events: &mut Events) -> Option<Self> {
        let holds = |word: &str| {
            name.to_ascii_lowercase()
                .windows(word.len())
                .any(|window| window == word.as_bytes())
        };
        let is_any = |words: &[&str]| words.iter().any(|word| is_word(name, word));
        let (format, proper) = if holds("gzip") {
            (Some(Self::Gzip), is_any(&["gzip", "x-gzip"]))
        } else if holds("deflate") {
            (Some(Self::Deflate), is_any(&["deflate", "x-deflate"]))
        } else if is_any(&["gzip", "x-gzip"]) {
            (Some(Self::Gzip), true)
        } else if is_any(&["deflate", "x-deflate"]) {
            (Some(Self::Deflate), true)
        } else if is_any(&["br"]) {
            (Some(Self::Brotli), true)
        } else {
            (None, is_any(&["identity", "inflate", "lzma", "none"]))
        };
        if !proper {
            events.raise(HttpEvent::AbnormalCeHeader);
        }
        format
    }

    /// What to try, in order, for a body said to be this.
    fn attempts(self) -> &'static [Self] {
        match self {
            Self::Gzip | Self::Zlib => &[Self::Gzip, Self::Zlib, Self::Deflate],
            Self::Deflate => &[Self::Deflate, Self::Zlib, Self::Gzip],
            Self::Brotli => &[Self::Brotli],
        }
    }
}

/// One coding being undone.
#[derive(Debug)]
struct Layer {
    attempts: &'static [Format],
    decoder: Decoder,
    /// What was fed so far, for the next attempt; empty once something came out.
    held: Vec<u8>,
    produced: bool,
    /// Bytes came out as they went in.
    leftover: bool,
}

impl Layer {
    fn new(format: Format) -> Self {
        let attempts = format.attempts();
        Self {
            attempts: &attempts[1..],
            decoder: Decoder::new(attempts[0]),
            held: Vec::new(),
            produced: false,
            leftover: false,
        }
    }

    fn push(
        &mut self,
        bytes: &[u8],
        events: &mut Events,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if matches!(self.decoder, Decoder::PassThrough) {
            self.leftover |= !bytes.is_empty();
            return sink(bytes);
        }
        if !self.produced {
            self.held.extend_from_slice(bytes);
        }
        let mut outcome = self.attempt(bytes, sink)?;
        while let Outcome::Failed { consumed } = outcome {
            let ended = matches!(self.decoder, Decoder::Ended { .. });
            if !ended {
                events.raise(HttpEvent::GzipDecompressionFailed);
            }
            self.leftover = true;
            if self.produced {
                // A body that breaks half-way: what is left is shown as it is.
                self.held = Vec::new();
                self.decoder = Decoder::PassThrough;
                return sink(&bytes[consumed.min(bytes.len())..]);
            }
            let held = std::mem::take(&mut self.held);
            let Some((&next, rest)) = self.attempts.split_first() else {
                self.decoder = Decoder::PassThrough;
                return sink(&held);
            };
            self.attempts = rest;
            self.decoder = Decoder::new(next);
            outcome = self.attempt(&held, sink)?;
            if !self.produced {
                self.held = held;
            }
        }
        if self.produced {
            self.held = Vec::new();
        } else if self.held.len() > HELD_BYTES {
            let held = self.give_up();
            return sink(&held);
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Stopped>,
    ) -> Result<Outcome, Stopped> {
        let produced = &mut self.produced;
        self.decoder.push(bytes, &mut |piece| {
            *produced = true;
            sink(piece)
        })
    }

    /// Stops decoding; what was held comes out.
    fn give_up(&mut self) -> Vec<u8> {
        if !self.produced {
            self.decoder = Decoder::PassThrough;
            self.leftover |= !self.held.is_empty();
        }
        std::mem::take(&mut self.held)
    }

    fn heap_bytes(&self) -> usize {
        let decoder = match &self.decoder {
            Decoder::Brotli { state, .. } => state.ringbuffer_size.max(0) as usize + (64 << 10),
            Decoder::PassThrough => 0,
            _ => 48 << 10,
        };
        self.held.capacity() + decoder
    }
}

/// How a push went.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// `consumed` bytes of this push were good.
    Failed {
        consumed: usize,
    },
}

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

enum Decoder {
    Gzip {
        header: GzipHeader,
        inflate: Box<Decompress>,
    },
    Inflate(Box<Decompress>),
    Brotli {
        state: Box<Brotli>,
        started: bool,
    },
    /// The stream's end was seen; `trailer`: bytes of gzip's trailer seen since, another member may follow it.
    Ended {
        gzip: bool,
        trailer: usize,
    },
    PassThrough,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gzip { .. } => "Gzip",
            Self::Inflate(_) => "Inflate",
            Self::Brotli { .. } => "Brotli",
            Self::Ended { .. } => "Ended",
            Self::PassThrough => "PassThrough",
        })
    }
}

impl Decoder {
    fn new(format: Format) -> Self {
        let inflate = |zlib| Box::new(Decompress::new(zlib));
        match format {
            Format::Gzip => Self::Gzip {
                header: GzipHeader::default(),
                inflate: inflate(false),
            },
            Format::Zlib => Self::Inflate(inflate(true)),
            Format::Deflate => Self::Inflate(inflate(false)),
            Format::Brotli => {
                let (bytes, words, codes) = Default::default();
                Self::Brotli {
                    state: Box::new(Brotli::new_strict(bytes, words, codes)),
                    started: false,
                }
            }
        }
    }

    fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Stopped>,
    ) -> Result<Outcome, Stopped> {
        let mut input = bytes;
        while !input.is_empty() {
            let step = match self {
                Self::PassThrough => {
                    sink(input)?;
                    return Ok(Outcome::Fine);
                }
                Self::Gzip { header, inflate } => match header.skip(&mut input) {
                    None => {
                        return Ok(Outcome::Failed {
                            consumed: bytes.len() - input.len(),
                        })
                    }
                    Some(false) => return Ok(Outcome::Fine),
                    Some(true) => inflate_into(inflate, &mut input, sink)?,
                },
                Self::Inflate(inflate) => inflate_into(inflate, &mut input, sink)?,
                Self::Brotli { started: false, .. }
                    if brotli_window_bits(input[0]) > MAX_BROTLI_WINDOW_BITS =>
                {
                    Inflated::Failed
                }
                Self::Brotli { state, started } => {
                    *started = true;
                    brotli_into(state, &mut input, sink)?
                }
                Self::Ended { gzip: false, .. } => Inflated::Failed,
                Self::Ended {
                    gzip: true,
                    trailer,
                } => {
                    // Eight bytes of checksum and length, then perhaps another member. Source: RFC 1952, 2.2.
                    let skipped = input.len().min(8 - *trailer);
                    *trailer += skipped;
                    input = &input[skipped..];
                    if *trailer == 8 && !input.is_empty() {
                        if input[0] != GzipHeader::MAGIC[0] {
                            *self = Self::Ended {
                                gzip: false,
                                trailer: 8,
                            };
                        } else {
                            *self = Self::new(Format::Gzip);
                        }
                    }
                    Inflated::More
                }
            };
            match step {
                Inflated::More => {}
                Inflated::End => {
                    *self = Self::Ended {
                        gzip: matches!(self, Self::Gzip { .. }),
                        trailer: 0,
                    }
                }
                Inflated::Failed => {
                    return Ok(Outcome::Failed {
                        consumed: bytes.len() - input.len(),
                    })
                }
            }
        }
        Ok(Outcome::Fine)
    }
}

enum Inflated {
    More,
    End,
    Failed,
}

fn inflate_into(
    inflate: &mut Decompress,
    input: &mut &[u8],
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Stopped>,
) -> Result<Inflated, Stopped> {
    let mut output = [0; OUTPUT_BYTES];
    loop {
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, &mut output, FlushDecompress::None);
        let consumed = (inflate.total_in() - before_in) as usize;
        let produced = (inflate.total_out() - before_out) as usize;
        *input = &input[consumed.min(input.len())..];
        if produced > 0 {
            sink(&output[..produced])?;
        }
        match status {
            Ok(Status::StreamEnd) => return Ok(Inflated::End),
            Err(_) => return Ok(Inflated::Failed),
            Ok(_) if consumed == 0 && produced == 0 => {
                return Ok(if input.is_empty() {
                    Inflated::More
                } else {
                    Inflated::Failed
                });
            }
            Ok(_) if input.is_empty() && produced < OUTPUT_BYTES => return Ok(Inflated::More),
            Ok(_) => {}
        }
    }
}

fn brotli_into(
    state: &mut Brotli,
    input: &mut &[u8],
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Stopped>,
) -> Result<Inflated, Stopped> {
    let mut output = [0; OUTPUT_BYTES];
    let mut total = 0;
    loop {
        let (mut available_in, mut offset_in) = (input.len(), 0);
        let (mut available_out, mut offset_out) = (output.len(), 0);
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut offset_in,
            input,
            &mut available_out,
            &mut offset_out,
            &mut output,
            &mut total,
            state,
        );
        *input = &input[offset_in.min(input.len())..];
        if offset_out > 0 {
            sink(&output[..offset_out])?;
        }
        match result {
            BrotliResult::ResultSuccess => return Ok(Inflated::End),
            BrotliResult::ResultFailure => return Ok(Inflated::Failed),
            BrotliResult::NeedsMoreInput => return Ok(Inflated::More),
            BrotliResult::NeedsMoreOutput => {}
        }
    }
}

/// Gzip's header, skipped without believing a word of it but the flags. Source: RFC 1952, 2.3.
#[derive(Debug, Default)]
struct GzipHeader {
    step: GzipStep,
    flags: u8,
    /// Bytes of the step that were seen.
    seen: usize,
    extra: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum GzipStep {
    #[default]
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    Checksum,
    Done,
}

impl GzipHeader {
    const MAGIC: [u8; 2] = [0x1f, 0x8b];
    const FHCRC: u8 = 0x02;
    const FEXTRA: u8 = 0x04;
    const FNAME: u8 = 0x08;
    const FCOMMENT: u8 = 0x10;

    /// Takes the header off `input`: true when it has ended, false when more is needed, `None` if it is none.
    fn skip(&mut self, input: &mut &[u8]) -> Option<bool> {
        while self.step != GzipStep::Done {
            if self.is_absent() {
                self.advance();
                continue;
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Some(false);
            };
            *input = rest;
            self.seen += 1;
            let ended = match self.step {
                GzipStep::Fixed => {
                    let magic_fails = self.seen <= 2 && byte != Self::MAGIC[self.seen - 1];
                    if magic_fails || (self.seen == 3 && byte != 8) {
                        return None;
                    }
                    if self.seen == 4 {
                        self.flags = byte;
                    }
                    self.seen == 10
                }
                GzipStep::ExtraLength => {
                    self.extra |= usize::from(byte) << (8 * (self.seen - 1));
                    self.seen == 2
                }
                GzipStep::Extra => self.seen == self.extra,
                GzipStep::Name | GzipStep::Comment => byte == 0,
                GzipStep::Checksum => self.seen == 2,
                GzipStep::Done => true,
            };
            if ended {
                self.advance();
            }
        }
        Some(true)
    }

    fn is_absent(&self) -> bool {
        match self.step {
            GzipStep::ExtraLength => self.flags & Self::FEXTRA == 0,
            GzipStep::Extra => self.extra == 0,
            GzipStep::Name => self.flags & Self::FNAME == 0,
            GzipStep::Comment => self.flags & Self::FCOMMENT == 0,
            GzipStep::Checksum => self.flags & Self::FHCRC == 0,
            GzipStep::Fixed | GzipStep::Done => false,
        }
    }

    fn advance(&mut self) {
        self.seen = 0;
        self.step = match self.step {
            GzipStep::Fixed => GzipStep::ExtraLength,
            GzipStep::ExtraLength => GzipStep::Extra,
            GzipStep::Extra => GzipStep::Name,
            GzipStep::Name => GzipStep::Comment,
            GzipStep::Comment => GzipStep::Checksum,
            GzipStep::Checksum | GzipStep::Done => GzipStep::Done,
        };
    }
}

/// The window a brotli stream's first byte asks for, in bits. Source: RFC 7932, 9.1.
fn brotli_window_bits(first: u8) -> u8 {
    match first & 0x7f {
        bits if bits & 0x01 == 0 => 16,
        bits if bits & 0x0e != 0 => 17 + (bits >> 1 & 0x07),
        bits if bits & 0x70 == 0 => 17,
        bits => 8 + (bits >> 4 & 0x07),
    }
}
