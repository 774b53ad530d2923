"""The wall clock jumps a day forth and back under control, watchdog and inspector: nothing is timed by it.

The jump is for these processes alone: a library is put before the C library's own clock.
"""

import contextlib
import struct
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance import lab
from appliance.lab.wire import connect
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import (
    Appliance,
    appliance_in,
    failure_policy,
    ordinary_policy,
    wait_for,
)
from tests.netns.load import KeepAlive, under

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)


class Clock:
    """The wall clock of the processes that are started with `environment`."""

    def __init__(self, directory: Path) -> None:
        library, self.file = directory / "wall_clock.so", directory / "offset"
        source = Path(__file__).with_name("wall_clock.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(self.file)}
        self.jump(0)

    def jump(self, days: int) -> None:
        """Be that many days off. In place: the processes have the file in their memory."""
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("q", days * 86_400 * 1_000_000_000))


def test_clock_that_jumps_ends_no_flow_and_no_protection(
    failure: str, manager: RunningManager, running_lab: lab.LabSettings, tmp_path: Path
) -> None:
    time = Clock(tmp_path)
    with (
        failure_policy(running_lab, inspector_down=failure, midstream=failure),
        appliance_in(tmp_path / failure, running_lab, manager) as appliance,
    ):
        appliance.start(**time.environment)
        appliance.in_step()
        ordinary_policy(appliance)
        pid, watchdog = appliance.inspector(), appliance.watchdog()
        with under(KeepAlive(running_lab)), idle_connection(running_lab) as idle:
            for days in (1, -1, 400, 0):
                time.jump(days)
                wait_for("an alert at that time", lambda days=days: alerted_at(appliance, days))
                inspected = appliance.engine()["packets"]
                wait_for("more traffic", lambda n=inspected: appliance.engine()["packets"] > n + 100)
            idle.sendall(b"GET /evil HTTP/1.1\r\nHost: web\r\n\r\n")
            with contextlib.suppress(ConnectionError, TimeoutError):
                assert idle.recv(1000) == b""
        assert (appliance.inspector(), appliance.watchdog()) == (pid, watchdog)
        assert not appliance.noted("failure-policy")
        # A flow that had been timed out would have come back as one whose beginning nobody saw.
        assert not appliance.engine()["failures"].get("midstream")


@contextlib.contextmanager
def idle_connection(settings: lab.LabSettings) -> Iterator[Any]:
    with connect(settings.guest_netns(lab.CLIENT), lab.WEB.ipv4, lab.RAW_PORT, 2.0) as connection:
        connection.sendall(b"GET /fine HTTP/1.1\r\nHost: web\r\n\r\n")
        assert connection.recv(1000)
        yield connection


def alerted_at(appliance: Appliance, days: int) -> bool:
    """Attack, and say whether an event on disk carries the day."""
    assert appliance.send("/evil") is not lab.Outcome.ANSWERED
    day = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d").encode()
    lanes = (appliance.state / "spool").glob("inspector-*/*.eve")
    return any(b'"timestamp":"' + day in path.read_bytes() for path in lanes)
