//! One TCP connection's HTTP: two parsers and the transactions they share.

use std::collections::VecDeque;
use std::ops::Range;

use super::transaction::Transaction;
use crate::Direction;

/// Bounds and depths; the defaults are libhtp's and Suricata's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decoded bytes kept of each request body.
    pub request_depth_bytes: usize,
    /// Decoded bytes kept of each response body.
    pub response_depth_bytes: usize,
    /// A line or header field longer than this raises an event (libhtp's hard limit) and is not read on.
    pub field_limit_bytes: usize,
    /// Fields kept of one header block.
    pub header_fields: usize,
    /// Transactions open at once.
    pub open_transactions: usize,
    /// Content codings undone, one over the other.
    pub coding_layers: usize,
    /// Decoded bytes below which a body is never called a bomb.
    pub bomb_bytes: u64,
    /// Decoded bytes an encoded byte may become, above `bomb_bytes`.
    pub bomb_ratio: u64,
    /// Whether request bodies with a Content-Encoding are decoded.
    pub decode_requests: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_depth_bytes: 1 << 20,
            response_depth_bytes: 1 << 20,
            field_limit_bytes: 18_000,
            header_fields: 1024,
            open_transactions: 512,
            coding_layers: 2,
            bomb_bytes: 1 << 20,
            bomb_ratio: 2048,
            decode_requests: false,
        }
    }
}

/// The transactions a call has changed: a range of ids, empty if none.
pub type Touched = Range<u64>;

/// One connection's two streams and its open transactions, oldest first.
#[derive(Debug)]
pub struct Connection {
    open: VecDeque<Transaction>,
    settings: Settings,
}

impl Connection {
    /// A connection of which nothing was seen yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            open: VecDeque::new(),
            settings,
        }
    }

    /// Reads the next bytes of one direction, in whatever pieces they come.
    pub fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        let _ = (direction, bytes, &self.settings);
        0..0
    }

    /// Says that `len` bytes of one direction were never seen.
    ///
    /// Inside a body of known length they are counted as lost; elsewhere the direction is not read any further.
    pub fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        let _ = (direction, len);
        0..0
    }

    /// Says that one direction has ended: a body until close is complete, anything else half-read too.
    pub fn close(&mut self, direction: Direction) -> Touched {
        let _ = direction;
        0..0
    }

    /// Open transactions, oldest first; ids are contiguous.
    pub fn transactions(
        &self,
    ) -> impl DoubleEndedIterator<Item = &Transaction> + ExactSizeIterator {
        self.open.iter()
    }

    /// The same, mutable.
    pub fn transactions_mut(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = &mut Transaction> + ExactSizeIterator {
        self.open.iter_mut()
    }

    /// One open transaction.
    pub fn transaction(&self, id: u64) -> Option<&Transaction> {
        let first = self.open.front()?.id;
        self.open.get(usize::try_from(id.checked_sub(first)?).ok()?)
    }

    /// The same, mutable.
    pub fn transaction_mut(&mut self, id: u64) -> Option<&mut Transaction> {
        let first = self.open.front()?.id;
        self.open
            .get_mut(usize::try_from(id.checked_sub(first)?).ok()?)
    }

    /// Takes the oldest transaction if it is complete on both sides. Call until `None`, after having looked.
    pub fn pop_finished(&mut self) -> Option<Transaction> {
        if self.open.front()?.is_complete() {
            self.open.pop_front()
        } else {
            None
        }
    }

    /// Whether one direction's further bytes are not HTTP any more: a tunnel, another protocol after 101, or
    /// lost in a gap. Feeding them does nothing.
    pub fn is_opaque(&self, direction: Direction) -> bool {
        let _ = direction;
        false
    }

    /// How many of the next bytes that way belong to a body that is past its inspection depth, so that skipping
    /// them with [`Connection::gap`] changes nothing but counters. `u64::MAX`: all there will ever be.
    pub fn skippable(&self, direction: Direction) -> u64 {
        let _ = direction;
        0
    }

    /// Bytes of heap held, roughly; for the flow table's memory bound.
    pub fn heap_bytes(&self) -> usize {
        0
    }
}
