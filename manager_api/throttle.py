"""Slows down guessing: so many failures in a window, then a wait. Bounded in memory."""

import threading
import time
from collections import OrderedDict

MAX_KEYS = 10_000


class Throttle:
    """Counts attempts by key over a sliding window; keys least recently used are forgotten first."""

    def __init__(self, attempts: int, window_s: float) -> None:
        """Allow attempts per key within window_s seconds."""
        self._attempts = attempts
        self._window_s = window_s
        self._times: OrderedDict[str, list[float]] = OrderedDict()
        self._mutex = threading.Lock()

    def wait_s(self, key: str) -> float:
        """Return how long key has to wait before its next attempt; 0 when it may go on."""
        now = time.monotonic()
        with self._mutex:
            times = self._recent(key, now)
            return max(times[-self._attempts] + self._window_s - now, 0.0) if self._full(times) else 0.0

    def count(self, key: str) -> None:
        """Note one attempt of key."""
        now = time.monotonic()
        with self._mutex:
            times = self._recent(key, now)
            times.append(now)
            self._times[key] = times[-self._attempts :]
            self._times.move_to_end(key)
            while len(self._times) > MAX_KEYS:
                self._times.popitem(last=False)

    def forget(self, key: str) -> None:
        """Start key anew, as after a success."""
        with self._mutex:
            self._times.pop(key, None)

    def _recent(self, key: str, now: float) -> list[float]:
        return [t for t in self._times.get(key, ()) if now - t < self._window_s]

    def _full(self, times: list[float]) -> bool:
        return len(times) >= self._attempts
