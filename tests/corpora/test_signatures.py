"""Our signatures on captures that others made: `pytest -s tests/corpora` prints the figures."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.tools import engine
from tests.tools.cases import ROOT
from tests.tools.referee import count_alerts
from tests.tools.signatures import SIGNATURES

BESIDE = next(
    (up / "shared" / "corpora" for up in ROOT.parents if (up / "shared" / "corpora").is_dir()),
    ROOT / "corpora",
)
CORPORA = Path(os.environ.get("SEKISHO_CORPORA", BESIDE))
SECOND_STAGE = range(9_000_021, 9_000_041)

pytestmark = pytest.mark.corpora


def listed(suite: str) -> list[dict[str, Any]]:
    """Return what a suite's expect.json lists; skip where the corpora are absent."""
    index = CORPORA / suite / "expect.json"
    if not index.exists():
        pytest.skip(f"no captures at {CORPORA} (set SEKISHO_CORPORA)")
    rows: list[Any] = json.loads(index.read_text())
    return [row if isinstance(row, dict) else {"pcap": row, "cves": []} for row in rows]


def replayed(suite: str, rows: list[dict[str, Any]], out: Path, *, prevent: bool) -> dict[str, Path]:
    """Return the eve.json per capture with all of our signatures, every address at home."""
    pairs = []
    for number, row in enumerate(rows):
        (out / str(number)).mkdir()
        pairs.append((CORPORA / suite / row["pcap"], out / str(number) / "eve.json"))
    rules = sorted(SIGNATURES.glob("*.rules"))
    errors = engine.replay(rules, pairs, ips=prevent, any_nets=True, prevent=prevent)
    assert [error for error in errors if error] == []
    return {row["pcap"]: eve for row, (_, eve) in zip(rows, pairs, strict=True)}


def alerts(suite: str, rows: list[dict[str, Any]], out: Path) -> dict[str, Counter[int]]:
    """Return the alerts per capture."""
    return {name: count_alerts(eve) for name, eve in replayed(suite, rows, out, prevent=False).items()}


def blocked(eve: Path) -> set[int]:
    """Return the sids of the alerts that blocked."""
    records = [json.loads(line) for line in eve.read_text().splitlines()]
    found = [r["alert"] for r in records if r["event_type"] == "alert"]
    return {alert["signature_id"] for alert in found if alert["action"] == "blocked"}


@pytest.mark.parametrize(
    ("cve", "share"), [("CVE-2021-44228", 0.9), ("CVE-2021-41773", 1.0), ("CVE-2014-6271", 1.0)]
)
def test_stops_this_share_of_the_exploit_captures(cve: str, share: float, tmp_path: Path) -> None:
    rows = [row for row in listed("exploits") if cve in row["cves"]]
    if not rows:
        pytest.skip(f"no capture of {cve} in {CORPORA}")
    seen = {name: blocked(eve) for name, eve in replayed("exploits", rows, tmp_path, prevent=True).items()}
    stopped = {name for name, sids in seen.items() if any(sid not in SECOND_STAGE for sid in sids)}
    share_stopped = f"{len(stopped)} of {len(seen)} ({len(stopped) / len(seen):.1%})"
    print(f"\n{cve}: {share_stopped} captures blocked at what they send in first")
    for name in sorted(seen.keys() - stopped):
        print(f"  missed: {name}; second stage: {sorted(seen[name]) or 'nothing'}")
    assert len(stopped) >= share * len(seen)


def test_second_stage_is_seen_wherever_it_is_in_clear(tmp_path: Path) -> None:
    rows = [row for row in listed("exploits") if "CVE-2021-44228" in row["cves"]]
    seen = alerts("exploits", rows, tmp_path)
    found = [name for name, sids in seen.items() if any(sid in SECOND_STAGE for sid in sids)]
    print(f"\nCVE-2021-44228: second stage seen in {len(found)} of {len(seen)} captures")
    assert found


def test_is_silent_on_benign_captures(tmp_path: Path) -> None:
    rows = listed("benign")
    loud = {name: dict(sids) for name, sids in alerts("benign", rows, tmp_path).items() if sids}
    print(f"\nbenign: {len(rows)} captures, {len(loud)} with an alert")
    assert loud == {}
