"""The engines that are measured, each as a program of its own."""

import json
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml

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


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run took: seconds on the clock and of processor, and the most memory it held."""

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


@dataclass(frozen=True, slots=True)
class Sekisho:
    """This checkout's own."""

    program: Path
    name: str = "sekisho"

    def missing(self) -> str:
        return "" if self.program.exists() else f"{self.program} is not built"

    def command(self, rules: Path, capture: Path, out: Path) -> list[str]:
        return [str(self.program), "replay", "--rules", str(rules), "--pcap", str(capture), "--out", str(out)]


@dataclass(frozen=True, slots=True)
class Suricata:
    """Debian's, one thread for packets, with its shipped configuration but for the records it writes."""

    config: Path
    name: str = "suricata"

    def missing(self) -> str:
        if shutil.which("suricata") is None or not SURICATA_YAML.exists():
            return "suricata is missing (apt-get install -t bookworm-backports suricata)"
        return ""

    def command(self, rules: Path, capture: Path, out: Path) -> list[str]:
        return [
            *("suricata", "-c", str(self.config), "-S", str(rules), "-r", str(capture), "-l", str(out)),
            *("-k", "none", "--runmode", "single"),
        ]


def configure_suricata(records: set[str], out: Path) -> None:
    """Write Debian's configuration with one output: EVE with the `records` (event types) that are wanted.

    Statistics go too: `sekisho replay` keeps none.
    """
    config = yaml.safe_load(SURICATA_YAML.read_text())
    names = sorted(SETTING_OF.get(record, record) for record in records)
    types = [{name: SETTINGS[name]} if name in SETTINGS else name for name in names]
    eve = {"enabled": True, "filetype": "regular", "filename": "eve.json", "types": types}
    config["outputs"] = [{"eve-log": eve}]
    config["stats"] = {"enabled": "stats" in records}
    out.write_text("%YAML 1.1\n---\n" + yaml.safe_dump(config))


def run(engine: Engine, rules: Path, capture: Path, out: Path) -> Spent:
    """Run an engine over a capture; raises RuntimeError with its last words if it fails."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = engine.command(rules, capture, out)
    said = out / "said.txt"
    flags = os.O_WRONLY | os.O_CREAT
    actions = [(os.POSIX_SPAWN_OPEN, 1, said, flags, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)]
    began = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.monotonic() - began
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{said.read_text(errors='replace')[-2000:]}")
    return Spent(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def records(out: Path) -> Counter[str]:
    """Return how many records of each type a run wrote."""
    counted: Counter[str] = Counter()
    with (out / "eve.json").open("rb") as lines:
        for line in lines:
            counted[json.loads(line)["event_type"]] += 1
    return counted
