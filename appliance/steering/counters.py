"""What the kernel counted, per guest and per firewall rule."""

from collections.abc import Iterator, Mapping

import msgspec

from appliance.firewall.guard import VIOLATIONS, total_counter
from appliance.firewall.kernel import FAMILIES
from appliance.firewall.kernel import read_counters as read_kernel
from appliance.firewall.names import slug
from appliance.firewall.rules import DIRECTIONS, Direction, counter_name, default_counter_name
from appliance.model.guest import GuestInventory
from appliance.model.policy import FirewallRule, PolicyDocument
from appliance.steering.chains import REASONS, counter_of

DROPPED = ("flow", "inspector-down", "ethertype")


class Traffic(msgspec.Struct, frozen=True):
    """Packets and bytes (IP header on) since the counter was made."""

    packets: int = 0
    bytes: int = 0


class RuleCount(msgspec.Struct, frozen=True):
    """What a firewall rule matched. rule None: what the default policy denied."""

    guest: str
    direction: Direction
    rule: FirewallRule | None
    matched: Traffic


class GuestCounters(msgspec.Struct, frozen=True):
    """A guest's traffic with other ports of its bridge, both ways, without ARP.

    uninspected: bytes that passed without the inspector, by reason (only those the kernel knows of).
    dropped: `flow` (the inspector's drops), `inspector-down` (by the failure policy, in its place) and
    `ethertype` (frames that nothing here can look into).
    violations: frames the guard took exception to, by kind, whether dropped or only logged.
    """

    guest: str
    total: Traffic
    uninspected: Mapping[str, Traffic]
    dropped: Mapping[str, Traffic]
    violations: Mapping[str, Traffic]


class Counters(msgspec.Struct, frozen=True):
    """All counters of one reading."""

    guests: tuple[GuestCounters, ...] = ()
    rules: tuple[RuleCount, ...] = ()


def read_counters(policy: PolicyDocument, inventory: GuestInventory, netns: str | None = None) -> Counters:
    """Return what was counted; a guest or rule that is not loaded has counted nothing. Raises SystemFault."""
    counted: dict[str, Traffic] = {}
    for name, packets, size in _counters(netns):  # one that both families have counts the same in both
        before = counted.get(name, Traffic())
        counted[name] = Traffic(before.packets + packets, before.bytes + size)

    def of(name: str) -> Traffic:
        return counted.get(name, Traffic())

    guests = tuple(
        GuestCounters(
            guest=guest.name,
            total=of(total_counter(guest.name)),
            uninspected={reason: of(counter_of(reason, guest.name)) for reason in (*REASONS, "ethertype")},
            dropped={what: of(f"dropped/{slug(guest.name)}/{what}") for what in DROPPED},
            violations={kind: of(f"guard/{slug(guest.name)}/{kind}") for kind in VIOLATIONS},
        )
        for guest in inventory.guests
    )
    return Counters(guests, tuple(_rule_counts(policy, inventory, counted)))


def _rule_counts(
    policy: PolicyDocument, inventory: GuestInventory, counted: Mapping[str, Traffic]
) -> Iterator[RuleCount]:
    for guest in inventory.guests:
        firewall = policy.guests.get(guest.name, policy.defaults).firewall
        for rule in firewall.rules:
            matched = counted.get(counter_name(guest.name, rule), Traffic())
            yield RuleCount(guest.name, rule.direction, rule, matched)
        for direction in DIRECTIONS:
            matched = counted.get(default_counter_name(guest.name, direction), Traffic())
            yield RuleCount(guest.name, direction, None, matched)


def _counters(netns: str | None) -> Iterator[tuple[str, int, int]]:
    for family in FAMILIES:
        yield from read_kernel(netns, family)
