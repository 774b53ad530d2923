//! Capture files from bytes: classic pcap (both byte orders, µs and ns) and pcapng.
//!
//! Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
//!
//! Read by hand instead of with a parser crate because a last record that is cut off must still be yielded
//! (an appliance that crashed leaves such files), which the streaming crates treat as "more to come".

use std::fmt;

/// Longest record accepted; what libpcap itself takes as a sane maximum (`MAXIMUM_SNAPLEN`).
pub const MAX_RECORD_BYTES: usize = 262_144;
/// Most interfaces one pcapng section may describe.
pub const MAX_INTERFACES: usize = 4096;

const PCAPNG_SECTION: u32 = 0x0a0d_0d0a;
const PCAPNG_BYTE_ORDER: u32 = 0x1a2b_3c4d;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureError {
    /// Neither pcap nor pcapng.
    UnknownFormat,
    /// The file ends inside a header or record. What there was of a packet has been yielded before this.
    Truncated {
        /// Where the cut record begins.
        at: usize,
    },
    /// A record claims more than [`MAX_RECORD_BYTES`].
    RecordTooLong {
        /// Where the record begins.
        at: usize,
        /// Its claimed length.
        bytes: u32,
    },
    /// A pcapng block's lengths contradict each other, or a field is impossible.
    BadBlock {
        /// Where the block begins.
        at: usize,
    },
    /// A pcapng packet names an interface that was not described.
    UnknownInterface {
        /// Where the block begins.
        at: usize,
        /// The interface number.
        interface: u32,
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
        }
    }
}

impl std::error::Error for CaptureError {}

/// Walks the packets of a capture file that is in memory. After the first error the iterator ends.
#[derive(Clone, Debug)]
pub struct CaptureReader<'a> {
    file: &'a [u8],
    at: usize,
    format: Format,
    /// Said after a cut record was yielded, or once something is wrong.
    pending: Option<CaptureError>,
    ended: bool,
}

#[derive(Clone, Debug)]
enum Format {
    Pcap {
        order: Order,
        link_type: u32,
        ns_per_tick: u64,
        header_bytes: usize,
    },
    Pcapng {
        order: Order,
        interfaces: Vec<Interface>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: u32,
    snaplen: u32,
    resolution: Resolution,
    offset_s: i64,
}

/// What one tick of a pcapng timestamp is.
#[derive(Clone, Copy, Debug)]
enum Resolution {
    /// 10^-n seconds.
    Decimal(u32),
    /// 2^-n seconds.
    Binary(u32),
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
        let bytes = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
}

impl Resolution {
    /// The time of `ticks` in nanoseconds, saturating.
    fn to_ns(self, ticks: u64, offset_s: i64) -> u64 {
        let ns = match self {
            Self::Decimal(n @ 0..=9) => u128::from(ticks) * 10u128.pow(9 - n),
            Self::Decimal(n) => u128::from(ticks) / 10u128.pow((n - 9).min(30)),
            Self::Binary(n) => (u128::from(ticks) * 1_000_000_000) >> n.min(127),
        };
        let shifted = i128::try_from(ns)
            .unwrap_or(i128::MAX)
            .saturating_add(i128::from(offset_s) * 1_000_000_000);
        u64::try_from(shifted.max(0)).unwrap_or(u64::MAX)
    }
}

impl<'a> CaptureReader<'a> {
    /// Recognises the format of `file` and reads its first header.
    ///
    /// Errors: `UnknownFormat`, `Truncated` (a pcap header that is cut off).
    pub fn new(file: &'a [u8]) -> Result<Self, CaptureError> {
        let magic = Order::Big.u32(file, 0).ok_or(CaptureError::UnknownFormat)?;
        // The last is the "modified" format of old Linux captures: 8 further bytes in each record header.
        let (order, ns_per_tick, header_bytes) = match magic {
            PCAPNG_SECTION => {
                let format = Format::Pcapng {
                    order: Order::Little,
                    interfaces: Vec::new(),
                };
                return Ok(Self {
                    file,
                    at: 0,
                    format,
                    pending: None,
                    ended: false,
                });
            }
            0xa1b2_c3d4 => (Order::Big, 1000, 16),
            0xd4c3_b2a1 => (Order::Little, 1000, 16),
            0xa1b2_3c4d => (Order::Big, 1, 16),
            0x4d3c_b2a1 => (Order::Little, 1, 16),
            0xa1b2_cd34 => (Order::Big, 1000, 24),
            0x34cd_b2a1 => (Order::Little, 1000, 24),
            _ => return Err(CaptureError::UnknownFormat),
        };
        let link = order
            .u32(file, 20)
            .ok_or(CaptureError::Truncated { at: 0 })?;
        // The upper bits say whether and how long a frame check sequence is; it is left at the packet's end,
        // where the IP length cuts it.
        let format = Format::Pcap {
            order,
            link_type: link & 0xffff,
            ns_per_tick,
            header_bytes,
        };
        Ok(Self {
            file,
            at: 24,
            format,
            pending: None,
            ended: false,
        })
    }

