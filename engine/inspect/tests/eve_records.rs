//! EVE records as text: the golden lines are Suricata 7.0.10's for the same facts, `sekisho` added.

use inspect::app::http::{Connection, Settings};
use inspect::app::{Description, Purpose, Transaction as _};
use inspect::event::{
    write_line, Action, Alert, Anomaly, AnomalyKind, Drop, Endpoints, Event, FlowEnd, FlowSummary,
    FlowTotals, Kind, Payload, Sekisho,
};
use inspect::rule::Pair;
use inspect::Direction;
use proptest::prelude::*;
use serde_json::Value;

const TIME_NS: u64 = 1_464_332_171_501_610_000;
const START_NS: u64 = 1_464_332_171_304_062_000;

fn line(event: &Event<'_>) -> String {
    let mut out = b"before\n".to_vec();
    write_line(event, &mut out);
    let text = String::from_utf8(out).unwrap();
    text.strip_prefix("before\n")
        .unwrap()
        .strip_suffix('\n')
        .unwrap()
        .to_owned()
}

fn endpoints(protocol: u8) -> Endpoints {
    Endpoints {
        src: "10.16.1.11".parse().unwrap(),
        dst: "82.165.177.154".parse().unwrap(),
        src_port: 46652,
        dst_port: 80,
        protocol,
    }
}

fn totals() -> FlowTotals {
    FlowTotals {
        pkts_toserver: 3,
        pkts_toclient: 1,
        bytes_toserver: 263,
        bytes_toclient: 62,
    }
}

fn alert(metadata: &[Pair]) -> Alert<'_> {
    Alert {
        action: Action::Allowed,
        gid: 1,
        sid: 2_016_953,
        rev: 5,
        msg: "ET EXPLOIT Apache Struts",
        classtype: "attempted-user",
        priority: 1,
        attack: None,
        metadata,
    }
}

fn connection(request: &[u8], response: &[u8]) -> Connection {
    let mut connection = Connection::new(Settings::default());
    connection.feed(Direction::ToServer, request);
    connection.feed(Direction::ToClient, response);
    connection
}

fn described(connection: &Connection) -> Option<Description<'_>> {
    connection.transaction(0)?.describe(Purpose::Alert)
}

#[test]
fn an_alert_reads_as_suricata_s() {
    let connection = connection(
        b"GET / HTTP/1.1\r\nHost: www.testmyids.com\r\nUser-Agent: curl/7.43.0\r\n\r\n",
        b"",
    );
    let metadata = [("cve", "CVE_1"), ("tag", "x"), ("cve", "CVE_2")]
        .map(|(key, value)| Pair::new((key.into(), value.into())));
    let event = Event {
        flow_id: Some(1_024_464_785_421_891),
        pcap_cnt: Some(4),
        endpoints: Some(endpoints(6)),
        pkt_src: "wire/pcap",
        tx_id: Some(0),
        app: described(&connection),
        app_proto: Some("http"),
        direction: Some(Direction::ToServer),
        flow: Some(FlowSummary {
            totals: totals(),
            start_ns: START_NS,
            endpoints: Some(endpoints(6)),
        }),
        payload: Some(Payload {
            bytes: b"GET \0\xff\r\n",
            stream: false,
        }),
        sekisho: Some(Sekisho {
            guest: "web",
            vnic: "web0",
            mode: "detect",
            policy_version: Some(7),
            would: Some("drop"),
            verdict: "accept",
            latency_us: Some(12),
            ..Sekisho::default()
        }),
        ..Event::new(TIME_NS, Kind::Alert(alert(&metadata)))
    };
    assert_eq!(
        line(&event),
        concat!(
            r#"{"timestamp":"2016-05-27T06:56:11.501610+0000","flow_id":1024464785421891,"pcap_cnt":4,"event_type":"alert","#,
            r#""src_ip":"10.16.1.11","src_port":46652,"dest_ip":"82.165.177.154","dest_port":80,"proto":"TCP","#,
            r#""pkt_src":"wire/pcap","tx_id":0,"alert":{"action":"allowed","gid":1,"signature_id":2016953,"rev":5,"#,
            r#""signature":"ET EXPLOIT Apache Struts","category":"Attempted User Privilege Gain","severity":1,"#,
            r#""metadata":{"cve":["CVE_2","CVE_1"],"tag":["x"]}},"#,
            r#""http":{"hostname":"www.testmyids.com","url":"/","http_user_agent":"curl/7.43.0","http_method":"GET","#,
            r#""protocol":"HTTP/1.1","length":0},"app_proto":"http","direction":"to_server","#,
            r#""flow":{"pkts_toserver":3,"pkts_toclient":1,"bytes_toserver":263,"bytes_toclient":62,"#,
            r#""start":"2016-05-27T06:56:11.304062+0000","src_ip":"10.16.1.11","src_port":46652,"dest_ip":"82.165.177.154","dest_port":80},"#,
            r#""payload":"R0VUIAD/DQo=","payload_printable":"GET ..\r\n","stream":0,"#,
            r#""sekisho":{"guest":"web","vnic":"web0","mode":"detect","policy_version":7,"would":"drop","verdict":"accept","latency_us":12}}"#,
        )
    );
}

