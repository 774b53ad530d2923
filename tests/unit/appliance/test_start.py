"""What the appliance imports before it protects: under emulation a module costs as much as a program."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from appliance import service

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
        "yaml",
    },
    "appliance.inspector": {"appliance.daemon", "click", "cryptography", "httpx", "lark", "yaml"},
    "appliance.firstboot.__main__": {
        "appliance.daemon",
        "asyncio",
        "click",
        "cryptography",
        "dataclasses",
        "httpx",
    },
}
"""By program: what is for later, or for others."""
JSON = """
import sys
from pathlib import Path
from appliance.config import read_config
from appliance.hypervisor import read_inventory
print(read_inventory(read_config(Path(sys.argv[1]))).guests[0].name, "yaml" in sys.modules)
"""


@pytest.mark.parametrize("program", LATER)
def test_a_program_starts_without_what_it_needs_only_later(program: str) -> None:
    code = f"import sys, {program}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not LATER[program] & set(done.stdout.split())


def test_configuration_written_by_a_program_needs_no_reader_of_yaml(tmp_path: Path) -> None:
    vnic = {"name": "eth0", "tap": "tap0", "mac": "52:54:00:00:00:01", "addresses": []}
    guests = {
        "segments": [{"name": "shop", "bridge": "br0"}],
        "guests": [{"name": "web", "segment": "shop", "vnics": [vnic]}],
    }
    (tmp_path / "guests.yaml").write_text(json.dumps(guests))
    (tmp_path / "sekisho.yaml").write_text(json.dumps({"guests": "guests.yaml"}))
    argv = [sys.executable, "-c", JSON, str(tmp_path / "sekisho.yaml")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "web False\n"


def test_the_service_waits_for_its_configuration(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    writer = threading.Timer(0.3, sign.touch)
    writer.start()
    service._wait(sign)
    assert sign.exists()


def test_the_service_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PATIENCE_S", 0.1)
    service._wait(tmp_path / "nobody makes it")
