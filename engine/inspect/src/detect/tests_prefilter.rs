//! Whatever the prefilters spare, the alerts must be those of evaluating every signature every time.
use proptest::prelude::*;

use super::tests::{request, Scene, UP};
use super::*;
use crate::app::http::Progress;
use crate::app::AppProto;
use crate::rule::{self, Variables};

/// Both ways to evaluate some rules; those that do not load are left out of either.
fn both(rules: &[String]) -> [Scene; 2] {
    let text = rules.join("\n");
    [true, false].map(|filters| {
        let (signatures, _) = rule::check(&[("test.rules".into(), text.clone().into())]);
        let variables = Variables::default();
        Scene::of(Matcher::compile_with(signatures, &variables, filters))
    })
}

fn content() -> impl Strategy<Value = String> {
    let place = prop_oneof![
        4 => Just(String::new()),
        2 => (0..12u32).prop_map(|offset| format!(" offset:{offset};")),
        2 => (8..20u32).prop_map(|depth| format!(" depth:{depth};")),
        2 => (0..6u32, 8..20u32).prop_map(|(o, d)| format!(" offset:{o}; depth:{d};")),
        2 => (0..6i32).prop_map(|distance| format!(" distance:{distance};")),
        2 => (0..4i32, 8..12u32).prop_map(|(d, w)| format!(" distance:{d}; within:{w};")),
        1 => Just(" startswith;".to_string()),
        1 => Just(" endswith;".to_string()),
    ];
    let fast = prop_oneof![6 => Just(""), 1 => Just(" fast_pattern;")];
    let text = "[aAbB]{1,2}|[aAbBc]{3,6}";
    (any::<bool>(), text, any::<bool>(), place, fast).prop_map(
        |(negated, text, nocase, place, fast)| {
            let negated = if negated && fast.is_empty() && text.len() < 3 {
                "!"
            } else {
                ""
            };
            let nocase = if nocase { " nocase;" } else { "" };
            format!("content:{negated}\"{text}\";{nocase}{place}{fast} ")
        },
    )
}

fn conditions() -> impl Strategy<Value = String> {
    let more = prop_oneof![
        5 => Just(""),
        1 => Just("pcre:\"/[ab]{2}C?/i\"; "),
        1 => Just("isdataat:3,relative; "),
        1 => Just("byte_test:1,>,90,0,relative; "),
    ];
    (prop::collection::vec(content(), 1..4), more)
        .prop_map(|(contents, more)| contents.concat() + more)
}

/// Rules on payload alone, with header conditions of all sorts.
fn payload_rules() -> impl Strategy<Value = Vec<String>> {
    let header = prop::sample::select(vec![
        "tcp any any -> any any",
        "tcp any any -> any 80",
        "tcp any any -> any ![80,81]",
        "tcp $HOME_NET any -> $EXTERNAL_NET any",
        "tcp-pkt any any -> any any",
        "tcp-stream any any <> any 80",
        "ip any any -> any any",
    ]);
    let flow = prop::sample::select(vec!["", "flow:established,to_server; ", "flow:to_client; "]);
    let one = (header, flow, conditions());
    let made = prop::collection::vec(one, 1..10);
    made.prop_map(|rules| {
        let lines = rules
            .into_iter()
            .enumerate()
            .map(|(at, (header, flow, conditions))| {
                format!("alert {header} ({flow}{conditions}sid:{};)", at + 1)
            });
        lines.collect()
    })
}

fn http_rules() -> impl Strategy<Value = Vec<String>> {
    let buffer = prop::sample::select(vec![
        "http.uri; ",
        "http.method; ",
        "http.request_body; ",
        "file.data; ",
        "http.header; ",
        "http.uri; to_lowercase; ",
        "http.request_body; to_lowercase; ",
    ]);
    let parts = prop::collection::vec((buffer, conditions()), 1..3);
    prop::collection::vec(parts, 1..8).prop_map(|rules| {
        let lines = rules.into_iter().enumerate().map(|(at, parts)| {
            let parts: String = parts
                .into_iter()
                .map(|(buffer, tests)| format!("{buffer}{tests}"))
                .collect();
            format!("alert http any any -> any any ({parts}sid:{};)", at + 1)
        });
        lines.collect()
    })
}

const TEXT: &str = "[aAbBcC]{0,60}";

proptest! {
    #[test]
    fn a_packet_alerts_as_without_prefilters(rules in payload_rules(), payload in TEXT) {
        let [mut filtered, mut plain] = both(&rules);
        let bytes = payload.as_bytes();
        prop_assert_eq!(filtered.packet(UP, bytes), plain.packet(UP, bytes));
    }

    #[test]
    fn a_stream_in_pieces_alerts_as_without_prefilters(
        rules in payload_rules(),
        text in TEXT,
        steps in prop::collection::vec(1..12usize, 1..12),
        tail in 4..30usize,
    ) {
        let [mut filtered, mut plain] = both(&rules);
        let bytes = text.as_bytes();
        let mut seen = 0;
        for step in steps {
            let end = (seen + step).min(bytes.len());
            let from = seen.saturating_sub(tail);
            let show = |scene: &mut Scene| scene.stream(UP, from as u64, &bytes[from..end], seen - from);
            prop_assert_eq!(show(&mut filtered), show(&mut plain));
            seen = end;
        }
    }

    #[test]
    fn a_growing_transaction_alerts_as_without_prefilters(
        rules in http_rules(),
        uri in TEXT,
        body in TEXT,
        steps in prop::collection::vec(1..20usize, 0..6),
    ) {
        let alerts = both(&rules).map(|mut scene| {
            (scene.flow.app, scene.flow.app_done) = (Some(AppProto::Http), true);
            let mut tx = request("AAB", &uri, &[("abA", "Bca")], b"");
            let mut found = Vec::new();
            let mut rest = body.as_bytes();
            for step in &steps {
                let (new, behind) = rest.split_at((*step).min(rest.len()));
                rest = behind;
                tx.request.progress = Progress::Body;
                tx.request.body.file.bytes.extend_from_slice(new);
                tx.request.body.file.seen += new.len() as u64;
                found.push(scene.transaction(UP, &mut tx));
            }
            tx.request.body.file.bytes.extend_from_slice(rest);
            tx.request.body.file.seen += rest.len() as u64;
            tx.request.progress = Progress::Complete;
            found.push(scene.transaction(UP, &mut tx));
            found
        });
        prop_assert_eq!(&alerts[0], &alerts[1]);
    }
}
