"""`python -m bench`: measures, prints the table, leaves bench/results/."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import machine, render, rows
from bench.loads import replay

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
CORPORA = ROOT.parent / "shared" / "corpora"


def main() -> int:
    """Run every load; 0 even where a goal is missed: the table says so."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    corpora = Path(os.environ.get("CORPORA", CORPORA))
    parser.add_argument("--corpora", type=Path, default=corpora, help="folder with rules/ and benign/")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=10, help="how often the merged captures are repeated")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    about = machine.describe()
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as work:
        program = ROOT / ".venv" / "bin" / "sekisho"
        measured = replay.measure(asked.corpora, program, Path(work), asked.rounds, asked.times, _say)
    rows.write(measured, asked.results / "latest.json")
    table = render.table(measured, replay.GOALS, about)
    (asked.results / "latest.md").write_text(table)
    print(table, end="")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
