"""`python -m tests.soak [--seconds 3600] [--seed N]`: exits 0 if everything held, 1 naming what did not."""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.manager_fixture import RunningManager, running_manager
from tests.netns.control_fixture import RULES, ordinary_policy, wait_for
from tests.soak.disturbing import Disturber, is_well
from tests.soak.side import Side, side

RELOAD_EVERY_S = (2.0, 5.0)
LOOK_EVERY_S = 1.0
SAY_EVERY_S = 30.0
FILLERS = 500
"""Signatures beside the one that matters, so that a reload is one."""


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    # Ended by somebody, it takes its namespaces and programs along; in the background Ctrl-C was ignored.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda ended_by, _: sys.exit(128 + ended_by))
    print(f"soak: {options.seconds:.0f} s, seed {options.seed}", flush=True)
    randomness = random.Random(options.seed)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sekisho-soak-")))
        directory.chmod(0o755)
        manager = stack.enter_context(running_manager(directory))
        prefix = f"soak{os.getpid()}"
        sides = [
            stack.enter_context(side(failure, directory / failure, prefix, manager))
            for failure in ("open", "closed")
        ]
        broken = _soak(sides, manager, randomness, options.seconds)
        for load in (load for each in sides for load in (*each.loads, each.attacks)):
            load.end()  # before its namespace goes, or it would make another of the name
        for each in broken:
            print(f"soak: BROKEN: {each}", flush=True)
            if os.environ.get("SOAK_LOGS"):
                print(*(it.appliance.log() for it in sides), sep="\n---\n")
    print("soak: everything held" if not broken else f"soak: failed; seed {options.seed}", flush=True)
    return 1 if broken else 0


def _soak(sides: list[Side], manager: RunningManager, randomness: random.Random, seconds: float) -> list[str]:
    ordinary_policy(sides[0].appliance)
    for each in sides:
        each.appliance.assign("prevent")
    for load in (load for each in sides for load in (*each.loads, each.attacks)):
        load.start()
    disturbers = [Disturber(each, random.Random(randomness.random())) for each in sides]
    for disturber in disturbers:
        disturber.start()
    end_s = time.monotonic() + seconds
    reload_s = say_s = 0.0
    reloads = 0
    broken: list[str] = []
    while not broken and (now_s := time.monotonic()) < end_s:
        if now_s >= reload_s:
            reloads += 1
            sides[0].appliance.push(_rules(reloads))
            reload_s = now_s + randomness.uniform(*RELOAD_EVERY_S)
        for each in sides:
            each.sample_memory()
            broken += each.violations()
        broken += [f"{each.name}: {each.error}" for each in disturbers if each.error is not None]
        if now_s >= say_s:
            _say(sides, reloads, end_s - now_s)
            say_s = now_s + SAY_EVERY_S
        time.sleep(LOOK_EVERY_S)
    _say(sides, reloads, 0)
    for disturber in disturbers:
        disturber.stopping.set()
    for disturber in disturbers:
        disturber.join()
    broken += [f"{each.name}: {each.error}" for each in disturbers if each.error is not None]
    return broken or _last_look(sides, manager)


def _rules(number: int) -> str:
    fillers = (
        f'alert http any any -> any any (msg:"{n}"; http.uri; content:"filler-{n}-{number}"; sid:{n + 10};)'
        for n in range(FILLERS)
    )
    return "\n".join([RULES.strip(), *fillers, ""])


def _last_look(sides: list[Side], manager: RunningManager) -> list[str]:
    """Return what does not hold once everything has come to rest."""
    for each in sides:
        wait_for(f"{each.failure} to be well", lambda it=each: is_well(it.appliance))
        each.appliance.in_step()
    before = {load: load.done for each in sides for load in each.loads}
    for load, done in before.items():
        wait_for(f"{load.state()}: to go on", lambda it=load, n=done: it.done > n or it.error)
    for load in (load for each in sides for load in (*each.loads, each.attacks)):
        load.end()
    broken = [text for each in sides for text in (*each.violations(), *each.growth(), *each.needless())]
    for each in sides:
        broken += _events_missing(each, manager)
    return broken


def _events_missing(each: Side, manager: RunningManager) -> list[str]:
    """Return what is wrong with the events of one side.

    Every attack made while nothing was done to the appliance was stopped and has its alert. A killed
    inspector may take the last 50 ms of its events along; nothing that was written is lost.
    """
    calm = {it.name: it for it in each.attacks.made if it.sent and each.was_calm(it.began_s, it.ended_s)}
    through = sorted(calm.keys() & each.delivered)
    wanted = calm.keys() - through
    try:
        wait_for("all events to be delivered", lambda: wanted <= _alerted(manager, each.failure))
    except AssertionError:
        missing = sorted(wanted - _alerted(manager, each.failure))
        first = [calm[name] for name in missing[:5]]
        return [f"{each.failure}: {len(missing)} of {len(wanted)} alerts are missing: {first}"]
    status = each.appliance.status()
    problems = []
    if through:
        problems.append(f"{each.failure}: attacks passed while all was well: {through[:5]}")
    if lost := status["spool"]["lost"]:
        problems.append(f"{each.failure}: {lost} events were lost on their way")
    print(f"soak: {each.failure}: {len(wanted)} attacks in quiet moments, each stopped and alerted")
    return problems


def _alerted(manager: RunningManager, side_name: str) -> set[str]:
    """Return the names of the attacks that the manager has alerts of."""
    found: set[str] = set()
    query: dict[str, Any] = {"sid": 1, "limit": 1000}
    while True:
        page = manager.operator.get("/events", params=query).raise_for_status().json()
        urls = (event["eve"].get("http", {}).get("url", "") for event in page["events"])
        found |= {url.partition("?")[2] for url in urls if f"?{side_name}-" in url}
        if not page.get("next"):
            return found
        query["cursor"] = page["next"]


def _say(sides: list[Side], reloads: int, left_s: float) -> None:
    for each in sides:
        memory = {name: f"{samples[-1] // 1024} MiB" for name, samples in each.resident_kib.items()}
        done = Counter({load.name: 0 for load in each.loads})
        for load in each.loads:
            done[load.name] += load.done
        print(
            f"soak: {left_s:5.0f} s left, {each.failure}: {reloads} reloads, "
            f"{len(each.disturbances)} disturbances, {len(each.attacks.made)} attacks, "
            f"{len(each.delivered)} of them delivered, {dict(done)}, {memory}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
