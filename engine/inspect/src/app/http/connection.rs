//! One TCP connection's HTTP: two parsers and the transactions they share.

use std::sync::Arc;

use super::request::RequestReader;
use super::response::{Effect, ResponseReader};
use super::store::Store;
use super::transaction::{Progress, Transaction};
use crate::app::{http2, AppProto, FileSettings, Parser, Touched, Transaction as _, Transactions};
use crate::Direction;

/// Bounds and depths; the defaults are libhtp's and Suricata's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decoded bytes kept of each request body.
    pub request_depth_bytes: usize,
    /// Decoded bytes kept of each response body.
    pub response_depth_bytes: usize,
    /// Bytes kept of a line or header field (libhtp's hard limit). A longer one raises an event and is read on
    /// to its end, so that it cannot hide what follows.
    pub field_limit_bytes: usize,
    /// Fields kept of one header block.
    pub header_fields: usize,
    /// Bytes kept of one header block as sent (servers stop at 8 KiB to 1 MiB).
    pub header_block_bytes: usize,
    /// Transactions open at once.
    pub open_transactions: usize,
    /// Content codings undone, one over the other.
    pub coding_layers: usize,
    /// Decoded bytes below which a body is never called a bomb.
    pub bomb_bytes: u64,
    /// Decoded bytes an encoded byte may become, above `bomb_bytes`.
    pub bomb_ratio: u64,
    /// Whether request bodies with a Content-Encoding are decoded (Suricata 7: yes; libhtp by itself: no).
    pub decode_requests: bool,
    /// How bodies are kept as files, but for their depths above.
    pub files: FileSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_depth_bytes: 1 << 20,
            response_depth_bytes: 1 << 20,
            field_limit_bytes: 18_000,
            header_fields: 1024,
            header_block_bytes: 1 << 20,
            open_transactions: 512,
            coding_layers: 2,
            bomb_bytes: 1 << 20,
            bomb_ratio: 2048,
            decode_requests: true,
            files: FileSettings::default(),
        }
    }
}

/// One connection's two streams and its open transactions, oldest first.
#[derive(Debug)]
pub struct Connection {
    store: Store,
    requests: RequestReader,
    responses: ResponseReader,
    settings: Arc<Settings>,
    switched: bool,
    /// What reads on behind an upgrade.
    successor: Option<Box<http2::Connection>>,
    /// Bytes behind the response that switched, of those that came with it.
    unread: usize,
    /// The server's bytes are not shown.
    skips_answers: bool,
    /// Some were not shown: which response answers which request cannot be told any more.
    skipped_answers: bool,
}

impl Connection {
    /// A connection of which nothing was seen yet.
    pub fn new(settings: impl Into<Arc<Settings>>) -> Self {
        let settings = settings.into();
        Self {
            store: Store::new(settings.clone()),
            requests: RequestReader::new(&settings),
            responses: ResponseReader::new(&settings),
            settings,
            switched: false,
            successor: None,
            unread: 0,
            skips_answers: false,
            skipped_answers: false,
        }
    }

