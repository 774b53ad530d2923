"""The bench's ratios and what is said of goals."""

from bench.goals import Goal
from bench.statistics import Ratio, ratio


def test_a_ratio_of_steady_figures_is_certain() -> None:
    assert ratio([3.0, 3.0, 3.0], [2.0, 2.0, 2.0]) == Ratio(1.5, 1.5, 1.5)


def test_an_interval_covers_what_rounds_disagree_about() -> None:
    found = ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0])
    assert found is not None
    assert found.low < 3.0 == found.value < found.high


def test_rounds_that_slowed_both_down_leave_the_ratio_certain() -> None:
    below = [1.0, 2.0, 1.5, 3.0, 1.2]
    found = ratio([2 * value for value in below], below)
    assert found is not None
    assert found.high - found.low < 1.0


def test_nothing_is_said_without_figures() -> None:
    assert ratio([], [1.0]) is None
    assert ratio([1.0], []) is None


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
