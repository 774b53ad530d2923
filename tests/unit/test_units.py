"""How far systemd's units are locked in, as systemd itself judges the files."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "debian/sekisho.service"
UNITS = [
    *(ROOT / "debian").glob("*.service"),
    *(ROOT / "image/root/etc/systemd/system").glob("sekisho-*.service"),
]
EXPOSURE_BELOW = 3.0

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def analyzed(*arguments: str) -> str:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=True
    ).stdout


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_little_exposed(unit: Path) -> None:
    said = analyzed("security", "--offline=true", str(unit)).splitlines()[-1]
    assert float(said.split(": ")[1].split()[0]) < EXPOSURE_BELOW, said


def test_of_what_governs_resources_workers_may_only_choose_processor_and_priority() -> None:
    filters = [
        line.partition("=")[2].split()
        for line in SERVICE.read_text().splitlines()
        if line.startswith("SystemCallFilter=")
    ]
    assert filters == [["@system-service"], ["~@resources"], ["sched_setaffinity", "setpriority"]]