    /// Reads the next bytes of one direction, in whatever pieces they come.
    pub fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        match direction {
            Direction::ToServer => {
                self.requests.feed(bytes, &mut self.store, &self.settings);
                if self.skips_answers {
                    self.answer_unseen();
                }
            }
            Direction::ToClient => {
                let mut input = bytes;
                while let Some(effect) =
                    self.responses
                        .feed(&mut input, &mut self.store, &self.settings)
                {
                    self.apply(effect);
                }
                self.unread = if self.switched { input.len() } else { 0 };
            }
        }
        self.store.take_touched()
    }

    /// Takes the responses for given, but those that may change the protocol.
    fn answer_unseen(&mut self) {
        for transaction in &mut self.store.open {
            let Transaction {
                request, response, ..
            } = transaction.as_mut();
            if request.progress == Progress::Complete && !request.may_switch() {
                response.progress = Progress::Complete;
            }
        }
    }

    /// Whether a request is open whose response may change the protocol.
    pub fn awaits_switch(&self) -> bool {
        self.store.open.iter().any(|it| it.request.may_switch())
    }

    /// Says that responses are not shown (`true`), or again; then reading goes on where a segment begins like one.
    pub fn skip_answers(&mut self, skipped: bool) {
        if self.skips_answers == skipped {
            return;
        }
        self.skips_answers = skipped;
        self.skipped_answers = true;
        if skipped {
            self.answer_unseen();
        } else {
            let mut open = self.store.open.iter();
            let unanswered = open.find(|it| it.response.progress != Progress::Complete);
            let next = unanswered.map_or(self.store.next_id(), |it| it.head.id);
            self.responses = ResponseReader::lost(&self.settings, next);
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Refused => self.requests.resume(&mut self.store, &self.settings),
            Effect::Switched => {
                self.switched = true;
                self.successor = self.upgraded();
                self.requests.close(&mut self.store, &self.settings);
            }
        }
    }

    /// The HTTP/2 that the last response agreed to.
    fn upgraded(&mut self) -> Option<Box<http2::Connection>> {
        let answered = self.responses.last().and_then(|id| self.store.get(id))?;
        if !answered.request.asks_for_http2() || answered.response.status != b"101" {
            return None;
        }
        let mut successor = http2::Connection::upgraded(&answered.request, self.settings.clone());
        successor.feed_early(self.requests.held());
        Some(Box::new(successor))
    }

    /// Says that `len` bytes of one direction were never seen.
    ///
    /// Inside a body they are counted as lost; elsewhere the message is given up, and that direction is read on
    /// when bytes look like the beginning of a message again.
    pub fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        match direction {
            Direction::ToServer => self.requests.gap(len, &mut self.store),
            Direction::ToClient => self.responses.gap(len, &mut self.store),
        }
        self.store.take_touched()
    }

    /// Says that one direction has ended: whatever is half-read there is complete.
    ///
    /// When the server's has, requests without a response are complete too.
    pub fn close(&mut self, direction: Direction) -> Touched {
        match direction {
            Direction::ToServer => self.requests.close(&mut self.store, &self.settings),
            Direction::ToClient => {
                if let Some(effect) = self.responses.close(&mut self.store, &self.settings) {
                    self.apply(effect);
                }
            }
        }
        self.store.take_touched()
    }

    /// Open transactions, oldest first; ids are contiguous.
    pub fn transactions(
        &self,
    ) -> impl DoubleEndedIterator<Item = &Transaction> + ExactSizeIterator {
        self.store.open.iter().map(Box::as_ref)
    }

    /// The same, mutable.
    pub fn transactions_mut(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = &mut Transaction> + ExactSizeIterator {
        self.store.open.iter_mut().map(Box::as_mut)
    }

    /// One open transaction.
    pub fn transaction(&self, id: u64) -> Option<&Transaction> {
        self.store.get(id)
    }

    /// The same, mutable.
    pub fn transaction_mut(&mut self, id: u64) -> Option<&mut Transaction> {
        self.store.get_mut(id)
    }

    /// Takes the oldest transaction if it is complete on both sides. Call until `None`, after having looked.
    pub fn pop_finished(&mut self) -> Option<Transaction> {
        if self.store.open.front()?.is_complete() {
            self.store.pop().map(|done| *done)
        } else {
            None
        }
    }

    /// Whether one direction's further bytes are not read as HTTP any more: it was closed, or the connection is
    /// a tunnel or another protocol, or has more open transactions than the bound. Feeding them does nothing.
    pub fn is_opaque(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => self.requests.is_opaque(),
            Direction::ToClient => self.responses.is_opaque(),
        }
    }

    /// Whether what follows is another protocol by agreement: behind a CONNECT that was granted, or behind 101.
    pub fn has_switched(&self) -> bool {
        self.switched
    }

    /// Whether reading has ended because more transactions were open at once than the bound allows.
    pub fn has_overflowed(&self) -> bool {
        self.store.overflowed
    }

    /// Whether bytes came behind a CONNECT, or of HTTP/2 behind the request for it, that is not answered yet:
    /// unread, though its server may read them.
    pub fn holds_bytes(&self) -> bool {
        self.requests.holds_bytes()
    }

    /// How many of the next bytes that way belong to a body that is past its inspection depth, so that skipping
    /// them with [`Connection::gap`] changes nothing but counters. `u64::MAX`: all there will ever be.
    pub fn skippable(&self, direction: Direction) -> u64 {
        match direction {
            Direction::ToServer => self.requests.skippable(&self.store),
            Direction::ToClient => self.responses.skippable(&self.store),
        }
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        Connection::feed(self, direction, bytes)
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        Connection::gap(self, direction, len)
    }

    fn close(&mut self, direction: Direction) -> Touched {
        Connection::close(self, direction)
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.store
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.store
    }

    fn skippable(&self, direction: Direction) -> u64 {
        Connection::skippable(self, direction)
    }

    /// More transactions were open than the bound allows, or bytes came behind a CONNECT that is not answered.
    fn is_blind(&self) -> bool {
        self.has_overflowed() || self.holds_bytes()
    }

    fn has_switched(&self) -> bool {
        Connection::has_switched(self)
    }

    fn successor(&mut self) -> Option<(AppProto, Box<dyn Parser>)> {
        let parser = self.successor.take()?;
        Some((AppProto::Http2, parser))
    }

    fn unread(&self) -> usize {
        self.unread
    }

    /// Once one was awaited all are read: a client that tunnels or upgrades goes on doing so.
    fn awaits_answers(&self) -> bool {
        self.awaits_switch() || self.skipped_answers && !self.skips_answers
    }

    fn skip_answers(&mut self, skipped: bool) {
        Connection::skip_answers(self, skipped);
    }

    fn may_go_on(&self) -> bool {
        self.skipped_answers
    }

    fn heap_bytes(&self) -> usize {
        let transactions = self.store.open.iter().map(|it| it.heap_bytes());
        self.requests.heap_bytes() + self.responses.heap_bytes() + transactions.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_waits_for_its_next_request_holds_nothing_beside_itself() {
        let mut connection = Connection::new(Settings::default());
        for _ in 0..3 {
            connection.feed(Direction::ToServer, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            connection.feed(Direction::ToClient, response);
            assert!(connection.pop_finished().is_some());
            assert_eq!(Parser::heap_bytes(&connection), 0);
            assert_eq!(connection.store.open.capacity(), 0);
        }
        let size = std::mem::size_of::<Connection>();
        assert!(size <= 336, "{size}");
    }
}
