//! Evaluating a packet, stream bytes or a quiet transaction allocates nothing once the work space is warm.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use inspect::app::http::{Progress, Transaction};
use inspect::app::AppProto;
use inspect::detect::{
    Context, FlowState, FlowView, Matcher, PacketView, Scratch, SharedState, Side, StreamView,
    TcpView,
};
use inspect::rule::{self, Variables};
use inspect::wire::PacketEvents;
use inspect::Direction;

/// The system's allocator, counting this thread's requests.
struct Counting;

thread_local! {
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every request goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.set(REQUESTS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        REQUESTS.set(REQUESTS.get() + 1);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RULES: &str = r#"
alert tcp any any -> any any (content:"needle"; content:"thread"; distance:0; within:20; sid:1;)
alert tcp any any -> any any (content:"needle"; nocase; pcre:"/needle\s+\d+/Ri"; sid:2;)
alert tcp any any -> any any (dsize:>1000; flags:PA; sid:3;)
alert ip [10.0.0.0/8,!10.9.0.0/16] any -> any any (sid:4;)
alert http any any -> any any (http.uri; content:"/never"; http.header; content:"x"; sid:5;)
alert http any any -> any any (http.uri; url_decode; content:"/elsewhere"; sid:6;)
"#;

#[test]
fn evaluation_allocates_nothing_once_warm() {
    let (signatures, refused) = rule::check(&[("test.rules".into(), RULES.into())]);
    assert!(refused.is_empty(), "{refused:?}");
    let matcher = Matcher::compile(signatures, &Variables::default());
    let [client, server] =
        [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)].map(IpAddr::V4);
    let flow_view = FlowView {
        client,
        client_port: 40_000,
        server,
        server_port: 80,
        ip_proto: 6,
        established: true,
        was_established: true,
        app: Some(AppProto::Http),
        app_done: true,
        app_foreign: false,
        followed: true,
        app_news: true,
        stream_bytes: [0; 2],
        age_s: 0,
    };
    let payload = b"a needle and no threat, another Needle and nothing else".repeat(8);
    let packet = PacketView {
        direction: Direction::ToServer,
        src: client,
        dst: server,
        src_port: 40_000,
        dst_port: 80,
        ip_proto: 6,
        ttl: 64,
        ip_id: None,
        fragment_bits: 0,
        fragment_offset: 0,
        tcp: Some(TcpView::default()),
        icmp: None,
        payload: &payload,
        hidden_bytes: 0,
        events: PacketEvents::NONE,
        undecoded: false,
        in_stream: false,
        stream_news: false,
        pseudo: false,
        closing: false,
        wire: None,
        defragmented: false,
    };
    let shared = SharedState::default();
    let context = Context {
        now_ns: 0,
        flow: Some(&flow_view),
        packet: &packet,
        sides: &[Side::OFFLINE],
        at_once: true,
        shared: &shared,
    };
    let stream = StreamView {
        offset: 0,
        bytes: &payload,
        seen_before: 0,
        last: false,
    };
    let mut scratch = Scratch::default();
    let mut flow = FlowState::default();
    let mut tx = Transaction::default();
    tx.request.uri = b"/index.html".to_vec();
    tx.request.progress = Progress::Headers;
    let mut once = || {
        scratch.begin();
        matcher.packet(&context, &mut flow, &mut scratch);
        matcher.stream(&context, &mut flow, &stream, &mut scratch);
        matcher.transaction(&context, &mut flow, &mut tx, &mut scratch);
        matcher.finish(&context, &mut flow, &mut scratch);
        scratch.hits().len()
    };
    for _ in 0..3 {
        once();
    }
    let before = REQUESTS.get();
    for _ in 0..100 {
        assert_eq!(once(), 0);
    }
    assert_eq!(REQUESTS.get() - before, 0);
}
