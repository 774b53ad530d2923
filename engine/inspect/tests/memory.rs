//! What memory depends on: signatures, not guests; connections that are open, not a capture's length.
#[allow(dead_code)]
mod dialogue;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

use dialogue::{segment, Dialogue};
use inspect::engine::{EventSink, Settings};
use inspect::policy::{Document, Policy};
use inspect::rule::{self, Variables};
use serde_json::json;

/// The system's allocator, counting this thread's bytes.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: every request goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` returns, how many bytes are held more after it, and how many more were at most.
fn measured<T>(work: impl FnOnce() -> T) -> (T, isize, isize) {
    let before = HELD.get();
    PEAK.set(before);
    let made = work();
    (made, HELD.get() - before, PEAK.get() - before)
}

struct Nowhere;

impl EventSink for Nowhere {
    fn event(&mut self, _severity: u8, _line: &[u8]) {}
}

/// Signatures as published ones are: each with words of its own, metadata and references that others have too.
fn rules(count: u32) -> String {
    let mut text = String::new();
    for sid in 1..=count {
        writeln!(
            text,
            r#"alert http $EXTERNAL_NET any -> $HOME_NET $HTTP_PORTS (msg:"EXPLOIT Attempt {sid}"; flow:established,to_server; http.method; content:"GET"; http.uri; content:"/page/{sid:05}/run"; nocase; fast_pattern; content:"cmd="; distance:0; http.header; content:"Agent: x{sid}"; pcre:"/cmd=[^&]{{{},}}/i"; reference:cve,2021-{sid:05}; classtype:web-application-attack; metadata:affected_product Web_Server, created_at 2021_01_01, severity Major; sid:{sid};)"#,
            sid % 40
        )
        .unwrap();
    }
    text
}

/// A policy with so many guests, each with a selection of its own of `selected` of the signatures.
fn policy(text: &[u8], guests: u32, selected: u32, of: u32) -> Policy {
    let guests: Vec<_> = (0..guests)
        .map(|number| {
            let sids: Vec<_> = (0..selected)
                .map(|at| 1 + (number * 37 + at * 7) % of)
                .collect();
            let assignment = json!({"rule_set": "t", "mode": "prevent", "sids": sids});
            json!({"name": format!("guest{number}"), "segment": "lab", "assignments": [assignment]})
        })
        .collect();
    let document = json!({
        "format": 1, "version": 1, "generation": 1,
        "rule_sets": [{"name": "t", "files": ["t.rules"]}],
        "guests": guests,
        "segments": [{"name": "lab"}],
    });
    let document = Document::parse(document.to_string().as_bytes()).expect("a document");
    let files = [("t.rules".to_owned(), text.to_vec())];
    let policy = Policy::compile(&document, &files).expect("a policy");
    assert!(policy.refused.is_empty(), "{:?}", policy.refused);
    policy
}

#[test]
fn two_hundred_guests_share_one_matcher() {
    let text = rules(3000);
    let held = |guests| measured(|| policy(text.as_bytes(), guests, 300, 3000)).1;
    let (one, many) = (held(1), held(200));
    println!("{one} bytes for one guest, {many} for 200");
    assert!(many * 10 <= one * 13, "{many} bytes against {one}");
}

#[test]
fn a_new_policy_beside_the_old_costs_its_own_size_and_the_old_one_is_freed_whole() {
    let text = rules(1000);
    // What is made once for the process is made before.
    drop(policy(text.as_bytes(), 1, 300, 1000));
    let (old, alone, _) = measured(|| policy(text.as_bytes(), 1, 300, 1000));
    let (new, more, peak) = measured(|| policy(text.as_bytes(), 1, 300, 1000));
    println!("{alone} bytes, at most {peak} while compiling");
    assert!(more * 100 <= alone * 101, "{more} bytes against {alone}");
    assert!(peak <= alone * 2, "{peak} bytes while compiling {alone}");
    let (_, freed, _) = measured(|| drop(old));
    assert!(-freed * 100 >= alone * 99, "{freed} of {alone}");
    drop(new);
}

/// A capture of so many connections, one after the other, each with a request and its answer.
fn capture(connections: u32) -> Vec<u8> {
    let mut file: Vec<u8> = [0xa1b2_c3d4u32, 0x0002_0004, 0, 0, 65_535, 101]
        .into_iter()
        .flat_map(u32::to_be_bytes)
        .collect();
    let body = vec![b'x'; 20_000];
    for number in 0..connections {
        let ends = (
            Ipv4Addr::from(0x0a00_0000 + number),
            Ipv4Addr::new(192, 0, 2, 1),
        );
        let mut send = |from_client: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]| {
            let packet = match from_client {
                true => segment(ends, (40_000, 80), seq, ack, flags, payload),
                false => segment((ends.1, ends.0), (80, 40_000), seq, ack, flags, payload),
            };
            let bytes = packet.len() as u32;
            for field in [1000 + number * 10, 0, bytes, bytes] {
                file.extend(field.to_be_bytes());
            }
            file.extend(packet);
        };
        let request = b"POST /page HTTP/1.1\r\nHost: web\r\nContent-Length: 20000\r\n\r\n";
        send(true, 99, 0, 0x02, b"");
        send(false, 499, 100, 0x12, b"");
        send(true, 100, 500, 0x10, request);
        let mut seq = 100 + request.len() as u32;
        for piece in body.chunks(1400) {
            send(true, seq, 500, 0x10, piece);
            seq += piece.len() as u32;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        send(false, 500, seq, 0x18, answer);
        let ack = 500 + answer.len() as u32;
        // Every other one is never closed, and ends by its timeout.
        if number % 2 == 0 {
            send(true, seq, ack, 0x11, b"");
            send(false, ack, seq + 1, 0x11, b"");
            send(true, seq + 1, ack + 1, 0x10, b"");
        }
    }
    file
}

