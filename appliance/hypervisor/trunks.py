"""Topology trunk inside the appliance: a VLAN sub-interface of the trunk's card for each guest, bridged.

`make` first, so that the rules and the inspector know the port's number; `join` once the rules are live, so
that no frame passes before them. Every call raises SystemFault.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.model.faults import SystemFault
from appliance.model.guest import GuestInventory
from appliance.netns import entered

if TYPE_CHECKING:
    from pyroute2 import IPRoute  # imported where there is a trunk: it takes as long as half a start

MAX_VLAN = 4094
_NO_LINK_LOCAL = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}


class _Wanted(msgspec.Struct, frozen=True):
    tap: str
    trunk: str
    vlan: int
    bridge: str


def make(inventory: GuestInventory, netns: str | None = None) -> None:
    """Make the sub-interfaces that are not there; they are down and in no bridge."""
    wanted = _wanted(inventory)
    if not wanted:
        return
    with _netlink(netns) as handle:
        links = list(handle.get_links())
        there = {link.get_attr("IFLA_IFNAME") for link in links}
        cards = _cards(links)
        for each in wanted:
            if each.tap not in there and each.trunk in cards:
                card = cards[each.trunk]
                handle.link("add", ifname=each.tap, kind="vlan", link=card, vlan_id=each.vlan)
                (made,) = handle.link_lookup(ifname=each.tap)
                handle.link("set", index=made, IFLA_AF_SPEC=_NO_LINK_LOCAL)


def join(inventory: GuestInventory, netns: str | None = None) -> None:
    """Have the guests' sub-interfaces in their bridges, and those of nobody any more gone."""
    trunks = {segment.trunk for segment in inventory.segments if segment.trunk}
    if not trunks:
        return
    wanted = {each.tap: each for each in _wanted(inventory)}
    with _netlink(netns) as handle:
        links = list(handle.get_links())
        index = {link.get_attr("IFLA_IFNAME"): link["index"] for link in links}
        cards = {card for mac, card in _cards(links).items() if mac in trunks}
        for card in cards:
            handle.link("set", index=card, state="up")
        for link in links:
            name = link.get_attr("IFLA_IFNAME")
            if _kind(link) != "vlan" or link.get_attr("IFLA_LINK") not in cards:
                continue
            if name not in wanted:
                handle.link("del", index=link["index"])
            elif (bridge := index.get(wanted[name].bridge)) and link.get_attr("IFLA_MASTER") != bridge:
                handle.link("set", index=link["index"], master=bridge, state="up")


def _wanted(inventory: GuestInventory) -> list[_Wanted]:
    segments = {segment.name: segment for segment in inventory.segments}
    found = []
    for guest in inventory.guests:
        segment = segments[guest.segment]
        for vnic in guest.vnics if segment.trunk else ():
            vlan = vnic.tap.rpartition(".")[2]
            if vlan.isdecimal() and 1 <= int(vlan) <= MAX_VLAN:
                found.append(_Wanted(vnic.tap, str(segment.trunk), int(vlan), segment.bridge))
    return found


def _cards(links: list[Any]) -> dict[str, int]:
    """Return the numbers of cards by MAC; what carries a card's MAC is none."""
    return {
        link.get_attr("IFLA_ADDRESS"): link["index"]
        for link in links
        if _kind(link) not in ("vlan", "bridge")
    }


def _kind(link: Any) -> str | None:
    kind: str | None = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND")
    return kind


@contextlib.contextmanager
def _netlink(netns: str | None) -> Iterator["IPRoute"]:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with entered(netns), IPRoute() as handle:
            yield handle
    except (NetlinkError, OSError) as error:
        raise SystemFault(f"VLANs in network namespace {netns or '(ours)'}: {error}") from error
