"""What the peer is told to write."""

import os
import sys
import time
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
    assert types == ["alert", {"files": {"force-hash": ["sha256"]}}, {"http": {"extended": True}}]
    assert config["stats"] == {"enabled": False}


def test_rows_say_what_is_missing(tmp_path: Path) -> None:
    rows = replay.measure(tmp_path, ["sekisho"], tmp_path, 1, 1, lambda line: None)
    assert {row.path for row in rows} == {"sekisho", "suricata"}
    assert all(row.value is None and "no corpora" in row.note for row in rows)
    drawn = table(rows, replay.GOALS, {})
    assert "not measured" in drawn and "no corpora" in drawn


def test_the_time_of_inspecting_begins_when_the_rules_are_loaded(tmp_path: Path) -> None:
    run = engines.Run(Slow(), tmp_path, tmp_path, tmp_path / "out")
    (inspecting,) = engines.inspect([run])
    assert run.loading.cpu_s >= LOADING_S and run.loading.wall_s >= LOADING_S
    assert INSPECTING_S / 2 < inspecting.cpu_s < LOADING_S
    assert inspecting.peak_mib >= run.loading.peak_mib > 0


def test_what_an_engine_was_held_for_is_not_its_time(tmp_path: Path) -> None:
    runs = [engines.Run(Slow(), tmp_path, tmp_path, tmp_path / name) for name in ("one", "other")]
    time.sleep(5 * INSPECTING_S)
    began = time.monotonic()
    inspecting = engines.inspect(runs)
    passed_s = time.monotonic() - began
    assert all(spent.cpu_s > INSPECTING_S / 2 for spent in inspecting)
    assert sum(spent.wall_s for spent in inspecting) < passed_s + INSPECTING_S


def test_an_engine_that_is_held_ends_with_its_context(tmp_path: Path) -> None:
    with engines.Run(Slow(), tmp_path, tmp_path, tmp_path / "out") as run:
        pid = run.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_engine_that_never_says_that_it_is_ready_has_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="loading"):
        engines.Run(Slow(ready=b"never"), tmp_path, tmp_path, tmp_path / "out")


LOADING_S = 0.5
INSPECTING_S = 0.3


@dataclass(frozen=True)
class Slow:
    """An engine that loads and inspects for so much processor time, whatever it is given."""

    name: str = "slow"
    ready: bytes = b"is ready"

    def missing(self) -> str:
        return ""

    def command(self, rules: Path, capture: Path, out: Path) -> list[str]:
        work = "import time\ndef work(until):\n    while time.process_time() < until: pass\n"
        load = f"print('loading', flush=True)\nwork({LOADING_S})\nprint('it is ready', flush=True)\n"
        return [sys.executable, "-c", f"{work}{load}work({LOADING_S + INSPECTING_S})"]
