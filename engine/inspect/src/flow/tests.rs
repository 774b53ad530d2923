use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::wire::testing::{ip, tcp, udp, TcpSpec};
use crate::wire::{decode_ip, flags, proto, unreachable_to, Frame, Unreachable};
use crate::Direction::{ToClient, ToServer};

const S: u64 = 1_000_000_000;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn tcp_packet(source: &str, destination: &str, flags: u8) -> Vec<u8> {
    tcp(
        at(source),
        at(destination),
        &TcpSpec {
            flags,
            ..TcpSpec::default()
        },
    )
}

fn table(limits: FlowLimits) -> FlowTable<u32> {
    FlowTable::new(limits, [1, 2])
}

/// Says of every state that it may not rest.
fn awake(_: &mut u32, _: u64) -> Option<usize> {
    None
}

/// Sees a SYN from a port, has its flow be as far as that, and returns who went for it.
fn open(
    table: &mut FlowTable<u32>,
    port: u16,
    phase: FlowPhase,
    now_ns: u64,
) -> (FlowId, Option<FlowPhase>) {
    let client = format!("10.0.0.9:{port}");
    let lookup = see(table, 1, &tcp_packet(&client, SERVER, flags::SYN), now_ns);
    table.set_phase(lookup.id, phase);
    (lookup.id, table.pop_ended().map(|(flow, _)| flow.phase))
}

fn see(table: &mut FlowTable<u32>, zone: u64, bytes: &[u8], now_ns: u64) -> Lookup {
    see_of(table, 0, zone, bytes, now_ns)
}

/// The same; whoever has that name pays for a flow that begins.
fn see_of(table: &mut FlowTable<u32>, payer: u32, zone: u64, bytes: &[u8], now_ns: u64) -> Lookup {
    let packet = decode_ip(bytes).checked().unwrap();
    let made = table.find_or_create(zone, &packet, now_ns, |_| (payer, 7));
    made.unwrap()
}

/// Sees a payer's SYN from a port of an address that is its own, and has its flow be as far as that.
fn open_of(
    table: &mut FlowTable<u32>,
    payer: u8,
    port: u16,
    phase: FlowPhase,
    now_ns: u64,
) -> FlowId {
    let client = format!("10.0.1.{payer}:{port}");
    let bytes = tcp_packet(&client, SERVER, flags::SYN);
    let lookup = see_of(table, payer.into(), 1, &bytes, now_ns);
    table.set_phase(lookup.id, phase);
    lookup.id
}

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "10.0.0.2:80";

#[test]
fn both_directions_meet_in_one_flow() {
    let mut table = table(FlowLimits::default());
    let first = see(&mut table, 1, &tcp_packet(CLIENT, SERVER, flags::SYN), 5);
    let second = see(
        &mut table,
        1,
        &tcp_packet(SERVER, CLIENT, flags::SYN | flags::ACK),
        9,
    );
    assert!(first.created && !second.created);
    assert_eq!(
        (first.id, first.direction, second.direction),
        (second.id, ToServer, ToClient)
    );
    let flow = table.get(first.id).unwrap();
    assert_eq!((flow.packets, flow.bytes), ([1, 1], [40, 40]));
    assert_eq!(
        (
            flow.first_seen_ns,
            flow.last_seen_ns,
            flow.midstream,
            flow.data
        ),
        (5, 9, false, 7)
    );
    assert_eq!((flow.client.port, flow.server().port), (40000, 80));
}

#[test]
fn the_receiver_of_a_syn_ack_seen_first_is_the_client() {
    let mut table = table(FlowLimits::default());
    let lookup = see(
        &mut table,
        1,
        &tcp_packet(SERVER, CLIENT, flags::SYN | flags::ACK),
        0,
    );
    assert_eq!(lookup.direction, ToClient);
    let flow = table.get(lookup.id).unwrap();
    assert_eq!((flow.client.port, flow.midstream), (40000, true));
}

#[test]
fn equal_addresses_in_two_zones_are_two_flows() {
    let mut table = table(FlowLimits::default());
    let one = see(&mut table, 1, &tcp_packet(CLIENT, SERVER, flags::SYN), 0);
    let two = see(&mut table, 2, &tcp_packet(CLIENT, SERVER, flags::SYN), 0);
    assert_ne!(one.id, two.id);
    assert_eq!(table.len(), 2);
}

