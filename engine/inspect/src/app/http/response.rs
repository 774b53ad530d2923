//! The server's half of a connection.
//!
//! ```text
//! Line ─► Headers ─► Body ─► Trailer ─┐
//!  ▲ │       │         │              │
//!  │ └─ Junk │         │              │   junk: a line that is no status line, and so body
//!  └─────────┴─────────┴──────────────┘   the next response
//!            └─ 101, CONNECT 2xx ─► Opaque
//! ```
//! A response belongs to the oldest request without one. Where there is none, a transaction is made for it, so
//! that it is looked at (as in libhtp, its target is [`UNSEEN_TARGET`]).

use super::body::{self, BodyReader, Framing, Status};
use super::coding::Codings;
use super::connection::Settings;
use super::events::HttpEvent;
use super::fields::{self, content_length, framing_value, is_word, Fields};
use super::headers::Headers;
use super::lines::{Endings, Line};
use super::name;
use super::store::Store;
use super::transaction::{Progress, Response, Transaction};
use crate::Direction;

/// The target of a request that nobody saw.
pub(super) const UNSEEN_TARGET: &[u8] = b"/libhtp::request_uri_not_seen";

/// What a response means for the requests behind the one it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Both directions are something else from here on.
    Switched,
    /// A CONNECT or the offer to go on in HTTP/2 was refused: HTTP/1 goes on.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Line,
    Junk,
    Headers,
    /// Behind a header line of one space, which ends the block unless an LF follows.
    SpaceLine,
    Body,
    Trailer,
    Opaque,
    Lost,
}

/// Reads responses.
#[derive(Debug)]
pub(super) struct ResponseReader {
    state: State,
    line: Line,
    fields: Fields,
    /// The body being read, or what bytes that follow a response without one are decoded with.
    body: Option<Box<BodyReader>>,
    /// The transaction whose response is being read.
    current: Option<u64>,
    /// The transaction whose response was read last.
    last: Option<u64>,
    /// The next transaction without a response.
    next: u64,
    /// Bytes of a CR LF that still belong to the header block's end.
    swallow: u8,
    interim_seen: bool,
}

