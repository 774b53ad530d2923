"""Byte counts per guest: the kernel's and the inspector's put together.

The kernel's counters outlive everything but a reboot; the inspector's begin anew with each of its runs, so
what earlier runs counted is kept here.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Uninspected = dict[str, Counter[str]]


@dataclass(slots=True)
class InspectorAccounts:
    """Uninspected bytes by guest and reason, over all runs of the inspector."""

    _ended: Uninspected = field(default_factory=dict)
    _running: Uninspected = field(default_factory=dict)

    def take(self, stats: Mapping[str, Any]) -> None:
        """Remember what the running inspector says now."""
        guests = stats.get("guests")
        if isinstance(guests, Mapping):
            self._running = {str(name): _counts(value) for name, value in guests.items()}

    def run_ended(self) -> None:
        """Add the last run's counts to the sum of the ended ones."""
        self._ended = {name: self.of(name) for name in {*self._ended, *self._running}}
        self._running = {}

    def of(self, guest: str) -> Counter[str]:
        """Return bytes by reason."""
        return self._ended.get(guest, Counter()) + self._running.get(guest, Counter())


def _counts(value: Any) -> Counter[str]:
    reasons = value.get("uninspected", {}) if isinstance(value, Mapping) else {}
    if not isinstance(reasons, Mapping):
        return Counter()
    return Counter({str(reason): int(count) for reason, count in reasons.items() if isinstance(count, int)})
