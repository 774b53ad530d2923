"""What is to be reached, and whether it was."""

from dataclasses import dataclass

from bench.rows import Row, values
from bench.statistics import Ratio, ratio


@dataclass(frozen=True, slots=True)
class Goal:
    """One path's figure over another's must stay on one side of a bound.

    at_least: the ratio must be `bound` or more; else `bound` or less. rules: the selection that both hold;
    empty where the load has but one.
    """

    load: str
    unit: str
    bound: float
    at_least: bool
    rules: str = ""
    path: str = "sekisho"
    against: str = "suricata"

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}× {self.against}"  # noqa: RUF001

    def found(self, rows: list[Row]) -> Ratio | None:
        """Return the ratio that was measured; None where one of the two was not."""
        above, below = (
            values(rows, path, self.load, self.unit, self.rules or None) for path in (self.path, self.against)
        )
        return ratio(above, below)

    def judge(self, found: Ratio | None) -> str:
        """Say "met" or "missed" where the whole interval does, else "undecided"."""
        if found is None:
            return "not measured"
        if self.at_least:
            met, missed = found.low >= self.bound, found.high < self.bound
        else:
            met, missed = found.high <= self.bound, found.low > self.bound
        return "met" if met else "missed" if missed else "undecided"
