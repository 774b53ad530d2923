//! Whole rules: what loads, and why the rest is refused.
use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::app::{AppProto, AppSet};

fn check_text(text: &str) -> (Vec<Signature>, Vec<Refusal>) {
    check(&[("test.rules".into(), text.into())])
}

fn texts(texts: &[Arc<str>]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}

/// Why a single rule with these options is refused.
fn refusal(options: &str) -> Reason {
    let (loaded, mut refused) = check_text(&format!("alert tcp any any -> any any ({options})"));
    assert!(loaded.is_empty(), "loaded: {options}");
    refused.remove(0).reason
}

const GOOD: &str = r#"drop http $EXTERNAL_NET any -> [$HOME_NET,!10.0.0.0/8] [80,8000:8080,!8001] (msg:"Shell\; \"shock\" CVE-2014-6271"; flow:established,to_server; http.header; content:"() {|20|"; nocase; fast_pattern; content:"x"; distance:0; within:10; http.uri; bsize:<100; pcre:"/^\/cgi/i"; flowbits:set,seen; reference:cve,2014-6271; reference:url,example.org/a; classtype:attempted-admin; metadata:cve CVE_2014_6278, severity high; target:dest_ip; threshold:type limit, track by_src, count 1, seconds 60; sid:100; rev:3; gid:2;)"#;

