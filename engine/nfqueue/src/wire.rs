//! Netlink's framing: messages in a datagram, attributes in a message. Nothing here trusts a length field.
//! Source: linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_queue.h.

pub(crate) const MESSAGE_HEADER: usize = 16;
pub(crate) const NETFILTER_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;
/// NLA_F_NESTED and NLA_F_NET_BYTEORDER are not part of an attribute's type.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;

const NFNL_SUBSYS_QUEUE: u16 = 3;
pub(crate) const MSG_PACKET: u16 = NFNL_SUBSYS_QUEUE << 8;
pub(crate) const MSG_VERDICT: u16 = NFNL_SUBSYS_QUEUE << 8 | 1;
pub(crate) const MSG_CONFIG: u16 = NFNL_SUBSYS_QUEUE << 8 | 2;
pub(crate) const MSG_VERDICT_BATCH: u16 = NFNL_SUBSYS_QUEUE << 8 | 3;

/// One netlink message; `body` is what follows its header, cut where the datagram ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram, up to the first whose length makes no sense.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32_ne(rest, 0)? as usize;
        let kind = u16_ne(rest, 4)?;
        let sequence = u32_ne(rest, 8)?;
        if length < MESSAGE_HEADER || rest.len() < MESSAGE_HEADER {
            return None;
        }
        let (message, after) = split_aligned(rest, length);
        rest = after;
        Some(Message {
            kind,
            sequence,
            body: &message[MESSAGE_HEADER..],
        })
    })
}

/// The attributes in `bytes` as (type, value), up to the first whose length makes no sense.
///
/// The last value may be shorter than its header says, when the datagram was cut: compare it with what it tells.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_ne(rest, 0)?);
        let kind = u16_ne(rest, 2)? & ATTRIBUTE_TYPE_MASK;
        if length < ATTRIBUTE_HEADER {
            return None;
        }
        let (attribute, after) = split_aligned(rest, length);
        rest = after;
        Some((kind, &attribute[ATTRIBUTE_HEADER..]))
    })
}

/// Splits after `length` bytes, which must be at least a header's; the rest starts at the next multiple of four.
fn split_aligned(bytes: &[u8], length: usize) -> (&[u8], &[u8]) {
    let end = length.min(bytes.len());
    let next = length.next_multiple_of(4).min(bytes.len());
    (&bytes[..end], &bytes[next..])
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn u16_ne(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

pub(crate) fn u32_ne(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

pub(crate) fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

pub(crate) fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

pub(crate) fn u64_be(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

/// Netlink messages being written, one after another; the memory is reused after [`Builder::clear`].
#[derive(Debug, Default)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins a message for `queue`; returns where it starts, for [`Builder::finish`].
    pub(crate) fn begin(&mut self, kind: u16, flags: u16, sequence: u32, queue: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        // struct nfgenmsg: family unspecified, version 0, the queue in network order.
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&queue.to_be_bytes());
        start
    }

    /// Adds an attribute; `value` is a few bytes.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = ATTRIBUTE_HEADER + value.len();
        self.bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Writes the length of the message that starts at `start`.
    pub(crate) fn finish(&mut self, start: usize) {
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Makes the message at `start` another kind, and its first attribute's last four bytes `value`.
    pub(crate) fn patch(&mut self, start: usize, kind: u16, at: usize, value: [u8; 4]) {
        self.bytes[start + 4..start + 6].copy_from_slice(&kind.to_ne_bytes());
        self.bytes[start + at..start + at + 4].copy_from_slice(&value);
    }
}
