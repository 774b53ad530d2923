"""One guest fills what the kernel has for all: of connections it makes room, of fragments it is told."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.control.room import Room
from appliance.model.policy import PolicyDocument
from appliance.netns import command_in
from appliance.reporting.journal import Journal
from appliance.steering.connections import Connection, connections
from appliance.steering.crowding import read_fill
from bench.inline.segment import BenchGuest, Segment, segment_of
from tests.netns.kit import spooled
from tests.netns.segment_bench import SegmentBench
from tests.netns.topology import PATIENCE_S, eventually, socket_in

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

# The bound is the machine's: nobody else's connections may meet it meanwhile.
pytestmark = pytest.mark.alone
AT_MOST = Path("/proc/sys/net/netfilter/nf_conntrack_max")
BOUND = 3_000
PORT = 7000
BRIEF_S = 1.5
ECHO = f"""
import asyncio, resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
async def echo(reader, writer):
    while said := await reader.read(100):
        writer.write(said)
async def serve():
    server = await asyncio.start_server(echo, "0.0.0.0", {PORT}, backlog=1000)
    print("on", flush=True)
    await server.serve_forever()
asyncio.run(serve())
"""
FLOOD = f"""
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
held, full = [], False
while True:
    connection = socket.socket()
    connection.settimeout({BRIEF_S})
    try:
        connection.connect((sys.argv[1], {PORT}))
        held.append(connection)
    except TimeoutError:
        if not full:
            print("full", flush=True)
        full = True
"""

UNFINISHED = """
import socket, struct, sys
receiver = sys.argv[1]
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as out:
    for number in range(3_000):
        ends = (bytes(4), socket.inet_aton(receiver))
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1420, number, 0x2000, 64, 17, 0, *ends)
        out.sendto(header + bytes(1400), (receiver, 0))
print("sent", flush=True)
"""


@pytest.fixture
def segment() -> Iterator[Segment]:
    """The server `guest1`, `guest2`, which floods it, and the neighbour `guest3`; a table of BOUND."""
    before = AT_MOST.read_text()
    with segment_of(4) as segment:
        SegmentBench.on(segment).apply(PolicyDocument(0))
        AT_MOST.write_text(str(BOUND))
        try:
            yield segment
        finally:
            AT_MOST.write_text(before)


@contextlib.contextmanager
def program(guest: BenchGuest, text: str, *arguments: str, says: str) -> Iterator[None]:
    """Run Python in the guest, from when it says that until the block ends."""
    command = command_in(guest.netns, [sys.executable, "-c", text, *arguments])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == says
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def kept(segment: Segment, journal: Journal) -> Iterator[Room]:
    """Have control keep room until the block ends."""
    room, loop = Room(), asyncio.new_event_loop()
    keeping = loop.create_task(room.keep(segment.netns, journal, segment.inventory))
    thread = threading.Thread(target=loop.run_until_complete, args=(asyncio.wait([keeping]),))
    thread.start()
    try:
        yield room
    finally:
        loop.call_soon_threadsafe(keeping.cancel)
        thread.join()
        loop.close()


@contextlib.contextmanager
def connected(segment: Segment, timeout_s: float = PATIENCE_S) -> Iterator[socket.socket]:
    """Yield the neighbour's connection to the server. Raises TimeoutError."""
    with socket_in(segment.servers[2].netns) as connection:
        connection.settimeout(timeout_s)
        connection.connect((segment.server.address, PORT))
        yield connection


def answers(connection: socket.socket) -> bool:
    connection.sendall(b"still there?")
    return connection.recv(100) == b"still there?"


def of(segment: Segment, guest: BenchGuest) -> list[Connection]:
    return connections((1,), segment.netns, address=guest.address)


def test_who_fills_the_table_of_connections_makes_room_for_the_others(
    segment: Segment, tmp_path: Path
) -> None:
    journal = Journal(tmp_path, 1 << 20)
    with program(segment.server, ECHO, says="on"), connected(segment) as old:
        assert answers(old)
        with program(segment.servers[1], FLOOD, segment.server.address, says="full"):
            with pytest.raises(TimeoutError), connected(segment, BRIEF_S):
                pass  # or there would be nothing to mend here
            with kept(segment, journal) as room:
                eventually(lambda: room.given_up > 0)
                for _ in range(50):
                    with connected(segment) as fresh:
                        assert answers(fresh)
                assert answers(old)
            assert any(not each.is_midstream for each in of(segment, segment.servers[2]))
    noted = [event["sekisho"] for event in spooled(tmp_path, "control-*")]
    assert [(each["notice"], each["holder"]) for each in noted] == [("connections-crowded", "guest guest2")]


def test_packets_that_found_the_table_full_are_counted(segment: Segment) -> None:
    before = read_fill(segment.netns)
    with (
        program(segment.server, ECHO, says="on"),
        program(segment.servers[1], FLOOD, segment.server.address, says="full"),
    ):
        full = read_fill(segment.netns)
    assert before.refused == 0
    assert full.refused > 0
    assert full.known >= full.at_most == BOUND


def test_memory_full_of_fragments_whose_rest_does_not_come_is_told(segment: Segment, tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 20)

    def told() -> list[str]:
        return [event["sekisho"]["notice"] for event in spooled(tmp_path, "control-*")]

    sent = program(segment.servers[1], UNFINISHED, segment.server.address, says="sent")
    with kept(segment, journal), sent:
        eventually(lambda: told() == ["fragments-full"])
