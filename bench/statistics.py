"""Ratios, and how sure one can be of them."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from statistics import median

RESAMPLES = 4000
SEED = 7
FEWEST_ROUNDS = 3
"""With fewer rounds nothing can be said of how much they differ."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio with its 95 % interval; from 0 to endless where there were too few rounds."""

    value: float
    low: float
    high: float


def ratio(above: Mapping[int, float], below: Mapping[int, float]) -> Ratio | None:
    """Return the median of above / below over the rounds, with a percentile-bootstrap interval.

    Figures by round; a round that only one of the two has does not count. Those of one round were taken next
    to each other: on a host whose speed changes from round to round their ratio stays where medians wander. A
    round with nothing below counts as endless; None if that is the rule, and without figures. The random
    numbers are seeded: the same figures give the same interval.
    """
    of_rounds = [_over(above[number], below[number]) for number in above if number in below]
    if not of_rounds or median(of_rounds) == inf:
        return None
    if len(of_rounds) < FEWEST_ROUNDS:
        return Ratio(median(of_rounds), 0.0, inf)
    chance = random.Random(SEED)
    drawn = sorted(median(chance.choices(of_rounds, k=len(of_rounds))) for _ in range(RESAMPLES))
    return Ratio(median(of_rounds), drawn[round(RESAMPLES * 0.025)], drawn[round(RESAMPLES * 0.975) - 1])


def _over(above: float, below: float) -> float:
    return above / below if below > 0 else inf
