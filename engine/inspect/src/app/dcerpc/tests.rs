use proptest::prelude::*;

use super::*;
use crate::app::{of, Parser};
use crate::Direction::{ToClient, ToServer};

const SVCCTL: &[u8; 16] = b"\x81\xbb\x7a\x36\x44\x98\xf1\x35\xad\x32\x98\xf0\x38\x00\x10\x03";

fn unit(kind: u8, flags: u8, call: u32, body: &[u8]) -> Vec<u8> {
    let mut unit = vec![5, 0, kind, flags, 0x10, 0, 0, 0];
    unit.extend((16 + body.len() as u16).to_le_bytes());
    unit.extend([0; 2]);
    unit.extend(call.to_le_bytes());
    unit.extend_from_slice(body);
    unit
}

fn bind() -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend([1, 0, 0, 0, 0, 0, 1, 0]);
    body.extend(SVCCTL);
    body.extend([2, 0, 0, 0]);
    body.extend([0; 20]);
    unit(11, 3, 1, &body)
}

fn bind_ack() -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend([4, 0]);
    body.extend(*b"135\0\0\0");
    body.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    body.extend([0; 20]);
    unit(12, 3, 1, &body)
}

fn request(flags: u8, stub: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, 0, 0, 15, 0];
    body.extend_from_slice(stub);
    unit(0, flags, 2, &body)
}

fn shown(connection: &Connection) -> Vec<String> {
    let store = connection.transactions();
    let ids = store.ids();
    ids.filter_map(|id| of::<Transaction>(store.find(id)?))
        .map(|tx| format!("{tx:?}"))
        .collect()
}

fn last(connection: &Connection) -> &Transaction {
    let store = connection.transactions();
    let last = store.find(store.ids().end - 1).expect("a transaction");
    of(last).expect("DCE/RPC's")
}

#[test]
fn fragments_of_one_call_are_joined() {
    let mut connection = Connection::default();
    connection.feed(ToServer, &bind());
    connection.feed(ToClient, &bind_ack());
    connection.feed(ToServer, &request(1, b"argu"));
    connection.feed(ToServer, &request(2, b"ment"));
    let tx = last(&connection);
    assert_eq!((tx.opnum, tx.stub[0].as_slice()), (15, &b"argument"[..]));
    let interface = tx.interfaces[0].interface;
    assert_eq!(
        (
            uuid_text(&interface.uuid).as_str(),
            interface.major,
            interface.ack
        ),
        ("367abb81-9844-35f1-ad32-98f038001003", 2, Some((0, 0)))
    );
}

#[test]
fn after_a_gap_the_next_data_unit_is_found() {
    let mut connection = Connection::default();
    connection.feed(ToServer, &bind()[..20]);
    connection.gap(ToServer, 100);
    connection.feed(ToServer, b"\x05\x00rest of what was lost");
    connection.feed(ToServer, &request(3, b"x"));
    assert_eq!(last(&connection).opnum, 15);
}

#[test]
fn datagrams_of_one_sequence_number_are_one_call() {
    let mut datagram = vec![4, 0, 0x08, 0, 0x10, 0, 0, 0];
    datagram.extend([0; 16]);
    datagram.extend(SVCCTL);
    datagram.extend([7; 16]);
    datagram.extend([0; 4]);
    datagram.extend(2_u32.to_le_bytes());
    datagram.extend(9_u32.to_le_bytes());
    datagram.extend([15, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0]);
    datagram.extend(b"stub");
    assert!(is_udp(&datagram));
    let mut exchange = Exchange::default();
    exchange.feed(ToServer, &datagram);
    datagram[1] = 2;
    exchange.feed(ToClient, &datagram);
    let store = exchange.transactions();
    assert_eq!(store.ids(), 0..1);
    let tx: &Transaction = of(store.find(0).expect("a call")).expect("DCE/RPC's");
    assert_eq!((tx.call, tx.opnum, tx.done), (9, 15, [true; 2]));
    assert_eq!(tx.stub, [b"stub".to_vec(), b"stub".to_vec()]);
}

proptest! {
    #[test]
    fn any_splitting_gives_the_same_transactions(step in 1_usize..80) {
        let bytes = [bind(), request(1, b"argu"), request(2, b"ment"), request(3, b"more")].concat();
        let mut whole = Connection::default();
        whole.feed(ToServer, &bytes);
        let mut split = Connection::default();
        bytes.chunks(step).for_each(|piece| {
            split.feed(ToServer, piece);
        });
        let pick = |connection: &Connection| {
            shown(connection).iter().map(|it| it.split("stages").next().unwrap_or("").to_string()).collect::<Vec<_>>()
        };
        prop_assert_eq!(pick(&whole), pick(&split));
        prop_assert_eq!(&last(&whole).stub, &last(&split).stub);
    }

    #[test]
    fn any_bytes_never_panic_and_stay_within_the_bound(
        units in prop::collection::vec((any::<bool>(), 0_u8..22, any::<u8>(), prop::collection::vec(any::<u8>(), 0..90)), 0..60),
        junk: Vec<u8>,
    ) {
        let mut connection = Connection::default();
        for (response, kind, flags, body) in &units {
            let way = if *response { ToClient } else { ToServer };
            connection.feed(way, &unit(*kind, *flags, 1, body));
        }
        connection.gap(ToServer, 5);
        connection.feed(ToServer, &junk);
        connection.close(ToServer);
        prop_assert!(connection.heap_bytes() < 4 << 20);
        let mut exchange = Exchange::default();
        exchange.feed(ToServer, &junk);
    }
}
