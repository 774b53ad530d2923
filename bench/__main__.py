"""Measure Sekisho beside its peers: print the tables, leave rows and plots in bench/results/."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import machine, plots, render, rows
from bench.goals import Goal
from bench.inline import cores
from bench.inline.paths import PATHS
from bench.inline.programs import build_examples, end_tidily
from bench.loads import guests, inline, replay, sizing
from bench.rows import Row

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
CORPORA = ROOT.parent / "shared" / "corpora"
KINDS = ("inline", "guests", "sizing", "replay")
MIN_ROUNDS = 10


def main() -> int:
    """Run what was asked for; 0 even where a goal is missed: the table says so."""
    asked = _arguments()
    end_tidily()
    measured: list[Row] = []
    goals: list[Goal] = []
    divided = cores.divide(asked.pin)
    about = machine.describe() | {"processors": str(divided)}
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as work:
        for kind in asked.only:
            folder = Path(work) / kind
            folder.mkdir()
            Path(work).chmod(0o755)
            new, held_to = _measure(kind, asked, folder, divided)
            measured += new
            goals += held_to
    rows.write(measured, asked.results / "latest.json")
    drawn = plots.draw(measured, asked.results)
    table = render.table(measured, goals, about)
    (asked.results / "latest.md").write_text(table + "".join(f"\n![]({plot.name})\n" for plot in drawn))
    print(table, end="")
    return 0


def _measure(
    kind: str, asked: argparse.Namespace, work: Path, divided: cores.Cores
) -> tuple[list[Row], list[Goal]]:
    rounds = asked.rounds
    if kind == "replay":
        program = [sys.executable, "-m", "appliance.cli"]
        new = replay.measure(asked.corpora, program, work, rounds or MIN_ROUNDS, asked.times, _say)
        return new, replay.GOALS
    if kind == "sizing":
        return sizing.measure(asked.corpora, work, rounds or 3, divided, _say)
    rounds, examples = rounds or MIN_ROUNDS, build_examples()
    if kind == "guests":
        return guests.measure(
            asked.corpora, examples, work, rounds, asked.seconds, divided, _say
        ), guests.GOALS
    plan = inline.Plan(rounds, asked.seconds, divided, asked.paths, asked.loads)
    return inline.measure(asked.corpora, examples, work, plan, _say)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    corpora = Path(os.environ.get("CORPORA", CORPORA))
    parser.add_argument("--corpora", type=Path, default=corpora, help="folder with rules/ and benign/")
    parser.add_argument("--only", type=_listed(KINDS), default=KINDS, help=f"of {', '.join(KINDS)}")
    parser.add_argument("--rounds", type=int, help="10, of sizing 3")
    parser.add_argument("--results", type=Path, default=RESULTS)
    of_inline = parser.add_argument_group("inline, guests and sizing (as root)")
    of_inline.add_argument("--paths", type=_listed(PATHS), default=(), help=f"some of: {'; '.join(PATHS)}")
    loads = tuple(load.key for load in inline.LOADS)
    of_inline.add_argument("--loads", type=_listed(loads), default=(), help=f"some of {', '.join(loads)}")
    of_inline.add_argument("--seconds", type=int, default=1, help="how long each load lasts; 1")
    of_inline.add_argument(
        "--pin", choices=("auto", "apart", "shared"), default="auto",
        help="generator and inspector each on half of the processors, or both on all of them",
    )  # fmt: skip
    of_replay = parser.add_argument_group("replay")
    of_replay.add_argument("--times", type=int, default=10, help="how often the merged captures are repeated")
    parser.add_argument("--quick", action="store_true", help="one round: a smoke test")
    asked = parser.parse_args()
    if os.geteuid() != 0 and set(asked.only) != {"replay"}:
        parser.error("network namespaces need root; without it there is --only replay")
    if asked.quick:
        asked.rounds, asked.seconds, asked.times = 1, 1, 1
    return asked


def _listed(known: tuple[str, ...]) -> "type[tuple[str, ...]]":
    """Return a reader of lists; paths' names hold commas, so `;` separates as well."""

    def read(text: str) -> tuple[str, ...]:
        separator = ";" if ";" in text or text in known else ","
        chosen = tuple(word.strip() for word in text.split(separator))
        for word in chosen:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is none of: {'; '.join(known)}")
        return chosen

    return read  # type: ignore[return-value]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
