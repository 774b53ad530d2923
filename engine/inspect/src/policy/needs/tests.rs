use super::*;
use crate::policy::{Document, Policy};
use crate::rule;

const TO: Direction = Direction::ToServer;
const BACK: Direction = Direction::ToClient;

/// What a guest with these rules needs.
fn needs(rules: &str) -> Needs {
    let document = r#"{"format": 1, "version": 1, "generation": 1,
        "rule_sets": [{"name": "a", "files": ["a.rules"]}],
        "guests": [{"name": "web", "segment": "lab", "assignments": [{"rule_set": "a", "mode": "prevent"}]}],
        "segments": [{"name": "lab"}]}"#;
    let document = Document::parse(document.as_bytes()).unwrap();
    let text = rules.to_owned();
    let (_, refused) = rule::check(&[("a.rules".into(), text.clone().into_bytes())]);
    assert!(refused.is_empty(), "{refused:?}");
    let mut found = Policy::steering(&document, &|_| Ok(Box::new(text.as_bytes()))).unwrap();
    found.remove(0).1
}

impl Needs {
    /// In which directions the acknowledgments to and from a guest's port are looked at, the guest being the server.
    fn empty(&self, port: u16) -> [bool; 2] {
        Direction::BOTH.map(|way| self.tcp[0].empty[way as usize].holds(port, 40000))
    }
}

const REQUEST: &str = r#"alert http $EXTERNAL_NET any -> $HOME_NET any (flow:to_server; http.uri; content:"/evil"; sid:1;)"#;
const RAW: &str = r#"alert tcp $EXTERNAL_NET any -> $HOME_NET 9000 (flow:established,to_server; content:"evil"; sid:2;)"#;

#[test]
fn a_raw_signature_on_one_port_looks_at_that_port_of_the_guest_one_way() {
    let needs = needs(RAW);
    assert_eq!(needs.at_first(Role::Server, 9000, 40000), [true, false]);
    assert_eq!(needs.at_first(Role::Server, 9001, 40000), [false; 2]);
    assert_eq!(
        needs.at_first(Role::Client, 40000, 9000),
        [false; 2],
        "it is no server there"
    );
    assert!(!needs.any_protocol(Role::Server, 9000, 40000));
    assert_eq!(needs.empty(9000), [false; 2]);
    assert!(!needs.headers(Role::Server, 9000, 40000, TO));
}

#[test]
fn a_signature_on_a_protocol_looks_at_every_port_both_ways_until_it_is_told() {
    let needs = needs(REQUEST);
    assert_eq!(needs.at_first(Role::Server, 31337, 40000), [true; 2]);
    assert_eq!(needs.at_first(Role::Client, 40000, 80), [false; 2]);
    assert!(!needs.raw(Role::Server, 31337, 40000, TO));
    assert!(needs.messages(Role::Server, AppProto::Http, TO));
    assert!(!needs.messages(Role::Server, AppProto::Http, BACK));
    assert!(!needs.app(Role::Server, AppProto::Tls, TO));
    assert!(
        needs.app(Role::Server, AppProto::Smtp, TO),
        "STARTTLS and HTTP behind it"
    );
}

