"""One guest sends more than can be inspected: it is not inspected for a while, and its neighbours are."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.lab.wire import Outcome, exchange
from appliance.netns import command_in
from bench.inline.segment import Segment, segment_of
from tests.netns.kit import spooled
from tests.netns.live_kit import Live, live
from tests.netns.segment_bench import SegmentBench
from tests.netns.topology import PATIENCE_S, eventually

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

pytestmark = pytest.mark.alone
ATTACKS = 10
PORT = 8080
FLOOD_PORT = 6500
EVIL = 'alert http any any -> $HOME_NET any (flow:established,to_server; http.uri; content:"/evil"; sid:1;)\n'
COSTLY = "".join(
    f'alert udp any any -> $HOME_NET {FLOOD_PORT} (content:"flood"; pcre:"/o[^y]{{600}}.*z{n}/"; sid:{n};)\n'
    for n in range(100, 140)
)
FLOOD = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.connect((sys.argv[1], int(sys.argv[2])))
    data = b"flood" * 250
    print("on", flush=True)
    while True:
        try:
            out.send(data)
        except OSError:
            pass
"""
SERVER = ("-m", "http.server", str(PORT))


@contextlib.contextmanager
def program(netns: str, *arguments: str, said: str | None = None) -> Iterator[None]:
    """Run Python in the namespace until the block ends."""
    command = command_in(netns, [sys.executable, *arguments])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert said is None or process.stdout.readline().strip() == said
            yield
        finally:
            process.kill()


@pytest.fixture(params=["open", "closed"])
def overloaded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Live, Segment]]:
    """The server `guest1`, the neighbour `guest2`, and `client`, which floods the server."""
    with segment_of(3) as segment:
        bench = SegmentBench.on(segment, request.param)
        with live(bench, tmp_path / "live") as engine, program(segment.server.netns, *SERVER):
            engine.push(COSTLY + EVIL, guests=("guest1",))
            eventually(lambda: ask(segment, "/") is Outcome.ANSWERED)
            flood = ("-c", FLOOD, segment.server.address, str(FLOOD_PORT))
            with program(segment.client.netns, *flood, said="on"):
                yield engine, segment


def ask(segment: Segment, path: str) -> Outcome:
    """Return what becomes of the neighbour's request."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    neighbour = segment.servers[1].netns
    return exchange(neighbour, segment.server.address, PORT, request, (), PATIENCE_S).outcome


def notes(engine: Live) -> list[dict[str, Any]]:
    """Return the overloads that were announced."""
    events = spooled(engine.directory / "spool")
    return [event["sekisho"] for event in events if event.get("sekisho", {}).get("notice") == "shed"]


def shed(engine: Live, guest: str) -> tuple[int, int]:
    """Return how many bytes of the guest passed and were dropped without a look."""
    counted = engine.stats()["engine"]["guests"].get(guest, {})
    return counted.get("uninspected", {}).get("shed", 0), counted.get("shed_dropped", 0)


def test_a_guests_flood_is_shed_and_its_neighbours_attacks_are_still_stopped(
    overloaded: tuple[Live, Segment], request: pytest.FixtureRequest
) -> None:
    engine, segment = overloaded
    eventually(lambda: sum(shed(engine, "client")) > 0)
    took_s = []
    for _ in range(ATTACKS):
        began = time.monotonic()
        assert ask(segment, "/") is Outcome.ANSWERED
        took_s.append(time.monotonic() - began)
        assert ask(segment, "/evil") is not Outcome.ANSWERED
    passed, dropped = shed(engine, "client")
    print(f"shed: {passed} bytes passed, {dropped} dropped; requests took {[round(s, 3) for s in took_s]} s")
    assert (passed > 0, dropped > 0) == ((True, False) if "open" in request.node.name else (False, True)), (
        "as its segment's failure policy for a full queue says"
    )
    assert shed(engine, "guest2") == (0, 0), "the neighbour was inspected throughout"
    engine.await_alert(1, ATTACKS)
    eventually(lambda: bool(notes(engine)))
    assert {note["guest"] for note in notes(engine)} == {"client"}
    queue = engine.stats()["packets_from"]["runtime"]["queues"][0]
    print(queue)
