use std::net::IpAddr;

use proptest::prelude::*;

use super::testing::{ip4_fragment, ip6_fragment, udp};
use super::*;

const S: u64 = 1_000_000_000;

fn ends(v6: bool) -> (IpAddr, IpAddr) {
    match v6 {
        true => ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()),
        false => ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()),
    }
}

fn fragment(v6: bool, id: u32, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = ends(v6);
    match v6 {
        true => ip6_fragment(source, destination, proto::UDP, id, offset, more, payload),
        false => ip4_fragment(
            source,
            destination,
            proto::UDP,
            id as u16,
            offset,
            more,
            payload,
        ),
    }
}

fn defragmenter(policy: DefragPolicy) -> Defragmenter {
    Defragmenter::new(policy, DefragLimits::default())
}

/// What follows the whole packet's IP header, or what else came back.
fn push(
    defragmenter: &mut Defragmenter,
    zone: u64,
    bytes: &[u8],
    now_ns: u64,
) -> Result<Option<Vec<u8>>, DefragEvent> {
    match defragmenter.push(zone, &decode_ip(bytes).checked().unwrap(), now_ns) {
        Reassembly::Waiting => Ok(None),
        Reassembly::Refused(event) => Err(event),
        Reassembly::Whole(whole) => Ok(Some(
            whole[if whole[0] >> 4 == 4 { 20 } else { 40 }..].to_vec(),
        )),
        Reassembly::NotAFragment => panic!("not a fragment"),
    }
}

#[test]
fn a_fragmented_datagram_decodes_like_the_whole_one() {
    for v6 in [false, true] {
        let (source, destination) = ends(v6);
        let whole = udp((source, 5).into(), (destination, 53).into(), &[7; 100]);
        let datagram = decode_ip(&whole).checked().unwrap().segment().to_vec();
        let mut defragmenter = defragmenter(DefragPolicy::Strict);
        for (offset, more, part) in [
            (48, false, &datagram[48..]),
            (0, true, &datagram[..16]),
            (16, true, &datagram[16..48]),
        ] {
            let bytes = fragment(v6, 9, offset, more, part);
            let packet = decode_ip(&bytes).checked().unwrap();
            assert!(matches!(packet.transport, Transport::Fragment(_)));
            if offset != 16 {
                assert_eq!(defragmenter.push(1, &packet, 0), Reassembly::Waiting);
                continue;
            }
            let Reassembly::Whole(whole) = defragmenter.push(1, &packet, 0) else {
                panic!("not whole")
            };
            let packet = decode_ip(whole).checked().unwrap();
            assert_eq!(
                (packet.ports(), packet.payload),
                (Some((5, 53)), &[7; 100][..])
            );
            assert_eq!(transport_checksum_ok(&packet), Some(true));
            if let Network::V4(ip) = packet.network {
                assert!(ipv4_header_checksum_ok(&ip));
            }
        }
        assert_eq!(
            (defragmenter.datagrams(), defragmenter.memory_bytes()),
            (0, 0)
        );
    }
}

#[test]
fn what_is_not_a_fragment_is_not_touched() {
    let whole = udp(
        "10.0.0.1:1".parse().unwrap(),
        "10.0.0.2:2".parse().unwrap(),
        b"x",
    );
    let packet = decode_ip(&whole).checked().unwrap();
    assert_eq!(
        defragmenter(DefragPolicy::Bsd).push(1, &packet, 0),
        Reassembly::NotAFragment
    );
}

#[test]
fn zones_ids_and_on_ipv4_protocols_do_not_mix() {
    let mut defragmenter = defragmenter(DefragPolicy::Strict);
    let (source, destination) = ends(false);
    assert_eq!(
        push(
            &mut defragmenter,
            1,
            &fragment(false, 1, 0, true, &[1; 8]),
            0
        ),
        Ok(None)
    );
    assert_eq!(
        push(
            &mut defragmenter,
            2,
            &fragment(false, 1, 8, false, &[2; 8]),
            0
        ),
        Ok(None)
    );
    assert_eq!(
        push(
            &mut defragmenter,
            1,
            &fragment(false, 2, 8, false, &[2; 8]),
            0
        ),
        Ok(None)
    );
    let other_protocol = ip4_fragment(source, destination, proto::ICMP, 1, 8, false, &[2; 8]);
    assert_eq!(push(&mut defragmenter, 1, &other_protocol, 0), Ok(None));
    assert_eq!(defragmenter.datagrams(), 4);
}