#[test]
fn keeps_what_events_say_of_a_signature() {
    let (loaded, refused) = check_text(&format!("# a comment\n\n{GOOD}\n"));
    assert_eq!(refused, []);
    let signature = &loaded[0];
    assert_eq!((signature.gid, signature.sid, signature.rev), (2, 100, 3));
    assert_eq!(&*signature.msg, r#"Shell; "shock" CVE-2014-6271"#);
    assert_eq!((signature.action, signature.priority), (Action::Drop, 1));
    assert_eq!(texts(&signature.cves), ["CVE-2014-6271", "CVE-2014-6278"]);
    assert_eq!(
        texts(&signature.references),
        ["cve,2014-6271", "url,example.org/a"]
    );
    assert_eq!(*signature.metadata[1], ("severity".into(), "high".into()));
    assert_eq!((&*signature.file, signature.line), ("test.rules", 3));
    assert_eq!(signature.target, Some(Target::Destination));
}

#[test]
fn names_file_line_sid_and_reason() {
    let (_, refused) = check_text("\nalert tcp any any -> any any (modbus:1; sid:7;)");
    assert_eq!(
        refused[0].to_string(),
        "test.rules:2: sid 7: keyword 'modbus' is not supported"
    );
}

#[test]
fn tells_unsupported_from_unknown() {
    assert!(matches!(
        refusal("lua:a.lua; sid:1;"),
        Reason::UnsupportedKeyword { keyword, instead } if keyword == "lua" && !instead.is_empty()
    ));
    assert_eq!(
        refusal("nonsense:1; sid:1;"),
        Reason::UnknownKeyword {
            keyword: "nonsense".into(),
            meant: None
        }
    );
}

#[test]
fn refuses_what_contradicts_itself() {
    for options in [
        "nocase; sid:1;",
        "content:\"a\"; offset:1; distance:1; sid:1;",
        "content:\"a\"; within:5; depth:5; sid:1;",
        "content:\"abc\"; depth:2; sid:1;",
        "content:\"abc\"; within:2; sid:1;",
        "content:\"a\"; startswith; offset:1; sid:1;",
        "content:\"a\"; nocase; nocase; sid:1;",
        "content:\"a\"; fast_pattern; content:\"b\"; fast_pattern; sid:1;",
        "content:!\"a\"; distance:0; fast_pattern; sid:1;",
        "content:\"a\"; fast_pattern:0,2; sid:1;",
        "content:\"a\"; offset:1; fast_pattern:only; sid:1;",
        "flow:to_server,to_client; sid:1;",
        "flow:established,not_established; sid:1;",
        "flow:to_client; http.uri; content:\"a\"; sid:1;",
        "http.uri; content:\"a\"; http.stat_code; content:\"200\"; sid:1;",
        "http.uri; content:\"a\"; dsize:>1; sid:1;",
        "http.uri; sid:1;",
        "http.uri; http.method; content:\"a\"; sid:1;",
        "http.host; content:\"Example\"; sid:1;",
        "http.uri; content:\"abc\"; bsize:2; sid:1;",
        "bsize:2; sid:1;",
        "dotprefix; content:\"a\"; sid:1;",
        "flowbits:set,a; flowbits:unset,a; sid:1;",
        "flowbits:isset,a; flowbits:isnotset,a; sid:1;",
        "content:\"a\"; http_uri; http_header; sid:1;",
        "http.uri; content:\"a\"; http_header; sid:1;",
        "threshold:type limit, track by_src, count 1; sid:1;",
        "flow:only_stream; dsize:1; content:\"a\"; sid:1;",
        "content:\"a\"",
        "content:a; sid:1;",
        "msg:\"no sid\";",
        "sid:0;",
        "sid:1; sid:2;",
        "sid:4294967296;",
        "priority:4294967296; sid:1;",
        "requires:version >= 8; sid:1;",
    ] {
        refusal(options);
    }
}

#[test]
fn refuses_a_header_that_is_not_one() {
    for rule in [
        "alert",
        "alert tcp any any -> any any",
        "alert tcp any any -> any (sid:1;)",
        "alert tcp any any => any any (sid:1;)",
        "block tcp any any -> any any (sid:1;)",
        "alert xyz any any -> any any (sid:1;)",
        "alert modbus any any -> any any (sid:1;)",
        "alert tcp $NOWHERE any -> any any (sid:1;)",
        "alert tcp any $NOPORT -> any any (sid:1;)",
        "alert tcp !any any -> any any (sid:1;)",
        "alert tcp 10.0.0.0/33 any -> any any (sid:1;)",
        "alert tcp 10.0.0.9-10.0.0.1 any -> any any (sid:1;)",
        "alert tcp [10.0.0.1 any -> any any (sid:1;)",
        "alert tcp any 70000 -> any any (sid:1;)",
        "alert tcp any 9:1 -> any any (sid:1;)",
        "alert udp any any -> any any (http.uri; content:\"a\"; sid:1;)",
        "alert tls any any -> any any (http.uri; content:\"a\"; sid:1;)",
    ] {
        let (loaded, refused) = check_text(rule);
        assert_eq!((loaded.len(), refused.len()), (0, 1), "{rule}");
    }
}

#[test]
fn of_two_with_one_sid_the_newer_rev_is_loaded() {
    let rule = |rev| format!("alert tcp any any -> any any (msg:\"{rev}\"; sid:1; rev:{rev};)\n");
    let (loaded, refused) = check_text(&[rule(1), rule(3), rule(2), rule(3)].concat());
    assert_eq!((loaded.len(), loaded[0].rev), (1, 3));
    assert_eq!(refused[0].reason, Reason::Superseded { rev: 3 });
    assert_eq!(refused[0].line, 1);
    assert!(matches!(
        refused[1].reason,
        Reason::Duplicate { line: 2, .. }
    ));
    assert!(matches!(
        refused[2].reason,
        Reason::Duplicate { line: 2, .. }
    ));
}

#[test]
fn every_prefix_of_a_good_rule_is_loaded_or_refused() {
    for end in 1..=GOOD.len() {
        let (loaded, refused) = check_text(&GOOD[..end]);
        assert_eq!(loaded.len() + refused.len(), 1, "{}", &GOOD[..end]);
        assert_eq!(loaded.len() == 1, end == GOOD.len());
    }
}

#[test]
fn refuses_a_variable_that_is_defined_through_itself() {
    let mut variables = Variables::default();
    variables.set_addresses("A", "10.0.0.1").unwrap();
    variables.set_addresses("B", "[$A,10.0.0.2]").unwrap();
    assert!(variables.set_addresses("A", "!$B").is_err());
    assert!(variables
        .set_addresses("HOME_NET", "!$EXTERNAL_NET")
        .is_err());
    assert!(variables.set_ports("P", "$P").is_err());
}

/// Bytes that look like rules often enough to get deep into the parser.
fn rule_like() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::sample::select(supported_keywords().collect::<Vec<_>>()).prop_map(str::to_string),
        prop::sample::select(vec![
            "alert",
            "tcp",
            "http",
            "any",
            "->",
            "<>",
            "$HOME_NET",
            "[1.2.3.4,!5.6.0.0/16]",
            "80:",
            "(",
            ")",
            ";",
            ":",
            "\"",
            "!",
            "|",
            "41",
            "\\",
            ",",
            "relative",
            "a",
            "\"/a/R\"",
            "\"a|00|b\"",
            "isset",
            "4",
            "0x10",
            "little",
            "string",
            "dec",
            "track by_src",
            "seconds 1",
        ])
        .prop_map(str::to_string),
        "[ -~]{0,4}",
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.join(" ").into_bytes())
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(text: Vec<u8>) {
        check(&[("x".into(), text)]);
    }

    #[test]
    fn never_panics_on_what_looks_like_a_rule(words in rule_like()) {
        check(&[("x".into(), words)]);
    }

    #[test]
    fn never_panics_on_options_of_a_good_header(words in rule_like()) {
        let text = [b"alert tcp any any -> any any (".to_vec(), words, b" sid:1;)".to_vec()].concat();
        let (loaded, refused) = check(&[("x".into(), text)]);
        prop_assert_eq!(loaded.len() + refused.len(), 1);
        crate::detect::Matcher::compile(loaded, &Variables::default());
    }

    #[test]
    fn never_panics_on_a_damaged_rule(at in 0..GOOD.len(), byte: u8) {
        let mut text = GOOD.as_bytes().to_vec();
        text[at] = byte;
        check(&[("x".into(), text)]);
    }
}

