"""What the peer is told to write."""

import sys
from dataclasses import dataclass
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
    rows = replay.measure(tmp_path, ["sekisho"], tmp_path, 1, 1, lambda line: None)
    assert {row.path for row in rows} == {"sekisho", "suricata"}
    assert all(row.value is None and "no corpora" in row.note for row in rows)
    drawn = table(rows, replay.GOALS, {})
    assert "not measured" in drawn and "no corpora" in drawn


def test_the_time_of_inspecting_begins_when_the_rules_are_loaded(tmp_path: Path) -> None:
    spent = engines.run(Slow(), tmp_path, tmp_path, tmp_path / "out")
    assert spent.ready_cpu_s >= LOADING_S and spent.ready_wall_s >= LOADING_S
    assert spent.inspecting_cpu_s < LOADING_S
    assert spent.cpu_s == spent.ready_cpu_s + spent.inspecting_cpu_s


def test_an_engine_that_never_says_that_it_is_ready_has_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="loading"):
        engines.run(Slow(ready=b"never"), tmp_path, tmp_path, tmp_path / "out")


LOADING_S = 0.5


@dataclass(frozen=True)
class Slow:
    """An engine that loads for half a second of processor time and has nothing to inspect."""

    name: str = "slow"
    ready: bytes = b"is ready"

    def missing(self) -> str:
        return ""

    def command(self, rules: Path, capture: Path, out: Path) -> list[str]:
        load = f"import time\nprint('loading', flush=True)\nwhile time.process_time() < {LOADING_S}: pass\n"
        return [sys.executable, "-c", f"{load}print('it is ready', flush=True)"]
