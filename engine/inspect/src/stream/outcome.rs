//! What a session says about a segment.

use smallvec::SmallVec;

use crate::wire::{PacketEvent, PacketEvents};
use crate::Direction;

/// The answer to one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentOutcome {
    /// What to do with the packet, as far as the stream is concerned.
    pub verdict: Verdict,
    /// What was noticed, in order; mostly empty.
    pub events: SmallVec<[StreamEvent; 4]>,
    /// What signatures are told that is odd about the segment.
    pub found: PacketEvents,
    /// Its bytes went into the stream.
    pub belongs: bool,
    /// What the payload is to be overwritten with, byte by byte.
    pub rewritten: Option<Vec<u8>>,
    /// How many bytes before it passed without being shown, see [`TcpSession::look_away`](super::TcpSession).
    pub unseen_bytes: u64,
}

impl SegmentOutcome {
    pub(super) fn accept() -> Self {
        Self {
            verdict: Verdict::Accept,
            events: SmallVec::new(),
            found: PacketEvents::NONE,
            belongs: false,
            rewritten: None,
            unseen_bytes: 0,
        }
    }
}

/// What to do with a packet, as far as the stream is concerned. Detect mode only accepts or says `NewSession`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it pass; its bytes are (or were already) part of the stream.
    Accept,
    /// Drop the packet; none of its bytes entered the stream.
    Drop(DropReason),
    /// The session cannot tell; none of its bytes entered the stream. The failure policy decides.
    Undecided(Undecided),
    /// The segment opens another connection on the same addresses and ports. The caller ends the flow, makes
    /// [`TcpSession::successor`](super::TcpSession::successor) and gives it this segment again.
    NewSession,
}

/// Why a segment must not reach its receiver (Inline only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// It repeats bytes that were accepted, differently.
    Differs,
    /// It lies outside the receiver's window.
    OutOfWindow,
    /// Holding it would pass [`Limits::pending_bytes`](super::Limits) or `pending_pieces`. Its sender will
    /// send it again when the hole before it is filled.
    PendingLimit,
    /// It carries bytes past the end that a FIN announced, or a FIN elsewhere than before.
    PastFin,
    /// Its receiver would not believe its acknowledgment or timestamp, and throw its bytes away.
    NotBelieved,
    /// It carries bytes after the connection was reset or had finished.
    Closed,
}

/// What the session cannot decide (Inline only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undecided {
    /// A retransmission of bytes that are no longer held for comparing, or that were never seen (a gap that
    /// was skipped).
    PastHistory,
    /// The consumer left more than [`Limits::unread_bytes`](super::Limits) unread.
    Unread,
    /// The connection's handshake was not seen, and `midstream` is off or the bytes stand before those at which it
    /// was taken up.
    Midstream,
    /// They stand among bytes that passed unseen a moment ago: sent again, as their receiver may lack them.
    Unseen,
}

/// What is worth reporting about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamEvent {
    /// A retransmission or overlap whose bytes differ from those seen before.
    OverlapDiffers,
    /// Bytes seen before, unchanged.
    Retransmission,
    /// Outside the receiver's window.
    OutOfWindow,
    /// No handshake was seen.
    Midstream,
    /// The receiver acknowledged bytes that were never seen; see
    /// [`TcpSession::gap`](super::TcpSession::gap). The direction is that of the missing bytes.
    AckedUnseen(Direction),
    /// A bound was met; see [`Limits`](super::Limits).
    MemoryLimit,
    /// A RST in the window but not at the expected sequence number: ignored (RFC 5961, 3.2).
    RstNotExact,
    /// A RST outside the window: ignored.
    RstOutOfWindow,
    /// A SYN in a connection that is already established.
    SynInEstablished,
    /// A second SYN or SYN/ACK with another sequence number before the handshake was complete.
    SynDiffers,
    /// Bytes on a SYN.
    DataOnSyn,
    /// Urgent data: kept in the stream like any other.
    Urgent,
    /// Bytes past a FIN or after the end.
    DataAfterEnd,
    /// An ACK of bytes that were not sent.
    InvalidAck,
}

impl StreamEvent {
    /// What signatures and records call it, where the tracker does not say it itself.
    pub(super) fn found(self) -> Option<PacketEvent> {
        match self {
            Self::OverlapDiffers => Some(PacketEvent::StreamReassemblyOverlapDifferentData),
            Self::AckedUnseen(_) => Some(PacketEvent::StreamReassemblySeqGap),
            Self::RstNotExact => Some(PacketEvent::StreamSuspectedRstInject),
            _ => None,
        }
    }
}