#[test]
fn a_buffer_of_responses_looks_at_what_the_server_sends() {
    let needs = needs(r#"alert http any any -> any any (http.stat_code; content:"500"; sid:1;)"#);
    assert!(needs.messages(Role::Server, AppProto::Http, BACK));
    assert!(!needs.messages(Role::Server, AppProto::Http, TO));
    assert!(needs.messages(Role::Client, AppProto::Http, BACK));
}

#[test]
fn the_narrower_of_both_ports_decides() {
    let needs = needs(
        r#"alert tcp $EXTERNAL_NET 6667 -> $HOME_NET any (flow:established,to_client; content:"x"; sid:1;)"#,
    );
    assert_eq!(needs.at_first(Role::Client, 40000, 6667), [false, true]);
    assert_eq!(needs.at_first(Role::Client, 40000, 80), [false; 2]);
    assert_eq!(needs.at_first(Role::Server, 80, 6667), [false; 2]);
}

#[test]
fn without_a_direction_a_packet_may_be_either_ends() {
    let needs = needs(r#"alert tcp any any -> $HOME_NET 22 (content:"x"; sid:1;)"#);
    assert_eq!(needs.at_first(Role::Server, 22, 40000), [true, false]);
    // A client that connects from port 22 receives on it too.
    assert_eq!(needs.at_first(Role::Client, 22, 80), [false, true]);
    assert_eq!(needs.at_first(Role::Client, 40000, 80), [false; 2]);
}

#[test]
fn both_ways_and_both_ends_home_are_looked_at() {
    let both = needs(r#"alert tcp $EXTERNAL_NET any <> $HOME_NET 7 (content:"x"; sid:1;)"#);
    assert_eq!(both.at_first(Role::Server, 7, 40000), [true; 2]);
    let home =
        needs(r#"alert tcp $HOME_NET any -> $HOME_NET 7 (flow:to_server; content:"x"; sid:1;)"#);
    assert_eq!(home.at_first(Role::Server, 7, 40000), [true, false]);
}

#[test]
fn whoever_sets_a_bit_is_looked_at_like_whoever_reads_it() {
    let needs = needs(
        r#"alert tcp $EXTERNAL_NET any -> $HOME_NET 21 (flow:to_server; content:"a"; flowbits:set,a; noalert; sid:1;)
alert tcp $HOME_NET 21 -> $EXTERNAL_NET any (flow:to_client; content:"b"; flowbits:isset,a; sid:2;)"#,
    );
    assert_eq!(needs.at_first(Role::Server, 21, 40000), [true; 2]);
}

#[test]
fn what_is_counted_both_ways_needs_both() {
    let needs = needs(
        r#"alert tcp any any -> $HOME_NET 80 (flow:to_server; content:"a"; stream_size:client,>,5; sid:1;)"#,
    );
    assert_eq!(needs.at_first(Role::Server, 80, 40000), [true; 2]);
}

#[test]
fn events_and_tags_on_hosts_need_everything() {
    for rules in [
        r#"alert tcp any any -> any any (stream-event:est_packet_out_of_window; sid:1;)"#,
        r#"alert tcp any any -> $HOME_NET 80 (flow:to_server; content:"a"; tag:host,5,packets,src; sid:1;)"#,
    ] {
        let needs = needs(rules);
        assert_eq!(needs.at_first(Role::Client, 40000, 1), [true; 2], "{rules}");
        assert_eq!(needs.empty(80), [true; 2]);
    }
}

#[test]
fn a_tag_on_its_connection_needs_both_directions_of_what_the_signature_looks_at() {
    let needs = needs(
        r#"alert tcp any any -> $HOME_NET 80 (flow:to_server; content:"a"; tag:session,5,packets; sid:1;)"#,
    );
    assert_eq!(needs.at_first(Role::Server, 80, 40000), [true; 2]);
    assert_eq!(needs.at_first(Role::Server, 81, 40000), [false; 2]);
    assert_eq!(needs.empty(80), [false; 2]);
}

#[test]
fn a_tag_where_addresses_alone_are_asked_for_needs_both_directions_too() {
    let needs = needs("alert tcp any any -> $HOME_NET 6100 (tag:session,20,packets; sid:1;)");
    assert_eq!(needs.at_first(Role::Server, 6100, 40000), [true; 2]);
}

#[test]
fn a_number_that_is_not_tcp_s_is_not_looked_for_in_it() {
    let tunnels = needs("alert ip any any -> $HOME_NET any (ip_proto:41; sid:1;)");
    assert_eq!(tunnels.at_first(Role::Server, 80, 40000), [false; 2]);
    let tcp = needs("alert ip any any -> $HOME_NET any (ip_proto:6; ttl:1; sid:1;)");
    assert_eq!(tcp.at_first(Role::Server, 80, 40000), [true, false]);
}

#[test]
fn a_protocol_alone_is_not_asked_for_again_in_acknowledgments() {
    let needs = needs("alert dns any any -> $HOME_NET any (sid:1;)");
    assert!(needs.any_protocol(Role::Server, 53, 40000));
    assert_eq!(needs.empty(53), [false; 2]);
    assert!(!needs.headers(Role::Server, 53, 40000, TO));
}

#[test]
fn a_protocol_and_what_may_change_is_asked_for_again_when_nothing_can_be_read_any_more() {
    for changes in [
        "xbits:isset,bad,track ip_src",
        "flowbits:isset,bad",
        "flowint:count,>,2",
        "detection_filter:track by_src,count 12,seconds 60",
        "threshold:type threshold,track by_src,count 12,seconds 60",
    ] {
        let rule = format!("drop tls any any -> $HOME_NET any (flow:to_server; {changes}; sid:1;)");
        let needs = needs(&rule);
        assert!(needs.headers(Role::Server, 443, 40000, TO), "{rule}");
        assert_eq!(needs.empty(443), [true, false], "{rule}");
    }
    let limited = "threshold:type limit,track by_src,count 1,seconds 60";
    let limited = needs(&format!(
        "alert tls any any -> $HOME_NET any ({limited}; sid:1;)"
    ));
    assert!(!limited.headers(Role::Server, 443, 40000, TO));
}

#[test]
fn a_protocol_and_an_expression_that_nothing_may_fit_are_asked_for_in_acknowledgments_too() {
    let needs = needs(r#"alert tls any any -> $HOME_NET any (pcre:"/^$/"; sid:1;)"#);
    assert_eq!(needs.empty(443), [true, false]);
    assert!(needs.headers(Role::Server, 443, 40000, TO));
}

#[test]
fn what_asks_for_no_bytes_looks_at_acknowledgments_on_its_ports() {
    for fits in [
        "flags:A; window:512",
        "flags:A,CE",
        "dsize:<4",
        "ttl:1",
        "pcre:\"/^$/\"",
    ] {
        let rule = format!("alert tcp any any -> $HOME_NET 80 ({fits}; sid:1;)");
        let needs = needs(&rule);
        assert_eq!(needs.empty(80), [true, false], "{rule}");
        assert_eq!(needs.empty(81), [false; 2], "{rule}");
    }
    let over_udp = needs("alert udp any any -> $HOME_NET 53 (dsize:0; sid:1;)");
    assert_eq!(over_udp.empty(53), [false; 2]);
}

#[test]
fn what_no_acknowledgment_can_be_is_not_looked_for_in_them() {
    for none in [
        "flags:S,12",
        "flags:SA",
        "flags:PA",
        "flags:!A",
        "flags:F+",
        "dsize:4",
        "byte_test:4,>,399,0",
        "content:\"a\"",
        "dsize:0; flags:PA",
    ] {
        let rule = format!("alert tcp any any -> $HOME_NET 80 ({none}; sid:1;)");
        assert_eq!(needs(&rule).empty(80), [false; 2], "{rule}");
    }
}

#[test]
fn encrypted_packets_are_looked_at_where_no_content_asks_for_their_bytes() {
    let lengths = needs("alert tcp any any -> $HOME_NET 443 (flow:to_server; dsize:>1000; sid:1;)");
    assert!(lengths.headers(Role::Server, 443, 40000, TO));
    assert!(!lengths.headers(Role::Server, 443, 40000, BACK));
    assert!(!lengths.headers(Role::Server, 8443, 40000, TO));
    let of_tls = needs("alert tls any any -> $HOME_NET any (flow:to_server; dsize:>1000; sid:1;)");
    assert!(of_tls.headers(Role::Server, 8443, 40000, TO));
    let both = needs("alert tcp any any -> $HOME_NET 443 (stream_size:both,>,5; sid:1;)");
    assert!(both.headers(Role::Server, 443, 40000, BACK));
}

#[test]
fn addresses_alone_are_looked_at_first_and_not_for_ever() {
    let needs = needs("alert ip [192.0.2.1] any -> $HOME_NET any (sid:1;)");
    assert_eq!(needs.at_first(Role::Server, 80, 40000), [true, false]);
    assert!(!needs.raw(Role::Server, 80, 40000, TO));
}

#[test]
fn a_protocol_that_must_not_be_is_looked_at_where_none_is_known() {
    let needs = needs(
        r#"alert tcp any any -> $HOME_NET 80 (flow:to_server; app-layer-protocol:!http; content:"a"; sid:1;)"#,
    );
    assert_eq!(needs.at_first(Role::Server, 80, 40000), [true; 2]);
    assert!(needs.unknown(Role::Server, TO));
}

#[test]
fn tunnels_carry_whatever_is_looked_at() {
    let exported = |rules| serde_json::to_value(needs(rules).export()).unwrap();
    let own = |value: &serde_json::Value| value["udp"]["to_server"]["server"]["own"].clone();
    for rules in [
        RAW,
        r#"drop icmp any any -> $HOME_NET any (content:"evil"; sid:9;)"#,
    ] {
        assert_eq!(
            own(&exported(rules)),
            serde_json::json!([[3544, 3544], [4789, 4789], [6081, 6081]])
        );
    }
    assert_eq!(
        Needs::default().export().udp.to_server.server,
        Ends::default()
    );
}
