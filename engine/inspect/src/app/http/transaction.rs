//! What one HTTP request and its response have shown so far.

use std::any::Any;

use smallvec::SmallVec;

use super::content_range::ContentRange;
use super::events::{Events, HttpEvent};
use super::headers::Headers;
use super::multipart::Multipart;
use super::uri;
use crate::app::{AppProto, Description, File, Head, Purpose};
use crate::Direction;

pub use crate::app::Stage as Progress;

/// A message body.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// It with transfer and content codings removed, as a file.
    pub file: File,
    /// It with its content codings, where they could not be undone or left something over: its receiver may
    /// ignore them.
    pub undecoded: Option<Box<File>>,
    /// The files in it, where it is a form.
    pub(super) form: Option<Box<Multipart>>,
    /// Bytes of the message body on the wire, gaps included, chunk framing left out.
    pub coded: u64,
    /// Bytes of chunk framing.
    pub framing: u64,
}

impl Body {
    /// A body that is kept as `file` is.
    pub(in crate::app) fn of(file: File) -> Self {
        Self {
            file,
            ..Self::default()
        }
    }

    /// Adds bytes that no framing announced.
    pub(super) fn add_unframed(&mut self, bytes: &[u8]) {
        self.coded = self.coded.saturating_add(bytes.len() as u64);
        self.file.append_behind(bytes);
    }

    /// Adds decoded bytes; whether more are wanted.
    pub(super) fn append_decoded(&mut self, bytes: &[u8], events: &mut Events) -> bool {
        if let Some(form) = &mut self.form {
            form.push(bytes, events);
        }
        self.file.append(bytes);
        self.file.wants_more()
    }

    /// Says that some of it was never seen.
    pub(in crate::app) fn gap(&mut self, len: u64) {
        if let Some(form) = &mut self.form {
            form.gap(len);
        }
        self.file.gap(len);
    }

    /// Says that nothing more comes; `whole`: as it should.
    pub(in crate::app) fn end(&mut self, whole: bool) {
        if let Some(form) = &mut self.form {
            form.finish(whole);
        }
        if whole {
            self.file.close();
        } else {
            self.file.truncate();
        }
    }

    pub(in crate::app) fn heap_bytes(&self) -> usize {
        let undecoded = self.undecoded.as_ref();
        self.file.heap_bytes()
            + undecoded.map_or(0, |file| size_of::<File>() + file.heap_bytes())
            + self.form.as_ref().map_or(0, |form| form.heap_bytes())
    }
}

/// The request side.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// How far it was read.
    pub progress: Progress,
    /// The whole request line as sent, without its line end.
    pub line: Vec<u8>,
    /// `GET`, `POST`, …, as sent.
    pub method: Vec<u8>,
    /// The request target as sent (`http.uri.raw`).
    pub uri_raw: Vec<u8>,
    /// The target percent-decoded and path-normalised as libhtp does it (`http.uri`).
    pub uri: Vec<u8>,
    /// `HTTP/1.1` as sent; empty for HTTP/0.9.
    pub protocol: Vec<u8>,
    /// Host from the URI or else the Host header, lower-case, without port (`http.host`).
    pub host: Vec<u8>,
    /// The Host header as sent, or `host` where the target names it (`http.host.raw`).
    pub host_raw: Vec<u8>,
    /// The port named beside the host, if any and if valid.
    pub port: Option<u16>,
    /// Header block.
    pub headers: Headers,
    /// Fields after a chunked body.
    pub trailers: Headers,
    /// Body.
    pub body: Body,
}

impl Request {
    /// The host as Suricata records it: with its case where the Host header named it with a port.
    pub fn host_as_recorded(&self) -> &[u8] {
        let named = self.method == b"CONNECT" || uri::split(&self.uri_raw).authority.is_some();
        let keeps_case = !named && self.port.is_some();
        let sent = self.host_raw.get(..self.host.len()).filter(|_| keeps_case);
        sent.filter(|sent| sent.eq_ignore_ascii_case(&self.host))
            .unwrap_or(&self.host)
    }

    /// Whether its response may turn the connection into something else (RFC 9110, 7.8 and 9.3.6).
    pub(super) fn may_switch(&self) -> bool {
        self.method.eq_ignore_ascii_case(b"CONNECT") || self.headers.all("upgrade").next().is_some()
    }

    /// Whether the client offers to go on in HTTP/2. Source: RFC 7540, 3.2.
    pub(super) fn asks_for_http2(&self) -> bool {
        let words = self.headers.all("upgrade");
        words
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"h2c"))
    }
}

