"""The L2 guard, and the marks that tell the later chains which guests a packet is between.

All of it is the bridge family's. Spoofing is judged in *prerouting*, before the bridge learns the
source address: a frame dropped in *forward* would have moved another guest's MAC to the spoofer's
port already. Framing is judged in *forward*, where both ends are known: what nothing here can look
into must reach a protected guest from nobody.

Only what is known is checked: an IPv4 source where guests.yaml names an IPv4 address of the vNIC,
an IPv6 source where it names an IPv6 one, a link-local source where it names a link-local one. So a
vNIC without addresses is held to its MAC alone.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from appliance.firewall import nft
from appliance.firewall.names import slug
from appliance.firewall.nft import Chain, Rule, Set, Table
from appliance.model.faults import PolicyError
from appliance.model.guest import Guest, GuestInventory, Vnic
from appliance.model.links import Links, Port
from appliance.model.marks import ALL, BYPASS, IN_PORT, OUT_PORT, OUT_PORT_SHIFT, PACKET_MASK
from appliance.model.policy import AddressPair, Guard, PolicyDocument

IIF, OIF = nft.meta("iifname"), nft.meta("oifname")
MARK = nft.meta("mark")
SOURCE_MAC = nft.payload("ether", "saddr")
ETHER_TYPE = nft.payload("ether", "type")
PLAIN_TYPES = {"set": ["arp", "ip", "ip6"]}
ND_ADVERTISEMENT = "nd-neighbor-advert"
ND_TARGET_BITS = 64
"""Where the target address of a neighbour advertisement begins (RFC 4861, 4.4)."""
LINK_LOCAL = "fe80::/10"
ANY_IPV6 = "::/0"

PREROUTING_PRIORITY = -300
FORWARD_PRIORITY = -200
"""Before br_netfilter's own forward hook at 0, which calls the inet chains."""

NO_GUEST = "port_of_no_guest"

LEARNED_ENTRIES = 4096
LEARNED_TIMEOUT_S = 24 * 3600

Violation = Literal["mac", "arp", "ipv4", "ipv6", "nd", "ra"]
VIOLATIONS: tuple[Violation, ...] = ("mac", "arp", "ipv4", "ipv6", "nd", "ra")


class GuardedVnic(msgspec.Struct, frozen=True):
    """A vNIC with its port and the guard that its guest's policy sets."""

    guest: Guest
    vnic: Vnic
    port: Port
    guard: Guard

    @property
    def macs(self) -> tuple[str, ...]:
        """The MACs that it may speak with."""
        return tuple(dict.fromkeys([self.vnic.mac, *(pair.mac.lower() for pair in self.guard.allowed)]))

    def pairs(self, version: Literal[4, 6]) -> tuple[tuple[str, str], ...]:
        """Return the (MAC, network) pairs of one IP version that it may speak with."""
        own = [(self.vnic.mac, address) for address in self.vnic.addresses]
        allowed = [(pair.mac.lower(), pair.ip) for pair in self.guard.allowed]
        pairs = [(mac, ipaddress.ip_network(text, strict=False)) for mac, text in (*own, *allowed)]
        return tuple(dict.fromkeys((mac, str(net)) for mac, net in pairs if net.version == version))

    def knows(self, version: Literal[4, 6]) -> bool:
        """Return whether guests.yaml names an address of this version that is not link-local."""
        addresses = [ipaddress.ip_address(address) for address in self.vnic.addresses]
        return any(each.version == version and not each.is_link_local for each in addresses)

    def knows_link_local(self) -> bool:
        """Return whether guests.yaml names an IPv6 link-local address."""
        addresses = [ipaddress.ip_address(address) for address in self.vnic.addresses]
        return any(each.version == 6 and each.is_link_local for each in addresses)


