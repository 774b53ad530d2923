"""What is done to the appliances: killed, stopped, and started as a service manager would."""

import os
import random
import signal
import threading
import time

from tests.netns.control_fixture import Appliance, wait_for
from tests.soak.side import Disturbance, Side

PAUSE_S = (5.0, 20.0)
WHAT = {
    "kill the inspector": 4,
    "stop the inspector": 3,
    "kill the watchdog": 1,
    "stop the watchdog": 1,
    "kill control": 2,
}
"""With their weights."""


class Disturber(threading.Thread):
    """Does one thing after another to a side, at random, and waits each time until it is well again."""

    def __init__(self, side: Side, randomness: random.Random) -> None:
        super().__init__(daemon=True, name=f"disturb {side.failure}")
        self.side, self.random = side, randomness
        self.stopping = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self.stopping.wait(self.random.uniform(*PAUSE_S)):
                (what,) = self.random.choices(list(WHAT), list(WHAT.values()))
                began_s = time.monotonic()
                # Until it is well again it is a disturbance without end.
                with self.side.lock:
                    self.side.disturbances.append(Disturbance(what, began_s, float("inf")))
                disturb(self.side.appliance, what)
                took_s = time.monotonic() - began_s
                print(f"soak: {self.side.failure}: {what}: well again after {took_s:.1f} s", flush=True)
                with self.side.lock:
                    self.side.disturbances[-1] = Disturbance(what, began_s, time.monotonic())
        except Exception as error:
            self.error = error


def disturb(appliance: Appliance, what: str) -> None:
    """Do it, and return once the appliance is well again. Raises AssertionError when it does not."""
    verb, _, whom = what.partition(" ")
    number = signal.SIGKILL if verb == "kill" else signal.SIGSTOP
    if whom == "control":
        assert appliance.process is not None
        appliance.end(signal.SIGKILL)
        appliance.start()
    else:
        ask = appliance.inspector if whom == "the inspector" else appliance.watchdog
        pid = ask()
        os.kill(pid, number)
        wait_for(f"after `{what}` another", lambda: ask() != pid)
    wait_for(f"after `{what}` all to be well", lambda: is_well(appliance))


def is_well(appliance: Appliance) -> bool:
    """Whether all its processes run and the inspector decides."""
    status = appliance.status()
    inspector, watchdog = status.get("inspector", {}), status.get("watchdog", {})
    return bool(
        appliance.is_up() and watchdog.get("up") and not inspector["failure_policy"] and _beating(status)
    )


def _beating(status: dict[str, object]) -> bool:
    """Whether the status is of now."""
    written = status.get("time_s", 0)
    return isinstance(written, float) and time.time() - written < 10
