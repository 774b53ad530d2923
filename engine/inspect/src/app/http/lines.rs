//! Lines out of a byte stream, in whatever pieces it comes.
//!
//! A request's lines end with LF, with or without a CR before it: servers agree on that. Clients accept more in
//! responses, and an attacker's server can choose what the client accepts, so there a lone CR and LF CR end a
//! line too. Whether a CR is a line's end depends on the byte behind it; it is waited for. Source: libhtp's
//! behaviour on the "http evader" tests.

use memchr::{memchr, memchr2};

/// Room made for a line, before it is known how long it gets.
const LINE_BYTES: usize = 128;

const CR: u8 = b'\r';
const LF: u8 = b'\n';

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endings {
    /// LF, CR LF.
    Strict,
    /// Also CR, and LF CR.
    Loose,
}

/// The line being read.
#[derive(Debug)]
pub(super) struct Line {
    endings: Endings,
    limit: u32,
    /// The line so far with its end, at most `limit` bytes.
    kept: Vec<u8>,
    /// Bytes of the line so far, kept or not.
    len: u32,
    /// The last byte was a CR and the next one decides (loose endings only).
    after_cr: bool,
    /// The line before ended with an LF that had no CR before it.
    after_bare_lf: bool,
    complete: bool,
}

impl Line {
    pub(super) fn new(endings: Endings, limit: usize) -> Self {
        Self {
            endings,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            kept: Vec::new(),
            len: 0,
            after_cr: false,
            after_bare_lf: false,
            complete: false,
        }
    }

