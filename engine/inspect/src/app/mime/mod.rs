//! MIME messages, line by line as they arrive: their parts, decoded, as files.
//!
//! A message is an entity: header fields, an empty line, a body. A multipart's body is entities between
//! boundary lines; a message/rfc822's body is a message. `open` holds the boundaries of the multiparts around
//! the entity that is being read, so depth costs a boundary, not a parser.
//!
//! ```text
//!            field lines          body lines (decoded, to the entity's file)
//!            ┌──────┐             ┌──────┐
//!            ▼      │ empty line  ▼      │   "--boundary--"
//!  start ─► Fields ─┴──────────► Body ───┴──────────────► Epilogue
//!            ▲                    │ "--boundary"            │ "--boundary" of a multipart around it
//!            └────────────────────┴─────────────────────────┘
//! ```
//! Sources: RFC 5322, RFC 2045, RFC 2046, 5.1.
mod header;
mod transfer;
mod url;

use smallvec::SmallVec;

use super::file::{File, FileSettings, FileState};
use super::lines::Line;
pub(in crate::app) use header::parameter;
use header::Parameter;
use transfer::Transfer;
pub use url::Urls;

/// Multiparts within one another that are followed.
const MAX_DEPTH: usize = 32;
/// Bytes of a boundary. Longer ones are legal nowhere (RFC 2046, 5.1.1 allows 70).
const MAX_BOUNDARY_BYTES: usize = 254;
/// Bytes of a header field that are read. Suricata reads [`LONG_VALUE_BYTES`].
const MAX_FIELD_BYTES: usize = 8192;
/// Files of a message that are kept.
const MAX_FILES: usize = 256;
/// Bytes of a message's files that are kept, so that many small ones cost no more than one large one.
const MAX_KEPT_BYTES: usize = 4 << 20;

/// A field's value that is longer is said to be, and shown in part. Suricata's default.
const LONG_VALUE_BYTES: usize = 2000;
/// A field's name that is longer is said to be. Suricata's.
const LONG_NAME_BYTES: usize = 75;
/// A line that is longer is said to be. Source: RFC 5322, 2.1.1.
const LONG_LINE_BYTES: usize = 998;
/// A line of an encoded body that is longer is said to be. Source: RFC 2045, 6.7 and 6.8.
const LONG_ENCODED_BYTES: usize = 76;

/// What of a message's own header is shown.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// `From`.
    pub from: Option<Vec<u8>>,
    /// `To`.
    pub to: Option<Vec<u8>>,
    /// `Cc`.
    pub cc: Option<Vec<u8>>,
}

/// How far a message was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between fields, none seen yet.
    #[default]
    Ready,
    /// Within the header.
    Fields,
    /// The header is over, nothing of the body seen.
    HeaderDone,
    /// In the body.
    Body,
    /// Behind a multipart's last boundary.
    Epilogue,
    /// Over.
    Done,
    /// What follows cannot be read.
    Failed,
}

/// The entity that is being read.
#[derive(Debug, Default)]
struct Entity {
    transfer: Transfer,
    /// Index of the file that its body is.
    file: Option<usize>,
    /// Its body is text.
    is_text: bool,
    /// It is a multipart, and no part of it has begun.
    preamble: bool,
    field: Field,
    content_type: Vec<u8>,
    disposition: Vec<u8>,
}

/// A multipart that is open.
#[derive(Debug)]
struct Multipart {
    boundary: Vec<u8>,
    /// How deep its parts are.
    level: usize,
}

