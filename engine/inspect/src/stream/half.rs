//! The bytes that one end sends: in order, past holes, and kept for comparing.
//!
//! Positions are stream offsets: 0 is the byte after the SYN (or the first byte seen, midstream); they do not
//! wrap. Copies: a byte is copied once into `bytes` (or first into a pending piece, when it arrives past a
//! hole or awaits its acknowledgment), and moved at most about once more when old bytes before it are let go.

use super::{Limits, OsPolicy};
use crate::pieces::Pieces;
use crate::room::{make_room, LARGE_BYTES};

/// A sender may overshoot the window that we believe in by a GSO packet: our idea of it is one packet old.
pub(super) const WINDOW_SLACK: u64 = 65_536;
/// The window assumed before the receiver has advertised one.
const INITIAL_WINDOW: u64 = 65_535;
/// The largest window there is (RFC 7323, 2.3).
const MAX_WINDOW: u32 = 1 << 30;
/// Freed space at the front of `bytes` under this is not worth a move.
const COMPACT_MIN_BYTES: usize = 4096;
/// So much of what was acknowledged is kept of a connection that closed, or rests.
const SENT_AGAIN_BYTES: u64 = 16 << 10;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// The sequence number of offset 0, once known.
    pub base: Option<u32>,
    /// The window scale that the sender of these bytes offered on its SYN.
    pub window_scale: Option<u8>,
    /// Where the sender's FIN stands, once accepted.
    pub fin: Option<u64>,
    /// The receiver acknowledged everything before this.
    pub acked: u64,
    /// The largest window that the receiver advertised, scaled.
    window: u32,
    /// How far what it advertises is shifted.
    window_shift: u8,
    /// Bytes in order, from offset `start`: history that was read, then what is readable.
    bytes: Vec<u8>,
    start: u64,
    read: u64,
    /// `None` before the first: few connections inline ever have any.
    pending: Option<Box<Pieces>>,
    /// Everything before this is released whether it was acknowledged or not.
    forced: u64,
    /// Bytes before this were let through unseen.
    unseen_before: u64,
}

/// What an inline half says to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// They are, or already were, part of the stream.
    Taken { retransmission: bool },
    /// They contradict bytes that were taken.
    Differs,
    /// They (partly) lie before what is kept for comparing.
    PastHistory,
    /// They (partly) lie among those that were let through unseen; the rest was taken.
    Unseen,
    /// They lie past the receiver's window.
    OutOfWindow,
    /// A pending bound.
    PendingLimit,
    /// The bound on unread bytes.
    Unread,
}

