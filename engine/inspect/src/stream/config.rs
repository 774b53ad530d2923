//! What a session is told when it is made: mode and bounds.

/// How a session decides what the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Between the two ends: what is accepted first *is* the stream, whatever differs from it is dropped, and
    /// bytes are readable at once. Never depends on ACKs.
    Inline,
    /// Beside the two ends, as Suricata's IDS mode: bytes are readable when the other end acknowledged them,
    /// overlaps are resolved as the receiver would.
    Detect(OverlapPolicy),
}

/// Whose bytes the receiver keeps where segments overlap (Novak, "Target-Based Fragmentation Reassembly").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverlapPolicy {
    /// What arrived first.
    First,
    /// What arrived last.
    Last,
    /// The segment that starts further left; of two with one start, the first. Suricata's default.
    #[default]
    Bsd,
    /// As `Bsd`, but of two with one start the longer.
    Linux,
    /// The first, unless the later one starts left of it and ends right of it.
    Windows,
}

impl OverlapPolicy {
    /// Whether the bytes of the later segment replace those of the earlier one where the two overlap. Segments
    /// are (start, end).
    pub(super) fn later_wins(self, later: (u64, u64), earlier: (u64, u64)) -> bool {
        match self {
            Self::First => false,
            Self::Last => true,
            Self::Bsd => later.0 < earlier.0,
            Self::Linux => later.0 < earlier.0 || (later.0 == earlier.0 && later.1 > earlier.1),
            Self::Windows => later.0 < earlier.0 && later.1 > earlier.1,
        }
    }
}

/// Bounds of one session; each direction has its own budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Inline: bytes already read that are kept to compare retransmissions with, besides a window's worth.
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
    /// For the live path and `replay --ips`.
    pub fn inline() -> Self {
        Self {
            mode: Mode::Inline,
            midstream: true,
            limits: Limits::default(),
        }
    }

    /// For replay as Suricata's IDS mode does it.
    pub fn detect() -> Self {
        Self {
            mode: Mode::Detect(OverlapPolicy::Bsd),
            midstream: false,
            limits: Limits::default(),
        }
    }
}
