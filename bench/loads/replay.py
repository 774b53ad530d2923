"""Captures inspected offline with all the rules: load time, memory, and speed once they are loaded."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import captures, engines
from bench.engines import Engine, Sekisho, Spent, Suricata
from bench.goals import Goal
from bench.rows import Row

MIN_CAPTURE_BYTES = 200_000
LOADING = "load the rules"
INSPECTING = "inspect the large benign captures"
MEMORY = "load the rules and inspect"

GOALS = [
    Goal(INSPECTING, "Mbit/s", 1.5, at_least=True),
    Goal(INSPECTING, "Mbit/s of processor time", 1.5, at_least=True),
    Goal(LOADING, "s", 0.3, at_least=False),
    Goal(LOADING, "MiB", 0.6, at_least=False),
    Goal(MEMORY, "MiB", 0.6, at_least=False),
]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What both engines are given."""

    rules: Path
    rules_name: str
    capture: Path
    capture_bits: int
    work: Path


def measure(corpora: Path, program: list[str], work: Path, rounds: int, times: int, say: Say) -> list[Row]:
    """Return the rows of `rounds` rounds, engines taking turns; rows without a value for what is missing.

    corpora: holds rules/et-open.rules and benign/. program: the command `sekisho`. work: an empty folder.
    times: how often the merged captures are repeated.
    """
    if not (corpora / "rules" / "et-open.rules").exists():
        return _absent(["sekisho", "suricata"], f"no corpora at {corpora}")
    load = _prepare(corpora, work, times, say)
    sekisho, suricata = Sekisho(tuple(program)), Suricata(work / "suricata.yaml")
    here = [engine for engine in (sekisho, suricata) if not engine.missing()]
    rows = [
        row
        for engine in (sekisho, suricata)
        if engine.missing()
        for row in _absent([engine.name], engine.missing())
    ]
    if sekisho in here and suricata in here:
        _agree_on_records(load, sekisho, suricata, say)
    for number in range(rounds):
        # Whoever goes second finds warmer caches, so they take turns at that as well.
        rows += _one_round(load, here if number % 2 == 0 else here[::-1], number, say)
    return rows


def _prepare(corpora: Path, work: Path, times: int, say: Say) -> Load:
    rules = corpora / "rules" / "et-open.rules"
    count = sum(1 for line in rules.open("rb") if line.strip() and not line.startswith(b"#"))
    chosen = captures.large(corpora / "benign", MIN_CAPTURE_BYTES)
    read = {path: captures.frames(path) for path in chosen}
    for path, frames in read.items():
        if frames is None:
            say(f"left out, since not of Ethernet frames: {path.relative_to(corpora)}")
    ethernet = [frames for frames in read.values() if frames is not None]
    packets = captures.merge(ethernet, times, work / "large.pcap")
    octets = times * sum(len(frame) for frames in ethernet for _, frame in frames)
    say(f"{len(ethernet)} captures × {times}: {packets} packets, {octets / 1e6:.0f} MB")  # noqa: RUF001
    name = f"ET Open ({count})"
    return Load(rules, name, work / "large.pcap", octets * 8, work)


def _agree_on_records(load: Load, sekisho: Engine, suricata: Suricata, say: Say) -> None:
    """Let Suricata write the types of records that Sekisho writes for this load, and no others."""
    _inspected(load, [sekisho])
    ours = engines.records(load.work / "sekisho")
    engines.configure_suricata({"alert", "drop", *ours}, suricata.config)
    _inspected(load, [suricata])
    theirs = engines.records(load.work / "suricata")
    for name, counted in (("sekisho", ours), ("suricata", theirs)):
        say(f"records of {name}: " + ", ".join(f"{kind} {n}" for kind, n in sorted(counted.items())))


def _inspected(load: Load, turns: Sequence[Engine]) -> list[tuple[engines.Run, Spent]]:
    with contextlib.ExitStack() as ended:
        runs = [
            ended.enter_context(engines.Run(engine, load.rules, load.capture, load.work / engine.name))
            for engine in turns
        ]
        return list(zip(runs, engines.inspect(runs), strict=True))


def _one_round(load: Load, turns: Sequence[Engine], number: int, say: Say) -> list[Row]:
    rows = []
    for run, inspecting in _inspected(load, turns):
        captures_s = f"captures {inspecting.wall_s:.2f} s"
        say(f"round {number + 1}, {run.name}: load {run.loading.wall_s:.2f} s, {captures_s}")
        rows += [
            Row(run.name, about, load.rules_name, value, unit, number)
            for about, unit, value in _figures(load, run.loading, inspecting)
        ]
    return rows


def _figures(load: Load, loading: Spent, inspecting: Spent) -> list[tuple[str, str, float]]:
    return [
        (LOADING, "s", loading.wall_s),
        (LOADING, "s of processor time", loading.cpu_s),
        (LOADING, "MiB", loading.peak_mib),
        (MEMORY, "s", loading.wall_s + inspecting.wall_s),
        (MEMORY, "MiB", inspecting.peak_mib),
        (INSPECTING, "s", inspecting.wall_s),
        (INSPECTING, "s of processor time", inspecting.cpu_s),
        (INSPECTING, "Mbit/s", load.capture_bits / inspecting.wall_s / 1e6),
        (INSPECTING, "Mbit/s of processor time", load.capture_bits / inspecting.cpu_s / 1e6),
    ]


def _absent(names: list[str], why: str) -> list[Row]:
    return [Row(name, goal.load, "", None, goal.unit, 0, why) for name in names for goal in GOALS]
