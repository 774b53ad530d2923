"""The inline bench at its smallest: every path carries real traffic, and says so."""

from pathlib import Path

import pytest

from bench.inline import cores
from bench.inline.paths import ACCEPT_ALL, ACCEPT_NEEDED, NO_QUEUE, SEKISHO, SURICATA, missing
from bench.inline.programs import build_examples
from bench.loads import guests, inline
from bench.rows import Row, values

pytestmark = pytest.mark.alone
RULES = """
alert tcp $EXTERNAL_NET any -> $HOME_NET 21 (msg:"one port"; flow:established,to_server; content:"|90 90|"; sid:1;)
alert http $EXTERNAL_NET any -> $HOME_NET any (msg:"request"; flow:established,to_server; http.uri; content:"/evil"; sid:2;)
alert http $HOME_NET any -> $EXTERNAL_NET any (msg:"response"; flow:established,to_client; file.data; content:"evil"; sid:3;)
"""  # noqa: E501


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    (tmp_path / "corpora" / "rules").mkdir(parents=True)
    (tmp_path / "corpora" / "rules" / "et-open.rules").write_text(RULES)
    return tmp_path / "corpora"


def test_every_path_gives_rows_under_real_traffic(corpora: Path, tmp_path: Path) -> None:
    if why := inline.generators.missing():
        pytest.skip(why)
    work = tmp_path / "work"
    work.mkdir()
    here = [p for p in (NO_QUEUE, ACCEPT_ALL, ACCEPT_NEEDED, SEKISHO, SURICATA) if not missing(p)]
    plan = inline.Plan(1, 1, cores.divide(), here, ["download", "echo"])
    rows, goals = inline.measure(corpora, build_examples(), work, plan, print)
    for path in here:
        for load in (load for load in plan.chosen() if load.needed or path != ACCEPT_NEEDED):
            (rate, *_) = values(rows, path, load.name, load.unit).values()
            assert rate > 0, (path, load.name)
            if path != NO_QUEUE:
                (cost, *_) = values(rows, path, load.name, "s of inspector per GB").values()
                assert cost > 0, f"{path} saw nothing of {load.name}"
    assert values(rows, SEKISHO, "UDP echo at 50% of its maximum", "µs p99 added")
    assert not _failed(rows)
    assert {goal.load for goal in goals} >= {load.name for load in plan.chosen() if not load.exchange}


def test_more_guests_are_measured_beside_few(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "MANY", 5)
    work = tmp_path / "work"
    work.mkdir()
    rows = guests.measure(corpora, build_examples(), work, 1, 1, cores.divide(), print)
    assert not _failed(rows)
    assert all(values(rows, guests.path_of(size), guests.LOAD, guests.CPU)[0] > 0 for size in (2, 5))


def _failed(rows: list[Row]) -> list[str]:
    # instructions cannot be counted everywhere, and the row says so
    return [row.note for row in rows if row.value is None and not row.unit.endswith("per packet")]
