"""A guest cannot speak with another's MAC or IP: crafted frames on a real bridge."""

import socket
from collections import Counter

import pytest
from pyroute2 import NetNS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from appliance import lab
from appliance.firewall import promotable
from appliance.lab.wire import Outcome
from appliance.model.policy import AddressPair, Guard, GuestPolicy, PolicyDocument
from appliance.netns import entered
from tests.netns.kit import Bench, send_frames
from tests.netns.topology import PATIENCE_S

WEB, CLIENT = lab.WEB, lab.CLIENT
ETH_P_ALL = 0x0003
OTHER_MAC = "02:5e:99:00:00:66"
VRRP = AddressPair("00:00:5e:00:01:05", "10.99.0.5")


def ether(src: str = CLIENT.mac, dst: str = WEB.mac) -> Packet:
    return Ether(src=src, dst=dst)


def ipv4(src: str = CLIENT.ipv4, dst: str = WEB.ipv4) -> Packet:
    return IP(src=src, dst=dst) / UDP(sport=7, dport=9) / b"x"


def ipv6(src: str = CLIENT.ipv6) -> Packet:
    return IPv6(src=src, dst=WEB.ipv6) / UDP(sport=7, dport=9) / b"x"


def arp(mac: str = CLIENT.mac, ip: str = CLIENT.ipv4, src: str = CLIENT.mac) -> Packet:
    return ether(src, "ff:ff:ff:ff:ff:ff") / ARP(op=2, hwsrc=mac, psrc=ip, hwdst=WEB.mac, pdst=WEB.ipv4)


def advertisement(target: str, *, hidden: bool = False) -> Packet:
    head = IPv6(src=CLIENT.ipv6, dst=WEB.ipv6, hlim=255)
    if hidden:
        head = head / IPv6ExtHdrDestOpt()
    option = ICMPv6NDOptDstLLAddr(lladdr=CLIENT.mac)
    return ether() / head / ICMPv6ND_NA(tgt=target, S=1, O=1) / option


