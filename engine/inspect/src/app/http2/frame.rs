//! Frames, the units HTTP/2 is made of on the wire. Source: RFC 9113, 4.1 and 6.

/// What a client sends first. Source: RFC 9113, 3.4.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's header.
pub(super) const HEADER_BYTES: usize = 9;

/// Kinds of frames.
pub mod kind {
    /// A piece of a body.
    pub const DATA: u8 = 0;
    /// A header block, or the beginning of one.
    pub const HEADERS: u8 = 1;
    /// A stream's weight.
    pub const PRIORITY: u8 = 2;
    /// The end of a stream before its end.
    pub const RST_STREAM: u8 = 3;
    /// What the sender is ready for.
    pub const SETTINGS: u8 = 4;
    /// A request that the server answers before it came.
    pub const PUSH_PROMISE: u8 = 5;
    /// Are you there?
    pub const PING: u8 = 6;
    /// No more streams.
    pub const GOAWAY: u8 = 7;
    /// More may be sent.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More of a header block.
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames; which ones a frame has depends on its kind.
pub(super) mod flag {
    pub const ACK: u8 = 0x01;
    pub const END_STREAM: u8 = 0x01;
    pub const END_HEADERS: u8 = 0x04;
    pub const PADDED: u8 = 0x08;
    pub const PRIORITY: u8 = 0x20;
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes behind it.
    pub length: u32,
    pub kind: u8,
    pub flags: u8,
    /// 0: the connection itself.
    pub stream: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: stream_of(stream),
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a frame of that kind may be that long. Source: RFC 9113, 6.3, 6.4, 6.7, 6.9.
    pub(super) fn is_sized(&self) -> bool {
        match self.kind {
            kind::PRIORITY => self.length == 5,
            kind::RST_STREAM | kind::WINDOW_UPDATE => self.length == 4,
            kind::PING => self.length == 8,
            _ => true,
        }
    }
}

/// A stream's number, without the reserved bit.
pub(super) fn stream_of(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

/// The bytes of a payload that are not padding, where the frame says it has some; of more padding than payload
/// only its length is left out, so that nothing hides in it. Source: RFC 9113, 6.1.
pub(super) fn unpad(header: &Header, payload: &[u8]) -> Range {
    let padding = payload.first().filter(|_| header.has(flag::PADDED));
    let end = padding.and_then(|padding| payload.len().checked_sub(1 + usize::from(*padding)));
    match (padding, end) {
        (Some(_), Some(end)) => 1..end + 1,
        (Some(_), None) => 1..payload.len(),
        (None, _) => 0..payload.len(),
    }
}

type Range = std::ops::Range<usize>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_header_and_drops_the_reserved_bit() {
        let header = Header::parse(b"\x00\x40\x00\x01\x05\x80\x00\x00\x03");
        let (kind, flags) = (kind::HEADERS, flag::END_STREAM | flag::END_HEADERS);
        assert_eq!(
            header,
            Header {
                length: 0x4000,
                kind,
                flags,
                stream: 3
            }
        );
    }

    #[test]
    fn padding_that_does_not_fit_hides_nothing() {
        let padded = Header {
            length: 0,
            kind: kind::HEADERS,
            flags: flag::PADDED,
            stream: 1,
        };
        assert_eq!(unpad(&padded, b"\x02ab\0\0"), 1..3);
        assert_eq!(unpad(&padded, b"\x00ab"), 1..3);
        assert_eq!(unpad(&padded, b"\x02\0\0"), 1..1);
        assert_eq!(unpad(&padded, b"\x03\0\0"), 1..3);
        assert_eq!(unpad(&padded, b""), 0..0);
        assert_eq!(unpad(&Header { flags: 0, ..padded }, b"\x00ab"), 0..3);
    }
}
