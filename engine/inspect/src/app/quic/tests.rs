//! Whole flows.
use proptest::prelude::*;

use super::keys::{tests::seal, Keys};
use super::*;
use crate::app::{Parser, Transaction as _};
use crate::Direction::{self, ToClient, ToServer};

const ID: &[u8] = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08";

/// A client's hello in a handshake message.
fn hello() -> Vec<u8> {
    let sni = b"\0\0\0\x0e\0\x0c\0\0\x09a.example";
    let versions = b"\0\x2b\0\x03\x02\x03\x04";
    let extensions = [&sni[..], versions].concat();
    let fixed = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
    let len = (extensions.len() as u16).to_be_bytes();
    let body = [&fixed[..], &len, &extensions].concat();
    let len = (body.len() as u32).to_be_bytes();
    [&[1][..], &len[1..], &body].concat()
}

fn crypto(offset: usize, bytes: &[u8]) -> Vec<u8> {
    [&[6, 0x40, offset as u8, 0x40, bytes.len() as u8][..], bytes].concat()
}

/// An Initial packet of version 1 with these frames.
fn initial(direction: Direction, frames: &[u8]) -> Vec<u8> {
    let frames = [frames, &[0; 20]].concat();
    let keys = Keys::new(1, ID).unwrap();
    let len = (1 + frames.len() + 16) as u16 | 0x4000;
    let mut header = [&[0xc0, 0, 0, 0, 1, 8][..], ID, &[0, 0], &len.to_be_bytes()].concat();
    let mut body = seal(&keys, direction, &header, &frames);
    header[0] ^= body.pop().unwrap() & 0x0f;
    [header, body].concat()
}

fn seen(connection: &mut Connection) -> Vec<Transaction> {
    let mut all = Vec::new();
    while let Some(tx) = connection.transactions_mut().pop_finished() {
        all.push(crate::app::of::<Transaction>(tx.as_ref()).unwrap().clone());
    }
    all
}

#[test]
fn puts_a_hello_together_from_pieces_in_any_order() {
    let hello = hello();
    let (start, end) = hello.split_at(20);
    let pieces = [crypto(20, end), crypto(0, start)];
    for packets in [
        vec![initial(ToServer, &pieces.concat())],
        vec![initial(ToServer, &pieces[0]), initial(ToServer, &pieces[1])],
        vec![[initial(ToServer, &pieces[1]), initial(ToServer, &pieces[0])].concat()],
    ] {
        let mut connection = Connection::default();
        assert!(is_datagram(&packets[0], (4000, 4433)));
        for packet in &packets {
            connection.feed(ToServer, packet);
        }
        let all = seen(&mut connection);
        let last = all.last().unwrap();
        assert_eq!(last.sni.as_deref(), Some(&b"a.example"[..]));
        assert_eq!(last.ja3.as_ref().unwrap().string, "771,4865,0-43,,");
        assert!(last.ja4().unwrap().starts_with("q13d0102"));
        assert!(all.iter().all(|tx| tx.head().events.is_empty()));
    }
}

#[test]
fn notes_what_is_odd() {
    let mut damaged = initial(ToServer, &crypto(0, &hello()));
    *damaged.last_mut().unwrap() ^= 1;
    let rows: &[(&str, Vec<u8>)] = &[
        (FAILED_DECRYPT, damaged),
        (ERROR_ON_DATA, initial(ToServer, &[6, 0, 0x7f])),
        (
            CRYPTO_FRAG_TOO_LONG,
            initial(ToServer, &[6, 0x80, 1, 0, 0, 1, 9]),
        ),
    ];
    for (wanted, packet) in rows {
        let mut connection = Connection::default();
        connection.feed(ToServer, packet);
        assert_eq!(seen(&mut connection)[0].head.events[..], [*wanted]);
    }
}

#[test]
fn reads_google_s_hello() {
    let entries = [(b"SNI\0", 9_u32), (b"UAID", 15)]
        .map(|(tag, end)| [&tag[..], &end.to_le_bytes()].concat());
    let message = [
        &b"CHLO\x02\0\0\0"[..],
        &entries.concat(),
        b"a.exampleChrome",
    ]
    .concat();
    let stream = [
        &[0xa0, 1][..],
        &(message.len() as u16).to_be_bytes(),
        &message,
    ]
    .concat();
    let header = [&[0xc0][..], b"Q046", &[0x50], ID, &[0; 16]].concat();
    let mut connection = Connection::default();
    let packet = [header, stream].concat();
    assert!(is_datagram(&packet, (4000, 4433)));
    connection.feed(ToServer, &packet);
    let tx = &seen(&mut connection)[0];
    assert_eq!(tx.sni.as_deref(), Some(&b"a.example"[..]));
    assert_eq!(tx.user_agent.as_deref(), Some(&b"Chrome"[..]));
    assert_eq!(tx.cyu[0].string, "46,SNI-UAID");
}

#[test]
fn other_datagrams_are_none_of_quic_s() {
    for datagram in [&b""[..], b"GET / HTTP/1.1", &[0xc0; 40], &[0x40; 40]] {
        assert!(!is_datagram(datagram, (4000, 4433)));
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic_and_stay_within_the_bound(
        datagrams in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<Vec<u8>>()), 0..20),
    ) {
        let mut connection = Connection::default();
        for (to_server, sealed, bytes) in datagrams {
            let direction = if to_server { ToServer } else { ToClient };
            let datagram = if sealed { initial(direction, &bytes) } else { bytes };
            let _ = is_datagram(&datagram, (1, 443));
            connection.feed(direction, &datagram);
            seen(&mut connection);
        }
        prop_assert!(connection.heap_bytes() < 400_000);
    }

    #[test]
    fn damaged_packets_never_panic(at in 0_usize..120, to: u8) {
        let mut packet = initial(ToServer, &crypto(0, &hello()));
        let at = at.min(packet.len() - 1);
        packet[at] = to;
        Connection::default().feed(ToServer, &packet);
    }
}
