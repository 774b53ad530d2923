//! Segments of two senders in any order. Inline: of each stream position only one byte ever passes, and what is read is
//! what passed. In both modes: bounds hold and reading never goes back.
#![no_main]

use std::collections::HashMap;

use arbitrary::Arbitrary;
use inspect::stream::{Limits, Mode, OsPolicy, StreamConfig, TcpSession, TcpState, Verdict};
use inspect::wire::{flags, Tcp};
use inspect::Direction::{self, ToClient, ToServer};
use libfuzzer_sys::fuzz_target;

const ISN: [u32; 2] = [0xffff_ff00, 1000];
const LIMITS: Limits = Limits {
    history_bytes: 1 << 20,
    history_window_bytes: 0,
    pending_bytes: 2000,
    pending_pieces: 8,
    unread_bytes: 4000,
};

#[derive(Arbitrary, Debug)]
struct Input {
    policy: Option<u8>,
    midstream: bool,
    handshake: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
struct Step {
    to_client: bool,
    flags: u8,
    offset: i16,
    acked: u16,
    window: u16,
    fill: u8,
    length: u16,
    action: u8,
}

fn segment(direction: Direction, step: &Step) -> Vec<u8> {
    let (own, other) = (ISN[direction as usize], ISN[direction.reverse() as usize]);
    let mut bytes = vec![0, 1, 0, 2];
    bytes.extend_from_slice(
        &own.wrapping_add(1)
            .wrapping_add(step.offset as u32)
            .to_be_bytes(),
    );
    bytes.extend_from_slice(
        &other
            .wrapping_add(1)
            .wrapping_add(u32::from(step.acked))
            .to_be_bytes(),
    );
    bytes.extend_from_slice(&[0x50, step.flags]);
    bytes.extend_from_slice(&step.window.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.resize(20 + usize::from(step.length % 2000), step.fill);
    bytes
}

fn handshake(session: &mut TcpSession) {
    let base = |flags, offset| Step {
        to_client: false,
        flags,
        offset,
        acked: 0,
        window: 65535,
        fill: 0,
        length: 0,
        action: 9,
    };
    let steps = [
        (ToServer, base(flags::SYN, -1)),
        (ToClient, base(flags::SYN | flags::ACK, -1)),
        (ToServer, base(flags::ACK, 0)),
    ];
    for (direction, step) in steps {
        let bytes = segment(direction, &step);
        let (tcp, payload) = Tcp::split(&bytes).expect("a whole header");
        assert_eq!(
            session.on_segment(direction, &tcp, payload, 0).verdict,
            Verdict::Accept
        );
    }
    assert_eq!(session.state(), TcpState::Established);
}

fuzz_target!(|input: Input| {
    let policies = [
        OsPolicy::First,
        OsPolicy::Last,
        OsPolicy::Bsd,
        OsPolicy::HpUx11,
        OsPolicy::OldLinux,
        OsPolicy::Linux,
        OsPolicy::Solaris,
        OsPolicy::Windows,
        OsPolicy::Windows2003,
        OsPolicy::Vista,
    ];
    let mode = input.policy.map_or(Mode::Inline, |n| {
        match policies.get(usize::from(n) % (policies.len() + 1)) {
            Some(os) => Mode::Detect(*os),
            None => Mode::Rewrite,
        }
    });
    let config = StreamConfig {
        mode,
        midstream: input.midstream,
        limits: LIMITS,
    };
    let mut session = TcpSession::new(config);
    // Positions are known only when the handshake fixed them; then bytes that passed can be compared.
    let compare = mode == Mode::Inline && input.handshake;
    if input.handshake {
        handshake(&mut session);
    }
    let mut passed: [HashMap<i64, u8>; 2] = Default::default();
    let mut offsets = [0; 2];
    for step in &input.steps {
        let direction = if step.to_client { ToClient } else { ToServer };
        let bytes = segment(direction, step);
        let (tcp, payload) = Tcp::split(&bytes).expect("a whole header");
        let known = session.expected_seq(direction);
        match session.on_segment(direction, &tcp, payload, 0).verdict {
            Verdict::NewSession => {
                session = session.successor();
                let again = session.on_segment(direction, &tcp, payload, 0).verdict;
                assert_ne!(again, Verdict::NewSession);
                return;
            }
            Verdict::Accept
                if compare && known.is_some() && !tcp.has(flags::RST) && !session.was_reset() =>
            {
                let first = i64::from(step.offset) + i64::from(tcp.has(flags::SYN));
                // A keep-alive's garbage byte passes where its receiver has acknowledged the true one.
                for (index, byte) in payload.iter().enumerate().filter(|_| payload.len() > 1) {
                    let position = first + index as i64;
                    let old = passed[direction as usize].insert(position, *byte);
                    assert!(
                        position < 0 || old.is_none_or(|old| old == *byte),
                        "two bytes passed at {position}"
                    );
                }
            }
            Verdict::Accept => {}
            // Of a capture nothing was held back, so nothing is refused unless an IPS is simulated.
            other => assert!(!matches!(mode, Mode::Detect(_)), "{other:?}"),
        }
        for direction in [ToServer, ToClient] {
            assert!(session.offset(direction) >= offsets[direction as usize]);
            match step.action % 8 {
                0 => session.consume(direction, usize::from(step.fill)),
                1 => session.consume(direction, usize::MAX),
                2 => drop(session.skip_gap(direction)),
                3 if step.fill == 0 => session.flush(),
                _ => {}
            }
            offsets[direction as usize] = session.offset(direction);
            let bound = LIMITS.unread_bytes + LIMITS.pending_bytes + 2 * 2000;
            assert!(session.readable(direction).len() <= bound);
        }
    }
});
