"""Every case through the engine, and the cases themselves."""

import re
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.tools import cases, engine, make_cases
from tests.tools.referee import count_alerts

ALL = cases.read_all()
GAPS = re.findall(r"^\| `([a-z0-9-]+)` \|", (cases.CASES / "KNOWN_GAPS.md").read_text(), re.MULTILINE)


def replayed() -> list[ParameterSet]:
    """Return every case as a parameter; those in KNOWN_GAPS.md must fail."""
    gap = pytest.mark.xfail(raises=AssertionError, strict=True, reason="tests/cases/KNOWN_GAPS.md")
    return [pytest.param(case, id=case.name, marks=[gap] if case.name in GAPS else []) for case in ALL]


@pytest.mark.parametrize("case", replayed())
def test_engine_raises_exactly_the_expected_alerts(case: cases.Written, tmp_path: Path) -> None:
    eve = tmp_path / "eve.json"
    errors = engine.replay([case.rules], [(case.pcap, eve)], ips=case.ips, any_nets=False)
    assert errors == [""]
    assert count_alerts(eve) == case.alerts, (case.folder / "README.md").read_text()


def test_cases_are_what_their_makers_make(tmp_path: Path) -> None:
    make_cases.main([str(tmp_path)])
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {case.name for case in ALL}
    for name in sorted(made):
        for file in ("input.pcap", "test.rules", "expect.yaml", "README.md"):
            ours = cases.CASES / name / file
            assert ours.is_symlink() == (tmp_path / name / file).is_symlink()
            if ours.is_symlink():
                assert ours.readlink() == (tmp_path / name / file).readlink()
            else:
                assert ours.read_bytes() == (tmp_path / name / file).read_bytes(), f"{name}/{file}"


def test_known_gaps_are_cases() -> None:
    assert set(GAPS) <= {case.name for case in ALL}
