"""What reading, checking and reloading rules costs in memory, measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("appliance._engine", reason="the packet engine is not built here")

RULES = 5_000
# Prints the memory that the process holds now, in KiB, and the most that it ever held.
HELD = """
def held():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

def most():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""


def run(program: str, *arguments: str) -> list[int]:
    """Return the numbers that a program prints."""
    command = [sys.executable, "-c", HELD + program, *arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return [int(word) for word in said.stdout.split()]


def rules() -> str:
    return "\n".join(
        f'alert http any any -> any any (msg:"attempt {sid}"; http.uri; content:"/page/{sid:06}/run"; '
        f'content:"cmd="; distance:0; pcre:"/x{{{sid % 60},}}y/"; reference:cve,2021-{sid:05}; '
        f"metadata:created_at 2021_01_01, severity Major; sid:{sid};)"
        for sid in range(1, RULES + 1)
    )


def test_reloading_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.rules").write_text(rules())
    policy = {
        "format": 1,
        "version": 1,
        "generation": 1,
        "rule_sets": [{"name": "a", "files": [str(tmp_path / "a.rules")]}],
    }
    (tmp_path / "engine.json").write_text(json.dumps(policy))
    program = """
import sys
from appliance import _engine
settings = '{"queues": 1, "spool_max_bytes": 1048576, "memory_max_bytes": 1048576}'
inspector = _engine.Inspector(sys.argv[1] + "/spool", settings)
before = held()
for _ in range(5):
    inspector.load(sys.argv[1] + "/engine.json")
    inspector.stats()
    print(held() - before)
print(most() - before)
"""
    first, *later, most = run(program, str(tmp_path))
    assert max(later) <= first * 1.3, (first, later)
    assert most <= first * 2.6, (first, most)


def test_no_object_is_made_of_a_signature_that_nobody_asks_for(tmp_path: Path) -> None:
    (tmp_path / "a.rules").write_text(rules())
    program = """
import sys
from appliance.rulesets import check_files
text = open(sys.argv[1], "rb").read()
before = held()
report = check_files([("a.rules", text)])
print(report.loaded, held() - before)
"""
    loaded, kib = run(program, str(tmp_path / "a.rules"))
    assert loaded == RULES
    assert kib < RULES * 4, f"{kib} KiB for {RULES} signatures"
