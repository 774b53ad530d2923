"""Guessing is slowed down, per key, in bounded memory."""

import pytest

from manager_api import throttle
from manager_api.throttle import Throttle


def test_counts_each_key_by_itself_and_forgets_after_success() -> None:
    limit = Throttle(3, 60)
    for _ in range(3):
        assert limit.wait_s("a") == 0
        limit.count("a")
    assert 0 < limit.wait_s("a") <= 60
    assert limit.wait_s("b") == 0
    limit.forget("a")
    assert limit.wait_s("a") == 0


def test_an_attempt_counts_for_the_window_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(throttle.time, "monotonic", lambda: clock[0])
    limit = Throttle(2, 60)
    limit.count("a")
    clock[0] = 130.0
    limit.count("a")
    assert limit.wait_s("a") == 30
    clock[0] = 160.0
    assert limit.wait_s("a") == 0


def test_many_keys_do_not_fill_the_memory() -> None:
    limit = Throttle(1, 60)
    for number in range(throttle.MAX_KEYS + 100):
        limit.count(str(number))
    assert len(limit._times) == throttle.MAX_KEYS
