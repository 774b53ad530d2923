"""How much memory an appliance needs, and what it costs when nothing happens.

For each selection of rules: idle, with many connections open, and while all rules are loaded anew meanwhile.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.model.faults import SystemFault
from appliance.model.policy import Mode
from bench.goals import Goal
from bench.inline.connections import opened
from bench.inline.cores import Cores
from bench.inline.paths import Setting, sekisho
from bench.inline.programs import ProgramFailed
from bench.inline.segment import segment_of
from bench.inline.selections import Drawn, Selection, read_rules, select
from bench.processes import cpu_s, memory_mib
from bench.rows import Row

Say = Callable[[str], None]
PATH, BOUND = "sekisho", "at most"
CONNECTIONS = 100_000
GUESTS = 5
"""A client and four servers: one that uses most ports to an address looks for a free one for long."""
SELECTIONS = ("a", "b", "c")
LOADS = IDLE, OPEN, RELOAD = (
    "nothing happens",
    f"{CONNECTIONS:,} connections open",
    f"a reload, {CONNECTIONS:,} connections open",
)
MB_MIB = 1e6 / (1 << 20)
ALL_MIB, CPU = "MiB, all", "% of a processor"
SETTLE_S = 5.0
WATCHED_S = 15.0
RELOAD_TIMEOUT_S = 300.0
FAULTS = (ProgramFailed, SystemFault, RuntimeError, OSError)


def goals(selections: Mapping[str, Selection]) -> list[Goal]:
    """Return what the figures are held to: those of the path `at most`."""
    return [
        Goal(load, unit, 1.0, at_least=False, rules=selections[key].name, against=BOUND)
        for key, load, unit, _ in _bounds()
    ]


def _bounds() -> Iterator[tuple[str, str, str, float]]:
    yield "b", OPEN, ALL_MIB, 300 * MB_MIB
    yield "c", OPEN, ALL_MIB, 700 * MB_MIB
    yield "c", RELOAD, ALL_MIB, 700 * MB_MIB
    for key in SELECTIONS:
        yield key, IDLE, CPU, 2.0


@dataclass(frozen=True, slots=True)
class Processes:
    """An appliance's, by name. status: where it says which they are."""

    pids: Mapping[str, int]

    @classmethod
    def of(cls, control: int, status: Path) -> "Processes":
        """Ask who the others are. Raises RuntimeError."""
        said = _read(status)
        return cls(
            {"inspector": said["inspector"]["pid"], "control": control, "watchdog": said["watchdog"]["pid"]}
        )

    def mib(self, what: str) -> dict[str, float]:
        """Return VmRSS (what is resident) or VmHWM (the most that was), by process."""
        return {name: memory_mib(pid, what) for name, pid in self.pids.items()}

    def forget_peaks(self) -> None:
        """Let VmHWM begin anew."""
        for pid in self.pids.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def cpu_s(self) -> float:
        """Return the processor time of all."""
        return sum(map(cpu_s, self.pids.values()))


def measure(corpora: Path, work: Path, rounds: int, cores: Cores, say: Say) -> tuple[list[Row], list[Goal]]:
    """Return the rows of all rounds and the goals. corpora: holds rules/et-open.rules. As root."""
    rules = corpora / "rules" / "et-open.rules"
    if not rules.exists():
        return [Row(PATH, load, "", None, ALL_MIB, 0, f"no rules at {rules}") for load in LOADS], []
    drawn = read_rules(rules)
    selections = select(drawn)
    work.chmod(0o755)
    rows = [
        Row(BOUND, load, selections[key].name, bound, unit, number)
        for key, load, unit, bound in _bounds()
        for number in range(rounds)
    ]
    for number in range(rounds):
        for key in SELECTIONS:
            try:
                with segment_of(GUESTS) as segment:
                    setting = Setting(segment, cores, Path(), work, frozenset())
                    found = list(_one(setting, selections[key], _port(key, selections, drawn), number, say))
            except FAULTS as fault:
                why = str(fault)[:300]
                found = [Row(PATH, load, selections[key].name, None, ALL_MIB, number, why) for load in LOADS]
                say(why)
            rows += found
    return rows, goals(selections)


def _port(key: str, selections: Mapping[str, Selection], drawn: list[Drawn]) -> int:
    """Return the port of the connections: of one signature its own, or the kernel would keep them all."""
    if key != "a":
        return 80
    (sid,) = selections["a"].sids
    return next(int(rule.ports) for rule in drawn if rule.sid == sid)


def _one(setting: Setting, selection: Selection, port: int, number: int, say: Say) -> Iterator[Row]:
    segment, directory = setting.segment, setting.work / "appliance"
    status = directory / "state" / "status.json"
    sids = {server.name: None for server in segment.servers}
    mode = Mode.AS_WRITTEN if len(selection.rules) > 1_000 else Mode.PREVENT

    def rows(load: str, mib: Mapping[str, float], busy: float | None = None) -> Iterator[Row]:
        figures = {f"MiB, {name}": each for name, each in mib.items()} | {ALL_MIB: sum(mib.values())}
        if busy is not None:
            figures[CPU] = busy
        said = ", ".join(f"{value:.1f} {unit}" for unit, value in figures.items())
        say(f"round {number + 1}, {selection.name}, {load}: {said}")
        for unit, value in figures.items():
            yield Row(PATH, load, selection.name, value, unit, number)

    with sekisho(setting, "\n".join(selection.rules), sids, mode) as standing:
        time.sleep(SETTLE_S)
        processes = Processes.of(standing.pids[0], status)
        busy = _busy(processes)
        yield from rows(IDLE, processes.mib("VmRSS"), busy)
        with opened(segment, port, CONNECTIONS, setting.cores, setting.work):
            time.sleep(SETTLE_S)
            _check_followed(status)
            busy = _busy(processes)
            yield from rows(OPEN, processes.mib("VmRSS"), busy)
            processes.forget_peaks()
            _reload(directory)
            yield from rows(RELOAD, processes.mib("VmHWM"))


def _busy(processes: Processes) -> float:
    """Return the share of a processor that they take while they are watched, in percent."""
    before, began = processes.cpu_s(), time.monotonic()
    time.sleep(WATCHED_S)
    return 100 * (processes.cpu_s() - before) / (time.monotonic() - began)


def _check_followed(status: Path) -> None:
    """Raise RuntimeError unless the inspector follows all connections."""
    flows = _read(status)["inspector"]["stats"]["engine"]["flows"]
    if flows < CONNECTIONS:
        raise RuntimeError(f"the inspector has seen {flows} flows, not {CONNECTIONS}")


def _reload(directory: Path) -> None:
    """Have the whole policy read, compiled, tried and swapped once more; return when the former is freed."""
    current = directory / "state" / "live" / "current"
    before = current.readlink()
    (directory / "guests.yaml").touch()
    deadline = time.monotonic() + RELOAD_TIMEOUT_S
    while current.readlink() == before:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the rules were not live again within {RELOAD_TIMEOUT_S:.0f} s")
        time.sleep(0.1)
    time.sleep(SETTLE_S)


def _read(status: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(status.read_bytes())
    return said
