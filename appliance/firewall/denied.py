"""What the kernel remembers of packets that it denied: which, and by which rule.

A counter says how often a rule denied, not whom. So a packet that is denied leaves its addresses, ports and
the rule's number in a set of bounded size, for an hour after the last one; `sekisho explain` reads it there.
A full set costs explanations, never a verdict.
"""

import socket
from collections.abc import Iterator
from typing import Any

import msgspec

from appliance.firewall import nft
from appliance.firewall.kernel import FAMILIES
from appliance.firewall.nft import DROP, TABLE, Chain, Rule, Set
from appliance.netns import list_objects

ENTRIES = 8192
KEPT_S = 3600
NUMBER = 0x3FFFFFFF
"""Bits of the mark for the rule's number."""
BY_FAILURE_POLICY = 1
"""Number of the failure policy for an inspector that is down; all others are rules'."""
PROTOCOLS = {"tcp": 0x40000000, "udp": 0x80000000, "icmp": 0xC0000000}
"""The mark's other bits, for nft 1.0.6 fails on a set with more than five fields."""
VERSIONS = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}


class Denied(msgspec.Struct, frozen=True):
    """Packets of one kind that were denied. rule: its number. ago_s: since the last one."""

    rule: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: str
    ago_s: int


def deny(number: int) -> tuple[nft.Statement, ...]:
    """Return the statements that drop a packet and remember that the rule of this number did."""
    # The mark is a packet's that goes nowhere any more.
    return {"mangle": {"key": nft.meta("mark"), "value": number}}, nft.goto("denied")


def denied_chain() -> Chain:
    """Return the chain that `deny` leads to."""
    return Chain("denied", (*_protocols(), *_learning(), (DROP,)))


def denied_sets() -> Iterator[Set]:
    """Yield the sets that packets leave themselves in."""
    for version, (_, address) in VERSIONS.items():
        types = ("mark", address, address, "inet_service", "inet_service")
        yield Set(
            f"denied_ipv{version}",
            types,
            flags=("timeout",),
            size=ENTRIES,
            timeout_s=KEPT_S,
            learned=True,
        )


def _protocols() -> Iterator[Rule]:
    for name, bits in PROTOCOLS.items():
        numbers = {"set": ["icmp", "ipv6-icmp"]} if name == "icmp" else name
        yield (
            nft.match(nft.meta("l4proto"), numbers),
            nft.set_bits(nft.meta("mark"), keep=0xFFFFFFFF, to=bits),
        )


def _learning() -> Iterator[Rule]:
    """Without ports the first two bytes stand for both; of ICMP that is type and code."""
    sport, dport = nft.payload("th", "sport"), nft.payload("th", "dport")
    has_ports = nft.meta("l4proto"), {"set": ["tcp", "udp"]}
    for version, (protocol, _) in VERSIONS.items():
        ends = nft.payload(protocol, "saddr"), nft.payload(protocol, "daddr")
        is_version, into = nft.match(nft.meta("protocol"), protocol), f"denied_ipv{version}"
        with_ports = nft.concat(nft.meta("mark"), *ends, sport, dport)
        without = nft.concat(nft.meta("mark"), *ends, sport, sport)
        yield is_version, nft.match(*has_ports), nft.learn(with_ports, into)
        yield is_version, nft.unequal(*has_ports), nft.learn(without, into)


def read_denied(netns: str | None = None) -> list[Denied]:
    """Return what is remembered, the newest first. Raises SystemFault."""
    found = [
        _denied(element["elem"])
        for family in FAMILIES
        for version in VERSIONS
        for entry in list_objects(netns, "set", family, TABLE, f"denied_ipv{version}")
        for element in entry.get("set", {}).get("elem", ())
    ]
    return sorted(found, key=lambda each: each.ago_s)


def _denied(element: dict[str, Any]) -> Denied:
    mark, source, destination, source_port, destination_port = element["val"]["concat"]
    protocols = {bits: name for name, bits in PROTOCOLS.items()}
    return Denied(
        rule=int(mark) & NUMBER,
        source=source,
        source_port=_number(source_port),
        destination=destination,
        destination_port=_number(destination_port),
        protocol=protocols.get(int(mark) & ~NUMBER, "other"),
        ago_s=KEPT_S - int(element.get("expires", KEPT_S)),
    )


def _number(port: int | str) -> int:
    """Return a port's number; some versions of nft print a service's name."""
    return port if isinstance(port, int) else socket.getservbyname(port)
