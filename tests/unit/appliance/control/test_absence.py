"""How long nobody was protected before a start."""

from pathlib import Path

import pytest

from appliance.control.absence import SIGN, Absence, Sign, absence, last_sign, leave_sign

LAST = Sign(time_s=1_000_000.0, up_s=5_000.0)


def gap(time_s: float, up_s: float, *, rules_stood: bool = False) -> Absence:
    return absence(LAST, Sign(time_s, up_s), rules_stood=rules_stood)


def test_within_one_boot_the_kernels_clock_tells_and_a_small_step_of_the_wall_clock_does_not_matter() -> None:
    assert gap(1_000_012.0, 5_007.5) == Absence(False, False, False, 7.5, 7.5)


def test_after_a_reboot_the_wall_clock_tells_and_how_much_of_it_the_machine_was_up() -> None:
    found = gap(1_000_060.0, 9.5)
    assert found == Absence(False, True, False, 60.0, 9.5)
    assert str(found) == "after a reboot: no protection for 60.0 s, 9.5 s of it with the machine up"
    assert found.severity == 2


def test_a_machine_that_was_up_for_longer_than_before_was_rebooted_all_the_same() -> None:
    assert gap(1_009_000.0, 6_000.0).rebooted


@pytest.mark.parametrize("time_s", [0.0, 1_000_003.0])
def test_a_clock_that_is_not_set_or_set_back_says_nothing_of_how_long(time_s: float) -> None:
    found = gap(time_s, 9.5)
    assert found.rebooted and found.away_s is None
    assert "an unknown time" in str(found)


def test_rules_that_stand_are_of_this_boot_whatever_the_wall_clock_says() -> None:
    found = gap(0.0, 5_002.0, rules_stood=True)
    assert found == Absence(False, False, True, 2.0, 2.0)
    assert found.severity == 3 and "the rules stood" in str(found)


def test_the_first_start_is_no_gap() -> None:
    found = absence(None, Sign(1.0, 9.5), rules_stood=False)
    assert found.first and found.severity == 4


def test_a_sign_is_read_back_and_a_torn_one_is_none(tmp_path: Path) -> None:
    assert last_sign(tmp_path) is None
    leave_sign(tmp_path)
    left = last_sign(tmp_path)
    assert left is not None and absence(left, Sign.now(), rules_stood=False).away_s is not None
    (tmp_path / SIGN).write_bytes(b"")
    assert last_sign(tmp_path) is None