impl ResponseReader {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            state: State::Line,
            line: Line::new(Endings::Loose, settings.field_limit_bytes),
            fields: Fields::default(),
            body: None,
            current: None,
            last: None,
            next: 0,
            swallow: 0,
            interim_seen: false,
        }
    }

    /// Behind responses that nobody saw; the next one that is recognised answers the request `next`.
    pub(super) fn lost(settings: &Settings, next: u64) -> Self {
        Self {
            state: State::Lost,
            next,
            ..Self::new(settings)
        }
    }

    /// Reads on until `input` is empty or something happens that concerns the other direction.
    pub(super) fn feed(
        &mut self,
        input: &mut &[u8],
        store: &mut Store,
        settings: &Settings,
    ) -> Option<Effect> {
        while !input.is_empty() {
            if self.swallow > 0 {
                self.swallow_line_end(input);
                continue;
            }
            match self.state {
                State::Opaque => return None,
                State::Lost if is_status_line(input) == Some(true) => self.state = State::Line,
                State::Lost => return None,
                State::Line => self.read_line(input, store, settings),
                State::Junk => self.read_junk(input, store, settings),
                State::Headers | State::Trailer => {
                    if !self.line.read(input) {
                        return None;
                    }
                    if self.line.raw() == b"\n" && input.first() == Some(&b'\r') {
                        // LF CR is one end of a line, and a line of nothing else does not end the block.
                        *input = &input[1..];
                        self.add_header_line(store, settings);
                        continue;
                    }
                    if let Some(effect) = self.header_line(input, store, settings) {
                        return Some(effect);
                    }
                }
                State::SpaceLine => {
                    // A line end behind it, or the second half of its own: then it goes on.
                    let folded = matches!(input[0], b'\n' | b'\r');
                    self.add_header_line(store, settings);
                    self.state = State::Headers;
                    if !folded {
                        if let Some(effect) = self.end_block(input, store, settings) {
                            return Some(effect);
                        }
                    }
                }
                State::Body => self.read_body(input, store),
            }
        }
        None
    }

    fn swallow_line_end(&mut self, input: &mut &[u8]) {
        let expected = if self.swallow == 2 { b'\r' } else { b'\n' };
        self.swallow = if input[0] == expected {
            self.swallow - 1
        } else {
            0
        };
        if input[0] == expected {
            *input = &input[1..];
        }
    }

    fn read_line(&mut self, input: &mut &[u8], store: &mut Store, settings: &Settings) {
        let whole = self.line.read_status(input);
        let text = if whole {
            self.line.text()
        } else {
            self.line.pending()
        };
        // Among bytes that are decoded none is blank.
        if whole && text.is_empty() && self.body.is_none() {
            return;
        }
        let overlong = self.line.is_overlong();
        match is_status_line(text) {
            Some(true) if whole => self.end_line(store),
            Some(true) => {}
            None if !whole && !overlong => {}
            _ => {
                self.state = if whole { State::Line } else { State::Junk };
                self.begin_junk(store, settings);
                self.line.reset();
            }
        }
    }

    /// Bytes that are no status line: all of an HTTP/0.9 response, or junk.
    fn begin_junk(&mut self, store: &mut Store, settings: &Settings) {
        if self.current.is_none() && self.answers_simple(store) {
            self.take_next(store);
            self.state = State::Body;
            self.body = Some(Box::new(BodyReader::new(Framing::UntilClose, None)));
            if let Some(transaction) = self.current.and_then(|id| store.get_mut(id)) {
                name::name_response(transaction);
            }
        } else {
            self.choose_for_junk(store);
        }
        self.junk_bytes(store, settings);
    }

    /// Whether the next response answers an HTTP/0.9 request, and so has neither status line nor headers.
    fn answers_simple(&self, store: &Store) -> bool {
        let request = store.get(self.next).map(|transaction| &transaction.request);
        request.is_some_and(|request| {
            request.protocol.is_empty() && request.progress == Progress::Complete
        })
    }

    /// Begins the response to the oldest request without one, or to one nobody saw.
    fn take_next(&mut self, store: &mut Store) {
        self.interim_seen = false;
        self.body = None;
        if self.next < store.next_id() {
            self.current = Some(self.next);
            self.next += 1;
            return;
        }
        let Some(transaction) = store.open_next() else {
            self.state = State::Opaque;
            return;
        };
        transaction
            .events
            .raise(HttpEvent::UnableToMatchResponseToRequest);
        transaction.request.uri_raw = UNSEEN_TARGET.to_vec();
        transaction.request.uri = UNSEEN_TARGET.to_vec();
        transaction.request.progress = Progress::Complete;
        self.current = Some(transaction.head.id);
        self.next = transaction.head.id + 1;
    }

    /// A whole status line, or what the stream's end left of one.
    fn end_line(&mut self, store: &mut Store) {
        if self.current.is_none() {
            self.take_next(store);
        }
        let Some(transaction) = self.current.and_then(|id| store.change(id)) else {
            return;
        };
        if self.line.is_overlong() {
            transaction.events.raise(HttpEvent::ResponseFieldTooLong);
        }
        if self.interim_seen {
            // Signatures that the interim response's line did not fire see this one too.
            transaction.head.detect.restart_side(Direction::ToClient);
        }
        parse_line(self.line.text(), transaction);
        self.state = State::Headers;
    }

    /// Junk belongs to the response it follows while that one is there, else to the next one.
    fn choose_for_junk(&mut self, store: &mut Store) {
        if self.current.is_some() {
            return;
        }
        let last = self.last.filter(|&id| store.get(id).is_some());
        match last {
            Some(id) => {
                self.current = Some(id);
                self.last = None;
            }
            None => self.take_next(store),
        }
    }

    fn junk_bytes(&mut self, store: &mut Store, settings: &Settings) {
        let bytes = self.line.raw();
        let Some(transaction) = self.current.and_then(|id| store.change(id)) else {
            return;
        };
        add_unframed(transaction, bytes, &mut self.body, settings);
        self.leave_finished(store);
    }

    fn read_junk(&mut self, input: &mut &[u8], store: &mut Store, settings: &Settings) {
        let end = memchr::memchr(b'\n', input).map_or(input.len(), |at| at + 1);
        let (junk, rest) = input.split_at(end);
        *input = rest;
        if self.current.is_none() {
            self.choose_for_junk(store);
        }
        if let Some(transaction) = self.current.and_then(|id| store.change(id)) {
            add_unframed(transaction, junk, &mut self.body, settings);
        }
        if junk.ends_with(b"\n") {
            self.state = State::Line;
        }
        self.leave_finished(store);
    }

    /// After junk behind a complete response, the next status line is the next response's.
    fn leave_finished(&mut self, store: &Store) {
        let finished = |id: &u64| {
            store
                .get(*id)
                .is_some_and(|tx| tx.response.progress == Progress::Complete)
        };
        if let Some(id) = self.current.filter(finished) {
            self.current = None;
            self.last = Some(id);
        }
    }

    fn header_line(
        &mut self,
        behind: &[u8],
        store: &mut Store,
        settings: &Settings,
    ) -> Option<Effect> {
        if self.state == State::Headers && self.line.is_single_space() {
            self.state = State::SpaceLine;
            return None;
        }
        let ended = self.line.is_empty();
        self.add_header_line(store, settings);
        if !ended {
            return None;
        }
        if self.line.swallows_next_crlf() {
            self.swallow = 2;
        }
        self.end_block(behind, store, settings)
    }

    fn add_header_line(&mut self, store: &mut Store, settings: &Settings) {
        let Some(transaction) = self.current.and_then(|id| store.change(id)) else {
            return;
        };
        let trailer = self.state == State::Trailer;
        if self.line.is_overlong() {
            transaction.events.raise(HttpEvent::ResponseFieldTooLong);
        }
        if self.line.is_empty() {
            headers_of(&mut transaction.response, trailer)
                .raw
                .extend_from_slice(self.line.raw());
            return;
        }
        self.fields.add_line(
            self.line.text(),
            self.line.raw(),
            &mut target(transaction, trailer, settings),
        );
    }

    /// The end of a header block; `behind` are the bytes after it that are there already.
    fn end_block(
        &mut self,
        behind: &[u8],
        store: &mut Store,
        settings: &Settings,
    ) -> Option<Effect> {
        self.line.reset();
        let Some(transaction) = self.current.and_then(|id| store.change(id)) else {
            self.state = State::Opaque;
            return None;
        };
        let trailer = self.state == State::Trailer;
        self.fields
            .finish(&mut target(transaction, trailer, settings));
        if trailer {
            transaction.end_trailers(Direction::ToClient);
            self.complete(transaction);
            return None;
        }
        let response = &mut transaction.response;
        response.progress = response.progress.max(Progress::Headers);
        let status = status_code(&response.status);
        let framed = ["content-length", "transfer-encoding"]
            .iter()
            .any(|name| framing_value(&response.headers, name).is_some());
        if transaction.request.method == b"CONNECT" {
            return Some(self.answer_connect(status, transaction, settings));
        }
        match status {
            Some(101) if !framed => {
                self.complete(transaction);
                self.state = State::Opaque;
                return Some(Effect::Switched);
            }
            Some(100 | 102..=199) if !framed => {
                self.forget_interim(transaction);
                return None;
            }
            _ => {}
        }
        let bodiless = matches!(status, Some(100..=199 | 204 | 304));
        let empty = transaction.request.method == b"HEAD"
            || (bodiless
                && (!framed || behind.is_empty() || is_status_line(behind) != Some(false)));
        let refused = transaction.request.asks_for_http2();
        if empty {
            self.complete(transaction);
        } else {
            self.begin_body(transaction, settings);
        }
        refused.then_some(Effect::Refused)
    }

    /// Forgets an interim response but for its status line: the real one follows.
    fn forget_interim(&mut self, transaction: &mut Transaction) {
        if self.interim_seen {
            transaction.events.raise(HttpEvent::ContinueAlreadySeen);
        }
        self.interim_seen = true;
        let response = &mut transaction.response;
        response.headers = Headers::default();
        response.progress = Progress::Line;
        self.state = State::Line;
    }

    fn answer_connect(
        &mut self,
        status: Option<u16>,
        transaction: &mut Transaction,
        settings: &Settings,
    ) -> Effect {
        if matches!(status, Some(200..=299)) {
            self.complete(transaction);
            self.state = State::Opaque;
            return Effect::Switched;
        }
        self.begin_body(transaction, settings);
        Effect::Refused
    }

    fn begin_body(&mut self, transaction: &mut Transaction, settings: &Settings) {
        match body_of(transaction, settings) {
            None => self.complete(transaction),
            Some(body) => {
                name::name_response(transaction);
                transaction.response.progress =
                    transaction.response.progress.max(Progress::Headers);
                self.body = Some(Box::new(body));
                self.state = State::Body;
            }
        }
    }

    fn complete(&mut self, transaction: &mut Transaction) {
        transaction.response.progress = Progress::Complete;
        self.last = self.current.take();
        self.body = None;
        self.line.release();
        self.state = State::Line;
    }

    fn read_body(&mut self, input: &mut &[u8], store: &mut Store) {
        let transaction = self.current.and_then(|id| store.change(id));
        let (Some(reader), Some(transaction)) = (&mut self.body, transaction) else {
            self.state = State::Opaque;
            return;
        };
        transaction.response.progress = transaction.response.progress.max(Progress::Body);
        let status = reader.read(input, &mut body_target(transaction));
        self.after_body(status, transaction);
    }

    fn after_body(&mut self, status: Status, transaction: &mut Transaction) {
        match status {
            Status::More => {}
            Status::Complete => self.complete(transaction),
            Status::Trailers => {
                transaction.response.progress = Progress::Trailer;
                self.line.reset();
                self.state = State::Trailer;
            }
        }
    }

    /// Skips bytes that were never seen.
    pub(super) fn gap(&mut self, len: u64, store: &mut Store) {
        let mut left = len;
        if self.state == State::Body {
            let transaction = self.current.and_then(|id| store.change(id));
            if let (Some(reader), Some(transaction)) = (&mut self.body, transaction) {
                let (behind, status) = reader.gap(len, &mut body_target(transaction));
                self.after_body(status, transaction);
                left = behind;
            }
        }
        if left > 0 && self.state != State::Opaque {
            if let Some(transaction) = self.current.or(self.last).and_then(|id| store.change(id)) {
                transaction.events.raise(HttpEvent::LostInGap);
                transaction.response.body.end(false);
                transaction.response.progress = Progress::Complete;
            }
            self.forget();
            self.state = State::Lost;
        }
    }

    /// Ends whatever is half-read, and says that no open request gets an answer any more.
    pub(super) fn close(&mut self, store: &mut Store, settings: &Settings) -> Option<Effect> {
        let mut effect = None;
        match self.state {
            State::Line
                if self
                    .line
                    .pending()
                    .iter()
                    .any(|byte| !byte.is_ascii_whitespace()) =>
            {
                if is_status_line(self.line.pending()) == Some(true) {
                    self.end_line(store);
                } else {
                    self.begin_junk(store, settings);
                }
            }
            State::Headers | State::Trailer | State::SpaceLine => {
                if self.line.pending_len() > 0 {
                    self.add_header_line(store, settings);
                }
                effect = self.end_block(&[], store, settings);
                self.finish_body(store);
            }
            State::Body => self.finish_body(store),
            State::Line | State::Junk | State::Opaque | State::Lost => {}
        }
        let unanswered: Vec<u64> = store
            .open
            .iter()
            .filter(|tx| tx.response.progress != Progress::Complete)
            .map(|tx| tx.head.id)
            .collect();
        for id in unanswered {
            if let Some(transaction) = store.change(id) {
                transaction.response.progress = Progress::Complete;
            }
        }
        self.make_opaque();
        effect
    }

    fn finish_body(&mut self, store: &mut Store) {
        let transaction = self.current.and_then(|id| store.change(id));
        if let (Some(reader), Some(transaction)) = (&mut self.body, transaction) {
            reader.finish(&mut body_target(transaction));
        }
    }

    fn forget(&mut self) {
        self.line.reset();
        self.fields = Fields::default();
        self.body = None;
        self.current = None;
        self.swallow = 0;
    }

    /// Reads no further.
    pub(super) fn make_opaque(&mut self) {
        self.forget();
        self.state = State::Opaque;
    }

    /// The transaction whose response was read last.
    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.state == State::Opaque
    }

    pub(super) fn skippable(&self, store: &Store) -> u64 {
        if self.state == State::Opaque {
            return u64::MAX;
        }
        match (
            self.state,
            &self.body,
            self.current.and_then(|id| store.get(id)),
        ) {
            (State::Body, Some(reader), Some(transaction)) => {
                reader.skippable(&transaction.response.body)
            }
            _ => 0,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let body = self
            .body
            .as_ref()
            .map_or(0, |body| size_of::<BodyReader>() + body.heap_bytes());
        self.line.heap_bytes() + self.fields.heap_bytes() + body
    }
}

