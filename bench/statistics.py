"""Medians, and how sure one can be of their ratio."""

import random
from dataclasses import dataclass
from statistics import median

RESAMPLES = 4000
SEED = 7


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two medians with its 95 % interval."""

    value: float
    low: float
    high: float


def ratio(above: list[float], below: list[float]) -> Ratio | None:
    """Return median(above) / median(below) with a percentile-bootstrap interval; None without figures.

    Figures of one round were taken next to each other, so rounds are drawn as pairs where both have as many.
    The random numbers are seeded: the same figures give the same interval.
    """
    if not above or not below or median(below) <= 0:
        return None
    chance = random.Random(SEED)
    drawn = sorted(_draw(chance, above, below) for _ in range(RESAMPLES))
    low, high = drawn[round(RESAMPLES * 0.025)], drawn[round(RESAMPLES * 0.975) - 1]
    return Ratio(median(above) / median(below), low, high)


def _draw(chance: random.Random, above: list[float], below: list[float]) -> float:
    if len(above) == len(below):
        pairs = chance.choices(list(zip(above, below, strict=True)), k=len(above))
        drawn_above, drawn_below = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    else:
        drawn_above, drawn_below = chance.choices(above, k=len(above)), chance.choices(below, k=len(below))
    return median(drawn_above) / max(median(drawn_below), 1e-9)
