"""A hung inspector: decided by the failure policy without anybody's help, ended, replaced, taken back."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from appliance import lab, steering
from appliance.lab.wire import Outcome
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import (
    Appliance,
    appliance_in,
    failure_policy,
    ordinary_policy,
    runs,
    wait_for,
)
from tests.netns.load import KeepAlive, under

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)


@pytest.fixture(scope="module")
def appliance(
    failure: str,
    manager: RunningManager,
    running_lab: lab.LabSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Appliance]:
    with (
        failure_policy(running_lab, inspector_down=failure),
        appliance_in(tmp_path_factory.mktemp(failure), running_lab, manager) as made,
    ):
        made.start()
        made.in_step()
        ordinary_policy(made)
        yield made


def counted(appliance: Appliance, where: str) -> int:
    """Return the bytes of web that the kernel counted while the inspector was down."""
    counters: Mapping[str, steering.Traffic] = getattr(appliance.counters("web"), where)
    return counters["inspector-down"].bytes


PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207


@contextlib.contextmanager
def held(thread: int) -> Iterator[None]:
    """Keep one thread, and no other of its process, from running; its process may be killed meanwhile."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        assert ptrace(request, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    yield
    with contextlib.suppress(ChildProcessError):
        os.waitpid(thread, 0x40000000)  # __WALL: to be rid of the tracee's zombie


def threads(pid: int, name: str) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(task.name) for task in tasks if (task / "comm").read_text().strip() == name]


def test_stopped_inspector_is_decided_and_replaced_while_control_is_stopped_too(
    appliance: Appliance, failure: str
) -> None:
    assert appliance.send("/fine") is Outcome.ANSWERED
    assert appliance.process is not None
    stopped = appliance.inspector()
    os.kill(appliance.process.pid, signal.SIGSTOP)
    try:
        os.kill(stopped, signal.SIGSTOP)
        where = "uninspected" if failure == "open" else "dropped"
        before = counted(appliance, where)
        wanted = Outcome.ANSWERED if failure == "open" else Outcome.TIMEOUT
        wait_for("the failure policy", lambda: appliance.send("/fine") is wanted)
        wait_for("the hung inspector's end", lambda: not runs(stopped))
        assert appliance.send("/fine") is wanted
        assert counted(appliance, where) > before
    finally:
        os.kill(appliance.process.pid, signal.SIGCONT)
    wait_for("another inspector", lambda: appliance.send("/fine") is Outcome.ANSWERED)
    wait_for("protection", lambda: appliance.send("/evil") is not Outcome.ANSWERED)
    wait_for("the reports", lambda: appliance.noted("failure-policy") and restored(appliance))
    print("silent for", [each["sekisho"]["silent_ms"] for each in appliance.noted("failure-policy")], "ms")


def test_one_stuck_worker_is_noticed_while_all_else_goes_on(appliance: Appliance) -> None:
    pid = appliance.inspector()
    before = len(appliance.noted("failure-policy"))
    with held(threads(pid, "queue-1")[0]):
        wait_for("the inspector's end", lambda: not runs(pid))
    (said,) = wait_for("the report", lambda: appliance.noted("failure-policy")[before:])
    assert said["sekisho"]["worker"] == 1
    wait_for("protection", lambda: appliance.send("/evil") is not Outcome.ANSWERED)
    wait_for("an inspector that decides", lambda: restored(appliance))


def test_an_inspector_that_hangs_again_and_again_breaks_no_connection(appliance: Appliance) -> None:
    with under(KeepAlive(appliance.settings), KeepAlive(appliance.settings)):
        for _ in range(2):
            pid = appliance.inspector()
            os.kill(pid, signal.SIGSTOP)
            wait_for("another inspector", lambda pid=pid: appliance.inspector() != pid and appliance.is_up())
    # It is up before the watchdog has heard all its workers and hands the decision back.
    wait_for("protection", lambda: appliance.send("/evil") is not Outcome.ANSWERED)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_watchdog_that_is_gone_blocks_nothing_and_is_replaced(
    appliance: Appliance, number: signal.Signals
) -> None:
    gone, before = appliance.watchdog(), len(appliance.noted("watchdog-down"))
    with under(KeepAlive(appliance.settings)):
        os.kill(gone, number)
        assert appliance.send("/fine") is Outcome.ANSWERED
        assert appliance.send("/evil") is not Outcome.ANSWERED
        wait_for("another watchdog", lambda: appliance.watchdog() != gone)
    wait_for("the report", lambda: len(appliance.noted("watchdog-down")) > before)
    assert not runs(gone)


def test_an_inspector_that_hung_without_a_watchdog_is_found_by_the_next(
    appliance: Appliance,
) -> None:
    hung, gone = appliance.inspector(), appliance.watchdog()
    os.kill(gone, signal.SIGSTOP)
    os.kill(hung, signal.SIGSTOP)
    os.kill(gone, signal.SIGKILL)
    wait_for("another inspector", lambda: appliance.inspector() != hung and appliance.is_up())
    wait_for("protection", lambda: appliance.send("/evil") is not Outcome.ANSWERED)
    assert appliance.send("/fine") is Outcome.ANSWERED


def test_an_inspector_that_is_told_to_stop_raises_no_alarm(appliance: Appliance) -> None:
    before = len(appliance.noted("failure-policy"))
    appliance.end()
    assert len(appliance.noted("failure-policy")) == before
    appliance.start()
    appliance.in_step()
    assert appliance.send("/evil") is not Outcome.ANSWERED


def restored(appliance: Appliance) -> bool:
    """Whether the inspector decides again, by the latest report."""
    return len(appliance.noted("inspection-restored")) == len(appliance.noted("failure-policy"))
