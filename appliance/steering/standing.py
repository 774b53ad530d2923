"""What of ours stands in the kernel, and whether somebody else touched it.

A reload of somebody's firewall (`nft flush ruleset`, firewalld, iptables-restore) can take our rules away
without meaning to. Every change of a namespace's nftables, by iptables-nft too, is told to whoever listens
(`firewall.kernel.alarm`) and makes another generation. What then stands is compared with what stood after our
own last change. What is not told (a bridge's switches, iptables-legacy) is looked at now and then.
"""

import functools
import json
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from appliance import rtnetlink
from appliance.firewall.kernel import FAMILIES
from appliance.firewall.nft import TABLE
from appliance.model.faults import SystemFault
from appliance.netns import entered, list_objects, run_in
from appliance.steering.backend import VLAN_SYSCTL, Backend
from appliance.steering.dialect import BRIDGE
from appliance.steering.queues import CHAIN
from appliance.steering.ruleset import IPTABLES, Ruleset

Standing = Mapping[str, str]
"""What stands, by where it stands."""


def standing_rules(ruleset: Ruleset, netns: str | None) -> Standing:
    """Return all whose change makes another generation, but what the kernel counts and learns.

    Raises SystemFault.
    """
    is_bridge = ruleset.backend is Backend.NFT_BRIDGE
    tables = {
        f"table {family} {TABLE}": "\n".join(_table(netns, family, frozenset(ruleset.learned)))
        for family in ((BRIDGE.family,) if is_bridge else FAMILIES)
    }
    return tables if is_bridge else {**tables, **_jumps(netns, told=True)}


def standing_switches(ruleset: Ruleset, netns: str | None) -> Standing:
    """Return what leads packets to our tables and may change unsaid. Raises SystemFault."""
    if ruleset.backend is Backend.NFT_BRIDGE:
        return {}
    try:
        with entered(netns):
            tags = VLAN_SYSCTL.read_text().strip()
    except OSError as error:
        raise SystemFault(f"steering: cannot read {VLAN_SYSCTL}: {error}") from error
    calls = {where: str(found.calls) for where, _, found in _bridges(ruleset, netns)}
    return {**_jumps(netns, told=False), **calls, VLAN_SYSCTL.name: tags}


def new_bridges(ruleset: Ruleset, switches: Standing, netns: str | None) -> tuple[str, ...]:
    """Return the bridges that were made since the switches stood so, and are not switched on.

    Raises SystemFault.
    """
    if ruleset.backend is Backend.NFT_BRIDGE:
        return ()
    found = _bridges(ruleset, netns)
    return tuple(bridge for where, bridge, now in found if where not in switches and not all(now.calls))


def _bridges(ruleset: Ruleset, netns: str | None) -> Iterator[tuple[str, str, rtnetlink.BridgeSwitches]]:
    """Yield where its switches stand, the bridge's name, and how they stand, of those that are there."""
    for bridge in ruleset.bridges:
        if (found := rtnetlink.bridge_switches(netns, bridge)) is not None:
            yield f"br_netfilter on {bridge} (interface {found.ifindex})", bridge, found


def nothing_is_unsaid(backend: Backend) -> bool:
    """Say whether all that stands with this back end is told of when it changes."""
    return backend is Backend.NFT_BRIDGE


def changes(wanted: Standing, found: Standing) -> tuple[str, ...]:
    """Return a sentence for everything that does not stand as it was left.

    Where nothing was looked at (a bridge that is not there any more) nothing is said.
    """
    return tuple(
        f"{where} was {'changed' if found[where] else 'taken away'}"
        for where, text in wanted.items()
        if found.get(where, text) != text
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


def _jumps(netns: str | None, *, told: bool) -> Standing:
    """Return our chain and the jumps to it, of those programs whose changes are told or of the others."""
    programs = [program for program in IPTABLES if shutil.which(program) and _is_told(program) == told]
    return {f"{program}'s mangle table": _queue_rules(netns, program) for program in programs}


@functools.cache
def _is_told(program: str) -> bool:
    """Whether the program writes nftables, as all but iptables-legacy do."""
    return "nf_tables" in run_in(None, [program, "--version"])


def _queue_rules(netns: str | None, program: str) -> str:
    """Return our chain and the jumps to it; others' rules may come and go."""
    lines = run_in(netns, [program, "-w", "-t", "mangle", "-S"]).splitlines()
    return "\n".join(line for line in lines if CHAIN in line.split())
