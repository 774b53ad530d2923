//! Segments as a transcript: each line sends one and says what must become of it.

use proptest::prelude::*;

use super::*;
use crate::wire::testing::{tcp_segment, TcpSpec};
use crate::wire::{flags, PacketEvent, PacketEvents, Tcp};
use crate::Direction::{self, ToClient, ToServer};

const ISN: [u32; 2] = [0xffff_fff0, 7000];

/// A connection whose segments are given by stream offset; acknowledges what `acked` says.
struct Talk {
    session: TcpSession,
    isn: [u32; 2],
    /// By direction of the bytes acknowledged.
    acked: [i64; 2],
    window: u16,
    last: SegmentOutcome,
}

impl Talk {
    fn new(config: StreamConfig) -> Self {
        let last = SegmentOutcome {
            verdict: Verdict::Accept,
            events: Default::default(),
            found: PacketEvents::NONE,
            belongs: false,
            rewritten: None,
            unseen_bytes: 0,
        };
        Self {
            session: TcpSession::new(config),
            isn: ISN,
            acked: [0; 2],
            window: 65535,
            last,
        }
    }

    /// A connection after its handshake.
    fn open(config: StreamConfig) -> Self {
        let mut talk = Self::new(config);
        assert_eq!(talk.send(ToServer, flags::SYN, -1, b""), Verdict::Accept);
        assert_eq!(
            talk.send(ToClient, flags::SYN | flags::ACK, -1, b""),
            Verdict::Accept
        );
        assert_eq!(talk.send(ToServer, flags::ACK, 0, b""), Verdict::Accept);
        assert_eq!(talk.session.state(), TcpState::Established);
        assert!(!talk.session.midstream());
        talk
    }

    fn inline() -> Self {
        Self::open(StreamConfig::inline())
    }

    fn detect(os: OsPolicy) -> Self {
        Self::open(StreamConfig {
            mode: Mode::Detect(os),
            ..StreamConfig::detect()
        })
    }

    fn with(mut config: StreamConfig, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut config.limits);
        Self::open(config)
    }

    fn send(&mut self, direction: Direction, flags: u8, offset: i64, payload: &[u8]) -> Verdict {
        self.send_with(direction, flags, offset, payload, &[])
    }

    fn send_with(
        &mut self,
        direction: Direction,
        flags: u8,
        offset: i64,
        payload: &[u8],
        options: &[u8],
    ) -> Verdict {
        let other = direction.reverse() as usize;
        let spec = TcpSpec {
            flags,
            seq: self.isn[direction as usize]
                .wrapping_add(1)
                .wrapping_add(offset as u32),
            ack: self.isn[other]
                .wrapping_add(1)
                .wrapping_add(self.acked[other] as u32),
            window: self.window,
            options,
            payload,
        };
        let segment = tcp_segment(1, 2, &spec);
        let (tcp, payload) = Tcp::split(&segment).unwrap();
        self.last = self.session.on_segment(direction, &tcp, payload, 0);
        self.last.verdict
    }

    fn data(&mut self, offset: i64, payload: &[u8]) -> Verdict {
        self.send(ToServer, flags::ACK, offset, payload)
    }

    /// The server acknowledges the client's bytes up to `offset`.
    fn ack(&mut self, offset: i64) -> Verdict {
        self.acked[0] = offset;
        self.send(ToClient, flags::ACK, 0, b"")
    }

    fn found(&self, event: PacketEvent) -> bool {
        self.last.found.contains(event)
    }

    fn saw(&self, event: StreamEvent) -> bool {
        self.last.events.contains(&event)
    }

    fn readable(&self) -> &[u8] {
        self.session.readable(ToServer)
    }

    fn read(&mut self) -> Vec<u8> {
        let bytes = self.readable().to_vec();
        self.session.consume(ToServer, bytes.len());
        bytes
    }

    /// Reads everything, writing `_` for each byte of a gap.
    fn read_with_gaps(&mut self) -> Vec<u8> {
        let mut all = self.read();
        while self.session.gap(ToServer).is_some() {
            all.extend((0..self.session.skip_gap(ToServer)).map(|_| b'_'));
            all.extend(self.read());
        }
        all
    }
}

// Inline: what is accepted first is the stream.

#[test]
fn bytes_in_order_are_readable_at_once_without_any_ack() {
    let mut talk = Talk::inline();
    assert_eq!(talk.data(0, b"GET "), Verdict::Accept);
    assert_eq!(talk.readable(), b"GET ");
    assert_eq!(talk.data(4, b"/ HT"), Verdict::Accept);
    assert_eq!(talk.readable(), b"GET / HT");
    talk.session.consume(ToServer, 4);
    assert_eq!(
        (talk.readable(), talk.session.offset(ToServer)),
        (&b"/ HT"[..], 4)
    );
    talk.session.consume(ToServer, 1000);
    assert_eq!(
        (talk.readable(), talk.session.offset(ToServer)),
        (&b""[..], 8)
    );
}

#[test]
fn bytes_out_of_order_wait_for_the_hole() {
    let mut talk = Talk::inline();
    assert_eq!(talk.data(3, b"def"), Verdict::Accept);
    assert_eq!(talk.data(8, b"i"), Verdict::Accept);
    assert!(talk.readable().is_empty() && talk.session.has_hole(ToServer));
    assert_eq!(talk.session.gap(ToServer), None);
    assert_eq!(talk.data(0, b"abc"), Verdict::Accept);
    assert_eq!(talk.readable(), b"abcdef");
    assert_eq!(talk.data(5, b"fgh"), Verdict::Accept);
    assert_eq!(talk.readable(), b"abcdefghi");
    assert!(!talk.session.has_hole(ToServer));
}

#[test]
fn an_identical_retransmission_passes_read_or_not() {
    let mut talk = Talk::inline();
    talk.data(0, b"abcdef");
    assert_eq!(talk.data(2, b"cde"), Verdict::Accept);
    assert!(talk.saw(StreamEvent::Retransmission));
    talk.read();
    assert_eq!(talk.data(0, b"abcdefgh"), Verdict::Accept);
    assert_eq!(talk.readable(), b"gh");
}

