//! Connections as transcripts. A line is `SENDER FLAGS SEQ ACK [LENGTH]`, counted from each end's SYN; `-` is no
//! acknowledgment. The events are those of Suricata 7.0.10 on the same packets.

use proptest::prelude::*;

use super::*;
use crate::wire::testing::{tcp_segment, TcpSpec};

const ISN: [u32; 2] = [1000, 5000];
const WINDOW: u16 = 8192;
const HANDSHAKE: &[&str] = &["C S 0 -", "S SA 0 1", "C A 1 1"];

struct Talk {
    tracker: Tracker,
    last: Tracked,
}

impl Talk {
    fn new(config: TrackerConfig) -> Self {
        Self {
            tracker: Tracker::new(config),
            last: Tracked {
                belongs: false,
                ignored: false,
                events: PacketEvents::NONE,
            },
        }
    }

    fn after(lines: &[&str]) -> Self {
        let mut talk = Self::new(beside());
        lines.iter().for_each(|line| talk.send(line));
        talk
    }

    fn open(lines: &[&str]) -> Self {
        Self::after(&[HANDSHAKE, lines].concat())
    }

    fn send(&mut self, line: &str) {
        self.send_with(line, &[], WINDOW, 0);
    }

    fn send_with(&mut self, line: &str, options: &[u8], window: u16, time_s: u32) {
        let words: Vec<&str> = line.split(' ').collect();
        let side = usize::from(words[0] == "S");
        let bits = words[1].chars().filter_map(|flag| {
            let at = "FSRPAU".find(flag)?;
            Some(1u8 << at)
        });
        let number = |word: &str| word.parse::<i32>().unwrap() as u32;
        let payload = vec![0; words.get(4).map_or(0, |length| length.parse().unwrap())];
        let ack = match words[3] {
            "-" => 0,
            ack => ISN[1 - side].wrapping_add(number(ack)),
        };
        let spec = TcpSpec {
            flags: bits.sum(),
            seq: ISN[side].wrapping_add(number(words[2])),
            ack,
            window,
            options,
            payload: &payload,
        };
        let segment = tcp_segment(1, 2, &spec);
        let (tcp, payload) = Tcp::split(&segment).unwrap();
        let direction = Direction::BOTH[side];
        self.last = self
            .tracker
            .on_segment(direction, &tcp, payload.len(), time_s);
    }

    fn events(&self) -> Vec<&'static str> {
        self.last
            .events
            .iter()
            .map(|event| event.name().trim_start_matches("stream."))
            .collect()
    }
}

fn beside() -> TrackerConfig {
    TrackerConfig {
        midstream: false,
        inline: false,
        os: OsPolicy::Windows,
    }
}

fn timestamps(value: u32, echo: u32) -> Vec<u8> {
    [
        &[1, 1, 8, 10][..],
        &value.to_be_bytes(),
        &echo.to_be_bytes(),
    ]
    .concat()
}

#[test]
fn a_connection_goes_through_its_states_without_a_word() {
    use State::*;
    let by_client = [
        ("C S 0 -", SynSent),
        ("S SA 0 1", SynRecv),
        ("C A 1 1", Established),
        ("C A 1 1 4", Established),
        ("S A 1 5 8", Established),
        ("C FA 5 9", CloseWait),
        ("S A 9 6", CloseWait),
        ("S FA 9 6", LastAck),
        ("C A 6 10", Closed),
    ];
    let by_server = [
        ("C S 0 -", SynSent),
        ("S SA 0 1", SynRecv),
        ("C A 1 1 4", Established),
        ("S FA 1 5", FinWait1),
        ("C A 5 2", FinWait2),
        ("C FA 5 2", TimeWait),
        ("S A 2 6", Closed),
    ];
    for transcript in [&by_client[..], &by_server[..]] {
        let mut talk = Talk::new(beside());
        for (line, state) in transcript {
            talk.send(line);
            assert_eq!(
                (*state, vec![]),
                (talk.tracker.state(), talk.events()),
                "{line}"
            );
            assert!(talk.last.belongs, "{line}");
        }
    }
}

