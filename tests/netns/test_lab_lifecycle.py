"""The lab comes up whole and leaves nothing behind, whatever was killed in between."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from appliance import lab
from appliance.model.faults import SystemFault
from appliance.netns import processes_in


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[lab.LabSettings]:
    settings = lab.LabSettings(run_dir=tmp_path, prefix=f"skt-net-{os.getpid()}l", download_mib=1)
    yield settings
    lab.down(settings)


def assert_nothing_is_left(settings: lab.LabSettings, mounts_before: list[str]) -> None:
    assert not any(lab.status(settings).namespaces.values())
    assert mounts(settings) == mounts_before
    commands = [command_line(pid) for pid in Path("/proc").iterdir() if pid.name.isdigit()]
    assert not [line for line in commands if str(settings.run_dir) in line]
    with IPRoute() as ours:
        assert not ours.link_lookup(ifname=settings.bridge)


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


def mounts(settings: lab.LabSettings) -> list[str]:
    """Return this process's mounts, without /run/netns and what other tests, beside this one, mount."""
    ours = (settings.prefix, str(settings.run_dir))
    theirs = ("/run/netns", tempfile.gettempdir())
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [
        line for line in lines if not line.split()[4].startswith(theirs) or any(name in line for name in ours)
    ]


def test_up_twice_is_the_same_lab(settings: lab.LabSettings) -> None:
    first = lab.up(settings)
    assert first.up
    assert lab.up(settings).processes == first.processes


def test_down_leaves_nothing(settings: lab.LabSettings) -> None:
    before = mounts(settings)
    lab.up(settings)
    lab.down(settings)
    assert_nothing_is_left(settings, before)


def test_down_without_up_is_no_error(settings: lab.LabSettings) -> None:
    lab.down(settings)


@pytest.mark.parametrize("victim", ["unshare", "appliance.lab.web", "nginx: master"])
def test_down_leaves_nothing_after_a_killed_part(settings: lab.LabSettings, victim: str) -> None:
    before = mounts(settings)
    lab.up(settings)
    (pid, *_) = [
        pid
        for pid in processes_in(settings.namespaces)
        if command_line(Path(f"/proc/{pid}")).replace("\0", " ").find(victim) >= 0
    ]
    os.kill(pid, signal.SIGKILL)
    lab.down(settings)
    assert_nothing_is_left(settings, before)


def test_down_leaves_nothing_without_the_state_file(settings: lab.LabSettings) -> None:
    before = mounts(settings)
    lab.up(settings)
    settings.state.write_text("{torn")
    lab.down(settings)
    assert_nothing_is_left(settings, before)


def test_down_spares_a_process_that_got_a_recorded_pid_later(settings: lab.LabSettings) -> None:
    settings.run_dir.mkdir(exist_ok=True)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        process = {"role": "web", "pid": stranger.pid, "start_time": 1}
        settings.state.write_text(json.dumps({"processes": [process]}))
        lab.down(settings)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("delay_s", [0.02, 0.1, 0.2, 0.35, 0.5])
def test_a_killed_up_can_be_taken_down_and_brought_up_again(
    settings: lab.LabSettings, delay_s: float
) -> None:
    before = mounts(settings)
    program = (
        "from pathlib import Path; from appliance import lab;"
        f"lab.up(lab.LabSettings(run_dir=Path({str(settings.run_dir)!r}), prefix={settings.prefix!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        while not any(lab.status(settings).namespaces.values()):
            time.sleep(0.005)
        time.sleep(delay_s)
        process.kill()
    assert lab.up(settings).up
    lab.down(settings)
    assert_nothing_is_left(settings, before)


def test_up_that_fails_takes_itself_down(settings: lab.LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = mounts(settings)
    monkeypatch.setattr("appliance.lab.services.sys.executable", "/bin/false")
    with pytest.raises(SystemFault, match="does not listen on port 80"):
        lab.up(settings)
    assert_nothing_is_left(settings, before)