/// The response side.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// How far it was read.
    pub progress: Progress,
    /// The whole status line as sent, without its line end.
    pub line: Vec<u8>,
    /// `HTTP/1.1` as sent.
    pub protocol: Vec<u8>,
    /// `200` as sent (`http.stat_code`).
    pub status: Vec<u8>,
    /// `OK` as sent (`http.stat_msg`).
    pub reason: Vec<u8>,
    /// Header block.
    pub headers: Headers,
    /// Fields after a chunked body.
    pub trailers: Headers,
    /// Body.
    pub body: Body,
}

/// One request and its response.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What the engine keeps in it; how far the sides were read stands in them.
    pub head: Head,
    /// The request side.
    pub request: Request,
    /// The response side.
    pub response: Response,
    /// What is odd about it.
    pub events: Events,
    /// Servers disagree on where the request's header or body ends, so that one may read another request where
    /// this one's bytes are shown. No honest client sends that, and a careful server refuses it.
    pub ambiguous: bool,
}

impl Transaction {
    /// Takes the trailers for fields of the header, as some receivers do. What was shown without them is shown
    /// again, once.
    pub(super) fn end_trailers(&mut self, direction: Direction) {
        let (headers, trailers) = match direction {
            Direction::ToServer => (&mut self.request.headers, &mut self.request.trailers),
            Direction::ToClient => (&mut self.response.headers, &mut self.response.trailers),
        };
        if !trailers.fields().is_empty() {
            headers.add_trailers(trailers.clone());
            self.head.detect.restart_side(direction);
        }
    }

    /// The body of one side.
    pub fn body(&self, direction: Direction) -> &Body {
        match direction {
            Direction::ToServer => &self.request.body,
            Direction::ToClient => &self.response.body,
        }
    }
}

/// Parts of a request that were not kept, so that no signature saw them.
const UNREAD: [HttpEvent; 3] = [
    HttpEvent::RequestTooManyHeaders,
    HttpEvent::RequestHeaderRepetition,
    HttpEvent::RequestFieldTooLong,
];

impl Transaction {
    /// Whether that side's body counts as a file: of requests, only those that Suricata takes for uploads.
    fn has_file(&self, direction: Direction) -> bool {
        let method = self.request.method.as_slice();
        direction == Direction::ToClient || matches!(method, b"POST" | b"PUT")
    }
}

impl crate::app::Transaction for Transaction {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn app(&self) -> AppProto {
        AppProto::Http
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn stage(&self, direction: Direction) -> Progress {
        match direction {
            Direction::ToServer => self.request.progress,
            Direction::ToClient => self.response.progress,
        }
    }

    fn is_full(&self, direction: Direction) -> bool {
        let body = self.body(direction);
        let undecoded = body.undecoded.as_ref();
        body.file.is_full() && undecoded.is_none_or(|file| file.is_full())
    }

    fn has_event(&self, name: &str) -> bool {
        self.events.iter().any(|event| event.name() == name)
    }

    fn events(&self) -> SmallVec<[&'static str; 2]> {
        self.events.iter().map(|event| event.name()).collect()
    }

    fn files(&self, direction: Direction) -> &[File] {
        let body = self.body(direction);
        match &body.form {
            Some(form) => form.files(),
            None if body.file.seen == 0 || !self.has_file(direction) => &[],
            None => std::slice::from_ref(&body.file),
        }
    }

    fn file_range(&self, direction: Direction) -> Option<(i64, i64)> {
        let headers = match direction {
            Direction::ToClient => &self.response.headers,
            Direction::ToServer => return None,
        };
        ContentRange::read(headers.first("content-range")?)?.of_file()
    }

    fn undecoded(&self, direction: Direction) -> Option<&File> {
        let body = self.body(direction);
        let unnamed = (body.file.seen > 0 && !self.has_file(direction)).then_some(&body.file);
        body.undecoded.as_deref().or(unnamed)
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(("http", Box::new(crate::event::Http { transaction: self })))
    }

    /// Something of it was not kept, or may be read otherwise than it is shown.
    fn is_blind(&self) -> bool {
        self.ambiguous || UNREAD.iter().any(|event| self.events.contains(*event))
    }

    fn heap_bytes(&self) -> usize {
        let Self {
            request, response, ..
        } = self;
        let lines =
            request.line.capacity() * 2 + request.uri.capacity() + response.line.capacity() * 2;
        let blocks = [
            &request.headers,
            &request.trailers,
            &response.headers,
            &response.trailers,
        ];
        size_of::<Self>()
            + lines
            + blocks.into_iter().map(Headers::heap_bytes).sum::<usize>()
            + request.body.heap_bytes()
            + response.body.heap_bytes()
    }
}