#[test]
fn drops_a_retransmission_that_differs_wherever_the_bytes_are() {
    // (what, offset and bytes of the lie)
    let rows: [(&str, i64, &[u8]); 5] = [
        ("read bytes", 0, b"aXc"),
        ("unread bytes", 4, b"eX"),
        ("tail over new bytes", 5, b"Xgh"),
        ("bytes past a hole", 10, b"X"),
        ("from new bytes into bytes past a hole", 8, b"ijX"),
    ];
    for (what, offset, lie) in rows {
        let mut talk = Talk::inline();
        talk.data(0, b"abc");
        talk.read();
        talk.data(3, b"def");
        talk.data(10, b"klm");
        assert_eq!(
            talk.data(offset, lie),
            Verdict::Drop(DropReason::Differs),
            "{what}"
        );
        assert!(talk.saw(StreamEvent::OverlapDiffers), "{what}");
        assert_eq!(talk.readable(), b"def", "{what}");
        assert_eq!(talk.data(6, b"ghij"), Verdict::Accept, "{what}");
        assert_eq!(
            talk.readable(),
            b"defghijklm",
            "{what}: nothing of the lie entered"
        );
    }
}

#[test]
fn history_is_kept_to_its_bound_and_past_it_the_caller_decides() {
    let mut talk = Talk::with(StreamConfig::inline(), |limits| {
        (limits.history_bytes, limits.history_window_bytes) = (8192, 4096);
    });
    let kept = 8192 + 4096;
    let stream = vec![b'x'; 100_000];
    for (index, chunk) in stream.chunks(1000).enumerate() {
        assert_eq!(talk.data(index as i64 * 1000, chunk), Verdict::Accept);
        talk.read();
        assert!(talk.session.memory_bytes() < 4 * kept + 2000);
    }
    let oldest = stream.len() - kept;
    assert_eq!(talk.data(oldest as i64, &stream[oldest..]), Verdict::Accept);
    assert_eq!(
        talk.data(oldest as i64, b"y"),
        Verdict::Drop(DropReason::Differs)
    );
    assert_eq!(
        talk.data(10, b"x"),
        Verdict::Undecided(Undecided::PastHistory)
    );
    let mut half_lie = stream[10..].to_vec();
    *half_lie.last_mut().unwrap() = b'y';
    assert_eq!(
        talk.data(10, &half_lie[..65000]),
        Verdict::Undecided(Undecided::PastHistory)
    );
    assert_eq!(
        talk.data(50_000, &half_lie[50_000 - 10..]),
        Verdict::Drop(DropReason::Differs)
    );
}

#[test]
fn unread_bytes_stay_however_little_history_is_kept() {
    let mut talk = Talk::with(StreamConfig::inline(), |limits| {
        (limits.history_bytes, limits.history_window_bytes) = (0, 0);
    });
    for index in 0..50 {
        talk.data(index * 1000, &[index as u8; 1000]);
    }
    assert_eq!(talk.readable().len(), 50_000);
    assert_eq!(talk.data(0, &[9; 10]), Verdict::Drop(DropReason::Differs));
}

#[test]
fn pending_is_bounded_in_bytes() {
    let mut talk = Talk::with(StreamConfig::inline(), |limits| limits.pending_bytes = 100);
    assert_eq!(talk.data(10, &[1; 100]), Verdict::Accept);
    assert_eq!(
        talk.data(110, &[1; 1]),
        Verdict::Drop(DropReason::PendingLimit)
    );
    assert_eq!(
        talk.data(10, &[1; 100]),
        Verdict::Accept,
        "what is held already costs nothing"
    );
    assert_eq!(talk.data(0, &[1; 10]), Verdict::Accept);
    assert_eq!(
        talk.data(110, &[1; 1]),
        Verdict::Accept,
        "the hole is filled: there is room again"
    );
    assert_eq!(talk.readable().len(), 111);
}

#[test]
fn pending_is_bounded_in_pieces() {
    let mut talk = Talk::with(StreamConfig::inline(), |limits| limits.pending_pieces = 3);
    for offset in [2, 4, 6] {
        assert_eq!(talk.data(offset, b"x"), Verdict::Accept);
    }
    assert_eq!(talk.data(8, b"x"), Verdict::Drop(DropReason::PendingLimit));
    assert_eq!(talk.data(7, b"x"), Verdict::Accept, "continues a piece");
}

#[test]
fn unread_bytes_are_bounded() {
    let mut talk = Talk::with(StreamConfig::inline(), |limits| limits.unread_bytes = 10);
    assert_eq!(talk.data(0, &[1; 10]), Verdict::Accept);
    assert_eq!(
        talk.data(10, &[1; 1]),
        Verdict::Undecided(Undecided::Unread)
    );
    talk.read();
    assert_eq!(talk.data(10, &[1; 1]), Verdict::Accept);
}

#[test]
fn drops_what_lies_past_the_window_but_forgives_a_gso_packet() {
    let mut talk = Talk::inline();
    let edge = 65_535 + 65_536;
    assert_eq!(talk.data(edge - 1, b"x"), Verdict::Accept);
    assert_eq!(
        talk.data(edge, b"x"),
        Verdict::Drop(DropReason::OutOfWindow)
    );
    assert_eq!(
        talk.data(-0x4000_0000, b"x"),
        Verdict::Accept,
        "a receiver discards what precedes the stream"
    );
    assert!(talk.readable().is_empty());
}

#[test]
fn the_window_is_scaled_only_when_both_ends_offer_it() {
    for (server_option, accepted) in [(&[3u8, 3, 7][..], true), (&[][..], false)] {
        let mut talk = Talk::new(StreamConfig::inline());
        talk.send_with(ToServer, flags::SYN, -1, b"", &[3, 3, 7]);
        talk.send_with(ToClient, flags::SYN | flags::ACK, -1, b"", server_option);
        talk.data(0, b"");
        talk.window = 5000;
        talk.ack(0);
        let verdict = talk.data(500_000, b"x");
        assert_eq!(
            verdict == Verdict::Accept,
            accepted,
            "{server_option:?}: {verdict:?}"
        );
    }
}

#[test]
fn a_keep_alive_with_a_garbage_byte_passes_only_when_its_byte_was_acknowledged() {
    let mut talk = Talk::inline();
    talk.data(0, b"abc");
    assert_eq!(talk.data(2, b"\0"), Verdict::Drop(DropReason::Differs));
    talk.ack(3);
    assert_eq!(talk.data(2, b"\0"), Verdict::Accept);
    assert_eq!(talk.data(1, b"\0"), Verdict::Drop(DropReason::Differs));
    assert_eq!(talk.readable(), b"abc");
}