def guarded_vnics(policy: PolicyDocument, inventory: GuestInventory, links: Links) -> list[GuardedVnic]:
    """Return all vNICs of the inventory with what the policy says for them.

    Raises PolicyError for an allowed pair that is none, naming the guest.
    """
    ports = {port.tap: port for port in links.ports}
    for guest in inventory.guests:
        for pair in policy.guests.get(guest.name, policy.defaults).guard.allowed:
            _check_pair(guest.name, pair)
    return [
        GuardedVnic(guest, vnic, ports[vnic.tap], policy.guests.get(guest.name, policy.defaults).guard)
        for guest in inventory.guests
        for vnic in guest.vnics
    ]


def _check_pair(guest: str, pair: AddressPair) -> None:
    place = f"guest {guest!r}: guard allows {pair.mac!r} with {pair.ip!r}"
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", pair.mac.lower()):
        raise PolicyError(f"{place}: the first is no MAC address (write 00:00:5e:00:01:05)")
    try:
        ipaddress.ip_network(pair.ip, strict=False)
    except ValueError as error:
        raise PolicyError(f"{place}: the second is no address or network") from error


def bridge_table(policy: PolicyDocument, inventory: GuestInventory, links: Links) -> Table:
    """Return the bridge family's table: guard, framing, port marks and the operator's bypass."""
    vnics = guarded_vnics(policy, inventory, links)
    judged = [each for each in vnics if each.guard.mode != "off"]
    members = {member for bridge in links.bridges for member in bridge.members}
    members |= {each.vnic.tap for each in vnics}
    return Table(
        "bridge",
        chains=(
            Chain("guard", tuple(_guard_rules()), nft.Hook("prerouting", PREROUTING_PRIORITY)),
            *_source_chains(),
            *(_violation_chain(violation) for violation in VIOLATIONS),
            *(_nd_chain(each) for each in judged if _checks_ipv6(each)),
            Chain("marks", tuple(_mark_rules()), nft.Hook("forward", FORWARD_PRIORITY)),
            *_unreadable_chains(),
            *_port_chains(vnics),
        ),
        sets=(*_guard_sets(judged), *_learned_sets(), *_mark_sets(vnics, sorted(members))),
        counters=tuple(_counters(vnics)),
    )


# Spoofing.


def _guard_rules() -> Iterator[Rule]:
    # nearly every frame: IPv4 from one of the vNIC's own addresses, told by one lookup
    yield nft.match(nft.concat(IIF, SOURCE_MAC, nft.payload("ip", "saddr")), "@own_ipv4"), nft.ACCEPT
    yield nft.unequal(IIF, "@judged"), nft.ACCEPT
    yield nft.unequal(nft.concat(IIF, SOURCE_MAC), "@macs"), nft.goto("bad_mac")
    kinds: list[tuple[Any, nft.Statement]] = [
        ("arp", nft.goto("arp_source")),
        ("ip", nft.goto("ipv4_source")),
        ("ip6", nft.goto("ipv6_source")),
    ]
    yield (nft.dispatch(nft.meta("protocol"), kinds),)