#[test]
fn on_ipv6_a_later_fragment_cannot_hide_behind_another_next_header() {
    let mut defragmenter = defragmenter(DefragPolicy::Strict);
    let (source, destination) = ends(true);
    push(
        &mut defragmenter,
        1,
        &fragment(true, 1, 0, true, &[1; 8]),
        0,
    )
    .unwrap();
    let later = ip6_fragment(source, destination, proto::TCP, 1, 8, false, &[2; 8]);
    assert_eq!(
        push(&mut defragmenter, 1, &later, 0),
        Ok(Some([[1; 8], [2; 8]].concat()))
    );
}

#[test]
fn strict_refuses_a_differing_overlap_and_the_rest_of_its_datagram() {
    for v6 in [false, true] {
        let mut defragmenter = defragmenter(DefragPolicy::Strict);
        assert_eq!(
            push(&mut defragmenter, 1, &fragment(v6, 1, 0, true, &[1; 16]), 0),
            Ok(None)
        );
        assert_eq!(
            push(&mut defragmenter, 1, &fragment(v6, 1, 0, true, &[1; 16]), 0),
            Ok(None),
            "exact duplicate"
        );
        assert_eq!(
            push(&mut defragmenter, 1, &fragment(v6, 1, 8, true, &[2; 16]), 0),
            Err(DefragEvent::OverlapDiffers)
        );
        assert_eq!(
            push(
                &mut defragmenter,
                1,
                &fragment(v6, 1, 16, false, &[1; 8]),
                0
            ),
            Err(DefragEvent::OverlapDiffers)
        );
        assert!(defragmenter
            .take_events()
            .contains(&DefragEvent::OverlapDiffers));
        assert_eq!(defragmenter.memory_bytes(), 0);
    }
}

#[test]
fn on_ipv6_any_overlap_but_a_duplicate_is_refused_where_fragments_are_enforced() {
    for (policy, wanted) in [
        (DefragPolicy::Strict, Err(DefragEvent::OverlapDiffers)),
        (DefragPolicy::Bsd, Ok(None)),
    ] {
        let mut defragmenter = defragmenter(policy);
        push(
            &mut defragmenter,
            1,
            &fragment(true, 1, 0, true, &[1; 16]),
            0,
        )
        .unwrap();
        assert_eq!(
            push(
                &mut defragmenter,
                1,
                &fragment(true, 1, 8, true, &[1; 16]),
                0
            ),
            wanted
        );
    }
}

#[test]
fn overlaps_on_ipv4_follow_the_policy() {
    // "BBBBBBBB" ×2 at 8, then: left of it, the same start, right of it, left of it to its end, around it.
    let rows: [(DefragPolicy, [&str; 5]); 7] = [
        (DefragPolicy::First, ["aBB", ".BBa", ".BB", "aBB", "aBBa"]),
        (DefragPolicy::Last, ["aaB", ".aaa", ".Ba", "aaa", "aaaa"]),
        (DefragPolicy::Bsd, ["aaB", ".BBa", ".BB", "aaa", "aaaa"]),
        (
            DefragPolicy::BsdRight,
            ["aBB", ".aaa", ".Ba", "aBB", "aBBa"],
        ),
        (DefragPolicy::Linux, ["aaB", ".aaa", ".BB", "aaa", "aaaa"]),
        (DefragPolicy::Solaris, ["aBB", ".BBa", ".BB", "aaa", "aaaa"]),
        (DefragPolicy::Windows, ["aBB", ".BBa", ".BB", "aBB", "aaaa"]),
    ];
    let cases = [(0, 16), (8, 24), (16, 8), (0, 24), (0, 32)];
    for (policy, wanted) in rows {
        for ((offset, length), wanted) in cases.into_iter().zip(wanted) {
            let mut defragmenter = defragmenter(policy);
            push(
                &mut defragmenter,
                1,
                &fragment(false, 1, 8, true, &[b'B'; 16]),
                0,
            )
            .unwrap();
            push(
                &mut defragmenter,
                1,
                &fragment(false, 1, offset, true, &vec![b'a'; length]),
                0,
            )
            .unwrap();
            assert_eq!(defragmenter.take_events(), [DefragEvent::OverlapDiffers]);
            let end = wanted.len() * 8;
            let mut whole = None;
            if offset > 0 {
                whole = push(
                    &mut defragmenter,
                    1,
                    &fragment(false, 1, 0, true, &[b'.'; 8]),
                    0,
                )
                .unwrap();
            }
            whole = whole.or(push(
                &mut defragmenter,
                1,
                &fragment(false, 1, end, false, b""),
                0,
            )
            .unwrap());
            let units: Vec<u8> = whole
                .expect("whole")
                .chunks(8)
                .map(|unit| unit[0])
                .collect();
            assert_eq!(
                String::from_utf8_lossy(&units),
                wanted,
                "{policy:?} at {offset}"
            );
        }
    }
}