SPOOFED = [
    ("mac", ether(OTHER_MAC) / ipv4()),
    ("mac", ether(WEB.mac, "ff:ff:ff:ff:ff:ff") / ipv4()),
    ("mac", arp(src=OTHER_MAC)),
    ("arp", arp(ip=WEB.ipv4)),
    ("arp", arp(mac=OTHER_MAC)),
    ("arp", arp(ip="10.99.0.1")),
    ("ipv4", ether() / ipv4(WEB.ipv4)),
    ("ipv4", ether() / ipv4("10.99.0.99")),
    ("ipv4", ether() / ipv4("0.0.0.0")),
    ("ipv4", ether() / Dot1Q(vlan=5) / ipv4("10.99.0.99")),
    ("ipv6", ether() / ipv6("fd99::99")),
    ("ipv6", ether() / ipv6(WEB.ipv6)),
    ("nd", advertisement(WEB.ipv6)),
    ("nd", advertisement("fd99::1")),
    ("nd", advertisement("fd99::1", hidden=True)),
    ("ra", ether() / IPv6(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_RA()),
]
HONEST = [
    ether() / ipv4(),
    ether() / ipv6(),
    ether() / Dot1Q(vlan=5) / ipv4(),
    arp(),
    arp(ip="0.0.0.0"),
    ether(dst="ff:ff:ff:ff:ff:ff")
    / IP(src="0.0.0.0", dst="255.255.255.255")
    / UDP(sport=68, dport=67)
    / b"dhcp",
    ether() / ipv6("fe80::abcd"),
    ether(dst="33:33:ff:00:00:10") / IPv6(src="::", dst="ff02::1:ff00:10") / ICMPv6ND_NS(tgt=CLIENT.ipv6),
    advertisement(CLIENT.ipv6),
    advertisement("fe80::abcd"),
]


FENCE = ether(dst="ff:ff:ff:ff:ff:ff") / IP(src=CLIENT.ipv4, dst=WEB.ipv4) / UDP(sport=7, dport=9) / b"fence"
"""Arrives always, wherever the bridge thinks that guests are."""


def guarded(mode: str, *allowed: AddressPair) -> PolicyDocument:
    return PolicyDocument(1, guests={"client": GuestPolicy(guard=Guard(mode, allowed))})  # type: ignore[arg-type]


def violations(bench: Bench) -> dict[str, int]:
    return {
        kind: traffic.packets
        for kind, traffic in bench.counters("client").violations.items()
        if traffic.packets
    }


@pytest.fixture
def sent(bench: Bench) -> "Sender":
    return Sender(bench)


class Sender:
    """Sends a frame from client, and one behind it, and says whether web got it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def arrives(self, frame: Packet) -> bool:
        with entered(self.bench.guest(WEB)):
            ears = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        found = False
        with ears:
            ears.settimeout(PATIENCE_S)
            send_frames(self.bench.guest(CLIENT), [bytes(frame), bytes(FENCE)])
            while not is_same(received := ears.recv(2048), FENCE):
                found = found or is_same(received, frame)
        return found


def is_same(received: bytes, frame: Packet) -> bool:
    """Return whether the frame was received; the kernel keeps a VLAN tag apart from it."""
    sent = bytes(frame)
    tag = 4 if Dot1Q in frame else 0
    return received[6:12] == sent[6:12] and received[14:].startswith(sent[14 + tag :])


@pytest.mark.parametrize(("mode", "passes"), [("enforce", False), ("log", True)])
def test_every_spoofed_frame_is_counted_and_stopped_where_it_is_enforced(
    bench: Bench, sent: Sender, mode: str, passes: bool
) -> None:
    bench.apply(guarded(mode))
    counted: Counter[str] = Counter()
    for kind, frame in SPOOFED:
        bench.forget_macs()
        bench.tell_bridges()
        assert sent.arrives(frame) is passes, frame.summary()
        counted[kind] += 1
        assert violations(bench) == counted, frame.summary()


def test_enforced_passes_every_honest_frame(bench: Bench, sent: Sender) -> None:
    bench.apply(guarded("enforce"))
    for frame in HONEST:
        assert sent.arrives(frame), frame.summary()
    assert violations(bench) == {}


def test_off_neither_stops_nor_counts(bench: Bench, sent: Sender) -> None:
    bench.apply(guarded("off"))
    assert sent.arrives(ether(OTHER_MAC) / ipv4())
    assert violations(bench) == {}


def test_a_guest_without_a_policy_is_logged_only(bench: Bench, sent: Sender) -> None:
    bench.apply(PolicyDocument(1))
    assert sent.arrives(ether(OTHER_MAC) / ipv4())
    assert violations(bench) == {"mac": 1}


def test_a_spoofed_mac_does_not_take_the_others_port_over(bench: Bench, sent: Sender) -> None:
    bench.apply(guarded("enforce"))
    assert bench.get(timeout_s=10.0).outcome is Outcome.ANSWERED
    sent.arrives(ether(WEB.mac, "02:5e:99:00:00:77") / ipv4())
    with NetNS(bench.netns, flags=0) as handle:
        (web,) = handle.link_lookup(ifname=WEB.tap)
        learned = [
            each["ifindex"]
            for each in handle.get_neighbours(family=7)
            if each.get_attr("NDA_LLADDR") == WEB.mac
        ]
    assert set(learned) == {web}


def test_an_allowed_pair_passes_and_only_as_a_pair(bench: Bench, sent: Sender) -> None:
    bench.apply(guarded("enforce", VRRP))
    assert sent.arrives(ether(VRRP.mac) / ipv4(VRRP.ip))
    assert sent.arrives(arp(VRRP.mac, VRRP.ip, VRRP.mac))
    assert not sent.arrives(ether(CLIENT.mac) / ipv4(VRRP.ip))
    assert not sent.arrives(ether(VRRP.mac) / ipv4())


def test_an_allowed_network_passes_as_a_whole(bench: Bench, sent: Sender) -> None:
    bench.apply(guarded("enforce", AddressPair(CLIENT.mac, "10.99.0.0/28"), AddressPair(CLIENT.mac, "::/0")))
    assert sent.arrives(ether() / ipv4("10.99.0.3"))
    assert not sent.arrives(ether() / ipv4("10.99.0.17"))
    assert sent.arrives(ether() / IPv6(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_RA())


def test_what_was_seen_can_be_promoted(bench: Bench, sent: Sender) -> None:
    bench.apply(guarded("log"))
    sent.arrives(ether(VRRP.mac) / ipv4(VRRP.ip))
    sent.arrives(ether() / ipv6("fd99::99"))
    sent.arrives(arp(VRRP.mac, "10.99.0.6", VRRP.mac))
    seen = promotable("client", bench.inventory, bench.netns)
    assert seen == (VRRP, AddressPair(VRRP.mac, "10.99.0.6"), AddressPair(CLIENT.mac, "fd99::99"))
    bench.apply(guarded("enforce", *seen))
    assert sent.arrives(ether(VRRP.mac) / ipv4(VRRP.ip))
    assert promotable("client", bench.inventory, bench.netns, seen) == ()
    assert promotable("web", bench.inventory, bench.netns) == ()


def test_a_flood_of_addresses_fills_no_more_than_its_bound(bench: Bench) -> None:
    bench.apply(guarded("enforce"))
    frames = [bytes(ether() / ipv4(f"10.{number >> 8 & 255}.{number & 255}.1")) for number in range(6000)]
    send_frames(bench.guest(CLIENT), frames)
    assert violations(bench) == {"ipv4": 6000}
    assert len(promotable("client", bench.inventory, bench.netns)) <= 4096
