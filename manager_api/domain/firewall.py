"""Whether a firewall rule or an address pair means something, before an appliance has to load it."""

import ipaddress
import re
from collections.abc import Collection, Iterable

from appliance.model.policy import AddressPair, FirewallRule

_PORTS = re.compile(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?){0,63}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_GUEST = re.compile(r"guest:[^\x00-\x1f\x7f/]{1,128}")


def problems_of_rules(rules: Iterable[FirewallRule], guests: Collection[str]) -> list[str]:
    """Return what is wrong with the rules, one sentence each, by their place; empty if all can be loaded.

    guests: those of the appliance; it refuses a policy whole that names another.
    """
    found = []
    for number, rule in enumerate(rules, 1):
        called = f"rule {number}{f' ({rule.name})' if rule.name else ''}"
        found += [f"{called}: {why}" for why in _problems(rule, guests)]
    return found


def problems_of_pairs(pairs: Iterable[AddressPair]) -> list[str]:
    """Return what is wrong with the allowed address pairs, one sentence each."""
    found = []
    for number, pair in enumerate(pairs, 1):
        if not _MAC.fullmatch(pair.mac):
            found.append(f"pair {number}: mac {pair.mac!r} is not six hex bytes joined by colons")
        if not is_address_or_network(pair.ip):
            found.append(f"pair {number}: ip {pair.ip!r} is neither an address nor a network")
    return found


def is_address_or_network(text: str) -> bool:
    """Whether text is an IPv4 or IPv6 address, or a network without host bits, in plain notation."""
    if "%" in text:
        return False
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _problems(rule: FirewallRule, guests: Collection[str]) -> list[str]:
    found = []
    named = rule.peer.removeprefix("guest:") if _GUEST.fullmatch(rule.peer) else None
    if named is not None and named not in guests:
        found.append(f"peer {rule.peer!r}: the appliance has no such guest")
    if rule.peer != "any" and not _GUEST.fullmatch(rule.peer) and not is_address_or_network(rule.peer):
        found.append(f"peer {rule.peer!r} is none of any, an address, a network, guest:NAME")
    if rule.ports != "any":
        if rule.protocol == "icmp":
            found.append("icmp has no ports; leave them at any")
        if not _ports_are_valid(rule.ports):
            found.append(f"ports {rule.ports!r} are none of any, 80, 80,443, 1000-2000 (1 to 65535)")
    return found


def _ports_are_valid(text: str) -> bool:
    if not _PORTS.fullmatch(text):
        return False
    for part in text.split(","):
        low, _, high = part.partition("-")
        if not 1 <= int(low) <= int(high or low) <= 65535:
            return False
    return True
