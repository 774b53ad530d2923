//! Asserts what a packet costs: no allocation, from its datagram to its verdict.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::packet;
use crate::verdict::{Decision, Verdicts};
use crate::wire::{self, Builder};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        System.dealloc(pointer, layout);
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Reads and answers a batch whose marks alternate, so that each packet gets a message of its own.
fn answer_batch(datagrams: &[Vec<u8>], verdicts: &mut Verdicts) -> u64 {
    for datagram in datagrams {
        for message in wire::messages(datagram) {
            let packet = packet::read(message.body).unwrap();
            verdicts.arrived(packet.id);
            verdicts.push(packet.id, Decision::accept_with(packet.id % 2));
        }
    }
    let sent = verdicts.pending().1;
    verdicts.clear();
    sent
}

#[test]
fn a_packet_costs_no_allocation_once_the_first_batch_has_passed() {
    let datagrams: Vec<Vec<u8>> = (1..=32u32)
        .map(|id| {
            let mut builder = Builder::default();
            let start = builder.begin(wire::MSG_PACKET, 0, 0, 5);
            builder.attribute(1, &[&id.to_be_bytes()[..], &[8, 0, 2]].concat());
            builder.attribute(10, &[0x45; 1500]);
            builder.finish(start);
            builder.bytes().to_vec()
        })
        .collect();
    let mut verdicts = Verdicts::new(5);
    answer_batch(&datagrams, &mut verdicts);
    let before = ALLOCATIONS.get();
    let sent = answer_batch(&datagrams, &mut verdicts);
    assert_eq!((sent, ALLOCATIONS.get() - before), (32, 0));
}
