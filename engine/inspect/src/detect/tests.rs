//! Rules against packets, streams and transactions, as a worker would call.
use std::net::IpAddr;

use super::*;
use crate::app::http::{Header, Progress, Transaction};
use crate::app::AppProto;
use crate::rule::{self, Variables};
use crate::wire::PacketEvents;
use crate::Direction;

/// A flow between 192.168.0.10:40000 (home by default) and 203.0.113.5:80, and what is known of it.
pub(super) struct Scene {
    matcher: Matcher,
    pub(super) flow: FlowView,
    state: FlowState,
    scratch: Scratch,
    shared: SharedState,
    sides: Vec<Side<'static>>,
    at_once: bool,
    now_ns: u64,
}

const CLIENT: &str = "192.168.0.10";
const SERVER: &str = "203.0.113.5";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Scene {
    pub(super) fn new(rules: &str) -> Self {
        let (signatures, refused) = rule::check(&[("test.rules".into(), rules.into())]);
        assert!(refused.is_empty(), "{refused:?}");
        Self::of(Matcher::compile(signatures, &Variables::default()))
    }

    pub(super) fn of(matcher: Matcher) -> Self {
        Self {
            matcher,
            flow: FlowView {
                client: address(CLIENT),
                client_port: 40_000,
                server: address(SERVER),
                server_port: 80,
                ip_proto: 6,
                established: true,
                was_established: true,
                app: None,
                app_done: false,
                app_foreign: false,
                followed: true,
                app_news: false,
                stream_bytes: [0; 2],
                age_s: 0,
            },
            state: FlowState::default(),
            scratch: Scratch::default(),
            shared: SharedState::default(),
            sides: vec![Side::OFFLINE],
            at_once: true,
            now_ns: 0,
        }
    }

    fn http(rules: &str) -> Self {
        let mut scene = Self::new(rules);
        (scene.flow.app, scene.flow.app_done) = (Some(AppProto::Http), true);
        scene
    }

    pub(super) fn packet_view<'a>(
        &self,
        direction: Direction,
        payload: &'a [u8],
    ) -> PacketView<'a> {
        let client = (self.flow.client, self.flow.client_port);
        let server = (self.flow.server, self.flow.server_port);
        let (src, dst) = match direction {
            Direction::ToServer => (client, server),
            Direction::ToClient => (server, client),
        };
        PacketView {
            direction,
            src: src.0,
            dst: dst.0,
            src_port: src.1,
            dst_port: dst.1,
            ip_proto: self.flow.ip_proto,
            ttl: 64,
            ip_id: Some(1),
            fragment_bits: 2,
            fragment_offset: 0,
            tcp: Some(TcpView {
                flags: 0x18,
                seq: 1,
                ack: 1,
                window: 1000,
            }),
            icmp: None,
            payload,
            hidden_bytes: 0,
            events: PacketEvents::NONE,
            undecoded: false,
            in_stream: false,
            stream_news: false,
            pseudo: false,
            closing: false,
            wire: None,
            defragmented: false,
        }
    }

    /// Calls `act` as for one packet and returns the (sid, side) pairs that alert.
    pub(super) fn inspect(
        &mut self,
        packet: &PacketView<'_>,
        act: impl FnOnce(&Matcher, &Context<'_>, &mut FlowState, &mut Scratch),
    ) -> Vec<(u32, u8)> {
        let context = Context {
            now_ns: self.now_ns,
            flow: Some(&self.flow),
            packet,
            sides: &self.sides,
            at_once: self.at_once,
            shared: &self.shared,
        };
        self.scratch.begin();
        act(&self.matcher, &context, &mut self.state, &mut self.scratch);
        self.matcher
            .finish(&context, &mut self.state, &mut self.scratch);
        let hits = self.scratch.hits().iter().filter(|hit| hit.alert);
        hits.map(|hit| {
            (
                self.matcher.signatures()[hit.signature as usize].sid,
                hit.side,
            )
        })
        .collect()
    }

    pub(super) fn packet(&mut self, direction: Direction, payload: &[u8]) -> Vec<u32> {
        let packet = self.packet_view(direction, payload);
        sids(self.inspect(&packet, |matcher, context, flow, scratch| {
            matcher.packet(context, flow, scratch)
        }))
    }

    pub(super) fn stream(
        &mut self,
        direction: Direction,
        offset: u64,
        bytes: &[u8],
        seen: usize,
    ) -> Vec<u32> {
        let packet = PacketView {
            pseudo: true,
            wire: None,
            defragmented: false,
            ..self.packet_view(direction, b"")
        };
        let view = StreamView {
            offset,
            bytes,
            seen_before: seen,
            last: false,
        };
        sids(self.inspect(&packet, |matcher, context, flow, scratch| {
            matcher.stream(context, flow, &view, scratch)
        }))
    }

    pub(super) fn transaction(&mut self, direction: Direction, tx: &mut Transaction) -> Vec<u32> {
        let packet = PacketView {
            pseudo: true,
            wire: None,
            defragmented: false,
            ..self.packet_view(direction, b"")
        };
        sids(self.inspect(&packet, |matcher, context, flow, scratch| {
            matcher.transaction(context, flow, tx, scratch)
        }))
    }
}

