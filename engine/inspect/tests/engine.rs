//! The whole engine on packets, as the live path drives it.
#[allow(dead_code)] // each test uses its part
mod dialogue;

use dialogue::{policy, policy_of_generation, Dialogue, CLIENT_PORT_IFINDEX, SERVER_PORT_IFINDEX};
use inspect::engine::{FlowMark, Settings};
use serde_json::json;

const EVIL: &str = r#"alert http any any -> $HOME_NET any (msg:"evil"; flow:established,to_server; http.uri; content:"/evil"; sid:1;)"#;
const REQUEST: &[u8] = b"GET /evil HTTP/1.1\r\nHost: web\r\n\r\n";
const HARMLESS: &[u8] = b"GET /good HTTP/1.1\r\nHost: web\r\n\r\n";

#[test]
fn prevent_blocks_the_request_and_marks_its_flow() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    let outcome = dialogue.client(REQUEST);
    assert!(outcome.block);
    assert_eq!(FlowMark::Drop, outcome.flow);
    assert_eq!(vec![1], dialogue.alerts());
    let alert = &dialogue.events.0[0];
    assert_eq!("blocked", alert["alert"]["action"]);
    assert_eq!("web", alert["sekisho"]["guest"]);
    assert_eq!("web0", alert["sekisho"]["vnic"]);
    assert_eq!("prevent", alert["sekisho"]["mode"]);
    assert_eq!(7, alert["sekisho"]["policy_version"]);
}

#[test]
fn a_blocked_flow_stays_blocked_in_both_directions() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    dialogue.client(REQUEST);
    assert!(dialogue.client(HARMLESS).block);
    assert!(dialogue.server(b"HTTP/1.1 200 OK\r\n\r\n").block);
    assert_eq!(vec![1], dialogue.alerts(), "and says so once");
}

#[test]
fn a_blocked_flow_resets_both_ends_at_the_sequence_numbers_they_expect() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    let (client_seq, server_seq) = dialogue.sequences();
    let frames = dialogue.client(REQUEST).frames;
    let seq = |frame: &[u8]| u32::from_be_bytes(frame[38..42].try_into().unwrap());
    let told: Vec<(u32, u32)> = frames
        .iter()
        .map(|(port, frame)| (*port, seq(frame)))
        .collect();
    assert_eq!(
        vec![
            (SERVER_PORT_IFINDEX, client_seq),
            (CLIENT_PORT_IFINDEX, server_seq)
        ],
        told
    );
}

#[test]
fn a_guest_that_wants_silence_sends_no_resets() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({"on_drop": "silent"})));
    let outcome = dialogue.client(REQUEST);
    assert!(outcome.block);
    assert!(outcome.frames.is_empty());
}

#[test]
fn detect_passes_the_request_and_says_what_it_would_have_done() {
    let mut dialogue = Dialogue::open(policy(EVIL, "detect", json!({})));
    assert!(!dialogue.client(REQUEST).block);
    assert_eq!(vec![1], dialogue.alerts());
    assert_eq!("drop", dialogue.events.0[0]["sekisho"]["would"]);
    assert_eq!("allowed", dialogue.events.0[0]["alert"]["action"]);
}

#[test]
fn as_written_alerts_without_blocking() {
    let mut dialogue = Dialogue::open(policy(EVIL, "as-written", json!({})));
    assert!(!dialogue.client(REQUEST).block);
    assert_eq!(vec![1], dialogue.alerts());
    assert!(dialogue.events.0[0]["sekisho"].get("would").is_none());
}

#[test]
fn off_neither_alerts_nor_blocks() {
    let mut dialogue = Dialogue::open(policy(EVIL, "off", json!({})));
    assert!(!dialogue.client(REQUEST).block);
    assert!(dialogue.events.0.is_empty());
}

#[test]
fn ten_segments_of_one_byte_each_do_not_hide_a_match() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    let (start, rest) = REQUEST.split_at(10);
    for byte in start {
        assert!(!dialogue.client(&[*byte]).block);
    }
    assert!(dialogue.client(rest).block);
}

#[test]
fn every_split_of_a_request_is_blocked_before_its_last_byte_passes() {
    for cut in 1..REQUEST.len() {
        let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
        let first = dialogue.client(&REQUEST[..cut]);
        let blocked = first.block || dialogue.client(&REQUEST[cut..]).block;
        assert!(blocked, "cut at {cut}");
        assert_eq!(vec![1], dialogue.alerts(), "cut at {cut}");
    }
}