#[test]
fn a_flow_expires_one_tick_after_its_timeout_and_not_before() {
    let rows: [(&str, u64); 3] = [
        ("new tcp", 60),
        ("established tcp", 600),
        ("closed tcp", 60),
    ];
    for (phase, (name, timeout_s)) in [FlowPhase::New, FlowPhase::Established, FlowPhase::Closed]
        .iter()
        .zip(rows)
    {
        let mut table = table(FlowLimits::default());
        let lookup = see(&mut table, 1, &tcp_packet(CLIENT, SERVER, flags::SYN), 0);
        table.set_phase(lookup.id, *phase);
        assert_eq!(table.expire(timeout_s * S, 10), 0, "{name}");
        assert_eq!(table.expire(timeout_s * S + 1, 10), 1, "{name}");
        let (flow, reason) = table.pop_ended().unwrap();
        assert_eq!((flow.phase, reason), (*phase, EndReason::Timeout), "{name}");
        assert!(table.get(lookup.id).is_none() && table.is_empty(), "{name}");
    }
}

#[test]
fn at_the_bound_a_flow_that_was_answered_goes_after_unanswered_ones_and_before_a_conversation() {
    let mut table = table(FlowLimits {
        max_flows: 3,
        ..FlowLimits::default()
    });
    let mut open = |port, phase| open(&mut table, port, phase, 0).1;
    assert_eq!(open(1, FlowPhase::Established), None);
    assert_eq!(open(2, FlowPhase::Answered), None);
    assert_eq!(open(3, FlowPhase::New), None);
    assert_eq!(open(4, FlowPhase::Established), Some(FlowPhase::New));
    assert_eq!(open(5, FlowPhase::Established), Some(FlowPhase::Answered));
    assert_eq!(
        open(6, FlowPhase::Established),
        Some(FlowPhase::Established)
    );
}

/// Whoever fills the table with one kind of flows must not thereby have every new connection refused.
#[test]
fn a_table_full_of_any_kind_leaves_new_connections_the_time_to_become_conversations() {
    for kind in [
        FlowPhase::New,
        FlowPhase::Answered,
        FlowPhase::Established,
        FlowPhase::Closing,
    ] {
        for becomes in [FlowPhase::New, FlowPhase::Answered] {
            let mut table = table(FlowLimits {
                max_flows: 400,
                timeouts: FlowTimeouts::live(),
                ..FlowLimits::default()
            });
            for port in 0..400 {
                open(&mut table, port, kind, 0);
            }
            let now = 30 * S;
            let (ours, gone) = open(&mut table, 1_000, becomes, now);
            assert_eq!(gone, Some(kind));
            for port in 0..90 {
                let later = now + u64::from(port) * S / 20;
                let gone = open(&mut table, 2_000 + port, FlowPhase::New, later).1;
                assert_eq!(gone, Some(kind), "{becomes:?}, {port} after it");
            }
            assert!(table.get(ours).is_some());
        }
    }
}

#[test]
fn a_flood_of_openings_ends_no_conversation_however_fast_it_is() {
    for spoken in [FlowPhase::Established, FlowPhase::Closing] {
        let mut table = table(FlowLimits {
            max_flows: 400,
            ..FlowLimits::default()
        });
        let talking = (0..300).map(|port| open(&mut table, port, spoken, 0).0);
        let talking: Vec<_> = talking.collect();
        for port in 1_000..30_000 {
            open(&mut table, port, FlowPhase::New, 30 * S);
        }
        assert!(talking.iter().all(|id| table.get(*id).is_some()));
    }
}

#[test]
fn who_fills_the_table_with_any_kind_of_flows_ends_no_flow_of_others() {
    let silent = [
        FlowPhase::Established,
        FlowPhase::Answered,
        FlowPhase::Closing,
    ];
    for kind in [
        FlowPhase::New,
        FlowPhase::Answered,
        FlowPhase::Established,
        FlowPhase::Closing,
    ] {
        let mut table = table(FlowLimits {
            max_flows: 400,
            timeouts: FlowTimeouts::live(),
            ..FlowLimits::default()
        });
        let others = silent.iter().zip(1..);
        let others = others.flat_map(|(phase, port)| (10..40).map(move |it| (it, port, *phase)));
        let others: Vec<_> = others
            .map(|(payer, port, phase)| open_of(&mut table, payer, port, phase, 0))
            .collect();
        for port in 0..5_000 {
            open_of(
                &mut table,
                3,
                port,
                kind,
                60 * S + u64::from(port) * S / 100,
            );
        }
        assert_eq!(table.len(), 400);
        assert!(others.iter().all(|id| table.get(*id).is_some()), "{kind:?}");
    }
}

