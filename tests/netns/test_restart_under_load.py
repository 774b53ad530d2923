"""The inspector ends under load and another takes its place: what becomes of connections under way."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance import lab
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import (
    Appliance,
    appliance_in,
    failure_policy,
    ordinary_policy,
    wait_for,
)
from tests.netns.load import Bulk, Datagrams, KeepAlive, Load, NewConnections, under

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

RESTARTS = 3


@pytest.mark.parametrize("inspector_down", ["open", "closed"])
def test_no_connection_breaks_and_those_under_way_go_on_midstream_and_are_counted(
    inspector_down: str, manager: RunningManager, running_lab: lab.LabSettings, tmp_path: Path
) -> None:
    with (
        failure_policy(running_lab, inspector_down=inspector_down, midstream="open"),
        appliance_in(tmp_path / inspector_down, running_lab, manager) as appliance,
    ):
        protect(appliance)
        loads = [KeepAlive(running_lab), NewConnections(running_lab)]
        with under(Datagrams(running_lab), *loads):
            restart_again_and_again(appliance, loads)
            wait_for("their bytes to be counted", lambda: midstream(appliance))
        print(*(load.state() for load in loads), sep="\n")
        assert appliance.send("/evil") is not lab.Outcome.ANSWERED


@pytest.mark.alone  # it takes as much of the processors as it gets
@pytest.mark.parametrize("inspector_down", ["open", "closed"])
def test_no_large_transfer_breaks(
    inspector_down: str, manager: RunningManager, running_lab: lab.LabSettings, tmp_path: Path
) -> None:
    with (
        failure_policy(running_lab, inspector_down=inspector_down, midstream="open"),
        appliance_in(tmp_path / f"bulk-{inspector_down}", running_lab, manager) as appliance,
    ):
        protect(appliance)
        load = Bulk(running_lab)
        with under(load):
            restart_again_and_again(appliance, [load])


def test_connections_under_way_end_with_their_inspector_if_midstream_is_closed(
    manager: RunningManager, running_lab: lab.LabSettings, tmp_path: Path
) -> None:
    with (
        failure_policy(running_lab, inspector_down="closed", midstream="closed"),
        appliance_in(tmp_path / "midstream", running_lab, manager) as appliance,
    ):
        protect(appliance)
        connection = KeepAlive(running_lab)
        connection.begin()
        connection.step()
        restart_again_and_again(appliance)
        connection.connection.settimeout(2.0)
        with pytest.raises((TimeoutError, ConnectionError)):
            connection.step()
        wait_for(
            "the use of the failure policy", lambda: appliance.engine().get("failures", {}).get("midstream")
        )
        assert appliance.send("/fine") is lab.Outcome.ANSWERED


def protect(appliance: Appliance) -> None:
    appliance.start()
    appliance.in_step()
    ordinary_policy(appliance)


def restart_again_and_again(appliance: Appliance, loads: Sequence[Load] = ()) -> None:
    for _ in range(RESTARTS):
        pid = appliance.inspector()
        os.kill(pid, signal.SIGKILL)
        wait_for("another inspector", lambda pid=pid: appliance.inspector() != pid and appliance.is_up())
        for load in loads:
            done = load.done
            wait_for(f"{load.name} to go on", lambda it=load, n=done: it.done > n or it.error)


def midstream(appliance: Appliance) -> int:
    (web,) = [guest for guest in appliance.status()["guests"] if guest["name"] == "web"]
    return int(web["uninspected"].get("midstream", 0))