fn sids(hits: Vec<(u32, u8)>) -> Vec<u32> {
    let mut sids: Vec<_> = hits.into_iter().map(|(sid, _)| sid).collect();
    sids.sort_unstable();
    sids
}

const NONE: [u32; 0] = [];
pub(super) const UP: Direction = Direction::ToServer;
const DOWN: Direction = Direction::ToClient;

pub(super) fn request(
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Transaction {
    let mut tx = Transaction::default();
    let request = &mut tx.request;
    request.method = method.into();
    request.uri = uri.into();
    request.uri_raw = uri.into();
    request.protocol = b"HTTP/1.1".to_vec();
    request.line = format!("{method} {uri} HTTP/1.1").into_bytes();
    for (name, value) in headers {
        let header = Header {
            name: (*name).into(),
            value: (*value).into(),
        };
        request.headers.push(header);
        request
            .headers
            .raw
            .extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.body.file.bytes = body.to_vec();
    request.body.file.seen = body.len() as u64;
    request.progress = Progress::Complete;
    tx
}

#[test]
fn stream_rules_look_at_the_stream_and_packet_rules_at_packets() {
    let mut scene = Scene::new(
        r#"
        alert tcp any any -> any any (content:"evil"; sid:1;)
        alert tcp-pkt any any -> any any (content:"evil"; sid:2;)
        alert tcp-stream any any -> any any (content:"evil"; sid:3;)
        alert tcp any any -> any any (content:"evil"; depth:10; sid:4;)
        alert tcp any any -> any any (content:"evil"; dsize:<10; sid:5;)
        alert udp any any -> any any (content:"evil"; sid:6;)
        "#,
    );
    assert_eq!(scene.packet(UP, b"so evil"), [1, 2, 3, 4, 5]);
    assert_eq!(scene.stream(UP, 0, b"so evil", 0), [1, 3, 4]);
    let packet = PacketView {
        in_stream: true,
        ..scene.packet_view(UP, b"so evil")
    };
    let hits = scene.inspect(&packet, |m, c, f, s| m.packet(c, f, s));
    assert_eq!(sids(hits), [2, 4, 5]);
}

#[test]
fn depth_counts_from_the_start_of_the_stream() {
    let mut scene =
        Scene::new(r#"alert tcp-stream any any -> any any (content:"evil"; depth:10; sid:1;)"#);
    assert_eq!(scene.stream(UP, 8, b"evil", 0), NONE);
    assert_eq!(scene.stream(UP, 4, b"xxevil", 0), [1]);
}

#[test]
fn a_window_alerts_only_on_what_reaches_into_new_bytes() {
    let mut scene = Scene::new(
        r#"alert tcp any any -> any any (content:"ab"; content:"cd"; distance:0; sid:1;)"#,
    );
    assert_eq!(scene.stream(UP, 0, b"ab", 0), NONE);
    assert_eq!(scene.stream(UP, 0, b"abcd", 2), [1]);
    assert_eq!(scene.stream(UP, 0, b"abcdx", 4), NONE);
    assert_eq!(scene.stream(UP, 0, b"abcdxcd", 5), [1]);
}

#[test]
fn ten_segments_of_one_byte_fire_at_the_last() {
    let mut scene = Scene::new(r#"alert tcp any any -> any any (content:"0123456789"; sid:1;)"#);
    let text = b"0123456789";
    let fired: Vec<_> = (1..=10)
        .filter(|end| !scene.stream(UP, 0, &text[..*end], end - 1).is_empty())
        .collect();
    assert_eq!(fired, [10]);
}

#[test]
fn flow_and_header_decide_direction_ends_and_ports() {
    let mut scene = Scene::new(
        r#"
        alert tcp $HOME_NET any -> $EXTERNAL_NET 80 (content:"x"; sid:1;)
        alert tcp $EXTERNAL_NET any -> $HOME_NET any (content:"x"; sid:2;)
        alert tcp any any -> any !80 (content:"x"; sid:3;)
        alert tcp any any -> any any (flow:to_server,established; content:"x"; sid:4;)
        alert tcp any any -> any any (flow:from_server; content:"x"; sid:5;)
        alert tcp any 80 <> any any (content:"x"; sid:6;)
        alert tcp any any -> [203.0.113.0/24,!203.0.113.5] any (content:"x"; sid:7;)
        alert tcp any any -> any any (flow:not_established; content:"x"; sid:8;)
        "#,
    );
    assert_eq!(scene.stream(UP, 0, b"x", 0), [1, 4, 6]);
    assert_eq!(scene.stream(DOWN, 0, b"x", 0), [2, 3, 5, 6]);
}

#[test]
fn home_is_the_guests_end_whatever_its_address() {
    let mut scene =
        Scene::new(r#"alert tcp $EXTERNAL_NET any -> $HTTP_SERVERS any (content:"x"; sid:1;)"#);
    scene.sides = vec![
        Side {
            home: Home::Client,
            assigned: None,
            guest: 1,
        },
        Side {
            home: Home::Server,
            assigned: None,
            guest: 2,
        },
    ];
    let packet = scene.packet_view(UP, b"x");
    assert_eq!(
        scene.inspect(&packet, |m, c, f, s| m.packet(c, f, s)),
        [(1, 1)]
    );
    let packet = scene.packet_view(DOWN, b"x");
    assert_eq!(
        scene.inspect(&packet, |m, c, f, s| m.packet(c, f, s)),
        [(1, 0)]
    );
}

#[test]
fn a_signature_fires_once_for_each_side_that_holds_it() {
    let mut scene = Scene::new(
        "alert tcp any any -> any any (content:\"x\"; sid:1;)\n\
         alert tcp any any -> any any (content:\"x\"; sid:2;)",
    );
    let second: &'static SignatureSet = Box::leak(Box::new({
        let mut set = SignatureSet::default();
        set.insert(1);
        set
    }));
    scene.sides = vec![
        Side {
            home: Home::Client,
            assigned: None,
            guest: 1,
        },
        Side {
            home: Home::Server,
            assigned: Some(second),
            guest: 2,
        },
    ];
    let packet = scene.packet_view(UP, b"x");
    assert_eq!(
        scene.inspect(&packet, |m, c, f, s| m.packet(c, f, s)),
        [(1, 0), (2, 0), (2, 1)]
    );
}

#[test]
fn what_a_header_said_of_other_ends_does_not_count() {
    let rule = r#"alert tcp $HOME_NET 40000 -> !203.0.113.9 80 (content:"x"; sid:1;)"#;
    let mut scene = Scene::new(rule);
    let fits = |scene: &mut Scene| scene.packet(Direction::ToServer, b"x") == [1];
    assert!(fits(&mut scene));
    let asked: [fn(&mut Scene); 6] = [
        |it| it.flow.client = address("203.0.113.7"),
        |it| it.flow.server = address("203.0.113.9"),
        |it| it.flow.client_port = 40_001,
        |it| it.flow.server_port = 81,
        |it| it.flow.ip_proto = 17,
        |it| it.sides[0].home = Home::Server,
    ];
    for change in asked {
        let (flow, sides) = (scene.flow, scene.sides.clone());
        change(&mut scene);
        assert!(!fits(&mut scene));
        (scene.flow, scene.sides) = (flow, sides);
        assert!(fits(&mut scene));
    }
    assert!(scene.packet(Direction::ToClient, b"x").is_empty());
    scene.matcher = Scene::new(&rule.replace(" 80", " 81")).matcher;
    assert!(!fits(&mut scene));
}

#[test]
fn http_buffers_are_matched_each_in_its_own() {
    let mut scene = Scene::http(
        r#"
        alert http any any -> any any (http.method; content:"POST"; http.uri; content:"/a"; startswith; sid:1;)
        alert http any any -> any any (http.uri; content:"POST"; sid:2;)
        alert http any any -> any any (content:"/a"; http_uri; content:"k=v"; http_client_body; sid:3;)
        alert http any any -> any any (http.uri; content:".php"; endswith; bsize:6; sid:4;)
        alert http any any -> any any (http.uri; dotprefix; content:"./a"; startswith; sid:5;)
        alert http any any -> any any (urilen:>5; sid:6;)
        alert http any any -> any any (http.method; content:!"GET"; sid:7;)
        alert http any any -> any any (http.stat_code; content:"200"; sid:8;)
        alert tcp any any -> any any (pcre:"/^\/a\.php$/U"; sid:9;)
        alert http any any -> any any (http.request_body; content:!"nothing"; sid:10;)
        alert http any any -> any any (http.request_header; content:"x-a: 1"; bsize:6; sid:11;)
        "#,
    );
    let mut tx = request("POST", "/a.php", &[("Host", "h"), ("x-a", "1")], b"k=v");
    assert_eq!(
        scene.transaction(UP, &mut tx),
        [1, 3, 4, 5, 6, 7, 9, 10, 11]
    );
    assert_eq!(scene.transaction(UP, &mut tx), NONE);
    assert_eq!(scene.transaction(DOWN, &mut tx), NONE);
    tx.response.status = b"200".to_vec();
    tx.response.progress = Progress::Line;
    assert_eq!(scene.transaction(DOWN, &mut tx), [8]);
    tx.response.progress = Progress::Complete;
    assert_eq!(scene.transaction(DOWN, &mut tx), NONE);
}

#[test]
fn a_transaction_waits_for_the_progress_each_buffer_needs() {
    let mut scene = Scene::http(
        r#"alert http any any -> any any (http.uri; content:"/a"; http.request_body; content:"evil"; sid:1;)"#,
    );
    let mut tx = request("POST", "/a", &[], b"");
    tx.request.progress = Progress::Line;
    assert_eq!(scene.transaction(UP, &mut tx), NONE);
    tx.request.progress = Progress::Body;
    for byte in b"so evi" {
        tx.request.body.file.bytes.push(*byte);
        tx.request.body.file.seen += 1;
        assert_eq!(scene.transaction(UP, &mut tx), NONE);
    }
    tx.request.body.file.bytes.push(b'l');
    tx.request.body.file.seen += 1;
    assert_eq!(scene.transaction(UP, &mut tx), [1]);
    tx.request.progress = Progress::Complete;
    assert_eq!(scene.transaction(UP, &mut tx), NONE);
}

#[test]
fn what_depends_on_a_bodys_end_waits_for_it() {
    let mut scene = Scene::http(
        r#"
        alert http any any -> any any (http.request_body; content:"a"; content:!"b"; sid:1;)
        alert http any any -> any any (http.request_body; content:"a"; isdataat:!1,relative; sid:2;)
        alert http any any -> any any (http.request_body; pcre:"/^a$/"; sid:3;)
        alert http any any -> any any (http.request_body; content:"a"; sid:4;)
        "#,
    );
    let mut tx = request("POST", "/", &[], b"a");
    tx.request.progress = Progress::Body;
    assert_eq!(scene.transaction(UP, &mut tx), [4]);
    tx.request.body.file.bytes.push(b'c');
    tx.request.body.file.seen += 1;
    tx.request.progress = Progress::Complete;
    assert_eq!(scene.transaction(UP, &mut tx), [1]);
}

#[test]
fn a_body_past_its_depth_is_judged_by_what_is_kept() {
    let mut scene =
        Scene::http(r#"alert http any any -> any any (http.request_body; content:!"b"; sid:1;)"#);
    let mut tx = request("POST", "/", &[], b"aaaa");
    tx.request.progress = Progress::Body;
    assert_eq!(scene.transaction(UP, &mut tx), NONE);
    tx.request.body.file.seen = 100;
    assert_eq!(scene.transaction(UP, &mut tx), [1]);
}

#[test]
fn a_variable_of_one_buffer_is_used_in_another_that_comes_later() {
    let mut scene = Scene::http(
        r#"
        alert http any any -> any any (http.uri; content:"id="; byte_extract:2,0,id,relative; http.request_body; content:"id="; byte_test:2,=,id,0,relative; sid:1;)
        alert http any any -> any any (http.uri; content:"id="; byte_extract:2,0,id,relative; http.request_body; content:"id="; byte_test:2,!=,id,0,relative; sid:2;)
        "#,
    );
    let mut tx = request("POST", "/?id=ab", &[], b"id=");
    tx.request.progress = Progress::Body;
    assert_eq!(scene.transaction(UP, &mut tx), NONE);
    tx.request.body.file.bytes.extend(b"ab");
    tx.request.body.file.seen += 2;
    tx.request.progress = Progress::Complete;
    assert_eq!(scene.transaction(UP, &mut tx), [1]);
}

#[test]
fn offline_a_growing_body_waits_for_its_minimal_size_or_end() {
    let mut scene =
        Scene::http(r#"alert http any any -> any any (http.request_body; content:"evil"; sid:1;)"#);
    scene.at_once = false;
    let mut tx = request("POST", "/", &[], b"evil");
    tx.request.progress = Progress::Body;
    assert_eq!(scene.transaction(UP, &mut tx), NONE);
    tx.request.progress = Progress::Complete;
    assert_eq!(scene.transaction(UP, &mut tx), [1]);
}

#[test]
fn a_second_transaction_is_inspected_like_the_first() {
    let mut scene =
        Scene::http(r#"alert http any any -> any any (http.uri; content:"/a"; sid:1;)"#);
    for _ in 0..3 {
        assert_eq!(
            scene.transaction(UP, &mut request("GET", "/a", &[], b"")),
            [1]
        );
    }
}

#[test]
fn flowbits_are_set_only_by_whole_matches_and_read_after_they_are_set() {
    let mut scene = Scene::new(
        r#"
        alert tcp any any -> any any (content:"b"; flowbits:isset,seen; priority:1; sid:2;)
        alert tcp any any -> any any (content:"a"; content:"!"; flowbits:set,seen; flowbits:noalert; sid:1;)
        alert tcp any any -> any any (content:"c"; flowbits:isnotset,seen; sid:3;)
        alert tcp any any -> any any (content:"u"; flowbits:unset,seen; sid:4;)
        "#,
    );
    assert_eq!(scene.stream(UP, 0, b"ab", 0), NONE);
    assert_eq!(scene.stream(UP, 0, b"c", 0), [3]);
    assert_eq!(scene.stream(UP, 0, b"a!b", 0), [2]);
    assert_eq!(scene.stream(DOWN, 0, b"bc", 0), [2]);
    assert_eq!(scene.stream(UP, 0, b"u", 0), [4]);
    assert_eq!(scene.stream(UP, 0, b"b", 0), NONE);
}

#[test]
fn pass_silences_what_comes_after_it_and_the_rest_of_its_flow() {
    let mut scene = Scene::http(
        r#"
        alert http any any -> any any (http.uri; content:"/a"; sid:1;)
        pass http any any -> any any (http.uri; content:"/a/ok"; sid:2;)
        "#,
    );
    assert_eq!(
        scene.transaction(UP, &mut request("GET", "/a", &[], b"")),
        [1]
    );
    assert_eq!(
        scene.transaction(UP, &mut request("GET", "/a/ok", &[], b"")),
        NONE
    );
    assert!(scene.state.passed(0));
    assert_eq!(
        scene.transaction(UP, &mut request("GET", "/a", &[], b"")),
        NONE
    );
}

#[test]
fn a_direction_beside_addresses_makes_a_rule_look_at_every_packet() {
    let mut scene = Scene::new("alert tcp any any -> any any (flow:to_server; sid:1;)");
    assert_eq!(scene.packet(UP, b""), [1]);
    assert_eq!(scene.packet(UP, b""), [1]);
}

#[test]
fn addresses_alone_are_evaluated_once_a_flow_and_direction() {
    let mut scene = Scene::new("alert ip any any -> 203.0.113.5 any (sid:1;)");
    assert_eq!(scene.packet(UP, b""), [1]);
    assert_eq!(scene.packet(UP, b""), NONE);
    assert_eq!(scene.packet(DOWN, b""), NONE);
}

#[test]
fn header_keywords_test_their_fields() {
    let mut scene = Scene::new(
        r#"
        alert tcp any any -> any any (flags:PA; sid:1;)
        alert tcp any any -> any any (flags:S; sid:2;)
        alert tcp any any -> any any (flags:A+; ttl:>60; sid:3;)
        alert tcp any any -> any any (seq:1; ack:1; window:1000; id:1; fragbits:D; sid:4;)
        alert tcp any any -> any any (dsize:2<>5; sid:5;)
        alert ip any any -> any any (ip_proto:!tcp; sid:6;)
        alert ip any any -> any any (sameip; sid:7;)
        "#,
    );
    assert_eq!(scene.packet(UP, b"abc"), [1, 3, 4, 5]);
}

#[test]
fn a_signature_on_syn_that_no_content_finds_is_asked_of_syn_alone() {
    let mut scene = Scene::new(
        r#"
        alert tcp any any -> any any (flags:*SF; sid:1;)
        alert tcp any any -> any any (flags:*SF; content:"a"; sid:2;)
        alert tcp any any -> any any (flags:*SF; prefilter; sid:3;)
        alert tcp any any -> any any (flags:!S; sid:4;)
        alert tcp any any -> any any (flags:*SF; content:!"b"; sid:5;)
        "#,
    );
    let mut packet = scene.packet_view(UP, b"a");
    packet.tcp = packet.tcp.map(|tcp| TcpView { flags: 0x11, ..tcp });
    let found = scene.inspect(&packet, |m, c, f, s| m.packet(c, f, s));
    assert_eq!(found, [(2, 0), (3, 0), (4, 0)]);
}

#[test]
fn thresholds_count_per_guest() {
    let mut scene = Scene::new(
        r#"alert tcp any any -> any any (content:"x"; threshold:type limit, track by_src, count 1, seconds 60; sid:1;)"#,
    );
    scene.sides = vec![
        Side {
            home: Home::Client,
            assigned: None,
            guest: 1,
        },
        Side {
            home: Home::Server,
            assigned: None,
            guest: 2,
        },
    ];
    let packet = scene.packet_view(UP, b"x");
    assert_eq!(
        scene.inspect(&packet, |m, c, f, s| m.packet(c, f, s)).len(),
        2
    );
    assert_eq!(
        scene.inspect(&packet, |m, c, f, s| m.packet(c, f, s)).len(),
        0
    );
    assert_eq!(
        scene.scratch.hits().len(),
        2,
        "silent hits remain for prevention"
    );
    scene.now_ns = 61_000_000_000;
    assert_eq!(
        scene.inspect(&packet, |m, c, f, s| m.packet(c, f, s)).len(),
        2
    );
}

#[test]
fn a_rule_on_a_protocol_needs_that_protocol() {
    let mut scene = Scene::new(
        r#"
        alert http any any -> any any (content:"x"; sid:1;)
        alert tcp any any -> any any (app-layer-protocol:!http; content:"x"; sid:2;)
        alert tcp any any -> any any (app-layer-protocol:http; sid:3;)
        alert tcp any any -> any any (flow:established; app-layer-protocol:http; prefilter; sid:4;)
        "#,
    );
    assert_eq!(scene.stream(UP, 0, b"x", 0), NONE);
    scene.flow.app_done = true;
    assert_eq!(scene.stream(UP, 0, b"x", 0), [2]);
    scene.flow.app = Some(AppProto::Http);
    assert_eq!(scene.stream(UP, 0, b"x", 0), [1]);
    scene.flow.app_news = true;
    assert_eq!(scene.packet(UP, b""), [3, 4]);
    scene.flow.app_news = false;
    assert_eq!(scene.packet(UP, b""), NONE);
}

#[test]
fn a_packet_with_news_of_its_stream_is_not_one_without_payload() {
    let mut scene = Scene::new("alert tcp any any -> any any (dsize:0; sid:1;)");
    for (stream_news, found) in [(false, 1), (true, 0)] {
        let packet = PacketView {
            stream_news,
            ..scene.packet_view(UP, b"")
        };
        let hits = scene.inspect(&packet, |matcher, context, flow, scratch| {
            matcher.packet(context, flow, scratch)
        });
        assert_eq!(found, hits.len());
    }
}

#[test]
fn a_stream_and_a_buffer_condition_can_be_combined() {
    let mut scene = Scene::http(
        r#"alert http any any -> any any (content:"X-Evil"; http.uri; content:"/a"; sid:1;)"#,
    );
    assert_eq!(
        scene.transaction(UP, &mut request("GET", "/a", &[], b"")),
        NONE
    );
    scene.stream(UP, 0, b"GET /a HTTP/1.1\r\nX-Evil: 1\r\n", 0);
    assert_eq!(
        scene.transaction(UP, &mut request("GET", "/a", &[], b"")),
        [1]
    );
    assert_eq!(
        scene.transaction(UP, &mut request("GET", "/a", &[], b"")),
        NONE
    );
}

#[test]
fn a_reload_keeps_flowbits_and_what_fired() {
    let rules = r#"
        alert http any any -> any any (http.uri; content:"/a"; flowbits:set,seen; sid:1;)
        alert tcp any any -> any any (content:"b"; flowbits:isset,seen; sid:2;)
    "#;
    let mut scene = Scene::http(rules);
    let mut tx = request("GET", "/a", &[], b"");
    assert_eq!(scene.transaction(UP, &mut tx), [1]);
    scene.matcher = Scene::http(rules).matcher;
    assert_eq!(scene.transaction(UP, &mut tx), NONE);
    assert_eq!(scene.stream(UP, 0, b"b", 0), [2]);
}

#[test]
fn a_pseudo_packet_is_not_one_from_the_wire() {
    let mut scene = Scene::new("alert tcp any any -> any any (flow:to_server; sid:1;)");
    assert_eq!(scene.packet(UP, b""), [1]);
    let packet = PacketView {
        pseudo: true,
        wire: None,
        defragmented: false,
        ..scene.packet_view(UP, b"")
    };
    let hits = scene.inspect(&packet, |m, c, f, s| m.packet(c, f, s));
    assert_eq!(sids(hits), NONE);
}

#[test]
fn the_end_of_a_flow_is_shown_to_rules_on_a_protocol_alone() {
    let mut scene = Scene::http(
        r#"
        alert http any any -> any any (sid:1;)
        alert http any any -> any any (flow:to_client; sid:2;)
        alert http any any -> any any (dsize:0; sid:3;)
        alert http any any -> any any (flowbits:isnotset,x; sid:4;)
        alert tls any any -> any any (sid:5;)
        alert http any any -> any any (flow:to_server; sid:6;)
        alert http any any -> any any (flow:established; sid:7;)
        "#,
    );
    let mut end = PacketView {
        pseudo: true,
        wire: None,
        ..scene.packet_view(UP, b"")
    };
    let hits = scene.inspect(&end, |m, c, f, s| m.packet(c, f, s));
    assert_eq!(sids(hits), NONE);
    end.closing = true;
    let hits = scene.inspect(&end, |m, c, f, s| m.packet(c, f, s));
    assert_eq!(sids(hits), [1, 6]);
}

#[test]
fn a_packet_sees_the_flowbit_that_its_own_stream_set() {
    let mut scene = Scene::new(
        r#"
        alert tcp any any -> any any (content:"login"; flowbits:set,in; sid:1;)
        alert tcp any any -> any any (dsize:5; flowbits:isset,in; sid:2;)
        "#,
    );
    let packet = PacketView {
        in_stream: true,
        ..scene.packet_view(UP, b"login")
    };
    let view = StreamView {
        offset: 0,
        bytes: b"login",
        seen_before: 0,
        last: false,
    };
    let hits = scene.inspect(&packet, |matcher, context, flow, scratch| {
        matcher.packet(context, flow, scratch);
        matcher.stream(context, flow, &view, scratch);
    });
    assert_eq!(sids(hits), [1, 2]);
}

#[test]
fn a_flows_integers_count_and_compare() {
    let mut scene = Scene::new(
        r#"
        alert tcp any any -> any any (content:"x"; flowint:nn,+,1; sid:1;)
        alert tcp any any -> any any (content:"y"; flowint:nn,>=,2; sid:2;)
        alert tcp any any -> any any (content:"y"; flowint:nn,isnotset; sid:3;)
        "#,
    );
    assert_eq!(scene.stream(UP, 0, b"y", 0), [3]);
    assert_eq!(scene.stream(UP, 0, b"x", 0), [1]);
    assert_eq!(scene.stream(UP, 0, b"y", 0), NONE);
    assert_eq!(scene.stream(UP, 0, b"x", 0), [1]);
    assert_eq!(scene.stream(UP, 0, b"y", 0), [2]);
}

#[test]
fn a_relative_condition_follows_its_content_into_its_buffer() {
    let mut scene = Scene::http(
        r#"
        alert http any any -> any any (content:"a="; http_uri; isdataat:3,relative; sid:1;)
        alert http any any -> any any (content:"a="; http_uri; isdataat:!4,relative; sid:2;)
        alert http any any -> any any (content:"a="; http_uri; base64_decode:relative; base64_data; content:"hi"; sid:3;)
        "#,
    );
    assert_eq!(
        scene.transaction(UP, &mut request("GET", "/?a=aGk", &[], b"")),
        [1, 2, 3]
    );
    assert_eq!(
        scene.transaction(UP, &mut request("GET", "/?a=aG", &[], b"")),
        [2]
    );
}

/// How many bytes chains went through for a body that comes in segments of `step` bytes.
fn searched(rule: &str, body: &[u8], step: usize) -> u64 {
    let mut scene = Scene::http(rule);
    let mut tx = request("POST", "/", &[], b"");
    tx.request.progress = Progress::Body;
    for chunk in body.chunks(step) {
        tx.request.body.file.bytes.extend_from_slice(chunk);
        tx.request.body.file.seen += chunk.len() as u64;
        assert_eq!(scene.transaction(UP, &mut tx), NONE);
    }
    tx.request.progress = Progress::Complete;
    assert_eq!(scene.transaction(UP, &mut tx), NONE);
    scene.scratch.work.searched
}

#[test]
fn judging_a_growing_body_with_every_segment_takes_work_linear_in_its_length() {
    let content = r#"alert http any any -> any any (http.request_body; content:"abcd"; content:"evil"; sid:1;)"#;
    let pcre = r#"alert http any any -> any any (http.request_body; content:"abcd"; pcre:"/abcd[^d]*evil/"; sid:1;)"#;
    let body = b"abcd".repeat(200_000);
    for (rule, most_per_byte) in [(content, 110), (pcre, 110)] {
        let work = searched(rule, &body, 100);
        assert!(work < most_per_byte * body.len() as u64, "{rule}: {work}");
    }
}

#[test]
fn a_body_whose_signatures_were_spent_on_is_still_judged_at_its_end() {
    let rule = r#"alert http any any -> any any (http.request_body; content:"abcd"; pcre:"/abcdX/"; sid:1;)"#;
    let mut scene = Scene::http(rule);
    let mut tx = request("POST", "/", &[], b"");
    tx.request.progress = Progress::Body;
    for chunk in b"abcd".repeat(100_000).chunks(100) {
        tx.request.body.file.bytes.extend_from_slice(chunk);
        tx.request.body.file.seen += chunk.len() as u64;
        assert_eq!(scene.transaction(UP, &mut tx), NONE);
    }
    tx.request.body.file.bytes.extend_from_slice(b"X");
    tx.request.body.file.seen += 1;
    tx.request.progress = Progress::Complete;
    assert_eq!(scene.transaction(UP, &mut tx), [1]);
}
