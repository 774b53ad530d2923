"""The helper's own nftables table: which addresses guests speak with, and what crossed the appliance.

The kernel reads the frames; we read counters. `bridge sekisho_host`, before everything else in prerouting:

    seen4_KEY, seen6_KEY   what a vNIC announced by ARP and ND, at most 32 addresses each, for an hour
    said_MAC               frames that came from the guest's tap
    out_MAC, in_MAC        frames of the guest, and for it, that came out of the appliance
    probe_TAP, probe_TAP.VLAN  our ARP probes that came out of the appliance at this tap, with this tag
    flows4_KEY, flows6_KEY while somebody counts connections: TCP segments that begin none, by tuple
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.netns import list_objects, run_in
from host_helper.links import PROBE_MAC

TABLE = "bridge sekisho_host"
ADDRESSES_PER_VNIC = 32
ADDRESS_S = 3600
FLOWS = 65535
FLOW_S = 60


@dataclass(frozen=True, slots=True)
class Watched:
    """A running guest's vNIC. key: names it among all guests that ever were."""

    key: str
    mac: str
    tap: str


def key_of(uuid: str, mac: str) -> str:
    """Return a name for nftables: of this vNIC of this guest, whoever has the tap next."""
    return f"{uuid.replace('-', '')[:12]}_{_plain(mac)}"


