//! Bytes nobody meant well, in pieces nobody chose: nothing panics, nothing grows without bound.

use inspect::app::http::{buffers, Connection, Settings};
use inspect::app::Parser as _;
use inspect::Direction::{self, ToClient, ToServer};
use proptest::prelude::*;

/// Pieces that take the parser somewhere, mixed with noise.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"HEAD / HTTP/1.0\r\n",
        b"GET /\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 S\r\n\r\n",
        b"HTTP/1.1 304 N\r\n",
        b"HTTP/1.1 407 N\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Content-Encoding: deflate, br\r\n",
        b"Content-Encoding: br\r\n",
        b" folded\r\n",
        b"no colon\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" \n",
        b"\n\r\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"7fffffff\r\n",
        b"80000000\r\n",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
        b"\x1f\x8b\x08\xff\x00\x00\x00\x00\x00\x03\xff\xff",
        b"\x78\x9c\x4b\x4c\x04\x02\x00",
        b"\x4b\x4c\x04\x02\x00",
        b"\x0b\x00\x80aa\x03",
        b"\0",
        b"%u00",
        b"/..",
    ];
    prop_oneof![
        4 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Feed(Direction, Vec<u8>),
    Gap(Direction, u64),
    Close(Direction),
    Pop,
}

fn step() -> impl Strategy<Value = Step> {
    let direction = prop_oneof![Just(ToServer), Just(ToClient)];
    let bytes = proptest::collection::vec(fragment(), 1..8).prop_map(|pieces| pieces.concat());
    prop_oneof![
        20 => (direction.clone(), bytes).prop_map(|(direction, bytes)| Step::Feed(direction, bytes)),
        2 => (direction.clone(), prop_oneof![0..20_u64, Just(u64::MAX / 4)]).prop_map(|(direction, len)| Step::Gap(direction, len)),
        1 => direction.prop_map(Step::Close),
        4 => Just(Step::Pop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_dialogue_panics_or_grows(steps in proptest::collection::vec(step(), 0..60)) {
        let settings = Settings {
            request_depth_bytes: 1000,
            response_depth_bytes: 1000,
            field_limit_bytes: 100,
            header_block_bytes: 500,
            header_fields: 10,
            open_transactions: 4,
            bomb_bytes: 1000,
            ..Settings::default()
        };
        let mut connection = Connection::new(settings);
        let mut out = Vec::new();
        for step in steps {
            let touched = match step {
                Step::Feed(direction, bytes) => connection.feed(direction, &bytes),
                Step::Gap(direction, len) => connection.gap(direction, len),
                Step::Close(direction) => connection.close(direction),
                Step::Pop => {
                    while connection.pop_finished().is_some() {}
                    0..0
                }
            };
            prop_assert!(touched.end - touched.start <= 8);
            prop_assert!(connection.transactions().len() <= 4);
            // Inflate's state and brotli's window (up to 4 MiB) are what a hostile body can make it hold.
            prop_assert!(connection.heap_bytes() < 5 << 20);
            for tx in connection.transactions() {
                for direction in [ToServer, ToClient] {
                    out.clear();
                    buffers::start(tx, direction, &mut out);
                    buffers::header_block(buffers::headers(tx, direction), direction, &mut out);
                    buffers::header_names(buffers::headers(tx, direction), &mut out);
                    buffers::cookie(tx, direction, &mut out);
                }
                for body in [&tx.request.body, &tx.response.body] {
                    prop_assert!(body.file.bytes.len() <= 1000 && body.file.bytes.len() as u64 <= body.file.seen);
                }
            }
        }
        connection.close(ToServer);
        connection.close(ToClient);
        while connection.pop_finished().is_some() {}
        prop_assert_eq!(connection.transactions().len(), 0);
        prop_assert!(connection.is_opaque(ToServer) && connection.is_opaque(ToClient));
    }
}
