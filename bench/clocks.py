"""Processor time of processes that still run."""

import time


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, all its threads, ended ones too. Raises OSError.

    A process' clock is its pid, inverted, above three bits of kind. Source: clock_getcpuclockid(3).
    """
    return time.clock_gettime((~pid << 3) | 2)
