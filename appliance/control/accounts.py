"""What the inspector counted, over all of its runs.

The kernel's counters outlive everything but a reboot; the inspector's begin anew with each of its runs, so
what earlier runs counted is kept here.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

FAILURES = "failures"
"""Uses of the failure policy, by which; they belong to no guest."""

Counts = dict[tuple[str, str], Counter[str]]
"""By guest and what was counted."""


class InspectorAccounts(msgspec.Struct):
    """Uninspected bytes by guest and reason, detections by guest, uses of the failure policy."""

    _ended: Counts = msgspec.field(default_factory=dict)
    _running: Counts = msgspec.field(default_factory=dict)

    def take(self, stats: Mapping[str, Any]) -> None:
        """Remember what the running inspector says now."""
        guests = stats.get("guests")
        if not isinstance(guests, Mapping):
            return
        self._running = {("", FAILURES): _counts(stats.get("failures"))}
        for name, counted in guests.items():
            if isinstance(counted, Mapping):
                self._running[str(name), "uninspected"] = _counts(counted.get("uninspected"))
                self._running[str(name), "detections"] = _counts(counted)

    def run_ended(self) -> None:
        """Add the last run's counts to the sum of the ended ones."""
        self._ended = {key: self._sum(key) for key in {*self._ended, *self._running}}
        self._running = {}

    def of(self, guest: str) -> Counter[str]:
        """Return uninspected bytes by reason."""
        return self._sum((guest, "uninspected"))

    def detections(self, guest: str) -> Counter[str]:
        """Return how many `alerts` there were, and how many packets were `blocked`."""
        counted = self._sum((guest, "detections"))
        return Counter({what: counted[what] for what in ("alerts", "blocked")})

    def failures(self) -> Counter[str]:
        """Return how often the inspector applied the failure policy, by what for."""
        return self._sum(("", FAILURES))

    def _sum(self, key: tuple[str, str]) -> Counter[str]:
        return self._ended.get(key, Counter()) + self._running.get(key, Counter())


def _counts(value: Any) -> Counter[str]:
    if not isinstance(value, Mapping):
        return Counter()
    return Counter({str(what): int(count) for what, count in value.items() if isinstance(count, int)})