#[test]
fn the_segment_that_fills_the_hole_is_the_one_blocked() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    assert!(!dialogue.client_ahead(10, &REQUEST[10..]).block);
    assert!(dialogue.client(&REQUEST[..10]).block);
}

#[test]
fn the_thousandth_request_of_a_connection_is_inspected_like_the_first() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    for _ in 0..1000 {
        assert!(!dialogue.client(HARMLESS).block);
        assert!(
            !dialogue
                .server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .block
        );
    }
    assert!(dialogue.client(REQUEST).block);
}

#[test]
fn a_request_pipelined_behind_a_harmless_one_is_blocked() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    let both = [HARMLESS, REQUEST].concat();
    assert!(dialogue.client(&both).block);
}

#[test]
fn requests_piled_up_past_the_bound_do_not_carry_one_through() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    let blocked = (0..600).any(|_| dialogue.client(HARMLESS).block);
    assert!(blocked || dialogue.client(REQUEST).block);
}

#[test]
fn requests_piled_up_past_the_bound_pass_where_nothing_may_be_blocked() {
    let mut dialogue = Dialogue::open(policy(EVIL, "detect", json!({})));
    assert!((0..600).all(|_| !dialogue.client(HARMLESS).block));
}

#[test]
fn an_override_turns_one_signature_off() {
    let off = json!({"overrides": [{"sid": 1, "mode": "off"}]});
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", off));
    assert!(!dialogue.client(REQUEST).block);
    assert!(dialogue.alerts().is_empty());
}

#[test]
fn an_override_for_one_peer_holds_for_that_peer_only() {
    let off_for = |peer: &str| json!({"overrides": [{"sid": 1, "mode": "off", "peer": peer}]});
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", off_for("10.9.0.0/24")));
    assert!(!dialogue.client(REQUEST).block);
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", off_for("10.8.0.2")));
    assert!(dialogue.client(REQUEST).block);
}

#[test]
fn an_override_ends_with_its_date() {
    let until =
        |until_s: u64| json!({"overrides": [{"sid": 1, "mode": "off", "until_s": until_s}]});
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", until(1_700_000_001)));
    assert!(!dialogue.client(REQUEST).block);
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", until(1_699_999_999)));
    assert!(dialogue.client(REQUEST).block);
}

#[test]
fn a_policy_that_arrives_within_a_connection_holds_from_the_next_packet_on() {
    let mut dialogue = Dialogue::open(policy(EVIL, "off", json!({})));
    assert!(!dialogue.client(HARMLESS).block);
    let next = policy_of_generation(2, EVIL, "prevent", json!({}));
    dialogue.engine.swap(next, Default::default());
    assert!(dialogue.client(REQUEST).block);
}

#[test]
fn a_new_connection_on_a_blocked_tuple_starts_anew() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    dialogue.client(REQUEST);
    let first = dialogue.handshake();
    assert!(!first.block);
    assert_eq!(FlowMark::Forget, first.flow);
    assert!(!dialogue.client(HARMLESS).block);
    assert!(dialogue.client(REQUEST).block);
}

#[test]
fn a_connection_is_told_to_be_new_also_where_no_blocked_one_is_known() {
    let mut dialogue = Dialogue::new(policy(EVIL, "prevent", json!({})));
    assert_eq!(FlowMark::Forget, dialogue.handshake().flow);
    assert_eq!(FlowMark::Keep, dialogue.client(HARMLESS).flow);
}

#[test]
fn a_syn_that_the_server_does_not_take_cannot_hide_where_a_blocked_request_began() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    let (head, rest) = REQUEST.split_at(8);
    assert!(!dialogue.client(head).block);
    assert!(dialogue.client(rest).block);
    let (client, server) = dialogue.sequences();
    // Where the server stands already, so that what follows is in order for it.
    dialogue.raw(true, client - 1, 0, 0x02, b"");
    dialogue.raw(false, server, client, 0x10, b"");
    assert!(dialogue.client(rest).block);
}

/// What opens a connection where another was opened, or is being closed, on the same ports.
fn reopened(dialogue: &mut Dialogue, client: u32, server: u32) {
    assert!(!dialogue.raw(true, client, 0, 0x02, b"").block);
    assert!(!dialogue.raw(false, server, client + 1, 0x12, b"").block);
    assert!(!dialogue.raw(true, client + 1, server + 1, 0x10, b"").block);
    assert!(
        !dialogue
            .raw(true, client + 1, server + 1, 0x18, &REQUEST[..8])
            .block
    );
    assert!(
        dialogue
            .raw(true, client + 9, server + 1, 0x18, &REQUEST[8..])
            .block
    );
}