/// Openings of a pool, say: a tenth of a table that many share, and more than an equal share of it.
#[test]
fn a_pool_of_openings_stays_where_another_fills_the_table_or_the_memory() {
    let mut table = table(FlowLimits {
        max_flows: 400,
        max_memory_bytes: 1_000,
        timeouts: FlowTimeouts::live(),
    });
    for payer in 10..30 {
        open_of(&mut table, payer, 1, FlowPhase::Established, 0);
    }
    let pool: Vec<_> = (0..40)
        .map(|port| open_of(&mut table, 1, port, FlowPhase::Answered, 0))
        .collect();
    for port in 0..2_000 {
        let now = 60 * S + u64::from(port);
        let id = open_of(&mut table, 2, port, FlowPhase::Established, now);
        table.account(id, 10, now, awake);
    }
    assert!(table.memory_bytes() <= 1_000);
    assert!(pool.iter().all(|id| table.get(*id).is_some()));
}

#[test]
fn openings_of_one_end_no_conversation_of_another_that_has_more() {
    let mut table = table(FlowLimits {
        max_flows: 400,
        ..FlowLimits::default()
    });
    let ids = (0..300).map(|port| open_of(&mut table, 1, port, FlowPhase::Established, 0));
    let talking: Vec<_> = ids.collect();
    for port in 0..5_000 {
        open_of(&mut table, 2, port, FlowPhase::New, 60 * S);
    }
    assert!(talking.iter().all(|id| table.get(*id).is_some()));
}

#[test]
fn past_the_memory_bound_flows_of_who_holds_most_go_and_rest() {
    let mut table = table(FlowLimits {
        max_memory_bytes: 1_000,
        ..FlowLimits::default()
    });
    let modest = open_of(&mut table, 1, 1, FlowPhase::Established, 0);
    table.account(modest, 100, 0, awake);
    let mut ids = (0..20).map(|port| open_of(&mut table, 2, port, FlowPhase::Established, S));
    let ids: Vec<_> = ids.by_ref().collect();
    for id in &ids[..10] {
        table.account(*id, 100, 2 * S, |_, _| Some(60));
    }
    assert_eq!((table.len(), table.memory_bytes()), (21, 1_100 - 3 * 40));
    for id in &ids {
        table.account(*id, 100, 2 * S, awake);
    }
    assert!(table.memory_bytes() <= 1_000);
    assert!(table.get(modest).is_some());
}

#[test]
fn a_number_that_nobody_needs_any_more_is_the_next_payers() {
    let mut table = table(FlowLimits::default());
    for name in 0..200_000 {
        let lookup = see_of(
            &mut table,
            name,
            1,
            &tcp_packet(CLIENT, SERVER, flags::SYN),
            0,
        );
        table.end(lookup.id);
    }
    let first = see_of(&mut table, 7, 1, &tcp_packet(CLIENT, SERVER, flags::SYN), 0);
    let other = tcp_packet("10.0.0.3:1", SERVER, flags::SYN);
    let second = see_of(&mut table, 8, 1, &other, 0);
    assert_eq!(table.expire(61 * S, 10), 2);
    assert!(table.get(first.id).is_none() && table.get(second.id).is_none());
}

#[test]
fn idle_flows_of_all_payers_expire_however_few_at_a_time() {
    let mut table = table(FlowLimits::default());
    for payer in 0..30 {
        for port in 0..30 {
            open_of(&mut table, payer, port, FlowPhase::New, 0);
        }
    }
    let mut rounds = 0;
    while table.expire(61 * S, 7) > 0 {
        rounds += 1;
    }
    assert!(table.is_empty());
    assert_eq!(rounds, 900usize.div_ceil(7));
}

#[test]
fn live_a_connection_of_which_one_end_has_finished_is_known_ten_minutes_and_another_five_days() {
    let limits = FlowLimits {
        timeouts: FlowTimeouts::live(),
        ..FlowLimits::default()
    };
    for (phase, timeout_s) in [(FlowPhase::Closing, 600), (FlowPhase::Established, 432_000)] {
        let mut table = table(limits);
        open(&mut table, 1, phase, 0);
        assert_eq!(table.expire(timeout_s * S, 10), 0);
        assert_eq!(table.expire(timeout_s * S + 1, 10), 1);
    }
}