#[test]
fn both_fins_close_and_a_syn_after_that_is_another_connection() {
    let mut talk = Talk::inline();
    assert_eq!(
        talk.send(ToServer, flags::FIN | flags::ACK, 0, b"bye"),
        Verdict::Accept
    );
    assert_eq!(talk.session.state(), TcpState::Closing);
    assert!(talk.session.ended(ToServer) && !talk.session.ended(ToClient));
    assert_eq!(talk.readable(), b"bye");
    assert_eq!(talk.send(ToClient, flags::ACK, 0, b"more"), Verdict::Accept);
    talk.acked = [4, 4];
    assert_eq!(
        talk.send(ToClient, flags::FIN | flags::ACK, 4, b""),
        Verdict::Accept
    );
    assert_eq!(talk.session.state(), TcpState::Closed);
    assert!(!talk.session.was_reset());
    assert_eq!(
        talk.send(ToServer, flags::SYN, 999, b""),
        Verdict::NewSession
    );
    talk.session = talk.session.successor();
    assert_eq!(talk.send(ToServer, flags::SYN, 999, b""), Verdict::Accept);
    assert_eq!(talk.session.state(), TcpState::New);
}

#[test]
fn the_acknowledgments_after_a_fin_pass_without_a_word() {
    for config in [StreamConfig::inline(), StreamConfig::detect()] {
        let mut talk = Talk::open(config);
        talk.send(ToServer, flags::FIN | flags::ACK, 0, b"bye");
        talk.acked = [4, 0];
        assert_eq!(
            talk.send(ToClient, flags::ACK, 0, b"answer"),
            Verdict::Accept
        );
        talk.acked = [4, 6];
        assert_eq!(talk.send(ToServer, flags::ACK, 4, b""), Verdict::Accept);
        assert!(talk.last.events.is_empty(), "{:?}", talk.last.events);
        assert_eq!(
            talk.send(ToClient, flags::FIN | flags::ACK, 6, b""),
            Verdict::Accept
        );
        talk.acked = [4, 7];
        assert_eq!(talk.send(ToServer, flags::ACK, 4, b""), Verdict::Accept);
        assert!(talk.last.events.is_empty(), "{:?}", talk.last.events);
        assert_eq!(talk.session.state(), TcpState::Closed);
        assert_eq!(talk.session.gap(ToServer), None);
        assert_eq!(talk.session.gap(ToClient), None);
    }
}

#[test]
fn drops_bytes_past_a_fin_and_a_fin_that_moves() {
    let mut talk = Talk::inline();
    talk.send(ToServer, flags::FIN | flags::ACK, 0, b"abc");
    assert_eq!(talk.data(3, b"d"), Verdict::Drop(DropReason::PastFin));
    assert_eq!(talk.data(2, b"cd"), Verdict::Drop(DropReason::PastFin));
    assert_eq!(
        talk.send(ToServer, flags::FIN | flags::ACK, 0, b"ab"),
        Verdict::Drop(DropReason::PastFin)
    );
    assert_eq!(
        talk.send(ToServer, flags::FIN | flags::ACK, 0, b"abc"),
        Verdict::Accept
    );
    assert_eq!(
        talk.send(ToServer, flags::FIN | flags::ACK, 3, b""),
        Verdict::Accept
    );
    let mut talk = Talk::inline();
    talk.data(5, b"later");
    assert_eq!(
        talk.send(ToServer, flags::FIN | flags::ACK, 0, b"abc"),
        Verdict::Drop(DropReason::PastFin)
    );
    assert!(talk.saw(StreamEvent::DataAfterEnd));
}

#[test]
fn a_fin_past_a_hole_ends_the_stream_only_when_the_hole_is_filled() {
    let mut talk = Talk::inline();
    talk.send(ToServer, flags::FIN | flags::ACK, 3, b"def");
    assert!(!talk.session.ended(ToServer));
    assert_eq!(talk.session.state(), TcpState::Established);
    talk.data(0, b"abc");
    assert!(talk.session.ended(ToServer));
    assert_eq!(
        (talk.readable(), talk.session.state()),
        (&b"abcdef"[..], TcpState::Closing)
    );
}

#[test]
fn a_rst_counts_only_at_the_expected_sequence_number() {
    // (offset, state after, event)
    let rows = [
        (3, TcpState::Closed, None),
        (4, TcpState::Established, Some(StreamEvent::RstNotExact)),
        (
            60_000,
            TcpState::Established,
            Some(StreamEvent::RstNotExact),
        ),
        (
            200_000,
            TcpState::Established,
            Some(StreamEvent::RstOutOfWindow),
        ),
        (
            -100_000,
            TcpState::Established,
            Some(StreamEvent::RstOutOfWindow),
        ),
    ];
    for (offset, state, event) in rows {
        let mut talk = Talk::inline();
        talk.data(0, b"abc");
        assert_eq!(
            talk.send(ToServer, flags::RST, offset, b""),
            Verdict::Accept
        );
        assert_eq!(talk.session.state(), state, "{offset}");
        assert_eq!(talk.last.events.first().copied(), event, "{offset}");
        assert_eq!(talk.session.was_reset(), state == TcpState::Closed);
    }
}

#[test]
fn after_a_rst_bytes_are_dropped() {
    let mut talk = Talk::inline();
    talk.send(ToServer, flags::RST, 0, b"");
    assert_eq!(talk.data(0, b"x"), Verdict::Drop(DropReason::Closed));
    assert_eq!(
        talk.send(ToClient, flags::ACK, 0, b"x"),
        Verdict::Drop(DropReason::Closed)
    );
    assert!(talk.session.ended(ToServer) && talk.session.ended(ToClient));
}

#[test]
fn a_refused_connection_is_closed() {
    let mut talk = Talk::new(StreamConfig::inline());
    talk.send(ToServer, flags::SYN, -1, b"");
    talk.acked[0] = 5;
    talk.send(ToClient, flags::RST | flags::ACK, -7001, b"");
    assert_eq!(
        talk.session.state(),
        TcpState::New,
        "acknowledges something else"
    );
    talk.acked[0] = 0;
    talk.send(ToClient, flags::RST | flags::ACK, -7001, b"");
    assert_eq!(talk.session.state(), TcpState::Closed);
}

