//! The hot path's budget: decoding, checking, finding a flow and taking in-order bytes allocate nothing once a
//! connection's buffer has its size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use inspect::flow::{FlowLimits, FlowTable};
use inspect::stream::{Limits, StreamConfig, TcpSession, Verdict};
use inspect::wire::{decode_ethernet, transport_checksum_ok};
use inspect::Direction;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static ALLOCATED_BYTES: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: passes every call on to the system's allocator unchanged; only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        System.dealloc(memory, layout);
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        System.realloc(memory, layout, bytes)
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
    ALLOCATED_BYTES.with(|count| count.set(count.get() + bytes as u64));
}

/// How many allocations `work` makes.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// An Ethernet frame with a TCP segment from 10.0.0.1:40000 to 10.0.0.2:80; checksums are left at zero.
fn frame(flags: u8, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    bytes.extend_from_slice(&(40 + payload.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[
        0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 80,
    ]);
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_packet_in_order_costs_no_allocation() {
    let config = StreamConfig::inline();
    let mut flows: FlowTable<TcpSession> = FlowTable::new(FlowLimits::default(), [1, 2]);
    let mut see = |bytes: &[u8]| {
        let packet = decode_ethernet(bytes).checked().unwrap();
        assert!(transport_checksum_ok(&packet).is_some());
        let lookup = flows
            .find_or_create(1, &packet, 0, |_| (0, TcpSession::new(config)))
            .unwrap();
        let session = &mut flows.get_mut(lookup.id).unwrap().data;
        let outcome =
            session.on_segment(lookup.direction, packet.tcp().unwrap(), packet.payload, 0);
        assert_eq!(outcome.verdict, Verdict::Accept);
        session.consume(Direction::ToServer, usize::MAX);
    };
    see(&frame(0x02, 0, b""));
    let mut seq = 1u32;
    let payload = [7; 1460];
    let mut send = |see: &mut dyn FnMut(&[u8])| {
        let bytes = frame(0x10, seq, &payload);
        seq = seq.wrapping_add(payload.len() as u32);
        allocations(|| see(&bytes))
    };
    // The history grows to its bound, doubling a few times on the way.
    let growing: u64 = (0..500).map(|_| send(&mut see)).sum();
    assert!(growing < 40, "{growing} allocations while the buffer grows");
    let steady: u64 = (0..5000).map(|_| send(&mut see)).sum();
    assert_eq!(steady, 0);
}

/// What it costs, in allocations and allocated bytes, to take `segments` segments of one byte that leave a hole after
/// each, then those that fill the holes.
fn cost_of_holes(config: StreamConfig, segments: u32) -> (u64, u64) {
    let limits = Limits {
        pending_pieces: 1 << 20,
        ..config.limits
    };
    let mut session = TcpSession::new(StreamConfig { limits, ..config });
    let mut see = |direction, bytes: &[u8]| {
        let packet = decode_ethernet(bytes).checked().unwrap();
        session.on_segment(direction, packet.tcp().unwrap(), packet.payload, 0);
    };
    // The frames acknowledge number 0: with this SYN and its answer that is the first byte.
    see(Direction::ToServer, &frame(0x02, u32::MAX, b""));
    see(Direction::ToClient, &frame(0x12, u32::MAX, b""));
    let odd = (0..segments).map(|n| 2 * n + 1);
    let even = (0..segments).map(|n| 2 * n);
    let frames: Vec<_> = odd.chain(even).map(|at| frame(0x10, at, b"x")).collect();
    let before = ALLOCATED_BYTES.with(Cell::get);
    let count = allocations(|| {
        frames
            .iter()
            .for_each(|bytes| see(Direction::ToServer, bytes))
    });
    (count, ALLOCATED_BYTES.with(Cell::get) - before)
}

#[test]
fn tiny_segments_and_holes_cost_linear_work() {
    for config in [
        StreamConfig::inline(),
        StreamConfig::rewrite(),
        StreamConfig::detect(),
    ] {
        let (few, few_bytes) = cost_of_holes(config, 2000);
        let (many, many_bytes) = cost_of_holes(config, 8000);
        assert!(many <= few * 5, "{:?}: {few} and {many}", config.mode);
        assert!(
            many_bytes <= few_bytes * 5,
            "{:?}: {few_bytes} and {many_bytes}",
            config.mode
        );
    }
}
