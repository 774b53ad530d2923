"""How a guest stands, and what share of its bytes went by uninspected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager_api.domain.coverage import (
    Shield,
    bypassed_guests,
    shield_of,
    uninspected_fraction,
    uninspected_shares,
)


@pytest.mark.parametrize(
    ("shield", "bypassed", "reporting", "up", "evaluated", "can_block"),
    [
        (Shield.BYPASSED, True, True, True, 10, 10),
        (Shield.BYPASSED, True, False, False, 0, 0),
        (Shield.UNKNOWN, False, False, True, 10, 10),
        (Shield.DOWN, False, True, False, 10, 10),
        (Shield.NONE, False, True, True, 0, 0),
        (Shield.DETECT, False, True, True, 10, 0),
        (Shield.PREVENT, False, True, True, 10, 1),
    ],
)
def test_the_worst_that_is_true_is_what_is_said(
    shield: Shield, bypassed: bool, reporting: bool, up: bool, evaluated: int, can_block: int
) -> None:
    said = shield_of(
        reporting=reporting, bypassed=bypassed, inspector_up=up, evaluated=evaluated, can_block=can_block
    )
    assert said is shield


@given(st.integers(0, 2**63), st.dictionaries(st.text(max_size=9), st.integers(0, 2**63), max_size=9))
def test_shares_never_pass_the_whole(total: int, by_reason: dict[str, int]) -> None:
    assert 0 <= uninspected_fraction(total, by_reason) <= 1
    assert all(0 <= share.fraction <= 1 for share in uninspected_shares(total, by_reason))


def test_a_bypass_of_no_guest_named_is_of_all_and_one_that_ended_is_none() -> None:
    guests = ["web", "db"]
    assert bypassed_guests({"bypass": [{"guest": None, "until_s": 200}]}, guests, 100) == dict.fromkeys(
        guests, 200
    )
    assert bypassed_guests({"bypass": [{"guest": "web", "until_s": 100}]}, guests, 100) == {}
    assert bypassed_guests({"bypass": [{"guest": "web"}, {"guest": "gone"}]}, guests, 100) == {"web": None}


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s))
)
def test_a_status_of_any_shape_bypasses_nobody_by_accident(bypass: object) -> None:
    assert set(bypassed_guests({"bypass": bypass}, ["web"], 0.0)) <= {"web"}
