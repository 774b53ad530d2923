"""What `sekisho run` would change on this host beside its own tables, and what stands against it.

With br-netfilter the bridge's packets pass iptables' FORWARD chains and those of other nftables tables, which
were written for routed traffic; where one of them drops, guests would lose one another. So that is looked for
before anything is turned on. nft-bridge touches none of it. What bridges know of guests is set with either.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import rtnetlink
from appliance.firewall.nft import TABLE
from appliance.netns import list_objects, run_in
from appliance.steering.backend import (
    TIMESTAMP_SYSCTL,
    VLAN_SYSCTL,
    Backend,
    Choice,
    judge_backend,
)

MODULES = Path("/proc/modules")
GUESTS_PORTS = "is told which addresses are behind its guests' ports; those get no frames for unknown ones"
BRIDGE_CALLS = ("nf_call_iptables", "nf_call_ip6tables")
IP_FAMILIES = ("ip", "ip6", "inet")
DROPPING = ("drop", "reject", "DROP", "REJECT")


@dataclass(frozen=True, slots=True)
class Preflight:
    """changes: a sentence each that would be made. refusals: a sentence each why it must not be."""

    choice: Choice
    changes: tuple[str, ...]
    refusals: tuple[str, ...]


def preflight(bridges: Sequence[str], netns: str | None, wanted: Backend | None = None) -> Preflight:
    """Return what the appliance would change for the bridges. Changes nothing. Raises SystemFault.

    Only asking the kernel for what it can may load nftables' own modules; those are named too.
    """
    before = _modules()
    choice, present = judge_backend(netns, wanted)
    changes = [f"module {name}: loaded by asking for it" for name in sorted(_modules() - before)]
    changes += [
        f"{change} (not by the package's unit, which may not)"
        for change in _sysctl_change(TIMESTAMP_SYSCTL, netns)
    ]
    changes += [f"bridge {bridge}: {GUESTS_PORTS}" for bridge in bridges]
    if choice.backend is Backend.NFT_BRIDGE:
        return Preflight(choice, tuple(changes), ())
    if not present:
        changes.append("module br_netfilter: would be loaded")
    changes += _sysctl_change(VLAN_SYSCTL, netns)
    for bridge in bridges:
        changes += _bridge_changes(bridge, netns)
    return Preflight(choice, tuple(changes), tuple(_refusals(netns)))


def _sysctl_change(sysctl: Path, netns: str | None) -> Iterator[str]:
    value = run_in(netns, ["sh", "-c", f"cat {sysctl} 2>/dev/null || echo 0"]).strip()
    if value != "1":
        yield f"sysctl {'.'.join(sysctl.parts[3:])}: {value} becomes 1"


def _bridge_changes(bridge: str, netns: str | None) -> Iterator[str]:
    found = rtnetlink.bridge_switches(netns, bridge)
    if found is None:
        yield f"bridge {bridge}: is not there (yet)"
        return
    for name, is_on in zip(BRIDGE_CALLS, found.calls, strict=True):
        if not is_on:
            yield f"bridge {bridge}: {name} 0 becomes 1"


def _refusals(netns: str | None) -> Iterator[str]:
    """Yield each chain of somebody else's that would catch bridged packets."""
    objects = list_objects(netns, "ruleset")
    chains = [entry["chain"] for entry in objects if "chain" in entry]
    rules = [entry["rule"] for entry in objects if "rule" in entry]
    for chain in chains:
        family, table, name = chain["family"], chain["table"], chain["name"]
        if family not in IP_FAMILIES or table == TABLE or chain.get("hook") != "forward":
            continue
        where = f"chain {name} of table {family} {table}"
        if chain.get("policy") == "drop":
            yield f"{where} drops what it does not know, and bridged packets would pass it"
        elif dropping := _dropping(family, table, name, rules, set()):
            yield f"{where} drops or rejects (in {dropping}), and bridged packets would pass it"
    for file in ("ip_tables_names", "ip6_tables_names"):
        if "filter" in run_in(netns, ["sh", "-c", f"cat /proc/net/{file} 2>/dev/null || true"]).split():
            yield f"iptables-legacy's filter table is in use ({file}), and bridged packets would pass it"


def _dropping(
    family: str, table: str, name: str, rules: Sequence[dict[str, Any]], seen: set[str]
) -> str | None:
    """Return the chain, this or one that it leads to, that has a rule which drops."""
    seen.add(name)
    for rule in rules:
        if (rule["family"], rule["table"], rule["chain"]) != (family, table, name):
            continue
        for statement in rule["expr"]:
            kind, content = next(iter(statement.items()))
            if kind in DROPPING or (kind == "xt" and content.get("name") in DROPPING):
                return name
            leads_on = kind in ("jump", "goto") and content["target"] not in seen
            if leads_on and (found := _dropping(family, table, content["target"], rules, seen)):
                return found
    return None


def _modules() -> set[str]:
    try:
        return {line.split()[0] for line in MODULES.read_text().splitlines()}
    except OSError:
        return set()
