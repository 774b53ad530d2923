//! Fields of EVE records over whole captures, as Suricata 7.0.10 writes them for the same.
#[allow(dead_code)] // each test uses its part
mod dialogue;

use std::net::Ipv4Addr;
use std::sync::Arc;

use dialogue::{segment, Events};
use inspect::engine::Settings;
use inspect::policy::Policy;
use inspect::rule::{self, Variables};
use serde_json::{json, Value};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const ETHERNET: [u8; 14] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
const REQUEST: &[u8] = b"GET /index HTTP/1.1\r\nHost: web\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A capture of Ethernet frames.
struct Capture(Vec<u8>);

impl Capture {
    fn new() -> Self {
        let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        file.extend([
            2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0,
        ]);
        Self(file)
    }

    fn packet(&mut self, ip: &[u8]) {
        let number = self.0.len() as u32;
        let len = (ETHERNET.len() + ip.len()) as u32;
        for field in [
            1_700_000_000 + number / 1_000_000,
            number % 1_000_000,
            len,
            len,
        ] {
            self.0.extend(field.to_le_bytes());
        }
        self.0.extend(ETHERNET);
        self.0.extend(ip);
    }

    /// A whole connection to the server's `port`: each turn is acknowledged on its own.
    fn connection(mut self, port: u16, turns: &[(bool, &[u8])]) -> Self {
        let mut next = [1000_u32, 5000];
        let mut send = |from_client: bool, flags: u8, bytes: &[u8]| {
            let (own, other) = (usize::from(!from_client), usize::from(from_client));
            let (ends, ports) = match from_client {
                true => ((CLIENT, SERVER), (40000, port)),
                false => ((SERVER, CLIENT), (port, 40000)),
            };
            let ack = if flags == 0x02 { 0 } else { next[other] };
            self.packet(&segment(ends, ports, next[own], ack, flags, bytes));
            next[own] += bytes.len() as u32 + u32::from(flags & 3 != 0);
        };
        send(true, 0x02, b"");
        send(false, 0x12, b"");
        send(true, 0x10, b"");
        for (from_client, bytes) in turns {
            send(*from_client, 0x18, bytes);
            send(!*from_client, 0x10, b"");
        }
        send(true, 0x11, b"");
        send(false, 0x11, b"");
        send(true, 0x10, b"");
        self
    }

    fn records(&self, rules: &str, settings: Settings) -> Vec<Value> {
        let variables = Variables::default();
        let files = [("t.rules".to_owned(), rules.as_bytes().to_vec())];
        let (signatures, refused) = rule::load(&files, &variables);
        assert!(refused.is_empty(), "{refused:?}");
        let policy = Arc::new(Policy::offline(signatures, &variables));
        let mut events = Events::default();
        let ran = inspect::replay::run(&self.0[..], &policy, &settings, &mut events);
        ran.expect("a capture");
        events.0
    }
}

fn http(turns: usize) -> Capture {
    let turns: Vec<_> = [(true, REQUEST), (false, RESPONSE)].repeat(turns);
    Capture::new().connection(80, &turns)
}

fn of<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let wanted = records.iter().filter(|it| it["event_type"] == kind);
    wanted.collect()
}

#[test]
fn an_alert_tells_what_its_signatures_counted_and_captured() {
    let rules = r#"
        alert http any any -> any any (msg:"a"; http.uri; pcre:"/(?P<flow_page>[a-z]+)/"; flowint:seen.pages,+,1; sid:1;)
        alert http any any -> any any (msg:"b"; http.uri; pcre:"/\/(.)/, pkt:first"; flowbits:set,traffic/label/web; sid:2;)
    "#;
    let records = http(1).records(rules, Settings::offline());
    let alerts = of(&records, "alert");
    let last = alerts.last().expect("an alert");
    assert_eq!(
        json!({"flowints": {"seen.pages": 1}, "flowvars": [{"page": "index"}], "pktvars": [{"first": "i"}]}),
        last["metadata"]
    );
    assert_eq!(json!({"label": ["web"]}), last["traffic"]);
    let flow = of(&records, "flow")[0];
    assert_eq!(json!([{"page": "index"}]), flow["metadata"]["flowvars"]);
    assert_eq!(
        Value::Null,
        flow["metadata"]["pktvars"],
        "a packet's are over"
    );
}

#[test]
fn an_alert_says_who_attacks_whom() {
    let rules = r#"
        alert http any any -> any any (msg:"a"; flow:to_server; http.uri; content:"index"; target:dest_ip; sid:1;)
        alert http any any -> any any (msg:"b"; flow:to_client; http.stat_code; content:"200"; target:dest_ip; sid:2;)
        alert http any any -> any any (msg:"c"; flow:to_client; http.stat_code; content:"200"; target:src_ip; sid:3;)
    "#;
    let records = http(1).records(rules, Settings::offline());
    let client = json!({"ip": "10.9.0.2", "port": 40000});
    let server = json!({"ip": "10.9.0.1", "port": 80});
    for (alert, (source, target)) in of(&records, "alert").iter().zip([
        (&client, &server),
        (&server, &client),
        (&client, &server),
    ]) {
        assert_eq!(source, &alert["alert"]["source"]);
        assert_eq!(target, &alert["alert"]["target"]);
    }
    assert_eq!(3, of(&records, "alert").len());
}

