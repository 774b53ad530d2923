"""Measure a change of the whole rule set under traffic: what is lost, and how much longer answers take.

`python -m bench.reload`: a real appliance holds every rule of the file; requests and answers run at a fixed
rate, with nothing else going on and, in turn, while it reads, compiles, tries and swaps all of them again.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from appliance.model.policy import Mode
from bench.inline.cores import divide
from bench.inline.generators import Generator, Latency, exchanging
from bench.inline.paths import Setting, sekisho
from bench.inline.programs import build_examples, end_tidily
from bench.inline.segment import segment_of

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
KINDS = ("tcp", "udp")
SLICE_S = 3
RELOAD_TIMEOUT_S = 300.0


def main() -> int:
    """Print a line a round and the medians."""
    asked = _arguments()
    end_tidily()
    ratios: dict[str, list[float]] = {kind: [] for kind in KINDS}
    lost = 0
    cores = divide()
    examples = asked.examples or build_examples()
    with tempfile.TemporaryDirectory(prefix="sekisho-reload-") as name, segment_of() as segment:
        work = Path(name)
        work.chmod(0o755)
        setting = Setting(segment, cores, examples, work, frozenset())
        rules, sids = asked.rules.read_text(), {guest.name: None for guest in segment.guests}
        with (
            exchanging(segment, cores, examples, work) as generator,
            sekisho(setting, rules, sids, Mode.AS_WRITTEN),
        ):
            for number in range(asked.rounds):
                for kind in KINDS:
                    still = generator.latency(kind, asked.rate, 2 * SLICE_S)
                    swapped, took_s = _while_reloading(generator, kind, asked.rate, work / "appliance")
                    worst = max(each.p99_us for each in swapped)
                    losses = sum(each.lost for each in swapped)
                    ratios[kind].append(worst / still.p99_us)
                    lost += losses
                    print(
                        f"{kind} round {number + 1}: p99 {still.p99_us:.0f} µs still (lost {still.lost}), "
                        f"at worst {worst:.0f} µs in {SLICE_S} s of the change, which took {took_s:.1f} s "
                        f"(lost {losses})",
                        flush=True,
                    )
    for kind in KINDS:
        print(f"{kind}: p99 during a change / still, median: {statistics.median(ratios[kind]):.2f}")
    print(f"lost during changes: {lost}")
    return 0


def _while_reloading(
    generator: Generator, kind: str, rate: float, directory: Path
) -> tuple[list[Latency], float]:
    """Return what was measured, slice by slice, from a change's beginning past its end, and its seconds."""
    current = directory / "state" / "live" / "current"
    before, began = current.readlink(), time.time()
    # Guests that are written down anew are a reason to apply the whole policy anew.
    (directory / "guests.yaml").touch()
    slices = _slices(lambda: generator.latency(kind, rate, SLICE_S), lambda: current.readlink() != before)
    return slices, current.lstat().st_mtime - began


def _slices(measure: Callable[[], Latency], is_done: Callable[[], bool]) -> list[Latency]:
    slices: list[Latency] = []
    deadline = time.monotonic() + RELOAD_TIMEOUT_S
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the rule set was not live again within {RELOAD_TIMEOUT_S:.0f} s")
        slices.append(measure())
    # The former one is freed after the swap.
    slices.append(measure())
    return slices


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.reload", description=__doc__)
    parser.add_argument("--rules", type=Path, default=CORPORA / "rules" / "et-open.rules")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second")
    parser.add_argument(
        "--examples", type=Path, help="folder of the engine's built examples; else they are built"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
