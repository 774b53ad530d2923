"""The watchdog's judgement, on a real process and a real socket; the kernel's rules are tests/netns's."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from appliance import watchdog
from appliance.control.watchdog_process import heart_sockets
from appliance.model.faults import SystemFault
from appliance.watchdog import MAX_HEARD, SILENT_MAX_S, STARTING_MAX_S, Inspector, Watchdog

LATE_S = SILENT_MAX_S + 0.01


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


class Switch:
    """Takes the place of the kernel's; `refusing` as one without our rules. on: as it stands."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self.child, self.refusing, self.on = child, False, False
        self.put: list[tuple[bool, bool]] = []

    def __call__(self, _netns: str | None, _family: str, *, on: bool) -> None:
        """Remember it, and whether the inspector ran yet."""
        self.put.append((on, self.child.poll() is None))
        if self.refusing:
            raise SystemFault("nft: no such table")
        self.on = on

    def decides(self, _netns: str | None, _family: str) -> bool | None:
        return None if self.refusing else self.on


@pytest.fixture
def switch(child: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch) -> Switch:
    made = Switch(child)
    monkeypatch.setattr(watchdog, "switch_to_failure_policy", made)
    monkeypatch.setattr(watchdog, "failure_policy_decides", made.decides)
    monkeypatch.setattr(watchdog, "PAUSE_AFTER_FAULT_S", 0)
    return made


@pytest.fixture
def watching(child: "subprocess.Popen[bytes]") -> Watchdog:
    """Watches the child, two workers of which were heard twice at second 0."""
    heard, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    made = Watchdog(heard, "inet")
    made.watch(child.pid)
    for _ in range(2):
        for worker in range(2):
            hear(made, worker, 0.0)
    return made


def hear(dog: Watchdog, worker: int, now_s: float, count: int = 2) -> None:
    assert dog.inspector is not None
    dog.inspector.hear(worker, count, now_s)


def test_one_silent_worker_is_enough_and_the_switch_comes_before_the_kill(
    watching: Watchdog, switch: Switch, child: "subprocess.Popen[bytes]"
) -> None:
    hear(watching, 0, LATE_S)
    watching.judge(SILENT_MAX_S - 0.01)
    assert not switch.put
    watching.judge(LATE_S)
    assert switch.put == [(True, True)]
    assert child.wait(10) == -signal.SIGKILL
    watching.judge(LATE_S)
    assert switch.put == [(True, True)], "once is enough"


def test_worker_that_has_not_begun_is_given_more_time(watching: Watchdog, switch: Switch) -> None:
    assert watching.inspector is not None
    watching.inspector.workers.clear()
    hear(watching, 0, 0.0)
    watching.judge(LATE_S)
    assert not switch.put
    watching.judge(STARTING_MAX_S + 0.01)
    assert switch.put == [(True, True)]


def test_inspector_is_killed_though_the_kernel_refuses_the_switch(
    watching: Watchdog, switch: Switch, child: "subprocess.Popen[bytes]"
) -> None:
    switch.refusing = True
    watching.judge(LATE_S)
    assert child.wait(10) == -signal.SIGKILL
    switch.refusing = False
    watching.put_back()
    assert switch.on, "once it can"


def test_switch_that_went_with_its_table_is_put_back_as_long_as_it_is_meant(
    watching: Watchdog, switch: Switch
) -> None:
    watching.put_back()
    assert not switch.put
    watching.judge(LATE_S)
    switch.on = False
    watching.put_back()
    assert switch.on
    watching.put_back()
    assert len(switch.put) == 2


def test_time_in_which_we_did_not_run_is_not_held_against_it(watching: Watchdog, switch: Switch) -> None:
    assert watching.inspector is not None
    watching.inspector.excuse(60.0, 60.0)
    watching.judge(60.0)
    assert not switch.put


def test_who_was_heard_after_it_is_given_up_no_later_for_it(watching: Watchdog, switch: Switch) -> None:
    assert watching.inspector is not None
    for worker in watching.inspector.workers:
        hear(watching, worker, 60.0)
    watching.inspector.excuse(60.0, 60.0)
    watching.judge(60.0 + LATE_S)
    assert switch.put


def test_process_that_ended_is_answered_by_the_switch_and_one_that_said_farewell_is_not(
    watching: Watchdog, switch: Switch, child: "subprocess.Popen[bytes]"
) -> None:
    hear(watching, 0, 0.1, count=0)
    hear(watching, 1, 0.1, count=0)
    watching.judge(LATE_S)
    child.kill()
    child.wait(10)
    watching.judge(LATE_S)
    assert not switch.put
    assert watching.inspector is None


def test_it_is_taken_back_only_when_all_workers_have_begun(watching: Watchdog, switch: Switch) -> None:
    watching.failing = True
    assert watching.inspector is not None
    watching.inspector.workers.clear()
    hear(watching, 0, 0.1)
    hear(watching, 0, 0.2)
    hear(watching, 1, 0.2)
    watching.judge(0.2)
    assert not switch.put, "the announcement is not life"
    hear(watching, 1, 0.3)
    watching.judge(0.3)
    assert switch.put == [(False, True)]
    assert not watching.failing


def test_signs_of_life_carry_the_pid_that_the_kernel_saw() -> None:
    heard, spoken = heart_sockets()
    heard.setblocking(False)
    with heard, spoken:
        for message in (bytes((1, 2)), b"x", b"too long"):
            spoken.send(message)
        dog = Watchdog(heard, "inet")
        dog.listen(0.0)
    assert isinstance(dog.inspector, Inspector)
    assert dog.inspector.pid == os.getpid()
    assert list(dog.inspector.workers) == [1]


def test_what_is_heard_in_a_round_is_bounded() -> None:
    class Talkative:
        def recvmsg(self, *_sizes: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
            return bytes((0, 1)), [], 0, None

    assert len(watchdog._heard(Talkative())) <= MAX_HEARD  # type: ignore[arg-type]
