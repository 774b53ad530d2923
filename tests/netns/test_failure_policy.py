"""What becomes of traffic while nothing inspects it."""

import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from appliance import lab
from appliance.lab.wire import Exchange, Outcome, exchange
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import Appliance, appliance_in, wait_for

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

RULES = """\
alert http any any -> $HOME_NET any (msg:"evil"; flow:to_server; http.uri; content:"/evil"; sid:1;)
"""
EVIL = b"GET /evil HTTP/1.1\r\nHost: web\r\n\r\n"
FINE = b"GET /fine HTTP/1.1\r\nHost: web\r\n\r\n"


def ask(appliance: Appliance, request: bytes) -> Exchange:
    client = appliance.settings.guest_netns(lab.CLIENT)
    return exchange(client, lab.WEB.ipv4, lab.RAW_PORT, request, (), 2.0)


def end_inspector(appliance: Appliance) -> None:
    os.kill(appliance.status()["inspector"]["pid"], signal.SIGKILL)


@pytest.mark.parametrize("failure", ["open", "closed"])
def test_a_killed_inspector_leaves_traffic_to_the_failure_policy(
    failure: str,
    manager: RunningManager,
    running_lab: lab.LabSettings,
    tmp_path: Path,
) -> None:
    guests = running_lab.guests_yaml
    was = guests.read_text()
    inventory = yaml.safe_load(was)
    inventory["segments"][0]["failure"] = {"inspector_down": failure}
    guests.write_text(yaml.safe_dump(inventory))
    try:
        with appliance_in(tmp_path / failure, running_lab, manager) as appliance:
            appliance.start()
            appliance.in_step()
            appliance.push(RULES)
            appliance.assign("prevent")
            assert ask(appliance, FINE).outcome is Outcome.ANSWERED
            # Control would start another at once: it must not, for the time of the look.
            assert appliance.process is not None
            os.kill(appliance.process.pid, signal.SIGSTOP)
            try:
                end_inspector(appliance)
                time.sleep(0.2)
                wanted = Outcome.ANSWERED if failure == "open" else Outcome.TIMEOUT
                assert ask(appliance, FINE).outcome is wanted
            finally:
                os.kill(appliance.process.pid, signal.SIGCONT)
            wait_for("another inspector", lambda: ask(appliance, FINE).outcome is Outcome.ANSWERED)
            wait_for("protection", lambda: ask(appliance, EVIL).outcome is not Outcome.ANSWERED)
    finally:
        guests.write_text(was)
