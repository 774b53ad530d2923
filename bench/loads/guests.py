"""The same traffic among more and more guests, each with a different selection of signatures."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from appliance.model.faults import SystemFault
from bench.goals import Goal
from bench.inline import generators
from bench.inline.cores import Cores
from bench.inline.generators import Generator, exchanging
from bench.inline.paths import Setting, sekisho
from bench.inline.programs import ProgramFailed
from bench.inline.segment import Segment, segment_of
from bench.inline.selections import Drawn, draw, read_rules
from bench.processes import cpu_s, memory_mib
from bench.rows import Row

Say = Callable[[str], None]
FEW, MANY = 2, 200
RATE = 2000.0
"""Requests a second in all, far from what anybody could not bear."""
LOAD = "requests to ever more guests"
CPU, MIB = "ms of processor time per 1,000 requests", "MiB at most"
CONTROL_CPU = "ms of them control's, which counts for each guest"
FAULTS = (ProgramFailed, SystemFault, RuntimeError, OSError)


def path_of(size: int) -> str:
    """Return how rows call Sekisho among so many guests."""
    return f"sekisho, {size} guests"


GOALS = [
    Goal(LOAD, CPU, 1.15, at_least=False, path=path_of(MANY), against=path_of(FEW)),
    Goal(LOAD, MIB, 1.3, at_least=False, path=path_of(MANY), against=path_of(FEW)),
]


def measure(
    corpora: Path, examples: Path, work: Path, rounds: int, seconds: int, cores: Cores, say: Say
) -> list[Row]:
    """Return the rows of all rounds, few and many guests taking turns.

    corpora: holds rules/et-open.rules. examples: the engine's built examples. work: an empty folder. As root.
    """
    rules = corpora / "rules" / "et-open.rules"
    why = generators.missing() or ("" if rules.exists() else f"no rules at {rules}")
    if why:
        return [
            Row(path_of(size), LOAD, "", None, unit, 0, why) for size in (FEW, MANY) for unit in (CPU, MIB)
        ]
    drawn = read_rules(rules)
    work.chmod(0o755)
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        both = []
        for size in (FEW, MANY):
            segment = stack.enter_context(segment_of(size))
            both.append(stack.enter_context(exchanging(segment, cores, examples, work)))
        for number in range(rounds):
            for generator in both if number % 2 == 0 else both[::-1]:
                segment = generator.segment
                setting = Setting(segment, cores, examples, work, frozenset())
                try:
                    rows += _one(generator, setting, drawn, seconds, number)
                except FAULTS as fault:
                    rows += [
                        Row(path_of(segment.size), LOAD, "", None, unit, number, str(fault)[:300])
                        for unit in (CPU, MIB)
                    ]
                figures = ", ".join(f"{row.value} {row.unit}" for row in rows[-2:])
                say(f"round {number + 1}, {segment.size} guests: {figures}")
    return rows


def _one(generator: Generator, setting: Setting, rules: list[Drawn], seconds: int, number: int) -> list[Row]:
    segment = setting.segment
    text = "\n".join(rule.text for rule in rules)
    with sekisho(setting, text, _selections(segment, rules)) as standing:
        before = [cpu_s(pid) for pid in standing.pids]
        generator.latency("tcp", RATE, seconds)
        control_s, inspector_s = (cpu_s(pid) - was for pid, was in zip(standing.pids, before, strict=True))
        thousands = RATE * seconds / 1e3
        name = path_of(segment.size)
        return [
            Row(name, LOAD, "", control_s * 1e3 / thousands, CONTROL_CPU, number),
            Row(name, LOAD, "", (control_s + inspector_s) * 1e3 / thousands, CPU, number),
            Row(name, LOAD, "", sum(map(memory_mib, standing.pids)), MIB, number),
        ]


def _selections(segment: Segment, rules: list[Drawn]) -> dict[str, tuple[int, ...] | None]:
    return {
        server.name: tuple(rule.sid for rule in draw(rules, seed=server.number)) for server in segment.servers
    }