#[test]
fn another_syn_restarts_only_when_the_other_end_answers_it() {
    let mut talk = Talk::inline();
    talk.data(0, b"abc");
    assert_eq!(talk.send(ToServer, flags::SYN, 5000, b""), Verdict::Accept);
    assert!(talk.saw(StreamEvent::SynInEstablished));
    assert_eq!(
        talk.send(ToServer, flags::SYN, 5000, b"evil"),
        Verdict::Drop(DropReason::OutOfWindow)
    );
    assert_eq!(talk.ack(3), Verdict::Accept, "a challenge ACK");
    assert_eq!(talk.data(3, b"def"), Verdict::Accept, "inspection goes on");
    assert_eq!(talk.readable(), b"abcdef");

    (talk.isn, talk.acked) = ([ISN[0].wrapping_add(5001), 99], [0; 2]);
    assert_eq!(
        talk.send(ToClient, flags::SYN | flags::ACK, -1, b""),
        Verdict::NewSession
    );
    talk.session = talk.session.successor();
    assert_eq!(
        talk.send(ToClient, flags::SYN | flags::ACK, -1, b""),
        Verdict::Accept
    );
    assert_eq!(talk.data(0, b"second"), Verdict::Accept);
    assert_eq!(
        (talk.readable(), talk.session.midstream()),
        (&b"second"[..], false)
    );
}

#[test]
fn a_challenge_ack_before_the_syn_ack_does_not_spoil_the_handshake() {
    let mut talk = Talk::new(StreamConfig::inline());
    talk.send(ToServer, flags::SYN, -1, b"");
    talk.acked[0] = 12345;
    assert_eq!(talk.send(ToClient, flags::ACK, 55555, b""), Verdict::Accept);
    assert_eq!(
        talk.send(ToClient, flags::ACK, 55555, b"data"),
        Verdict::Undecided(Undecided::Midstream)
    );
    assert_eq!(
        talk.send(ToClient, flags::SYN | flags::ACK, 555, b""),
        Verdict::Drop(DropReason::OutOfWindow)
    );
    talk.acked[0] = 0;
    assert_eq!(
        talk.send(ToClient, flags::SYN | flags::ACK, -1, b""),
        Verdict::Accept
    );
    assert_eq!(
        talk.send(ToClient, flags::SYN | flags::ACK, -1, b""),
        Verdict::Accept,
        "again"
    );
    assert_eq!(
        talk.send(ToClient, flags::SYN | flags::ACK, 0, b""),
        Verdict::Drop(DropReason::Differs)
    );
    assert_eq!(talk.data(0, b"abc"), Verdict::Accept);
}

#[test]
fn bytes_on_the_syn_are_the_first_of_the_stream() {
    let mut talk = Talk::new(StreamConfig::inline());
    talk.send(ToServer, flags::SYN, -1, b"abc");
    assert!(talk.saw(StreamEvent::DataOnSyn));
    assert_eq!(talk.readable(), b"abc");
    talk.send(ToClient, flags::SYN | flags::ACK, -1, b"");
    assert_eq!(
        talk.data(0, b"aXc"),
        Verdict::Drop(DropReason::Differs),
        "a server that ignored them may get no others"
    );
    assert_eq!(talk.data(0, b"abcdef"), Verdict::Accept);
    assert_eq!(talk.readable(), b"abcdef");
}

#[test]
fn both_ends_may_open_at_once() {
    let mut talk = Talk::new(StreamConfig::inline());
    assert_eq!(talk.send(ToServer, flags::SYN, -1, b""), Verdict::Accept);
    assert_eq!(talk.send(ToClient, flags::SYN, -1, b""), Verdict::Accept);
    assert_eq!(
        talk.send(ToServer, flags::SYN | flags::ACK, -1, b""),
        Verdict::Accept
    );
    assert_eq!(
        talk.send(ToClient, flags::SYN | flags::ACK, -1, b""),
        Verdict::Accept
    );
    assert_eq!(talk.data(0, b"abc"), Verdict::Accept);
    assert_eq!(talk.session.state(), TcpState::Established);
}

#[test]
fn urgent_bytes_stay_in_the_stream() {
    let mut talk = Talk::inline();
    assert_eq!(
        talk.send(ToServer, flags::ACK | flags::URG, 0, b"abc"),
        Verdict::Accept
    );
    assert!(talk.saw(StreamEvent::Urgent));
    assert_eq!(talk.readable(), b"abc");
}

#[test]
fn midstream_is_taken_up_or_left_to_the_caller() {
    let mut talk = Talk::new(StreamConfig::inline());
    assert_eq!(talk.data(1000, b"abc"), Verdict::Accept);
    assert!(talk.saw(StreamEvent::Midstream) && talk.session.midstream());
    assert_eq!(
        (talk.readable(), talk.session.offset(ToServer)),
        (&b"abc"[..], 0)
    );
    assert_eq!(talk.send(ToClient, flags::ACK, 0, b"ok"), Verdict::Accept);
    assert_eq!(talk.session.readable(ToClient), b"ok");
    assert_eq!(
        talk.data(990, b"unseen"),
        Verdict::Undecided(Undecided::Midstream)
    );
    assert_eq!(
        talk.data(998, b"..abcdef"),
        Verdict::Undecided(Undecided::Midstream),
        "sent again together with what follows"
    );
    assert_eq!(talk.readable(), b"abcdef");
    assert_eq!(talk.data(1006, b"ghi"), Verdict::Accept);

    let mut talk = Talk::new(StreamConfig {
        midstream: false,
        ..StreamConfig::inline()
    });
    for _ in 0..2 {
        assert_eq!(
            talk.data(1000, b"abc"),
            Verdict::Undecided(Undecided::Midstream)
        );
        assert_eq!(talk.session.state(), TcpState::None);
    }
    assert!(talk.readable().is_empty());
    assert_eq!(
        talk.send(ToServer, flags::SYN, -1, b""),
        Verdict::NewSession,
        "who is client was a guess"
    );
}

