"""Each guest's stateful firewall, as chains of the inet table.

A new connection passes the *out* chain of the guest it comes from and the *in* chain of the guest it
goes to; each may deny it. What belongs to a connection that was let through passes both unasked. The
chains know guests by the port numbers in the packet mark, never by address, so a guest cannot step
out of its rules by changing its address.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from appliance.firewall import nft
from appliance.firewall.denied import NUMBER, deny
from appliance.firewall.names import digest, slug
from appliance.firewall.nft import RETURN, Chain, Rule, Set, Statement
from appliance.model.faults import PolicyError
from appliance.model.guest import GuestInventory
from appliance.model.links import Links, Port
from appliance.model.marks import (
    ALL,
    CONNTRACK_BYPASS_ORIGINATOR,
    CONNTRACK_BYPASS_RESPONDER,
    IN_PORT,
    OUT_PORT,
    OUT_PORT_SHIFT,
)
from appliance.model.policy import Firewall, FirewallRule, PolicyDocument

Direction = Literal["in", "out"]
DIRECTIONS: tuple[Direction, ...] = ("out", "in")
SHIFTS: dict[Direction, int] = {"out": 0, "in": OUT_PORT_SHIFT}
"""Where in the mark the port is whose guest has the chain."""
GUESTS_OF: dict[Direction, str] = {"out": "from_guest", "in": "to_guest"}
"""The maps to the chains of either direction."""
MARK = nft.meta("mark")
CONNTRACK_MARK = nft.ct("mark")
FROM_PORT = nft.masked(MARK, IN_PORT)
TO_PORT = nft.masked(MARK, OUT_PORT)
PROTOCOLS: dict[str, Any] = {
    "tcp": "tcp",
    "udp": "udp",
    "icmp": {"set": ["icmp", "ipv6-icmp"]},
}
PORTS = re.compile(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?){0,63}")
ADDRESS_RESOLUTION = {
    "set": ["nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"]
}
"""ARP's counterpart in IPv6: without it no rule that allows something would work; guard judges it."""


def firewall_chains(policy: PolicyDocument, inventory: GuestInventory, links: Links) -> Iterator[Chain]:
    """Yield an `out` and an `in` chain a guest. Raises PolicyError naming guest and rule."""
    for guest in inventory.guests:
        firewall = policy.guests.get(guest.name, policy.defaults).firewall
        for direction in DIRECTIONS:
            rules = tuple(_rules(guest.name, firewall, direction, links.ports))
            yield Chain(f"{direction}_{slug(guest.name)}", rules)


def firewall_sets(chains: Sequence[Chain], links: Links) -> Iterator[Set]:
    """Yield the maps from a packet's ports to those of the guests' chains that ask anything."""
    asking = {chain.name for chain in chains if chain.rules}
    for direction, shift in SHIFTS.items():
        named = [(port.number << shift, f"{direction}_{slug(port.guest)}") for port in links.ports]
        elements = [[number, nft.jump(name)] for number, name in named if name in asking]
        yield Set(GUESTS_OF[direction], "mark", tuple(elements), maps_to="verdict")


def firewall_counters(policy: PolicyDocument, inventory: GuestInventory) -> Iterator[str]:
    """Yield the counters' names: one a rule and one a default policy."""
    for guest in inventory.guests:
        firewall = policy.guests.get(guest.name, policy.defaults).firewall
        for direction in DIRECTIONS:
            yield from (counter_name(guest.name, rule) for rule in _ordered(firewall, direction))
            yield default_counter_name(guest.name, direction)


def counter_name(guest: str, rule: FirewallRule) -> str:
    """Return the rule's counter; the same rule keeps it across policy changes."""
    return f"rule/{slug(guest)}/{rule.direction}/{digest(msgspec.json.encode(rule).decode())}"


def default_counter_name(guest: str, direction: Direction) -> str:
    """Return the counter of what the default policy denied."""
    return f"rule/{slug(guest)}/{direction}/default"


def rule_number(counter: str) -> int:
    """Return the number that stands for the rule of this counter in what the kernel remembers."""
    return int(digest(counter), 16) & NUMBER


def admission_rules(chains: Sequence[Chain]) -> Iterator[Rule]:
    """Yield the rules that send a packet through the chains of its guests, where those ask anything."""
    if any(chain.rules for chain in chains):
        yield nft.match(nft.ct("state"), ["established", "related"], "in"), nft.goto("steer")
        is_icmpv6 = nft.match(nft.meta("l4proto"), "ipv6-icmp")
        is_resolution = nft.match(nft.payload("icmpv6", "type"), ADDRESS_RESOLUTION)
        yield is_icmpv6, is_resolution, nft.goto("steer")
        yield (nft.dispatch(FROM_PORT, GUESTS_OF["out"]),)
        yield (nft.dispatch(TO_PORT, GUESTS_OF["in"]),)
    yield (nft.goto("steer"),)


