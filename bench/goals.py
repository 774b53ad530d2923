"""What is to be reached, and whether it was."""

from dataclasses import dataclass

from bench.rows import Row, values
from bench.statistics import Ratio, ratio


@dataclass(frozen=True, slots=True)
class Goal:
    """Sekisho's figure over Suricata's must stay on one side of a bound.

    at_least: the ratio must be `bound` or more; else `bound` or less.
    """

    load: str
    unit: str
    bound: float
    at_least: bool

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}×"  # noqa: RUF001

    def judge(self, found: Ratio | None) -> str:
        """Say "met" or "missed" where the whole interval does, else "undecided"."""
        if found is None:
            return "not measured"
        if self.at_least:
            met, missed = found.low >= self.bound, found.high < self.bound
        else:
            met, missed = found.high <= self.bound, found.low > self.bound
        return "met" if met else "missed" if missed else "undecided"


def against_suricata(rows: list[Row], load: str, unit: str) -> Ratio | None:
    """Return Sekisho's figure as a multiple of Suricata's."""
    return ratio(values(rows, "sekisho", load, unit), values(rows, "suricata", load, unit))
