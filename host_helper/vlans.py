"""The VLANs of a VLAN-filtering bridge's ports, over netlink. Every call raises SystemFault."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute

from host_helper.links import index_of, netlink

_VLAN_INFO = "IFLA_BRIDGE_VLAN_INFO"
_PVID, _UNTAGGED = 0x02, 0x04
"""Source: linux/if_bridge.h."""


@dataclass(frozen=True, slots=True)
class PortVlans:
    """What a port lets through.

    access: the VLAN of what comes without a tag. untagged: what goes out without one.
    """

    access: int | None = None
    untagged: frozenset[int] = frozenset()
    tagged: frozenset[int] = frozenset()

    def is_only(self, vlan: int) -> bool:
        """Whether the port is in this VLAN and no other, without tags."""
        return self == PortVlans(vlan, frozenset({vlan}))


def is_filtering(bridge: str) -> bool:
    """Whether the bridge tells VLANs apart."""
    return bool(_setting(bridge, "IFLA_BR_VLAN_FILTERING"))


def default_of(bridge: str) -> int:
    """Return the VLAN that the bridge puts new ports into; 0 where it is none."""
    return _setting(bridge, "IFLA_BR_VLAN_DEFAULT_PVID")


def _setting(bridge: str, name: str) -> int:
    with netlink() as handle:
        (link,) = handle.get_links(index_of(handle, bridge))
        return int(link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", name) or 0)


def all_vlans() -> dict[str, PortVlans]:
    """Return every bridge port's VLANs, with one look."""
    with netlink() as handle:
        return {link.get_attr("IFLA_IFNAME"): _vlans_in(link) for link in handle.get_vlans()}


def put_into(port: str, vlan: int) -> None:
    """Have the port in this VLAN and no other, without tags; at no moment it is in none."""
    with netlink() as handle:
        index = index_of(handle, port)
        before = _read(handle, index)
        if not before.is_only(vlan):
            _change(handle, "add", index, vlan, _PVID | _UNTAGGED)
            for other in (before.untagged | before.tagged) - {vlan}:
                _change(handle, "del", index, other)


def carry(port: str, vlans: Iterable[int]) -> None:
    """Have the port carry these VLANs with tags, and nothing else."""
    wanted = frozenset(vlans)
    with netlink() as handle:
        index = index_of(handle, port)
        now = _read(handle, index)
        for vlan in wanted - now.tagged:
            _change(handle, "add", index, vlan)
        for vlan in (now.untagged | now.tagged) - wanted:
            _change(handle, "del", index, vlan)


def _read(handle: IPRoute, index: int) -> PortVlans:
    for link in handle.get_vlans(index=index):
        return _vlans_in(link)
    return PortVlans()


def _vlans_in(link: Any) -> PortVlans:
    spec = link.get_attr("IFLA_AF_SPEC")
    entries = [(each["vid"], each["flags"]) for each in (spec.get_attrs(_VLAN_INFO) if spec else ())]
    access = next((vlan for vlan, flags in entries if flags & _PVID), None)
    untagged = frozenset(vlan for vlan, flags in entries if flags & _UNTAGGED)
    return PortVlans(access, untagged, frozenset(vlan for vlan, _ in entries) - untagged)


def _change(handle: IPRoute, how: str, index: int, vlan: int, flags: int = 0) -> None:
    handle.vlan_filter(how, index=index, vlan_info={"vid": vlan, "flags": flags})
