//! What a session is told when it is made: mode and bounds.

use super::OsPolicy;

/// How a session decides what the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Between the two ends: what is accepted first *is* the stream, whatever differs from it is dropped, and
    /// bytes are readable at once. Never depends on ACKs.
    Inline,
    /// A capture, as Suricata's IPS mode: as `Inline`, but a segment that differs is overwritten with what was
    /// accepted, and what does not belong to the connection is dropped.
    Rewrite,
    /// Beside the two ends, as Suricata's IDS mode: bytes are readable when the other end acknowledged them,
    /// overlaps are resolved as the receiver would.
    Detect(OsPolicy),
}

/// Bounds of one session; each direction has its own budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes already read that are kept to compare retransmissions with; inline, besides a window's worth.
    pub history_bytes: usize,
    /// Inline: at most so much of the receiver's advertised window is kept in addition to `history_bytes`.
    pub history_window_bytes: usize,
    /// Bytes held past a hole (in Detect mode: also those not yet acknowledged).
    pub pending_bytes: usize,
    /// Separate pieces held past a hole.
    pub pending_pieces: usize,
    /// Readable bytes that the consumer has not consumed.
    pub unread_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            history_bytes: 64 << 10,
            history_window_bytes: 1 << 20,
            pending_bytes: 1 << 20,
            pending_pieces: 1024,
            unread_bytes: 1 << 20,
        }
    }
}

/// At least so much is kept in every mode. Beside the ends it only tells whether a repetition says the same, and is what
/// signatures on streams are shown again.
pub const MIN_HISTORY_BYTES: usize = 8 << 10;

/// What a session is told when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// How the stream is decided.
    pub mode: Mode,
    /// Take up connections whose handshake was not seen. Without it their segments are not put together
    /// (Suricata's `stream.midstream`, default false).
    pub midstream: bool,
    /// The session's bounds.
    pub limits: Limits,
}

impl StreamConfig {
    /// For the live path.
    pub fn inline() -> Self {
        Self {
            mode: Mode::Inline,
            midstream: true,
            limits: Limits::default(),
        }
    }

    /// For `replay --ips`, as Suricata's IPS mode does it.
    pub fn rewrite() -> Self {
        Self {
            mode: Mode::Rewrite,
            midstream: false,
            limits: Limits::default(),
        }
    }

    /// For replay as Suricata's IDS mode does it.
    pub fn detect() -> Self {
        Self {
            mode: Mode::Detect(OsPolicy::default()),
            midstream: false,
            limits: Limits {
                history_bytes: MIN_HISTORY_BYTES,
                ..Limits::default()
            },
        }
    }
}
