"""The kernel's interfaces, over netlink; what of them bridges and guests' ports need.

Source: rtnetlink(7), include/uapi/linux/if_link.h and neighbour.h.
"""

import struct
import sys
from collections.abc import Iterator

import msgspec

from appliance import netlink

RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR = 1, 5, 9
RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE = 7, 11
NEWLINK, GETLINK, SETLINK, NEWNEIGH, DELNEIGH, GETNEIGH = 16, 18, 19, 28, 29, 30
AF_BRIDGE = 7
IFINFOMSG = struct.Struct("=BxHiII")
IFF_UP = 1
NDMSG = struct.Struct("=BxxxiHBB")
ADDRESS, IFNAME, MTU, MASTER, PROTINFO, LINKINFO = 1, 3, 4, 10, 12, 18
INFO_KIND, INFO_DATA = 1, 2
BRIDGE_CALLS = (36, 37)
"""IFLA_BR_NF_CALL_IPTABLES and …_IP6TABLES. Not …_ARPTABLES: ARP is judged in the bridge family."""
BRPORT_UNICAST_FLOOD = 9
NESTED = 0x8000
LLADDR, NEIGHBOUR_MASTER = 2, 9
NOARP = 0x40
OF_MASTER, TOLD = 0x04, 0x10
"""NTF_MASTER: the bridge's entry, not the port's own. NTF_EXT_LEARNED: told from outside, so that it does not
age; once its address is heard at another port it is as if it had been learned there."""
CREATE_OR_REPLACE, CREATE_NEW = 0x500, 0x600
_NOTHING = memoryview(b"")


class Interface(msgspec.Struct, frozen=True):
    """An interface. kind: `bridge`, `veth`, …, or nothing. master: ifindex of its bridge, or 0."""

    name: str
    ifindex: int
    kind: str
    mac: str
    master: int
    mtu: int


class Whereabouts(msgspec.Struct, frozen=True):
    """At which port a bridge thinks a MAC address is. told: as somebody said, not as it heard."""

    bridge: int
    port: int
    mac: str
    told: bool


def alarm(netns: str | None, *groups: int) -> netlink.Alarm:
    """Return what says that something of these groups came, went or changed."""
    return netlink.Alarm(netns, netlink.ROUTE, *groups)


def reach_alarm(netns: str | None) -> netlink.Alarm:
    """Return what says that others may be reached now who were not: an address or a route came, or went."""
    return alarm(netns, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE)


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


class BridgeSwitches(msgspec.Struct, frozen=True):
    """Whether a bridge calls iptables and ip6tables. ifindex: one that is made anew has another."""

    ifindex: int
    calls: tuple[bool, bool]


def bridge_switches(netns: str | None, bridge: str) -> BridgeSwitches | None:
    """Return what a bridge calls; None if it is not there. Raises SystemFault."""
    for said in netlink.ask(netns, netlink.ROUTE, GETLINK, bytes(IFINFOMSG.size) + _name(bridge)):
        info = netlink.attributes(said[IFINFOMSG.size :])
        for layer in (LINKINFO, INFO_DATA):
            info = netlink.attributes(info.get(layer, _NOTHING))
        v4, v6 = (any(info.get(call, _NOTHING)) for call in BRIDGE_CALLS)
        return BridgeSwitches(IFINFOMSG.unpack_from(said)[2], (v4, v6))
    return None


def set_bridge_calls(netns: str | None, bridge: str, *, on: bool) -> None:
    """Have a bridge call iptables and ip6tables, or not; one that is not there cannot. Raises SystemFault."""
    calls = b"".join(netlink.attribute(call, bytes([on])) for call in BRIDGE_CALLS)
    info = netlink.attribute(INFO_KIND, b"bridge\0") + netlink.attribute(INFO_DATA, calls)
    body = bytes(IFINFOMSG.size) + _name(bridge) + netlink.attribute(LINKINFO, info)
    netlink.ask(netns, netlink.ROUTE, NEWLINK, body, flags=netlink.ACK)