#[test]
fn offline_what_a_signature_ended_is_recorded_to_its_end_and_alerts_no_more() {
    for (action, alerts, ended) in [("pass", 0, "pass"), ("drop", 1, "drop")] {
        let rules = format!(
            "{action} http any any -> any any (msg:\"a\"; http.method; content:\"GET\"; sid:1;)\n\
             alert http any any -> any any (msg:\"b\"; http.stat_code; content:\"200\"; sid:2;)"
        );
        let records = http(2).records(&rules, Settings::offline());
        assert_eq!(2, of(&records, "http").len(), "{action}");
        assert_eq!(2, of(&records, "fileinfo").len(), "{action}");
        assert_eq!(alerts, of(&records, "alert").len(), "{action}");
        let flow = of(&records, "flow")[0];
        assert_eq!(ended, flow["flow"]["action"]);
        assert_eq!("closed", flow["tcp"]["state"]);
    }
}

#[test]
fn what_is_dropped_is_recorded_no_further_where_packets_are_held_back() {
    let rule = r#"drop http any any -> any any (msg:"a"; http.method; content:"GET"; sid:1;)"#;
    let records = http(2).records(rule, Settings::offline_ips());
    assert!(of(&records, "http").is_empty());
    let drops = of(&records, "drop");
    assert_eq!(json!(0), drops[0]["tx_id"]);
    assert_eq!(Value::Null, drops[1]["tx_id"]);
}

#[test]
fn a_bypassed_flow_is_recorded_as_such_and_no_further() {
    let rule =
        r#"alert http any any -> any any (msg:"a"; http.method; content:"GET"; bypass; sid:1;)"#;
    let records = http(2).records(rule, Settings::offline());
    assert_eq!(1, of(&records, "http").len());
    let flow = &of(&records, "flow")[0]["flow"];
    assert_eq!("local", flow["bypass"]);
    assert_eq!("bypassed", flow["state"]);
    assert_eq!(Value::Null, flow["action"]);
}

#[test]
fn a_tagged_packet_is_shown_with_its_link_header() {
    let rule =
        r#"alert tcp any any -> any any (msg:"a"; content:"GET"; tag:session,2,packets; sid:1;)"#;
    let records = http(1).records(rule, Settings::offline());
    let packet = of(&records, "packet")[0];
    assert_eq!(1, packet["packet_info"]["linktype"]);
    let shown = packet["packet"].as_str().expect("base64");
    assert!(shown.starts_with("AgAAAAACAgAAAAABCABFAA"), "{shown}");
}

#[test]
fn alerts_beyond_fifteen_on_a_packet_are_counted() {
    let rules: String = (1..=18)
        .map(|sid| {
            format!("alert http any any -> any any (msg:\"a\"; http.uri; content:\"index\"; sid:{sid};)\n")
        })
        .collect();
    let records = http(1).records(&rules, Settings::offline());
    assert_eq!(15, of(&records, "alert").len());
    let stats = &of(&records, "stats")[0]["stats"];
    assert_eq!(3, stats["detect"]["alert_queue_overflow"]);
}

#[test]
fn a_part_of_a_file_says_which() {
    let response = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-8/99\r\nContent-Length: 2\r\n\r\nok";
    let turns = [(true, REQUEST), (false, &response[..])];
    let records = Capture::new()
        .connection(80, &turns)
        .records("", Settings::offline());
    let file = &of(&records, "fileinfo")[0]["fileinfo"];
    assert_eq!(
        (json!(7), json!(8)),
        (file["start"].clone(), file["end"].clone())
    );
}

#[test]
fn http_names_whom_a_request_was_forwarded_for_and_its_host_as_suricata_does() {
    let of_request = |request: &[u8]| {
        let turns = [(true, request), (false, RESPONSE)];
        let records = Capture::new()
            .connection(80, &turns)
            .records("", Settings::offline());
        of(&records, "http")[0]["http"].clone()
    };
    let forwarded = of_request(
        b"GET http://Big.Host/ HTTP/1.1\r\nHost: big.host\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n",
    );
    assert_eq!("1.2.3.4, 9.9.9.9", forwarded["xff"]);
    assert_eq!("big.host", forwarded["hostname"]);
    let with_port = of_request(b"GET / HTTP/1.1\r\nHost: UP.Case:81\r\n\r\n");
    assert_eq!("UP.Case", with_port["hostname"]);
}

