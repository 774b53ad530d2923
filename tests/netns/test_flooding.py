"""Frames that the bridge hands to all its ports: what all may hear passes, what is for one is inspected.

Four guests: the client, which sends, and three that have signatures.
"""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from appliance.netns import entered
from bench.inline.segment import Segment, segment_of
from tests.netns.kit import send_frames
from tests.netns.live_kit import Live, live
from tests.netns.segment_bench import SegmentBench
from tests.netns.topology import eventually

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

RULES = 'alert udp any any -> any any (msg:"in every datagram"; content:"exploit"; sid:1;)\n'
PORT = 9
CLIENT_MAC, CLIENT = "02:5e:98:00:00:00", "10.98.0.1"
SENT = Ether(src=CLIENT_MAC)
FOR_ALL = {
    "DHCP": SENT / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    / BOOTP(chaddr=bytes(6), options=b"c\x82Sc") / DHCP(options=[("message-type", "discover"), "end"]),
    "mDNS": SENT / IP(src=CLIENT, dst="224.0.0.251", ttl=255) / UDP(sport=5353, dport=5353)
    / DNS(qd=DNSQR(qname="printer.local")),
    "neighbour solicitation": SENT / IPv6(src="fe80::1", dst="ff02::1:ff00:2")
    / ICMPv6ND_NS(tgt="fe80::2"),
}  # fmt: skip
FOR_ALL["DHCP"].dst = "ff:ff:ff:ff:ff:ff"
FOR_ALL["mDNS"].dst = "01:00:5e:00:00:fb"
FOR_ALL["neighbour solicitation"].dst = "33:33:ff:00:00:02"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with segment_of(4) as segment:
        bench = SegmentBench.on(segment)
        with live(bench, tmp_path_factory.mktemp("live")) as running:
            running.push(RULES, guests=[server.name for server in segment.servers])
            yield running


def segment(engine: Live) -> Segment:
    assert isinstance(engine.bench, SegmentBench)
    return engine.bench.segment


@contextlib.contextmanager
def taps(engine: Live) -> Iterator[dict[str, socket.socket]]:
    """Listen at every server's interface."""
    with contextlib.ExitStack() as stack:
        sockets = {}
        for server in segment(engine).servers:
            with entered(server.netns):
                tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            stack.enter_context(tap)
            tap.bind(("eth0", 0))
            tap.setblocking(False)
            sockets[server.name] = tap
        yield sockets


def arrived(tap: socket.socket, mark: bytes) -> int:
    """Return how many frames with the mark in them have come."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += mark in tap.recv(1 << 16)
    return count


def send(engine: Live, *packets: Packet) -> None:
    """Send them, then what is seen at every server once they have passed."""
    send_frames(segment(engine).client.netns, [bytes(packet) for packet in packets])


@pytest.mark.parametrize("kind", FOR_ALL)
def test_what_all_may_hear_reaches_each_once_uninspected_and_counted(engine: Live, kind: str) -> None:
    packet = FOR_ALL[kind]
    mark = bytes(packet.payload)
    servers = segment(engine).servers
    queued = engine.queued()
    before = {server.name: engine.bench.counters(server.name) for server in servers}
    with taps(engine) as listening:
        send(engine, packet)
        frames = dict.fromkeys(listening, 0)

        def all_came() -> bool:
            for name, tap in listening.items():
                frames[name] += arrived(tap, mark)
            return all(frames.values())

        eventually(all_came)
        send(engine, packet)
        eventually(lambda: all_came() and min(frames.values()) >= 2)
        assert set(frames.values()) == {2}
    assert engine.queued() == queued
    for server in servers:
        counters, former = engine.bench.counters(server.name), before[server.name]
        steered = counters.uninspected["steered"].packets - former.uninspected["steered"].packets
        assert steered == counters.total.packets - former.total.packets == 2


def for_one(engine: Live, text: bytes, sport: int) -> Packet:
    """Return a datagram for guest1."""
    server = segment(engine).server
    return (
        Ether(src=CLIENT_MAC, dst=server.mac)
        / IP(src=CLIENT, dst=server.address)
        / UDP(sport=sport, dport=PORT)
        / Raw(text)
    )


def test_an_exploit_to_a_port_that_the_bridge_does_not_know_reaches_nobody_and_alerts_once(
    engine: Live,
) -> None:
    with taps(engine) as listening:
        engine.bench.forget_macs()
        send(engine, for_one(engine, b"exploit", 4001))
        engine.await_alert(1)
        engine.bench.forget_macs()
        # what comes after it has passed it
        for number in range(3):
            send(engine, for_one(engine, b"fine-%d" % number, 4002 + number))
        eventually(lambda: engine.alerts().count(1) >= 1)
        assert not sum(arrived(tap, b"exploit") for tap in listening.values())
    assert engine.alerts() == [1]
