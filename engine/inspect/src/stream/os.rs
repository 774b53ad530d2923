//! How operating systems differ where TCP leaves room, and which one a receiver is taken for.

/// The operating system that a receiver is taken for (Suricata's `host-os-policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OsPolicy {
    /// Takes what arrived first.
    First,
    /// Takes what arrived last.
    Last,
    /// FreeBSD, NetBSD, OpenBSD; HP-UX 10, IRIX and macOS do the same.
    Bsd,
    /// HP-UX 11.
    HpUx11,
    /// Linux 2.2.
    OldLinux,
    /// Linux 2.4 and later.
    Linux,
    /// Solaris.
    Solaris,
    /// Windows up to XP. What Debian's configuration of Suricata takes every host for.
    #[default]
    Windows,
    /// Windows Server 2003.
    Windows2003,
    /// Windows Vista and later.
    Vista,
}

impl OsPolicy {
    /// Whether the later of two segments, each (start, end), replaces the earlier one's bytes where they overlap.
    ///
    /// Source: Novak and Sturges, "Target-Based TCP Stream Reassembly", 2007.
    pub(super) fn later_wins(self, later: (u64, u64), earlier: (u64, u64)) -> bool {
        let (before, level) = (later.0 < earlier.0, later.0 == earlier.0);
        let (beyond, even) = (later.1 > earlier.1, later.1 == earlier.1);
        match self {
            Self::First | Self::Vista => false,
            Self::Last => true,
            Self::Bsd | Self::Windows | Self::Windows2003 => before,
            Self::OldLinux => before || level && (beyond || even),
            Self::Linux => before || level && beyond,
            Self::Solaris | Self::HpUx11 => beyond || even && (before || level),
        }
    }
}