/// Body bytes that no framing announced. Behind a response that has no body they are coded as one would be.
fn add_unframed(
    transaction: &mut Transaction,
    bytes: &[u8],
    reader: &mut Option<Box<BodyReader>>,
    settings: &Settings,
) {
    if reader.is_none() && transaction.response.body.coded == 0 {
        let codings = codings_of(transaction, settings);
        let coded = |it| Box::new(BodyReader::new(Framing::UntilClose, Some(it)));
        *reader = codings.map(coded);
    }
    let Transaction {
        response, events, ..
    } = &mut *transaction;
    let mut add = |piece: &[u8]| {
        response.body.add_unframed(piece);
        response.body.file.wants_more()
    };
    // Whether more is wanted is asked again with the next bytes.
    let _more = match reader.as_mut().and_then(|it| it.codings_mut()) {
        Some(codings) => codings.push(bytes, events, &mut add).is_ok(),
        None => add(bytes),
    };
    transaction.response.progress = transaction.response.progress.max(Progress::Body);
}

fn headers_of(response: &mut Response, trailer: bool) -> &mut super::headers::Headers {
    if trailer {
        &mut response.trailers
    } else {
        &mut response.headers
    }
}

fn target<'a>(
    transaction: &'a mut Transaction,
    trailer: bool,
    settings: &Settings,
) -> fields::Target<'a> {
    let http_1_1 = transaction
        .response
        .protocol
        .eq_ignore_ascii_case(b"HTTP/1.1");
    fields::Target {
        side: fields::Side::Response { http_1_1 },
        headers: headers_of(&mut transaction.response, trailer),
        events: &mut transaction.events,
        ambiguous: &mut transaction.ambiguous,
        max_fields: settings.header_fields,
        max_field_bytes: settings.field_limit_bytes,
        max_block_bytes: settings.header_block_bytes,
    }
}

