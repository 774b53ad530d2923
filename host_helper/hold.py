"""New taps wait: libvirt tells of a vNIC that was plugged in when the guest can speak through it already.

So the kernel lets no frame from or to a tap that is new until it is decided whose it is, and a protected
guest's is led through an appliance that knows it. The table `bridge sekisho_hold`:

    names      of interfaces that wait: for HOLD_S, and renewed, so that nobody waits for a dead helper
    admitted   who waits no more, by the interface's number, which no other has until the host is started anew

Only names that libvirt makes up wait. Whatever else is a port of a bridge is none of its guests'.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from appliance.netns import list_objects, run_in
from host_helper import links

TABLE = "bridge sekisho_hold"
PREFIX = "vnet"
"""Of the names that libvirt makes up; it takes them from nobody else. Source: libvirt, virnetdev.h."""
HOLD_S = 30


class Hold:
    """Blocking; every call raises SystemFault."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on = False
        self._admitted: set[int] = set()

    def renew(self, *, on: bool) -> None:
        """Hold new taps for another while, or nobody. Those that are there when it begins are not new."""
        with self._lock:
            taps = _taps()
            if on and not self._on:
                before = _admitted_before(taps)
                self._admitted = set(taps.values()) if before is None else before
            self._admitted &= set(taps.values())
            if on or self._on:
                run_in(None, ["nft", "-f", "-"], render(self._admitted, on=on))
            self._on = on

    def admit(self, taps: Iterable[str]) -> None:
        """Let these taps' frames pass."""
        with self._lock:
            known = _taps()
            new = {known[tap] for tap in taps if tap in known} - self._admitted
            self._admitted |= new
            if new and self._on:
                run_in(None, ["nft", "-f", "-"], f"add element {TABLE} admitted {_set_of(new)}\n")

    def held(self) -> frozenset[str]:
        """Return the taps that wait."""
        with self._lock:
            if not self._on:
                return frozenset()
            return frozenset(name for name, index in _taps().items() if index not in self._admitted)


def render(admitted: Iterable[int], *, on: bool) -> str:
    """Return the transaction."""
    lines = [
        f"add table {TABLE}",
        f"add set {TABLE} names {{ type ifname; flags interval,timeout; }}",
        f"add set {TABLE} admitted {{ type iface_index; }}",
    ]
    for chain, hook, name, number in (
        ("from", "prerouting", "iifname", "iif"),
        ("to", "postrouting", "oifname", "oif"),
    ):
        lines += [
            f"add chain {TABLE} {chain} {{ type filter hook {hook} priority -320; policy accept; }}",
            f"flush chain {TABLE} {chain}",
            f"add rule {TABLE} {chain} {name} @names {number} != @admitted counter drop",
        ]
    lines += [f"flush set {TABLE} names", f"flush set {TABLE} admitted"]
    if on:
        lines.append(f'add element {TABLE} names {{ "{PREFIX}*" timeout {HOLD_S}s }}')
    if numbers := sorted(admitted):
        lines.append(f"add element {TABLE} admitted {_set_of(numbers)}")
    return "\n".join(lines) + "\n"


def remove() -> None:
    """Take the table away. Raises SystemFault."""
    run_in(None, ["nft", "-f", "-"], f"add table {TABLE}\ndelete table {TABLE}\n")


def _set_of(numbers: Iterable[int]) -> str:
    return f"{{ {', '.join(map(str, numbers))} }}"


def _taps() -> dict[str, int]:
    return {name: index for name, index in links.indexes().items() if name.startswith(PREFIX)}


def _admitted_before(taps: Mapping[str, int]) -> set[int] | None:
    """Return whom a helper before this one admitted; None if its hold is over, and new taps passed since."""
    names, admitted = (
        [each for entry in list_objects(None, "set", *TABLE.split(), name) for each in _elements(entry)]
        for name in ("names", "admitted")
    )
    return {taps[each] for each in admitted if each in taps} if names else None


def _elements(entry: dict[str, Any]) -> list[Any]:
    return list(entry.get("set", {}).get("elem", ()))