#[test]
fn a_client_may_open_a_connection_anew_before_it_is_answered() {
    for reset in [false, true] {
        let mut dialogue = Dialogue::new(policy(EVIL, "prevent", json!({})));
        dialogue.raw(true, 5, 0, 0x02, b"");
        if reset {
            assert!(!dialogue.raw(true, 6, 0, 0x04, b"").block);
        }
        reopened(&mut dialogue, 100_000, 7_000);
    }
}

#[test]
fn ports_serve_again_though_the_last_acknowledgment_was_not_seen() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    dialogue.client(HARMLESS);
    let (client, server) = dialogue.sequences();
    assert!(!dialogue.raw(false, server, client, 0x11, b"").block);
    assert!(!dialogue.raw(true, client, server + 1, 0x11, b"").block);
    reopened(&mut dialogue, client + 100_000, server + 100_000);
}

#[test]
fn traffic_between_ports_without_a_guest_is_let_through_unseen() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({"name": "web"})));
    let stranger = policy_of_generation(2, EVIL, "prevent", json!({"assignments": []}));
    dialogue.engine.swap(stranger, Default::default());
    assert!(!dialogue.client(REQUEST).block);
}

#[test]
fn a_stream_signature_matches_across_segments() {
    let rule = r#"alert tcp any any -> $HOME_NET any (msg:"raw"; flow:established,to_server; content:"attack-at-dawn"; sid:2;)"#;
    let mut dialogue = Dialogue::open(policy(rule, "prevent", json!({})));
    assert!(!dialogue.client(b"xxxx attack-").block);
    assert!(dialogue.client(b"at-dawn yyy").block);
    assert_eq!(vec![2], dialogue.alerts());
}

#[test]
fn a_retransmission_that_differs_from_what_was_accepted_is_dropped() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    let (client_seq, server_seq) = dialogue.sequences();
    assert!(!dialogue.client(b"GET /good").block);
    assert!(
        dialogue
            .raw(true, client_seq, server_seq, 0x18, b"GET /evil")
            .block
    );
    assert!(
        !dialogue
            .raw(true, client_seq, server_seq, 0x18, b"GET /good")
            .block
    );
}

#[test]
fn a_passing_signature_silences_the_others() {
    let rules = format!(
        "{EVIL}\npass http any any -> $HOME_NET any (msg:\"ours\"; flow:established,to_server; http.uri; content:\"/evil\"; sid:3;)"
    );
    let mut dialogue = Dialogue::open(policy(&rules, "prevent", json!({})));
    assert!(!dialogue.client(REQUEST).block);
    assert!(dialogue.alerts().is_empty());
}

/// What a peer sends in the hope that we take it for delivered while its receiver does not.
#[test]
fn bytes_that_the_receiver_ignores_do_not_count_as_seen() {
    let mut early = Dialogue::new(policy(EVIL, "prevent", json!({})));
    let (client_seq, _) = early.sequences();
    early.raw(true, client_seq, 0, 0x02, REQUEST);
    early.raw(true, client_seq + 1, 0, 0x10, REQUEST);
    early.handshake();
    assert!(early.client(REQUEST).block, "sent before the handshake");

    let mut unflagged = Dialogue::open(policy(EVIL, "prevent", json!({})));
    let (client_seq, _) = unflagged.sequences();
    assert!(
        unflagged
            .raw(true, client_seq, 0, 0x00, b"POST /good HTTP/1.1\r\n")
            .block
    );
    assert!(
        unflagged.client(REQUEST).block,
        "behind a segment without ACK"
    );
}

#[test]
fn urgent_data_which_may_be_read_in_two_ways_does_not_pass() {
    let out_of_band = b"GET /ev!il HTTP/1.1\r\nHost: web\r\n\r\n";
    for (mode, blocked) in [("prevent", true), ("detect", false)] {
        let mut dialogue = Dialogue::open(policy(EVIL, mode, json!({})));
        let (client_seq, server_seq) = dialogue.sequences();
        let urgent = dialogue.raw(true, client_seq, server_seq, 0x38, out_of_band);
        assert_eq!(blocked, urgent.block, "{mode}");
    }
}

#[test]
fn an_acknowledgment_of_bytes_never_sent_blinds_nobody() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    let (client_seq, server_seq) = dialogue.sequences();
    dialogue.raw(true, client_seq, server_seq + 5000, 0x10, b"");
    assert!(dialogue.client(REQUEST).block);
}

