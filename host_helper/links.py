"""The host's bridges and their ports, over netlink. Every call raises SystemFault."""

import contextlib
import socket
from collections.abc import Iterator

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from appliance.model.faults import SystemFault

PROBE_MAC = "02:73:65:6b:69:73"
"""Whom our ARP probes are from: locally administered, on no interface."""
_BROADCAST = b"\xff" * 6
_NO_ADDRESS = "0.0.0.0"
SOMEBODY = "192.0.2.1"
"""An address that nobody has (RFC 5737): asking for it, we ask for the frame to come through."""


def masters() -> dict[str, str | None]:
    """Return every interface with the bridge it is a port of."""
    with netlink() as handle:
        found = {link["index"]: link for link in handle.get_links()}
    names = {index: link.get_attr("IFLA_IFNAME") for index, link in found.items()}
    return {names[index]: names.get(link.get_attr("IFLA_MASTER")) for index, link in found.items()}


def indexes() -> dict[str, int]:
    """Return every interface's number."""
    with netlink() as handle:
        return {link.get_attr("IFLA_IFNAME"): int(link["index"]) for link in handle.get_links()}


def plug(tap: str, bridge: str) -> None:
    """Make the tap a port of the bridge, and of no other."""
    with netlink() as handle:
        handle.link("set", index=index_of(handle, tap), master=index_of(handle, bridge))


def unplug(tap: str) -> None:
    """Make the tap a port of no bridge."""
    with netlink() as handle:
        handle.link("set", index=index_of(handle, tap), master=0)


def ensure_pair_bridge(name: str) -> None:
    """Make the two-port bridge if it is not there, and set it up.

    No address, no STP, no delay before a port forwards, no snooping: it is a wire.
    """
    with netlink() as handle:
        if not handle.link_lookup(ifname=name):
            handle.link(
                "add", ifname=name, kind="bridge", br_stp_state=0, br_mcast_snooping=0, br_forward_delay=0
            )
        handle.link("set", index=index_of(handle, name), state="up", **{"IFLA_AF_SPEC": _NO_LINK_LOCAL})


_NTF_MASTER = 0x04
"""The entry is the bridge's, not the card's own. Source: linux/neighbour.h."""
_NO_LINK_LOCAL = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}


def remove_pair_bridge(name: str) -> None:
    """Remove the bridge if it is there and has no ports any more."""
    with netlink() as handle:
        if name not in masters().values():
            for index in handle.link_lookup(ifname=name):
                handle.link("del", index=index)


def forget_mac(port: str, mac: str, vlan: int | None = None) -> None:
    """Have the port's bridge forget that the MAC is behind it, if it thinks so. vlan: in this one."""
    of_vlan = {} if vlan is None else {"vlan": vlan}
    with netlink() as handle, contextlib.suppress(NetlinkError):
        handle.fdb("del", ifindex=index_of(handle, port), lladdr=mac, flags=_NTF_MASTER, **of_vlan)


def ask_who_has(device: str, address: str, sender_mac: str = PROBE_MAC, vlan: int | None = None) -> None:
    """Send an ARP probe: into a bridge, or out of a tap to who is behind it. Source: RFC 5227, 2.1.1.

    sender_mac: a guest's, to tell bridges beyond where it is now, as is done after a live migration. vlan: of
    its tag, if it shall have one.
    """
    sender = bytes.fromhex(sender_mac.replace(":", ""))
    tag = b"" if vlan is None else b"\x81\x00" + vlan.to_bytes(2, "big")
    ethernet = _BROADCAST + sender + tag + b"\x08\x06"
    arp = b"\x00\x01\x08\x00\x06\x04\x00\x01" + sender + socket.inet_aton(_NO_ADDRESS)
    frame = ethernet + arp + bytes(6) + socket.inet_aton(address)
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as port:
            port.bind((device, 0))
            port.send(frame.ljust(60, b"\0"))
    except OSError as error:
        raise SystemFault(f"{device}: cannot send through it: {error.strerror}") from None


@contextlib.contextmanager
def netlink() -> Iterator[IPRoute]:
    """Give a netlink socket; what the kernel refuses is a SystemFault."""
    try:
        with IPRoute() as handle:
            yield handle
    except (NetlinkError, OSError) as error:
        raise SystemFault(f"network interfaces: {error}") from error


def index_of(handle: IPRoute, name: str) -> int:
    """Return the interface's number. Raises SystemFault."""
    for index in handle.link_lookup(ifname=name):
        return int(index)
    raise SystemFault(f"there is no interface {name}")
