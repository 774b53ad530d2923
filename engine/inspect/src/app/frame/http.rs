//! HTTP/1's requests and responses, header and body, as they are on the wire.
use std::collections::VecDeque;

use super::{Found, Framer, Step};
use crate::app::http::looks_like_request;
use crate::Direction;

/// Requests without a response that are remembered.
const MAX_WAITING: usize = 256;
/// Bytes of a chunk's first line.
const MAX_CHUNK_LINE_BYTES: usize = 4096;

/// What comes next in a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// A message's header.
    #[default]
    Head,
    /// The line before a chunk.
    Chunk,
    /// The lines behind the last chunk.
    Trailer,
}

/// Both directions.
#[derive(Debug, Default)]
pub(super) struct Http {
    next: [Next; 2],
    /// Requests that wait for a response: whether that has no body, and whether the connection is then another's.
    waiting: VecDeque<(bool, bool)>,
}

impl Framer for Http {
    fn step(&mut self, direction: Direction, bytes: &[u8], found: &mut Found) -> Step {
        let step = match self.next[direction as usize] {
            Next::Head => self.head(direction, bytes, found),
            Next::Chunk => self.chunk(direction, bytes),
            Next::Trailer => self.trailer(direction, bytes, found),
        };
        step.unwrap_or(Step::Need)
    }

    fn resume(&mut self, direction: Direction, bytes: &[u8]) -> bool {
        let begins = match direction {
            Direction::ToServer => looks_like_request(bytes),
            Direction::ToClient => bytes.starts_with(b"HTTP/1."),
        };
        if begins {
            self.next[direction as usize] = Next::Head;
        }
        begins
    }
}

impl Http {
    fn head(&mut self, direction: Direction, bytes: &[u8], found: &mut Found) -> Option<Step> {
        let blank = bytes
            .iter()
            .take_while(|it| matches!(it, b'\r' | b'\n'))
            .count();
        if blank > 0 {
            return Some(Step::Pass(blank as u64));
        }
        let len = head_len(bytes)?;
        let head = &bytes[..len];
        let name = name(direction);
        let (no_body, ends) = match direction {
            Direction::ToServer => {
                if self.waiting.len() < MAX_WAITING {
                    let connect = head.starts_with(b"CONNECT ");
                    self.waiting
                        .push_back((head.starts_with(b"HEAD "), connect));
                }
                (false, false)
            }
            Direction::ToClient => self.response(head),
        };
        if ends {
            found.frame(name, 0, len as u64);
            return Some(Step::Lost);
        }
        let chunked = field(head, b"transfer-encoding").is_some_and(|value| {
            memchr::memmem::find(&value.to_ascii_lowercase(), b"chunked").is_some()
        });
        let length = field(head, b"content-length")
            .and_then(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
        let body = match length {
            _ if no_body => 0,
            _ if chunked => {
                self.next[direction as usize] = Next::Chunk;
                found.open(name);
                return Some(Step::Pass(len as u64));
            }
            Some(length) => length,
            None if direction == Direction::ToServer => 0,
            None => {
                found.open(name);
                return Some(Step::Pass(u64::MAX));
            }
        };
        let whole = body.saturating_add(len as u64);
        found.frame(name, 0, whole);
        Some(Step::Pass(whole))
    }

    /// Whether a response has no body, and whether what follows is no HTTP any more.
    fn response(&mut self, head: &[u8]) -> (bool, bool) {
        let status = head
            .split(|byte| *byte == b' ')
            .nth(1)
            .and_then(|word| word.get(..3))
            .unwrap_or_default();
        if status.first() == Some(&b'1') && status != b"101" {
            return (true, false);
        }
        let (head_only, connect) = self.waiting.pop_front().unwrap_or_default();
        let ends = status == b"101" || connect && status.first() == Some(&b'2');
        (head_only || matches!(status, b"204" | b"304"), ends)
    }

    fn chunk(&mut self, direction: Direction, bytes: &[u8]) -> Option<Step> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return (bytes.len() > MAX_CHUNK_LINE_BYTES).then_some(Step::Lost);
        };
        let line = bytes[..end].trim_ascii();
        let digits = line.iter().take_while(|it| it.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&line[..digits])
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let Some(size) = size else {
            return Some(Step::Lost);
        };
        let line = end as u64 + 1;
        if size == 0 {
            self.next[direction as usize] = Next::Trailer;
            return Some(Step::Pass(line));
        }
        Some(Step::Pass(size.saturating_add(line + 2)))
    }

    fn trailer(&mut self, direction: Direction, bytes: &[u8], found: &mut Found) -> Option<Step> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return (bytes.len() > MAX_CHUNK_LINE_BYTES).then_some(Step::Lost);
        };
        if bytes[..end].trim_ascii().is_empty() {
            self.next[direction as usize] = Next::Head;
            found.end(name(direction));
        }
        Some(Step::Pass(end as u64 + 1))
    }
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "request",
        Direction::ToClient => "response",
    }
}

/// Length of a header with the empty line behind it.
fn head_len(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// The value of a header's first field of that name (in lower case).
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (front, rest) = line.split_at_checked(name.len())?;
        let value = rest.trim_ascii_start().strip_prefix(b":")?;
        front.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}
