//! The client's half of a connection.
//!
//! ```text
//! Line ─► Headers ─► Body ─► Trailer ─┐
//!  ▲ │       │         │              │
//!  └─┴───────┴─────────┴──────────────┘   the next request
//!            └─ CONNECT ─► Held ─► Opaque (2xx) or Line (refused)
//! ```
//! HTTP/2's preface behind a request that offered it is held likewise, until a 101 or another answer.
//! `Lost` is entered by a gap outside a body, and left when bytes look like a request again.

use super::ambiguity;
use super::body::{self, BodyReader, Framing, Status};
use super::connection::Settings;
use super::events::HttpEvent;
use super::fields::{self, content_length, framing_value, is_word, Fields};
use super::lines::{Endings, Line};
use super::multipart::Multipart;
use super::name;
use super::store::Store;
use super::transaction::{Progress, Request, Transaction};
use super::uri;
use crate::app::http2::frame::PREFACE;
use crate::Direction;

/// Bytes of white space that may follow an HTTP/0.9 request (libhtp's figure).
const SIMPLE_REQUEST_JUNK: usize = 16;

/// Methods that make a line a request although it names no protocol. Source: libhtp.
const METHODS: &[&[u8]] = &[
    b"GET",
    b"PUT",
    b"POST",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"VERSION_CONTROL",
    b"CHECKOUT",
    b"UNCHECKOUT",
    b"CHECKIN",
    b"UPDATE",
    b"LABEL",
    b"REPORT",
    b"MKWORKSPACE",
    b"MKACTIVITY",
    b"BASELINE_CONTROL",
    b"MERGE",
    b"INVALID",
    b"HEAD",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Line,
    Headers,
    Body,
    Trailer,
    Held,
    Opaque,
    Lost,
}

/// Reads requests.
#[derive(Debug)]
pub(super) struct RequestReader {
    state: State,
    line: Line,
    fields: Fields,
    body: Option<Box<BodyReader>>,
    /// The request being read, or the last one.
    current: u64,
    /// Bytes behind a CONNECT, or an offer of HTTP/2, whose answer is awaited.
    held: Vec<u8>,
}