#[test]
fn a_gap_is_told_when_the_receiver_acknowledges_what_was_never_seen() {
    let mut talk = Talk::inline();
    talk.data(0, b"abc");
    talk.data(6, b"ghi");
    assert_eq!(talk.session.gap(ToServer), None);
    talk.ack(9);
    assert!(talk.saw(StreamEvent::AckedUnseen(ToServer)));
    assert_eq!(talk.session.gap(ToServer), Some(3));
    assert_eq!(
        talk.session.skip_gap(ToServer),
        0,
        "there is something to read before it"
    );
    assert_eq!(talk.read_with_gaps(), b"abc___ghi");
    assert_eq!(talk.session.offset(ToServer), 9);
    assert_eq!(
        talk.data(3, b"def"),
        Verdict::Undecided(Undecided::PastHistory)
    );
    assert_eq!(talk.data(9, b"jkl"), Verdict::Accept);
    assert_eq!(talk.readable(), b"jkl");
}

#[test]
fn a_fin_that_is_seen_after_its_acknowledgment_is_no_gap() {
    for config in [StreamConfig::inline(), StreamConfig::detect()] {
        let mut talk = Talk::open(config);
        talk.data(0, b"abc");
        talk.ack(4);
        assert_eq!(
            (talk.session.gap(ToServer), talk.readable()),
            (None, &b"abc"[..])
        );
        assert_eq!(
            talk.send(ToServer, flags::FIN | flags::ACK, 3, b""),
            Verdict::Accept
        );
        // As Suricata has it, one before what was acknowledged is no FIN of this connection.
        assert_eq!(talk.session.ended(ToServer), config.mode == Mode::Inline);
        let mut talk = Talk::open(config);
        talk.data(0, b"abc");
        talk.ack(4);
        talk.data(4, b"efg");
        talk.ack(7);
        assert_eq!(talk.read_with_gaps(), b"abc_efg", "it was a byte after all");
    }
}

#[test]
fn a_fin_before_what_can_be_compared_is_left_to_the_caller() {
    let mut talk = Talk::inline();
    talk.data(0, b"abc");
    talk.data(8, b"i");
    talk.ack(9);
    assert_eq!(talk.read_with_gaps(), b"abc_____i");
    assert_eq!(
        talk.send(ToServer, flags::FIN | flags::ACK, 5, b""),
        Verdict::Undecided(Undecided::PastHistory)
    );
    assert!(!talk.session.ended(ToServer));
}

#[test]
fn resets_can_be_aimed() {
    let mut talk = Talk::new(StreamConfig::inline());
    assert_eq!(talk.session.expected_seq(ToServer), None);
    talk.send(ToServer, flags::SYN, -1, b"");
    talk.send(ToClient, flags::SYN | flags::ACK, -1, b"");
    talk.data(0, b"abc");
    talk.data(5, b"past a hole");
    assert_eq!(
        talk.session.expected_seq(ToServer),
        Some(ISN[0].wrapping_add(4))
    );
    assert_eq!(talk.session.expected_seq(ToClient), Some(7001));
    talk.send(ToClient, flags::FIN | flags::ACK, 0, b"");
    assert_eq!(talk.session.expected_seq(ToClient), Some(7002));
}

// Detect: what the receiver acknowledged, as it would see it.

#[test]
fn bytes_are_readable_when_acknowledged_and_no_further() {
    let mut talk = Talk::detect(OsPolicy::Bsd);
    talk.data(0, b"abcdef");
    assert!(talk.readable().is_empty());
    talk.ack(4);
    assert_eq!(talk.read(), b"abcd");
    talk.ack(6);
    assert_eq!(talk.read(), b"ef");
}

#[test]
fn flush_and_rst_release_what_was_never_acknowledged() {
    let mut talk = Talk::detect(OsPolicy::Bsd);
    talk.data(0, b"abc");
    talk.data(5, b"fg");
    talk.session.flush();
    assert_eq!(talk.read_with_gaps(), b"abc__fg");
    let mut talk = Talk::detect(OsPolicy::Bsd);
    talk.data(0, b"abc");
    talk.send(ToClient, flags::RST | flags::ACK, 0, b"");
    assert_eq!(
        (talk.readable(), talk.session.state()),
        (&b"abc"[..], TcpState::Closed)
    );
}

#[test]
fn overlaps_are_resolved_as_the_receiver_would() {
    use OsPolicy::*;
    // What two segments make of it; the first is "BBBB" at 2, then each of the five cases.
    let cases: [(&str, i64, &[u8]); 5] = [
        ("starts left", 0, b"aaaa"),
        ("the same place", 2, b"aaaa"),
        ("same start, longer", 2, b"aaaaaa"),
        ("starts right", 4, b"aaaa"),
        ("around", 0, b"aaaaaaaa"),
    ];
    let left: [&[u8]; 5] = [b"aaaaBB", b"..BBBB", b"..BBBBaa", b"..BBBBaa", b"aaaaaaaa"];
    let first: [&[u8]; 5] = [b"aaBBBB", b"..BBBB", b"..BBBBaa", b"..BBBBaa", b"aaBBBBaa"];
    let right: [&[u8]; 5] = [b"aaBBBB", b"..aaaa", b"..aaaaaa", b"..BBaaaa", b"aaaaaaaa"];
    let rows: [(OsPolicy, [&[u8]; 5]); 10] = [
        (First, first),
        (Vista, first),
        (
            Last,
            [b"aaaaBB", b"..aaaa", b"..aaaaaa", b"..BBaaaa", b"aaaaaaaa"],
        ),
        (Bsd, left),
        (Windows, left),
        (Windows2003, left),
        (
            OldLinux,
            [b"aaaaBB", b"..aaaa", b"..aaaaaa", b"..BBBBaa", b"aaaaaaaa"],
        ),
        (
            Linux,
            [b"aaaaBB", b"..BBBB", b"..aaaaaa", b"..BBBBaa", b"aaaaaaaa"],
        ),
        (Solaris, right),
        (HpUx11, right),
    ];
    for (os, wanted) in rows {
        for ((case, offset, later), wanted) in cases.iter().zip(wanted) {
            let mut talk = Talk::detect(os);
            talk.data(2, b"BBBB");
            talk.data(*offset, later);
            // Suricata has no word for another segment in the very same place.
            assert_eq!(
                talk.found(PacketEvent::StreamReassemblyOverlapDifferentData),
                *case != "the same place",
                "{os:?} {case}"
            );
            if *offset > 0 {
                talk.data(0, b"..");
            }
            talk.ack(wanted.len() as i64);
            assert_eq!(
                String::from_utf8_lossy(talk.readable()),
                String::from_utf8_lossy(wanted),
                "{os:?} {case}"
            );
        }
    }
}

