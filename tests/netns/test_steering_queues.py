"""What is queued, to which worker, and what happens where nobody looks: real packets on a real bridge."""

import collections
import json
import time

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from appliance import lab, steering
from appliance.lab.wire import Outcome, connect
from appliance.model.faults import SystemFault
from appliance.model.marks import IN_PORT, OUT_PORT, OUT_PORT_SHIFT, QUEUED, WORKER, WORKER_SHIFT
from appliance.model.policy import Firewall, FirewallRule, GuestPolicy, PolicyDocument
from appliance.netns import run_in
from appliance.steering.connections import connections
from tests.netns.control_fixture import wait_for
from tests.netns.kit import FIRST_QUEUE, PREVENT, Bench, from_port, policy, send_frames


def tuple_of(data: bytes) -> frozenset[tuple[bytes, bytes]]:
    """An IP packet's two ends, the same for both directions."""
    if data[0] >> 4 == 4:
        ends, ports = (data[12:16], data[16:20]), data[20:24]
    else:
        ends, ports = (data[8:24], data[24:40]), data[40:44]
    return frozenset([(ends[0], ports[:2]), (ends[1], ports[2:])])


@pytest.mark.parametrize("ip_version", [4, 6])
def test_both_directions_of_a_protected_guest_are_queued(bench: Bench, ip_version: int) -> None:
    bench.apply(policy())
    with bench.consumer() as seen:
        assert bench.get("/marker", ip_version=ip_version).outcome is Outcome.ANSWERED
    assert any(b"GET /marker" in packet.data for packet in seen)
    assert any(b"200 OK" in packet.data for packet in seen)
    assert bench.counters().uninspected["inspector-down"].packets == 0


def test_marks_name_both_ports_and_the_worker(bench: Bench) -> None:
    bench.apply(policy())
    with bench.consumer() as seen:
        bench.get("/marker")
    (request,) = [packet for packet in seen if b"GET /marker" in packet.data]
    web, client = 1, 2
    assert request.mark & IN_PORT == client
    assert (request.mark & OUT_PORT) >> OUT_PORT_SHIFT == web
    assert request.mark & QUEUED
    assert (request.mark & WORKER) >> WORKER_SHIFT == request.queue - FIRST_QUEUE


def test_what_conntrack_finds_no_connection_for_is_queued_and_can_be_dropped(bench: Bench) -> None:
    bench.apply(policy())
    header = TCP(sport=4000, dport=80, flags="A", dataofs=4)
    packet = IP(src=lab.CLIENT.ipv4, dst=lab.WEB.ipv4) / header / Raw(b"broken header")
    frame = bytes(Ether(src=lab.CLIENT.mac, dst=lab.WEB.mac) / packet)
    with bench.consumer(1, "--drop-flow", "broken header") as seen:
        send_frames(bench.guest(lab.CLIENT), [frame])
        wait_for("the packet to be dropped", lambda: bench.counters().dropped["flow"].packets)
    assert any(b"broken header" in packet.data for packet in seen)
    assert bench.counters().dropped["flow"].bytes == len(packet)


def test_a_guest_without_signatures_is_not_queued(bench: Bench) -> None:
    bench.apply(policy(inspected=False))
    with bench.consumer() as seen:
        assert bench.get().outcome is Outcome.ANSWERED
    assert seen == []
    counters = bench.settled_counters()
    assert counters.uninspected["steered"] == counters.total
    assert counters.total.bytes > 0


@pytest.mark.parametrize("ip_version", [4, 6])
def test_one_client_pair_uses_all_queues_and_a_connection_one(bench: Bench, ip_version: int) -> None:
    bench.apply(policy(), workers=4)
    with bench.consumer(4) as seen:
        for _ in range(40):
            assert bench.get(ip_version=ip_version).outcome is Outcome.ANSWERED
    queues = collections.defaultdict(set)
    for packet in seen:
        if (packet.data[9] if ip_version == 4 else packet.data[6]) == 6:
            queues[tuple_of(packet.data)].add(packet.queue)
    assert all(len(used) == 1 for used in queues.values())
    assert {queue for used in queues.values() for queue in used} == {FIRST_QUEUE + n for n in range(4)}