impl RequestReader {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            state: State::Line,
            line: Line::new(Endings::Strict, settings.field_limit_bytes),
            fields: Fields::default(),
            body: None,
            current: 0,
            held: Vec::new(),
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], store: &mut Store, settings: &Settings) {
        let mut input = bytes;
        while !input.is_empty() {
            match self.state {
                State::Opaque => return,
                State::Lost if looks_like_request(input) => self.state = State::Line,
                State::Lost => return,
                State::Held => {
                    let room = settings.field_limit_bytes.saturating_sub(self.held.len());
                    self.held.extend_from_slice(&input[..input.len().min(room)]);
                    return;
                }
                State::Line => {
                    if !self.line.read(&mut input) {
                        return;
                    }
                    self.end_line(input, store);
                }
                State::Headers | State::Trailer => {
                    if !self.line.read(&mut input) {
                        return;
                    }
                    let ended = self.line.is_empty();
                    self.add_header_line(store, settings);
                    if ended {
                        self.end_block(store, settings);
                    }
                }
                State::Body => self.read_body(&mut input, store),
            }
        }
    }

    /// A whole first line, or what the stream's end left of one; `behind` are the bytes after it.
    fn end_line(&mut self, behind: &[u8], store: &mut Store) {
        let text = self.line.text();
        if text.is_empty() {
            return;
        }
        if !looks_like_request(text) && !names_protocol(text) && self.is_body_of_last(store) {
            return;
        }
        if PREFACE.starts_with(text) && names_protocol(text) && self.awaits_http2(store) {
            self.held = self.line.raw().to_vec();
            self.state = State::Held;
            return;
        }
        let Some(transaction) = store.open_next() else {
            self.state = State::Opaque;
            return;
        };
        self.current = transaction.head.id;
        if self.line.is_overlong() {
            transaction.events.raise(HttpEvent::RequestFieldTooLong);
        }
        parse_line(self.line.text(), transaction);
        self.state = State::Headers;
        if transaction.request.protocol.is_empty() {
            self.end_simple(behind, transaction);
        }
    }

    /// Whether the last request offered to go on in HTTP/2 and was not answered: what follows may be that.
    fn awaits_http2(&self, store: &Store) -> bool {
        store.get(self.current).is_some_and(|last| {
            last.request.asks_for_http2() && last.response.progress < Progress::Headers
        })
    }

    /// HTTP/0.9, unless something follows that must be headers.
    fn end_simple(&mut self, behind: &[u8], transaction: &mut Transaction) {
        if !METHODS.contains(&transaction.request.method.as_slice()) {
            transaction.events.raise(HttpEvent::RequestLineInvalid);
        }
        if behind.len() > SIMPLE_REQUEST_JUNK || !behind.trim_ascii().is_empty() {
            transaction
                .events
                .raise(HttpEvent::RequestLineMissingProtocol);
            transaction.ambiguous = true;
            return;
        }
        transaction.request.progress = Progress::Complete;
        self.state = State::Line;
    }

    /// Whether the line is taken as body of the request before it: it is no request, and that one has ended.
    fn is_body_of_last(&self, store: &mut Store) -> bool {
        let ended = store
            .get(self.current)
            .is_some_and(|last| last.request.progress == Progress::Complete);
        let Some(last) = ended.then(|| store.change(self.current)).flatten() else {
            return false;
        };
        last.events.raise(HttpEvent::RequestBodyUnexpected);
        last.request.body.add_unframed(self.line.raw());
        true
    }

    fn add_header_line(&mut self, store: &mut Store, settings: &Settings) {
        let Some(transaction) = store.change(self.current) else {
            return;
        };
        let trailer = self.state == State::Trailer;
        if self.line.is_overlong() {
            transaction.events.raise(HttpEvent::RequestFieldTooLong);
        }
        if self.line.is_empty() {
            let headers = headers_of(&mut transaction.request, trailer);
            headers.raw.extend_from_slice(self.line.raw());
            return;
        }
        let mut target = target(transaction, trailer, settings);
        self.fields
            .add_line(self.line.text(), self.line.raw(), &mut target);
    }

    fn end_block(&mut self, store: &mut Store, settings: &Settings) {
        let Some(transaction) = store.change(self.current) else {
            return;
        };
        let trailer = self.state == State::Trailer;
        self.fields
            .finish(&mut target(transaction, trailer, settings));
        if trailer {
            transaction.end_trailers(Direction::ToServer);
            self.complete(transaction);
            return;
        }
        transaction.request.progress = Progress::Headers;
        check_host(transaction);
        check_authorization(transaction);
        // A path is no authority: servers answer `CONNECT /x` as they answer any method, and open no tunnel.
        let request = &transaction.request;
        if request.method == b"CONNECT" && !request.uri_raw.starts_with(b"/") {
            transaction.request.progress = Progress::Complete;
            self.state = State::Held;
            return;
        }
        match body_of(transaction, settings) {
            None => self.complete(transaction),
            Some(body) => {
                name::name_request(transaction);
                begin_form(transaction);
                self.body = Some(Box::new(body));
                self.state = State::Body;
            }
        }
    }

    fn complete(&mut self, transaction: &mut Transaction) {
        transaction.request.progress = Progress::Complete;
        self.body = None;
        self.line.release();
        self.state = State::Line;
    }

    fn read_body(&mut self, input: &mut &[u8], store: &mut Store) {
        let (Some(reader), Some(transaction)) = (&mut self.body, store.change(self.current)) else {
            self.state = State::Line;
            return;
        };
        transaction.request.progress = Progress::Body;
        let status = reader.read(input, &mut body_target(transaction));
        transaction.ambiguous |= reader.is_ambiguous();
        self.after_body(status, transaction);
    }

    fn after_body(&mut self, status: Status, transaction: &mut Transaction) {
        match status {
            Status::More => {}
            Status::Complete => self.complete(transaction),
            Status::Trailers => {
                transaction.request.progress = Progress::Trailer;
                self.state = State::Trailer;
            }
        }
    }

    /// Skips bytes that were never seen.
    pub(super) fn gap(&mut self, len: u64, store: &mut Store) {
        let mut left = len;
        if self.state == State::Body {
            if let (Some(reader), Some(transaction)) = (&mut self.body, store.change(self.current))
            {
                let (behind, status) = reader.gap(len, &mut body_target(transaction));
                self.after_body(status, transaction);
                left = behind;
            }
        }
        if left > 0 && self.state != State::Opaque {
            if let Some(transaction) = store.change(self.current) {
                transaction.events.raise(HttpEvent::LostInGap);
                transaction.request.body.end(false);
                transaction.request.progress = Progress::Complete;
            }
            self.state = State::Lost;
            self.line.reset();
            self.fields = Fields::default();
            self.body = None;
        }
    }

    /// Ends whatever is half-read.
    pub(super) fn close(&mut self, store: &mut Store, settings: &Settings) {
        match self.state {
            State::Line
                if self
                    .line
                    .pending()
                    .iter()
                    .any(|byte| !byte.is_ascii_whitespace()) =>
            {
                self.end_line(&[], store);
                if let Some(transaction) = store.change(self.current) {
                    transaction.events.raise(HttpEvent::RequestLineIncomplete);
                    transaction.request.progress = Progress::Complete;
                }
            }
            State::Headers | State::Trailer => {
                if self.line.pending_len() > 0 {
                    self.add_header_line(store, settings);
                }
                self.end_block(store, settings);
                if let Some(transaction) = store.change(self.current) {
                    transaction.request.progress = Progress::Complete;
                }
            }
            State::Body => {
                if let (Some(reader), Some(transaction)) =
                    (&mut self.body, store.change(self.current))
                {
                    reader.finish(&mut body_target(transaction));
                    transaction.request.progress = Progress::Complete;
                }
            }
            State::Line | State::Held | State::Opaque | State::Lost => {}
        }
        self.state = State::Opaque;
        self.line.reset();
        self.fields = Fields::default();
        self.body = None;
        self.held = Vec::new();
    }

    /// Goes on behind a CONNECT that was refused.
    pub(super) fn resume(&mut self, store: &mut Store, settings: &Settings) {
        if self.state == State::Held {
            self.state = State::Line;
            let held = std::mem::take(&mut self.held);
            self.feed(&held, store, settings);
        }
    }

    /// The bytes that wait for the answer to a CONNECT or an offer of HTTP/2.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    pub(super) fn holds_bytes(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.state == State::Opaque
    }

    pub(super) fn skippable(&self, store: &Store) -> u64 {
        match (self.state, &self.body, store.get(self.current)) {
            (State::Opaque, ..) => u64::MAX,
            (State::Body, Some(reader), Some(transaction)) => {
                reader.skippable(&transaction.request.body)
            }
            _ => 0,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let body = self
            .body
            .as_ref()
            .map_or(0, |body| size_of::<BodyReader>() + body.heap_bytes());
        self.line.heap_bytes() + self.fields.heap_bytes() + self.held.capacity() + body
    }
}