#[test]
fn a_datagram_has_one_end() {
    let rows: [(&str, usize, bool, usize); 3] = [
        ("past the end", 32, true, 8),
        ("another end, later", 32, false, 8),
        ("another end, earlier", 8, false, 8),
    ];
    for (what, offset, more, length) in rows {
        let mut defragmenter = defragmenter(DefragPolicy::Strict);
        let last = fragment(false, 1, 16, false, &[1; 16]);
        push(&mut defragmenter, 1, &last, 0).unwrap();
        let odd = fragment(false, 1, offset, more, &vec![1; length]);
        let refused = Err(DefragEvent::Inconsistent);
        assert_eq!(push(&mut defragmenter, 1, &odd, 0), refused, "{what}");
        assert_eq!(
            defragmenter.take_events(),
            [DefragEvent::Inconsistent],
            "{what}"
        );
    }
}

#[test]
fn what_lies_past_the_end_does_not_keep_a_datagram_from_being_whole() {
    let (first, last) = (
        fragment(false, 1, 0, true, &[1; 16]),
        fragment(false, 1, 16, false, &[2; 8]),
    );
    let stray = fragment(false, 1, 800, true, &[3; 8]);
    for order in [[&last, &stray, &first], [&stray, &last, &first]] {
        let mut defragmenter = defragmenter(DefragPolicy::Linux);
        let mut pushed = order.map(|bytes| push(&mut defragmenter, 1, bytes, 0).unwrap());
        let whole = pushed[2].take().expect("whole");
        assert_eq!(whole, [[1; 16].as_slice(), &[2; 8]].concat());
    }
}

#[test]
fn strict_refuses_fragments_that_are_no_multiple_of_eight() {
    for length in [0, 7, 9] {
        let bytes = fragment(false, 1, 0, true, &vec![1; length]);
        assert_eq!(
            push(&mut defragmenter(DefragPolicy::Strict), 1, &bytes, 0),
            Err(DefragEvent::BadLength),
            "{length}"
        );
    }
}

#[test]
fn refuses_a_datagram_that_would_be_too_long_with_its_header() {
    let mut defragmenter = defragmenter(DefragPolicy::Strict);
    push(
        &mut defragmenter,
        1,
        &fragment(false, 1, 0, true, &[1; 8]),
        0,
    )
    .unwrap();
    let end = fragment(false, 1, 65_512, false, &[1; 8]);
    assert_eq!(
        push(&mut defragmenter, 1, &end, 0),
        Err(DefragEvent::TooLarge)
    );
}

#[test]
fn time_and_count_of_fragments_are_bounded() {
    let limits = DefragLimits {
        max_fragments: 3,
        ..DefragLimits::default()
    };
    let mut defragmenter = Defragmenter::new(DefragPolicy::Strict, limits);
    for _ in 0..3 {
        assert_eq!(
            push(
                &mut defragmenter,
                1,
                &fragment(false, 1, 0, true, &[1; 8]),
                0
            ),
            Ok(None)
        );
    }
    assert_eq!(
        push(
            &mut defragmenter,
            1,
            &fragment(false, 1, 0, true, &[1; 8]),
            0
        ),
        Err(DefragEvent::TooManyFragments)
    );
    let end = fragment(false, 1, 8, false, &[1; 8]);
    assert_eq!(
        push(&mut defragmenter, 1, &end, 60 * S),
        Err(DefragEvent::TooManyFragments),
        "still remembered"
    );
    assert_eq!(
        push(&mut defragmenter, 1, &end, 60 * S + 1),
        Ok(None),
        "forgotten"
    );
}

