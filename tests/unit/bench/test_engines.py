"""What the peer is told to write."""

from pathlib import Path

import pytest
import yaml

from bench import engines
from bench.loads import replay
from bench.render import table


@pytest.mark.skipif(not engines.SURICATA_YAML.exists(), reason="Suricata is not installed")
def test_suricata_writes_the_records_asked_for_and_nothing_else(tmp_path: Path) -> None:
    engines.configure_suricata({"alert", "http", "fileinfo"}, tmp_path / "suricata.yaml")
    config = yaml.safe_load((tmp_path / "suricata.yaml").read_text())
    (output,) = config["outputs"]
    types = output["eve-log"]["types"]
    assert types == ["alert", "files", {"http": {"extended": True}}]
    assert config["stats"] == {"enabled": False}


def test_rows_say_what_is_missing(tmp_path: Path) -> None:
    rows = replay.measure(tmp_path, tmp_path / "sekisho", tmp_path, 1, 1, lambda line: None)
    assert {row.path for row in rows} == {"sekisho", "suricata"}
    assert all(row.value is None and "no corpora" in row.note for row in rows)
    drawn = table(rows, replay.GOALS, {})
    assert "not measured" in drawn and "no corpora" in drawn
