//! Splits one direction of a stream into lines, in bounded memory.

/// A line, or a piece of one that is longer than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its bytes without its end.
    pub bytes: &'a [u8],
    /// What ended it: CR LF, LF, or nothing where more of the line follows (or, at the end, ever would have).
    pub end: &'a [u8],
    /// It is the line's first piece.
    pub begins: bool,
}

/// The line that one direction is in the middle of.
#[derive(Debug)]
pub struct Lines {
    held: Vec<u8>,
    /// `held` was handed out.
    spent: bool,
    /// Pieces of the line were handed out already.
    inside: bool,
    limit: usize,
}

impl Lines {
    /// Lines of more than `limit` bytes come in pieces of that size.
    pub fn new(limit: usize) -> Self {
        Self {
            held: Vec::new(),
            spent: false,
            inside: false,
            limit: limit.max(2),
        }
    }

    /// Takes the next line off the front of `rest`; `None`: all of it is held until more comes.
    ///
    /// Where pieces are cut depends on the line alone, not on how the stream was.
    pub fn next<'s, 'a: 's>(&'s mut self, rest: &mut &'a [u8]) -> Option<Line<'s>> {
        if std::mem::take(&mut self.spent) {
            self.held.clear();
        }
        let room = self.limit - self.held.len();
        let window = &rest[..rest.len().min(room)];
        let (taken, ended) = match memchr::memchr(b'\n', window) {
            Some(at) => (at + 1, true),
            None => (window.len(), false),
        };
        let (new, after) = rest.split_at(taken);
        *rest = after;
        if !ended && taken < room {
            self.held.extend_from_slice(new);
            return None;
        }
        let begins = !std::mem::replace(&mut self.inside, !ended);
        if self.held.is_empty() {
            return Some(Self::line(new, begins));
        }
        self.held.extend_from_slice(new);
        self.spent = true;
        Some(Self::line(&self.held, begins))
    }

    /// Takes what is held of an unfinished line.
    pub fn flush(&mut self) -> Option<Line<'_>> {
        let begins = !std::mem::take(&mut self.inside);
        if std::mem::take(&mut self.spent) || self.held.is_empty() {
            self.held.clear();
            return None;
        }
        self.spent = true;
        Some(Line {
            bytes: &self.held,
            end: &[],
            begins,
        })
    }

    /// Forgets the line that was begun; what follows is taken for the rest of it.
    pub fn lose(&mut self) {
        self.held.clear();
        self.spent = false;
        self.inside = true;
    }

    /// Bytes of the line in progress that were not handed out.
    #[cfg(test)]
    fn held(&self) -> usize {
        if self.spent {
            0
        } else {
            self.held.len()
        }
    }

    /// Bytes of heap held.
    pub fn heap_bytes(&self) -> usize {
        self.held.capacity()
    }

    fn line(bytes: &[u8], begins: bool) -> Line<'_> {
        let end = match bytes {
            [.., b'\r', b'\n'] => 2,
            [.., b'\n'] => 1,
            _ => 0,
        };
        let (bytes, end) = bytes.split_at(bytes.len() - end);
        Line { bytes, end, begins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, Vec<u8>, bool);

    fn all(lines: &mut Lines, bytes: &[u8], seen: &mut Vec<Owned>) {
        let mut rest = bytes;
        while let Some(line) = lines.next(&mut rest) {
            seen.push((line.bytes.to_vec(), line.end.to_vec(), line.begins));
        }
        assert!(rest.is_empty());
    }

    fn of(bytes: &[u8], limit: usize) -> Vec<Owned> {
        let mut lines = Lines::new(limit);
        let mut seen = Vec::new();
        all(&mut lines, bytes, &mut seen);
        if let Some(line) = lines.flush() {
            seen.push((line.bytes.to_vec(), line.end.to_vec(), line.begins));
        }
        seen
    }

    #[test]
    fn ends_lines_at_line_feeds_with_or_without_carriage_return() {
        let seen = of(b"ab\r\n\nc\rd\nrest", 100);
        let texts: Vec<_> = seen
            .iter()
            .map(|(bytes, end, _)| (&bytes[..], &end[..]))
            .collect();
        let wanted: [(&[u8], &[u8]); 4] = [
            (b"ab", b"\r\n"),
            (b"", b"\n"),
            (b"c\rd", b"\n"),
            (b"rest", b""),
        ];
        assert_eq!(texts, wanted);
    }

    #[test]
    fn cuts_a_line_past_the_bound_into_pieces() {
        let seen = of(b"abcdefgh\nx\n", 3);
        let pieces: Vec<_> = seen
            .iter()
            .map(|(bytes, _, begins)| (&bytes[..], *begins))
            .collect();
        let wanted: [(&[u8], bool); 4] = [
            (b"abc", true),
            (b"def", false),
            (b"gh", false),
            (b"x", true),
        ];
        assert_eq!(pieces, wanted);
    }

    proptest! {
        #[test]
        fn any_splitting_gives_the_same_lines(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..80),
            cuts in proptest::collection::vec(0usize..80, 0..6),
            limit in 2usize..20,
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut lines = Lines::new(limit);
            let mut seen = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                all(&mut lines, &bytes[from..cut], &mut seen);
                prop_assert!(lines.held() <= limit);
                from = cut;
            }
            if let Some(line) = lines.flush() {
                seen.push((line.bytes.to_vec(), line.end.to_vec(), line.begins));
            }
            prop_assert_eq!(seen, of(&bytes, limit));
        }
    }
}