#[test]
fn strict_refuses_new_datagrams_when_full_and_others_give_up_the_oldest() {
    let limits = DefragLimits {
        max_datagrams: 2,
        ..DefragLimits::default()
    };
    let rows = [
        (DefragPolicy::Strict, Err(DefragEvent::Evicted), true),
        (DefragPolicy::Bsd, Ok(None), false),
    ];
    for (policy, third, first_completes) in rows {
        let mut defragmenter = Defragmenter::new(policy, limits);
        push(
            &mut defragmenter,
            1,
            &fragment(false, 1, 0, true, &[1; 8]),
            0,
        )
        .unwrap();
        push(
            &mut defragmenter,
            1,
            &fragment(false, 2, 0, true, &[1; 8]),
            0,
        )
        .unwrap();
        assert_eq!(
            push(
                &mut defragmenter,
                1,
                &fragment(false, 3, 0, true, &[1; 8]),
                0
            ),
            third
        );
        assert_eq!(defragmenter.take_events(), [DefragEvent::Evicted]);
        assert_eq!(defragmenter.datagrams(), 2);
        let first = push(
            &mut defragmenter,
            1,
            &fragment(false, 1, 8, false, &[1; 8]),
            0,
        )
        .unwrap();
        assert_eq!(first.is_some(), first_completes, "{policy:?}");
    }
}

#[test]
fn memory_is_bounded() {
    let limits = DefragLimits {
        max_memory_bytes: 10_000,
        ..DefragLimits::default()
    };
    for policy in [DefragPolicy::Strict, DefragPolicy::Bsd] {
        let mut defragmenter = Defragmenter::new(policy, limits);
        let mut refused = 0;
        for id in 0..100 {
            refused += usize::from(
                push(
                    &mut defragmenter,
                    1,
                    &fragment(false, id, 0, true, &[1; 1000]),
                    0,
                )
                .is_err(),
            );
            assert!(defragmenter.memory_bytes() <= 10_000);
        }
        assert_eq!(refused > 80, policy == DefragPolicy::Strict);
    }
}

proptest! {
    /// Any order and repetition of any cut gives the datagram back, once.
    #[test]
    fn agrees_with_a_naive_reassembler(
        (length, order) in (1usize..400).prop_flat_map(|length| {
            let units: Vec<usize> = (0..length.div_ceil(8)).collect();
            let twice: Vec<usize> = units.iter().chain(units.iter().step_by(3)).copied().collect();
            (Just(length), Just(twice).prop_shuffle())
        }),
        v6 in any::<bool>(),
        policy in prop::sample::select(vec![DefragPolicy::Strict, DefragPolicy::First, DefragPolicy::Last,
            DefragPolicy::Bsd, DefragPolicy::BsdRight, DefragPolicy::Linux, DefragPolicy::Solaris,
            DefragPolicy::Windows]),
    ) {
        prop_assume!(length > 8);
        let datagram: Vec<u8> = (0..length).map(|i| i as u8).collect();
        // A UDP header that covers the datagram, so that the whole packet decodes.
        let mut datagram = datagram;
        datagram[4..6].copy_from_slice(&(length as u16).to_be_bytes());
        let mut defragmenter = defragmenter(policy);
        let mut have = vec![false; length.div_ceil(8)];
        for unit in order {
            let end = (unit * 8 + 8).min(length);
            let bytes = fragment(v6, 7, unit * 8, end < length, &datagram[unit * 8..end]);
            let got = push(&mut defragmenter, 1, &bytes, 0);
            have[unit] = true;
            if have.iter().all(|seen| *seen) {
                prop_assert_eq!(got, Ok(Some(datagram.clone())));
                have.fill(false);
            } else {
                prop_assert_eq!(got, Ok(None));
            }
        }
    }

    /// Whatever fragments come, a whole packet decodes and the bounds hold.
    #[test]
    fn hostile_fragments_stay_within_bounds(
        fragments in prop::collection::vec((any::<bool>(), 0u32..3, 0usize..20, any::<bool>(), 0usize..40, 0u64..100), 0..80),
        policy in prop::sample::select(vec![DefragPolicy::Strict, DefragPolicy::Last, DefragPolicy::Bsd]),
    ) {
        let limits = DefragLimits { max_datagrams: 3, max_memory_bytes: 600, max_fragments: 10, timeout_s: 60 };
        let mut defragmenter = Defragmenter::new(policy, limits);
        for (v6, id, unit, more, length, now_s) in fragments {
            let bytes = fragment(v6, id, unit * 8, more, &vec![id as u8; length]);
            let Ok(packet) = decode_ip(&bytes).checked() else { continue };
            if let Reassembly::Whole(whole) = defragmenter.push(1, &packet, now_s * S) {
                let whole = whole.to_vec();
                match decode_ip(&whole).checked() {
                    Ok(packet) => prop_assert!(packet.fragment().is_none()),
                    Err(error) => prop_assert!(error.reason().starts_with("udp"), "{}", error),
                }
            }
            prop_assert!(defragmenter.memory_bytes() <= 600 && defragmenter.datagrams() <= 3);
        }
    }
}
