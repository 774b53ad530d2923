//! Capture files, read packet by packet: classic pcap (both byte orders, µs and ns) and pcapng.
//!
//! Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
//!
//! Read by hand instead of with a parser crate because a last record that is cut off must still be yielded
//! (an appliance that crashed leaves such files), which the streaming crates treat as "more to come".

mod pcapng;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use pcapng::Section;
use window::Window;

/// Longest record accepted; what libpcap itself takes as a sane maximum (`MAXIMUM_SNAPLEN`).
pub const MAX_RECORD_BYTES: usize = 262_144;
/// Length of a pcap file's header.
const PCAP_HEADER_BYTES: usize = 24;

/// One captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The link type (see [`linktype`](super::linktype)).
    pub link_type: u32,
    /// Capture time in nanoseconds since 1970; 0 where the file has none (pcapng simple packets).
    pub timestamp_ns: u64,
    /// Length on the wire, which may be more than was kept.
    pub original_bytes: u32,
    /// The bytes kept.
    pub data: &'a [u8],
}

/// Why a capture could not be read (further). `at` is the offset in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureError {
    /// Neither pcap nor pcapng.
    UnknownFormat,
    /// The file ends inside a header or record. What there was of a packet has been yielded before this.
    Truncated {
        /// Where the cut record begins.
        at: u64,
    },
    /// A record claims more than [`MAX_RECORD_BYTES`], or a pcapng block more than can be read.
    RecordTooLong {
        /// Where the record begins.
        at: u64,
        /// Its claimed length.
        bytes: u32,
    },
    /// A pcapng block's lengths contradict each other, or a field is impossible.
    BadBlock {
        /// Where the block begins.
        at: u64,
    },
    /// A pcapng packet names an interface that was not described.
    UnknownInterface {
        /// Where the block begins.
        at: u64,
        /// The interface number.
        interface: u32,
    },
    /// The system could not read on.
    Unreadable {
        /// Where the record begins that was wanted.
        at: u64,
        /// What the system says.
        why: String,
    },
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFormat => write!(f, "neither a pcap nor a pcapng file"),
            Self::Truncated { at } => write!(f, "the capture ends inside the record at byte {at}"),
            Self::RecordTooLong { at, bytes } => {
                write!(
                    f,
                    "the record at byte {at} claims {bytes} bytes, more than {MAX_RECORD_BYTES}"
                )
            }
            Self::BadBlock { at } => write!(f, "the pcapng block at byte {at} contradicts itself"),
            Self::UnknownInterface { at, interface } => {
                write!(f, "the pcapng block at byte {at} names interface {interface}, which was not described")
            }
            Self::Unreadable { at, why } => write!(f, "reading at byte {at}: {why}"),
        }
    }
}

impl std::error::Error for CaptureError {}

fn unreadable(at: u64, error: &io::Error) -> CaptureError {
    let why = error.to_string();
    CaptureError::Unreadable { at, why }
}

/// Walks the packets of a capture file, holding one at a time. After the first error there are no more.
#[derive(Debug)]
pub struct CaptureReader<R> {
    file: Window<R>,
    format: Format,
    /// Bytes at the window's beginning that the packet last yielded takes up.
    taken: usize,
    /// Said after a cut record was yielded.
    pending: Option<CaptureError>,
    ended: bool,
}

#[derive(Clone, Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Section),
}

#[derive(Clone, Copy, Debug)]
struct Pcap {
    order: Order,
    link_type: u32,
    ns_per_tick: u64,
    header_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// A packet, and where in the window its bytes are.
struct Found {
    link_type: u32,
    timestamp_ns: u64,
    original_bytes: u32,
    data: Range<usize>,
}

/// One record or block.
struct Step {
    /// The packet in it.
    packet: Option<Found>,
    /// How many bytes of the window it takes up.
    taken: usize,
    /// The file ends inside it.
    torn: bool,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        Some(self.word(*bytes.get(at..)?.first_chunk()?))
    }

    #[inline]
    fn word(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}

impl<R: Read> CaptureReader<R> {
    /// Recognises the format of `file` and reads its first header.
    ///
    /// Errors: `UnknownFormat`, `Truncated` (a pcap header that is cut off), `Unreadable`.
    pub fn new(file: R) -> Result<Self, CaptureError> {
        let mut file = Window::new(file);
        let head = file.ahead(PCAP_HEADER_BYTES);
        let format = Format::of(head.map_err(|error| unreadable(0, &error))?)?;
        let taken = match &format {
            Format::Pcap(_) => PCAP_HEADER_BYTES,
            Format::Pcapng(_) => 0,
        };
        Ok(Self {
            file,
            format,
            taken,
            pending: None,
            ended: false,
        })
    }