def watch(
    vnics: Sequence[Watched],
    appliance_taps: Sequence[str],
    counting: str | None = None,
    trunks: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Load the table anew in one transaction; what was counted and learned stays. Raises SystemFault.

    counting: the key of the vNIC whose connections are to be counted. trunks: VLANs of taps that carry such.
    """
    run_in(None, ["nft", "-f", "-"], render(vnics, appliance_taps, _present(), counting, trunks or {}))


def render(
    vnics: Sequence[Watched],
    appliance_taps: Sequence[str],
    present: frozenset[tuple[str, str]] = frozenset(),
    counting: str | None = None,
    trunks: Mapping[str, Sequence[int]] | None = None,
) -> str:
    """Return the transaction. present: kind and name of what there is now; what is no longer wanted goes."""
    lines = list(_lines(vnics, appliance_taps, counting, trunks or {}))
    wanted = {
        (words[1], words[4]) for line in lines if (words := line.split())[0] == "add" and len(words) > 4
    }
    stale = sorted(present - wanted)  # chains before the counters and sets that their rules speak of
    lines += [f"flush chain {TABLE} {name}" for kind, name in stale if kind == "chain"]
    lines += [f"delete {kind} {TABLE} {name}" for kind, name in stale]
    return "\n".join(lines) + "\n"


def remove() -> None:
    """Take the table away. Raises SystemFault."""
    run_in(None, ["nft", "-f", "-"], f"add table {TABLE}\ndelete table {TABLE}\n")


def said(mac: str) -> str:
    """Return the counter of the frames that came from the guest's tap."""
    return f"said_{_plain(mac)}"


def came_out(mac: str) -> str:
    """Return the counter of the guest's frames that came out of the appliance."""
    return f"out_{_plain(mac)}"


def probe(tap: str, vlan: int | None = None) -> str:
    """Return the counter of our ARP probes that came out of the appliance at this tap, with this tag."""
    return f"probe_{tap}" if vlan is None else f"probe_{tap}.{vlan}"


def counters() -> dict[str, int]:
    """Return how many frames each counter saw. Raises SystemFault."""
    return {
        entry["counter"]["name"]: int(entry["counter"]["packets"])
        for entry in list_objects(None, "counters", "table", *TABLE.split())
        if "counter" in entry
    }


def all_addresses() -> dict[str, tuple[str, ...]]:
    """Return by vNIC's key what `addresses` does, all with one look. Raises SystemFault."""
    found: dict[str, list[str]] = {}
    for entry in list_objects(None, "table", *TABLE.split()):
        kind, _, key = entry.get("set", {}).get("name", "").partition("_")
        if kind in ("seen4", "seen6"):
            found.setdefault(key, []).extend(str(value) for value in _values(entry))
    return {key: tuple(values) for key, values in found.items()}


def addresses(key: str) -> tuple[str, ...]:
    """Return the addresses that the vNIC announced in the last hour. Raises SystemFault."""
    return tuple(str(each) for version in (4, 6) for each in _elements(f"seen{version}_{key}"))


def flows(key: str) -> int:
    """Return how many TCP connections were seen to go on since `watch` began counting. Raises SystemFault."""
    return sum(len(_elements(f"flows{version}_{key}")) for version in (4, 6))


def _lines(
    vnics: Sequence[Watched],
    appliance_taps: Sequence[str],
    counting: str | None,
    trunks: Mapping[str, Sequence[int]],
) -> Iterator[str]:
    yield f"add table {TABLE}"
    yield f"add chain {TABLE} watch {{ type filter hook prerouting priority -310; policy accept; }}"
    yield f"flush chain {TABLE} watch"
    macs = sorted({each.mac for each in vnics})
    for mac in macs:
        yield from (f"add counter {TABLE} {name}" for name in (said(mac), came_out(mac), _went_in(mac)))
    for tap in appliance_taps:
        yield f"add counter {TABLE} {probe(tap)}"
    for each in vnics:
        yield from _vnic_chain(each, counting=each.key == counting)
    if vnics:
        jumps = ", ".join(f'"{each.tap}" : jump vnic_{each.key}' for each in vnics)
        yield f"add rule {TABLE} watch iifname vmap {{ {jumps} }}"
    if appliance_taps:
        taps = f"iifname {{ {', '.join(_quoted(tap) for tap in appliance_taps)} }}"
        probes = ", ".join(f'"{tap}" : "{probe(tap)}"' for tap in appliance_taps)
        yield f"add rule {TABLE} watch ether saddr {PROBE_MAC} counter name iifname map {{ {probes} }}"
        for tap, vlans in trunks.items():
            yield from (f"add counter {TABLE} {probe(tap, vlan)}" for vlan in vlans)
            tagged = ", ".join(f'{vlan} : "{probe(tap, vlan)}"' for vlan in vlans)
            at = f"add rule {TABLE} watch iifname {_quoted(tap)}"
            if vlans:
                yield f"{at} ether saddr {PROBE_MAC} counter name vlan id map {{ {tagged} }}"
            # in a tagged frame ARP's fields are not where nft looks for them
            yield f"{at} vlan type arp return"
        # what we say in a guest's name is no proof of anything
        yield f"add rule {TABLE} watch {taps} arp saddr ip 0.0.0.0 return"
        for counter, field in ((came_out, "saddr"), (_went_in, "daddr")) if macs else ():
            names = ", ".join(f'{mac} : "{counter(mac)}"' for mac in macs)
            yield f"add rule {TABLE} watch {taps} counter name ether {field} map {{ {names} }}"


def _vnic_chain(vnic: Watched, *, counting: bool) -> Iterator[str]:
    chain = f"vnic_{vnic.key}"
    yield f"add chain {TABLE} {chain}"
    yield f"flush chain {TABLE} {chain}"
    rule = f"add rule {TABLE} {chain}"
    for version in (4, 6):
        yield (
            f"add set {TABLE} seen{version}_{vnic.key} {{ type ipv{version}_addr; size {ADDRESSES_PER_VNIC}; "
            f"flags dynamic,timeout; timeout {ADDRESS_S}s; }}"
        )
    yield f'{rule} counter name "{said(vnic.mac)}"'
    yield f"{rule} arp saddr ip != 0.0.0.0 update @seen4_{vnic.key} {{ arp saddr ip }}"
    nd = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"
    yield f"{rule} {nd} ip6 saddr != :: update @seen6_{vnic.key} {{ ip6 saddr }}"
    if counting:
        for version, ip in ((4, "ip"), (6, "ip6")):
            kind = f"ipv{version}_addr . inet_service . ipv{version}_addr . inet_service"
            yield (
                f"add set {TABLE} flows{version}_{vnic.key} {{ type {kind}; size {FLOWS}; "
                f"flags dynamic,timeout; timeout {FLOW_S}s; }}"
            )
            tuple_ = f"{ip} saddr . tcp sport . {ip} daddr . tcp dport"
            yield f"{rule} tcp flags & (syn|fin|rst) == 0 update @flows{version}_{vnic.key} {{ {tuple_} }}"


def _went_in(mac: str) -> str:
    return f"in_{_plain(mac)}"


def _plain(mac: str) -> str:
    return mac.replace(":", "")


def _quoted(tap: str) -> str:
    return f'"{tap}"'


def _present() -> frozenset[tuple[str, str]]:
    entries = list_objects(None, "table", *TABLE.split())
    kinds = ("chain", "counter", "set")
    # anonymous maps and sets are not listed, and go with their rule
    return frozenset((kind, entry[kind]["name"]) for entry in entries for kind in kinds if kind in entry)


def _elements(name: str) -> list[Any]:
    return [value for entry in list_objects(None, "set", *TABLE.split(), name) for value in _values(entry)]


def _values(entry: dict[str, Any]) -> list[Any]:
    return [each["elem"]["val"] for each in entry.get("set", {}).get("elem", ())]