def _source_chains() -> Iterator[Chain]:
    """A chain a protocol; what leaves it without a verdict is as it should be."""
    arp_ip, arp_mac = nft.payload("arp", "saddr ip"), nft.payload("arp", "saddr ether")
    yield Chain(
        "arp_source",
        (
            (nft.unequal(nft.concat(IIF, arp_mac), "@macs"), nft.goto("bad_arp")),
            (nft.unequal(IIF, "@checked_ipv4"), nft.ACCEPT),
            # an address probe carries no sender (RFC 5227, 2.1.1)
            (nft.match(arp_ip, "0.0.0.0"), nft.ACCEPT),
            (nft.unequal(nft.concat(IIF, arp_mac, arp_ip), "@ipv4_pairs"), nft.goto("bad_arp")),
        ),
    )
    ipv4 = nft.payload("ip", "saddr")
    yield Chain(
        "ipv4_source",
        (
            (nft.unequal(IIF, "@checked_ipv4"), nft.ACCEPT),
            # a DHCP client has none yet
            (
                nft.match(ipv4, "0.0.0.0"),
                nft.match(nft.payload("udp", "sport"), 68),
                nft.match(nft.payload("udp", "dport"), 67),
                nft.ACCEPT,
            ),
            (nft.unequal(nft.concat(IIF, SOURCE_MAC, ipv4), "@ipv4_pairs"), nft.goto("bad_ipv4")),
        ),
    )
    ipv6 = nft.payload("ip6", "saddr")
    icmpv6_type = nft.payload("icmpv6", "type")
    is_icmpv6 = nft.match(nft.meta("l4proto"), "ipv6-icmp")
    router_types = {"set": ["nd-router-advert", "nd-redirect"]}
    yield Chain(
        "ipv6_source",
        (
            (
                is_icmpv6,
                nft.match(icmpv6_type, router_types),
                nft.unequal(IIF, "@routers"),
                nft.goto("bad_ra"),
            ),
            (
                is_icmpv6,
                nft.match(icmpv6_type, ND_ADVERTISEMENT),
                nft.dispatch(IIF, "nd_targets"),
            ),
            # duplicate address detection and MLD
            (nft.match(ipv6, "::"), nft.ACCEPT),
            (
                nft.match(ipv6, _network(LINK_LOCAL)),
                nft.unequal(IIF, "@checked_link_local"),
                nft.ACCEPT,
            ),
            (nft.unequal(ipv6, _network(LINK_LOCAL)), nft.unequal(IIF, "@checked_ipv6"), nft.ACCEPT),
            (nft.unequal(nft.concat(IIF, SOURCE_MAC, ipv6), "@ipv6_pairs"), nft.goto("bad_ipv6")),
        ),
    )


def _violation_chain(violation: Violation) -> Chain:
    """Count the offender, remember what it spoke with, and drop where the guard is enforced."""
    protocol = nft.meta("protocol")
    by_arp = nft.learn(
        nft.concat(IIF, nft.payload("arp", "saddr ether"), nft.payload("arp", "saddr ip")), "seen_ipv4"
    )
    by_ipv4 = nft.learn(nft.concat(IIF, SOURCE_MAC, nft.payload("ip", "saddr")), "seen_ipv4")
    by_ipv6 = nft.learn(nft.concat(IIF, SOURCE_MAC, nft.payload("ip6", "saddr")), "seen_ipv6")
    learned: dict[Violation, tuple[Rule, ...]] = {
        "mac": (
            (nft.match(protocol, "arp"), by_arp),
            (nft.match(protocol, "ip"), by_ipv4),
            (nft.match(protocol, "ip6"), by_ipv6),
        ),
        "arp": ((by_arp,),),
        "ipv4": ((by_ipv4,),),
        "ipv6": ((by_ipv6,),),
    }
    return Chain(
        f"bad_{violation}",
        (
            (nft.count_by(IIF, f"offenders_{violation}"),),
            *learned.get(violation, ()),
            (nft.match(IIF, "@enforced"), nft.DROP),
        ),
    )


def _nd_chain(each: GuardedVnic) -> Chain:
    """Accept advertisements of own addresses: `nft` has no field for the target, so one rule an address."""
    own = [net for _, net in each.pairs(6)]
    if not each.knows_link_local():
        own.append(LINK_LOCAL)
    return Chain(
        f"nd_{slug(each.vnic.tap)}",
        (*((*_target_in(network), nft.RETURN) for network in dict.fromkeys(own)), (nft.goto("bad_nd"),)),
    )


def _target_in(network: str) -> tuple[nft.Statement, ...]:
    """Return the comparison of an advertisement's target with a network; ::/0 needs none."""
    net = ipaddress.IPv6Network(network)
    if net.prefixlen == 0:
        return ()
    value = int(net.network_address) >> (128 - net.prefixlen)
    # as text: JSON holds whole numbers of 63 bits only
    return (nft.match(nft.raw_payload("th", ND_TARGET_BITS, net.prefixlen), f"{value:#x}"),)


def _checks_ipv6(each: GuardedVnic) -> bool:
    return each.knows(6) or each.knows_link_local()