    /// The next packet; `None` after the last, and after an error.
    pub fn next_record(&mut self) -> Option<Result<Record<'_>, CaptureError>> {
        if self.ended {
            return None;
        }
        let found = match self.find() {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.ended = true;
                return None;
            }
            Err(error) => {
                self.ended = true;
                return Some(Err(error));
            }
        };
        Some(Ok(Record {
            link_type: found.link_type,
            timestamp_ns: found.timestamp_ns,
            original_bytes: found.original_bytes,
            data: self.file.held().get(found.data).unwrap_or_default(),
        }))
    }

    /// Goes on to the next packet.
    fn find(&mut self) -> Result<Option<Found>, CaptureError> {
        loop {
            if let Some(error) = self.pending.take() {
                return Err(error);
            }
            let at = self.file.at();
            let moved = self.file.advance(std::mem::take(&mut self.taken) as u64);
            let ahead = moved.and_then(|_| self.file.ahead(1));
            if ahead.map_err(|error| unreadable(at, &error))?.is_empty() {
                return Ok(None);
            }
            let at = self.file.at();
            let step = match &mut self.format {
                Format::Pcap(pcap) => pcap.step(&mut self.file),
                Format::Pcapng(section) => section.step(&mut self.file),
            }?;
            self.taken = step.taken;
            self.pending = step.torn.then_some(CaptureError::Truncated { at });
            if let Some(packet) = step.packet {
                return Ok(Some(packet));
            }
        }
    }
}

impl Format {
    /// The format of a file that begins with `head`.
    fn of(head: &[u8]) -> Result<Self, CaptureError> {
        let magic = Order::Big.u32(head, 0).ok_or(CaptureError::UnknownFormat)?;
        // The last is the "modified" format of old Linux captures: 8 further bytes in each record header.
        let (order, ns_per_tick, header_bytes) = match magic {
            pcapng::SECTION => return Ok(Self::Pcapng(Section::none())),
            0xa1b2_c3d4 => (Order::Big, 1000, 16),
            0xd4c3_b2a1 => (Order::Little, 1000, 16),
            0xa1b2_3c4d => (Order::Big, 1, 16),
            0x4d3c_b2a1 => (Order::Little, 1, 16),
            0xa1b2_cd34 => (Order::Big, 1000, 24),
            0x34cd_b2a1 => (Order::Little, 1000, 24),
            _ => return Err(CaptureError::UnknownFormat),
        };
        let link = order.u32(head, 20);
        let link = link.ok_or(CaptureError::Truncated { at: 0 })?;
        Ok(Self::Pcap(Pcap {
            order,
            // The upper bits say whether and how long a frame check sequence is; it is left at the packet's
            // end, where the IP length cuts it.
            link_type: link & 0xffff,
            ns_per_tick,
            header_bytes,
        }))
    }
}

impl Pcap {
    /// Reads one record.
    fn step(&self, file: &mut Window<impl Read>) -> Result<Step, CaptureError> {
        let at = file.at();
        let cut = |error: io::Error| unreadable(at, &error);
        let head = file.ahead(self.header_bytes).map_err(cut)?;
        let whole = head.len() >= self.header_bytes;
        let Some(head) = head.first_chunk::<16>().filter(|_| whole) else {
            return Err(CaptureError::Truncated { at });
        };
        let field = |n: usize| {
            self.order
                .word([head[n], head[n + 1], head[n + 2], head[n + 3]])
        };
        let (seconds, ticks, kept, original_bytes) = (field(0), field(4), field(8), field(12));
        if kept as usize > MAX_RECORD_BYTES {
            return Err(CaptureError::RecordTooLong { at, bytes: kept });
        }
        let total = self.header_bytes + kept as usize;
        let ahead = file.ahead(total).map_err(cut)?.len();
        let taken = ahead.min(total);
        let timestamp_ns = u64::from(seconds) * 1_000_000_000 + u64::from(ticks) * self.ns_per_tick;
        let packet = Found {
            link_type: self.link_type,
            timestamp_ns,
            original_bytes,
            data: self.header_bytes..taken,
        };
        Ok(Step {
            packet: Some(packet),
            taken,
            torn: ahead < total,
        })
    }
}
