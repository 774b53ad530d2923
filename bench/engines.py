"""The engines that are measured, each as a program of its own."""

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml

from bench.clocks import cpu_s

SURICATA_YAML = Path("/etc/suricata/suricata.yaml")
# Suricata writes several record types under one setting's name; all others are called alike.
SETTING_OF = {"fileinfo": "files"}
# Settings under which Suricata writes what Sekisho writes without asking.
SETTINGS: dict[str, dict[str, object]] = {
    "http": {"extended": True},
    "tls": {"extended": True},
    "anomaly": {"enabled": True, "types": {"decode": True, "stream": True, "applayer": True}},
    "drop": {"alerts": True, "flows": "all"},
}
BODY_DEPTH = "1mb"


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run took: seconds on the clock and of processor, and the most memory it held.

    ready_wall_s, ready_cpu_s: how much of that until the rules were loaded.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    ready_wall_s: float
    ready_cpu_s: float

    @property
    def inspecting_wall_s(self) -> float:
        """From the loaded rules to the end."""
        return self.wall_s - self.ready_wall_s

    @property
    def inspecting_cpu_s(self) -> float:
        """Processor time from the loaded rules to the end."""
        return self.cpu_s - self.ready_cpu_s


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


def run(engine: Engine, rules: Path, capture: Path, out: Path) -> Spent:
    """Run an engine over a capture; raises RuntimeError with its last words if it fails."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = engine.command(rules, capture, out)
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        said, ready_wall_s, ready_cpu_s = [], None, 0.0
        for line in process.stdout:
            said.append(line)
            if engine.ready in line and ready_wall_s is None:
                ready_wall_s, ready_cpu_s = time.monotonic() - began, cpu_s(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or ready_wall_s is None:
        last = b"".join(said).decode(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)} failed:\n{last}")
    cpu_in_all_s = usage.ru_utime + usage.ru_stime
    return Spent(wall_s, cpu_in_all_s, usage.ru_maxrss / 1024, ready_wall_s, ready_cpu_s)


def records(out: Path) -> Counter[str]:
    """Return how many records of each type a run wrote."""
    counted: Counter[str] = Counter()
    with (out / "eve.json").open("rb") as lines:
        for line in lines:
            counted[json.loads(line)["event_type"]] += 1
    return counted