/// (what came after the handshake, then this, is that odd).
const ODD: &[(&[&str], &str, &[&str])] = &[
    (&[], "C A 1 30000", &["est_invalid_ack", "pkt_invalid_ack"]),
    (&[], "C A 30000 1 4", &["est_packet_out_of_window"]),
    (&[], "C A -5 1", &["est_pkt_before_last_ack"]),
    (&[], "C S 0 -", &["est_syn_resend"]),
    (&[], "C S 5 -", &["est_syn_resend_diff_seq"]),
    (&[], "S S 0 -", &["est_syn_toclient"]),
    (&[], "C SA 0 1", &["est_synack_toserver"]),
    (&[], "S SA 0 5", &["est_synack_resend_with_diff_ack"]),
    (&[], "S SA 5 1", &["est_synack_resend_with_diff_seq"]),
    (&[], "S SA 0 1", &[]),
    (
        &["C A 1 1 4", "S A 1 5"],
        "S SA 0 5",
        &["est_synack_resend"],
    ),
    (&[], "C FA 0 1", &["fin_out_of_window"]),
    (&[], "C FA 1 30000", &["fin_invalid_ack", "pkt_invalid_ack"]),
    (&[], "C R 1 - 4", &["rst_with_data"]),
    (&[], "C RA 1 30000", &["pkt_invalid_ack", "rst_invalid_ack"]),
    (&[], "C P 1 77 4", &["pkt_broken_ack"]),
    (
        &["C A 1 1 4", "S A 1 5"],
        "C A 1 1 4",
        &["pkt_spurious_retransmission"],
    ),
    (&["S FA 1 1"], "C S 0 -", &["shutdown_syn_resend"]),
    (&["S FA 1 1"], "C FA 30000 1", &["fin1_fin_wrong_seq"]),
    (
        &["S FA 1 1"],
        "C FA 1 30000",
        &["fin1_invalid_ack", "pkt_invalid_ack"],
    ),
    (&["S FA 1 1"], "S A 30000 1", &["fin1_ack_wrong_seq"]),
    (&["S FA 1 1"], "C A 0 1 4", &["pkt_retransmission"]),
    (
        &["S FA 1 1", "C A 1 2"],
        "C A 30000 2",
        &["fin2_ack_wrong_seq"],
    ),
    (
        &["S FA 1 1", "C A 1 2"],
        "C FA 30000 2",
        &["fin2_fin_wrong_seq"],
    ),
    (
        &["S FA 1 1", "C A 1 2"],
        "C A 1 30000",
        &["fin2_invalid_ack", "pkt_invalid_ack"],
    ),
    (
        &["S FA 1 1", "C F 1 -"],
        "S A 9 2",
        &["closing_ack_wrong_seq"],
    ),
    (
        &["S FA 1 1", "C F 1 -"],
        "C A 1 30000",
        &["closing_invalid_ack", "pkt_invalid_ack"],
    ),
    (
        &["S FA 1 1", "C FA 1 2"],
        "S A 9 2",
        &["timewait_ack_wrong_seq"],
    ),
    (
        &["S FA 1 1", "C FA 1 2"],
        "S A 2 30000",
        &["pkt_invalid_ack", "timewait_invalid_ack"],
    ),
    (
        &["C FA 1 1"],
        "C FA 30000 1",
        &["closewait_fin_out_of_window"],
    ),
    (
        &["C FA 1 1"],
        "C A 30000 1",
        &["closewait_ack_out_of_window"],
    ),
    (
        &["C FA 1 1"],
        "S A 1 30000",
        &["closewait_invalid_ack", "pkt_invalid_ack"],
    ),
    (
        &["C FA 1 1", "C A 1 100"],
        "S A 1 2 8",
        &[
            "closewait_pkt_before_last_ack",
            "pkt_retransmission",
            "pkt_spurious_retransmission",
        ],
    ),
    (
        &["C FA 1 1", "S FA 1 2"],
        "C A 9 2",
        &["lastack_ack_wrong_seq"],
    ),
    (
        &["C FA 1 1", "S FA 1 2"],
        "C A 2 30000",
        &["lastack_invalid_ack", "pkt_invalid_ack"],
    ),
];