def _guard_sets(judged: Sequence[GuardedVnic]) -> Iterator[Set]:
    yield Set("judged", "ifname", tuple(each.vnic.tap for each in judged))
    enforced = [each.vnic.tap for each in judged if each.guard.mode == "enforce"]
    yield Set("enforced", "ifname", tuple(enforced))
    macs = [nft.concat(each.vnic.tap, mac) for each in judged for mac in each.macs]
    yield Set("macs", ("ifname", "ether_addr"), tuple(macs))
    yield Set("checked_ipv4", "ifname", tuple(each.vnic.tap for each in judged if each.knows(4)))
    yield Set("checked_ipv6", "ifname", tuple(each.vnic.tap for each in judged if each.knows(6)))
    link_local = [each.vnic.tap for each in judged if each.knows_link_local()]
    yield Set("checked_link_local", "ifname", tuple(link_local))
    routers = [each.vnic.tap for each in judged if ANY_IPV6 in [net for _, net in each.pairs(6)]]
    yield Set("routers", "ifname", tuple(routers))
    for version, address_type in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        pairs = [
            nft.concat(each.vnic.tap, mac, _network(network))
            for each in judged
            for mac, network in _without_overlaps(each.pairs(4 if version == 4 else 6))
        ]
        name, types = f"ipv{version}_pairs", ("ifname", "ether_addr", address_type)
        yield Set(name, types, tuple(pairs), flags=("interval",))
    own = [
        nft.concat(each.vnic.tap, mac, _network(network))
        for each in judged
        for mac, network in each.pairs(4)
        if each.knows(4) and ipaddress.ip_network(network).prefixlen == 32
    ]
    yield Set("own_ipv4", ("ifname", "ether_addr", "ipv4_addr"), tuple(own))
    targets = [
        (each.vnic.tap, nft.jump(f"nd_{slug(each.vnic.tap)}")) for each in judged if _checks_ipv6(each)
    ]
    yield Set("nd_targets", "ifname", tuple([tap, verdict] for tap, verdict in targets), maps_to="verdict")
    for violation in VIOLATIONS:
        elements = [[each.vnic.tap, _offender(each, violation)] for each in judged]
        yield Set(f"offenders_{violation}", "ifname", tuple(elements), maps_to="counter")


