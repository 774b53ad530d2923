"""How a guest stands: what of its traffic was looked at, and what would stop an attack on it now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

REASONS = {
    "steered": "no signature looks there",
    "past-depth": "past the inspection depth",
    "encrypted": "encrypted",
    "tunnel": "inside a tunnel",
    "ethertype": "not IP",
    "midstream": "joined midstream",
    "truncated": "truncated",
    "queue-full": "queue full",
    "inspector-down": "inspector down",
    "bypass": "bypassed",
    "shed": "shed under load",
}
ALARMING = frozenset({"queue-full", "inspector-down", "bypass", "shed"})


class Shield(Enum):
    """What stands before a guest, worst first."""

    BYPASSED = "bypassed"
    DOWN = "down"
    UNKNOWN = "unknown"
    NONE = "unshielded"
    DETECT = "watched"
    PREVENT = "shielded"


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a guest's bytes that was not inspected; fraction is of all its bytes, 0 to 1."""

    reason: str
    bytes: int
    fraction: float


def uninspected_shares(total: int, by_reason: Mapping[str, int]) -> tuple[Share, ...]:
    """Return the shares, largest first. A reason's bytes never count as more than the total."""
    return tuple(
        Share(reason, count, min(count / total, 1.0) if total else 0.0)
        for reason, count in sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))
        if count > 0
    )


def uninspected_fraction(total: int, by_reason: Mapping[str, int]) -> float:
    """Return the part of all bytes that went by uninspected, 0 to 1."""
    return min(sum(by_reason.values()) / total, 1.0) if total else 0.0


def shield_of(
    *, reporting: bool, bypassed: bool, inspector_up: bool, evaluated: int, can_block: int
) -> Shield:
    """Return how a guest stands.

    reporting: its appliance was heard of lately, and what it runs is known. evaluated, can_block: signatures
    assigned in a mode other than off, and those of them that may drop.
    """
    if bypassed:
        return Shield.BYPASSED
    if not reporting:
        return Shield.UNKNOWN
    if not inspector_up:
        return Shield.DOWN
    if not evaluated:
        return Shield.NONE
    return Shield.PREVENT if can_block else Shield.DETECT


def bypassed_guests(
    status: Mapping[str, object], guests: Sequence[str], now_s: float
) -> dict[str, float | None]:
    """Return the guests that are bypassed now, with the Unix time it ends at (None: when taken back).

    status: what the appliance reported; its `bypass` is `[{guest, until_s}]`, guest null for all of them.
    """
    found: dict[str, float | None] = {}
    entries = status.get("bypass")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        until = entry.get("until_s")
        until_s = float(until) if isinstance(until, int | float) else None
        if until_s is not None and until_s <= now_s:
            continue
        named = entry.get("guest")
        found.update(dict.fromkeys(guests if named is None else [g for g in guests if g == named], until_s))
    return found