#[test]
fn what_is_odd_about_an_open_connection_has_suricatas_name() {
    for (before, line, wanted) in ODD {
        let mut talk = Talk::open(before);
        talk.send(line);
        assert_eq!(*wanted, talk.events(), "{before:?}, {line}");
    }
}

#[test]
fn what_is_odd_about_an_opening_has_suricatas_name() {
    let synack: &[&str] = &["C S 0 -", "S SA 0 1"];
    let both: &[&str] = &["C S 0 -", "S S 0 -"];
    let rows: &[(&[&str], &str, &[&str])] = &[
        (&[], "C R 0 -", &["rst_but_no_session"]),
        (&[], "C FA 0 1", &["fin_but_no_session"]),
        (
            &["C S 0 -"],
            "C SA 0 1",
            &["3whs_synack_in_wrong_direction"],
        ),
        (&["C S 0 -"], "S SA 0 2", &["3whs_synack_with_wrong_ack"]),
        (synack, "C S 9 -", &["3whs_syn_resend_diff_seq_on_syn_recv"]),
        (synack, "S S 0 -", &["3whs_syn_toclient_on_syn_recv"]),
        (synack, "C SA 0 1", &["3whs_synack_toserver_on_syn_recv"]),
        (synack, "S SA 0 2", &["3whs_synack_resend_with_diff_ack"]),
        (synack, "C A 1 5", &["3whs_right_seq_wrong_ack_evasion"]),
        (synack, "C A 5 5", &["3whs_wrong_seq_wrong_ack"]),
        (both, "C SA 0 2", &["4whs_synack_with_wrong_ack"]),
        (both, "C SA 3 1", &["4whs_synack_with_wrong_syn"]),
        (
            &["C S 0 -", "S S 0 -", "C SA 0 1"],
            "S A 4 1",
            &["4whs_wrong_seq"],
        ),
    ];
    for (before, line, wanted) in rows {
        let mut talk = Talk::after(before);
        talk.send(line);
        assert_eq!(*wanted, talk.events(), "{before:?}, {line}");
    }
}

#[test]
fn whichever_of_several_syn_acks_the_client_answers_is_the_servers() {
    let mut talk = Talk::after(&[
        "C S 0 -",
        "S SA 0 1",
        "S SA 100 1",
        "S SA 200 1",
        "C A 1 101",
    ]);
    assert_eq!(State::Established, talk.tracker.state());
    assert_eq!(Some(5101), talk.tracker.first_seq(Direction::ToClient));
    talk.send("S A 101 1 4");
    assert!(talk.last.belongs);
    let more: Vec<String> = (1..7).map(|n| format!("S SA {}00 1", n)).collect();
    let mut talk = Talk::after(&["C S 0 -", "S SA 0 1"]);
    more.iter().for_each(|line| talk.send(line));
    assert_eq!(vec!["3whs_synack_flood"], talk.events());
}

#[test]
fn a_reset_counts_where_its_receiver_would_believe_it() {
    let inside = "C R 20 -";
    let rows = [
        (OsPolicy::Windows, "C R 5 -", true),
        (OsPolicy::Windows, inside, false),
        (OsPolicy::Windows, "C R 4 -", false),
        (OsPolicy::Bsd, inside, false),
        (OsPolicy::Linux, inside, true),
        (OsPolicy::Linux, "C R 30000 -", false),
        (OsPolicy::Solaris, inside, true),
        (OsPolicy::HpUx11, "C R 30000 -", true),
        (OsPolicy::HpUx11, "C R 4 -", false),
    ];
    for (os, line, counts) in rows {
        let mut talk = Talk::new(TrackerConfig { os, ..beside() });
        HANDSHAKE.iter().for_each(|line| talk.send(line));
        talk.send("C A 1 1 4");
        talk.send("S A 1 5");
        talk.send(line);
        assert_eq!(counts, talk.last.belongs, "{os:?} {line}");
        assert_eq!(
            counts,
            talk.tracker.state() == State::Closed,
            "{os:?} {line}"
        );
    }
}