#[test]
fn a_first_segment_that_looks_like_another_protocol_does_not_hide_http() {
    for start in ["USER ", "PASS ", "HELO ", "FEAT ", "SSH- "] {
        let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
        dialogue.client(start.as_bytes());
        assert!(
            dialogue
                .client(b"/evil HTTP/1.1\r\nHost: web\r\n\r\n")
                .block,
            "{start}"
        );
    }
}

#[test]
fn empty_lines_in_front_do_not_hide_a_request() {
    let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
    dialogue.client(&b"\r\n".repeat(700));
    dialogue.client(&b"\r\n".repeat(700));
    assert!(dialogue.client(REQUEST).block);
}

#[test]
fn more_fields_than_are_kept_are_not_let_through() {
    let rule =
        r#"alert http any any -> $HOME_NET any (msg:"h"; http.header; content:"evil"; sid:4;)"#;
    let repeated = "X: 1\r\n".repeat(70);
    let many: String = (0..1100).map(|i| format!("X-{i}: 1\r\n")).collect();
    for fields in [repeated, many] {
        let request = format!("GET / HTTP/1.1\r\n{fields}X: evil\r\n\r\n");
        let mut dialogue = Dialogue::open(policy(rule, "prevent", json!({})));
        assert!(dialogue.client(request.as_bytes()).block);
    }
}

#[test]
fn zeros_before_a_chunks_length_do_not_end_the_body() {
    let rule = r#"alert http any any -> $HOME_NET any (msg:"b"; http.request_body; content:"evil"; sid:5;)"#;
    let zeros = "0".repeat(80);
    let request = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{zeros}4\r\nevil\r\n0\r\n\r\n"
    );
    let mut dialogue = Dialogue::open(policy(rule, "prevent", json!({})));
    assert!(dialogue.client(request.as_bytes()).block);
}

#[test]
fn a_request_behind_a_connect_that_opens_no_tunnel_is_blocked() {
    for connect in [
        "CONNECT web:80 HTTP/1.1\r\n\r\n",
        "CONNECT /x HTTP/1.1\r\n\r\n",
    ] {
        let mut dialogue = Dialogue::open(policy(EVIL, "prevent", json!({})));
        assert!(!dialogue.client(connect.as_bytes()).block);
        assert!(dialogue.client(REQUEST).block, "{connect}");
    }
}

const WORD: &str = r#"alert tcp any any -> $HOME_NET any (msg:"word"; flow:established,to_server; content:"word"; sid:2;)"#;

/// Says a word three times; returns for each whether it was blocked, and the alerts.
fn three_words(config: &str, mode: &str) -> ([bool; 3], usize) {
    let rules = format!("{WORD}\x0c{config}");
    let mut dialogue = Dialogue::open(policy(&rules, mode, json!({"on_drop": "silent"})));
    let blocked = [(); 3].map(|()| dialogue.client(b"word").block);
    (blocked, dialogue.alerts().len())
}

#[test]
fn a_rule_set_s_thresholds_hold_on_the_live_path() {
    let (passed, all) = ([false; 3], [true; 3]);
    let rows = [
        (passed, 3, "as-written", ""),
        (passed, 0, "as-written", "suppress gen_id 1, sig_id 2"),
        (
            passed,
            0,
            "as-written",
            "suppress gen_id 1, sig_id 2, track by_dst, ip $HOME_NET",
        ),
        (
            passed,
            3,
            "as-written",
            "suppress gen_id 1, sig_id 2, track by_src, ip $HOME_NET",
        ),
        (all, 0, "prevent", "suppress gen_id 1, sig_id 2"),
        (
            passed,
            1,
            "as-written",
            "threshold gen_id 1, sig_id 2, type limit, track by_src, count 1, seconds 60",
        ),
        (
            [false, false, true],
            3,
            "as-written",
            "rate_filter gen_id 1, sig_id 2, track by_src, count 2, seconds 60, new_action drop, timeout 9",
        ),
    ];
    for (blocked, alerts, mode, config) in rows {
        assert_eq!(
            (blocked, alerts),
            three_words(config, mode),
            "{mode} {config}"
        );
    }
}

#[test]
fn a_pass_that_says_alert_is_reported_and_spares_the_rest() {
    let rules = format!("{EVIL}\npass http any any -> $HOME_NET any (msg:\"ours\"; http.uri; content:\"/evil\"; alert; sid:3;)");
    let mut dialogue = Dialogue::open(policy(&rules, "prevent", json!({})));
    assert!(!dialogue.client(REQUEST).block);
    assert_eq!(vec![3], dialogue.alerts());
    assert_eq!("allowed", dialogue.events.0[0]["alert"]["action"]);
}