/// The field that is being read.
#[derive(Debug, Default)]
struct Field {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// One message.
#[derive(Debug, Default)]
pub struct Message {
    state: State,
    entity: Entity,
    /// The multiparts around the entity, outermost first.
    open: Vec<Multipart>,
    /// How deep the entity is: 0 the message itself, 1 its parts, …
    level: usize,
    fields: Fields,
    urls: Urls,
    files: Vec<File>,
    /// Those that are direct parts of the message.
    attachments: Vec<usize>,
    /// The end of a line of a body that is not encoded: it belongs to a boundary that follows.
    line_end: SmallVec<[u8; 2]>,
    kept: usize,
    settings: FileSettings,
    decoded: Vec<u8>,
    events: SmallVec<[&'static str; 2]>,
    blind: bool,
}

impl Message {
    /// A message of which nothing was read.
    pub fn new(settings: FileSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Reads a line, or a piece of one.
    pub fn line(&mut self, line: Line<'_>) {
        if line.bytes.len() > LONG_LINE_BYTES {
            self.raise("mime_long_line");
        }
        match self.state {
            State::Ready | State::Fields => self.header_line(line),
            State::HeaderDone | State::Body | State::Epilogue => self.body_line(line),
            State::Done | State::Failed => {}
        }
    }

    /// Ends the message.
    pub fn finish(&mut self) {
        if matches!(self.state, State::Done | State::Failed) {
            return;
        }
        if matches!(self.state, State::Ready | State::Fields) {
            self.end_field();
        }
        self.end_body(FileState::Closed);
        if !self.open.is_empty() {
            self.raise("mime_malformed_msg");
        }
        self.state = State::Done;
    }

    /// Bytes of it were lost.
    pub fn lose(&mut self) {
        if !matches!(self.state, State::Done | State::Failed) {
            self.end_body(FileState::Truncated);
        }
    }

    /// What of its header is shown.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// URLs in its text.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// Names of the files that are direct parts of it.
    pub fn attachments(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let files = self.attachments.iter().filter_map(|at| self.files.get(*at));
        files.map(|file| &file.name[..])
    }

    /// All files in it.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// What is odd about it, as Suricata's `smtp` events are named, each once.
    pub fn take_events(&mut self) -> SmallVec<[&'static str; 2]> {
        std::mem::take(&mut self.events)
    }

    /// It has more parts, or deeper ones, than are looked into.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// Whether anything of it was read.
    pub fn has_begun(&self) -> bool {
        self.state != State::Ready || self.level > 0
    }

    /// Whether fields are being read.
    pub fn in_header(&self) -> bool {
        matches!(self.state, State::Ready | State::Fields)
    }

    /// How far it was read, in Suricata's words.
    pub fn status(&self) -> &'static str {
        match self.state {
            State::Ready => "HEADER_READY",
            State::Fields => "HEADER_STARTED",
            State::HeaderDone => "HEADER_DONE",
            State::Body => "BODY_STARTED",
            State::Epilogue => "BODY_END_BOUND",
            State::Done => "PARSE_DONE",
            State::Failed => "PARSE_ERROR",
        }
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        let files: usize = self.files.iter().map(File::heap_bytes).sum();
        files
            + self.files.len() * size_of::<File>()
            + self.open.len() * MAX_BOUNDARY_BYTES
            + self.entity.field.value.capacity()
            + self.decoded.capacity()
            + self.urls.heap_bytes()
            + 2 * LONG_VALUE_BYTES
    }

    fn raise(&mut self, event: &'static str) {
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }

    fn header_line(&mut self, line: Line<'_>) {
        if !line.begins {
            return self.add_to_field(line.bytes);
        }
        if line.bytes.is_empty() {
            self.end_field();
            return self.end_header();
        }
        match field_name(line.bytes) {
            Some(name) => {
                self.end_field();
                if name.len() > LONG_NAME_BYTES {
                    self.raise("mime_long_header_name");
                }
                self.entity.field.name = name.to_ascii_lowercase();
                self.state = State::Fields;
                self.add_to_field(line.bytes[name.len() + 1..].trim_ascii_start());
            }
            // Folded (RFC 5322, 2.2.3); what is no field at all is read as if it were, as Suricata does.
            None if self.state == State::Fields => self.add_to_field(line.bytes),
            // No header at all.
            None => {
                self.state = State::HeaderDone;
                self.body_line(line);
            }
        }
    }

    fn add_to_field(&mut self, bytes: &[u8]) {
        let value = &mut self.entity.field.value;
        let room = MAX_FIELD_BYTES.saturating_sub(value.len());
        value.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if value.len() > LONG_VALUE_BYTES {
            self.raise("mime_long_header_value");
        }
    }

    fn end_field(&mut self) {
        let Field { name, mut value } = std::mem::take(&mut self.entity.field);
        let shown = match &name[..] {
            b"content-type" => {
                self.entity.content_type = value;
                return;
            }
            b"content-disposition" => {
                self.entity.disposition = value;
                return;
            }
            b"content-transfer-encoding" => {
                self.entity.transfer = Transfer::named(&value);
                return;
            }
            b"from" => &mut self.fields.from,
            b"to" => &mut self.fields.to,
            b"cc" => &mut self.fields.cc,
            _ => return,
        };
        value.truncate(LONG_VALUE_BYTES);
        if self.level == 0 && shown.is_none() {
            *shown = Some(value);
        }
    }

    /// The empty line: what the body will be.
    fn end_header(&mut self) {
        self.state = State::HeaderDone;
        let content_type = std::mem::take(&mut self.entity.content_type);
        let disposition = std::mem::take(&mut self.entity.disposition);
        let kind = header::first_word(&content_type).to_ascii_lowercase();
        self.entity.is_text = kind.is_empty() || kind.starts_with(b"text/");
        if let Some(name) =
            parameter(&disposition, "filename").or_else(|| parameter(&content_type, "name"))
        {
            self.open_file(name);
        }
        if let Some(boundary) = parameter(&content_type, "boundary") {
            self.open_multipart(boundary);
        } else if kind.starts_with(b"message/rfc822") {
            self.begin_entity(self.level + 1);
        }
    }

