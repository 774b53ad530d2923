"""A policy is to blame for the inspector's ends only soon after it went live, and only for a row of them."""

from appliance.control.probation import PANICS, PROBATION_S, RUNS, SHORT_S, Probation


def test_a_row_of_short_runs_soon_after_the_change_is_the_policys_fault() -> None:
    probation = Probation()
    probation.begin(100.0)
    ends = [probation.ended(1.0, 101.0 + number) for number in range(RUNS)]
    assert ends[:-1] == [None] * (RUNS - 1)
    assert f"{RUNS} times in a row" in str(ends[-1])


def test_a_run_that_lasted_ends_the_row() -> None:
    probation = Probation()
    probation.begin(100.0)
    for number in range(RUNS - 1):
        assert probation.ended(0.0, 101.0 + number) is None
    assert probation.ended(SHORT_S, 120.0) is None
    assert probation.ended(0.0, 121.0) is None


def test_an_inspector_that_was_up_long_before_the_change_ended_soon_after_it() -> None:
    probation = Probation()
    probation.begin(100.0)
    ends = [
        probation.ended(50.0, 101.0),
        *(probation.ended(0.0, 102.0 + number) for number in range(RUNS - 1)),
    ]
    assert ends[-1] is not None


def test_a_row_that_begins_long_after_the_change_is_not_its_fault() -> None:
    probation = Probation()
    probation.begin(100.0)
    assert not any(probation.ended(0.0, 101.0 + PROBATION_S + number) for number in range(2 * RUNS))


def test_panics_count_from_the_change_on() -> None:
    probation = Probation()
    assert probation.panicked(PANICS - 1, 50.0) is None
    probation.begin(100.0)
    assert probation.panicked(PANICS, 101.0) is None
    assert probation.panicked(2 * PANICS - 1, 100.0 + PROBATION_S + 1) is None
    assert f"failed on {PANICS} packets" in str(probation.panicked(2 * PANICS - 1, 102.0))


def test_a_new_inspector_counts_its_panics_from_nothing() -> None:
    probation = Probation()
    probation.begin(100.0)
    probation.panicked(PANICS - 1, 101.0)
    probation.ended(SHORT_S, 102.0)
    assert probation.panicked(PANICS - 1, 103.0) is None
    assert probation.panicked(PANICS, 104.0)
