"""What nothing can look into reaches a protected guest from nobody; what can be looked into is."""

from socket import IPPROTO_UDP

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.packet import Packet

from appliance import lab
from appliance.model.policy import Guard, GuestPolicy, PolicyDocument
from tests.netns.kit import PREVENT, Bench, policy, send_frames

ETHER = Ether(src=lab.CLIENT.mac, dst=lab.WEB.mac)
EXPLOIT = IP(src=lab.CLIENT.ipv4, dst=lab.WEB.ipv4) / UDP(sport=7, dport=9) / b"exploit"
UNREADABLE = {
    "vlan-0": ETHER / Dot1Q(vlan=0) / EXPLOIT,
    "vlan-0-priority": ETHER / Dot1Q(vlan=0, prio=5) / EXPLOIT,
    "qinq-8100": ETHER / Dot1Q(vlan=5) / Dot1Q(vlan=6) / EXPLOIT,
    "qinq-88a8": ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / EXPLOIT,
    "single-88a8": ETHER / Dot1AD(vlan=5) / EXPLOIT,
    "vlan-0-in-vlan": ETHER / Dot1Q(vlan=5) / Dot1Q(vlan=0) / EXPLOIT,
    "pppoe": ETHER / PPPoE(sessionid=1) / PPP() / EXPLOIT,
    "pppoe-in-vlan": ETHER / Dot1Q(vlan=5) / PPPoE(sessionid=1) / PPP() / EXPLOIT,
    "snap": Dot3(src=lab.CLIENT.mac, dst=lab.WEB.mac) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3)
    / SNAP(OUI=0, code=0x0800) / EXPLOIT,
    "mpls": Ether(src=lab.CLIENT.mac, dst=lab.WEB.mac, type=0x8847) / b"\x00\x00\x11\xff" / EXPLOIT,
}  # fmt: skip


@pytest.mark.parametrize("mode", ["off", "log", "enforce"])
def test_every_unreadable_frame_is_dropped_and_counted_in_every_mode(bench: Bench, mode: str) -> None:
    bench.apply(policy(guard=Guard(mode)))  # type: ignore[arg-type]
    for number, (name, frame) in enumerate(UNREADABLE.items(), 1):
        send_frames(bench.guest(lab.CLIENT), [bytes(frame)])
        for guest in ("web", "client"):
            counters = bench.counters(guest)
            assert counters.dropped["ethertype"].packets == number, name
            assert counters.uninspected["ethertype"].packets == 0, name


def test_each_that_policy_lets_pass_is_counted_as_uninspected(bench: Bench) -> None:
    passing = GuestPolicy(assignments=PREVENT, guard=Guard(frames="pass"))
    bench.apply(PolicyDocument(1, guests={"web": passing, "client": passing}))
    for number, (name, frame) in enumerate(UNREADABLE.items(), 1):
        send_frames(bench.guest(lab.CLIENT), [bytes(frame)])
        counters = bench.counters()
        assert counters.uninspected["ethertype"].packets == number, name
        assert counters.dropped["ethertype"].packets == 0, name


def test_either_ends_policy_stops_it(bench: Bench) -> None:
    passing = GuestPolicy(guard=Guard(frames="pass"))
    bench.apply(PolicyDocument(1, guests={"client": passing}))
    send_frames(bench.guest(lab.CLIENT), [bytes(UNREADABLE["vlan-0"])])
    assert bench.counters("web").dropped["ethertype"].packets == 1


@pytest.mark.parametrize("frame", [ETHER / EXPLOIT, ETHER / Dot1Q(vlan=5) / EXPLOIT], ids=["plain", "vlan-5"])
def test_a_readable_frame_is_queued(bench: Bench, frame: Packet) -> None:
    bench.apply(policy())
    with bench.consumer() as seen:
        send_frames(bench.guest(lab.CLIENT), [bytes(frame)])
    assert [packet.data for packet in seen if packet.data[9] == IPPROTO_UDP] == [bytes(EXPLOIT)]
    assert bench.counters().uninspected["ethertype"].packets == 0
