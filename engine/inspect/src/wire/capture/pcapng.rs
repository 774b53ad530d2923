//! pcapng: a file of blocks, some of which hold packets.
use std::io::Read;

use super::window::Window;
use super::{unreadable, CaptureError, Found, Order, Step, MAX_RECORD_BYTES};

/// Most interfaces one section may describe.
pub(super) const MAX_INTERFACES: usize = 4096;
/// Longest block that is looked into: a packet and its options, which nothing else bounds.
pub(super) const MAX_BLOCK_BYTES: usize = 1 << 20;

/// Begins a section, in both byte orders alike.
pub(super) const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Block types.
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// What stands before and after a block's body.
const HEAD_BYTES: usize = 8;
const TAIL_BYTES: usize = 4;

/// The section that is being read.
#[derive(Clone, Debug)]
pub(super) struct Section {
    order: Order,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: u32,
    snaplen: u32,
    resolution: Resolution,
    offset_s: i64,
}

/// What one tick of a timestamp is.
#[derive(Clone, Copy, Debug)]
enum Resolution {
    /// 10^-n seconds.
    Decimal(u32),
    /// 2^-n seconds.
    Binary(u32),
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

/// A block's body, as much as there is of it.
struct Body<'a> {
    bytes: &'a [u8],
    order: Order,
    /// Where the block begins.
    at: u64,
    /// The file ends inside it.
    torn: bool,
}

impl Body<'_> {
    /// What is wrong with a block that is too short for what it should hold.
    fn too_short(&self) -> CaptureError {
        match self.torn {
            true => CaptureError::Truncated { at: self.at },
            false => CaptureError::BadBlock { at: self.at },
        }
    }

    /// The packet of `kept` bytes that begins at `start`.
    fn packet(&self, start: usize, kept: u32) -> Result<std::ops::Range<usize>, CaptureError> {
        if kept as usize > MAX_RECORD_BYTES {
            return Err(CaptureError::RecordTooLong {
                at: self.at,
                bytes: kept,
            });
        }
        let end = start + kept as usize;
        if end > self.bytes.len() && !self.torn {
            return Err(CaptureError::BadBlock { at: self.at });
        }
        Ok(HEAD_BYTES + start..HEAD_BYTES + end.min(self.bytes.len()))
    }
}

impl Section {
    /// What a file begins with: no section yet.
    pub(super) fn none() -> Self {
        Self {
            order: Order::Little,
            interfaces: Vec::new(),
        }
    }

    /// Reads one block.
    pub(super) fn step(&mut self, file: &mut Window<impl Read>) -> Result<Step, CaptureError> {
        let at = file.at();
        let head = file.ahead(12).map_err(|error| unreadable(at, &error))?;
        if head.starts_with(&SECTION.to_be_bytes()) {
            *self = Self::begin(head, at)?;
        }
        let order = self.order;
        let cut = CaptureError::Truncated { at };
        let (Some(kind), Some(total)) = (order.u32(head, 0), order.u32(head, 4)) else {
            return Err(cut);
        };
        if total < 12 || total % 4 != 0 {
            return Err(CaptureError::BadBlock { at });
        }
        match kind {
            INTERFACE | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {}
            _ => return self.pass_over(file, total),
        }
        if total as usize > MAX_BLOCK_BYTES {
            return Err(CaptureError::RecordTooLong { at, bytes: total });
        }
        let total = total as usize;
        let ahead = file.ahead(total).map_err(|error| unreadable(at, &error))?;
        let torn = ahead.len() < total;
        let taken = ahead.len().min(total);
        if !torn && order.u32(ahead, total - TAIL_BYTES) != Some(total as u32) {
            return Err(CaptureError::BadBlock { at });
        }
        let end = if torn { taken } else { total - TAIL_BYTES };
        let body = Body {
            bytes: ahead.get(HEAD_BYTES..end).unwrap_or_default(),
            order,
            at,
            torn,
        };
        let packet = match kind {
            INTERFACE => {
                self.describe_interface(&body)?;
                None
            }
            SIMPLE_PACKET => Some(self.simple_packet(&body)?),
            _ => Some(self.enhanced_packet(&body, kind)?),
        };
        Ok(Step {
            packet,
            taken,
            torn,
        })
    }

    /// A new section, whose header block is ahead.
    fn begin(head: &[u8], at: u64) -> Result<Self, CaptureError> {
        let order = match Order::Big.u32(head, 8) {
            Some(BYTE_ORDER) => Order::Big,
            Some(other) if other.swap_bytes() == BYTE_ORDER => Order::Little,
            Some(_) => return Err(CaptureError::BadBlock { at }),
            None => return Err(CaptureError::Truncated { at }),
        };
        Ok(Self {
            order,
            interfaces: Vec::new(),
        })
    }

