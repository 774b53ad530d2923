"""Frames that the bridge hands to all its ports: what all may hear passes, what is for one is inspected.

Four guests: the client, which sends, and three that have signatures.
"""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from appliance import rtnetlink
from appliance.netns import entered
from bench.inline.segment import BRIDGE, Segment, segment_of
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


def frames(tap: socket.socket) -> Iterator[bytes]:
    """Yield what has come."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield tap.recv(1 << 16)


def arrived(tap: socket.socket, mark: bytes) -> int:
    """Return how many frames with the mark in them have come."""
    return sum(mark in frame for frame in frames(tap))


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
        came = dict.fromkeys(listening, 0)

        def all_came() -> bool:
            for name, tap in listening.items():
                came[name] += arrived(tap, mark)
            return all(came.values())

        eventually(all_came)
        send(engine, packet)
        eventually(lambda: all_came() and min(came.values()) >= 2)
        assert set(came.values()) == {2}
    assert engine.queued() == queued
    for server in servers:
        counters, former = engine.bench.counters(server.name), before[server.name]
        steered = counters.uninspected["steered"].packets - former.uninspected["steered"].packets
        assert steered == counters.total.packets - former.total.packets == 2


def for_one(engine: Live, text: bytes, sport: int, server: int = 0) -> Packet:
    """Return a datagram for the guest of that number."""
    guest = segment(engine).servers[server]
    return (
        Ether(src=CLIENT_MAC, dst=guest.mac)
        / IP(src=CLIENT, dst=guest.address)
        / UDP(sport=sport, dport=PORT)
        / Raw(text)
    )


def outlast(engine: Live) -> None:
    """Have the bridge forget what it heard, as it does of guests that are silent for minutes."""
    bridge = segment(engine).netns

    def is_forgotten() -> bool:
        known = list(rtnetlink.whereabouts(bridge))
        return not [entry for entry in known if not entry.told and entry.mac.startswith("02:5e:98")]

    with entered(bridge), IPRoute() as handle:
        (index,) = handle.link_lookup(ifname=BRIDGE)
        handle.link("set", index=index, kind="bridge", br_ageing_time=1)
        eventually(is_forgotten)
        handle.link("set", index=index, kind="bridge", br_ageing_time=30000)


def test_a_guest_that_was_silent_for_long_gets_what_is_for_it_and_nobody_else_does(engine: Live) -> None:
    servers = segment(engine).servers
    received = dict.fromkeys((server.name for server in servers), b"")

    def came(text: bytes) -> bool:
        for name, tap in listening.items():
            received[name] += b"".join(frames(tap))
        return all(b"%s-%d" % (text, at) in received[server.name] for at, server in enumerate(servers))

    with taps(engine) as listening:
        outlast(engine)
        # what is sent at last has passed what was sent before
        for sport, text in ((4100, b"first"), (4200, b"last")):
            for at in range(len(servers)):
                send(engine, for_one(engine, b"%s-%d" % (text, at), sport + at, at))
            eventually(lambda text=text: came(text))
    for at, server in enumerate(servers):
        others = [b"first-%d" % other for other in range(len(servers)) if other != at]
        assert not any(text in received[server.name] for text in others)


def test_an_exploit_to_a_guest_that_was_silent_for_long_reaches_nobody_and_alerts_once(engine: Live) -> None:
    with taps(engine) as listening:
        outlast(engine)
        send(engine, for_one(engine, b"exploit", 4001))
        engine.await_alert(1)
        outlast(engine)
        # what comes after it has passed it
        for number in range(3):
            send(engine, for_one(engine, b"fine-%d" % number, 4002 + number))
        eventually(lambda: engine.alerts().count(1) >= 1)
        assert not sum(arrived(tap, b"exploit") for tap in listening.values())
    assert engine.alerts() == [1]