#[test]
fn what_was_acknowledged_cannot_be_replaced() {
    let mut talk = Talk::detect(OsPolicy::Last);
    talk.data(0, b"abc");
    talk.ack(3);
    assert_eq!(talk.data(0, b"XYZdef"), Verdict::Accept);
    talk.ack(6);
    assert_eq!(talk.readable(), b"abcdef");
}

#[test]
fn detect_mode_never_drops() {
    let mut talk = Talk::detect(OsPolicy::Bsd);
    talk.send(ToServer, flags::FIN | flags::ACK, 0, b"abc");
    for (offset, bytes) in [(0, &b"XXX"[..]), (3, b"past"), (500_000, b"far")] {
        assert_eq!(talk.data(offset, bytes), Verdict::Accept);
    }
    talk.ack(4);
    assert_eq!(talk.readable(), b"abc");
}

#[test]
fn a_capture_direction_ends_when_both_fins_are_acknowledged() {
    let mut talk = Talk::detect(OsPolicy::Bsd);
    talk.send(ToServer, flags::FIN | flags::ACK, 0, b"abc");
    talk.ack(4);
    talk.send(ToClient, flags::FIN | flags::ACK, 0, b"");
    assert!(!talk.session.ended(ToServer));
    talk.acked[ToClient as usize] = 1;
    talk.send(ToServer, flags::ACK, 4, b"");
    assert!(talk.session.ended(ToServer));
}

#[test]
fn without_a_handshake_detect_mode_follows_nothing() {
    let mut talk = Talk::new(StreamConfig::detect());
    talk.data(0, b"abc");
    talk.ack(3);
    talk.session.flush();
    assert!(talk.readable().is_empty());
    assert_eq!(talk.session.state(), TcpState::None);

    let mut one_sided = Talk::new(StreamConfig::detect());
    one_sided.send(ToServer, flags::SYN, -1, b"");
    one_sided.data(0, b"abc");
    one_sided.session.flush();
    assert!(one_sided.readable().is_empty(), "nobody answered");
}

#[test]
fn past_the_pending_bound_bytes_are_released_unacknowledged_and_gaps_told() {
    for change in [
        |l: &mut Limits| l.pending_bytes = 100,
        |l: &mut Limits| l.pending_pieces = 2,
    ] {
        let mut talk = Talk::with(StreamConfig::detect(), change);
        talk.data(0, &[1; 50]);
        talk.data(60, &[2; 50]);
        assert!(talk.readable().is_empty());
        talk.data(120, &[3; 1]);
        assert_eq!(talk.read_with_gaps().len(), 121);
    }
}

#[test]
fn what_a_consumer_leaves_unread_is_bounded_in_detect_mode_too() {
    let mut talk = Talk::with(StreamConfig::detect(), |limits| limits.unread_bytes = 100);
    talk.data(0, &[1; 101]);
    talk.ack(101);
    talk.data(101, &[1; 1]);
    assert!(talk.saw(StreamEvent::MemoryLimit));
    assert_eq!(talk.readable().len(), 101);
}

#[test]
fn bytes_behind_a_fin_that_was_ignored_are_read_beside_the_ends() {
    let mut talk = Talk::detect(OsPolicy::default());
    talk.send(ToServer, flags::FIN, 0, b"");
    assert!(!talk.session.ended(ToServer));
    talk.data(0, b"abc");
    talk.ack(3);
    assert_eq!(talk.read(), b"abc");
}

#[test]
fn bytes_that_their_receiver_would_throw_away_do_not_count_as_delivered() {
    let mut talk = Talk::inline();
    talk.acked[1] = 10_000_000;
    assert_eq!(
        talk.data(0, b"decoy"),
        Verdict::Drop(DropReason::NotBelieved)
    );
    talk.acked[1] = 0;
    assert_eq!(talk.data(0, b"exploit"), Verdict::Accept);
    assert_eq!(talk.readable(), b"exploit");
}

#[test]
fn an_acknowledgment_of_what_was_sent_is_believed_whoever_saw_those_before_it() {
    // Those that bring nothing stay in the kernel, and with them every window that they open.
    let mut talk = Talk::inline();
    for piece in 0..10 {
        let sent = talk.send(ToClient, flags::ACK, piece * 60_000, &[b'x'; 60_000]);
        assert_eq!(sent, Verdict::Accept);
        talk.session.consume(ToClient, 60_000);
    }
    talk.acked[1] = 600_000;
    assert_eq!(talk.data(0, b"exploit"), Verdict::Accept);
    assert_eq!(talk.readable(), b"exploit");
    talk.acked[1] = 10_000_000;
    assert_eq!(
        talk.data(7, b"decoy"),
        Verdict::Drop(DropReason::NotBelieved)
    );
}

// Rewrite: what came first is the stream, and what the receiver gets.

#[test]
fn a_segment_that_differs_is_overwritten_with_what_came_first() {
    let mut talk = Talk::open(StreamConfig::rewrite());
    talk.data(0, b"GOOD");
    assert_eq!(talk.data(0, b"EVIL"), Verdict::Accept);
    assert!(talk.found(PacketEvent::StreamReassemblyOverlapDifferentData));
    assert_eq!(talk.last.rewritten.as_deref(), Some(&b"GOOD"[..]));
    talk.data(6, b"yy");
    talk.data(2, b"XXxxYYzz");
    assert_eq!(talk.last.rewritten.as_deref(), Some(&b"ODxxyyzz"[..]));
    assert_eq!(talk.read(), b"GOODxxyyzz");
    talk.data(6, b"yyzz");
    assert_eq!(talk.last.rewritten, None, "it says the same");
}

#[test]
fn what_is_out_of_window_passes_unread_and_what_belongs_to_no_connection_is_dropped() {
    let mut talk = Talk::open(StreamConfig::rewrite());
    assert_eq!(talk.data(500_000, b"far"), Verdict::Accept);
    assert!(talk.readable().is_empty());
    let mut unopened = Talk::new(StreamConfig::rewrite());
    assert!(matches!(unopened.data(0, b"abc"), Verdict::Drop(_)));
}