fn body_target(transaction: &mut Transaction) -> body::Target<'_> {
    body::Target {
        body: &mut transaction.response.body,
        events: &mut transaction.events,
        is_request: false,
    }
}

/// Whether bytes begin, behind white space and NULs, with `http` in any case, as browsers ask of a status line;
/// `None` if there are too few to say.
pub(super) fn is_status_line(bytes: &[u8]) -> Option<bool> {
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, 0 | b' ' | b'\t' | 0x0b | 0x0c | b'\r' | b'\n'))?;
    let word = &bytes[start..bytes.len().min(start + 4)];
    if !b"http"[..word.len()].eq_ignore_ascii_case(word) {
        return Some(false);
    }
    (word.len() == 4).then_some(true)
}

/// Takes `HTTP/1.1 200 OK` apart. Source: libhtp.
fn parse_line(text: &[u8], transaction: &mut Transaction) {
    let Transaction {
        response, events, ..
    } = transaction;
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r' | b'\n');
    let word = |from: usize| {
        let start = text[from..]
            .iter()
            .position(|byte| !is_space(byte))
            .map_or(text.len(), |at| from + at);
        let end = text[start..]
            .iter()
            .position(is_space)
            .map_or(text.len(), |at| start + at);
        start..end
    };
    let protocol = word(0);
    let status = word(protocol.end);
    let reason = word(status.end);
    response.line = text.to_vec();
    response.protocol = text[protocol].to_vec();
    response.status = text[status].to_vec();
    response.reason = text[reason.start..].to_vec();
    response.progress = response.progress.max(Progress::Line);
    if !is_protocol(&response.protocol) {
        events.raise(HttpEvent::ResponseInvalidProtocol);
    }
    if status_code(&response.status).is_none() {
        events.raise(HttpEvent::ResponseInvalidStatus);
    }
}