#[test]
fn a_signed_reset_is_undone_when_its_sender_goes_on() {
    let signature = [&[19, 18][..], &[7; 16]].concat();
    let mut talk = Talk::open(&[]);
    talk.send_with("C RA 1 1", &signature, WINDOW, 0);
    assert_eq!(State::Closed, talk.tracker.state());
    talk.send("S A 1 1 4");
    assert!(
        !talk.last.belongs,
        "the other end has not taken it for undone"
    );
    talk.send("C A 1 1 4");
    assert_eq!(vec!["suspected_rst_inject"], talk.events());
    assert!(talk.last.belongs);
    assert_eq!(State::Established, talk.tracker.state());
}

#[test]
fn timestamps_do_not_run_backwards() {
    let mut talk = Talk::new(beside());
    talk.send_with("C S 0 -", &timestamps(100, 0), WINDOW, 0);
    talk.send_with("S SA 0 1", &timestamps(7, 100), WINDOW, 0);
    talk.send_with("C A 1 1", &timestamps(110, 7), WINDOW, 0);
    talk.send_with("C A 1 1 4", &timestamps(109, 7), WINDOW, 0);
    assert!(talk.last.belongs, "one less is order lost on the way");
    talk.send_with("C A 5 1 4", &timestamps(90, 7), WINDOW, 0);
    assert_eq!(
        (false, vec!["pkt_invalid_timestamp"]),
        (talk.last.belongs, talk.events())
    );
    talk.send_with("C A 5 1 4", &timestamps(90, 7), WINDOW, 25 * 24 * 60 * 60);
    assert!(talk.last.belongs, "after so long a clock says nothing");
}

#[test]
fn an_answer_that_echoes_another_timestamp_is_none() {
    let mut talk = Talk::after(&["C S 0 -"]);
    talk.send_with("S RA 0 1", &timestamps(100, 100), WINDOW, 0);
    assert_eq!(vec!["pkt_invalid_timestamp"], talk.events());
    assert_eq!(State::SynSent, talk.tracker.state());
}

#[test]
fn windows_are_scaled_as_the_syns_offered() {
    let mut talk = Talk::new(beside());
    talk.send_with("C S 0 -", &[3, 3, 4], 100, 0);
    talk.send_with("S SA 0 1", &[3, 3, 4], 100, 0);
    talk.send_with("C A 1 1", &[], 100, 0);
    talk.send_with("C A 1 1 100", &[], 100, 0);
    assert!(talk.last.belongs, "the SYN/ACK's own window is not scaled");
    talk.send_with("S A 1 101", &[], 100, 0);
    talk.send_with("C A 101 1 1600", &[], 100, 0);
    assert!(talk.last.belongs);
    talk.send_with("C A 1701 1 1", &[], 100, 0);
    assert_eq!(vec!["est_packet_out_of_window"], talk.events());
    talk.send_with("C A 5000 90 1", &[], 10, 0);
    assert_eq!(vec!["pkt_bad_window_update"], talk.events());
}

#[test]
fn bytes_on_a_syn_count_with_a_cookie_and_an_answer_that_takes_them() {
    let cookie = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    for (answer, taken, wanted) in [
        ("S SA 0 5", true, &[][..]),
        ("S SA 0 1", false, &["3whs_synack_tfo_data_ignored"]),
    ] {
        let mut talk = Talk::new(beside());
        talk.send_with("C S 0 - 4", &cookie, WINDOW, 0);
        assert!(talk.tracker.takes_data_on_syn());
        talk.send(answer);
        assert_eq!(wanted, talk.events());
        assert_eq!(taken, talk.tracker.takes_data_on_syn());
    }
    let mut talk = Talk::new(beside());
    talk.send("C S 0 - 4");
    assert!(!talk.tracker.takes_data_on_syn());
    talk.send("S SA 0 5");
    assert_eq!(vec!["3whs_synack_with_wrong_ack"], talk.events());
}

