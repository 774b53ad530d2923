"""Which of an inventory's bridges and taps the kernel has, and the numbers of the ports."""

from collections.abc import Iterable, Mapping

import msgspec

from appliance import netlink, rtnetlink
from appliance.model.guest import GuestInventory
from appliance.model.links import MAX_PORT_NUMBER, BridgeLink, Links, Port


def number_ports(inventory: GuestInventory, known: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return each tap's port number; a tap in known keeps its own.

    A number must not wander from one guest to another while packets marked with it are under way.
    """
    taps = [vnic.tap for guest in inventory.guests for vnic in guest.vnics]
    numbers = {tap: number for tap, number in (known or {}).items() if tap in taps}
    free = iter(sorted(set(range(1, MAX_PORT_NUMBER + 1)) - set((known or {}).values())))
    for tap in taps:
        if tap not in numbers:
            numbers[tap] = next(free)
    return numbers


def read_links(
    inventory: GuestInventory, netns: str | None = None, known: Mapping[str, int] | None = None
) -> Links:
    """Return the inventory's bridges and ports as the kernel has them now.

    A missing tap is no error, for a guest may be off; its port is there with ifindex 0, so that rules,
    which go by name, protect it from its first frame on. Raises SystemFault when the kernel can't be asked.
    """
    interfaces = {interface.name: interface for interface in rtnetlink.interfaces(netns)}
    numbers = number_ports(inventory, known)
    bridges, ports, missing = [], [], [each.why for each in inventory.unplaced]
    bridge_of = {segment.name: segment.bridge for segment in inventory.segments}
    for segment in inventory.segments:
        bridge = interfaces.get(segment.bridge)
        if bridge is None or bridge.kind != "bridge":
            what = "does not exist" if bridge is None else "is no bridge"
            missing.append(f"segment {segment.name!r}: {segment.bridge} {what}")
            continue
        members = sorted(each.name for each in interfaces.values() if each.master == bridge.ifindex)
        bridges.append(BridgeLink(bridge.name, bridge.ifindex, bridge.mac, tuple(members)))
    for guest in inventory.guests:
        for vnic in guest.vnics:
            tap = interfaces.get(vnic.tap)
            bridge = interfaces.get(bridge_of[guest.segment])
            if tap is None:
                missing.append(f"guest {guest.name!r}: tap {vnic.tap} does not exist (is the guest off?)")
            elif bridge is None or tap.master != bridge.ifindex:
                missing.append(
                    f"guest {guest.name!r}: tap {vnic.tap} is no port of {bridge_of[guest.segment]}"
                )
            ports.append(
                Port(
                    tap=vnic.tap,
                    number=numbers[vnic.tap],
                    guest=guest.name,
                    segment=guest.segment,
                    ifindex=tap.ifindex if tap else 0,
                    mtu=tap.mtu if tap else 0,
                )
            )
    return Links(tuple(bridges), tuple(ports), tuple(missing))


class Place(msgspec.Struct, frozen=True):
    """A card that guests may be behind. bridge: what it is a port of, if it is."""

    name: str
    bridge: str | None


def places(netns: str | None = None) -> dict[str, Place]:
    """Return our cards by MAC. Bridges and VLAN sub-interfaces, which carry a card's, are none.

    Raises SystemFault.
    """
    found = {interface.ifindex: interface for interface in rtnetlink.interfaces(netns)}
    cards = [each for each in found.values() if each.kind not in ("bridge", "vlan")]
    return {
        each.mac: Place(each.name, found[each.master].name if each.master in found else None)
        for each in sorted(cards, key=lambda each: each.ifindex)
    }


def link_alarm(netns: str | None = None) -> netlink.Alarm:
    """Return what says that an interface came, went or changed: only then do links need to be read anew."""
    return rtnetlink.alarm(netns, rtnetlink.RTNLGRP_LINK)


def existing(names: Iterable[str], netns: str | None = None) -> frozenset[str]:
    """Return which of the names are interfaces now. Raises SystemFault."""
    return frozenset(names) & {interface.name for interface in rtnetlink.interfaces(netns)}
