//! Bytes by offset, with holes: for TCP past a hole or not yet acknowledged, and for IP fragments.

use std::collections::VecDeque;

/// A piece's memory up to this size is kept for the next one: of a conversation in small messages each segment is a
/// piece until it is acknowledged.
const SPARE_BYTES: usize = 256;

/// Runs of bytes by offset, which never overlap.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// In order. Nearly all come at the back and go at the front; for the others callers bound how many there are.
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Empty, with room for a small piece perhaps.
    spare: Vec<u8>,
}

/// A run of bytes, and the segment it came in, which overlap policies ask about.
#[derive(Debug)]
struct Piece {
    at: u64,
    data: Vec<u8>,
    segment: (u64, u64),
}

impl Piece {
    fn end(&self) -> u64 {
        self.at + self.data.len() as u64
    }
}

/// The part of `data`, which starts at stream offset `start`, that lies in `from..to`.
fn cut(data: &[u8], start: u64, from: u64, to: u64) -> &[u8] {
    let end = start + data.len() as u64;
    let (from, to) = (from.clamp(start, end), to.clamp(start, end));
    &data[(from - start) as usize..(to.max(from) - start) as usize]
}

impl Pieces {
    /// None.
    pub const fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            bytes: 0,
            spare: Vec::new(),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Pieces held.
    pub fn count(&self) -> usize {
        self.pieces.len()
    }

