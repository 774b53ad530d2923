"""Packets pass unseen while their inspector lives on: the connection outlives it, inspected again."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance import lab, steering
from tests.netns.kit import (
    BACKEND,
    BUFFER_BYTES,
    FIRST_QUEUE,
    QUEUE_LENGTH,
    SO_SNDBUFFORCE,
    Bench,
    stands_still,
)
from tests.netns.live_kit import EVIL, Live, Web, ask, client_of, is_stopped, live, serving
from tests.netns.topology import PATIENCE_S, eventually, kernel_counters_of, read_exactly, socket_in

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

PORT = 6200
ECHO_PORT = 6300
FLOOD_PORT = 6400
LOOKED_AT = f"""\
alert http any any -> $HOME_NET any (flow:established,to_server; http.uri; content:"/evil"; sid:1;)
alert http $HOME_NET any -> any any (flow:to_client; http.stat_code; content:"500"; sid:2;)
alert tcp any any -> $HOME_NET {ECHO_PORT} (flow:established,to_server; content:"exploit"; sid:3;)
alert tcp $HOME_NET {ECHO_PORT} -> any any (flow:established,to_client; content:"secret"; sid:4;)
alert udp any any -> $HOME_NET {FLOOD_PORT} (content:"why datagrams are queued"; sid:5;)
"""
MIB = 1 << 20
PENDING_BOUND_MIB = 1
"""So much is held behind a hole, and then nothing more is let through."""


@pytest.fixture
def closed(bench: Bench) -> None:
    """Let nothing pass that the inspector does not see."""
    (segment,) = bench.inventory.segments
    failure = replace(segment.failure, inspector_down="closed")
    bench.inventory = replace(bench.inventory, segments=(replace(segment, failure=failure),))


@pytest.fixture
def engine(bench: Bench, tmp_path: Path) -> Iterator[Live]:
    with live(bench, tmp_path / "live") as running:
        running.push(LOOKED_AT)
        yield running


# What makes packets pass unseen.


@contextlib.contextmanager
def queue_runs_over(engine: Live, bench: Bench) -> Iterator[None]:
    """Hold the inspector, and give the kernel more than it keeps for it."""
    pid = engine.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: stands_still(pid))
        with socket_in(bench.guest(lab.CLIENT), socket.SOCK_DGRAM) as flood:
            # Between ports of a bridge what waits counts as the sender's still.
            flood.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
            flood.connect((lab.WEB.ipv4, FLOOD_PORT))
            for _ in range(QUEUE_LENGTH + 1):
                with contextlib.suppress(ConnectionRefusedError):
                    flood.send(b"flood")
        eventually(lambda: kernel_counters_of(bench.netns, FIRST_QUEUE)["waiting"] == QUEUE_LENGTH)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: kernel_counters_of(bench.netns, FIRST_QUEUE)["waiting"] == 0)


@contextlib.contextmanager
def failure_policy_decides(engine: Live, bench: Bench) -> Iterator[None]:
    """Switch as the watchdog does; and back, as when it ended, while the inspector lives."""
    family = steering.choose_backend(bench.netns, BACKEND).family
    steering.switch_to_failure_policy(bench.netns, family, on=True)
    try:
        yield
    finally:
        steering.switch_to_failure_policy(bench.netns, family, on=False)


@contextlib.contextmanager
def operator_bypasses(engine: Live, bench: Bench) -> Iterator[None]:
    steering.bypass(None, 600, bench.netns)
    try:
        yield
    finally:
        steering.bypass(None, 0, bench.netns)


Unseen = Callable[[Live, Bench], contextlib.AbstractContextManager[None]]
WAYS = [
    (queue_runs_over, "inspector-down"),
    (failure_policy_decides, "inspector-down"),
    (operator_bypasses, "bypass"),
]


@pytest.fixture(params=WAYS, ids=[way.__name__ for way, _ in WAYS])
def unseen(request: pytest.FixtureRequest) -> tuple[Unseen, str]:
    """How packets pass unseen, and what that is counted as."""
    way: tuple[Unseen, str] = request.param
    return way


def echo(connection: socket.socket) -> None:
    while piece := connection.recv(1 << 18):
        connection.sendall(piece)


def converse(connection: socket.socket, mib: int) -> None:
    """Send so much and have it sent back."""
    sent = os.urandom(MIB) * mib
    sender = threading.Thread(target=connection.sendall, args=(sent,))
    sender.start()
    assert read_exactly(connection, len(sent)) == sent
    sender.join()


def test_a_stream_goes_on_behind_what_passed_unseen_and_is_inspected_again(
    engine: Live, bench: Bench, unseen: tuple[Unseen, str]
) -> None:
    pass_unseen, reason = unseen
    with serving(bench, ECHO_PORT, echo), client_of(bench, ECHO_PORT) as connection:
        converse(connection, 1)
        with pass_unseen(engine, bench):
            converse(connection, 2)
        before = engine.queued()
        converse(connection, 4 * PENDING_BOUND_MIB)
        assert engine.queued() > before
        assert bench.counters().uninspected[reason].bytes > 4 * MIB
        assert is_stopped(connection, b"exploit")
    engine.await_alert(3)


def test_requests_are_answered_behind_those_that_passed_unseen_and_inspected_again(
    engine: Live, bench: Bench, unseen: tuple[Unseen, str]
) -> None:
    pass_unseen, _ = unseen
    web = Web()
    with serving(bench, PORT, web), client_of(bench, PORT) as connection:
        ask(connection)
        for _ in range(2):
            with pass_unseen(engine, bench):
                ask(connection)
                ask(connection, upload(MIB))
            ask(connection)
            ask(connection, upload(2 * PENDING_BOUND_MIB * MIB))
        assert is_stopped(connection)
    engine.await_alert(1)
    assert EVIL.split(b"\r\n")[0] not in web.lines


def test_where_nothing_passes_unseen_a_stream_has_no_hole_and_no_attack_fits_into_one(
    closed: None, engine: Live, bench: Bench
) -> None:
    with serving(bench, ECHO_PORT, echo), client_of(bench, ECHO_PORT) as connection:
        converse(connection, 1)
        with failure_policy_decides(engine, bench):
            connection.sendall(b"expl")
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(4)
        connection.settimeout(PATIENCE_S)
        assert is_stopped(connection, b"oit")
    engine.await_alert(3)
    assert bench.counters().uninspected["inspector-down"].bytes == 0


def upload(length: int) -> bytes:
    return b"POST /upload HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % length + bytes(length)