    fn open_multipart(&mut self, boundary: Parameter) {
        let long = boundary.value.len() > MAX_BOUNDARY_BYTES || boundary.cut;
        if long {
            self.raise("mime_long_boundary");
            self.raise("mime_parse_failed");
            self.state = State::Failed;
            self.blind = true;
        } else if self.open.len() >= MAX_DEPTH {
            self.blind = true;
        } else {
            self.open.push(Multipart {
                boundary: boundary.value,
                level: self.level + 1,
            });
            self.entity.preamble = true;
            self.entity.is_text = false;
        }
    }

    fn open_file(&mut self, name: Parameter) {
        if name.cut {
            self.raise("mime_long_filename");
        }
        if self.files.len() >= MAX_FILES {
            self.blind = true;
            return;
        }
        self.entity.file = Some(self.files.len());
        if self.level == 1 {
            self.attachments.push(self.files.len());
        }
        self.files.push(File::open(&name.value, &self.settings));
    }

    fn begin_entity(&mut self, level: usize) {
        self.entity = Entity::default();
        self.level = level;
        self.state = State::Ready;
    }

    fn body_line(&mut self, line: Line<'_>) {
        if line.begins && line.bytes.starts_with(b"--") {
            if let Some((level, last)) = self.boundary(&line.bytes[2..]) {
                return self.cross_boundary(level, last);
            }
        }
        if self.state == State::Epilogue {
            return;
        }
        let encoded = self.entity.transfer != Transfer::Identity;
        if encoded && self.state == State::HeaderDone && line.bytes.is_empty() {
            return;
        }
        self.state = State::Body;
        if encoded && line.bytes.len() > LONG_ENCODED_BYTES {
            self.raise("mime_long_enc_line");
        }
        if self.entity.preamble || self.entity.file.is_none() && !self.entity.is_text {
            return;
        }
        self.decoded.clear();
        self.decoded.extend_from_slice(&self.line_end);
        self.line_end.clear();
        let end = if encoded {
            line.end
        } else {
            self.line_end.extend_from_slice(line.end);
            &[]
        };
        let fine = self
            .entity
            .transfer
            .decode(line.bytes, end, &mut self.decoded);
        if !fine {
            self.malformed_body();
        }
        self.show();
    }

    fn malformed_body(&mut self) {
        self.raise(match self.entity.transfer {
            Transfer::Base64(_) => "mime_invalid_base64",
            _ => "mime_invalid_qp",
        });
    }

    /// Gives the decoded bytes to the entity's file, or looks for URLs in them.
    fn show(&mut self) {
        let Some(file) = self.entity.file.and_then(|at| self.files.get_mut(at)) else {
            // Suricata lists those of the message and of its direct parts.
            if self.level <= 1 {
                self.urls.read(&self.decoded);
            }
            return;
        };
        let before = file.bytes.len();
        file.append_keeping(&self.decoded, MAX_KEPT_BYTES.saturating_sub(self.kept));
        self.kept += file.bytes.len() - before;
    }

    /// Which open multipart's boundary follows the dashes, and whether it is its last.
    ///
    /// A receiver takes an outer boundary for the end of all within (RFC 2046, 5.1.2). One that only begins
    /// the line counts where none is all of it.
    fn boundary(&self, text: &[u8]) -> Option<(usize, bool)> {
        let text = text.trim_ascii_end();
        let tail = |open: &Multipart| text.strip_prefix(&open.boundary[..]);
        let exact = |open: &Multipart| matches!(tail(open), Some(b"" | b"--"));
        let level = (self.open.iter().rposition(exact))
            .or_else(|| self.open.iter().rposition(|open| tail(open).is_some()))?;
        Some((level, tail(&self.open[level])?.starts_with(b"--")))
    }

    fn cross_boundary(&mut self, level: usize, last: bool) {
        self.end_body(FileState::Closed);
        self.begin_entity(self.open[level].level);
        self.open.truncate(level + usize::from(!last));
        if last {
            self.state = State::Epilogue;
        }
    }

    fn end_body(&mut self, state: FileState) {
        self.decoded.clear();
        self.line_end.clear();
        if !self.entity.transfer.finish(&mut self.decoded) {
            self.malformed_body();
        }
        if self.entity.file.is_some() || self.entity.is_text {
            self.show();
        }
        self.urls.end_part(self.level == 0);
        if let Some(file) = self
            .entity
            .file
            .take()
            .and_then(|at| self.files.get_mut(at))
        {
            match state {
                FileState::Closed => file.close(),
                _ => file.truncate(),
            }
        }
    }
}

/// The name of the field that a line begins.
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b':', line)?;
    // Blanks may stand before the colon (RFC 5322, 4.5).
    let name = line[..end].trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(name)
}

#[cfg(test)]
mod tests;