impl Half {
    /// Where what is held in order begins; before it nothing can be compared.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The offset expected next.
    pub fn next(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The sequence number that the receiver expects next, the FIN counted.
    pub fn expected_seq(&self) -> Option<u32> {
        let fin = u32::from(self.fin == Some(self.next()));
        Some(
            self.base?
                .wrapping_add(self.next() as u32)
                .wrapping_add(fin),
        )
    }

    /// The offset of `seq`, taken as the one nearest to what is expected; negative before the stream.
    pub fn offset_of(&self, seq: u32) -> Option<i64> {
        let expected = self.base?.wrapping_add(self.next() as u32);
        Some(self.next() as i64 + i64::from(seq.wrapping_sub(expected) as i32))
    }

    /// Past this no honest byte or acknowledgment lies. Segments that only open the window further are not seen
    /// live: the largest that can be advertised counts.
    pub fn edge(&self) -> u64 {
        let largest = INITIAL_WINDOW << self.window_shift;
        self.next().max(self.acked) + u64::from(self.window).max(largest) + WINDOW_SLACK
    }

    /// Takes note of a window that the receiver advertises, scaled, and by how much.
    pub fn advertise(&mut self, window: u32, shift: u8) {
        self.window = self.window.max(window);
        self.window_shift = self.window_shift.max(shift);
    }

    /// Past the last byte held, holes notwithstanding.
    pub fn highest(&self) -> u64 {
        self.pending().end().unwrap_or(0).max(self.next())
    }

    pub fn readable(&self) -> &[u8] {
        &self.bytes[(self.read - self.start) as usize..]
    }

    /// What is held of the bytes in order from `from` to `to`.
    pub fn between(&self, from: u64, to: u64) -> &[u8] {
        let (start, end) = (self.start, self.next());
        let to = to.clamp(start, end);
        let from = from.clamp(start, to);
        &self.bytes[(from - start) as usize..(to - start) as usize]
    }

    pub fn read_offset(&self) -> u64 {
        self.read
    }

    fn pending(&self) -> &Pieces {
        static NONE: Pieces = Pieces::new();
        self.pending.as_deref().unwrap_or(&NONE)
    }

    fn pending_mut(&mut self) -> &mut Pieces {
        self.pending.get_or_insert_default()
    }

    pub fn has_hole(&self) -> bool {
        self.pending()
            .start()
            .is_some_and(|start| start > self.next())
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.pending().memory_bytes()
    }

    /// Inline: takes bytes at `offset`, or says why not; then nothing has changed.
    pub fn admit(&mut self, offset: i64, data: &[u8], limits: &Limits) -> Admission {
        // What lies before offset 0 the receiver has, or never will take: its window starts at the SYN's end.
        let before = offset.min(0).unsigned_abs().min(data.len() as u64) as usize;
        let (offset, data) = (offset.max(0) as u64, &data[before..]);
        if offset < self.unseen_before {
            let unseen = (self.unseen_before - offset).min(data.len() as u64) as usize;
            let rest = self.admit(self.unseen_before as i64, &data[unseen..], limits);
            return match rest {
                Admission::Taken { .. } => Admission::Unseen,
                other => other,
            };
        }
        let (end, next) = (offset + data.len() as u64, self.next());
        if end > self.edge() {
            return Admission::OutOfWindow;
        }
        if data.is_empty() {
            return Admission::Taken {
                retransmission: before > 0,
            };
        }
        if self.contradicts(offset, data) {
            let keep_alive = data.len() == 1 && end == next && self.acked >= next;
            return if keep_alive {
                Admission::Taken {
                    retransmission: true,
                }
            } else {
                Admission::Differs
            };
        }
        if offset < self.start {
            return Admission::PastHistory;
        }
        if end <= next {
            return Admission::Taken {
                retransmission: true,
            };
        }
        if offset > next {
            let (bytes, pieces) = self.pending().cost(offset, data);
            let (bytes, pieces) = (
                bytes + self.pending().bytes(),
                pieces + self.pending().count(),
            );
            if bytes > limits.pending_bytes || pieces > limits.pending_pieces {
                return Admission::PendingLimit;
            }
            self.pending_mut().fill(offset, data);
            return Admission::Taken {
                retransmission: false,
            };
        }
        let new = &data[(next - offset) as usize..];
        if self.readable().len() + new.len() > limits.unread_bytes {
            return Admission::Unread;
        }
        let kept = limits.history_bytes as u64 + self.kept_window(limits);
        make_room(&mut self.bytes, new.len(), kept as usize + LARGE_BYTES);
        self.bytes.extend_from_slice(new);
        self.drain(u64::MAX);
        self.forget(limits);
        Admission::Taken {
            retransmission: offset < next,
        }
    }

    /// Goes on at `seq`, past bytes that were let through unseen; returns how many, `None` where `seq` lies before
    /// what is expected: a segment that is sent again.
    pub fn step_to(&mut self, seq: u32) -> Option<u64> {
        let expected = self.base?.wrapping_add(self.next() as u32);
        let ahead = seq.wrapping_sub(expected);
        // More than half of all numbers may have gone by; what is sent again lies at most a window behind.
        if ahead > u32::MAX - MAX_WINDOW {
            return None;
        }
        if ahead > 0 {
            self.start = self.next() + u64::from(ahead);
            self.read = self.start;
            self.bytes.clear();
            self.pending = None;
            self.acked = self.acked.max(self.start);
            self.unseen_before = self.start;
        }
        Some(u64::from(ahead))
    }

    /// Whether nothing was taken yet.
    pub fn is_untouched(&self) -> bool {
        self.next() == 0 && self.pending().count() == 0
    }

    /// `data` with the bytes that are held in their places; `None` where it agrees with them.
    pub fn overwritten(&self, offset: i64, data: &[u8]) -> Option<Vec<u8>> {
        let before = offset.min(0).unsigned_abs().min(data.len() as u64) as usize;
        let start = offset.max(0) as u64;
        if !self.contradicts(start, &data[before..]) {
            return None;
        }
        let mut own = data.to_vec();
        let held = &mut own[before..];
        let end = start + held.len() as u64;
        let (from, to) = (start.max(self.start), end.min(self.next()));
        if from < to {
            held[(from - start) as usize..(to - start) as usize].copy_from_slice(
                &self.bytes[(from - self.start) as usize..(to - self.start) as usize],
            );
        }
        self.pending().copy_over(start, held);
        Some(own)
    }

    /// Whether `data` at `offset` differs from a byte that is held.
    fn contradicts(&self, offset: u64, data: &[u8]) -> bool {
        let end = offset + data.len() as u64;
        let (from, to) = (offset.max(self.start), end.min(self.next()));
        let held = (from < to)
            .then(|| &self.bytes[(from - self.start) as usize..(to - self.start) as usize]);
        held.is_some_and(|held| held != &data[(from - offset) as usize..(to - offset) as usize])
            || (end > self.next() && self.pending().differs(offset, data))
    }

    /// Detect: keeps bytes at `offset` until they are acknowledged. Returns whether they differed from bytes
    /// that are held, or `None` when they were not kept for want of room.
    pub fn hold(
        &mut self,
        offset: i64,
        data: &[u8],
        os: OsPolicy,
        limits: &Limits,
    ) -> Option<bool> {
        // What was released is settled, whatever comes later.
        let settled = (self.next() as i64 - offset).clamp(0, data.len() as i64) as usize;
        let contradicts = self.contradicts_settled(offset, &data[..settled]);
        let data = &data[settled..];
        if data.is_empty() {
            return Some(false);
        }
        let full = self.pending().bytes() > limits.pending_bytes
            || self.pending().count() > limits.pending_pieces;
        if full || self.readable().len() > limits.unread_bytes {
            return None;
        }
        let differs =
            self.pending_mut()
                .overlay((offset + settled as i64) as u64, data, |later, earlier| {
                    os.later_wins(later, earlier)
                });
        if self.pending().bytes() > limits.pending_bytes
            || self.pending().count() > limits.pending_pieces
        {
            self.forced = self.highest();
        }
        self.release();
        Some(differs || contradicts)
    }

    /// Whether bytes before what is held back differ from those that were released there and are still known.
    fn contradicts_settled(&self, offset: i64, data: &[u8]) -> bool {
        let end = offset + data.len() as i64;
        let from = offset.max(self.start as i64);
        if from >= end {
            return false;
        }
        let known = (from as u64 - self.start) as usize..(end as u64 - self.start) as usize;
        self.bytes[known] != data[(from - offset) as usize..]
    }

    /// Detect: makes readable what is acknowledged.
    pub fn release(&mut self) {
        self.drain(self.acked.max(self.forced));
    }

    /// Makes readable what is held, as far as holes allow.
    pub fn force(&mut self) {
        self.forced = self.highest();
        self.release_forced();
    }

    fn release_forced(&mut self) {
        self.drain(self.forced);
    }

    fn drain(&mut self, limit: u64) {
        let next = self.next();
        if let Some(pending) = &mut self.pending {
            pending.drain_into(&mut self.bytes, next, limit);
        }
    }

    pub fn consume(&mut self, n: usize, limits: &Limits) {
        self.read += n.min(self.readable().len()) as u64;
        self.forget(limits);
    }

    /// How much of what the receiver may not have acknowledged is kept.
    fn kept_window(&self, limits: &Limits) -> u64 {
        u64::from(self.window).min(limits.history_window_bytes as u64)
    }

    /// Lets go of history past its bound.
    fn forget(&mut self, limits: &Limits) {
        let window = self.kept_window(limits);
        let needed = self.next().saturating_sub(window).min(self.read);
        self.let_go(needed.saturating_sub(limits.history_bytes as u64));
    }

    /// Keeps of what was read and acknowledged only the end, which may be sent again when its acknowledgment was lost.
    /// settled: all was acknowledged, though that need not have been shown.
    pub fn retire(&mut self, settled: bool) {
        let done = match settled {
            true => self.read,
            false => self.acked.min(self.read),
        };
        let freed = done
            .saturating_sub(SENT_AGAIN_BYTES)
            .saturating_sub(self.start) as usize;
        if freed > 0 {
            self.bytes.drain(..freed.min(self.bytes.len()));
            self.start += freed as u64;
        }
        self.bytes.shrink_to_fit();
    }

    /// Frees what lies before `floor`, when that is at least half of the buffer: so each byte is moved about
    /// once at most.
    fn let_go(&mut self, floor: u64) {
        let freed = floor.saturating_sub(self.start) as usize;
        if freed == 0 {
            return;
        }
        if freed == self.bytes.len() {
            self.bytes.clear();
        } else if freed >= COMPACT_MIN_BYTES && freed >= self.bytes.len() / 2 {
            self.bytes.drain(..freed);
        } else {
            return;
        }
        self.start = floor;
    }

    /// The length of the hole after the readable bytes, when nothing will fill it.
    ///
    /// What was acknowledged and not seen is no hole until bytes or the end follow it: it may be a segment (or a
    /// FIN) that was captured a moment after its acknowledgment.
    pub fn gap(&self) -> Option<u64> {
        let settled = self.acked.max(self.forced);
        let end = match self.pending().start() {
            Some(start) => start.min(settled),
            None => self.fin.filter(|fin| *fin <= settled)?,
        };
        end.checked_sub(self.next()).filter(|length| *length > 0)
    }

    /// Steps over the hole that `gap` reports; 0 while there are bytes to read before it.
    pub fn skip_gap(&mut self, inline: bool) -> u64 {
        let Some(length) = self.gap().filter(|_| self.readable().is_empty()) else {
            return 0;
        };
        self.start = self.next() + length;
        self.read = self.start;
        self.bytes.clear();
        self.drain(if inline {
            u64::MAX
        } else {
            self.acked.max(self.forced)
        });
        length
    }
}
