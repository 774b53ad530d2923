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


def test_reloading_keeps_no_former_policy(tmp_path: Path) -> None:
    (tmp_path / "a.rules").write_text(rules())
    policy = {
        "format": 1,
        "version": 1,
        "generation": 1,
        "rule_sets": [{"name": "a", "files": [str(tmp_path / "a.rules")]}],
    }
    (tmp_path / "engine.json").write_text(json.dumps(policy))
    program = """
import sys, time
from pathlib import Path
from appliance import _engine
settings = '{"queues": 1, "spool_max_bytes": 1048576, "memory_max_bytes": 1048576}'
inspector = _engine.Inspector(sys.argv[1] + "/spool", settings)
before = held()
for _ in range(5):
    inspector.load(sys.argv[1] + "/engine.json")
    inspector.stats()
    while any(name.read_text() == "free\\n" for name in Path("/proc/self/task").glob("*/comm")):
        time.sleep(0.01)
    time.sleep(0.5)  # the allocator gives back what is free a moment later
    print(held() - before)
print(most() - before)
"""
    first, *later, most = run(program, str(tmp_path))
    # One policy is live after each; what the allocator cannot put together between them is as much again.
    assert max(later) <= first * 2.5, (first, later)
    assert most <= first * 3.5, (first, most)


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


HOSTILE = {
    "a line that never ends": (b'alert tcp any any -> any any (msg:"' + b"a" * 20_000_000, "longer than"),
    "a line continued without end": (b"alert \\\n" * 1_000_000, "longer than"),
    "zeros": (bytes(20_000_000), "not text"),
    "more nonsense than anyone reads": (b"nonsense\n" * 150_000, "more than 100000 rules are refused"),
    "deep lists": (
        b"alert tcp " + b"[" * 20_000 + b"1.1.1.1" + b"]" * 20_000 + b" any -> any any (sid:1;)",
        "cannot be read as addresses",
    ),
    "an expression that explodes": (
        b'alert tcp any any -> any any (pcre:"/(?:a{1,9000}b){1,6000}/"; sid:1;)',
        "too large",
    ),
    "an expression without end": (
        b'alert tcp any any -> any any (pcre:"/' + b"(a|b)*" * 9_000 + b'/"; sid:1;)',
        "too long",
    ),
    "no text at all": (bytes(range(11, 256)) * 200, "unknown action"),
    "a group of no text": (b"alert tcp \xff\xfe any -> any any (sid:1;)", "not text"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_rules_are_refused_in_bounded_memory(what: str, tmp_path: Path) -> None:
    text, reason = HOSTILE[what]
    (tmp_path / "a.rules").write_bytes(text)
    program = """
import sys
from appliance import _engine
before = most()
rules = _engine.Rules([sys.argv[1]])
print(rules.loaded, len(rules.refused()), most() - before, max(len(r.reason) for r in rules.refused()))
print(rules.refused()[-1].reason, file=sys.stderr)
"""
    command = [sys.executable, "-c", HELD + program, str(tmp_path / "a.rules")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    loaded, refused, kib, longest = (int(word) for word in done.stdout.split())
    assert (loaded, refused > 0) == (0, True)
    assert reason in done.stderr
    assert longest <= 400
    assert kib < 64 * 1024


def test_ports_and_addresses_take_no_room_by_their_product(tmp_path: Path) -> None:
    many = [f"10.{n % 200}.{n // 200}.7" for n in range(20_000)]
    ports = ",".join(str(port) for port in range(1, 9_999, 2))
    lines = [
        *(f"alert ip 10.0.0.0/8 any -> any any (sid:{n};)" for n in range(1, 2_001)),
        *(f"alert tcp any [{ports},{n}] -> any any (sid:{n};)" for n in range(10_001, 10_051)),
        *(
            f"alert ip [{','.join(many[n : n + 1_000])}] any -> any any (sid:{20_000 + n};)"
            for n in range(0, len(many), 1_000)
        ),
    ]
    (tmp_path / "a.rules").write_text("\n".join(lines))
    header = bytes.fromhex("d4c3b2a1 02000400 00000000 00000000 ffff0000 01000000")
    (tmp_path / "empty.pcap").write_bytes(header)
    program = """
import sys
from appliance import _engine
before = most()
rules = _engine.Rules([sys.argv[1] + "/a.rules"])
errors = rules.replay([(sys.argv[1] + "/empty.pcap", sys.argv[1] + "/eve.json")], ips=False)
print(rules.loaded, sum(bool(reason) for reason, _ in errors), most() - before)
"""
    loaded, errors, kib = run(program, str(tmp_path))
    assert (loaded, errors) == (len(lines), 0)
    assert kib < 96 * 1024
