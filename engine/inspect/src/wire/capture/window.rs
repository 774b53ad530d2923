//! A file that is read from its beginning to its end, seen through a window that is as small as may be.
use std::io::{self, Read};

/// How much is read at once: in smaller pieces the calls cost more than the copying, larger ones leave the cache.
const CHUNK_BYTES: usize = 128 << 10;

/// The part of a file that is held in memory.
#[derive(Debug)]
pub(super) struct Window<R> {
    file: R,
    /// What was read, and room for more.
    bytes: Vec<u8>,
    /// Where in `bytes` the window begins; what stands before it is over.
    from: usize,
    /// Where in `bytes` what was read ends.
    to: usize,
    at: u64,
}

impl<R: Read> Window<R> {
    pub(super) fn new(file: R) -> Self {
        Self {
            file,
            bytes: Vec::new(),
            from: 0,
            to: 0,
            at: 0,
        }
    }

    /// Where in the file the window begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// At least `wanted` bytes from the window's beginning; fewer where the file ends before.
    pub(super) fn ahead(&mut self, wanted: usize) -> io::Result<&[u8]> {
        if self.held().len() < wanted {
            self.read(wanted)?;
        }
        Ok(self.held())
    }

    /// Reads on, so that `wanted` bytes are held.
    ///
    /// Errors: not where enough came before it failed; reading on will fail again.
    #[cold]
    fn read(&mut self, wanted: usize) -> io::Result<()> {
        self.bytes.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        while self.to < wanted {
            // Grows with what the file holds, not with what is asked for.
            let room = (self.to + CHUNK_BYTES).max(self.bytes.len());
            self.bytes.resize(room, 0);
            match self.file.read(&mut self.bytes[self.to..]) {
                Ok(0) => break,
                Ok(some) => self.to += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What of the file from the window's beginning on is in memory.
    pub(super) fn held(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    /// Moves the window by that many bytes, or to the file's end; returns how many it were.
    pub(super) fn advance(&mut self, bytes: u64) -> io::Result<u64> {
        let mut left = bytes;
        while left > 0 {
            let some = match self.held().len() {
                0 => self.ahead(1)?.len(),
                held => held,
            };
            if some == 0 {
                break;
            }
            let step = some.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.from += step;
            left -= step as u64;
        }
        self.at += bytes - left;
        Ok(bytes - left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes a call, as a pipe does.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let some = self.0.len().min(buffer.len()).min(3);
            self.0.read(&mut buffer[..some])
        }
    }

    #[test]
    fn shows_what_is_asked_for_and_stops_at_the_end() {
        let mut window = Window::new(Trickle(b"0123456789"));
        assert_eq!(&window.ahead(4).unwrap()[..4], b"0123");
        assert_eq!(window.advance(3).unwrap(), 3);
        assert_eq!(window.ahead(100).unwrap(), b"3456789");
        assert_eq!((window.advance(100).unwrap(), window.at()), (7, 10));
        assert!(window.ahead(1).unwrap().is_empty());
    }

    #[test]
    fn holds_little_of_a_long_file() {
        let mut window = Window::new(io::repeat(7));
        for _ in 0..1000 {
            assert!(window.ahead(1500).unwrap().len() >= 1500);
            window.advance(1500).unwrap();
        }
        window.advance(1 << 24).unwrap();
        assert_eq!(window.at(), 1_500_000 + (1 << 24));
        assert!(window.bytes.capacity() <= 4 * CHUNK_BYTES);
    }
}
