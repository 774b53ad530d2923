"""A real appliance in the lab's namespaces, enrolled with a real manager; what the control tests share."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from appliance import lab, steering
from appliance.hypervisor import load_guests
from appliance.lab.wire import Outcome, exchange
from appliance.model.policy import PolicyDocument
from tests.manager_fixture import RunningManager
from tests.netns.kit import spooled

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0 * float(os.environ.get("SEKISHO_TEST_PATIENCE", "1"))
NAME = "lab"


def wait_for(what: str, condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """Return the first true value of the condition. Fails naming `what` and the last value past its time."""
    deadline = time.monotonic() + timeout_s
    value = None
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what}; last: {value!r}")


def runs(pid: int) -> bool:
    """Whether there is such a process and it has not ended; one that is stopped runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or between the opening and the reading
        return False


@dataclass(slots=True)
class Appliance:
    """`sekisho run` for a lab; started and ended by the test as often as it likes."""

    directory: Path
    settings: lab.LabSettings
    manager: RunningManager | None
    extra: Mapping[str, Any] = field(default_factory=dict)
    name: str = NAME
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def config(self) -> Path:
        return self.directory / "sekisho.yaml"

    def configure(self) -> None:
        """Write its configuration, with a token that takes the place of an earlier appliance of the name."""
        config: dict[str, Any] = {
            "guests": str(self.settings.guests_yaml.absolute()),
            "state_dir": "state",
            "netns": self.settings.bridge_netns,
            **self.extra,
        }
        if self.manager is not None:
            token = self.manager.operator.post("/tokens", json={"for_s": 600, "appliance": self.name}).json()[
                "token"
            ]
            config["manager"] = {
                "url": self.manager.url,
                "ca_fingerprint": self.manager.fingerprint,
                "name": self.name,
                "token": token,
            }
        self.config.write_text(yaml.safe_dump(config))

    def start(self, *command: str, **environment: str) -> None:
        """Start it and wait until its inspector inspects.

        command: Python's arguments in place of the product's own module. environment: beside ours.
        """
        with (self.directory / "appliance.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(command or ("-m", "appliance.cli")), "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            )  # fmt: skip
        wait_for(f"the appliance to run:\n{self.log()}", self.is_up)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and return its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def log(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / "appliance.log").read_text(errors="replace")[-3000:]
        return ""

    def status(self) -> dict[str, Any]:
        """Return what control wrote down of itself."""
        try:
            status: dict[str, Any] = json.loads((self.state / "status.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return status

    def engine(self) -> dict[str, Any]:
        """Return the engine's counters, waiting for the first ones."""
        return dict(wait_for("counters", lambda: self.status()["inspector"]["stats"].get("engine")))

    def inspector(self) -> int:
        """Return the pid of the inspector that runs, waiting for one."""
        return self._child("inspector")

    def watchdog(self) -> int:
        """Return the pid of the watchdog that runs, waiting for one."""
        return self._child("watchdog")

    def _child(self, which: str) -> int:
        def running() -> int | None:
            # What is written down may be a little old.
            pid = self.status().get(which, {}).get("pid")
            return pid if pid and runs(pid) else None

        return int(wait_for(f"a running {which}", running))

    def is_up(self) -> bool:
        """Whether it runs, and its inspector decides: not the failure policy in its place."""
        assert self.process is not None
        status = self.status()
        if status.get("pid") != self.process.pid:
            return False
        return bool(status["inspector"]["up"] and not status["inspector"]["failure_policy"])

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `sekisho` command on its configuration."""
        return subprocess.run(
            [sys.executable, "-m", "appliance.cli", *arguments, "--config", str(self.config)],
            capture_output=True, text=True, timeout=WAIT_S, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def noted(self, notice: str) -> list[dict[str, Any]]:
        """Return control's own events of this name that are on disk, in order."""
        events = spooled(self.state / "spool", "control-*")
        return [event for event in events if event["sekisho"]["notice"] == notice]

    def counters(self, guest: str) -> steering.GuestCounters:
        """Return what the kernel counted for the guest."""
        inventory = load_guests(self.settings.guests_yaml)
        read = steering.read_counters(PolicyDocument(0), inventory, self.settings.bridge_netns)
        (counters,) = [each for each in read.guests if each.guest == guest]
        return counters

    # Through the manager.

    def reported(self) -> dict[str, Any]:
        """Return what the manager knows of it, or nothing."""
        assert self.manager is not None
        found = [a for a in self.manager.operator.get("/appliances").json() if a["name"] == self.name]
        return found[0] if found else {}

    def in_step(self) -> int:
        """Wait until the manager says it runs what it should; return the version."""
        state = wait_for(f"the wanted policy live: {self.reported()}", lambda: self._if_in_step())
        return int(state["live_version"])

    def _if_in_step(self) -> dict[str, Any] | None:
        state = self.reported()
        # What the manager knows may be of an earlier appliance of this name.
        known, own = state.get("live_version"), self.status().get("live_version")
        return state if state.get("in_step") and known == own else None

    def assign(self, mode: str, rule_set: str = "lab") -> int:
        """Let all guests run the rule set in this mode; return the version once it is live."""
        assert self.manager is not None
        body = {"assignments": [{"rule_set": rule_set, "mode": mode}]}
        self.manager.operator.put(f"/appliances/{self.name}/defaults", json=body).raise_for_status()
        return self.in_step()

    def push(self, text: str, rule_set: str = "lab", data: Mapping[str, str] | None = None) -> None:
        """Push a rule set: one file of rules, and the data that they name."""
        assert self.manager is not None
        files = {"lab.rules": text, **(data or {})}
        body = {"files": [{"name": name, "text": text} for name, text in files.items()]}
        answer = self.manager.operator.put(f"/rule-sets/{rule_set}", json=body)
        assert answer.is_success, answer.text

    def send(self, path: str, *, ip_version: int = 4, segments: Sequence[int] = ()) -> Outcome:
        """Send one request from the client to the recorder; return what became of it.

        segments: sizes of its first TCP segments.
        """
        address = lab.WEB.ipv4 if ip_version == 4 else lab.WEB.ipv6
        request = f"GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n".encode()
        netns = self.settings.guest_netns(lab.CLIENT)
        return exchange(netns, address, lab.RAW_PORT, request, segments, 2.0).outcome


RULES = """\
alert http any any -> $HOME_NET any (msg:"evil"; flow:to_server; http.uri; content:"/evil"; sid:1;)
"""


def ordinary_policy(appliance: Appliance, mode: str = "prevent") -> None:
    """Let all guests block requests for /evil."""
    appliance.push(RULES)
    appliance.assign(mode)


@contextlib.contextmanager
def failure_policy(settings: lab.LabSettings, **failure: str) -> Iterator[None]:
    """Give the lab's segment this failure policy for a while; to be set before the appliance starts."""
    was = settings.guests_yaml.read_text()
    inventory = yaml.safe_load(was)
    inventory["segments"][0]["failure"] = failure
    settings.guests_yaml.write_text(yaml.safe_dump(inventory))
    try:
        yield
    finally:
        settings.guests_yaml.write_text(was)


@contextlib.contextmanager
def appliance_in(
    directory: Path,
    settings: lab.LabSettings,
    manager: RunningManager | None,
    *,
    name: str = NAME,
    **extra: Any,
) -> Iterator[Appliance]:
    """Give a configured appliance that is not started; at the end it is, by force if it must be, ended."""
    directory.mkdir(parents=True, exist_ok=True)
    appliance = Appliance(directory, settings, manager, extra, name)
    appliance.configure()
    try:
        yield appliance
    finally:
        if appliance.process is not None and appliance.process.poll() is None:
            try:
                appliance.end()
            except subprocess.TimeoutExpired:
                appliance.end(signal.SIGKILL)