    /// About how much memory is held, with the cost of the pieces themselves.
    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.spare.capacity() + self.pieces.len() * std::mem::size_of::<Piece>()
    }

    /// Where the first piece starts.
    pub fn start(&self) -> Option<u64> {
        self.pieces.front().map(|piece| piece.at)
    }

    /// Where the last piece ends.
    pub fn end(&self) -> Option<u64> {
        self.pieces.back().map(Piece::end)
    }

    /// How many pieces end at or before `offset`.
    fn before(&self, offset: u64) -> usize {
        match self.pieces.back() {
            Some(last) if last.end() > offset => {
                self.pieces.partition_point(|piece| piece.end() <= offset)
            }
            _ => self.pieces.len(),
        }
    }

    /// The pieces that `start..end` touches.
    fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Piece> {
        let touched = self.pieces.range(self.before(start)..);
        touched.take_while(move |piece| piece.at < end && start < end)
    }

    /// Whether `data` at `start` contradicts a byte that is held.
    pub fn differs(&self, start: u64, data: &[u8]) -> bool {
        let end = start + data.len() as u64;
        self.overlapping(start, end).any(|piece| {
            cut(&piece.data, piece.at, start, end) != cut(data, start, piece.at, piece.end())
        })
    }

    /// Overwrites `data` at `start` with the bytes that are held.
    pub fn copy_over(&self, start: u64, data: &mut [u8]) {
        let end = start + data.len() as u64;
        for piece in self.overlapping(start, end) {
            let held = cut(&piece.data, piece.at, start, end);
            let from = (piece.at.max(start) - start) as usize;
            data[from..from + held.len()].copy_from_slice(held);
        }
    }

    /// How many bytes of `start..end` are held.
    pub fn covered(&self, start: u64, end: u64) -> usize {
        self.overlapping(start, end)
            .map(|piece| cut(&piece.data, piece.at, start, end).len())
            .sum()
    }

    /// Where the first hole is, counted from 0.
    pub fn reach(&self) -> u64 {
        let joined = |end: u64, piece: &Piece| (piece.at == end).then(|| piece.end());
        let ends = self.pieces.iter();
        ends.scan(0, |end, piece| {
            *end = joined(*end, piece)?;
            Some(*end)
        })
        .last()
        .unwrap_or(0)
    }

    /// How many bytes and pieces [`Pieces::fill`] would add.
    pub fn cost(&self, start: u64, data: &[u8]) -> (usize, usize) {
        let runs = self.uncovered(start, start + data.len() as u64);
        let bytes = runs.iter().map(|(from, to)| (to - from) as usize).sum();
        // The first run may lengthen the piece before it instead of adding one.
        let joins = runs.first().is_some_and(|(from, _)| self.ends_at(*from));
        (bytes, runs.len() - usize::from(joins))
    }

    /// Adds what of `data` is not held yet; what is held stays (the caller has compared).
    ///
    /// A run that continues a piece is appended to it. Pieces are not joined to their right neighbour: that
    /// would copy the neighbour for every byte put before it, which a hostile sender can ask for at will.
    pub fn fill(&mut self, start: u64, data: &[u8]) {
        let segment = (start, start + data.len() as u64);
        for (from, to) in self.uncovered(segment.0, segment.1) {
            let run = cut(data, start, from, to);
            self.bytes += run.len();
            let number = self.before(from);
            let left = number.checked_sub(1);
            match left.and_then(|left| self.pieces.get_mut(left)) {
                Some(piece) if piece.end() == from => piece.data.extend_from_slice(run),
                _ => {
                    let piece = Piece {
                        at: from,
                        data: run.to_vec(),
                        segment,
                    };
                    self.pieces.insert(number, piece);
                }
            }
        }
    }

    /// Adds `data`; where it overlaps a piece, `later_wins(later, earlier)`, asked with the two segments' (start,
    /// end), decides whose bytes stay. Returns whether any overlapping bytes differed, but for those of a segment in the
    /// very same place.
    pub fn overlay(
        &mut self,
        start: u64,
        data: &[u8],
        later_wins: impl Fn((u64, u64), (u64, u64)) -> bool,
    ) -> bool {
        let segment = (start, start + data.len() as u64);
        let first = self.before(segment.0);
        if self.pieces.get(first).is_none_or(|it| it.at >= segment.1) {
            self.put(segment.0, data, segment);
            return false;
        }
        // A segment that stands for one in the same place is a repetition, whatever it says.
        let differs = self.overlapping(segment.0, segment.1).any(|piece| {
            piece.segment != segment
                && cut(&piece.data, piece.at, segment.0, segment.1)
                    != cut(data, start, piece.at, piece.end())
        });
        let touched = self.overlapping(segment.0, segment.1).count();
        let touched: Vec<Piece> = self.pieces.drain(first..first + touched).collect();
        let mut from = segment.0;
        for piece in touched {
            let (at, end) = (piece.at, piece.end());
            self.bytes -= piece.data.len();
            if later_wins(segment, piece.segment) {
                self.put(at, cut(&piece.data, at, at, segment.0), piece.segment);
                self.put(
                    segment.1,
                    cut(&piece.data, at, segment.1, end),
                    piece.segment,
                );
            } else {
                self.put(from, cut(data, start, from, at), segment);
                from = end;
                self.put_piece(piece);
            }
        }
        self.put(from, cut(data, start, from, segment.1), segment);
        differs
    }

    fn put(&mut self, at: u64, data: &[u8], segment: (u64, u64)) {
        if data.is_empty() {
            return;
        }
        // Where others wait it may wait long, and the room that it does not fill is counted nowhere.
        let mut own = match self.pieces.is_empty() {
            true => std::mem::take(&mut self.spare),
            false => Vec::new(),
        };
        own.extend_from_slice(data);
        self.put_piece(Piece {
            at,
            data: own,
            segment,
        });
    }

    fn put_piece(&mut self, piece: Piece) {
        self.bytes += piece.data.len();
        self.pieces.insert(self.before(piece.at), piece);
    }

    /// Takes out what is held at `next` and directly after it, up to `limit`, appending it to `into`; bytes
    /// before `next` are given up.
    pub fn drain_into(&mut self, into: &mut Vec<u8>, mut next: u64, limit: u64) {
        while self
            .pieces
            .front()
            .is_some_and(|it| it.at <= next && it.at < limit)
        {
            let Some(mut piece) = self.pieces.pop_front() else {
                return;
            };
            let (at, end) = (piece.at, piece.end());
            self.bytes -= piece.data.len();
            into.extend_from_slice(cut(&piece.data, at, next, limit));
            next = next.max(end.min(limit));
            self.put(limit, cut(&piece.data, at, limit, end), piece.segment);
            if piece.data.capacity() <= SPARE_BYTES {
                piece.data.clear();
                self.spare = piece.data;
            }
        }
    }

    fn ends_at(&self, offset: u64) -> bool {
        let left = self.before(offset).checked_sub(1);
        let left = left.and_then(|left| self.pieces.get(left));
        left.is_some_and(|piece| piece.end() == offset)
    }

    /// The runs of `start..end` that no piece holds.
    fn uncovered(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        let mut from = start;
        for piece in self.overlapping(start, end) {
            if piece.at > from {
                runs.push((from, piece.at));
            }
            from = piece.end();
        }
        if from < end {
            runs.push((from, end));
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room that pieces take beyond what [`Pieces::memory_bytes`] tells of them.
    fn untold(held: &Pieces) -> usize {
        let pieces = held.pieces.iter();
        pieces.map(|it| it.data.capacity() - it.data.len()).sum()
    }

    #[test]
    fn small_pieces_past_a_hole_take_no_more_room_than_they_tell() {
        let (mut held, mut read) = (Pieces::new(), Vec::new());
        for at in 0..100 {
            let (next, past) = (at * SPARE_BYTES as u64, 1_000_000 + at * 2);
            held.overlay(next, &[0; SPARE_BYTES], |_, _| false);
            held.drain_into(&mut read, next, u64::MAX);
            held.overlay(past, b"x", |_, _| false);
        }
        assert_eq!((read.len(), held.count()), (100 * SPARE_BYTES, 100));
        let untold = untold(&held);
        assert!(untold < 100 * 16 + SPARE_BYTES, "{untold}");
    }

    #[test]
    fn small_pieces_one_after_the_other_take_the_memory_of_the_first() {
        let (mut held, mut read) = (Pieces::new(), Vec::new());
        let mut places = std::collections::HashSet::new();
        for at in 0..10 {
            held.overlay(at * 8, &[0; 8], |_, _| false);
            places.insert(held.pieces[0].data.as_ptr());
            held.drain_into(&mut read, at * 8, u64::MAX);
        }
        assert_eq!(places.len(), 1);
    }
}
