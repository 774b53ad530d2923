"""Where bridges deliver what is for a guest: to the guest's own port, however long it was silent.

A frame for an address that a bridge does not know goes to all its ports, a copy each. Of the copies of a
connection's first packet the kernel queues one (nfnetlink_queue drops those whose conntrack entry is shared
and not yet confirmed), and mostly that is another guest's: a guest that was silent until the bridge forgot it
could not be spoken to. So bridges are told where guests are. Such an entry does not age, and gives way once
the address is heard at another port, as that of a guest that migrates.

For the same reason, and since it is none of its business, a guest that is held to known addresses gets no
frames for unknown ones: what is left to flood to is the way out of the host.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from appliance import rtnetlink
from appliance.firewall.guard import guarded_vnics
from appliance.model.faults import SystemFault
from appliance.model.guest import GuestInventory
from appliance.model.links import Links
from appliance.model.policy import PolicyDocument


class Home(msgspec.Struct, frozen=True):
    """A port that is there and the MAC addresses behind it. alone: there are no others behind it."""

    tap: str
    port: int
    bridge: int
    macs: tuple[str, ...]
    alone: bool


def homes(policy: PolicyDocument, inventory: GuestInventory, links: Links) -> tuple[Home, ...]:
    """Return where guests are now. Raises PolicyError for an address pair that cannot be."""
    bridges = {tap: bridge.ifindex for bridge in links.bridges for tap in bridge.members}
    return tuple(
        Home(each.vnic.tap, each.port.ifindex, bridges[each.vnic.tap], each.macs, each.guard.mode != "off")
        for each in guarded_vnics(policy, inventory, links)
        if each.port.ifindex and each.vnic.tap in bridges
    )


def flooded(netns: str | None) -> frozenset[str]:
    """Return the bridge ports that get frames for unknown addresses. Raises SystemFault."""
    ports = set(rtnetlink.flooded_ports(netns))
    return frozenset(each.name for each in rtnetlink.interfaces(netns) if each.ifindex in ports)


def tell(homes: Sequence[Home], spared: Collection[str], netns: str | None) -> None:
    """Tell bridges of the homes, but of addresses that they have heard at another port: those moved.

    spared: the taps that frames for unknown addresses are kept from. Raises SystemFault.
    """
    # an address has an entry for each VLAN of its port, whether the bridge goes by VLANs or not
    known: dict[tuple[int, str], set[int]] = {}
    for entry in rtnetlink.whereabouts(netns):
        known.setdefault((entry.bridge, entry.mac), set()).add(entry.port)
    still_flooded = set(rtnetlink.flooded_ports(netns))
    for home in homes:
        with contextlib.suppress(SystemFault):  # it left the bridge meanwhile, and links will say so
            for mac in home.macs:
                if known.get((home.bridge, mac), set()) <= {home.port}:
                    rtnetlink.tell_whereabouts(netns, home.port, mac)
            if home.tap in spared and home.port in still_flooded:
                rtnetlink.set_flooded(netns, home.port, on=False)


def withdraw(taps: Iterable[str], spared: Collection[str], netns: str | None) -> None:
    """Take back what was told of the taps, and give those of them that were spared unknown addresses again.

    Raises SystemFault.
    """
    ports = _ports(taps, netns)
    for entry in list(rtnetlink.whereabouts(netns)):
        if entry.told and entry.port in ports.values():
            rtnetlink.forget_whereabouts(netns, entry.port, entry.mac)
    for tap in ports.keys() & set(spared):
        rtnetlink.set_flooded(netns, ports[tap], on=True)


def _ports(taps: Iterable[str], netns: str | None) -> Mapping[str, int]:
    wanted = set(taps)
    return {
        each.name: each.ifindex for each in rtnetlink.interfaces(netns) if each.name in wanted and each.master
    }