#[test]
fn rules_read_files_beside_their_own() {
    let list = b"900150983cd24fb0d6963f7d28e17f72 abc".to_vec();
    let files: HashMap<String, Vec<u8>> = [("dir/bad.md5".into(), list)].into();
    let rule = b"alert http any any -> any any (filemd5:!bad.md5; sid:1;)\nalert http any any -> any any (filemd5:bad.md5; sid:2;)";
    let variables = Variables::default();
    let mut reading = Reading::new(&variables, &files);
    reading.read("dir/a.rules", &rule[..]);
    reading.read("other/b.rules", &rule[..]);
    let read = reading.finish();
    let (loaded, refused) = (read.signatures, read.refused);
    assert_eq!((loaded.len(), &*loaded[0].file), (2, "dir/a.rules"));
    assert_eq!((refused.len(), &refused[0].file[..]), (2, "other/b.rules"));
    assert!(matches!(refused[0].reason, Reason::BadValue { .. }));
}

#[test]
fn what_signatures_have_in_common_is_held_once() {
    let rule = |sid, more: &str| {
        format!("alert tcp any any -> any [1,2] (content:\"ab\"; {more} pcre:\"/a/i\"; classtype:x; metadata:k v; reference:url,a; sid:{sid};)\n")
    };
    let (loaded, _) = check_text(&[rule(1, ""), rule(2, ""), rule(3, "nocase;")].concat());
    let [one, two, three] = &loaded[..] else {
        panic!("three signatures");
    };
    assert!(Arc::ptr_eq(&one.header, &two.header));
    assert!(Arc::ptr_eq(&one.classtype, &two.classtype));
    assert!(Arc::ptr_eq(&one.metadata[0], &two.metadata[0]));
    assert!(Arc::ptr_eq(&one.references[0], &two.references[0]));
    let needle = |signature: &Signature| {
        let content = signature.inspections[0].contents().next().unwrap();
        content.needle.bytes().as_ptr()
    };
    assert_eq!(needle(one), needle(two));
    assert_ne!(needle(one), needle(three));
}

#[test]
fn what_a_reason_quotes_is_short_and_nothing_that_a_terminal_obeys() {
    let reason = |rule: String| check_text(&rule).1.remove(0).reason.to_string();
    let escapes = reason("\u{1b}]0;x\u{7}alert tcp any any -> any any (sid:1;)".into());
    assert!(escapes.starts_with("unknown action '\\u{1b}]0;x\\u{7}alert': none of alert, drop"));
    let nested = format!("{}1.1.1.1{}", "[".repeat(9_000), "]".repeat(9_000));
    for rule in [
        format!("alert tcp {nested} any -> any any (sid:1;)"),
        format!("{} tcp any any -> any any (sid:1;)", "x".repeat(30_000)),
        format!(
            "alert tcp any any -> any any ({}; sid:1;)",
            "x".repeat(30_000)
        ),
        format!(
            "alert tcp any any -> any any (flow:{}; sid:1;)",
            "é".repeat(9_000)
        ),
    ] {
        let said = reason(rule);
        assert!(said.chars().count() <= 400, "{said}");
    }
}