// Whatever the segmentation, order and repetition, the stream is the same.

/// Pieces (start, end) that cover `0..length`, some twice, in any order.
fn segmentation(length: usize) -> impl Strategy<Value = Vec<(usize, usize)>> {
    let cuts = prop::collection::btree_set(1..length, 0..12);
    let extra = prop::collection::vec((0..length, 1..length), 0..6);
    (cuts, extra).prop_flat_map(move |(cuts, extra)| {
        let mut edges: Vec<usize> = std::iter::once(0).chain(cuts).collect();
        edges.push(length);
        let mut pieces: Vec<_> = edges.windows(2).map(|pair| (pair[0], pair[1])).collect();
        pieces.extend(
            extra
                .into_iter()
                .map(|(start, n)| (start, (start + n).min(length))),
        );
        Just(pieces).prop_shuffle()
    })
}

fn stream_bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 256) as u8).collect()
}

const EVERY_OS: [OsPolicy; 10] = [
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

/// The rule of each system, said once more in other words.
fn model_later_wins(os: OsPolicy, (start, end): (usize, usize), earlier: (usize, usize)) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match (os, start.cmp(&earlier.0), end.cmp(&earlier.1)) {
        (OsPolicy::First | OsPolicy::Vista, ..) => false,
        (OsPolicy::Last, ..) => true,
        (OsPolicy::Solaris | OsPolicy::HpUx11, _, Greater) => true,
        (OsPolicy::Solaris | OsPolicy::HpUx11, start, Equal) => start != Greater,
        (OsPolicy::Solaris | OsPolicy::HpUx11, _, Less) => false,
        (_, Less, _) => true,
        (OsPolicy::OldLinux, Equal, end) => end != Less,
        (OsPolicy::Linux, Equal, end) => end == Greater,
        _ => false,
    }
}

proptest! {
    #[test]
    fn any_segmentation_gives_the_same_stream_inline(
        pieces in segmentation(300),
        isn in any::<u32>(),
        eager in any::<bool>(),
    ) {
        let stream = stream_bytes(300);
        let mut talk = Talk::new(StreamConfig::inline());
        talk.isn[0] = isn;
        talk.send(ToServer, flags::SYN, -1, b"");
        talk.send(ToClient, flags::SYN | flags::ACK, -1, b"");
        let mut read = Vec::new();
        for (start, end) in pieces {
            prop_assert_eq!(talk.data(start as i64, &stream[start..end]), Verdict::Accept);
            if eager {
                read.extend(talk.read());
            }
        }
        read.extend(talk.read());
        prop_assert_eq!(read, stream);
        prop_assert_eq!(talk.session.gap(ToServer), None);
    }

    #[test]
    fn any_segmentation_gives_the_same_stream_in_detect_mode(
        pieces in segmentation(300),
        policy in prop::sample::select(EVERY_OS.to_vec()),
        isn in any::<u32>(),
        honest_acks in any::<bool>(),
    ) {
        let stream = stream_bytes(300);
        let mut talk = Talk::new(StreamConfig { mode: Mode::Detect(policy), ..StreamConfig::detect() });
        talk.isn[0] = isn;
        talk.send(ToServer, flags::SYN, -1, b"");
        talk.send(ToClient, flags::SYN | flags::ACK, -1, b"");
        let mut have = [false; 300];
        let mut read = Vec::new();
        for (start, end) in pieces {
            talk.data(start as i64, &stream[start..end]);
            have[start..end].fill(true);
            if honest_acks {
                talk.ack(have.iter().take_while(|seen| **seen).count() as i64);
            }
            read.extend(talk.read());
        }
        talk.session.flush();
        read.extend(talk.read());
        prop_assert_eq!(read, stream);
    }

    /// Inline: of two versions of each byte, the one that was accepted is the only one that ever passes.
    #[test]
    fn the_receiver_can_only_get_what_the_engine_read(
        segments in prop::collection::vec((0usize..60, 1usize..20, any::<bool>()), 1..40),
    ) {
        let versions = [vec![b'a'; 80], vec![b'b'; 80]];
        let mut talk = Talk::inline();
        let mut passed: Vec<Option<u8>> = vec![None; 80];
        for (start, length, which) in segments {
            let bytes = &versions[usize::from(which)][start..start + length];
            if talk.data(start as i64, bytes) == Verdict::Accept {
                for (slot, byte) in passed[start..].iter_mut().zip(bytes) {
                    prop_assert!(slot.is_none() || *slot == Some(*byte), "two versions of one byte passed");
                    *slot = Some(*byte);
                }
            }
        }
        let in_order: Vec<u8> = passed.iter().map_while(|byte| *byte).collect();
        prop_assert_eq!(talk.readable(), &in_order[..]);
    }

    /// Detect: each policy agrees with a model that keeps, per byte, the segment that owns it.
    #[test]
    fn overlap_policies_agree_with_a_byte_by_byte_model(
        segments in prop::collection::vec((0usize..60, 1usize..20), 1..30),
        policy in prop::sample::select(EVERY_OS.to_vec()),
    ) {
        let mut talk = Talk::detect(policy);
        let mut owner: Vec<Option<usize>> = vec![None; 80];
        for (index, (start, length)) in segments.iter().enumerate() {
            let later = (*start, start + length);
            for slot in &mut owner[later.0..later.1] {
                let earlier = slot.map(|at: usize| (segments[at].0, segments[at].0 + segments[at].1));
                let wins = earlier.is_none_or(|earlier| model_later_wins(policy, later, earlier));
                if wins {
                    *slot = Some(index);
                }
            }
            talk.data(*start as i64, &vec![index as u8; *length]);
        }
        talk.session.flush();
        let last = owner.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
        let model: Vec<u8> = owner[..last].iter().map(|slot| slot.map_or(b'_', |index| index as u8)).collect();
        prop_assert_eq!(talk.read_with_gaps(), model);
    }

    /// Whatever arrives in whatever order: no panic, bounds hold, offsets never go back.
    #[test]
    fn hostile_segments_stay_within_bounds(
        mode in 0..3,
        midstream in any::<bool>(),
        steps in prop::collection::vec(
            (any::<bool>(), any::<u8>(), prop_oneof![-10i64..400, any::<i32>().prop_map(i64::from)], 0usize..200,
             any::<u8>(), any::<u16>(), prop_oneof![-5i64..300, any::<i32>().prop_map(i64::from)], 0u8..8),
            0..60),
    ) {
        let limits = Limits {
            history_bytes: 64, history_window_bytes: 64, pending_bytes: 200, pending_pieces: 4, unread_bytes: 300,
        };
        let config = match mode {
            0 => StreamConfig::inline(),
            1 => StreamConfig::rewrite(),
            _ => StreamConfig::detect(),
        };
        let mut talk = Talk::new(StreamConfig { midstream, limits, ..config });
        let mut offsets = [0; 2];
        for (client, flags, offset, length, byte, window, acked, action) in steps {
            let direction = if client { ToServer } else { ToClient };
            talk.window = window;
            talk.acked = [acked; 2];
            if talk.send(direction, flags, offset, &vec![byte; length]) == Verdict::NewSession {
                talk.session = talk.session.successor();
                talk.send(direction, flags, offset, &vec![byte; length]);
                offsets = [0; 2];
            }
            for direction in [ToServer, ToClient] {
                match action {
                    0 => talk.session.consume(direction, usize::from(byte)),
                    1 => talk.session.consume(direction, usize::MAX),
                    2 => { talk.session.skip_gap(direction); }
                    3 => talk.session.flush(),
                    _ => {}
                }
                prop_assert!(talk.session.offset(direction) >= offsets[direction as usize]);
                offsets[direction as usize] = talk.session.offset(direction);
                prop_assert!(talk.session.readable(direction).len() <= 300 + 200 + 400);
            }
            prop_assert!(talk.session.memory_bytes() < 40_000, "{}", talk.session.memory_bytes());
        }
    }
}