#[test]
fn a_drop_carries_its_alert() {
    let mut by = alert(&[]);
    by.action = Action::Blocked;
    let event = Event {
        flow_id: Some(1),
        in_iface: "web0",
        vlan: &[7],
        endpoints: Some(endpoints(6)),
        direction: Some(Direction::ToServer),
        ..Event::new(
            TIME_NS,
            Kind::Drop(Drop {
                len: 52,
                reason: "rules",
                alert: Some(by),
                packet: None,
            }),
        )
    };
    assert_eq!(
        line(&event),
        concat!(
            r#"{"timestamp":"2016-05-27T06:56:11.501610+0000","flow_id":1,"in_iface":"web0","event_type":"drop","vlan":[7],"#,
            r#""src_ip":"10.16.1.11","src_port":46652,"dest_ip":"82.165.177.154","dest_port":80,"proto":"TCP","direction":"to_server","#,
            r#""drop":{"len":52,"reason":"rules"},"alert":{"action":"blocked","gid":1,"signature_id":2016953,"rev":5,"#,
            r#""signature":"ET EXPLOIT Apache Struts","category":"Attempted User Privilege Gain","severity":1}}"#,
        )
    );
}

#[test]
fn http_flow_anomaly_and_stats_read_as_suricata_s() {
    let connection = connection(
        b"POST /which.php HTTP/1.1\r\nHost: a:8000\r\nReferer: b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Type: text/html; charset=x\r\nContent-Length: 3\r\n\r\nabc",
    );
    let rows: &[(Event<'_>, &str)] = &[
        (
            Event {
                tx_id: Some(0),
                app: described(&connection),
                ..Event::new(TIME_NS, Kind::App("http"))
            },
            r#""event_type":"http","tx_id":0,"http":{"hostname":"a","http_port":8000,"url":"/which.php","http_content_type":"text/html","http_refer":"b","http_method":"POST","protocol":"HTTP/1.1","status":302,"redirect":"/x","length":3}}"#,
        ),
        (
            Event {
                app_proto: Some("http"),
                ..Event::new(
                    TIME_NS,
                    Kind::Flow(FlowEnd {
                        totals: totals(),
                        start_ns: START_NS,
                        end_ns: START_NS + 2_500_000_000,
                        bypassed: false,
                        state: "closed",
                        reason: "shutdown",
                        tcp: None,
                        icmp_answer: None,
                        alerted: true,
                        action: "",
                    }),
                )
            },
            r#""event_type":"flow","app_proto":"http","flow":{"pkts_toserver":3,"pkts_toclient":1,"bytes_toserver":263,"bytes_toclient":62,"start":"2016-05-27T06:56:11.304062+0000","end":"2016-05-27T06:56:13.804062+0000","age":2,"state":"closed","reason":"shutdown","alerted":true}}"#,
        ),
        (
            Event {
                app_proto: Some("http"),
                ..Event::new(
                    TIME_NS,
                    Kind::Anomaly(Anomaly {
                        kind: AnomalyKind::Applayer,
                        event: "duplicate_content_length_field_in_request",
                        layer: "proto_parser",
                    }),
                )
            },
            r#""event_type":"anomaly","anomaly":{"app_proto":"http","type":"applayer","event":"DUPLICATE_CONTENT_LENGTH_FIELD_IN_REQUEST","layer":"proto_parser"}}"#,
        ),
        (
            Event::new(
                TIME_NS,
                Kind::Anomaly(Anomaly {
                    kind: AnomalyKind::Decode,
                    event: "decoder.ipv4.trunc_pkt",
                    layer: "",
                }),
            ),
            r#""event_type":"anomaly","anomaly":{"type":"decode","event":"decoder.ipv4.trunc_pkt"}}"#,
        ),
        (
            Event::new(
                TIME_NS,
                Kind::Stats(&[
                    ("decoder.pkts", 1),
                    ("decoder.ipv4.bytes", 2),
                    ("uptime", 3),
                    ("decoder", 4),
                ]),
            ),
            r#""event_type":"stats","stats":{"decoder":{"ipv4":{"bytes":2},"pkts":1,"total":4},"uptime":3}}"#,
        ),
    ];
    for (event, wanted) in rows {
        let wanted = format!(r#"{{"timestamp":"2016-05-27T06:56:11.501610+0000",{wanted}"#);
        assert_eq!(line(event), wanted);
    }
}

#[test]
fn addresses_and_protocols_read_as_suricata_s() {
    let icmp = Endpoints {
        src: "fe80::1".parse().unwrap(),
        src_port: 128,
        dst_port: 0,
        protocol: 58,
        ..endpoints(58)
    };
    let event = Event {
        endpoints: Some(icmp),
        ..Event::new(TIME_NS, Kind::App("http"))
    };
    let shown: Value = serde_json::from_str(&line(&event)).unwrap();
    assert_eq!(shown["src_ip"], "fe80:0000:0000:0000:0000:0000:0000:0001");
    assert_eq!(
        (&shown["proto"], &shown["icmp_type"], &shown["icmp_code"]),
        (&"IPv6-ICMP".into(), &128.into(), &0.into())
    );
    assert!(shown.get("src_port").is_none());
    let event = Event {
        endpoints: Some(endpoints(253)),
        ..Event::new(TIME_NS, Kind::App("http"))
    };
    assert!(line(&event).contains(r#""proto":"253""#));
}

#[test]
fn bytes_that_are_no_text_are_shown_in_hex() {
    let connection = connection(
        b"GET /\xff\x01\xc3\xa9 HTTP/1.0\r\nUser-Agent: \xc3\xa9\r\n\r\n",
        b"",
    );
    let shown: Value = serde_json::from_str(&line(&Event {
        app: described(&connection),
        ..Event::new(0, Kind::App("http"))
    }))
    .unwrap();
    assert_eq!(shown["http"]["url"], "/\\xff\u{1}\\xc3\\xa9");
    assert_eq!(shown["http"]["http_user_agent"], "é");
}

proptest! {
    #[test]
    fn every_record_is_one_line_of_json(request: Vec<u8>, response: Vec<u8>, text in ".{0,20}", payload: Vec<u8>, numbers: [u64; 4]) {
        let whole = [b"POST /".as_slice(), &request, b" HTTP/1.1\r\nHost: ", &request, b"\r\nUser-Agent: ", &request, b"\r\n\r\n"].concat();
        let connection = connection(&whole, &[b"HTTP/1.1 ".as_slice(), &response, b"\r\n\r\n"].concat());
        let metadata = [&text[..], ""].map(|value| Pair::new((text.as_str().into(), value.into())));
        let by = Alert { msg: &text, classtype: &text, ..alert(&metadata) };
        let end = FlowEnd { totals: totals(), start_ns: numbers[0], end_ns: numbers[1], bypassed: false, state: &text, reason: &text, alerted: true, tcp: None, icmp_answer: None, action: &text };
        let packet = inspect::wire::decode_ethernet(&payload);
        let counters = [(text.as_str(), numbers[2]), ("a.b", 1), ("a", 2), ("..", 3)];
        let kinds = [
            Kind::Alert(by),
            Kind::Drop(Drop { len: 1, reason: &text, alert: Some(by), packet: None }),
            Kind::App("http"),
            Kind::Flow(end),
            Kind::Anomaly(Anomaly { kind: AnomalyKind::Stream, event: &text, layer: &text }),
            Kind::Stats(&counters),
        ];
        for kind in kinds {
            let event = Event {
                in_iface: &text,
                pkt_src: &text,
                endpoints: Some(endpoints(numbers[3] as u8)),
                app: described(&connection),
                payload: Some(Payload { bytes: &payload, stream: true }),
                packet: Some(&packet),
                sekisho: Some(Sekisho { guest: &text, would: Some(&text), ..Sekisho::default() }),
                ..Event::new(numbers[3], kind)
            };
            let shown = line(&event);
            prop_assert!(!shown.contains('\n'));
            let parsed: Value = serde_json::from_str(&shown).unwrap();
            prop_assert!(parsed["event_type"].is_string());
        }
    }
}

#[test]
fn http_says_which_part_of_a_file_a_response_brings() {
    for (range, written) in [
        (
            "bytes 500-1000/146515",
            r#"{"raw":"bytes 500-1000/146515","start":500,"end":1000,"size":146515}"#,
        ),
        (
            "bytes 10-5/*",
            r#"{"raw":"bytes 10-5/*","start":10,"end":5}"#,
        ),
        ("bytes foo-bar/baz", r#"{"raw":"bytes foo-bar/baz"}"#),
        (
            "bytes 0-9223372036854775807/9223372036854775808",
            r#"{"raw":"bytes 0-9223372036854775807/9223372036854775808"}"#,
        ),
    ] {
        let response =
            format!("HTTP/1.1 206 Some\r\nContent-Range: {range}\r\nContent-Length: 0\r\n\r\n");
        let connection = connection(
            b"GET / HTTP/1.1\r\nHost: www.testmyids.com\r\n\r\n",
            response.as_bytes(),
        );
        let event = Event {
            app: described(&connection),
            ..Event::new(TIME_NS, Kind::Alert(alert(&[])))
        };
        let wanted = format!(r#""content_range":{written},"http_method""#);
        assert!(line(&event).contains(&wanted), "{}", line(&event));
    }
}
