//! One TCP connection.

use super::{SegmentOutcome, StreamConfig};
use crate::wire::Tcp;
use crate::Direction;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcpState {
    /// Nothing that could be followed was seen (no SYN, and `midstream` is off).
    #[default]
    None,
    /// A SYN was seen.
    New,
    /// The handshake is complete, or the connection was taken up midstream.
    Established,
    /// One end has sent its FIN.
    Closing,
    /// Both FINs, or a RST.
    Closed,
}

/// One TCP connection: segments in, two streams of bytes out.
#[derive(Debug)]
pub struct TcpSession {
    config: StreamConfig,
}

impl TcpSession {
    /// A connection of which nothing was seen yet.
    pub fn new(config: StreamConfig) -> Self {
        Self { config }
    }

    /// Takes one segment. `payload` is all that the packet carries (up to 64 KiB with GSO).
    pub fn on_segment(
        &mut self,
        _direction: Direction,
        _tcp: &Tcp<'_>,
        _payload: &[u8],
        _now_ns: u64,
    ) -> SegmentOutcome {
        unimplemented!("{:?}", self.config)
    }

    /// The bytes travelling in `direction` that are in order and not yet consumed; ends at a gap.
    pub fn readable(&self, _direction: Direction) -> &[u8] {
        unimplemented!()
    }

    /// Where `readable` starts, counted from the first byte of the stream (gaps included).
    pub fn offset(&self, _direction: Direction) -> u64 {
        unimplemented!()
    }

    /// Gives up the first `n` readable bytes (all, if there are fewer).
    pub fn consume(&mut self, _direction: Direction, _n: usize) {
        unimplemented!()
    }

    /// The length of the hole that follows the readable bytes, when the receiver acknowledged past it (or a
    /// bound or [`TcpSession::flush`] forces the matter): those bytes will not come any more.
    pub fn gap(&self, _direction: Direction) -> Option<u64> {
        unimplemented!()
    }

    /// Gives up the hole that [`TcpSession::gap`] reports, once all before it is consumed; returns its length.
    pub fn skip_gap(&mut self, _direction: Direction) -> u64 {
        unimplemented!()
    }

    /// Makes everything that is held readable, acknowledged or not: the flow has ended or timed out.
    pub fn flush(&mut self) {
        unimplemented!()
    }

    /// How far the connection has come.
    pub fn state(&self) -> TcpState {
        unimplemented!()
    }

    /// Whether the stream in `direction` has ended (FIN or RST) and all its bytes are readable or consumed.
    pub fn ended(&self, _direction: Direction) -> bool {
        unimplemented!()
    }

    /// Whether a RST ended the connection.
    pub fn was_reset(&self) -> bool {
        unimplemented!()
    }

    /// Whether the handshake was not seen.
    pub fn midstream(&self) -> bool {
        unimplemented!()
    }

    /// The sequence number that the receiver of `direction` expects next: what a reset that seems to come
    /// from that direction's sender must carry. `None` before it is known.
    pub fn expected_seq(&self, _direction: Direction) -> Option<u32> {
        unimplemented!()
    }

    /// Whether bytes of `direction` are held past a hole.
    pub fn has_hole(&self, _direction: Direction) -> bool {
        unimplemented!()
    }

    /// Bytes of memory held by both directions' buffers.
    pub fn memory_bytes(&self) -> usize {
        unimplemented!()
    }

    /// The session that a [`Verdict::NewSession`](super::Verdict) announced: same configuration, knowing the
    /// SYN that opened it.
    pub fn successor(&self) -> Self {
        Self::new(self.config)
    }
}