#[test]
fn a_capture_four_times_as_long_takes_no_more_memory() {
    let variables = Variables::default();
    let files = [("t.rules".to_owned(), rules(20).into_bytes())];
    let (signatures, _) = rule::load(&files, &variables);
    let policy = Arc::new(Policy::offline(signatures, &variables));
    for settings in [Settings::offline(), Settings::offline_ips()] {
        let peak = |connections: u32| {
            let file = capture(connections);
            let run = || inspect::replay::run(&file[..], &policy, &settings, &mut Nowhere);
            let (ran, held, peak) = measured(run);
            assert!(matches!(ran, Ok((1.., None))), "{ran:?}");
            assert!(held < 1000, "{held} bytes left behind");
            peak
        };
        // Longer than the longest timeout, so that as many connections are open as ever will be.
        let (short, long) = (peak(150), peak(600));
        println!("{short} bytes for a short capture, {long} for a long one");
        assert!(long * 20 <= short * 21, "{long} bytes against {short}");
    }
}

#[test]
fn a_connection_that_closed_is_remembered_without_what_only_more_bytes_would_need() {
    let rule = r#"alert tcp any any -> any any (content:"never sent"; sid:1;)"#;
    let held = |closes: bool| {
        let mut dialogue = Dialogue::open(dialogue::policy(rule, "prevent", json!({})));
        let talk = || {
            dialogue.client(b"GET /page HTTP/1.1\r\nHost: web\r\n\r\n");
            dialogue.server(
                &[
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n",
                    &[b'x'; 1024][..],
                ]
                .concat(),
            );
            if closes {
                let (client, server) = dialogue.sequences();
                dialogue.raw(false, server, client, 0x11, b"");
                dialogue.raw(true, client, server + 1, 0x11, b"");
                dialogue.raw(false, server + 1, client + 1, 0x10, b"");
            }
            dialogue.engine.flow_count()
        };
        let (flows, held, _) = measured(talk);
        assert_eq!(flows, 1);
        held
    };
    let (open, closed) = (held(false), held(true));
    println!("{open} bytes while open, {closed} once closed");
    // what was sent stands in either once, for comparing
    assert!(open < 1600, "{open}");
    assert!(closed + 300 <= open, "{closed} bytes against {open}");
}

#[test]
fn a_connection_that_is_kept_alive_holds_no_room_for_requests_to_come() {
    let rule = r#"alert http any any -> any any (http.stat_code; content:"999"; sid:1;)"#;
    let mut dialogue = Dialogue::open(dialogue::policy(rule, "prevent", json!({})));
    let mut talk = || {
        dialogue.client(b"GET /page HTTP/1.1\r\nHost: web\r\n\r\n");
        let asked = HELD.get();
        dialogue.server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        asked - HELD.get()
    };
    talk();
    let (request, held, _) = measured(talk);
    println!("{request} bytes of a request that is open, {held} more after another one");
    assert!(request > 1000 && held < 300, "{request} and {held} bytes");
}

#[test]
fn an_upload_that_is_over_is_not_held_for_a_minute() {
    let rule = r#"alert tcp any any -> any any (content:"never sent"; sid:1;)"#;
    let mut dialogue = Dialogue::open(dialogue::policy(rule, "prevent", json!({})));
    let talk = || {
        dialogue.client(b"POST /page HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\n");
        for _ in 0..50 {
            assert!(!dialogue.client(&[b'x'; 20_000]).block);
        }
        dialogue.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let (client, server) = dialogue.sequences();
        dialogue.raw(true, client, server, 0x11, b"");
        dialogue.raw(false, server, client + 1, 0x11, b"");
        dialogue.raw(true, client + 1, server + 1, 0x10, b"");
        // what was acknowledged last may be sent again
        assert!(
            !dialogue
                .raw(true, client - 1000, server, 0x18, &[b'x'; 1000])
                .block
        );
        dialogue.engine.flow_count()
    };
    let (flows, held, _) = measured(talk);
    assert_eq!(flows, 1);
    println!("{held} bytes of an upload of a megabyte");
    assert!(held < 150_000, "{held} bytes");
}
