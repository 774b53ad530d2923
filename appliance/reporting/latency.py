"""Distributions of times as the engine counts them (engine/nfqueue/src/latency.rs)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

UNIT_S = 250e-9
STEPS = 4
DOUBLINGS = 24


@dataclass(frozen=True, slots=True)
class Latency:
    """counts[i]: how many took less than `bound_s(i)` and no less than the bound before."""

    counts: Sequence[int] = ()
    total_s: float = 0.0

    @classmethod
    def of(cls, stats: Any) -> "Latency":
        """Return the engine's statistics as a distribution; what is none is an empty one."""
        if not isinstance(stats, Mapping):
            return cls()
        return cls(tuple(stats.get("counts", ())), stats.get("total_ns", 0) / 1e9)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def since(self, before: "Latency") -> "Latency":
        """Return what came after `before`; all of it if counting began anew in between."""
        if before.count > self.count:
            return self
        earlier = [*before.counts, *[0] * (len(self.counts) - len(before.counts))]
        counts = tuple(now - then for now, then in zip(self.counts, earlier, strict=False))
        return Latency(counts, self.total_s - before.total_s)

    def quantile_s(self, share: float) -> float | None:
        """Return the bound that this share stays below; None if there is nothing."""
        wanted = share * self.count
        for index, below in enumerate(accumulate(self.counts)):
            if below >= wanted and below:
                return bound_s(index)
        return None

    def below(self) -> list[tuple[float, int]]:
        """Return a bound for each doubling from 1 µs on, and how many stayed below it."""
        sums = list(accumulate(self.counts))
        bounds = range(STEPS - 1, STEPS * DOUBLINGS - 1, STEPS)
        return [(bound_s(i), sums[min(i, len(sums) - 1)] if sums else 0) for i in bounds]


def bound_s(index: int) -> float:
    """Return the time, in seconds, that what is counted at the index stays below."""
    doubling, step = divmod(index, STEPS)
    return UNIT_S * (step + 1 if doubling == 0 else (STEPS + step + 1) << (doubling - 1))
