//! Whole flows.
use proptest::prelude::*;

use super::*;
use crate::app::{Parser, Transaction as _};
use crate::Direction::{self, ToClient, ToServer};

fn payload(next: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16 + 4).to_be_bytes();
    [&[next, 0][..], &len, body].concat()
}

fn message(version: u8, next: u8, exchange: u8, flags: u8, payloads: &[u8]) -> Vec<u8> {
    let len = (28 + payloads.len() as u32).to_be_bytes();
    let header = [
        &[0xaa; 8][..],
        &[0xbb; 8],
        &[next, version, exchange, flags, 0, 0, 0, 7],
        &len,
    ];
    [&header.concat()[..], payloads].concat()
}

/// A message of version 1 with an association of so many transforms, a key exchange, a nonce and a vendor.
fn version1(transforms: usize) -> Vec<u8> {
    let attributes =
        b"\x80\x01\x00\x07\x80\x04\x00\x02\x00\x0c\x00\x04\x00\x01\x51\x80\x00\x03\x00\x01x";
    let transform = payload(3, &[&[1, 1, 0, 0][..], attributes].concat());
    let transforms: Vec<u8> = (0..transforms).flat_map(|_| transform.clone()).collect();
    let proposal = payload(0, &[&[1, 1, 0, 1][..], &transforms].concat());
    let association = [&[0, 0, 0, 1, 0, 0, 0, 1][..], &proposal].concat();
    let all = [
        payload(4, &association),
        payload(10, b"key"),
        payload(13, b"nonce"),
        payload(0, b"\x4a\x13"),
    ];
    message(0x10, 1, 2, 0, &all.concat())
}

/// A message of version 2 with one proposal of these transforms.
fn version2(protocol: u8, transforms: &[(u8, u16)]) -> Vec<u8> {
    let transforms: Vec<u8> = transforms
        .iter()
        .flat_map(|(kind, number)| {
            let number = number.to_be_bytes();
            payload(3, &[*kind, 0, number[0], number[1]])
        })
        .collect();
    let proposal = payload(0, &[&[1, protocol, 0, 1][..], &transforms].concat());
    message(0x20, 33, 34, 0x20, &payload(0, &proposal))
}

fn seen(messages: &[(Direction, Vec<u8>)]) -> Vec<Transaction> {
    let mut connection = Connection::default();
    let mut all = Vec::new();
    for (direction, bytes) in messages {
        connection.feed(*direction, bytes);
        while let Some(tx) = connection.transactions_mut().pop_finished() {
            all.push(crate::app::of::<Transaction>(tx.as_ref()).unwrap().clone());
        }
    }
    assert!(connection.heap_bytes() < 100_000);
    all
}

#[test]
fn reads_what_version_1_proposes() {
    let datagram = version1(1);
    assert!(is_datagram(&datagram, (500, 500)) && !is_datagram(&datagram, (53, 9)));
    let tx = &seen(&[(ToClient, datagram)])[0];
    assert_eq!(tx.initiator(), "aaaaaaaaaaaaaaaa");
    assert_eq!(
        (&tx.key_exchange[..], &tx.nonce[..]),
        (&b"key"[..], &b"nonce"[..])
    );
    assert_eq!(tx.vendors, ["4a13"]);
    let numbers: Vec<_> = tx.transforms[0]
        .iter()
        .map(|it| (it.name(), it.number))
        .collect();
    let wanted = [
        ("alg_enc", Some(7)),
        ("alg_dh", Some(2)),
        ("sa_life_duration", Some(86_400)),
        ("alg_auth", None),
    ];
    assert_eq!(numbers, wanted);
    assert_eq!(tx.payloads, [1, 2, 3, 4, 10, 13]);
    assert!(tx.head().events.is_empty());
}

#[test]
fn notes_what_is_weak_or_missing() {
    const STRONG: [(u8, u16); 4] = [(1, 12), (2, 5), (3, 12), (4, 14)];
    let rows: &[(&[&str], Vec<u8>)] = &[
        (&[], version2(1, &STRONG)),
        (&[], version2(1, &[(1, 20), (2, 5), (4, 31)])),
        (&[NO_ENCRYPTION], version2(2, &STRONG)),
        (
            &[WEAK_CRYPTO_ENC],
            version2(1, &[(1, 3), (2, 5), (3, 12), (4, 14)]),
        ),
        (
            &[WEAK_CRYPTO_PRF],
            version2(1, &[(1, 12), (2, 1), (3, 12), (4, 14)]),
        ),
        (
            &[WEAK_CRYPTO_AUTH],
            version2(1, &[(1, 12), (2, 5), (3, 2), (4, 14)]),
        ),
        (
            &[WEAK_CRYPTO_DH],
            version2(1, &[(1, 12), (2, 5), (3, 12), (4, 2)]),
        ),
        (
            &[INVALID_PROPOSAL],
            version2(1, &[(1, 12), (2, 0), (3, 12), (4, 14)]),
        ),
        (
            &[UNKNOWN_PROPOSAL],
            version2(1, &[(9, 1), (1, 12), (3, 12), (4, 14)]),
        ),
        (
            &[WEAK_CRYPTO_NO_DH, WEAK_CRYPTO_NO_AUTH],
            version2(1, &[(1, 12)]),
        ),
        (&[MALFORMED_DATA], message(0x20, 33, 34, 0, &[0, 0, 0, 1])),
        (&[MULTIPLE_SERVER_PROPOSAL], version1(2)),
        (&[PAYLOAD_EXTRA_DATA], [version1(1), vec![0; 3]].concat()),
    ];
    for (wanted, datagram) in rows {
        assert_eq!(
            seen(&[(ToClient, datagram.clone())])[0].head().events[..],
            **wanted
        );
    }
}

#[test]
fn an_encrypted_message_is_not_read() {
    let tx = &seen(&[(ToServer, message(0x10, 5, 2, 1, b"\x00\x01\x02"))])[0];
    assert_eq!(
        (tx.payloads.as_slice(), tx.head().events.len()),
        (&[5][..], 0)
    );
}

proptest! {
    #[test]
    fn any_bytes_never_panic_and_stay_within_the_bound(
        datagrams in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<Vec<u8>>()), 0..9),
    ) {
        let datagrams: Vec<_> = datagrams.into_iter().map(|(to_server, first, bytes)| {
            let direction = if to_server { ToServer } else { ToClient };
            let datagram = match first {
                true => message(0x10, 1, 2, 0, &bytes),
                false => message(0x20, 33, 34, 0, &bytes),
            };
            (direction, datagram)
        }).collect();
        for tx in seen(&datagrams) {
            prop_assert!(tx.heap_bytes() < 20_000);
        }
    }

    #[test]
    fn damaged_messages_never_panic(at in 0_usize..110, to: u8) {
        for mut datagram in [version1(2), version2(1, &[(1, 12), (4, 2)])] {
            let at = at.min(datagram.len() - 1);
            datagram[at] = to;
            let _ = is_datagram(&datagram, (500, 1));
            seen(&[(ToServer, datagram.clone()), (ToClient, datagram)]);
        }
    }
}
