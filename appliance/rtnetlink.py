"""The kernel's interfaces, over netlink; what of them bridges and guests' ports need.

Source: rtnetlink(7), include/uapi/linux/if_link.h.
"""

import struct
import sys
from collections.abc import Iterator

import msgspec

from appliance import netlink

RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR = 1, 5, 9
NEWLINK, GETLINK = 16, 18
IFINFOMSG = struct.Struct("=BxHiII")
ADDRESS, IFNAME, MTU, MASTER, LINKINFO = 1, 3, 4, 10, 18
INFO_KIND, INFO_DATA = 1, 2
BRIDGE_CALLS = (36, 37)
"""IFLA_BR_NF_CALL_IPTABLES and …_IP6TABLES. Not …_ARPTABLES: ARP is judged in the bridge family."""
_NOTHING = memoryview(b"")


class Interface(msgspec.Struct, frozen=True):
    """An interface. kind: `bridge`, `veth`, …, or nothing. master: ifindex of its bridge, or 0."""

    name: str
    ifindex: int
    kind: str
    mac: str
    master: int
    mtu: int


def alarm(netns: str | None, *groups: int) -> netlink.Alarm:
    """Return what says that something of these groups came, went or changed."""
    return netlink.Alarm(netns, netlink.ROUTE, *groups)


def interfaces(netns: str | None) -> Iterator[Interface]:
    """Yield the namespace's interfaces. Raises SystemFault."""
    for said in netlink.ask(netns, netlink.ROUTE, GETLINK, bytes(IFINFOMSG.size), flags=netlink.DUMP):
        found = netlink.attributes(said[IFINFOMSG.size :])
        info = netlink.attributes(found.get(LINKINFO, _NOTHING))
        yield Interface(
            name=_text(found.get(IFNAME, _NOTHING)),
            ifindex=IFINFOMSG.unpack_from(said)[2],
            kind=_text(info.get(INFO_KIND, _NOTHING)),
            mac=bytes(found.get(ADDRESS, _NOTHING)).hex(":"),
            master=_number(found.get(MASTER, _NOTHING)),
            mtu=_number(found.get(MTU, _NOTHING)),
        )


def bridge_calls(netns: str | None, bridge: str) -> tuple[bool, ...]:
    """Return whether it calls iptables and ip6tables; empty if it is not there. Raises SystemFault."""
    for said in netlink.ask(netns, netlink.ROUTE, GETLINK, bytes(IFINFOMSG.size) + _name(bridge)):
        info = netlink.attributes(said[IFINFOMSG.size :])
        for layer in (LINKINFO, INFO_DATA):
            info = netlink.attributes(info.get(layer, _NOTHING))
        return tuple(any(info.get(call, _NOTHING)) for call in BRIDGE_CALLS)
    return ()


def set_bridge_calls(netns: str | None, bridge: str, *, on: bool) -> None:
    """Have a bridge call iptables and ip6tables, or not; one that is not there cannot. Raises SystemFault."""
    calls = b"".join(netlink.attribute(call, bytes([on])) for call in BRIDGE_CALLS)
    info = netlink.attribute(INFO_KIND, b"bridge\0") + netlink.attribute(INFO_DATA, calls)
    body = bytes(IFINFOMSG.size) + _name(bridge) + netlink.attribute(LINKINFO, info)
    netlink.ask(netns, netlink.ROUTE, NEWLINK, body, flags=netlink.ACK)


def _name(interface: str) -> bytes:
    return netlink.attribute(IFNAME, interface.encode() + b"\0")


def _text(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0").decode(errors="replace")


def _number(value: memoryview) -> int:
    return int.from_bytes(value, sys.byteorder)
