"""One lab under one failure policy: its traffic, its memory, and what must hold there."""

import base64
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance import lab
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import Appliance, appliance_in, failure_policy, runs
from tests.netns.load import Bulk, Datagrams, KeepAlive, Load, NewConnections, Undaunted
from tests.soak.traffic import Attacks

FAILURES = ("inspector_down", "queue_full", "memory", "malformed", "midstream", "parser_error")
MARGIN_S = 3.0
"""What was sent in a quiet moment may be sent again by TCP in the next one."""
GROWTH_MAX = 1.3
GROWTH_SLACK_KIB = 32 * 1024


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that was done to an appliance, and when it was well again; monotonic seconds."""

    what: str
    began_s: float
    ended_s: float


@dataclass(slots=True)
class Side:
    """failure: `open` or `closed`. resident_kib: samples by process, in order."""

    failure: str
    appliance: Appliance
    loads: list[Load]
    attacks: Attacks
    disturbances: list[Disturbance] = field(default_factory=list)
    resident_kib: dict[str, list[int]] = field(default_factory=dict)
    delivered: set[str] = field(default_factory=set)
    _read: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def violations(self) -> Iterator[str]:
        """Yield what is broken now."""
        for load in (*self.loads, self.attacks):
            if load.error is not None:
                yield f"{self.failure}: {load.state()}"
        self._read_records()
        if self.failure == "closed" and self.delivered:
            yield f"closed: attacks were delivered: {sorted(self.delivered)[:5]}"

    def _read_records(self) -> None:
        """Take the attacks of those requests that arrived since the last time."""
        with self.appliance.settings.records.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            request = base64.b64decode(json.loads(line)["request"])
            self.delivered |= {name.decode() for name in re.findall(rb"/evil\?(\S+)", request)}

    def sample_memory(self) -> None:
        """Note how much memory each process holds now."""
        status = self.appliance.status()
        pids = {
            "control": status.get("pid"),
            "inspector": status.get("inspector", {}).get("pid"),
            "watchdog": status.get("watchdog", {}).get("pid"),
        }
        for name, pid in pids.items():
            if pid and runs(pid) and (kib := _resident_kib(pid)):
                self.resident_kib.setdefault(name, []).append(kib)

    def growth(self) -> Iterator[str]:
        """Yield which process holds more at the end than it did when it had warmed up."""
        for name, samples in self.resident_kib.items():
            third = len(samples) // 3
            if third == 0:
                continue
            early, late = max(samples[:third]), max(samples[-third:])
            if late > early * GROWTH_MAX + GROWTH_SLACK_KIB:
                yield f"{self.failure}: {name} grew from {early} to {late} KiB"

    def needless(self) -> Iterator[str]:
        """Yield whether the watchdog ended an inspector that nobody had stopped."""
        log = (self.appliance.directory / "appliance.log").read_text(errors="replace")
        found = log.count(": a worker hangs for ")
        stopped = sum(each.what == "stop the inspector" for each in self.disturbances)
        if found > stopped:
            yield f"{self.failure}: {found} inspectors were found hanging, {stopped} were stopped"

    def was_calm(self, began_s: float, ended_s: float) -> bool:
        """Whether nothing was done to the appliance around this time."""
        with self.lock:
            done = list(self.disturbances)
        return not any(
            began_s < each.ended_s + MARGIN_S and ended_s > each.began_s - MARGIN_S for each in done
        )


def _resident_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


@contextlib.contextmanager
def side(failure: str, directory: Path, prefix: str, manager: RunningManager) -> Iterator[Side]:
    """Give a lab with an appliance that runs, and its traffic, which has not begun."""
    settings = lab.LabSettings(run_dir=directory / "lab", prefix=f"{prefix}-{failure}", download_mib=8)
    lab.up(settings)
    try:
        with (
            failure_policy(settings, **dict.fromkeys(FAILURES, failure)),
            appliance_in(directory, settings, manager, name=failure) as appliance,
        ):
            appliance.start()
            appliance.in_step()
            attacks = Attacks(settings, failure)
            yield Side(failure, appliance, _loads(failure, settings), attacks)
    finally:
        lab.down(settings)


def _loads(failure: str, settings: lab.LabSettings) -> list[Load]:
    """What must never break where it fails open; where it fails closed, clients that begin anew."""
    common: list[Load] = [Datagrams(settings)]
    if failure == "open":
        return [*common, KeepAlive(settings), KeepAlive(settings), Bulk(settings), NewConnections(settings)]
    return [*common, Undaunted(settings), Undaunted(settings)]
