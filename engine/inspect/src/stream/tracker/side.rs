//! The numbers of one direction: what its sender sent, and what its receiver made of it.

use super::OsPolicy;

/// A timestamp that was not seen for so long says nothing any more (RFC 7323, 5.5).
const PAWS_IDLE_S: u32 = 24 * 24 * 60 * 60;

/// Whether `a` comes after `b` (RFC 9293, 3.4).
pub(super) fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// One direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    /// What its receiver's peer, the sender of these bytes, is taken for.
    pub os: OsPolicy,
    /// Whether a SYN was seen (or is taken for granted).
    pub opened: bool,
    /// Number of the SYN.
    pub isn: u32,
    /// What is expected next.
    pub next_seq: u32,
    /// The receiver has everything before this.
    pub last_ack: u32,
    /// How much the receiver takes beyond `last_ack`, in bytes.
    pub window: u32,
    /// The furthest that the receiver ever allowed.
    pub next_win: u32,
    /// How far the receiver's windows are shifted (RFC 7323, 2).
    pub scale: u8,
    /// The sender's last segment was a keep-alive.
    pub probed: bool,
    /// The sender reset the connection in a way that its receiver may have ignored.
    pub doubted: bool,
    last_timestamp: u32,
    last_timestamp_s: u32,
    zero_timestamp: bool,
}

/// What a timestamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    Accepted,
    Refused,
    /// The receiver does not use timestamps on this connection.
    Off,
}

impl Side {
    pub fn new(os: OsPolicy) -> Self {
        Self {
            os,
            ..Self::default()
        }
    }

    /// The sender opens with this number.
    pub fn open(&mut self, isn: u32) {
        self.opened = true;
        self.isn = isn;
        self.next_seq = isn.wrapping_add(1);
        self.last_ack = self.next_seq;
        self.next_win = self.next_seq;
    }

    /// A window as advertised, in bytes.
    pub fn scaled(&self, window: u16) -> u32 {
        u32::from(window) << self.scale
    }

    pub fn acknowledge(&mut self, ack: u32) {
        if after(ack, self.last_ack) {
            self.last_ack = ack;
        }
    }

    pub fn move_window(&mut self) {
        let edge = self.last_ack.wrapping_add(self.window);
        if after(edge, self.next_win) {
            self.next_win = edge;
        }
    }

    /// Whether a segment that ends at `end` lies in the window.
    pub fn allows(&self, end: u32) -> bool {
        !after(end, self.next_win)
    }

    /// Whether `seq` lies past the end of the window.
    pub fn is_beyond(&self, seq: u32) -> bool {
        after(seq, self.last_ack.wrapping_add(self.window))
    }

    /// Whether `seq` lies between what is expected and the end of the window: where a FIN may stand.
    pub fn awaits(&self, seq: u32) -> bool {
        !after(self.next_seq, seq) && !self.is_beyond(seq)
    }

    /// Takes note of the timestamp with which a SYN or SYN/ACK begins.
    pub fn begin_timestamps(&mut self, value: u32, now_s: u32) {
        self.last_timestamp = value;
        self.zero_timestamp = value == 0;
        self.last_timestamp_s = if value == 0 { 0 } else { now_s };
    }

    /// The sender's last timestamp; 0 without.
    pub fn timestamp(&self) -> u32 {
        self.last_timestamp
    }

    /// Whether the receiver would believe a timestamp (RFC 7323, 5, and how systems depart from it).
    pub fn check_timestamp(&mut self, seq: u32, value: u32, now_s: u32, midstream: bool) -> Clock {
        use OsPolicy as Os;
        let expected = seq == self.next_seq;
        if self.zero_timestamp {
            match self.os {
                Os::Linux | Os::Windows2003 => return Clock::Off,
                Os::OldLinux | Os::Windows | Os::Vista => {
                    self.zero_timestamp = false;
                    if expected {
                        self.last_timestamp = value;
                        self.last_timestamp_s = now_s;
                        return Clock::Accepted;
                    }
                }
                _ => {}
            }
        }
        if self.os == Os::HpUx11 && !expected {
            return Clock::Accepted;
        }
        let takes_zero = matches!(
            self.os,
            Os::OldLinux | Os::Windows | Os::Windows2003 | Os::Vista | Os::Solaris
        );
        if value == 0 && !takes_zero {
            return Clock::Refused;
        }
        // A value that is one too small is taken everywhere: Linux allows it, and captures reorder.
        let older = after(self.last_timestamp.wrapping_sub(1), value);
        if midstream && self.last_timestamp_s == 0 {
            self.last_timestamp_s = now_s;
        }
        let idle = now_s > self.last_timestamp_s.saturating_add(PAWS_IDLE_S);
        let stale = older || (self.last_timestamp != 0 && idle);
        if stale && !(expected && idle) {
            return Clock::Refused;
        }
        self.last_timestamp_s = now_s;
        Clock::Accepted
    }

    /// Takes note of a timestamp, if it stands on what is expected next (RFC 7323, 4.3).
    pub fn note_timestamp(&mut self, seq: u32, value: u32) {
        if seq == self.next_seq {
            self.last_timestamp = value;
        }
    }

    /// Whether a receiver of this system would believe a reset that spans `seq` to `end`.
    pub fn acceptable_reset(&self, receiver: OsPolicy, seq: u32, end: u32) -> bool {
        match receiver {
            OsPolicy::HpUx11 => !after(self.next_seq, seq),
            OsPolicy::OldLinux | OsPolicy::Linux | OsPolicy::Solaris => {
                !after(self.last_ack, end) && after(self.next_seq.wrapping_add(self.window), seq)
            }
            _ => seq == self.next_seq,
        }
    }
}
