//! One TCP connection's HTTP/2: its two directions and the streams they share.
use std::sync::Arc;

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::DecodePaddingMode;
use base64::{alphabet, Engine};

use super::events;
use super::frame::kind;
use super::half::Half;
use super::hpack::{Field, Instruction};
use super::streams::Streams;
use crate::app::http::{Request, Settings};
use crate::app::{FileSettings, Parser, Stage, Touched, Transactions};
use crate::Direction::{self, ToClient, ToServer};

/// The settings of an upgrade, padded or not. Source: RFC 7540, 3.2.1.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the two directions of a connection.
#[derive(Debug)]
pub struct Connection {
    streams: Streams,
    halves: [Half; 2],
    settings: Arc<Settings>,
    /// What the upgrade opened, until it was shown to signatures of the client's direction.
    upgraded: Touched,
}

impl Connection {
    /// A connection of which nothing was seen yet.
    pub fn new(settings: impl Into<Arc<Settings>>) -> Self {
        let settings = settings.into();
        let depths = [settings.request_depth_bytes, settings.response_depth_bytes];
        let files = depths.map(|depth_bytes| FileSettings {
            depth_bytes,
            ..settings.files
        });
        Self {
            streams: Streams::new(files),
            halves: [Half::new(ToServer), Half::new(ToClient)],
            settings,
            upgraded: 0..0,
        }
    }

    /// A connection that was HTTP/1.1 until `request` was answered by a change to HTTP/2: that request is its
    /// first stream's. Source: RFC 7540, 3.2.
    pub fn upgraded(request: &Request, settings: impl Into<Arc<Settings>>) -> Self {
        let mut connection = Self::new(settings);
        connection.begin_with(request);
        connection.upgraded = connection.streams.take_touched();
        connection
    }

    /// Reads what the client sent before it had the answer to its upgrade.
    pub fn feed_early(&mut self, bytes: &[u8]) {
        self.halves[ToServer as usize].feed(bytes, &mut self.streams, &self.settings);
        let touched = self.streams.take_touched();
        self.upgraded.end = self.upgraded.end.max(touched.end);
    }

    fn begin_with(&mut self, request: &Request) {
        let streams = &mut self.streams;
        let payload = request.headers.first("http2-settings").map(decode_settings);
        let most = self.settings.header_fields;
        if let Some(id) = streams.find_or_open(1, true) {
            streams.change(id, |stream| {
                let side = stream.side_mut(ToServer);
                side.note_frame(kind::HEADERS);
                for field in fields_of(request) {
                    side.add(Instruction::Field(field), most);
                }
                if payload == Some(None) {
                    stream.raise(events::INVALID_HTTP1_SETTINGS);
                }
                stream.reach(ToServer, Stage::Headers);
                stream.end(ToServer, true);
            });
        }
        let payload = payload.flatten().unwrap_or_default();
        if payload.is_empty() {
            return;
        }
        if let Some(id) = streams.find_or_open(0, false) {
            streams.change(id, |stream| {
                let side = stream.side_mut(ToServer);
                side.note_frame(kind::SETTINGS);
                side.note_settings(&payload);
            });
            streams.finish(id);
        }
    }

    fn touched(&mut self, direction: Direction) -> Touched {
        let touched = self.streams.take_touched();
        if direction == ToClient || self.upgraded.is_empty() {
            return touched;
        }
        let upgraded = std::mem::replace(&mut self.upgraded, 0..0);
        for id in upgraded.clone() {
            self.streams.change(id, |_| {});
        }
        self.streams.take_touched();
        if touched.is_empty() {
            upgraded
        } else {
            upgraded.start..touched.end.max(upgraded.end)
        }
    }
}

/// An HTTP/1 request's fields as HTTP/2 has them: Host is `:authority`, and what is about the upgrade is no part
/// of the request.
fn fields_of(request: &Request) -> impl Iterator<Item = Field> + '_ {
    let pseudo = [
        (&b":method"[..], request.method.as_slice()),
        (b":path", &request.uri_raw),
        (b":authority", &request.host_raw),
    ];
    let others = request.headers.fields().iter().filter(|field| {
        let hidden: [&[u8]; 2] = [b"host", b"http2-settings"];
        !hidden.iter().any(|it| field.name.eq_ignore_ascii_case(it))
    });
    let pseudo = pseudo
        .into_iter()
        .map(|(name, value)| Field::new(name, value));
    pseudo.chain(others.map(|field| Field::new(&field.name, &field.value)))
}

/// The payload of the SETTINGS frame that an HTTP2-Settings field holds; `None`: none.
fn decode_settings(value: &[u8]) -> Option<Vec<u8>> {
    let payload = BASE64.decode(value).ok()?;
    (payload.len() % 6 == 0).then_some(payload)
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        self.halves[direction as usize].feed(bytes, &mut self.streams, &self.settings);
        self.touched(direction)
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        self.halves[direction as usize].gap(len, &mut self.streams, &self.settings);
        self.touched(direction)
    }

    /// When the server's direction has ended, nothing more comes of any stream.
    fn close(&mut self, direction: Direction) -> Touched {
        match direction {
            ToServer => self.streams.end_all(&[ToServer]),
            ToClient => self.streams.end_all(&[ToServer, ToClient]),
        }
        self.touched(direction)
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.streams
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.streams
    }

    fn skippable(&self, direction: Direction) -> u64 {
        let half = &self.halves[direction as usize];
        half.skippable(&self.streams, self.streams.id_of(half.reading()))
    }

    /// Streams, fields or bodies came that are not kept, or frames that a peer would not take.
    fn is_blind(&self) -> bool {
        self.halves.iter().any(|half| half.blind)
    }

    fn heap_bytes(&self) -> usize {
        let halves = self.halves.iter().map(Half::heap_bytes);
        self.streams.heap_bytes() + halves.sum::<usize>()
    }
}