def _ordered(firewall: Firewall, direction: Direction) -> list[FirewallRule]:
    """Return one direction's rules by priority; equal ones stay in the order they are written."""
    return sorted((r for r in firewall.rules if r.direction == direction), key=lambda rule: rule.priority)


def _rules(guest: str, firewall: Firewall, direction: Direction, ports: Sequence[Port]) -> Iterator[Rule]:
    for number, rule in enumerate(_ordered(firewall, direction)):
        try:
            conditions = list(_conditions(rule, ports))
        except ValueError as error:
            called = f" {rule.name!r}" if rule.name else ""
            raise PolicyError(
                f"guest {guest!r}: firewall rule {number}{called} ({direction}): {error}"
            ) from error
        name = counter_name(guest, rule)
        for condition in conditions:
            yield (*condition, nft.count(name), *_consequence(rule, direction, name))
    if (firewall.default_in if direction == "in" else firewall.default_out) == "deny":
        name = default_counter_name(guest, direction)
        yield nft.count(name), *deny(rule_number(name))


def _consequence(rule: FirewallRule, direction: Direction, name: str) -> tuple[Statement, ...]:
    match rule.action:
        case "allow":
            return (RETURN,)
        case "deny":
            return deny(rule_number(name))
        case "log":
            return ()
        case "bypass":
            bit = CONNTRACK_BYPASS_ORIGINATOR if direction == "out" else CONNTRACK_BYPASS_RESPONDER
            return (nft.set_bits(CONNTRACK_MARK, keep=ALL, to=bit), RETURN)


def _conditions(rule: FirewallRule, ports: Sequence[Port]) -> Iterator[tuple[Statement, ...]]:
    """Yield the comparisons of a rule. Raises ValueError for a peer or ports that cannot be."""
    peer = _peer(rule, ports)
    if rule.ports == "any":
        if rule.protocol == "any":
            yield peer
        else:
            yield (*peer, nft.match(nft.meta("l4proto"), PROTOCOLS[rule.protocol]))
        return
    if rule.protocol == "icmp":
        raise ValueError("icmp has no ports; leave `ports` at any")
    protocol = {"set": ["tcp", "udp"]} if rule.protocol == "any" else rule.protocol
    numbers = {"set": list(_port_ranges(rule.ports))}
    yield (
        *peer,
        nft.match(nft.meta("l4proto"), protocol),
        nft.match(nft.payload("th", "dport"), numbers),
    )


def _peer(rule: FirewallRule, ports: Sequence[Port]) -> tuple[Statement, ...]:
    if rule.peer == "any":
        return ()
    if rule.peer.startswith("guest:"):
        return (_guest_peer(rule.peer.removeprefix("guest:"), rule.direction, ports),)
    network = ipaddress.ip_network(rule.peer, strict=False)
    value: Any = str(network.network_address)
    if network.prefixlen != network.max_prefixlen:
        value = nft.prefix(value, network.prefixlen)
    protocol = "ip" if network.version == 4 else "ip6"
    return (nft.match(nft.payload(protocol, "daddr" if rule.direction == "out" else "saddr"), value),)


def _guest_peer(name: str, direction: Direction, ports: Sequence[Port]) -> Statement:
    """Return the comparison with the guest's ports: on one bridge a guest is known by its vNIC."""
    numbers = [port.number for port in ports if port.guest == name]
    if not numbers:
        raise ValueError(f"there is no guest {name!r}")
    if direction == "out":
        return nft.match(TO_PORT, {"set": [number << OUT_PORT_SHIFT for number in numbers]})
    return nft.match(FROM_PORT, {"set": numbers})


def _port_ranges(text: str) -> Iterator[Any]:
    if not PORTS.fullmatch(text.replace(" ", "")):
        raise ValueError(f"ports {text!r}: write any, 80, 80,443 or 1000-2000 (at most 64 of them)")
    spans = sorted(_span(part) for part in text.replace(" ", "").split(","))
    merged: list[tuple[int, int]] = []
    for low, high in spans:  # the kernel refuses overlapping ranges
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    for low, high in merged:
        yield low if low == high else {"range": [low, high]}


def _span(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    first, last = int(low), int(high or low)
    if not 0 <= first <= last <= 65535:
        raise ValueError(f"ports {text!r}: not between 0 and 65535 in rising order")
    return first, last