fn headers_of(request: &mut Request, trailer: bool) -> &mut super::headers::Headers {
    if trailer {
        &mut request.trailers
    } else {
        &mut request.headers
    }
}

fn target<'a>(
    transaction: &'a mut Transaction,
    trailer: bool,
    settings: &Settings,
) -> fields::Target<'a> {
    fields::Target {
        side: fields::Side::Request,
        headers: headers_of(&mut transaction.request, trailer),
        events: &mut transaction.events,
        ambiguous: &mut transaction.ambiguous,
        max_fields: settings.header_fields,
        max_field_bytes: settings.field_limit_bytes,
        max_block_bytes: settings.header_block_bytes,
    }
}

fn body_target(transaction: &mut Transaction) -> body::Target<'_> {
    body::Target {
        body: &mut transaction.request.body,
        events: &mut transaction.events,
        is_request: true,
    }
}

/// Whether a method is one of those every server knows, in any case.
pub(in crate::app) fn is_known_method(method: &[u8]) -> bool {
    METHODS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(method))
}

/// Whether bytes begin, behind white space, with a method that is known and a space.
pub(in crate::app) fn looks_like_request(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let method = text
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    METHODS.contains(&method)
}

/// Whether a line ends like a request line.
pub(in crate::app) fn names_protocol(text: &[u8]) -> bool {
    let last = text
        .trim_ascii_end()
        .rsplit(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    last.len() < text.trim_ascii().len()
        && last
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/"))
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r' | b'\n')
}

/// Takes `METHOD target protocol` apart, as Apache would with any white space between them.
///
/// The target ends at the first space, or, if there is none, at any white space; the protocol is all the rest.
/// Source: libhtp.
fn parse_line(text: &[u8], transaction: &mut Transaction) {
    let Transaction {
        request, events, ..
    } = transaction;
    request.line = text.to_vec();
    request.progress = Progress::Line;
    let skip = |from: usize| {
        text[from..]
            .iter()
            .position(|byte| !is_space(byte))
            .map_or(text.len(), |at| from + at)
    };
    let method_start = skip(0);
    if method_start > 0 {
        events.raise(HttpEvent::RequestLineLeadingWhitespace);
    }
    let method_end = text[method_start..]
        .iter()
        .position(is_space)
        .map_or(text.len(), |at| method_start + at);
    request.method = text[method_start..method_end].to_vec();
    let target_start = skip(method_end);
    if text[method_end..target_start]
        .iter()
        .any(|&byte| byte != b' ')
    {
        events.raise(HttpEvent::MethodDelimNonCompliant);
    }
    let rest = &text[target_start..];
    let space = memchr::memchr(b' ', rest);
    let any_space = rest.iter().position(is_space);
    if any_space.is_some() && any_space != space {
        events.raise(HttpEvent::UriDelimNonCompliant);
    }
    let target_end = target_start + space.or(any_space).unwrap_or(rest.len());
    request.uri_raw = text[target_start..target_end].to_vec();
    request.protocol = text[skip(target_end)..].trim_ascii_end().to_vec();
    parse_target(transaction);
}

fn parse_target(transaction: &mut Transaction) {
    let Transaction {
        request, events, ..
    } = transaction;
    let connect = request.method == b"CONNECT";
    // A host and a port have nothing to be normalised.
    if !connect {
        uri::normalise(&request.uri_raw, &mut request.uri);
    }
    let authority = if connect {
        Some(request.uri_raw.as_slice())
    } else {
        uri::split(&request.uri_raw).authority
    };
    let Some(authority) = authority else { return };
    let found = uri::host_port(authority);
    if found.bad_host || found.bad_port {
        events.raise(HttpEvent::RequestUriHostInvalid);
    }
    if connect && found.bad_port {
        events.raise(HttpEvent::InvalidAuthorityPort);
    }
    let dots = found
        .host
        .iter()
        .rev()
        .take_while(|&&byte| byte == b'.')
        .count();
    request.host = found.host[..found.host.len() - dots].to_vec();
    // What the target names is shown as it is read: so libhtp has it.
    request.host_raw.clone_from(&request.host);
    request.port = found.port;
}

/// The host out of the Host header, where the target names none; contradictions are events.
fn check_host(transaction: &mut Transaction) {
    let Transaction {
        request, events, ..
    } = transaction;
    let Some(value) = framing_value(&request.headers, "host") else {
        if is_http_1_1(&request.protocol) {
            events.raise(HttpEvent::MissingHostHeader);
        }
        return;
    };
    // Of several its servers take one or another: all are shown, as one that is no host.
    let found = uri::host_port(&value);
    if found.bad_host || found.bad_port {
        events.raise(HttpEvent::RequestHeaderHostInvalid);
    }
    if found.bad_port {
        events.raise(HttpEvent::InvalidServerPortInRequest);
    }
    if request.host.is_empty() {
        request.host = found.host;
        request.port = found.port;
        request.host_raw = value;
    } else {
        let ports_differ = request
            .port
            .zip(found.port)
            .is_some_and(|(target, header)| target != header);
        if request.host != found.host || ports_differ {
            events.raise(HttpEvent::HostHeaderAmbiguous);
        }
    }
}

/// `HTTP/1.1`, or a later version.
fn is_http_1_1(protocol: &[u8]) -> bool {
    let version = protocol
        .get(..5)
        .filter(|start| start.eq_ignore_ascii_case(b"HTTP/"))
        .map(|_| &protocol[5..]);
    version.is_some_and(|version| version.trim_ascii() == b"1.1")
}

fn check_authorization(transaction: &mut Transaction) {
    let Some(value) = transaction.request.headers.first("authorization") else {
        return;
    };
    let scheme = value
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    if !["basic", "digest", "bearer"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()))
    {
        transaction.events.raise(HttpEvent::RequestAuthUnrecognized);
    }
}

