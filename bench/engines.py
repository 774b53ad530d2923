"""The engines that are measured, each as a program of its own."""

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml

from bench.processes import cpu_s, memory_mib

SURICATA_YAML = Path("/etc/suricata/suricata.yaml")
# Suricata writes several record types under one setting's name; all others are called alike.
SETTING_OF = {"fileinfo": "files"}
# Settings under which Suricata writes what Sekisho writes without asking.
SETTINGS: dict[str, dict[str, object]] = {
    "files": {"force-hash": ["sha256"]},
    "http": {"extended": True},
    "tls": {"extended": True},
    "anomaly": {"enabled": True, "types": {"decode": True, "stream": True, "applayer": True}},
    "drop": {"alerts": True, "flows": "all"},
}
BODY_DEPTH = "1mb"
TURN_S = 0.05
"""Long beside the filling of a processor's caches, short beside a change of the host's speed."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds on the clock and of processor, and the most memory held so far."""

    wall_s: float
    cpu_s: float
    peak_mib: float


class Engine(Protocol):
    """Something that inspects a capture with rules."""

    @property
    def name(self) -> str:
        """Its path in rows."""

    def missing(self) -> str:
        """Say why it cannot run here; empty if it can."""

    def command(self, rules: Path, capture: Path, out: Path) -> list[str]:
        """Return the command that inspects `capture` and leaves `out`/eve.json."""

    @property
    def ready(self) -> bytes:
        """What it prints, within a line, once its rules are loaded and it begins to inspect."""


@dataclass(frozen=True, slots=True)
class Sekisho:
    """This checkout's own."""

    program: tuple[str, ...]
    name: str = "sekisho"
    ready: bytes = b"signatures are ready"

    def missing(self) -> str:
        ran = subprocess.run([*self.program, "--help"], capture_output=True, text=True, check=False)
        return "" if ran.returncode == 0 else f"{' '.join(self.program)} does not run: {ran.stderr[-300:]}"

    def command(self, rules: Path, capture: Path, out: Path) -> list[str]:
        return [*self.program, "replay", "--rules", str(rules), "--pcap", str(capture), "--out", str(out)]


@dataclass(frozen=True, slots=True)
class Suricata:
    """Debian's, one thread for packets, with its shipped configuration but for the records it writes."""

    config: Path
    name: str = "suricata"
    ready: bytes = b"ngine started"

    def missing(self) -> str:
        if shutil.which("suricata") is None or not SURICATA_YAML.exists():
            return "suricata is missing (apt-get install -t bookworm-backports suricata)"
        return ""

    def command(self, rules: Path, capture: Path, out: Path) -> list[str]:
        return [
            *("suricata", "-c", str(self.config), "-S", str(rules), "-r", str(capture), "-l", str(out)),
            *("-k", "none", "--runmode", "single"),
        ]


def configure_suricata(records: set[str], out: Path, home_net: str | None = None) -> None:
    """Write Debian's configuration with one output: EVE with the `records` (event types) that are wanted.

    Statistics go too: `sekisho replay` keeps none. home_net: for the inline path, the protected guests;
    bodies are then inspected as far as Sekisho inspects them.
    """
    config = yaml.safe_load(SURICATA_YAML.read_text())
    names = sorted(SETTING_OF.get(record, record) for record in records)
    types = [{name: SETTINGS[name]} if name in SETTINGS else name for name in names]
    eve = {"enabled": True, "filetype": "regular", "filename": "eve.json", "types": types}
    config["outputs"] = [{"eve-log": eve}]
    config["stats"] = {"enabled": "stats" in records}
    if home_net is not None:
        config["vars"]["address-groups"]["HOME_NET"] = home_net
        bodies = config["app-layer"]["protocols"]["http"]["libhtp"]["default-config"]
        bodies["request-body-limit"] = bodies["response-body-limit"] = BODY_DEPTH
    out.write_text("%YAML 1.1\n---\n" + yaml.safe_dump(config))


class Run:
    """An engine that has loaded its rules and is held there, before its capture. As a context it ends it."""

    def __init__(self, engine: Engine, rules: Path, capture: Path, out: Path) -> None:
        """Start it and wait until it is ready; raises RuntimeError with its last words if it fails."""
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        self.name = engine.name
        self._command = engine.command(rules, capture, out)
        began = time.monotonic()
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._said: list[bytes] = []
        while engine.ready not in (line := self._line()):
            if not line:
                self._end()
                raise self._failure()
        ready_at = time.monotonic()
        self.loading = Spent(ready_at - began, cpu_s(self.pid), memory_mib(self.pid))
        os.kill(self.pid, signal.SIGSTOP)
        self._inspecting_s = time.monotonic() - ready_at
        self.inspecting: Spent | None = None
        """What it took since then but for the times it was held; None until it has ended."""

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._end()

    def go_on(self, for_s: float) -> None:
        """Let it inspect for a while, or to its end; raises RuntimeError if it fails."""
        began = time.monotonic()
        os.kill(self.pid, signal.SIGCONT)
        ended = _ends_within(self.pid, for_s)
        if not ended:
            os.kill(self.pid, signal.SIGSTOP)
        self._inspecting_s += time.monotonic() - began
        if ended:
            while self._line():
                pass
            usage = self._end()
            if self._process.returncode != 0:
                raise self._failure()
            cpu = usage.ru_utime + usage.ru_stime - self.loading.cpu_s
            self.inspecting = Spent(self._inspecting_s, cpu, usage.ru_maxrss / 1024)

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._said.append(line)
        return line

    def _end(self) -> resource.struct_rusage:
        assert self._process.stdout is not None
        self._process.stdout.close()
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return usage

    def _failure(self) -> RuntimeError:
        last = b"".join(self._said).decode(errors="replace")[-2000:]
        return RuntimeError(f"{' '.join(self._command)} failed:\n{last}")


def _ends_within(pid: int, timeout_s: float) -> bool:
    watched = os.pidfd_open(pid)
    try:
        return bool(select.select([watched], [], [], timeout_s)[0])
    finally:
        os.close(watched)


def inspect(runs: Sequence[Run]) -> list[Spent]:
    """Let all inspect to their ends, one after the other for a moment each; returns what each took.

    A host whose speed changes within seconds slows all of them alike so. Raises RuntimeError if one fails.
    """
    going = list(runs)
    while going:
        for run in going:
            run.go_on(TURN_S)
        going = [run for run in going if run.inspecting is None]
    return [run.inspecting for run in runs if run.inspecting is not None]


def records(out: Path) -> Counter[str]:
    """Return how many records of each type a run wrote."""
    counted: Counter[str] = Counter()
    with (out / "eve.json").open("rb") as lines:
        for line in lines:
            counted[json.loads(line)["event_type"]] += 1
    return counted