/// A connection of which what the server sends is not shown.
fn one_sided() -> Talk {
    let mut talk = Talk::inline();
    talk.session.look_away(ToClient);
    talk
}

#[test]
fn goes_on_though_what_is_acknowledged_was_not_shown() {
    let mut talk = one_sided();
    for (offset, acked) in [(0, 100_000), (4, 5_000_000), (8, 1 << 30)] {
        talk.acked[1] = acked;
        assert_eq!(talk.data(offset, b"word"), Verdict::Accept);
    }
    assert_eq!(talk.session.readable(ToServer), b"wordwordword");
}

#[test]
fn a_connection_ends_by_a_fin_behind_bytes_that_were_not_shown() {
    let mut talk = one_sided();
    assert_eq!(
        talk.send(ToClient, flags::ACK | flags::FIN, 900_000, b"last"),
        Verdict::Accept
    );
    assert!(talk.session.readable(ToClient).is_empty());
    assert!(talk.session.ended(ToClient));
    talk.acked[1] = 900_005;
    assert_eq!(
        talk.send(ToServer, flags::ACK | flags::FIN, 0, b""),
        Verdict::Accept
    );
    assert_eq!(talk.session.state(), TcpState::Closed);
}

#[test]
fn a_reset_that_cannot_be_checked_hides_nothing_behind_it() {
    let mut talk = one_sided();
    assert_eq!(
        talk.send(ToClient, flags::RST, 123_456, b""),
        Verdict::Accept
    );
    assert!(talk.session.may_be_over());
    assert_eq!(talk.data(0, b"exploit"), Verdict::Accept);
    assert_eq!(talk.session.readable(ToServer), b"exploit");
}

#[test]
fn looks_again_from_the_next_segment_on() {
    // Past half of all sequence numbers, too.
    for passed in [0, 1, 70_000, 5 << 29] {
        let mut talk = one_sided();
        talk.session.look_again(ToClient);
        assert_eq!(
            talk.send(ToClient, flags::ACK, passed, b"shown"),
            Verdict::Accept
        );
        assert_eq!(talk.last.unseen_bytes, passed as u64);
        assert_eq!(talk.session.readable(ToClient), b"shown");
        assert!(!talk.session.was_unseen(ToClient));
        talk.acked[1] = passed + 5;
        assert_eq!(talk.data(0, b"exploit"), Verdict::Accept, "{passed}");
        assert_eq!(talk.session.readable(ToServer), b"exploit");
    }
}

#[test]
fn what_is_sent_again_of_what_was_not_shown_is_for_the_failure_policy() {
    let mut talk = one_sided();
    talk.session.look_again(ToClient);
    talk.send(ToClient, flags::ACK, 5000, b"shown");
    let again = talk.send(ToClient, flags::ACK, 4000, b"earlier");
    assert_eq!(again, Verdict::Undecided(Undecided::Midstream));
    let across = talk.send(ToClient, flags::ACK, 4998, b"??shown and more");
    assert_eq!(across, Verdict::Undecided(Undecided::Midstream));
    assert_eq!(talk.session.readable(ToClient), b"shown and more");
    assert_eq!(
        talk.send(ToClient, flags::ACK, 5000, b"other"),
        Verdict::Drop(DropReason::Differs)
    );
}

#[test]
fn bytes_sent_again_behind_the_first_segment_in_doubt_are_those_that_passed_unseen() {
    let mut talk = Talk::inline();
    talk.data(0, b"seen");
    talk.session.lose_sight(ToServer);
    for (offset, payload) in [(5000, &b"on"[..]), (5002, b"ward")] {
        assert_eq!(talk.data(offset, payload), Verdict::Accept);
        let again = talk.data(4000, b"earlier");
        assert_eq!(again, Verdict::Undecided(Undecided::Unseen));
    }
}

#[test]
fn needs_no_acknowledgment_to_take_a_whole_window() {
    let mut talk = Talk::new(StreamConfig::inline());
    let scale = [3, 3, 10, 0];
    talk.send_with(ToServer, flags::SYN, -1, b"", &scale);
    talk.send_with(ToClient, flags::SYN | flags::ACK, -1, b"", &scale);
    talk.send(ToClient, flags::ACK, 0, b"banner");
    assert_eq!(talk.session.state(), TcpState::Established);
    // A hole, and behind it more than the window that was advertised first.
    assert_eq!(talk.data(900_000, b"ahead"), Verdict::Accept);
}