#[test]
fn a_direction_that_speaks_nothing_known_is_told() {
    let turns = [
        (true, REQUEST),
        (
            false,
            &b"what you want is not HTTP at all, and long enough to tell\r\n"[..],
        ),
    ];
    let records = Capture::new()
        .connection(80, &turns)
        .records("", Settings::offline());
    let flow = of(&records, "flow")[0];
    assert_eq!("http", flow["app_proto"]);
    assert_eq!("failed", flow["app_proto_tc"]);
    assert_eq!(Value::Null, flow["app_proto_ts"]);
}

#[test]
fn a_connection_without_data_has_no_protocol_that_failed() {
    let records = Capture::new()
        .connection(80, &[])
        .records("", Settings::offline());
    assert_eq!(Value::Null, of(&records, "flow")[0]["app_proto"]);
}

#[test]
fn what_ftp_answered_is_told_with_the_answer() {
    let turns = [
        (false, &b"220 (vsFTPd 3.0)\r\n"[..]),
        (true, b"USER a\r\n"),
        (false, b"331 which password?\r\n"),
        (true, b"PASS b\r\n"),
        (false, b"230 welcome\r\n"),
    ];
    let records = Capture::new()
        .connection(21, &turns)
        .records("", Settings::offline());
    let named = |it: &&&Value| it["ftp"]["command"] == "USER";
    let user = of(&records, "ftp")
        .iter()
        .find(named)
        .map(|it| it["pcap_cnt"].clone());
    // Three packets open the connection; each turn is one, and one that acknowledges it.
    assert_eq!(Some(json!(9)), user);
}

#[test]
fn a_reply_s_record_has_its_sender_first() {
    let mut capture = Capture::new();
    capture.packet(&datagram((CLIENT, SERVER), &ike(0)));
    capture.packet(&datagram((SERVER, CLIENT), &ike(9)));
    let records = capture.records("", Settings::offline());
    let senders: Vec<_> = of(&records, "ike")
        .iter()
        .map(|it| it["src_ip"].clone())
        .collect();
    assert_eq!(vec![json!("10.9.0.2"), json!("10.9.0.1")], senders);
}

#[test]
fn an_alert_on_what_is_spoken_names_the_transaction_of_a_datagram_and_none_of_a_stream() {
    let mut capture = Capture::new();
    capture.packet(&datagram((CLIENT, SERVER), &ike(0)));
    capture.packet(&datagram((SERVER, CLIENT), &ike(9)));
    let rule = r#"alert ike any any -> any any (msg:"a"; sid:1;)"#;
    let records = capture.records(rule, Settings::offline());
    let alerts = of(&records, "alert");
    assert_eq!(2, alerts.len());
    for (at, alert) in alerts.iter().enumerate() {
        assert_eq!(at as u64, alert["tx_id"]);
        assert_eq!(Value::Null, alert["tx_guessed"]);
        assert!(alert["ike"].is_object());
    }
    let rule = r#"alert http any any -> any any (msg:"a"; flow:to_server; sid:1;)"#;
    let records = http(1).records(rule, Settings::offline());
    for alert in of(&records, "alert") {
        assert_eq!(Value::Null, alert["tx_id"]);
        assert_eq!(Value::Null, alert["http"]);
    }
}

/// An aggressive exchange's message of version 1, without payloads.
fn ike(responder: u64) -> Vec<u8> {
    let mut bytes = 7_u64.to_be_bytes().to_vec();
    bytes.extend(responder.to_be_bytes());
    bytes.extend([0, 0x10, 4, 0, 0, 0, 0, 0, 0, 0, 0, 28]);
    bytes
}

/// An IPv4 UDP packet between two ports 500.
fn datagram(ends: (Ipv4Addr, Ipv4Addr), payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend((28 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
    bytes.extend(ends.0.octets());
    bytes.extend(ends.1.octets());
    bytes.extend([1, 0xf4, 1, 0xf4]);
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

#[test]
fn a_flow_says_which_of_its_streams_had_a_gap() {
    let mut capture = Capture::new();
    let lost = REQUEST.len() as u32;
    for (from_client, seq, ack, flags, bytes) in [
        (true, 1000, 0, 0x02, &b""[..]),
        (false, 5000, 1001, 0x12, b""),
        (true, 1001, 5001, 0x10, b""),
        (true, 1001 + lost, 5001, 0x18, REQUEST),
        (false, 5001, 1001 + 2 * lost, 0x18, RESPONSE),
        (
            true,
            1001 + 2 * lost,
            5001 + RESPONSE.len() as u32,
            0x10,
            b"",
        ),
    ] {
        let (ends, ports) = match from_client {
            true => ((CLIENT, SERVER), (40000, 80)),
            false => ((SERVER, CLIENT), (80, 40000)),
        };
        capture.packet(&segment(ends, ports, seq, ack, flags, bytes));
    }
    let records = capture.records("", Settings::offline());
    let tcp = &of(&records, "flow")[0]["tcp"];
    assert_eq!(json!(true), tcp["ts_gap"]);
    assert_eq!(Value::Null, tcp["tc_gap"]);
}
