"""What the appliance imports before it protects: under emulation a module costs as much as a program."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LATER = {
    "appliance.daemon": {
        "appliance.reporting.delivery",
        "appliance.reporting.enrolment",
        "appliance.reporting.exporter",
        "appliance.rulesets.filters",
        "click",
        "cryptography.x509",
        "httpx",
        "lark",
        "pyroute2",
    },
    "appliance.inspector": {"appliance.daemon", "click", "cryptography", "httpx", "lark", "yaml"},
    "appliance.firstboot.__main__": {"appliance.daemon", "asyncio", "click", "cryptography", "httpx"},
}
"""By program: what is for later, or for others."""


@pytest.mark.parametrize("program", LATER)
def test_a_program_starts_without_what_it_needs_only_later(program: str) -> None:
    code = f"import sys, {program}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not LATER[program] & set(done.stdout.split())