#[test]
fn past_the_memory_bound_silent_conversations_rest_once_before_any_goes() {
    let mut table = table(FlowLimits {
        max_memory_bytes: 1_000,
        ..FlowLimits::default()
    });
    let ids: Vec<_> = (0..10)
        .map(|port| open(&mut table, port, FlowPhase::Established, port.into()).0)
        .collect();
    let mut rested = Vec::new();
    let mut account = |table: &mut FlowTable<u32>, at: usize, bytes| {
        table.account(ids[at], bytes, 100, |_, silent_ns| {
            rested.push(silent_ns);
            Some(10)
        });
    };
    for at in 0..10 {
        account(&mut table, at, 100);
    }
    account(&mut table, 9, 250);
    assert_eq!((table.len(), table.memory_bytes()), (10, 970));
    // The first speaks again, and is the last that may rest.
    see(
        &mut table,
        1,
        &tcp_packet("10.0.0.9:0", SERVER, flags::ACK),
        50,
    );
    account(&mut table, 9, 1_000);
    assert_eq!((table.len(), table.memory_bytes()), (1, 1_000));
    assert_eq!(rested, [100, 99, 98, 97, 96, 95, 94, 93, 92]);
}

#[test]
fn udp_is_established_by_a_packet_each_way() {
    let mut table = table(FlowLimits::default());
    let lookup = see(&mut table, 1, &udp(at(CLIENT), at(SERVER), b"q"), 0);
    assert_eq!(table.get(lookup.id).unwrap().phase, FlowPhase::New);
    see(&mut table, 1, &udp(at(SERVER), at(CLIENT), b"a"), 0);
    assert_eq!(table.get(lookup.id).unwrap().phase, FlowPhase::Established);
    assert_eq!(table.expire(300 * S, 10), 0);
    assert_eq!(table.expire(300 * S + 1, 10), 1);
}

#[test]
fn a_packet_past_the_timeout_begins_another_flow_even_when_nobody_expired_the_old_one() {
    let mut table = table(FlowLimits::default());
    let old = see(&mut table, 1, &udp(at(CLIENT), at(SERVER), b"q"), 0);
    let new = see(&mut table, 1, &udp(at(SERVER), at(CLIENT), b"q"), 31 * S);
    assert!(new.created && new.id != old.id);
    assert_eq!(table.get(new.id).unwrap().client.port, 80);
    assert_eq!(table.pop_ended().unwrap().1, EndReason::Timeout);
}

#[test]
fn at_the_bound_an_unanswered_flow_goes_before_an_older_conversation() {
    let mut table = table(FlowLimits {
        max_flows: 2,
        ..FlowLimits::default()
    });
    let old = see(&mut table, 1, &tcp_packet(CLIENT, SERVER, flags::SYN), 0);
    table.set_phase(old.id, FlowPhase::Established);
    for port in 1..100u16 {
        see(
            &mut table,
            1,
            &tcp_packet(&format!("10.0.0.9:{port}"), SERVER, flags::SYN),
            u64::from(port),
        );
        assert!(table.len() <= 2);
    }
    assert!(table.get(old.id).is_some());
    let evicted: Vec<_> = std::iter::from_fn(|| table.pop_ended()).collect();
    assert_eq!(evicted.len(), 98);
    assert!(evicted
        .iter()
        .all(|(flow, reason)| flow.client.port < 99 && *reason == EndReason::Evicted));
}

#[test]
fn past_the_memory_bound_others_go_but_never_the_flow_at_work() {
    let mut table = table(FlowLimits {
        max_memory_bytes: 100,
        ..FlowLimits::default()
    });
    let a = see(
        &mut table,
        1,
        &tcp_packet("10.0.0.1:1", SERVER, flags::SYN),
        0,
    );
    let b = see(
        &mut table,
        1,
        &tcp_packet("10.0.0.1:2", SERVER, flags::SYN),
        1,
    );
    table.account(a.id, 60, 0, awake);
    table.account(b.id, 40, 0, awake);
    assert_eq!((table.len(), table.memory_bytes()), (2, 100));
    table.account(b.id, 41, 0, awake);
    assert_eq!((table.len(), table.memory_bytes()), (1, 41));
    assert!(table.get(a.id).is_none());
    table.account(b.id, 500, 0, awake);
    assert_eq!((table.len(), table.memory_bytes()), (1, 500));
    assert!(table.end(b.id).is_some());
    assert_eq!(table.memory_bytes(), 0);
}