/// Before each rule stands whether Suricata 7.0.10 loads it.
#[test]
fn rules_are_loaded_or_refused_as_suricata_does() {
    let differs = |row: &&str| {
        let (verdict, rule) = row.split_at(2);
        let (loaded, _) = check_text(rule);
        loaded.is_empty() != (verdict == "- ")
    };
    let differing: Vec<_> = include_str!("verdicts.rules")
        .lines()
        .filter(differs)
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn variables_and_transforms_reach_across_buffers() {
    for options in [
        "http.cookie; content:\"a\"; byte_extract:1,0,x,relative; http.uri; byte_test:1,=,x,0; sid:1;",
        "http.host; content:\"a\"; dotprefix; content:\".a\"; sid:1;",
        "http.host; content:\"a\"; dotprefix; sid:1;",
        "http.host; to_uppercase; content:\"A\"; sid:1;",
        "http.uri; content:\"a\"; http.uri; sid:1;",
        "file_data; content:\"a\"; pcre:\"/^b/QR\"; sid:1;",
    ] {
        let (loaded, refused) = check_text(&format!("alert http any any -> any any ({options})"));
        assert_eq!((loaded.len(), refused.len()), (1, 0), "{options}");
    }
    for options in [
        "http.host; dotprefix; content:\".a\"; to_uppercase; content:\".A\"; sid:1;",
        "http.host; content:\"a\"; dotprefix; http.uri; content:\"p\"; sid:1;",
        "http.uri; content:\"a\"; pcre:\"/^b/QR\"; sid:1;",
    ] {
        let (loaded, refused) = check_text(&format!("alert http any any -> any any ({options})"));
        assert_eq!((loaded.len(), refused.len()), (0, 1), "{options}");
    }
}

#[test]
fn a_keyword_or_value_that_cannot_be_read_is_answered_with_what_is_meant_or_how_it_is_written() {
    let reason = |option: &str| {
        let rule = format!("alert tcp any any -> any any ({option}; sid:1;)");
        check_text(&rule).1.remove(0).reason.to_string()
    };
    for (option, said) in [
        (
            "http.urii",
            "unknown keyword 'http.urii': is 'http.uri' meant?",
        ),
        ("nonsense", "unknown keyword 'nonsense'"),
        (
            "smtp.mail_from",
            "keyword 'smtp.mail_from' is not supported: it is of Suricata 8; rules are read in Suricata 7's language",
        ),
        (
            "flowint:n,+,1",
            "keyword 'flowint': 'n' is no name: a letter and at least one more letter or digit; \
             write flowint:NAME,=|+|-|==|!=|<|<=|>|>=,N|NAME, or NAME,isset|notset",
        ),
        (
            "flags:Q",
            "keyword 'flags': 'Q' cannot be read; write flags:[+|*|!]FSRPAUEC0[,IGNORED]",
        ),
    ] {
        assert_eq!(reason(option), said);
    }
}

#[test]
fn what_reads_numbers_as_dcerpc_says_is_about_dcerpc() {
    let apps = |protocol: &str, options: &str| {
        let rule = format!("alert {protocol} any any -> any any ({options}; sid:1;)");
        let (loaded, _) = check_text(&rule);
        loaded.first().map(|signature| signature.apps)
    };
    let carriers = AppSet::of(&[AppProto::Dcerpc, AppProto::Smb]);
    for option in [
        "byte_test:4,>,0,0,dce",
        "byte_jump:2,0,dce",
        "byte_extract:1,2,v,dce",
    ] {
        assert_eq!(apps("tcp", option), Some(carriers), "{option}");
        assert_eq!(apps("http", option), None, "{option}");
    }
    assert_eq!(apps("tcp", "byte_jump:2,0,dce,from_end"), None);
}
