"""What the sizing bench measures with: connections that stay open, and goals that are figures."""

import subprocess
import sys
from dataclasses import replace

from bench.inline.programs import ROOT
from bench.inline.selections import Selection
from bench.loads import sizing
from bench.rows import Row
from tests.manager_fixture import free_ports

SELECTIONS = {key: Selection(key, f"rules {key}", (), (), False) for key in sizing.SELECTIONS}


def test_a_goal_is_met_where_the_figure_is_below_its_bound_and_missed_where_it_is_above() -> None:
    goal = next(each for each in sizing.goals(SELECTIONS) if each.load == sizing.RELOAD)
    bound = Row(sizing.BOUND, sizing.RELOAD, "rules c", 700.0, sizing.ALL_MIB, 0)
    for mib, judged in ((650.0, "met"), (710.0, "missed")):
        measured = Row(sizing.PATH, sizing.RELOAD, "rules c", mib, sizing.ALL_MIB, 0)
        rows = [replace(each, round=number) for each in (bound, measured) for number in range(3)]
        assert goal.judge(goal.found(rows)) == judged


def test_connections_are_answered_and_stay_until_told() -> None:
    (port,) = free_ports(1)
    program = [sys.executable, "-m", "bench.inline.connections"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([*program, "serve", str(port)], **pipes) as server:  # type: ignore[call-overload]
        try:
            assert server.stdout.readline() == "ready\n"
            command = [*program, "open", str(port), "30", "127.0.0.1"]
            with subprocess.Popen(command, **pipes) as client:  # type: ignore[call-overload]
                assert client.stdout.readline() == "open 30\n"
                assert client.poll() is None
                client.stdin.close()
                assert client.wait(30) == 0
        finally:
            server.kill()
