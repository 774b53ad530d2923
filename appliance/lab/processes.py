"""Which processes belong to a lab, across restarts and reused pids."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.model.faults import SystemFault

END_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process, named for good by its pid and its start time (clock ticks since boot)."""

    role: str
    pid: int
    start_time: int


def identify(role: str, pid: int) -> Process:
    """Return the process behind pid. Raises SystemFault when it has ended."""
    start_time = _start_time(pid)
    if start_time is None:
        raise SystemFault(f"{role}: ended right after its start")
    return Process(role, pid, start_time)


def is_running(process: Process) -> bool:
    """Return whether this very process still runs, not one that got its pid later."""
    return _start_time(process.pid) == process.start_time


def kill(pids: Sequence[int]) -> None:
    """Kill the processes and wait until they are gone. Raises SystemFault past five seconds."""
    known = {pid: start for pid in pids if (start := _start_time(pid)) is not None}
    for pid in known:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + END_TIMEOUT_S
    while left := [pid for pid, start in known.items() if _start_time(pid) == start]:
        if time.monotonic() > deadline:
            raise SystemFault(f"processes {left} do not end although killed")
        for pid in left:
            _reap(pid)
        time.sleep(0.02)


def _reap(pid: int) -> None:
    """Collect the process if it is our child; anyone else's is their parent's to collect."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _start_time(pid: int) -> int | None:
    """Return the start time of a living process; None when it has ended or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the name in brackets may hold blanks and brackets itself: fields begin after the last one
    fields = stat[stat.rindex(")") + 1 :].split()
    return None if fields[0] in "ZX" else int(fields[19])
