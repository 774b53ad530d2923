//! The header fields that two HTTP/2 peers can refer to by a number.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::Field;

/// Bytes that each entry counts beside its name and value. Source: RFC 7541, 4.1.
const ENTRY_BYTES: usize = 32;
/// A peer's table without being told otherwise. Source: RFC 9113, 6.5.2.
const DEFAULT_BYTES: usize = 4096;
/// The largest table that is followed (Suricata's figure; browsers ask for as much).
pub(super) const MAX_BYTES: usize = 64 << 10;

/// The entries every peer has. Source: RFC 7541, Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// One direction's table.
#[derive(Debug)]
pub(super) struct Table {
    /// The entries that were added, the newest first.
    added: VecDeque<Field>,
    /// What they count together, and may count.
    bytes: usize,
    limit: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            added: VecDeque::new(),
            bytes: 0,
            limit: DEFAULT_BYTES,
        }
    }

    /// The entry of that number, from 1 on.
    pub(super) fn get(&self, index: u64) -> Option<Field> {
        let at = usize::try_from(index).ok()?.checked_sub(1)?;
        match statics().get(at) {
            Some(field) => Some(field.clone()),
            None => self.added.get(at - STATIC.len()).cloned(),
        }
    }

    /// Adds an entry, for which the oldest make room. Source: RFC 7541, 4.4.
    pub(super) fn add(&mut self, field: Field) {
        let bytes = counted(&field);
        self.shrink(self.limit.saturating_sub(bytes));
        if bytes <= self.limit {
            self.bytes += bytes;
            self.added.push_front(field);
        }
    }

    /// Sets the size, to no more than is followed.
    pub(super) fn resize(&mut self, bytes: u64) {
        self.limit = usize::try_from(bytes).unwrap_or(usize::MAX).min(MAX_BYTES);
        self.shrink(self.limit);
    }

    /// Drops the oldest entries until no more than `limit` bytes are left.
    fn shrink(&mut self, limit: usize) {
        while self.bytes > limit {
            match self.added.pop_back() {
                Some(oldest) => self.bytes -= counted(&oldest),
                None => self.bytes = 0,
            }
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes + self.added.capacity() * size_of::<Field>()
    }
}

fn counted(field: &Field) -> usize {
    ENTRY_BYTES + field.name.len() + field.value.len()
}

fn statics() -> &'static [Field] {
    static FIELDS: OnceLock<Vec<Field>> = OnceLock::new();
    FIELDS.get_or_init(|| {
        let field = |(name, value): &(&str, &str)| Field {
            name: Arc::from(name.as_bytes()),
            value: Arc::from(value.as_bytes()),
        };
        STATIC.iter().map(field).collect()
    })
}
