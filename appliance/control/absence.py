"""How long nobody was protected before this start, told from the sign of life that the run before left.

Within one boot the kernel's clock says it, to the three seconds between two signs. Across a reboot only the
wall clock can; where that is not set yet, or was set back, nothing is said of how long.
"""

import time
from pathlib import Path
from typing import Any

import msgspec

SIGN = "alive.json"
CLOCKS_APART_S = 10.0
"""Two clocks that differ by more since a sign did not run through one boot."""


class Sign(msgspec.Struct, frozen=True):
    """A moment: Unix time, and seconds since the machine was started."""

    time_s: float
    up_s: float

    @classmethod
    def now(cls) -> "Sign":
        """Return this moment."""
        return cls(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


class Absence(msgspec.Struct, frozen=True):
    """What was before a start.

    first: this is the first one ever. rebooted: the machine was started since. rules_stood: guard, firewall
    and failure policy were in the kernel meanwhile. away_s: from the last sign of life until protection; None
    where no clock tells. up_s: of that, how long the machine was up.
    """

    first: bool
    rebooted: bool
    rules_stood: bool
    away_s: float | None
    up_s: float

    @property
    def severity(self) -> int:
        """Of the event: a gap without rules should be seen."""
        return 4 if self.first else 3 if self.rules_stood else 2

    def __str__(self) -> str:
        """Say it in a sentence's end."""
        if self.first:
            return f"for the first time, {self.up_s:.1f} s after the machine's start"
        unknown = "for an unknown time (the clock was set)"
        long = unknown if self.away_s is None else f"for {self.away_s:.1f} s"
        if self.rules_stood:
            return f"nothing was inspected {long}, the rules stood"
        if self.rebooted:
            return f"after a reboot: no protection {long}, {self.up_s:.1f} s of it with the machine up"
        return f"no protection {long}, and no rules in the kernel"

    def details(self) -> dict[str, Any]:
        """Return it as an event's details."""
        return msgspec.structs.asdict(self)


def absence(last: Sign | None, now: Sign, *, rules_stood: bool) -> Absence:
    """Tell what lies between the last sign of life and now."""
    if last is None:
        return Absence(True, False, rules_stood, None, now.up_s)
    by_wall, by_kernel = now.time_s - last.time_s, now.up_s - last.up_s
    same = rules_stood or (by_kernel >= 0 and abs(by_wall - by_kernel) <= CLOCKS_APART_S)
    if same and by_kernel >= 0:
        return Absence(False, False, rules_stood, by_kernel, by_kernel)
    return Absence(False, True, rules_stood, by_wall if by_wall >= now.up_s else None, now.up_s)


def leave_sign(state: Path) -> None:
    """Leave a sign of life; not fsynced, so after a power cut it may be an older one. Raises OSError."""
    beside = state / f".{SIGN}.new"
    beside.write_bytes(msgspec.json.encode(Sign.now()))
    beside.rename(state / SIGN)


def last_sign(state: Path) -> Sign | None:
    """Return the sign that the run before left; None where there is none, or it is damaged."""
    try:
        return msgspec.json.decode((state / SIGN).read_bytes(), type=Sign)
    except (OSError, msgspec.MsgspecError):
        return None
