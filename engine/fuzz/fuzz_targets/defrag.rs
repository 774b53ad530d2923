//! A sequence of fragments, IPv4 and IPv6, in any order: bounds hold, and what comes out whole decodes as IP.
#![no_main]

use arbitrary::Arbitrary;
use inspect::wire::{decode_ip, DefragLimits, DefragPolicy, Defragmenter, Malformed, Reassembly};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    policy: u8,
    fragments: Vec<Fragment>,
}

#[derive(Arbitrary, Debug)]
struct Fragment {
    v6: bool,
    id: u8,
    unit: u16,
    more: bool,
    options: u8,
    now_s: u8,
    payload: Vec<u8>,
}

impl Fragment {
    fn bytes(&self) -> Vec<u8> {
        let offset = self.unit.wrapping_mul(8);
        let payload = &self.payload[..self.payload.len().min(2000)];
        if self.v6 {
            let mut bytes = vec![0x60, 0, 0, 0];
            bytes.extend_from_slice(&(payload.len() as u16 + 8).to_be_bytes());
            bytes.extend_from_slice(&[44, 64]);
            bytes.extend_from_slice(&[1; 32]);
            bytes.extend_from_slice(&[17, 0]);
            bytes.extend_from_slice(&(offset | u16::from(self.more)).to_be_bytes());
            bytes.extend_from_slice(&[0, 0, 0, self.id % 4]);
            bytes.extend_from_slice(payload);
            return bytes;
        }
        let words = 5 + self.options % 11;
        let header_bytes = usize::from(words) * 4;
        let mut bytes = vec![0x40 | words, 0];
        bytes.extend_from_slice(&((header_bytes + payload.len()) as u16).to_be_bytes());
        bytes.extend_from_slice(&[0, self.id % 4]);
        bytes.extend_from_slice(&((offset / 8) | if self.more { 0x2000 } else { 0 }).to_be_bytes());
        bytes.extend_from_slice(&[64, 17, 0, 0]);
        bytes.resize(header_bytes, 1);
        bytes.extend_from_slice(payload);
        bytes
    }
}

fuzz_target!(|input: Input| {
    let policies = [
        DefragPolicy::Strict,
        DefragPolicy::First,
        DefragPolicy::Last,
        DefragPolicy::Bsd,
        DefragPolicy::Linux,
    ];
    let limits = DefragLimits {
        max_datagrams: 4,
        max_memory_bytes: 20_000,
        max_fragments: 16,
        timeout_s: 60,
    };
    let mut defragmenter =
        Defragmenter::new(policies[usize::from(input.policy) % policies.len()], limits);
    for fragment in &input.fragments {
        let bytes = fragment.bytes();
        let Ok(packet) = decode_ip(&bytes).checked() else {
            continue;
        };
        if let Reassembly::Whole(whole) =
            defragmenter.push(0, &packet, u64::from(fragment.now_s) * 1_000_000_000)
        {
            match decode_ip(whole).checked() {
                Ok(packet) => assert!(packet.fragment().is_none()),
                Err(Malformed::UdpTooShort | Malformed::UdpLength | Malformed::UdpTruncated) => {}
                Err(other) => panic!("a whole packet is malformed: {other}"),
            }
        }
        assert!(defragmenter.memory_bytes() <= limits.max_memory_bytes);
        assert!(defragmenter.datagrams() <= limits.max_datagrams);
    }
});
