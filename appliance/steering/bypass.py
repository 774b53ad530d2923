"""Lets traffic pass uninspected, at once and for a while, with nothing else of ours alive.

Works on the kernel's tables alone: they know which taps there are and whose, and they end the bypass
themselves, by the elements' timeout. Guard and firewall stay; every byte is counted as `bypass`.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from appliance.firewall.kernel import is_empty, run_batch
from appliance.firewall.nft import TABLE
from appliance.model.faults import PolicyError, SystemFault
from appliance.netns import list_objects

MAX_BYPASS_S = 7 * 24 * 3600
WHERE = {"family": "bridge", "table": TABLE, "name": "bypassed"}


class Bypassed(msgspec.Struct, frozen=True):
    """A guest's tap that is not inspected now, and for how much longer."""

    guest: str
    tap: str
    remaining_s: int


def bypass(guest: str | None, duration_s: int, netns: str | None = None) -> tuple[Bypassed, ...]:
    """Let a guest's traffic, or everyone's (None), pass uninspected for a while; 0 ends a bypass.

    Returns what is bypassed now. Raises PolicyError for an unknown guest or duration, SystemFault when
    nothing is loaded (then nothing is inspected anyway) or the kernel refuses.
    """
    if not 0 <= duration_s <= MAX_BYPASS_S:
        raise PolicyError(f"bypass: {duration_s} s is not between 0 and {MAX_BYPASS_S} s (a week)")
    taps = dict(loaded_taps(netns))
    if not taps:
        raise SystemFault("bypass: no ruleset of ours is loaded here, so nothing is being inspected")
    chosen = [tap for tap, owner in taps.items() if guest in (None, owner)]
    if not chosen:
        known = ", ".join(sorted(set(taps.values())))
        raise PolicyError(f"bypass: there is no guest {guest!r}; known: {known}")
    # an element that is there keeps its old timeout when added again: so take it out first, and as a
    # missing one cannot be taken out, put it in before that, all in one transaction
    commands: list[dict[str, Any]] = [
        {"add": {"element": {**WHERE, "elem": chosen}}},
        {"delete": {"element": {**WHERE, "elem": chosen}}},
    ]
    if duration_s:
        timed = [{"elem": {"val": tap, "timeout": duration_s}} for tap in chosen]
        commands.append({"add": {"element": {**WHERE, "elem": timed}}})
    run_batch(netns, json.dumps({"nftables": commands}))
    return bypassed(netns)


def bypassed(netns: str | None = None) -> tuple[Bypassed, ...]:
    """Return what is bypassed now. Raises SystemFault."""
    if is_empty(netns, "bridge", WHERE["name"]):
        return ()
    taps = dict(loaded_taps(netns))
    return tuple(
        Bypassed(taps.get(element["val"], "?"), element["val"], element.get("expires", 0))
        for element in _elements(netns, "set", "bypassed")
    )


def loaded_taps(netns: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield each tap and its guest, as the loaded map's comments say."""
    for key, _ in _elements(netns, "map", "in_ports"):
        if isinstance(key, dict):  # a port of no guest's has no comment, and is a plain name
            yield key["elem"]["val"], key["elem"].get("comment", "?")


def _elements(netns: str | None, kind: str, name: str) -> list[Any]:
    for entry in list_objects(netns, kind, "bridge", TABLE, name):
        if kind in entry:
            elements = entry[kind].get("elem", [])
            return [element.get("elem", element) if kind == "set" else element for element in elements]
    return []
