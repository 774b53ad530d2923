"""The bench's ratios and what is said of goals."""

from math import inf

from bench.goals import Goal
from bench.rows import Row
from bench.statistics import Ratio, ratio


def rounds(*figures: float) -> dict[int, float]:
    return dict(enumerate(figures))


def test_a_ratio_of_steady_figures_is_certain() -> None:
    assert ratio(rounds(3, 3, 3), rounds(2, 2, 2)) == Ratio(1.5, 1.5, 1.5)


def test_an_interval_covers_what_rounds_disagree_about() -> None:
    found = ratio(rounds(1, 2, 3, 4, 5), rounds(1, 1, 1, 1, 1))
    assert found is not None
    assert found.low < 3.0 == found.value < found.high


def test_rounds_that_slowed_both_down_leave_the_ratio_certain() -> None:
    below = [1.0, 2.0, 1.5, 3.0, 1.2]
    found = ratio(rounds(*(2 * value for value in below)), rounds(*below))
    assert found == Ratio(2.0, 2.0, 2.0)


def test_a_round_with_nothing_below_is_endless() -> None:
    assert ratio(rounds(1, 1, 1), rounds(2, 0, 2)) == Ratio(0.5, 0.5, inf)
    assert ratio(rounds(1, 1, 1), rounds(0, 0, 2)) is None


def test_nothing_is_said_without_figures() -> None:
    assert ratio({}, rounds(1)) is None
    assert ratio(rounds(1), {}) is None


def test_only_rounds_that_both_have_are_compared() -> None:
    assert ratio({0: 3.0, 1: 3.0, 2: 3.0, 3: 900.0}, rounds(2, 2, 2)) == Ratio(1.5, 1.5, 1.5)
    assert ratio({0: 3.0}, {1: 2.0}) is None


def test_too_few_rounds_decide_nothing() -> None:
    assert ratio(rounds(9, 9), rounds(1, 1)) == Ratio(9.0, 0.0, inf)


def test_less_than_nothing_added_is_less_than_something() -> None:
    assert ratio(rounds(-1, -1, -1), rounds(2, 2, 2)) == Ratio(-0.5, -0.5, -0.5)


def test_a_goal_compares_what_holds_the_same_rules_or_none() -> None:
    goal = Goal("load", "1/s", 0.9, at_least=True, rules="few", against="no queue")
    rows = [
        Row(path, "load", rules, value, "1/s", number)
        for number in range(3)
        for path, rules, value in (("sekisho", "few", 9.0), ("sekisho", "all", 1.0), ("no queue", "", 10.0))
    ]
    assert goal.found(rows) == Ratio(0.9, 0.9, 0.9)
    assert goal.judge(goal.found(rows)) == "met"


def test_a_goal_is_undecided_where_the_interval_crosses_its_bound() -> None:
    goal = Goal("load", "Mbit/s", 1.5, at_least=True)
    assert goal.judge(Ratio(1.7, 1.6, 1.8)) == "met"
    assert goal.judge(Ratio(1.6, 1.4, 1.8)) == "undecided"
    assert goal.judge(Ratio(1.2, 1.1, 1.3)) == "missed"
    assert goal.judge(None) == "not measured"


def test_a_bound_from_above_is_judged_from_above() -> None:
    goal = Goal("load", "s", 0.3, at_least=False)
    assert goal.judge(Ratio(0.2, 0.1, 0.3)) == "met"
    assert goal.judge(Ratio(0.3, 0.2, 0.4)) == "undecided"
    assert goal.judge(Ratio(0.5, 0.4, 0.6)) == "missed"