def _without_overlaps(pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Leave out what a wider network of the same MAC covers: the kernel refuses overlapping elements."""
    for mac, network in pairs:
        net = ipaddress.ip_network(network)
        wider = [ipaddress.ip_network(other) for other_mac, other in pairs if other_mac == mac]
        if not any(other != net and net.subnet_of(other) for other in wider):  # type: ignore[arg-type]
            yield mac, network


def _learned_sets() -> Iterator[Set]:
    for version, address_type in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        yield Set(
            f"seen_ipv{version}",
            ("ifname", "ether_addr", address_type),
            flags=("timeout",),
            size=LEARNED_ENTRIES,
            timeout_s=LEARNED_TIMEOUT_S,
            learned=True,
        )


def _offender(each: GuardedVnic, violation: Violation) -> str:
    return f"guard/{slug(each.guest.name)}/{violation}"


def _network(network: str) -> Any:
    net = ipaddress.ip_network(network)
    if net.prefixlen == net.max_prefixlen:
        return str(net.network_address)
    return nft.prefix(str(net.network_address), net.prefixlen)


# Framing and marks.


def _mark_rules() -> Iterator[Rule]:
    """Clear our bits, write both ports' numbers and the operator's bypass, judge the framing.

    The maps and sets are of our bridges' ports: what crosses another bridge is left as it is.
    """
    yield (nft.dispatch(IIF, "in_ports"),)
    yield (nft.dispatch(OIF, "out_ports"),)
    yield nft.match(IIF, "@bypassed"), nft.set_bits(MARK, keep=ALL, to=BYPASS)
    yield nft.match(OIF, "@bypassed"), nft.set_bits(MARK, keep=ALL, to=BYPASS)
    yield nft.match(ETHER_TYPE, PLAIN_TYPES), nft.ACCEPT
    yield nft.match(nft.masked(MARK, IN_PORT | OUT_PORT), 0), nft.ACCEPT
    # one tag is looked through (steering.backend sees to it), but VLAN ID 0 is no VLAN: receivers take
    # such a frame for an untagged one, and bridges do not
    yield (
        nft.match(ETHER_TYPE, "vlan"),
        nft.unequal(nft.payload("vlan", "id"), 0),
        nft.match(nft.payload("vlan", "type"), PLAIN_TYPES),
        nft.ACCEPT,
    )
    yield (nft.goto("unreadable"),)


def _unreadable_chains() -> Iterator[Chain]:
    """Drop where either end's policy says so; count for both ends, dropped and passed apart.

    A counter map that has nothing for its key ends the rule, so each count is a rule of its own.
    """
    yield Chain(
        "unreadable",
        (
            (nft.match(IIF, "@frames_dropped"), nft.goto("unreadable_dropped")),
            (nft.match(OIF, "@frames_dropped"), nft.goto("unreadable_dropped")),
            (nft.count_by(IIF, "frames_passed_of"),),
            (nft.count_by(OIF, "frames_passed_of"),),
        ),
    )
    counts = ((nft.count_by(IIF, "frames_dropped_of"),), (nft.count_by(OIF, "frames_dropped_of"),))
    yield Chain("unreadable_dropped", (*counts, (nft.DROP,)))


def _port_chains(vnics: Sequence[GuardedVnic]) -> Iterator[Chain]:
    """A chain a port and way: here the guest's traffic is counted without having to look up whose it is."""
    ours = ALL ^ PACKET_MASK
    yield Chain(NO_GUEST, ((nft.set_bits(MARK, keep=ours, to=0),),))
    for each in vnics:
        name, number = slug(each.vnic.tap), each.port.number
        counted = nft.unequal(ETHER_TYPE, "arp"), nft.count(total_counter(each.guest.name))
        sent = nft.set_bits(MARK, keep=ours, to=number)
        yield Chain(f"port_in_{name}", ((sent,), counted))
        received = nft.set_bits(MARK, keep=ALL, to=number << OUT_PORT_SHIFT)
        yield Chain(f"port_out_{name}", ((received,), counted))


def _mark_sets(vnics: Sequence[GuardedVnic], members: Sequence[str]) -> Iterator[Set]:
    guests = {each.vnic.tap for each in vnics}
    others = [[member, nft.jump(NO_GUEST)] for member in members if member not in guests]
    for way, rest in (("in", others), ("out", [])):
        elements = [[_commented(each), nft.jump(f"port_{way}_{slug(each.vnic.tap)}")] for each in vnics]
        yield Set(f"{way}_ports", "ifname", (*elements, *rest), maps_to="verdict")
    yield Set("bypassed", "ifname", flags=("timeout",), learned=True)
    dropped = [each.vnic.tap for each in vnics if each.guard.frames == "drop"]
    yield Set("frames_dropped", "ifname", tuple(dropped))
    for what, counter in (("dropped", "dropped/{}/ethertype"), ("passed", "uninspected/{}/ethertype")):
        elements = [[each.vnic.tap, counter.format(slug(each.guest.name))] for each in vnics]
        yield Set(f"frames_{what}_of", "ifname", tuple(elements), maps_to="counter")


def _commented(each: GuardedVnic) -> Any:
    """Return the tap as an element that also says whose it is, for a bypass that knows nothing else."""
    return {"elem": {"val": each.vnic.tap, "comment": each.guest.name}}


def total_counter(guest: str) -> str:
    """Return the counter of all but ARP that a guest exchanges with other ports of its bridge."""
    return f"total/{slug(guest)}"


def _counters(vnics: Sequence[GuardedVnic]) -> Iterator[str]:
    for guest in dict.fromkeys(each.guest.name for each in vnics):
        yield total_counter(guest)
        yield from (f"guard/{slug(guest)}/{violation}" for violation in VIOLATIONS)
        yield f"dropped/{slug(guest)}/ethertype"
        yield f"uninspected/{slug(guest)}/ethertype"
