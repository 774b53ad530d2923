"""On what it was measured."""

import os
import platform
import re
import subprocess
from pathlib import Path


def describe() -> dict[str, str]:
    """Return the machine's processor, memory, kernel, and how busy it was, each as one line."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo)
    memory = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "processor": f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}",  # noqa: RUF001
        "memory": f"{int(memory.group(1)) / 2**20:.0f} GiB" if memory else "unknown",
        "kernel": platform.release(),
        "busy": "load average " + " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "suricata": _first_line("suricata", "-V"),
    }


def _first_line(*command: str) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "missing: apt-get install -t bookworm-backports suricata"
    return ran.stdout.strip().splitlines()[0] if ran.stdout.strip() else "unknown"