    fn end_with(&mut self, error: CaptureError) -> Option<Result<Record<'a>, CaptureError>> {
        self.ended = true;
        Some(Err(error))
    }

    fn next_pcap(
        &mut self,
        order: Order,
        link_type: u32,
        ns_per_tick: u64,
        header_bytes: usize,
    ) -> Step<'a> {
        let at = self.at;
        let rest = &self.file[at..];
        let Some(header) = rest.get(..header_bytes) else {
            return Err(CaptureError::Truncated { at });
        };
        let field = |n: usize| order.u32(header, n).unwrap_or(0);
        let (seconds, ticks, kept, original) = (field(0), field(4), field(8), field(12));
        if kept as usize > MAX_RECORD_BYTES {
            return Err(CaptureError::RecordTooLong { at, bytes: kept });
        }
        let body = &rest[header_bytes..];
        let data = body.get(..kept as usize).unwrap_or(body);
        if data.len() < kept as usize {
            self.pending = Some(CaptureError::Truncated { at });
        }
        self.at = at + header_bytes + data.len();
        let timestamp_ns = u64::from(seconds) * 1_000_000_000 + u64::from(ticks) * ns_per_tick;
        Ok(Some(Record {
            link_type,
            timestamp_ns,
            original_bytes: original,
            data,
        }))
    }

    /// Reads one pcapng block; `Ok(None)` for those that hold no packet.
    fn next_block(&mut self) -> Step<'a> {
        let at = self.at;
        let rest = &self.file[at..];
        if rest.starts_with(&PCAPNG_SECTION.to_be_bytes()) {
            self.start_section(rest, at)?;
        }
        let Format::Pcapng { order, .. } = self.format else {
            return Ok(None);
        };
        let kind = order.u32(rest, 0).ok_or(CaptureError::Truncated { at })?;
        let total = order.u32(rest, 4).ok_or(CaptureError::Truncated { at })? as usize;
        if total < 12 || total % 4 != 0 {
            return Err(CaptureError::BadBlock { at });
        }
        let body = match rest.get(..total) {
            Some(block) if order.u32(block, total - 4) != Some(total as u32) => {
                return Err(CaptureError::BadBlock { at });
            }
            Some(block) => &block[8..total - 4],
            None => {
                self.pending = Some(CaptureError::Truncated { at });
                &rest[8.min(rest.len())..]
            }
        };
        self.at = at.saturating_add(total).min(self.file.len());
        match kind {
            1 => self.describe_interface(body, at, order).map(|()| None),
            2 | 6 => self.enhanced_packet(body, at, order, kind),
            3 => self.simple_packet(body, at, order),
            _ => Ok(None),
        }
    }

    fn start_section(&mut self, rest: &'a [u8], at: usize) -> Result<(), CaptureError> {
        let order = match Order::Big.u32(rest, 8) {
            Some(PCAPNG_BYTE_ORDER) => Order::Big,
            Some(other) if other.swap_bytes() == PCAPNG_BYTE_ORDER => Order::Little,
            Some(_) => return Err(CaptureError::BadBlock { at }),
            None => return Err(CaptureError::Truncated { at }),
        };
        self.format = Format::Pcapng {
            order,
            interfaces: Vec::new(),
        };
        Ok(())
    }

    fn describe_interface(
        &mut self,
        body: &[u8],
        at: usize,
        order: Order,
    ) -> Result<(), CaptureError> {
        let Format::Pcapng { interfaces, .. } = &mut self.format else {
            return Ok(());
        };
        let (Some(link_type), Some(snaplen)) = (order.u16(body, 0), order.u32(body, 4)) else {
            return Err(CaptureError::BadBlock { at });
        };
        if interfaces.len() == MAX_INTERFACES {
            return Err(CaptureError::BadBlock { at });
        }
        let mut interface = Interface {
            link_type: u32::from(link_type),
            snaplen,
            resolution: Resolution::Decimal(6),
            offset_s: 0,
        };
        let mut options = body.get(8..).unwrap_or_default();
        while let (Some(code), Some(bytes)) = (order.u16(options, 0), order.u16(options, 2)) {
            let bytes = usize::from(bytes);
            let Some(value) = options.get(4..4 + bytes).filter(|_| code != 0) else {
                break;
            };
            match (code, value) {
                (9, [n]) if n & 0x80 != 0 => {
                    interface.resolution = Resolution::Binary(u32::from(n & 0x7f))
                }
                (9, [n]) => interface.resolution = Resolution::Decimal(u32::from(*n)),
                (14, value) if value.len() == 8 => {
                    let (a, b) = (
                        order.u32(value, 0).unwrap_or(0),
                        order.u32(value, 4).unwrap_or(0),
                    );
                    let (high, low) = if order == Order::Big { (a, b) } else { (b, a) };
                    interface.offset_s = ((u64::from(high) << 32) | u64::from(low)) as i64;
                }
                _ => {}
            }
            options = options
                .get(4 + bytes.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        interfaces.push(interface);
        Ok(())
    }

    /// The enhanced packet block (6), and the obsolete packet block (2), which differs in its first field.
    fn enhanced_packet(&mut self, body: &'a [u8], at: usize, order: Order, kind: u32) -> Step<'a> {
        let Some(header) = body.first_chunk::<20>() else {
            return Err(self.short_block(at));
        };
        let field = |n: usize| order.u32(header, n).unwrap_or(0);
        let number = if kind == 6 {
            field(0)
        } else {
            u32::from(order.u16(header, 0).unwrap_or(0))
        };
        let interface = self.interface(number, at)?;
        let ticks = (u64::from(field(4)) << 32) | u64::from(field(8));
        let (kept, original_bytes) = (field(12), field(16));
        let data = self.packet_data(&body[20..], kept, at)?;
        let timestamp_ns = interface.resolution.to_ns(ticks, interface.offset_s);
        Ok(Some(Record {
            link_type: interface.link_type,
            timestamp_ns,
            original_bytes,
            data,
        }))
    }

    /// The simple packet block: no interface, no time; its kept length follows from the snap length.
    fn simple_packet(&mut self, body: &'a [u8], at: usize, order: Order) -> Step<'a> {
        let Some(original_bytes) = order.u32(body, 0) else {
            return Err(self.short_block(at));
        };
        let interface = self.interface(0, at)?;
        let snaplen = if interface.snaplen == 0 {
            u32::MAX
        } else {
            interface.snaplen
        };
        let data = self.packet_data(&body[4..], original_bytes.min(snaplen), at)?;
        Ok(Some(Record {
            link_type: interface.link_type,
            timestamp_ns: 0,
            original_bytes,
            data,
        }))
    }

    fn interface(&self, number: u32, at: usize) -> Result<Interface, CaptureError> {
        let Format::Pcapng { interfaces, .. } = &self.format else {
            return Err(CaptureError::BadBlock { at });
        };
        interfaces
            .get(number as usize)
            .copied()
            .ok_or(CaptureError::UnknownInterface {
                at,
                interface: number,
            })
    }

    fn packet_data(&self, body: &'a [u8], kept: u32, at: usize) -> Result<&'a [u8], CaptureError> {
        if kept as usize > MAX_RECORD_BYTES {
            return Err(CaptureError::RecordTooLong { at, bytes: kept });
        }
        match body.get(..kept as usize) {
            Some(data) => Ok(data),
            None if self.pending.is_some() => Ok(body),
            None => Err(CaptureError::BadBlock { at }),
        }
    }

    fn short_block(&self, at: usize) -> CaptureError {
        self.pending.unwrap_or(CaptureError::BadBlock { at })
    }
}

type Step<'a> = Result<Option<Record<'a>>, CaptureError>;

impl<'a> Iterator for CaptureReader<'a> {
    type Item = Result<Record<'a>, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            if let Some(error) = self.pending.take() {
                return self.end_with(error);
            }
            if self.at >= self.file.len() {
                self.ended = true;
                break;
            }
            let step = match self.format {
                Format::Pcap {
                    order,
                    link_type,
                    ns_per_tick,
                    header_bytes,
                } => self.next_pcap(order, link_type, ns_per_tick, header_bytes),
                Format::Pcapng { .. } => self.next_block(),
            };
            match step {
                Ok(Some(record)) => return Some(Ok(record)),
                Ok(None) => {}
                Err(error) => return self.end_with(error),
            }
        }
        None
    }
}
