"""The demonstration comes up, stops the attacks, and leaves nothing behind whatever was killed."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.lab.demo import DemoSettings, down, play, up
from appliance.lab.demo.orchestration import Running
from appliance.lab.demo.rounds import rows
from appliance.netns import exists
from tests.manager_fixture import free_ports

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[DemoSettings]:
    made = DemoSettings(tmp_path / "run", free_ports(2)[0], f"skt-demo-{os.getpid()}", download_mib=1)
    yield made
    down(made, print)


def left_over(settings: DemoSettings) -> list[str]:
    """Return the namespaces and processes that speak of this demonstration."""
    mine = str(settings.run_dir).encode()
    processes = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if mine in command and int(entry.name) != os.getpid():
            processes.append(f"{entry.name} {command!r}")
    return [name for name in settings.lab.namespaces if exists(name)] + processes


def pid_of(settings: DemoSettings, role: str) -> int:
    if role == "inspector":
        status = json.loads((settings.appliance_dir / "state/status.json").read_bytes())
        return int(status["inspector"]["pid"])
    (found,) = [p for p in json.loads(settings.processes.read_text()) if p["role"] == role]
    return int(found["pid"])


def test_prevent_stops_every_exploit_and_no_near_miss(settings: DemoSettings) -> None:
    running: Running = up(settings, print)
    played = play(settings, running.manager, "prevent")
    assert not list(played.problems())
    assert {row[0] for row in rows([played])} >= {
        "CVE-2021-44228",
        "CVE-2014-6271",
        "CVE-2021-41773",
        "CVE-2022-22965",
    }
    on_disk = [
        p for p in settings.run_dir.rglob("*") if p.is_file() and p.suffix in (".out", ".log", ".json")
    ]
    assert not [path for path in on_disk if running.password.encode() in path.read_bytes()]
    down(settings, print)
    assert left_over(settings) == []


@pytest.mark.parametrize("killed", [["appliance"], ["inspector", "manager"], ["appliance", "manager"]])
def test_nothing_is_left_after_a_part_was_killed(settings: DemoSettings, killed: list[str]) -> None:
    up(settings, print)
    for role in killed:
        os.kill(pid_of(settings, role), signal.SIGKILL)
    down(settings, print)
    assert left_over(settings) == []
    down(settings, print)


def test_port_in_use_is_named_with_the_way_out(settings: DemoSettings) -> None:
    from appliance.model.faults import SystemFault

    with (
        socket.create_server(("127.0.0.1", settings.port + 1)),
        pytest.raises(SystemFault, match="SEKISHO_PORT"),
    ):
        up(settings, print)
    assert left_over(settings) == []