#[test]
fn an_id_does_not_outlive_its_flow() {
    let mut table = table(FlowLimits::default());
    let old = see(&mut table, 1, &tcp_packet(CLIENT, SERVER, flags::SYN), 0);
    assert_eq!(table.end(old.id).unwrap().data, 7);
    let new = see(&mut table, 1, &tcp_packet(CLIENT, SERVER, flags::SYN), 0);
    assert!(
        table.get(old.id).is_none()
            && table.get_mut(old.id).is_none()
            && table.end(old.id).is_none()
    );
    assert!(table.get(new.id).is_some());
}

#[test]
fn an_icmp_error_belongs_to_the_flow_it_quotes() {
    for (client, server) in [(CLIENT, SERVER), ("[fd00::1]:40000", "[fd00::2]:53")] {
        let mut table = table(FlowLimits::default());
        let query = udp(at(client), at(server), b"query");
        let flow = see(&mut table, 1, &query, 0);
        let error = unreachable_to(
            &Frame::default(),
            &decode_ip(&query).checked().unwrap(),
            Unreachable::Port,
        )
        .unwrap();
        let related = see(&mut table, 1, &error, 1);
        assert_eq!(
            (related.id, related.direction, related.related),
            (flow.id, ToClient, true)
        );
        assert_eq!(
            (table.len(), table.get(flow.id).unwrap().packets),
            (1, [1, 0])
        );
        let stranger = see(&mut table, 2, &error, 1);
        assert!(stranger.created && !stranger.related);
    }
}

#[test]
fn echo_request_and_reply_are_one_flow() {
    let mut table = table(FlowLimits::default());
    let (a, b) = (at("10.0.0.1:0").ip(), at("10.0.0.2:0").ip());
    let request = see(
        &mut table,
        1,
        &ip(a, b, proto::ICMP, &[8, 0, 0, 0, 1, 2, 0, 1]),
        0,
    );
    let reply = see(
        &mut table,
        1,
        &ip(b, a, proto::ICMP, &[0, 0, 0, 0, 1, 2, 0, 1]),
        0,
    );
    let other = see(
        &mut table,
        1,
        &ip(a, b, proto::ICMP, &[13, 0, 0, 0, 1, 2, 0, 1]),
        0,
    );
    assert_eq!((request.id, reply.direction), (reply.id, ToClient));
    assert_ne!(request.id, other.id);
}

#[test]
fn all_flows_end_oldest_first() {
    let mut table = table(FlowLimits::default());
    see(&mut table, 1, &udp(at(CLIENT), at(SERVER), b"q"), 3);
    see(&mut table, 1, &tcp_packet(CLIENT, SERVER, flags::SYN), 2);
    table.end_all();
    let times: Vec<_> = std::iter::from_fn(|| table.pop_ended())
        .map(|(flow, _)| flow.last_seen_ns)
        .collect();
    assert_eq!(times, [2, 3]);
    assert!(table.is_empty());
}

proptest! {
    /// Whatever happens, the table agrees with a plain map from key to packet count, within its bounds.
    #[test]
    fn agrees_with_a_plain_map(
        steps in prop::collection::vec((0u16..20, any::<bool>(), 0u8..4, 0u32..3), 0..200)
    ) {
        let mut table = table(FlowLimits { max_flows: 1000, ..FlowLimits::default() });
        let mut naive = std::collections::HashMap::<u16, u64>::new();
        let mut ids = std::collections::HashMap::new();
        for (port, reply, action, payer) in steps {
            let client = format!("10.0.0.1:{}", port + 1);
            match (action, ids.get(&port)) {
                (0, Some(id)) => {
                    prop_assert_eq!(table.end(*id).is_some(), naive.remove(&port).is_some());
                }
                (1, Some(id)) => table.set_phase(*id, FlowPhase::Closed),
                _ => {
                    let (from, to) = if reply { (SERVER, &*client) } else { (&*client, SERVER) };
                    let lookup = see_of(&mut table, payer, 1, &tcp_packet(from, to, flags::ACK), 0);
                    prop_assert_eq!(lookup.created, !naive.contains_key(&port));
                    *naive.entry(port).or_default() += 1;
                    ids.insert(port, lookup.id);
                }
            }
            prop_assert_eq!(table.len(), naive.len());
        }
        for (port, count) in naive {
            prop_assert_eq!(table.get(ids[&port]).unwrap().packets.iter().sum::<u64>(), count);
        }
        prop_assert_eq!(table.iter().count(), table.len());
    }
}