def test_without_an_inspector_traffic_passes_and_is_counted(bench: Bench) -> None:
    bench.apply(policy())
    assert bench.get().outcome is Outcome.ANSWERED
    counters = bench.settled_counters()
    assert counters.uninspected["inspector-down"].bytes > 0
    assert counters.total.bytes == sum(each.bytes for each in counters.uninspected.values())


def test_without_an_inspector_a_closed_segment_passes_nothing(bench: Bench) -> None:
    bench.apply(policy(), closed=True)
    assert bench.get(timeout_s=0.5).outcome is Outcome.TIMEOUT


def test_what_a_full_queue_let_pass_is_counted(bench: Bench) -> None:
    bench.apply(policy())
    with bench.consumer(1, "--ignore", "GET /unseen"):
        assert bench.get("/unseen").outcome is Outcome.ANSWERED
    assert bench.counters().uninspected["inspector-down"].packets == 1


def test_a_dropped_flow_stays_dropped_without_its_inspector(bench: Bench) -> None:
    bench.apply(policy())
    with connect(bench.guest(lab.CLIENT), lab.WEB.ipv4, lab.RAW_PORT, 1.0) as connection:
        with bench.consumer(1, "--drop-flow", "exploit"):
            connection.sendall(b"GET /exploit HTTP/1.1\r\n\r\n")
            time.sleep(0.3)
        # the consumer is gone: only the kernel's own memory can stop the retransmissions now
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert not any(b"exploit" in record.request for record in lab.records(bench.settings))
    assert bench.counters().dropped["flow"].packets >= 2
    assert bench.get().outcome is Outcome.ANSWERED


