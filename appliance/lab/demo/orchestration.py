"""Starts the parts of the demonstration and takes them down again, also after any of them was killed.

Everything lives below one directory. `processes.json` names each process by pid and start time from the
moment it was started, so that `down` finds it whatever became of the command that started it, and never
takes a process that got its pid later for it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from appliance.lab import lifecycle
from appliance.lab.demo.rest import Manager
from appliance.lab.processes import Process, identify, is_running, kill
from appliance.lab.settings import LabSettings
from appliance.model.faults import SystemFault

SOURCE_ROOT = Path(__file__).resolve().parents[3]
SIGNATURES = SOURCE_ROOT / "signatures"
APPLIANCE = "lab"
RULE_SET = "shipped"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Where the demonstration lives. port: the manager's for people; appliances get the one after it."""

    run_dir: Path = Path(".run")
    port: int = 8443
    lab_prefix: str = "sekisho"
    download_mib: int = 256

    @property
    def lab(self) -> LabSettings:
        """The lab's settings."""
        return LabSettings(self.run_dir / "lab", self.lab_prefix, download_mib=self.download_mib)

    @property
    def manager_dir(self) -> Path:
        """The manager's data."""
        return self.run_dir / "manager"

    @property
    def appliance_dir(self) -> Path:
        """The appliance's configuration and state."""
        return self.run_dir / "appliance"

    @property
    def config(self) -> Path:
        """The appliance's configuration."""
        return self.appliance_dir / "sekisho.yaml"

    @property
    def processes(self) -> Path:
        """Which processes were started."""
        return self.run_dir / "processes.json"


@dataclass(frozen=True, slots=True)
class Running:
    """A demonstration that is up. password: the first administrator's, shown once."""

    manager: Manager
    fingerprint: str
    password: str


def up(settings: DemoSettings, say: Say) -> Running:
    """Start everything afresh and return once the appliance inspects. Raises SystemFault, OSError."""
    down(settings, say)
    _check_ports(settings)
    for directory in (settings.manager_dir, settings.appliance_dir):
        shutil.rmtree(directory, ignore_errors=True)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    say(f"manager: starting on https://127.0.0.1:{settings.port}, data in {settings.manager_dir}")
    fingerprint, password = _start_manager(settings)
    key = _manager(settings, "key", "create", "demo", "--role", "admin")
    manager = Manager(settings.port, settings.manager_dir / "ca.pem", key)
    say("lab: two guests, web (nginx and a recorder) and client, on one bridge")
    lifecycle.up(settings.lab)
    say("appliance: enrolling with a one-time token, starting on the lab's bridge")
    _configure_appliance(settings, fingerprint)
    _start(
        settings,
        "appliance",
        [sys.executable, "-m", "appliance.cli", "run", "--config", str(settings.config)],
    )
    manager.wait_until_in_step(APPLIANCE, START_TIMEOUT_S, lambda: _is_alive(settings, "appliance"))
    files = {path.name: path.read_text() for path in sorted(SIGNATURES.glob("*.rules"))}
    loaded = manager.put_rule_set(RULE_SET, files)
    say(f"signatures: {loaded} of signatures/ pushed over the REST API")
    return Running(manager, fingerprint, password)


def down(settings: DemoSettings, say: Say) -> None:
    """Stop everything and leave nothing in the kernel; nothing running is no error. Raises SystemFault."""
    processes = _started(settings)
    for role in ("appliance", "manager"):
        for process in processes:
            if process.role == role and is_running(process):
                say(f"{role}: stopping")
                _stop(process)
    lifecycle.down(settings.lab)
    settings.processes.unlink(missing_ok=True)


def _stop(process: Process) -> None:
    """Ask the process to end, and kill it when it does not."""
    os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_running(process):
        if time.monotonic() > deadline:
            kill([process.pid])
        time.sleep(0.05)


def _start_manager(settings: DemoSettings) -> tuple[str, str]:
    """Return the CA's fingerprint and the first administrator's password."""
    output = settings.run_dir / "manager.out"
    output.unlink(missing_ok=True)
    output.touch(mode=0o600)
    ports = ["--port", str(settings.port), "--appliance-port", str(settings.port + 1)]
    command = [
        sys.executable,
        "-m",
        "manager_api.cli",
        "serve",
        "--data-dir",
        str(settings.manager_dir),
        *ports,
    ]
    _start(settings, "manager", command, output)
    deadline = time.monotonic() + START_TIMEOUT_S
    while "password" not in (text := output.read_text()) or not text.endswith("\n"):
        if time.monotonic() > deadline or not _is_alive(settings, "manager"):
            raise SystemFault(f"the manager does not start:\n{_log_end(settings, 'manager')}")
        time.sleep(0.05)
    # The password is shown once; it must not stay on the disk.
    output.unlink()
    return text.split("sha256:")[1].split()[0], text.split("password ")[1].split()[0]


def _configure_appliance(settings: DemoSettings, fingerprint: str) -> None:
    settings.appliance_dir.mkdir(parents=True)
    token = settings.appliance_dir / "token"
    token.touch(mode=0o600)
    token.write_text(_manager(settings, "token", "create", "--for", "10m") + "\n")
    config = {
        "guests": str(settings.lab.guests_yaml.absolute()),
        "state_dir": "state",
        "netns": settings.lab.bridge_netns,
        "manager": {
            "url": f"https://127.0.0.1:{settings.port}",
            "ca_fingerprint": fingerprint,
            "name": APPLIANCE,
            "token_file": "token",
        },
    }
    settings.config.write_text(yaml.safe_dump(config, sort_keys=False))


def _start(settings: DemoSettings, role: str, command: list[str], output: Path | None = None) -> None:
    """Start a process that outlives us, and write down at once which it is."""
    with (settings.run_dir / f"{role}.log").open("wb") as log:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log if output is None else output.open("wb"),
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT), "PYTHONUNBUFFERED": "1"},
        )
    processes = [*_started(settings), identify(role, popen.pid)]
    beside = settings.processes.with_suffix(".new")
    beside.write_text(json.dumps([asdict(process) for process in processes]))
    beside.rename(settings.processes)


def _started(settings: DemoSettings) -> list[Process]:
    try:
        return [Process(**fields) for fields in json.loads(settings.processes.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _is_alive(settings: DemoSettings, role: str) -> bool:
    return any(process.role == role and is_running(process) for process in _started(settings))


def _manager(settings: DemoSettings, *arguments: str) -> str:
    """Return what `sekisho-manager` printed. Raises SystemFault."""
    command = [sys.executable, "-m", "manager_api.cli", *arguments, "--data-dir", str(settings.manager_dir)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT)},
    )
    if done.returncode != 0:
        raise SystemFault(f"sekisho-manager {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip().splitlines()[-1]


def _check_ports(settings: DemoSettings) -> None:
    for port in (settings.port, settings.port + 1):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            raise SystemFault(
                f"port {port} on 127.0.0.1 cannot be used ({error.strerror}); set SEKISHO_PORT to another, "
                "the one after it must be free too"
            ) from None


def _log_end(settings: DemoSettings, role: str) -> str:
    return (settings.run_dir / f"{role}.log").read_text(errors="replace")[-2_000:]