#[test]
fn a_syn_opens_another_connection_where_this_one_is_over() {
    let syn = |seq| {
        tcp_segment(
            1,
            2,
            &TcpSpec {
                flags: flags::SYN,
                seq,
                ..TcpSpec::default()
            },
        )
    };
    let (again, other) = (syn(1000), syn(1001));
    let replaced = |talk: &Talk, segment: &[u8]| {
        let (tcp, _) = Tcp::split(segment).unwrap();
        talk.tracker.is_replaced_by(Direction::ToServer, &tcp)
    };
    let over = Talk::open(&["C FA 1 1", "S FA 1 2", "C A 2 2"]);
    assert!(replaced(&over, &other) && !replaced(&over, &again));
    assert!(!replaced(&Talk::open(&[]), &other));
    assert!(!replaced(&Talk::open(&["S FA 1 1"]), &other));
}

#[test]
fn between_the_ends_no_server_speaks_before_the_handshake_is_complete() {
    let mut talk = Talk::new(TrackerConfig {
        inline: true,
        ..beside()
    });
    ["C S 0 -", "S SA 0 1", "S A 1 1 4"]
        .iter()
        .for_each(|line| talk.send(line));
    assert_eq!(
        (false, vec!["3whs_ack_data_inject"]),
        (talk.last.belongs, talk.events())
    );
}

#[test]
fn what_suricata_lets_pass_inline_without_taking_it_in_is_told_from_what_it_drops() {
    let both_closed: &[&str] = &["C FA 1 1", "S FA 1 2", "C A 2 2"];
    for (before, line, ignored) in [
        (both_closed, "C A 2 2", true),
        (both_closed, "S FA 1 2", true),
        (&["S R 1 -"], "S A 1 1 5", true),
        (&["S R 1 -"], "C A 1 1 5", true),
        (&["C FA 1 1", "S FA 1 2"], "S FA 1 2", true),
        (&[], "C A 100001 1 5", true),
        (&[], "C A 1 100001 5", true),
        (&[], "C - 1 - 5", true),
        (&["C FA 1 1"], "C A 2 100001", false),
        (&[], "C FA 1 100001", false),
        (&[], "S S 7 -", false),
    ] {
        let mut talk = Talk::open(before);
        talk.send(line);
        assert!(!talk.last.belongs, "{line}");
        assert_eq!(talk.last.ignored, ignored, "{line}");
    }
}

#[test]
fn a_shrunk_window_beside_an_acknowledgment_of_the_future_is_no_window_update() {
    for (ack, wanted) in [(5, "pkt_bad_window_update"), (100_001, "pkt_invalid_ack")] {
        let mut talk = Talk::open(&[]);
        talk.send_with(&format!("C A 50 {ack}"), &[], 100, 0);
        assert!(talk.events().contains(&wanted), "{:?}", talk.events());
    }
}

proptest! {
    /// Whatever comes in whatever order: no panic, and what does not belong moves nothing but the state's doubts.
    #[test]
    fn hostile_segments_are_survived(
        steps in prop::collection::vec(
            (any::<bool>(), any::<u8>(), any::<i32>(), any::<i32>(), 0usize..9, any::<u16>(),
             prop::collection::vec(any::<u8>(), 0..12), any::<u32>()),
            0..40),
        midstream in any::<bool>(),
        inline in any::<bool>(),
    ) {
        let mut tracker = Tracker::new(TrackerConfig { midstream, inline, os: OsPolicy::Linux });
        for (client, flags, seq, ack, length, window, options, time_s) in steps {
            let direction = if client { Direction::ToServer } else { Direction::ToClient };
            let spec = TcpSpec {
                flags, seq: (seq % 50) as u32, ack: (ack % 50) as u32, window, options: &options, payload: &[0; 8][..length.min(8)],
            };
            let segment = tcp_segment(1, 2, &spec);
            let (tcp, payload) = Tcp::split(&segment).unwrap();
            tracker.on_segment(direction, &tcp, payload.len(), time_s);
        }
    }
}
