use super::*;
use crate::wire::{messages, Builder, MSG_PACKET};
use proptest::prelude::*;

/// A packet message as the kernel of the development machines sends it, with every attribute we read.
fn good_message(payload: &[u8]) -> Vec<u8> {
    let mut builder = Builder::default();
    let start = builder.begin(MSG_PACKET, 0, 0, 5);
    builder.attribute(NFQA_PACKET_HDR, &[0, 0, 0, 9, 0x08, 0x00, 2]);
    builder.attribute(NFQA_IFINDEX_INDEV, &3u32.to_be_bytes());
    builder.attribute(NFQA_IFINDEX_PHYSINDEV, &4u32.to_be_bytes());
    builder.attribute(NFQA_IFINDEX_OUTDEV, &3u32.to_be_bytes());
    builder.attribute(NFQA_IFINDEX_PHYSOUTDEV, &6u32.to_be_bytes());
    builder.attribute(NFQA_MARK, &0x0080_0401_u32.to_be_bytes());
    builder.attribute(NFQA_HWADDR, &[0, 6, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0]);
    builder.attribute(
        NFQA_VLAN | 0x8000,
        &[6, 0, 1, 0, 0x81, 0, 0, 0, 6, 0, 2, 0, 0x20, 7, 0, 0],
    );
    builder.attribute(NFQA_L2HDR, &[0xff; 14]);
    builder.attribute(NFQA_SKB_INFO, &(SKB_CSUM_NOT_READY | SKB_GSO).to_be_bytes());
    let mut time = [0; 16];
    time[7] = 2;
    time[15] = 5;
    builder.attribute(NFQA_TIMESTAMP, &time);
    builder.attribute(
        NFQA_CT | 0x8000,
        &[8, 0, 8, 0, 0x80, 0, 0, 1, 6, 0, 18, 0, 0, 7, 0, 0],
    );
    builder.attribute(NFQA_CAP_LEN, &70_000u32.to_be_bytes());
    builder.attribute(NFQA_PAYLOAD, payload);
    builder.finish(start);
    builder.bytes().to_vec()
}

fn read_one(datagram: &[u8]) -> Option<QueuedPacket<'_>> {
    messages(datagram)
        .next()
        .and_then(|message| read(message.body))
}

#[test]
fn reads_every_attribute() {
    let message = good_message(&[0x45, 0, 0, 4]);
    let packet = read_one(&message).unwrap();
    assert_eq!((packet.id, packet.hw_protocol, packet.hook), (9, 0x0800, 2));
    assert_eq!(
        (packet.in_dev, packet.out_dev),
        (4, 6),
        "bridge ports, not the bridge"
    );
    assert_eq!(packet.mark, 0x0080_0401);
    assert_eq!(packet.src_mac, Some([2, 0, 0, 0, 0, 1]));
    assert_eq!(
        packet.vlan,
        Some(Vlan {
            protocol: 0x8100,
            tci: 0x2007
        })
    );
    assert_eq!(packet.l2_header, Some(&[0xff; 14][..]));
    assert!(packet.gso && !packet.checksum_ready);
    assert_eq!(packet.timestamp_ns, Some(2_000_005_000));
    assert_eq!(
        (packet.ct_mark, packet.ct_zone),
        (Some(0x8000_0001), Some(7))
    );
    assert_eq!((packet.payload.len(), packet.original_len), (4, 70_000));
    assert!(packet.truncated());
}

#[test]
fn flags_a_payload_shorter_than_its_ip_header_claims() {
    let rows: [(bool, &[u8]); 7] = [
        (false, &[0x45, 0, 0, 4]),
        (true, &[0x45, 0, 0, 5]),
        (true, &[0x45, 0, 0]),
        (true, &[0x60, 0, 0, 0, 0, 0]),
        (true, &[]),
        (false, &[0x00]),
        // BIG TCP leaves the length 0; then only the captured length can tell.
        (false, &[0x45, 0, 0, 0]),
    ];
    let message = good_message(&[]);
    for (truncated, payload) in rows {
        let packet = QueuedPacket {
            payload,
            original_len: payload.len(),
            ..read_one(&message).unwrap()
        };
        assert_eq!(packet.truncated(), truncated, "{payload:02x?}");
    }
}

#[test]
fn every_prefix_of_a_datagram_reads_as_a_shorter_packet_or_none() {
    let payload: Vec<u8> = (0..100).collect();
    let message = good_message(&payload);
    for end in 0..message.len() {
        if let Some(packet) = read_one(&message[..end]) {
            assert_eq!(packet.id, 9);
            assert!(packet.payload.len() < payload.len());
            assert!(payload.starts_with(packet.payload));
        }
    }
}

#[test]
fn a_cut_datagram_is_truncated_even_without_a_captured_length() {
    let mut payload = vec![0; 100];
    payload[0] = 0x45;
    payload[3] = 100;
    let mut builder = Builder::default();
    let start = builder.begin(MSG_PACKET, 0, 0, 5);
    builder.attribute(NFQA_PACKET_HDR, &[0, 0, 0, 9, 0x08, 0x00, 2]);
    builder.attribute(NFQA_PAYLOAD, &payload);
    builder.finish(start);
    let message = builder.bytes();
    assert!(!read_one(message).unwrap().truncated());
    assert!(read_one(&message[..message.len() - 1]).unwrap().truncated());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for message in messages(&bytes) {
            if let Some(packet) = read(message.body) {
                let _ = packet.truncated();
                prop_assert!(packet.payload.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_damaged_message_is_read_or_refused_without_panic(
        at in 0usize..200, value in any::<u8>(), end in 0usize..300,
    ) {
        let mut message = good_message(&[0x45; 60]);
        let at = at % message.len();
        message[at] = value;
        message.truncate(end.max(1));
        for message in messages(&message) {
            if let Some(packet) = read(message.body) {
                let _ = packet.truncated();
            }
        }
    }
}