#[test]
fn an_alert_names_the_bits_of_its_flow() {
    let rules = format!("alert tcp any any -> any any (msg:\"bit\"; flow:to_server; flowbits:set,seen.syn; noalert; sid:9;)\n{EVIL}");
    let mut dialogue = Dialogue::open(policy(&rules, "as-written", json!({})));
    dialogue.client(REQUEST);
    assert_eq!(
        json!(["seen.syn"]),
        dialogue.events.0[0]["metadata"]["flowbits"]
    );
}

/// Found midstream it would be refused.
fn refusing_what_is_found_midstream() -> Dialogue {
    let failure = json!({"failure": {"midstream": "closed"}});
    Dialogue::new(policy(EVIL, "prevent", failure))
}

#[test]
fn a_connection_that_said_nothing_for_days_is_still_known() {
    let mut dialogue = refusing_what_is_found_midstream();
    dialogue.handshake();
    assert!(!dialogue.client(HARMLESS).block);
    dialogue.wait_s(4 * 24 * 3600);
    assert!(!dialogue.client(HARMLESS).block);
    assert!(dialogue.client(REQUEST).block);
    assert_eq!(vec![1], dialogue.alerts());
}

#[test]
fn a_connection_that_nobody_has_used_yet_is_known_though_its_handshakes_end_was_not_shown() {
    let mut dialogue = refusing_what_is_found_midstream();
    dialogue.raw(true, 1000, 0, 0x02, b"");
    dialogue.raw(false, 5000, 1001, 0x12, b"");
    dialogue.wait_s(3000);
    assert!(!dialogue.raw(true, 1001, 5001, 0x18, HARMLESS).block);
}

#[test]
fn an_opening_that_nobody_answered_is_forgotten_after_a_minute() {
    let mut dialogue = refusing_what_is_found_midstream();
    dialogue.raw(true, 1000, 0, 0x02, b"");
    assert_eq!(1, dialogue.engine.flow_count());
    dialogue.wait_s(61);
    assert_eq!(0, dialogue.engine.flow_count());
}

#[test]
fn half_of_a_connection_that_nobody_ended_is_forgotten_after_ten_minutes() {
    let mut dialogue = refusing_what_is_found_midstream();
    dialogue.handshake();
    let (client, server) = dialogue.sequences();
    dialogue.raw(true, client, server, 0x11, b"");
    dialogue.wait_s(590);
    assert_eq!(1, dialogue.engine.flow_count());
    dialogue.wait_s(20);
    assert_eq!(0, dialogue.engine.flow_count());
}

/// A table full of one guest's openings: each connection from outside is the server's.
#[test]
fn a_guest_that_fills_the_table_ends_no_opening_of_others() {
    let failure = json!({"failure": {"midstream": "closed"}});
    let mut settings = Settings::live([1, 2]);
    settings.flows.max_flows = 100;
    let mut dialogue = Dialogue::with(settings, policy(WORD, "prevent", failure));
    for port in 20_000..20_010 {
        dialogue.switch_to(port, (1000, 5000));
        dialogue.raw(true, 1000, 0, 0x02, b"");
        dialogue.raw(false, 5000, 1001, 0x12, b"");
    }
    dialogue.wait_s(30);
    for port in 1..30_000 {
        dialogue.knock(port);
    }
    for port in 20_000..20_010 {
        dialogue.switch_to(port, (1001, 5001));
        assert!(!dialogue.client(b"still known").block);
    }
}

#[test]
fn connections_that_moved_much_and_rest_are_still_known_where_memory_is_short() {
    let failure = json!({"failure": {"midstream": "closed"}});
    let mut settings = Settings::live([1, 2]);
    settings.flows.max_memory_bytes = 4 << 20;
    let mut dialogue = Dialogue::with(settings, policy(WORD, "prevent", failure));
    let mut resting = Vec::new();
    for port in 20_000..20_100 {
        dialogue.switch_to(port, (1000, 5000));
        dialogue.handshake();
        for _ in 0..10 {
            assert!(!dialogue.client(&[b'x'; 30_000]).block);
        }
        resting.push((port, dialogue.sequences()));
        dialogue.wait_s(10);
    }
    assert_eq!(100, dialogue.engine.flow_count());
    for (port, sequences) in resting {
        dialogue.switch_to(port, sequences);
        let (client, server) = sequences;
        let again = dialogue.raw(true, client - 10_000, server, 0x18, &[b'x'; 10_000]);
        assert!(!again.block, "it is sent again");
        assert!(
            dialogue.raw(true, client - 1, server, 0x18, b"yy").block,
            "it says something else"
        );
        assert!(!dialogue.client(b"more").block);
    }
}
