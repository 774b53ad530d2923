"""The lab's namespaces, bridge and interfaces.

```
 PREFIX-web            PREFIX-br                 PREFIX-client
 eth0 ──veth── web0 ─┤ bridge sekisho0 ├─ client0 ──veth── eth0
```
The bridge's namespace has no address and no route, and the guests' only routes are those of their
own network: nothing leads off the bridge.
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from appliance.lab.settings import GUESTS, IPV4_PREFIX_LENGTH, IPV6_PREFIX_LENGTH, LabGuest, LabSettings
from appliance.model.faults import SystemFault
from appliance.netns import entered, exists, run_in

IFA_F_NODAD = 0x02
"""No duplicate address detection: the addresses work at once."""


@contextlib.contextmanager
def inside(name: str) -> Iterator[IPRoute]:
    """Yield a netlink socket in the namespace, in which the block runs; refusals become SystemFault."""
    try:
        with entered(name), IPRoute() as handle:
            yield handle
    except (NetlinkError, OSError) as error:
        raise SystemFault(f"network namespace {name}: {error}") from error


def build(settings: LabSettings) -> None:
    """Make namespaces, bridge and guests' interfaces; there must be none of these names yet."""
    for name in settings.namespaces:
        netns.create(name)
        _write_sysctls(name, {"net/ipv6/conf/all/accept_ra": 0, "net/ipv6/conf/default/accept_ra": 0})
    _write_sysctls(
        settings.bridge_netns,
        {"net/ipv6/conf/all/disable_ipv6": 1, "net/ipv6/conf/default/disable_ipv6": 1},
    )
    with inside(settings.bridge_netns) as bridge_side:
        bridge_side.link("add", ifname=settings.bridge, kind="bridge", br_stp_state=0, br_mcast_snooping=0)
        (bridge,) = bridge_side.link_lookup(ifname=settings.bridge)
        bridge_side.link("set", index=bridge, state="up")
        for guest in GUESTS:
            _plug_in(settings, bridge_side, bridge, guest)


def _plug_in(settings: LabSettings, bridge_side: IPRoute, bridge: int, guest: LabGuest) -> None:
    peer = {"ifname": "eth0", "net_ns_fd": settings.guest_netns(guest), "address": guest.mac}
    bridge_side.link("add", ifname=guest.tap, kind="veth", peer=peer)
    (tap,) = bridge_side.link_lookup(ifname=guest.tap)
    bridge_side.link("set", index=tap, master=bridge, state="up")
    with inside(settings.guest_netns(guest)) as guest_side:
        (loopback,) = guest_side.link_lookup(ifname="lo")
        guest_side.link("set", index=loopback, state="up")
        (eth0,) = guest_side.link_lookup(ifname="eth0")
        guest_side.link("set", index=eth0, state="up")
        guest_side.addr(
            "add", index=eth0, address=guest.ipv4, prefixlen=IPV4_PREFIX_LENGTH, family=socket.AF_INET
        )
        guest_side.addr(
            "add",
            index=eth0,
            address=guest.ipv6,
            prefixlen=IPV6_PREFIX_LENGTH,
            family=socket.AF_INET6,
            flags=IFA_F_NODAD,
        )


def remove(settings: LabSettings) -> None:
    """Remove what `build` made, wherever it had got to; no process may be left inside.

    The links go first, by name: a namespace that something still holds open would keep them alive.
    """
    if exists(settings.bridge_netns):
        with contextlib.suppress(SystemFault), inside(settings.bridge_netns) as handle:
            for ifname in (*(guest.tap for guest in GUESTS), settings.bridge):
                for index in handle.link_lookup(ifname=ifname):
                    handle.link("del", index=index)
    for name in settings.namespaces:
        if exists(name):
            _remove_namespace(name)


def _remove_namespace(name: str) -> None:
    """Remove a namespace, or the plain file that a killed `create` left under its name."""
    try:
        netns.remove(name)
    except OSError as error:
        path = Path("/run/netns") / name
        if path.is_mount():
            raise SystemFault(f"network namespace {name}: cannot be removed: {error}") from error
        path.unlink(missing_ok=True)


def _write_sysctls(name: str, values: dict[str, int]) -> None:
    script = "".join(f"echo {value} > /proc/sys/{key}\n" for key, value in values.items())
    run_in(name, ["sh", "-e"], script)