/// Begins to read the body for files, if it is a form. Servers read forms of POST only, as Suricata does.
fn begin_form(transaction: &mut Transaction) {
    let Transaction {
        request, events, ..
    } = transaction;
    let kind = request.headers.first("content-type");
    if let (Some(kind), b"POST") = (kind, request.method.as_slice()) {
        let settings = request.body.file.settings();
        let form = Multipart::from_content_type(kind, settings, events);
        request.body.form = form.map(Box::new);
    }
}

/// How the body is read; `None` if there is none.
///
/// `chunked` anywhere in Transfer-Encoding counts, and beats Content-Length (RFC 9112, 6.3). Of several
/// Content-Lengths the first counts. What cannot be understood is read as body to the end, so that it is seen.
fn body_of(transaction: &mut Transaction, settings: &Settings) -> Option<BodyReader> {
    let Transaction {
        request,
        events,
        ambiguous,
        ..
    } = transaction;
    let headers = &request.headers;
    let encoding = framing_value(headers, "content-encoding").filter(|_| settings.decode_requests);
    let transfer = framing_value(headers, "transfer-encoding");
    let length = framing_value(headers, "content-length");
    *ambiguous |= length.is_some() && transfer.is_some()
        || headers.all("transfer-encoding").any(|it| it.contains(&0));
    if let Some(transfer) = transfer {
        let chunked = transfer
            .to_ascii_lowercase()
            .windows(7)
            .any(|window| window == b"chunked");
        let named = transfer
            .split(|byte| matches!(byte, b',' | b' ' | b'\t' | 0x0b | 0x0c))
            .any(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        let is_late = is_http_1_1(&request.protocol);
        if !named || !is_late {
            events.raise(HttpEvent::InvalidTransferEncodingValueInRequest);
        }
        *ambiguous |= !is_late || !ambiguity::is_plainly_chunked(&transfer);
        if chunked {
            let codings = body::codings(encoding.as_deref(), settings, events);
            return Some(BodyReader::chunked(codings));
        }
    }
    let length = length?;
    let all: Vec<_> = headers.all("content-length").collect();
    *ambiguous |= all
        .iter()
        .any(|it| !ambiguity::is_plain_length(it) || *it != all[0]);
    let mut lengths = headers
        .fields()
        .iter()
        .filter(|field| is_word(&field.name, "content-length"));
    let first = lengths
        .next()
        .and_then(|field| content_length(&field.value));
    if lengths.any(|field| content_length(&field.value) != first) {
        events.raise(HttpEvent::DuplicateContentLengthFieldInRequest);
    }
    let framing = match first.or_else(|| content_length(&length)) {
        Some(0) => return None,
        Some(length) => Framing::Length(length),
        None => {
            *ambiguous = true;
            events.raise(HttpEvent::InvalidContentLengthFieldInRequest);
            Framing::UntilClose
        }
    };
    let codings = body::codings(encoding.as_deref(), settings, events);
    Some(BodyReader::new(framing, codings))
}
