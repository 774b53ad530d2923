"""What processes that still run have used so far."""

import re
import time
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, all its threads, ended ones too. Raises OSError.

    A process' clock is its pid, inverted, above three bits of kind. Source: clock_getcpuclockid(3).
    """
    return time.clock_gettime((~pid << 3) | 2)


def memory_mib(pid: int, what: str = "VmHWM") -> float:
    """Return the most memory that a process ever held (VmHWM), or what is resident (VmRSS).

    0 of one that has ended and is not waited for yet. Raises OSError. Source: proc(5).
    """
    found = re.search(rf"{what}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
