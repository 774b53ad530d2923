"""Bridges that are control's: those of segments that name cards of ours, as the image's all do.

`make` first, so that the rules find bridge and ports; `open_up` once the rules are live. What is made is down
until then, and what is down passes no frame. Every call raises SystemFault.
"""

from collections.abc import Iterator

from appliance import rtnetlink
from appliance.model.guest import GuestInventory, Segment
from appliance.rtnetlink import Interface


def make(inventory: GuestInventory, netns: str | None = None) -> None:
    """Make the bridges that are not there, and have the cards be their ports; a trunk's VLANs come later."""
    ours = _ours(inventory)
    there = {each.name for each in rtnetlink.interfaces(netns)} if ours else set()
    for segment in ours:
        if segment.bridge not in there:
            # told which MAC to have: one that it chooses would change with its ports
            rtnetlink.make_bridge(netns, segment.bridge, (*segment.nics, segment.trunk or "")[0])
    for bridge, cards in _bridges(inventory, netns):
        for card in cards:
            if card.master != bridge.ifindex:
                rtnetlink.set_up(netns, card.ifindex, up=False)
                rtnetlink.set_master(netns, card.ifindex, bridge.ifindex)


def open_up(inventory: GuestInventory, netns: str | None = None) -> None:
    """Let frames pass."""
    for bridge, cards in _bridges(inventory, netns):
        for each in (*cards, bridge):
            rtnetlink.set_up(netns, each.ifindex, up=True)


def _ours(inventory: GuestInventory) -> list[Segment]:
    return [segment for segment in inventory.segments if segment.nics or segment.trunk]


def _bridges(inventory: GuestInventory, netns: str | None) -> Iterator[tuple[Interface, list[Interface]]]:
    """Yield the bridges of ours that are there, each with its cards; what carries a card's MAC is none."""
    ours = _ours(inventory)
    links = list(rtnetlink.interfaces(netns)) if ours else []
    cards = {each.mac: each for each in links if each.kind not in ("bridge", "vlan")}
    bridges = {each.name: each for each in links if each.kind == "bridge"}
    for segment in ours:
        if bridge := bridges.get(segment.bridge):
            yield bridge, [cards[nic] for nic in segment.nics if nic in cards]
