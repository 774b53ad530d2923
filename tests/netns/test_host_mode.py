"""Topology host: the helper writes the guests.yaml of a real appliance on the bridge that guests share."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance import lab, steering
from appliance.hypervisor import load_guests
from tests.host_helper_fixture import HelperFolder
from tests.netns.control_fixture import ROOT, Appliance, appliance_in, wait_for

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

GUESTS_FILE = "appliance-guests.yaml"


@dataclass(slots=True)
class Rig(HelperFolder):
    """A helper that runs beside an appliance, which may not."""

    settings: lab.LabSettings
    appliance: Appliance

    def written(self) -> list[str]:
        """Return the guests that the appliance is told of."""
        return [guest.name for guest in load_guests(self.folder / GUESTS_FILE).guests]

    def known(self) -> dict[str, str]:
        """Return the taps that the kernel's rules know, with whose they are."""
        return dict(steering.loaded_taps(self.settings.bridge_netns))

    def uuid(self, name: str) -> str:
        return str(self.guest(name)["uuid"])


@pytest.fixture
def rig(running_lab: lab.LabSettings, tmp_path: Path) -> Iterator[Rig]:
    config = {
        "guests": str(running_lab.guests_yaml.absolute()),
        "state_dir": "state",
        "socket": "helper.sock",
        "host": {"guests_file": GUESTS_FILE, "segments": [{"name": "vms", "bridge": running_lab.bridge}]},
    }
    (tmp_path / "host.yaml").write_text(yaml.safe_dump(config))
    guests = {"guests": str(tmp_path / GUESTS_FILE), "inspector": {"queues": 1, "first_queue": 30}}
    with appliance_in(tmp_path / "appliance", running_lab, None, **guests) as appliance:
        rig = Rig(tmp_path, running_lab, appliance)
        helper = rig.serve(running_lab.bridge_netns)
        try:
            wait_for("the helper answers", lambda: rig.sekisho("list").returncode == 0)
            yield rig
        finally:
            helper.terminate()
            helper.wait(timeout=30)
            print(rig.log())


def test_a_guest_is_protected_where_it_is_and_its_traffic_counted(rig: Rig) -> None:
    assert rig.written() == []
    rig.appliance.start()
    over = threading.Event()

    def talk() -> None:
        while not over.is_set():
            rig.appliance.send("/hello")

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        done = rig.sekisho("protect", "web")
    finally:
        over.set()
        talker.join()
    assert done.returncode == 0, done.stderr
    assert "the appliance counted" in done.stdout
    assert rig.written() == ["web"] and rig.known() == {"web0": "web"}
    assert rig.sekisho("unprotect", "web").returncode == 0
    assert rig.written() == [] and rig.known() == {}


def test_a_guest_is_not_called_protected_while_no_appliance_runs(rig: Rig) -> None:
    done = rig.sekisho("protect", "web")
    assert done.returncode == 1 and "did not take up web0" in done.stderr
    assert rig.written() == []


def test_a_guest_that_the_rules_do_not_let_go_stays_protected_and_written_down(rig: Rig) -> None:
    rig.appliance.start()
    assert rig.sekisho("protect", "web").returncode == 0
    assert rig.appliance.process is not None
    rig.appliance.process.send_signal(signal.SIGSTOP)
    try:
        done = rig.sekisho("unprotect", "--all")
    finally:
        rig.appliance.process.send_signal(signal.SIGCONT)
    assert done.returncode == 1 and "stays protected" in done.stderr and "unprotected: 0" in done.stderr
    assert rig.written() == ["web"] and rig.guest("web")["protected"]
    assert rig.sekisho("unprotect", "--all").returncode == 0
    assert rig.written() == []


def test_a_guest_that_starts_is_held_until_the_rules_have_its_new_tap(rig: Rig) -> None:
    rig.appliance.start()
    assert rig.sekisho("protect", "web").returncode == 0
    mac, bridge = lab.WEB.mac, rig.settings.bridge
    card = f"<mac address='{mac}'/><source bridge='{bridge}'/><target dev='vnet77'/>"
    xml = f"<domain><name>web</name><uuid>{rig.uuid('web')}</uuid><devices><interface type='bridge'>{card}"
    xml += "</interface></devices></domain>"
    hook = [sys.executable, "-m", "host_helper.cli", "hook", "--config", str(rig.folder / "host.yaml")]
    done = subprocess.run(
        [*hook, "web", "start", "begin", "-"], input=xml, capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rig.known() == {"vnet77": "web"}


def test_the_hook_lets_a_guest_start_without_a_helper_unless_told_otherwise(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "guests": "guests.yaml",
        "socket": "nobody.sock",
        "host": {"guests_file": "x.yaml", "segments": [{"name": "vms", "bridge": "br0"}]},
    }
    for refuse in (False, True):
        (tmp_path / "host.yaml").write_text(yaml.safe_dump({**config, "refuse_unprotected_start": refuse}))
        hook = [sys.executable, "-m", "host_helper.cli", "hook", "--config", str(tmp_path / "host.yaml")]
        done = subprocess.run(
            [*hook, "web", "start", "begin", "-"], input="<domain/>", capture_output=True, text=True, cwd=ROOT
        )
        assert (done.returncode == 1) is refuse
        assert "starts without its protection" in done.stderr
