"""Waiting for what the kernel or another process is about to do."""

import time
from collections.abc import Callable

STEP_S = 0.05


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Return whether it came to hold within the time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_S)
    return True