    /// Takes bytes off `input` up to the line's end; true once the line is whole.
    ///
    /// After a true the line can be looked at until the next call, which begins a new one.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> bool {
        if self.complete {
            self.clear();
        }
        self.complete = match self.endings {
            Endings::Strict => self.read_strict(input),
            Endings::Loose => self.read_loose(input),
        };
        self.complete
    }

    /// The same for a response's first line, which ends with its first CR too, whatever follows; an LF behind the CR
    /// belongs to it.
    pub(super) fn read_status(&mut self, input: &mut &[u8]) -> bool {
        if self.complete {
            self.clear();
        }
        self.complete = match (self.after_cr, input.first()) {
            (_, None) => false,
            (true, Some(&LF)) => {
                self.take(input, 1);
                true
            }
            (true, Some(_)) => true,
            (false, Some(_)) => match memchr2(CR, LF, input) {
                None => {
                    self.take(input, input.len());
                    false
                }
                Some(at) => {
                    self.after_cr = input[at] == CR;
                    self.take(input, at + 1);
                    !self.after_cr || self.read_status(input)
                }
            },
        };
        self.complete
    }

    fn read_strict(&mut self, input: &mut &[u8]) -> bool {
        match memchr(LF, input) {
            Some(at) => {
                self.take(input, at + 1);
                true
            }
            None => {
                self.take(input, input.len());
                false
            }
        }
    }

    fn read_loose(&mut self, input: &mut &[u8]) -> bool {
        loop {
            if self.after_cr {
                match input.first() {
                    None => return false,
                    Some(&LF) => {
                        self.take(input, 1);
                        return true;
                    }
                    Some(&CR) => self.take(input, 1),
                    Some(_) if self.len == 1 => self.drop_leading_cr(),
                    Some(_) => return true,
                }
                continue;
            }
            match memchr2(CR, LF, input) {
                None => {
                    self.take(input, input.len());
                    return false;
                }
                Some(at) => {
                    self.after_cr = input[at] == CR;
                    self.take(input, at + 1);
                    if !self.after_cr {
                        return true;
                    }
                }
            }
        }
    }

    /// A lone CR at a line's start is the second half of the LF CR that ended the line before.
    fn drop_leading_cr(&mut self) {
        self.kept.clear();
        self.len = 0;
        self.after_cr = false;
    }

    fn take(&mut self, input: &mut &[u8], count: usize) {
        let (taken, rest) = input.split_at(count);
        let room = (self.limit as usize).saturating_sub(self.kept.len());
        if self.kept.capacity() == 0 {
            self.kept.reserve_exact(LINE_BYTES.max(count.min(room)));
        }
        self.kept.extend_from_slice(&taken[..count.min(room)]);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.len = self.len.saturating_add(count);
        *input = rest;
    }

    /// The line with its end, as sent.
    pub(super) fn raw(&self) -> &[u8] {
        &self.kept
    }

    /// The line without its end.
    pub(super) fn text(&self) -> &[u8] {
        let end = match self.endings {
            Endings::Strict => {
                let line = self.kept.strip_suffix(b"\n").unwrap_or(&self.kept);
                line.strip_suffix(b"\r").unwrap_or(line).len()
            }
            Endings::Loose => self
                .kept
                .iter()
                .rposition(|&byte| byte != CR && byte != LF)
                .map_or(0, |at| at + 1),
        };
        &self.kept[..end]
    }

    /// Whether there is nothing on it: what ends a header block.
    pub(super) fn is_empty(&self) -> bool {
        match (self.endings, self.kept.as_slice()) {
            (_, b"\n" | b"\r\n") => true,
            (Endings::Loose, b"\r\r") => true,
            // LF CR, CR LF: two ends, not three.
            (Endings::Loose, b"\r\r\n") => self.after_bare_lf,
            _ => false,
        }
    }

    /// Whether it is the CR CR LF that follows a bare LF; a CR LF behind it belongs to it.
    pub(super) fn swallows_next_crlf(&self) -> bool {
        self.after_bare_lf && self.kept == b"\r\r\n"
    }

    /// Whether it is one space or tab and an LF: the end of a response's header block unless an LF follows.
    pub(super) fn is_single_space(&self) -> bool {
        self.endings == Endings::Loose
            && matches!(self.kept.as_slice(), [b' ' | b'\t' | 0x0b | 0x0c, LF])
    }

    /// Whether the line is longer than what was kept of it.
    pub(super) fn is_overlong(&self) -> bool {
        self.len as usize > self.kept.len()
    }

    /// Bytes read of a line that is not whole.
    pub(super) fn pending(&self) -> &[u8] {
        if self.complete {
            &[]
        } else {
            &self.kept
        }
    }

    /// Bytes of the unfinished line, kept or not.
    pub(super) fn pending_len(&self) -> usize {
        if self.complete {
            0
        } else {
            self.len as usize
        }
    }

    /// Forgets the line.
    pub(super) fn clear(&mut self) {
        self.after_bare_lf =
            self.complete && self.kept.last() == Some(&LF) && !self.kept.ends_with(b"\r\n");
        self.kept.clear();
        self.len = 0;
        self.after_cr = false;
        self.complete = false;
        if self.kept.capacity() > 4096 {
            self.kept = Vec::new();
        }
    }

    /// Forgets the line and how the one before ended.
    pub(super) fn reset(&mut self) {
        self.clear();
        self.after_bare_lf = false;
    }

    /// The same, and lets go of its memory: a connection that is kept alive needs none between two messages.
    pub(super) fn release(&mut self) {
        self.reset();
        self.kept = Vec::new();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.kept.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `bytes`, and what is left unfinished, fed `step` bytes at a time.
    fn lines(endings: Endings, bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut line = Line::new(endings, 100);
        let mut out = Vec::new();
        for mut piece in bytes.chunks(step) {
            while line.read(&mut piece) {
                out.push(line.text().to_vec());
            }
            assert!(piece.is_empty());
        }
        (out, line.pending().to_vec())
    }

    #[test]
    fn strict_lines_end_with_lf_only() {
        for step in 1..12 {
            let (whole, rest) = lines(Endings::Strict, b"a\r\nb\nc\rd\r\r\n\r\ne", step);
            assert_eq!(whole, [&b"a"[..], b"b", b"c\rd\r", b""]);
            assert_eq!(rest, b"e");
        }
    }

    #[test]
    fn loose_lines_end_with_cr_too() {
        for step in 1..12 {
            let (whole, rest) = lines(Endings::Loose, b"a\r\nb\nc\rd\n\re\r\r\n\r\nf", step);
            assert_eq!(whole, [&b"a"[..], b"b", b"c", b"d", b"e", b""]);
            assert_eq!(rest, b"f");
        }
    }

    #[test]
    fn keeps_at_most_the_limit_and_says_so() {
        let mut line = Line::new(Endings::Strict, 4);
        let mut input = &b"abcdefgh\nx\n"[..];
        assert!(line.read(&mut input));
        assert!(line.is_overlong());
        assert_eq!(line.raw(), b"abcd");
        assert!(line.read(&mut input));
        assert!(!line.is_overlong());
        assert_eq!(line.text(), b"x");
    }
}