fn is_protocol(text: &[u8]) -> bool {
    ["HTTP/0.9", "HTTP/1.0", "HTTP/1.1"]
        .iter()
        .any(|known| text.eq_ignore_ascii_case(known.as_bytes()))
}

fn status_code(text: &[u8]) -> Option<u16> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()?;
    (100..=999).contains(&number).then_some(number)
}

/// What the body is coded with.
fn codings_of(transaction: &mut Transaction, settings: &Settings) -> Option<Codings> {
    let encoding = framing_value(&transaction.response.headers, "content-encoding");
    body::codings(encoding.as_deref(), settings, &mut transaction.events)
}

/// How the body is read; `None` if it is empty.
///
/// As for requests, and as browsers do: `chunked` counts wherever it stands in Transfer-Encoding and whatever
/// the protocol; what cannot be understood is read to the connection's end.
fn body_of(transaction: &mut Transaction, settings: &Settings) -> Option<BodyReader> {
    let codings = codings_of(transaction, settings);
    let Transaction {
        response, events, ..
    } = transaction;
    let headers = &response.headers;
    if let Some(transfer) = framing_value(headers, "transfer-encoding") {
        if transfer
            .to_ascii_lowercase()
            .windows(7)
            .any(|window| window == b"chunked")
        {
            if !is_word(&transfer, "chunked") {
                events.raise(HttpEvent::ResponseAbnormalTransferEncoding);
            }
            if !response.protocol.eq_ignore_ascii_case(b"HTTP/1.1") {
                events.raise(HttpEvent::ResponseChunkedOldProto);
            }
            return Some(BodyReader::chunked(codings));
        }
    }
    let mut lengths = headers
        .fields()
        .iter()
        .filter(|field| is_word(&field.name, "content-length"));
    let Some(first) = lengths.next() else {
        let kind = headers
            .first("content-type")
            .unwrap_or_default()
            .to_ascii_lowercase();
        if kind
            .windows(20)
            .any(|window| window == b"multipart/byteranges")
        {
            events.raise(HttpEvent::ResponseMultipartByteranges);
        }
        return Some(BodyReader::new(Framing::UntilClose, codings));
    };
    let length = content_length(&first.value);
    if lengths.any(|field| content_length(&field.value) != length) {
        events.raise(HttpEvent::DuplicateContentLengthFieldInResponse);
    }
    let framing = match length {
        Some(0) => return None,
        Some(length) => Framing::Length(length),
        None => {
            events.raise(HttpEvent::InvalidContentLengthFieldInResponse);
            Framing::UntilClose
        }
    };
    Some(BodyReader::new(framing, codings))
}
