"""What a load cost: processor time, system calls, instructions, memory."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.inline.segment import Segment, Traffic
from bench.processes import cpu_s

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent between two moments.

    inspector_cpu_s: of the inspector's processes. machine_cpu_s: of all processors, whoever ran, the kernel's
    own work included. traffic: what entered the bridge.
    """

    seconds: float
    inspector_cpu_s: float
    machine_cpu_s: float
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Moment:
    """Readings of all clocks and counters at one time."""

    monotonic_s: float
    inspector_cpu_s: float
    machine_cpu_s: float
    traffic: Traffic

    @classmethod
    def now(cls, segment: Segment, pids: Sequence[int]) -> "Moment":
        """Read them. pids: the inspector's processes. Raises OSError when one has ended."""
        return cls(time.monotonic(), sum(map(cpu_s, pids)), machine_cpu_s(), segment.traffic())

    def until(self, later: "Moment") -> Cost:
        """Return what lies between this moment and a later one."""
        return Cost(
            later.monotonic_s - self.monotonic_s,
            later.inspector_cpu_s - self.inspector_cpu_s,
            later.machine_cpu_s - self.machine_cpu_s,
            later.traffic - self.traffic,
        )


def machine_cpu_s() -> float:
    """Return the time that all processors were busy since boot."""
    numbers = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]))
    user, nice, system, _idle, _iowait, irq, softirq = numbers[:7]
    return (user + nice + system + irq + softirq) / CLOCK_TICKS


@dataclass(slots=True)
class Events:
    """What `perf stat` counted; None for what it cannot count here, and then `why` says why."""

    system_calls: float | None = None
    instructions: float | None = None
    why: str = ""


@contextlib.contextmanager
def counted(pids: Sequence[int], log: Path) -> Iterator[Events]:
    """Count the processes' system calls and instructions during the block; the object is filled after it."""
    events = Events()
    if shutil.which("perf") is None:
        events.why = "perf is missing (apt-get install linux-perf)"
        yield events
        return
    wanted = ["raw_syscalls:sys_enter", "instructions"]
    command = [
        "perf",
        "stat",
        "-x",
        ";",
        "-o",
        str(log),
        "-e",
        ",".join(wanted),
        "-p",
        ",".join(map(str, pids)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.3)  # it attaches
    try:
        yield events
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
    lines = [line.split(";") for line in log.read_text().splitlines() if ";" in line]
    read = {fields[2]: fields[0] for fields in lines if len(fields) > 2}
    events.system_calls = _number(read.get("raw_syscalls:sys_enter"))
    events.instructions = _number(read.get("instructions"))
    if events.instructions is None:
        events.why = (
            "perf: this machine's processor counters are not available (a virtual machine without a PMU)"
        )


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
