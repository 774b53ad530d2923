//! URLs in a message's text, for its record.

/// URLs that are kept.
const MAX_URLS: usize = 64;
/// Bytes of a text line in which they are looked for.
const MAX_LINE_BYTES: usize = 2048;
/// What comes before one.
const SCHEME: &[u8] = b"http://";

/// URLs, without their scheme, each once.
#[derive(Debug, Default)]
pub struct Urls {
    found: Vec<Vec<u8>>,
    /// Those before this belong to earlier parts; a part's newest comes first, as Suricata lists them.
    earlier: usize,
    /// The message's own body, rather than one of its parts, holds some.
    own: bool,
    line: Vec<u8>,
}

impl Urls {
    /// Reads decoded text in any pieces.
    pub(super) fn read(&mut self, text: &[u8]) {
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// Ends a body; `own`: the message's, which has no parts.
    pub(super) fn end_part(&mut self, own: bool) {
        self.end_line();
        self.own |= own && self.found.len() > self.earlier;
        self.earlier = self.found.len();
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line).to_ascii_lowercase();
        for at in memchr::memmem::find_iter(&line, SCHEME) {
            let rest = &line[at + SCHEME.len()..];
            let end = rest.iter().position(|byte| {
                byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b']')
            });
            let url = &rest[..end.unwrap_or(rest.len())];
            let known = self.found.iter().any(|known| known == url);
            if !url.is_empty() && !known && self.found.len() < MAX_URLS {
                self.found.insert(self.earlier, url.to_vec());
            }
        }
    }

    /// Those that were found, in order.
    pub fn found(&self) -> &[Vec<u8>] {
        &self.found
    }

    /// Whether the message's own body holds some.
    pub fn in_own_body(&self) -> bool {
        self.own
    }

    /// One names an IPv4 address.
    pub fn has_ipv4(&self) -> bool {
        self.hosts()
            .any(|host| host.parse::<std::net::Ipv4Addr>().is_ok())
    }

    /// One names an IPv6 address.
    pub fn has_ipv6(&self) -> bool {
        self.hosts().any(|host| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::Ipv6Addr>().is_ok()
        })
    }

    /// One ends as a program's name does.
    pub fn has_executable(&self) -> bool {
        self.found.iter().any(|url| url.ends_with(b".exe"))
    }

    /// Bytes of heap held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.line.capacity() + self.found.iter().map(Vec::capacity).sum::<usize>()
    }

    fn hosts(&self) -> impl Iterator<Item = &str> {
        self.found.iter().filter_map(|url| {
            let end = url
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(url.len());
            let host = std::str::from_utf8(&url[..end]).ok()?;
            let port = host
                .rfind(':')
                .filter(|_| !host.ends_with(']') && host.matches(':').count() == 1);
            Some(&host[..port.unwrap_or(host.len())])
        })
    }
}