def make_bridge(netns: str | None, name: str, mac: str) -> None:
    """Make a bridge, down and without ports. Raises SystemFault."""
    info = netlink.attribute(LINKINFO, netlink.attribute(INFO_KIND, b"bridge\0"))
    body = bytes(IFINFOMSG.size) + _name(name) + netlink.attribute(ADDRESS, _bytes(mac)) + info
    netlink.ask(netns, netlink.ROUTE, NEWLINK, body, flags=netlink.ACK | CREATE_NEW)


def set_master(netns: str | None, port: int, bridge: int) -> None:
    """Have an interface be a port of the bridge. Raises SystemFault."""
    body = IFINFOMSG.pack(0, 0, port, 0, 0) + netlink.attribute(MASTER, struct.pack("=I", bridge))
    netlink.ask(netns, netlink.ROUTE, NEWLINK, body, flags=netlink.ACK)


def set_up(netns: str | None, ifindex: int, *, up: bool) -> None:
    """Have an interface up or down. Raises SystemFault."""
    body = IFINFOMSG.pack(0, 0, ifindex, IFF_UP if up else 0, IFF_UP)
    netlink.ask(netns, netlink.ROUTE, NEWLINK, body, flags=netlink.ACK)


def whereabouts(netns: str | None) -> Iterator[Whereabouts]:
    """Yield what the namespace's bridges know. Raises SystemFault."""
    of_bridges = NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0)
    for said in netlink.ask(netns, netlink.ROUTE, GETNEIGH, of_bridges, flags=netlink.DUMP):
        _, port, _, flags, _ = NDMSG.unpack_from(said)
        found = netlink.attributes(said[NDMSG.size :])
        if bridge := _number(found.get(NEIGHBOUR_MASTER, _NOTHING)):
            mac = bytes(found.get(LLADDR, _NOTHING)).hex(":")
            yield Whereabouts(bridge, port, mac, bool(flags & TOLD))


def tell_whereabouts(netns: str | None, port: int, mac: str) -> None:
    """Have the bridge of the port know that a MAC address is there. Raises SystemFault."""
    flags = netlink.ACK | CREATE_OR_REPLACE
    netlink.ask(netns, netlink.ROUTE, NEWNEIGH, _neighbour(port, mac), flags=flags)


def forget_whereabouts(netns: str | None, port: int, mac: str) -> None:
    """Have the bridge of the port forget that a MAC address is there, if it thinks so. Raises SystemFault."""
    netlink.ask(netns, netlink.ROUTE, DELNEIGH, _neighbour(port, mac), flags=netlink.ACK)


def flooded_ports(netns: str | None) -> Iterator[int]:
    """Yield the bridge ports that get the frames for addresses of which nobody knows where they are.

    Raises SystemFault.
    """
    of_bridges = IFINFOMSG.pack(AF_BRIDGE, 0, 0, 0, 0)
    for said in netlink.ask(netns, netlink.ROUTE, GETLINK, of_bridges, flags=netlink.DUMP):
        found = netlink.attributes(said[IFINFOMSG.size :])
        about = netlink.attributes(found.get(PROTINFO, _NOTHING))
        if any(about.get(BRPORT_UNICAST_FLOOD, _NOTHING)):
            yield IFINFOMSG.unpack_from(said)[2]


def set_flooded(netns: str | None, port: int, *, on: bool) -> None:
    """Have a bridge port get the frames for unknown addresses, or not. Raises SystemFault."""
    about = netlink.attribute(PROTINFO | NESTED, netlink.attribute(BRPORT_UNICAST_FLOOD, bytes([on])))
    body = IFINFOMSG.pack(AF_BRIDGE, 0, port, 0, 0) + about
    netlink.ask(netns, netlink.ROUTE, SETLINK, body, flags=netlink.ACK)


def _neighbour(port: int, mac: str) -> bytes:
    address = netlink.attribute(LLADDR, _bytes(mac))
    return NDMSG.pack(AF_BRIDGE, port, NOARP, OF_MASTER | TOLD, 0) + address


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _name(interface: str) -> bytes:
    return netlink.attribute(IFNAME, interface.encode() + b"\0")


def _text(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0").decode(errors="replace")


def _number(value: memoryview) -> int:
    return int.from_bytes(value, sys.byteorder)
