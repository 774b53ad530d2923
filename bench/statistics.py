"""Medians, and how sure one can be of their ratio."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

RESAMPLES = 4000
SEED = 7
FEWEST_ROUNDS = 3
"""With fewer rounds nothing can be said of how much they differ."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two medians with its 95 % interval; from 0 to endless where there were too few rounds."""

    value: float
    low: float
    high: float


def ratio(above: Mapping[int, float], below: Mapping[int, float]) -> Ratio | None:
    """Return median(above) / median(below) with a percentile-bootstrap interval; None without figures.

    Figures by round. Those of one round were taken next to each other, so rounds are drawn as pairs; a round
    that only one of the two has does not count. The random numbers are seeded: the same figures give the same
    interval.
    """
    pairs = [(above[number], below[number]) for number in above if number in below]
    if not pairs or _ratio(pairs) is None:
        return None
    value = _ratio(pairs) or 0.0
    if len(pairs) < FEWEST_ROUNDS:
        return Ratio(value, 0.0, float("inf"))
    chance = random.Random(SEED)
    drawn = sorted(_ratio(chance.choices(pairs, k=len(pairs))) or float("inf") for _ in range(RESAMPLES))
    return Ratio(value, drawn[round(RESAMPLES * 0.025)], drawn[round(RESAMPLES * 0.975) - 1])


def _ratio(pairs: list[tuple[float, float]]) -> float | None:
    below = median(pair[1] for pair in pairs)
    return median(pair[0] for pair in pairs) / below if below > 0 else None
