"""Traffic between two guests with nothing, a ceiling, Sekisho or Suricata in between."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.model.faults import SystemFault
from bench.goals import Goal
from bench.inline import generators, paths
from bench.inline.accounting import Cost, Moment, counted
from bench.inline.cores import Cores
from bench.inline.generators import Generator, serving
from bench.inline.paths import (
    ACCEPT_ALL,
    ACCEPT_NEEDED,
    NO_QUEUE,
    PATHS,
    SEKISHO,
    SURICATA,
    Setting,
    Standing,
)
from bench.inline.programs import ProgramFailed
from bench.inline.segment import segment_of
from bench.inline.selections import Selection, read_rules, select
from bench.processes import memory_mib
from bench.rows import Row

Say = Callable[[str], None]
RECORDS = frozenset({"alert", "drop"})
"""What the live inspector writes; Suricata writes the same."""
HOLDS_RULES = (SEKISHO, SURICATA)
GBIT, RATE = "Gbit/s", "1/s"
MIB = "MiB at most"
MEMORY = "memory after these loads"
SHARES = (0.1, 0.5)
PERCENTILES = ("p50", "p99", "p99.9")
FAULTS = (ProgramFailed, SystemFault, RuntimeError, OSError)
"""What may befall one figure without costing the others theirs."""


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of traffic. rules: keys of the selections it is measured with. exchange: tcp or udp, for which
    latency is measured too. needed: whether the ceiling that queues the needed directions is of interest.
    counted: whether system calls and instructions are counted, in one more run."""

    key: str
    name: str
    unit: str
    rules: tuple[str, ...]
    measure: Callable[[Generator, int], float]
    needed: bool = False
    counted: bool = False
    exchange: str = ""


LOADS = (
    Load("download", "HTTP download", GBIT, ("b'",), Generator.http_download, needed=True, counted=True),
    Load("upload", "HTTP upload", GBIT, ("b",), Generator.http_upload, counted=True),
    Load("raw-upload", "raw TCP upload", GBIT, ("b",), Generator.raw_upload),
    Load("raw-download", "raw TCP download", GBIT, ("b",), Generator.raw_download),
    Load("unmatched", "raw TCP upload that no signature can match", GBIT, ("a",), Generator.raw_upload),
    Load(
        "keep-alive", "HTTP keep-alive requests", RATE, ("b'", "c"), Generator.keep_alive,
        needed=True, counted=True,
    ),
    Load("connections", "new connections", RATE, ("b",), Generator.connections, counted=True),
    Load("udp", "small UDP packets", RATE, ("b",), Generator.small_datagrams),
    Load("dns", "DNS queries", RATE, ("b",), Generator.dns_queries),
    Load(
        "tcp", "TCP request/response", RATE, ("b",), lambda by, seconds: by.most_exchanges("tcp", seconds),
        exchange="tcp",
    ),
    Load(
        "echo", "UDP echo", RATE, ("b",), lambda by, seconds: by.most_exchanges("udp", seconds),
        exchange="udp",
    ),
)  # fmt: skip


def at_share(load: Load, share: float) -> str:
    """Return how rows call the open loop at this share of a path's own maximum."""
    return f"{load.name} at {share:.0%} of its maximum"


def goals(selections: Mapping[str, str]) -> list[Goal]:
    """Return the goals. selections: names of the rule selections by key."""
    b, without_responses, everything = (selections.get(key, "") for key in ("b", "b'", "c"))

    def at_least(key: str, rules: str, bound: float, against: str) -> Goal:
        (load,) = (each for each in LOADS if each.key == key)
        return Goal(load.name, load.unit, bound, True, rules, against=against)

    return [
        at_least("download", without_responses, 0.9, NO_QUEUE),
        at_least("download", without_responses, 4, SURICATA),
        at_least("upload", b, 0.85, ACCEPT_ALL),
        at_least("upload", b, 3, SURICATA),
        at_least("keep-alive", without_responses, 1.2, ACCEPT_ALL),
        at_least("keep-alive", without_responses, 1.3, SURICATA),
        at_least("keep-alive", everything, 0.85, ACCEPT_NEEDED),
        at_least("keep-alive", everything, 1.2, SURICATA),
        at_least("connections", b, 0.9, ACCEPT_ALL),
        at_least("unmatched", selections.get("a", ""), 0.95, NO_QUEUE),
        *_latency_goals(b),
    ]