def test_a_new_connection_on_a_dropped_tuple_is_judged_anew(bench: Bench) -> None:
    bench.apply(policy())
    with bench.consumer(1, "--drop-flow", "exploit", "--forget-syn"):
        with from_port(bench.guest(lab.CLIENT), 45678) as connection:
            connection.sendall(b"GET /exploit HTTP/1.1\r\n\r\n")
            time.sleep(0.2)
        with from_port(bench.guest(lab.CLIENT), 45678) as connection:
            connection.sendall(b"GET /harmless HTTP/1.1\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_a_drop_is_forgotten_with_a_syn_that_nobody_judges(bench: Bench) -> None:
    bench.apply(policy())

    def is_dropped() -> bool:
        (known,) = [each for each in connections((1,), bench.netns) if each.originator.port == 45679]
        return known.is_dropped

    with bench.consumer(1, "--drop-flow", "exploit"):
        connection = from_port(bench.guest(lab.CLIENT), 45679)
        connection.sendall(b"GET /exploit HTTP/1.1\r\n\r\n")
        wait_for("the drop", is_dropped)
    packet = IP(src=lab.CLIENT.ipv4, dst=lab.WEB.ipv4) / TCP(sport=45679, dport=lab.RAW_PORT, flags="S")
    with connection:
        send_frames(bench.guest(lab.CLIENT), [bytes(Ether(src=lab.CLIENT.mac, dst=lab.WEB.mac) / packet)])
        wait_for("the drop to be forgotten", lambda: not is_dropped())


def test_the_host_finds_its_own_mark_bits_again(bench: Bench) -> None:
    bench.apply(policy())
    run_in(
        bench.netns,
        ["nft", "-f", "-"],
        "table bridge probe {\nchain c {\ntype filter hook postrouting priority 300\n"
        "meta mark & 0x0fffffff != 0 counter\nmeta mark & 0xf0000000 == 0x30000000 counter\n}\n"
        "chain f {\ntype filter hook forward priority -250\nmeta mark set 0x30000abc\n}\n}\n",
    )
    with bench.consumer():
        assert bench.get().outcome is Outcome.ANSWERED
    listing = json.loads(run_in(bench.netns, ["nft", "-j", "list", "table", "bridge", "probe"]))
    run_in(bench.netns, ["nft", "delete", "table", "bridge", "probe"])
    counts = [
        statement["counter"]["packets"]
        for entry in listing["nftables"]
        if "rule" in entry
        for statement in entry["rule"]["expr"]
        if "counter" in statement
    ]
    assert counts[0] == 0
    assert counts[1] > 0


def test_connections_are_tracked_in_the_segments_zone(bench: Bench) -> None:
    bench.apply(policy())
    bench.get()
    entries = run_in(bench.netns, ["conntrack", "-L", "--orig-src", lab.CLIENT.ipv4]).splitlines()
    assert entries
    assert all("zone=1" in entry for entry in entries)


def test_a_policy_change_keeps_connections_and_counters(bench: Bench) -> None:
    bench.apply(policy())
    with (
        bench.consumer(),
        connect(bench.guest(lab.CLIENT), lab.WEB.ipv4, lab.HTTP_PORT, 3.0) as connection,
    ):
        connection.sendall(b"GET /download/large.bin HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        received = 0
        for number in range(20):
            rule = FirewallRule("allow", "in", protocol="tcp", ports=str(1000 + number))
            bench.apply(policy(firewall=Firewall((rule,)), inspected=number % 2 == 0))
            for _ in range(20):
                received += len(connection.recv(65536))
        while piece := connection.recv(1 << 20):
            received += len(piece)
    assert received > 8 * 1024 * 1024
    assert bench.counters().total.bytes > 8 * 1024 * 1024


def test_a_bypass_rule_of_one_guest_does_not_blind_the_other(bench: Bench) -> None:
    rule = FirewallRule("bypass", "out", protocol="tcp")
    client = GuestPolicy(assignments=PREVENT, firewall=Firewall((rule,)))
    bench.apply(PolicyDocument(1, guests={"client": client, "web": GuestPolicy(assignments=PREVENT)}))
    with bench.consumer() as seen:
        bench.get("/marker")
    assert any(b"GET /marker" in packet.data for packet in seen)
    bench.apply(PolicyDocument(2, guests={"client": client}))
    with bench.consumer() as seen:
        bench.get("/marker")
    assert seen == []
    assert bench.counters("client").uninspected["bypass"].bytes > 0


def test_only_what_both_headers_call_multicast_passes_unqueued(bench: Bench) -> None:
    """A unicast packet in a broadcast frame is queued (and recent kernels then drop it: what the queue
    gets is one of several clones of a connection that is not confirmed yet)."""
    bench.apply(policy())
    frames = [
        Ether(src=lab.CLIENT.mac, dst="ff:ff:ff:ff:ff:ff") / IP(src=lab.CLIENT.ipv4, dst=address)
        / UDP(sport=9, dport=9) / b"x"
        for address in (lab.WEB.ipv4, lab.WEB.ipv4, "255.255.255.255")
    ]  # fmt: skip
    with bench.consumer():
        send_frames(bench.guest(lab.CLIENT), [bytes(frame) for frame in frames])
    counters = bench.settled_counters()
    assert counters.total.packets == 3
    assert counters.uninspected["steered"].packets == 1
    assert counters.uninspected["inspector-down"].packets == 0


def test_the_kernel_says_which_back_end_it_can_do(bench: Bench) -> None:
    choice = steering.choose_backend(bench.netns)
    assert choice.why.startswith(
        "this kernel queues"
        if choice.backend is steering.Backend.NFT_BRIDGE
        else "nft-bridge would need a kernel"
    )
    if choice.backend is steering.Backend.BR_NETFILTER:
        with pytest.raises(SystemFault, match="nft-bridge needs a kernel that"):
            steering.choose_backend(bench.netns, steering.Backend.NFT_BRIDGE)
    assert steering.choose_backend(bench.netns, steering.Backend.BR_NETFILTER).why == "asked for"