    /// Leaves a block behind that is not looked into, however long it is.
    fn pass_over(&self, file: &mut Window<impl Read>, total: u32) -> Result<Step, CaptureError> {
        let at = file.at();
        let before_tail = u64::from(total) - TAIL_BYTES as u64;
        let passed = file.advance(before_tail);
        let passed = passed.map_err(|error| unreadable(at, &error))?;
        let tail = file.ahead(TAIL_BYTES);
        let tail = self
            .order
            .u32(tail.map_err(|error| unreadable(at, &error))?, 0);
        if tail.is_some_and(|tail| tail != total) {
            return Err(CaptureError::BadBlock { at });
        }
        Ok(Step {
            packet: None,
            taken: TAIL_BYTES,
            torn: passed < before_tail || tail.is_none(),
        })
    }

    fn describe_interface(&mut self, body: &Body<'_>) -> Result<(), CaptureError> {
        let (order, bytes) = (body.order, body.bytes);
        let (Some(link_type), Some(snaplen)) = (order.u16(bytes, 0), order.u32(bytes, 4)) else {
            return Err(body.too_short());
        };
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(CaptureError::BadBlock { at: body.at });
        }
        let mut interface = Interface {
            link_type: u32::from(link_type),
            snaplen,
            resolution: Resolution::Decimal(6),
            offset_s: 0,
        };
        let mut options = bytes.get(8..).unwrap_or_default();
        while let (Some(code), Some(bytes)) = (order.u16(options, 0), order.u16(options, 2)) {
            let bytes = usize::from(bytes);
            let Some(value) = options.get(4..4 + bytes).filter(|_| code != 0) else {
                break;
            };
            interface.set(code, value, order);
            options = options
                .get(4 + bytes.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// The enhanced packet block, and the obsolete packet block, which differs in its first field.
    fn enhanced_packet(&self, body: &Body<'_>, kind: u32) -> Result<Found, CaptureError> {
        let Some(header) = body.bytes.first_chunk::<20>() else {
            return Err(body.too_short());
        };
        let field = |n: usize| body.order.u32(header, n).unwrap_or(0);
        let number = if kind == ENHANCED_PACKET {
            field(0)
        } else {
            u32::from(body.order.u16(header, 0).unwrap_or(0))
        };
        let interface = self.interface(number, body.at)?;
        let ticks = (u64::from(field(4)) << 32) | u64::from(field(8));
        let (kept, original_bytes) = (field(12), field(16));
        Ok(Found {
            link_type: interface.link_type,
            timestamp_ns: interface.resolution.to_ns(ticks, interface.offset_s),
            original_bytes,
            data: body.packet(header.len(), kept)?,
        })
    }

    /// The simple packet block: no interface, no time; its kept length follows from the snap length.
    fn simple_packet(&self, body: &Body<'_>) -> Result<Found, CaptureError> {
        let Some(original_bytes) = body.order.u32(body.bytes, 0) else {
            return Err(body.too_short());
        };
        let interface = self.interface(0, body.at)?;
        let snaplen = match interface.snaplen {
            0 => u32::MAX,
            snaplen => snaplen,
        };
        Ok(Found {
            link_type: interface.link_type,
            timestamp_ns: 0,
            original_bytes,
            data: body.packet(4, original_bytes.min(snaplen))?,
        })
    }

    fn interface(&self, number: u32, at: u64) -> Result<Interface, CaptureError> {
        let interface = self.interfaces.get(number as usize).copied();
        interface.ok_or(CaptureError::UnknownInterface {
            at,
            interface: number,
        })
    }
}

impl Interface {
    /// Takes note of one option.
    fn set(&mut self, code: u16, value: &[u8], order: Order) {
        match (code, value) {
            (9, [n]) if n & 0x80 != 0 => self.resolution = Resolution::Binary(u32::from(n & 0x7f)),
            (9, [n]) => self.resolution = Resolution::Decimal(u32::from(*n)),
            (14, value) if value.len() == 8 => {
                let (a, b) = (
                    order.u32(value, 0).unwrap_or(0),
                    order.u32(value, 4).unwrap_or(0),
                );
                let (high, low) = if order == Order::Big { (a, b) } else { (b, a) };
                self.offset_s = ((u64::from(high) << 32) | u64::from(low)) as i64;
            }
            _ => {}
        }
    }
}