def _latency_goals(rules: str) -> Iterator[Goal]:
    for load in LOADS:
        for share in SHARES if load.exchange else ():
            for percentile in PERCENTILES[:2]:
                for against, bound in ((SURICATA, 1.0), (ACCEPT_ALL, 1.3)):
                    unit = f"µs {percentile} added"
                    yield Goal(at_share(load, share), unit, bound, False, rules, against=against)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured. paths, loads: names and keys, in any order; empty: all."""

    rounds: int
    seconds: int
    cores: Cores
    paths: Sequence[str] = ()
    loads: Sequence[str] = ()

    def chosen(self) -> list[Load]:
        """Return the loads that were asked for."""
        return [load for load in LOADS if not self.loads or load.key in self.loads]

    def stands(self) -> list[tuple[str, str]]:
        """Return each (path, key of its selection) that is set up once a round."""
        keys = [key for key in ("a", "b", "b'", "c") if any(key in load.rules for load in self.chosen())]
        wanted = [path for path in PATHS if not self.paths or path in self.paths]
        return [
            (path, key)
            for path in wanted
            for key in (keys if path in (*HOLDS_RULES, ACCEPT_NEEDED) else keys[:1])
            if self.of(path, key)
        ]

    def of(self, path: str, key: str) -> list[Load]:
        """Return the loads that a path is put under while it holds a selection."""
        return [
            load
            for load in self.chosen()
            if (path != ACCEPT_NEEDED or load.needed)
            and (key in load.rules or path in (NO_QUEUE, ACCEPT_ALL))
        ]


@dataclass(slots=True)
class _Bench:
    plan: Plan
    setting: Setting
    generator: Generator
    selections: Mapping[str, Selection]
    say: Say
    rows: list[Row] = field(default_factory=list)

    def round(self, number: int) -> None:
        stands = self.plan.stands()
        # Whoever comes later finds a warmer machine, or a busier one: each begins a round in its turn.
        first = number % len(stands)
        for path, key in stands[first:] + stands[:first]:
            selection, loads = self.selections[key], self.plan.of(path, key)
            rules = "" if path in (NO_QUEUE, ACCEPT_ALL) else selection.name
            why = paths.missing(path)
            try:
                if not why:
                    self._stand(path, selection, rules, loads, number)
            except FAULTS as fault:
                why = str(fault)
            if why:
                self.say(f"round {number + 1}, {path}: {why}")
                self.rows += [Row(path, load.name, rules, None, load.unit, number, why) for load in loads]

    def _stand(self, path: str, selection: Selection, rules: str, loads: Sequence[Load], number: int) -> None:
        self.setting.segment.forget_connections()
        with paths.stand(path, self.setting, selection) as standing:
            uninspected = Counter(standing.uninspected())
            for load in loads:
                measured = self._one(load, standing, number, f"round {number + 1}, {path} {rules}")
                after = Counter(standing.uninspected())
                passed = dict(after - uninspected)
                uninspected = after
                self.rows += [
                    Row(path, name, rules, value, unit, number, note, passed)
                    for name, unit, value, note in measured
                ]
            if standing.pids:
                self.rows.append(Row(path, MEMORY, rules, sum(map(memory_mib, standing.pids)), MIB, number))

    def _one(self, load: Load, standing: Standing, number: int, where: str) -> list["_Figure"]:
        seconds, found = self.plan.seconds, []
        try:
            before = Moment.now(self.setting.segment, standing.pids)
            value = load.measure(self.generator, seconds)
            cost = before.until(Moment.now(self.setting.segment, standing.pids))
            found = [(load.name, load.unit, value, ""), *_costs(load, cost, bool(standing.pids))]
            if load.exchange:
                found += self._latencies(load, value)
            if load.counted and number == 0 and standing.pids:
                found += self._events(load, standing)
            self.say(f"{where}: {load.name} {value:.4g} {load.unit}")
        except FAULTS as fault:
            self.say(f"{where}: {load.name}: {fault}")
            found.append((load.name, load.unit, None, str(fault)[:300]))
        return found

    def _latencies(self, load: Load, most: float) -> Iterator["_Figure"]:
        for share in SHARES:
            name = at_share(load, share)
            found = self.generator.latency(load.exchange, most * share, self.plan.seconds)
            for percentile, value in zip(
                PERCENTILES, (found.p50_us, found.p99_us, found.p999_us), strict=True
            ):
                yield name, f"µs {percentile}", value, ""
            yield name, "never answered", float(found.lost), ""
            yield name, "µs p99 that the generator was late", found.late_p99_us, ""

    def _events(self, load: Load, standing: Standing) -> Iterator["_Figure"]:
        before = self.setting.segment.traffic()
        with counted(standing.pids, self.setting.work / "perf.log") as events:
            load.measure(self.generator, 1)
        packets = max((self.setting.segment.traffic() - before).packets, 1)
        for unit, count in (
            ("system calls per packet", events.system_calls),
            ("instructions per packet", events.instructions),
        ):
            yield load.name, unit, None if count is None else count / packets, "" if count else events.why


_Figure = tuple[str, str, float | None, str]
"""load, unit, value, note"""


def _costs(load: Load, cost: Cost, inspected: bool) -> Iterator[_Figure]:
    gigabytes = max(cost.traffic.bytes / 1e9, 1e-9)
    if inspected:
        yield load.name, "s of inspector per GB", cost.inspector_cpu_s / gigabytes, ""
    yield load.name, "s of machine per GB", cost.machine_cpu_s / gigabytes, ""


def measure(corpora: Path, examples: Path, work: Path, plan: Plan, say: Say) -> tuple[list[Row], list[Goal]]:
    """Return the rows of all rounds and the goals they are held to; rows without a value for what is missing.

    corpora: holds rules/et-open.rules. examples: the engine's built examples. work: an empty folder. As root.
    """
    rules = corpora / "rules" / "et-open.rules"
    why = generators.missing() or ("" if rules.exists() else f"no rules at {rules}")
    if why:
        rows = [Row(path, load.name, "", None, load.unit, 0, why) for path in PATHS for load in plan.chosen()]
        return rows, goals({})
    selections = select(read_rules(rules))
    # Servers and inspectors give up root and still have to reach what lies below.
    work.chmod(0o755)
    with segment_of() as segment, serving(segment, plan.cores, examples, work) as generator:
        setting = Setting(segment, plan.cores, examples, work, RECORDS)
        bench = _Bench(plan, setting, generator, selections, say)
        for number in range(plan.rounds):
            bench.round(number)
    names = {key: selection.name for key, selection in selections.items()}
    return bench.rows + list(_added(bench.rows)), goals(names)


def _added(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield each latency less that of no queue in the same round."""
    alone = {
        (row.load, row.unit, row.round): row.value
        for row in rows
        if row.path == NO_QUEUE and row.value is not None
    }
    for row in rows:
        without = alone.get((row.load, row.unit, row.round))
        is_latency = row.unit in {f"µs {percentile}" for percentile in PERCENTILES}
        if is_latency and row.path != NO_QUEUE and row.value is not None and without is not None:
            yield Row(row.path, row.load, row.rules, row.value - without, f"{row.unit} added", row.round)
