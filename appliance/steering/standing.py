"""What of ours stands in the kernel, and when somebody else touched it.

A reload of somebody's firewall (`nft flush ruleset`, firewalld, iptables-restore) can take our rules away
without meaning to. Every change of a namespace's nftables, by iptables-nft too, is told to whoever listens:
`Alarm`. What then stands is compared with what stood after our own last change: `standing`. What is not
told (a bridge's switches, iptables-legacy) is looked at now and then.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from appliance.firewall.generation import nftables_socket
from appliance.firewall.kernel import FAMILIES
from appliance.firewall.nft import TABLE
from appliance.model.faults import SystemFault
from appliance.netns import entered, list_objects, run_in
from appliance.steering.backend import BRIDGE_CALLS, VLAN_SYSCTL, Backend
from appliance.steering.queues import CHAIN
from appliance.steering.ruleset import IPTABLES, Ruleset

NFNLGRP_NFTABLES = 7
"""include/uapi/linux/netfilter/nfnetlink.h"""

Standing = Mapping[str, str]
"""What stands, by where it stands."""


class Alarm:
    """A descriptor that becomes readable when anything changed nftables in a network namespace.

    Raises SystemFault when the kernel refuses.
    """

    def __init__(self, netns: str | None) -> None:
        self._socket = nftables_socket(netns)
        self._socket.setblocking(False)
        self._socket.bind((0, 1 << NFNLGRP_NFTABLES - 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def hush(self) -> None:
        """Make it unreadable until the next change. Only that something came matters, so losses do not."""
        while True:
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: more came than the socket holds
                continue


def standing_tables(ruleset: Ruleset, netns: str | None) -> Standing:
    """Return our tables as they stand, without what the kernel counts and learns. Raises SystemFault."""
    return {
        f"table {family} {TABLE}": "\n".join(_table(netns, family, frozenset(ruleset.learned)))
        for family in FAMILIES
    }


def standing_switches(ruleset: Ruleset, netns: str | None) -> Standing:
    """Return what leads packets to our tables, and is in none: jumps and switches. Raises SystemFault."""
    if ruleset.backend is Backend.NFT_BRIDGE:
        return {}
    jumps = {f"{program}'s mangle table": _queue_rules(netns, program) for program in IPTABLES}
    try:
        with entered(netns), IPRoute() as handle:
            links = [link for link in handle.get_links() if link.get_attr("IFLA_IFNAME") in ruleset.bridges]
            tags = VLAN_SYSCTL.read_text().strip()
    except (NetlinkError, OSError) as error:
        raise SystemFault(f"steering: cannot read the bridges' switches: {error}") from error
    switches = {
        f"br_netfilter on {link.get_attr('IFLA_IFNAME')}": str([_switch(link, call) for call in BRIDGE_CALLS])
        for link in links
    }
    return {**jumps, **switches, VLAN_SYSCTL.name: tags}


def changes(wanted: Standing, found: Standing) -> tuple[str, ...]:
    """Return a sentence for everything that does not stand as it was left."""
    return tuple(
        f"{where} was {'changed' if found.get(where) else 'taken away'}"
        for where, text in wanted.items()
        if found.get(where, "") != text
    )


def _table(netns: str | None, family: str, learned: frozenset[str]) -> Iterator[str]:
    for entry in list_objects(netns, "table", family, TABLE):
        for kind, body in entry.items():
            if kind == "metainfo":
                continue
            if kind == "counter" or (kind in ("set", "map") and body["name"] in learned):
                body = {"name": body["name"]}
            elif kind in ("set", "map"):
                body = {**body, "elem": sorted(map(json.dumps, body.get("elem", ())))}
            yield json.dumps({kind: _without_handle(body)}, sort_keys=True)


def _without_handle(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object without the number that the kernel gave it, which is another at each load."""
    return {key: value for key, value in body.items() if key != "handle"}


def _queue_rules(netns: str | None, program: str) -> str:
    """Return our chain and the jumps to it; others' rules may come and go."""
    if shutil.which(program) is None:
        return ""
    lines = run_in(netns, [program, "-w", "-t", "mangle", "-S"]).splitlines()
    return "\n".join(line for line in lines if CHAIN in line.split())


def _switch(link: Any, call: str) -> int | None:
    value: int | None = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", f"IFLA_{call.upper()}")
    return value
