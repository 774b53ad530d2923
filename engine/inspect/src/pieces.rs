//! Bytes by offset, with holes: for TCP past a hole or not yet acknowledged, and for IP fragments.

use std::collections::BTreeMap;

/// Runs of bytes by offset, which never overlap.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pieces: BTreeMap<u64, Piece>,
    bytes: usize,
}

/// A run of bytes, and the segment it came in, which overlap policies ask about.
#[derive(Debug)]
struct Piece {
    data: Vec<u8>,
    segment: (u64, u64),
}

/// The part of `data`, which starts at stream offset `start`, that lies in `from..to`.
fn cut(data: &[u8], start: u64, from: u64, to: u64) -> &[u8] {
    let end = start + data.len() as u64;
    let (from, to) = (from.clamp(start, end), to.clamp(start, end));
    &data[(from - start) as usize..(to.max(from) - start) as usize]
}

impl Pieces {
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
        self.bytes + self.pieces.len() * std::mem::size_of::<(u64, Piece)>()
    }

    /// Where the first piece starts.
    pub fn start(&self) -> Option<u64> {
        self.pieces.first_key_value().map(|(start, _)| *start)
    }

    /// Where the last piece ends.
    pub fn end(&self) -> Option<u64> {
        self.pieces
            .last_key_value()
            .map(|(start, piece)| start + piece.data.len() as u64)
    }

    /// The pieces that `start..end` touches, with their offsets.
    fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Piece)> {
        let first = self
            .pieces
            .range(..=start)
            .next_back()
            .map_or(start, |(at, _)| *at);
        self.pieces
            .range(first..end.max(first))
            .map(|(at, piece)| (*at, piece))
            .filter(move |(at, piece)| at + piece.data.len() as u64 > start && start < end)
    }

    /// Whether `data` at `start` contradicts a byte that is held.
    pub fn differs(&self, start: u64, data: &[u8]) -> bool {
        let end = start + data.len() as u64;
        self.overlapping(start, end).any(|(at, piece)| {
            cut(&piece.data, at, start, end) != cut(data, start, at, at + piece.data.len() as u64)
        })
    }

    /// Overwrites `data` at `start` with the bytes that are held.
    pub fn copy_over(&self, start: u64, data: &mut [u8]) {
        let end = start + data.len() as u64;
        for (at, piece) in self.overlapping(start, end) {
            let held = cut(&piece.data, at, start, end);
            let from = (at.max(start) - start) as usize;
            data[from..from + held.len()].copy_from_slice(held);
        }
    }

    /// How many bytes of `start..end` are held.
    pub fn covered(&self, start: u64, end: u64) -> usize {
        self.overlapping(start, end)
            .map(|(at, piece)| cut(&piece.data, at, start, end).len())
            .sum()
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
            match self.pieces.range_mut(..from).next_back() {
                Some((at, piece)) if at + piece.data.len() as u64 == from => {
                    piece.data.extend_from_slice(run)
                }
                _ => {
                    self.pieces.insert(
                        from,
                        Piece {
                            data: run.to_vec(),
                            segment,
                        },
                    );
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
        // A segment that stands for one in the same place is a repetition, whatever it says.
        let differs = self.overlapping(segment.0, segment.1).any(|(at, piece)| {
            piece.segment != segment
                && cut(&piece.data, at, segment.0, segment.1)
                    != cut(data, start, at, at + piece.data.len() as u64)
        });
        let touched: Vec<u64> = self
            .overlapping(segment.0, segment.1)
            .map(|(at, _)| at)
            .collect();
        let mut from = segment.0;
        for at in touched {
            let Some(piece) = self.pieces.remove(&at) else {
                continue;
            };
            let end = at + piece.data.len() as u64;
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
                self.bytes += piece.data.len();
                self.pieces.insert(at, piece);
            }
        }
        self.put(from, cut(data, start, from, segment.1), segment);
        differs
    }

    fn put(&mut self, at: u64, data: &[u8], segment: (u64, u64)) {
        if !data.is_empty() {
            self.bytes += data.len();
            self.pieces.insert(
                at,
                Piece {
                    data: data.to_vec(),
                    segment,
                },
            );
        }
    }

    /// Takes out what is held at `next` and directly after it, up to `limit`, appending it to `into`; bytes
    /// before `next` are given up.
    pub fn drain_into(&mut self, into: &mut Vec<u8>, mut next: u64, limit: u64) {
        while let Some(entry) = self.pieces.first_entry() {
            let at = *entry.key();
            if at > next || at >= limit {
                return;
            }
            let piece = entry.remove();
            let end = at + piece.data.len() as u64;
            self.bytes -= piece.data.len();
            into.extend_from_slice(cut(&piece.data, at, next, limit));
            next = next.max(end.min(limit));
            self.put(limit, cut(&piece.data, at, limit, end), piece.segment);
        }
    }

    fn ends_at(&self, offset: u64) -> bool {
        let before = self.pieces.range(..offset).next_back();
        before.is_some_and(|(at, piece)| at + piece.data.len() as u64 == offset)
    }

    /// The runs of `start..end` that no piece holds.
    fn uncovered(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        let mut from = start;
        for (at, piece) in self.overlapping(start, end) {
            if at > from {
                runs.push((from, at));
            }
            from = at + piece.data.len() as u64;
        }
        if from < end {
            runs.push((from, end));
        }
        runs
    }
}
