"""Each thing that can go wrong, on both settings of the failure policy; test_watchdog.py has hangs."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import lab
from appliance.lab.wire import Outcome, connect, exchange
from appliance.netns import entered
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import (
    RULES,
    Appliance,
    appliance_in,
    failure_policy,
    wait_for,
)
from tests.netns.kit import (
    BUFFER_BYTES,
    QUEUE_LENGTH,
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
    from_port,
    send_frames,
    stands_still,
)
from tests.netns.load import KeepAlive, NewConnections, Undaunted, under

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

EVERYTHING = ("inspector_down", "queue_full", "memory", "malformed", "midstream", "parser_error")
SINK_PORT = 6100
LOOKED_AT = f"""\
alert udp any any -> $HOME_NET {SINK_PORT} (msg:"why datagrams are queued"; content:"unsent"; sid:2;)
alert http any any -> $HOME_NET any (msg:"why bodies are kept"; http.request_body; content:"unsent"; sid:3;)
"""
SMALLEST_MEMORY = 16 * 1024 * 1024
PACE_S = 0.05
"""Between connections: what fills the memory at once leaves the engine no moment to make room."""


@pytest.fixture(scope="module")
def appliance(
    failure: str,
    manager: RunningManager,
    running_lab: lab.LabSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Appliance]:
    # A queue that runs over is one test's subject, packets that waited long in it are test_overload.py's.
    extra = {"inspector": {"memory_max_bytes": SMALLEST_MEMORY, "latency_budget_ms": 10_000}}
    directory = tmp_path_factory.mktemp(failure)
    with (
        failure_policy(running_lab, **dict.fromkeys(EVERYTHING, failure)),
        spool_of_its_own(directory / "state/spool"),
        appliance_in(directory, running_lab, manager, **extra) as made,
    ):
        made.start()
        made.in_step()
        made.push(RULES + LOOKED_AT)
        made.assign("prevent")
        yield made


@contextlib.contextmanager
def spool_of_its_own(spool: Path) -> Iterator[None]:
    """Give the spool a disk of a few MiB that no other file is on."""
    spool.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(spool)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(spool)], check=True)


def failures(appliance: Appliance, which: str) -> int:
    return int(appliance.engine().get("failures", {}).get(which, 0))


def guest(appliance: Appliance, name: str) -> str:
    return appliance.settings.guest_netns(lab.WEB if name == "web" else lab.CLIENT)


# A queue runs over. First, for each packet counts here, and what a killed inspector lost is sent again.


def test_packets_past_a_full_queue_follow_the_failure_policy(appliance: Appliance, failure: str) -> None:
    assert appliance.process is not None
    held = [appliance.process.pid, appliance.watchdog(), appliance.inspector()]
    sent = 3 * QUEUE_LENGTH
    with (
        datagrams_at(appliance, SINK_PORT) as received,
        datagram_socket(guest(appliance, "client")) as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
        client.connect((lab.WEB.ipv4, SINK_PORT))
        client.send(b"before")
        wait_for("a datagram", lambda: received)
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        try:
            wait_for("all of them to stand still", lambda: all(map(stands_still, held)))
            for number in range(sent):
                client.send(b"%d" % number)
            if failure == "open":
                wait_for("what does not fit", lambda: len(received) > sent - 2 * QUEUE_LENGTH)
            assert len(received) <= (sent - QUEUE_LENGTH + 1 if failure == "open" else 1)
        finally:
            for pid in reversed(held):
                os.kill(pid, signal.SIGCONT)
        expected = sent + 1 if failure == "open" else QUEUE_LENGTH + 1
        wait_for("what waited", lambda: len(received) >= expected)
        client.send(b"after")
        wait_for("a datagram after it", lambda: b"after" in received)
        assert len(received) == expected + 1
    assert appliance.send("/fine") is Outcome.ANSWERED
    if failure == "closed":
        wait_for("the loss to be shown", lambda: dropped_by_full_queue(appliance))


def dropped_by_full_queue(appliance: Appliance) -> int:
    stats = appliance.status()["inspector"]["stats"]
    # They are away for a moment where the inspector did not answer in time.
    queues = stats["packets_from"]["runtime"]["queues"] if stats else []
    return sum(queue["kernel"]["dropped"] for queue in queues)


@contextlib.contextmanager
def datagrams_at(appliance: Appliance, port: int) -> Iterator[list[bytes]]:
    """Collect what arrives at web's port."""
    with datagram_socket(guest(appliance, "web")) as sink:
        sink.bind((lab.WEB.ipv4, port))
        sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        with collecting(sink) as received:
            yield received


@contextlib.contextmanager
def collecting(sink: socket.socket) -> Iterator[list[bytes]]:
    """Collect what arrives at a socket until the block ends."""
    received: list[bytes] = []
    over = threading.Event()
    sink.settimeout(0.2)

    def collect() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                received.append(sink.recv(65_535))

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield received
    finally:
        over.set()
        thread.join()


def datagram_socket(name: str) -> socket.socket:
    with entered(name):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


# The inspector is killed.


def test_kill_under_load_breaks_nothing_when_open_and_passes_nothing_when_closed(
    appliance: Appliance, failure: str
) -> None:
    settings = appliance.settings
    # Closed for midstream as well, so flows that were under way end with their inspector: that is its price.
    strict = (KeepAlive(settings), NewConnections(settings))
    with under(*(strict if failure == "open" else (Undaunted(settings),))):
        for number in range(3):
            pid = appliance.inspector()
            os.kill(pid, signal.SIGKILL)
            if failure == "closed":
                assert appliance.send(f"/evil?killed-{number}") is not Outcome.ANSWERED
            wait_for("another inspector", lambda pid=pid: appliance.inspector() != pid and appliance.is_up())
    assert appliance.send("/evil") is not Outcome.ANSWERED
    if failure == "closed":
        assert not [each for each in lab.records(settings) if b"killed-" in each.request]
    else:
        assert appliance.counters("web").uninspected["inspector-down"].packets


def test_ports_of_a_blocked_connection_serve_another_though_the_inspector_never_saw_the_first(
    appliance: Appliance,
) -> None:
    assert said_from_port(appliance, 45_678, "/evil?ports") != b"HTTP/1.1 200"
    pid = appliance.inspector()
    os.kill(pid, signal.SIGKILL)
    wait_for("another inspector", lambda: appliance.inspector() != pid and appliance.is_up())
    wait_for("it to protect", lambda: protects(appliance))
    assert said_from_port(appliance, 45_678, "/fine?ports") == b"HTTP/1.1 200"


def said_from_port(appliance: Appliance, port: int, path: str) -> bytes:
    """Send a request from this very port; return what the answer begins with."""
    with (
        contextlib.suppress(TimeoutError, ConnectionError),
        from_port(guest(appliance, "client"), port, 2.0) as connection,
    ):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
        return connection.recv(12)
    return b""


# Memory runs out.


def test_flows_that_memory_had_no_room_for_follow_the_midstream_policy(
    appliance: Appliance, failure: str
) -> None:
    before = failures(appliance, "midstream")
    with sink_at(appliance, SINK_PORT), contextlib.ExitStack() as connections:

        def connection() -> socket.socket:
            return connections.enter_context(
                connect(guest(appliance, "client"), lab.WEB.ipv4, SINK_PORT, 10.0)
            )

        first = connection()
        first.sendall(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100000000\r\n\r\n")
        assert first.recv(1) == b"k"
        piece = b"x" * 60_000
        for _ in range(350):
            other = connection()
            other.sendall(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100000000\r\n\r\n" + piece)
            assert other.recv(1) == b"k"
            time.sleep(PACE_S)
        first.settimeout(2.0)
        first.sendall(b"y" * 1000)
        if failure == "open":
            assert first.recv(1) == b"k"
            assert appliance.send("/fine") is Outcome.ANSWERED
        else:
            with pytest.raises((TimeoutError, ConnectionError)):
                assert first.recv(1) == b"k"
    wait_for("the use of the failure policy", lambda: failures(appliance, "midstream") > before)
    assert appliance.send("/evil") is not Outcome.ANSWERED


@contextlib.contextmanager
def sink_at(appliance: Appliance, port: int) -> Iterator[None]:
    """Answer `k` for whatever is read of a connection, to as many as there are."""
    with entered(guest(appliance, "web")):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((lab.WEB.ipv4, port))
    listener.listen(64)

    def serve(peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            while peer.recv(1 << 16):
                peer.sendall(b"k")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


# Packets that cannot be read.


def malformed_frame(number: int) -> bytes:
    """Return a frame whose TCP header says that it is 16 bytes long, fewer than any is."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    frame: bytes = bytes(
        Ether(src=lab.CLIENT.mac, dst=lab.WEB.mac)
        / IP(src=lab.CLIENT.ipv4, dst=lab.WEB.ipv4, id=number)
        / TCP(sport=40_000 + number, dport=80, flags="A", dataofs=4)
        / Raw(b"malformed")
    )
    return frame


@pytest.mark.parametrize("mode", ["detect", "prevent"])
def test_malformed_packet_follows_the_failure_policy_and_reaches_no_guest_that_blocks(
    appliance: Appliance, failure: str, mode: str
) -> None:
    appliance.assign(mode)
    with frames_at(guest(appliance, "web")) as seen:
        before = failures(appliance, "malformed")
        for number in range(5):
            send_frames(guest(appliance, "client"), [malformed_frame(number)])
        wait_for("it to be counted", lambda: failures(appliance, "malformed") >= before + 5)
        assert appliance.send("/fine?after-malformed") is Outcome.ANSWERED
        wait_for("the request", lambda: any(b"after-malformed" in frame for frame in seen))
        arrived = sum(b"malformed" in frame and b"after" not in frame for frame in seen)
    assert arrived == (5 if failure == "open" and mode == "detect" else 0)


@contextlib.contextmanager
def frames_at(name: str) -> Iterator[list[bytes]]:
    """Collect every frame that arrives at the guest."""
    with entered(name):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    with tap:
        tap.bind(("eth0", 0))
        with collecting(tap) as seen:
            yield seen


TWO_LENGTHS = (
    b"POST /two HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nContent-Length: 6\r\n"
    b"Connection: close\r\n\r\nabcdef"
)


def test_what_a_parser_cannot_follow_reaches_no_guest_that_blocks_whatever_the_policy(
    appliance: Appliance,
) -> None:
    appliance.assign("prevent")
    before = failures(appliance, "parser_error")
    client = guest(appliance, "client")
    answer = exchange(client, lab.WEB.ipv4, lab.RAW_PORT, TWO_LENGTHS, (), 2.0)
    assert answer.outcome is not Outcome.ANSWERED
    wait_for("it to be counted", lambda: failures(appliance, "parser_error") > before)
    appliance.assign("detect")
    answer = exchange(client, lab.WEB.ipv4, lab.RAW_PORT, TWO_LENGTHS, (), 2.0)
    assert answer.outcome is Outcome.ANSWERED
    appliance.assign("prevent")


# Disk and manager.


def test_full_disk_under_the_spool_delays_events_and_nothing_else(
    appliance: Appliance, manager: RunningManager
) -> None:
    appliance.assign("prevent")
    pid = appliance.inspector()
    filler = appliance.state / "spool/filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        for number in range(20):
            assert appliance.send(f"/evil?full-{number}") is not Outcome.ANSWERED
            assert appliance.send(f"/fine?full-{number}") is Outcome.ANSWERED
        assert appliance.inspector() == pid
        wait_for("the full disk to be counted", lambda: events(appliance)["spool"]["disk_full"])
    finally:
        filler.unlink()
    wait_for("every event, later", lambda: all(alerted(manager, f"full-{n}") for n in range(20)))
    assert not sum(events(appliance)["lost"])
    assert appliance.inspector() == pid


def events(appliance: Appliance) -> dict[str, Any]:
    return dict(appliance.status()["inspector"]["stats"]["packets_from"]["runtime"]["events"])


def alerted(manager: RunningManager, query: str) -> bool:
    """Whether the manager has an alert of the request for `/evil?query`."""
    page = manager.operator.get("/events", params={"sid": 1, "limit": 1000}).json()["events"]
    return any(event["eve"].get("http", {}).get("url") == f"/evil?{query}" for event in page)


def test_without_its_manager_it_protects_and_loses_no_event(
    appliance: Appliance, manager: RunningManager
) -> None:
    appliance.assign("prevent")
    manager.stop()
    try:
        pid = appliance.inspector()
        assert appliance.send("/evil?alone-1") is not Outcome.ANSWERED
        assert appliance.send("/fine") is Outcome.ANSWERED
        wait_for("the event on disk", lambda: b"alone-1" in spooled(appliance))
        os.kill(pid, signal.SIGKILL)
        wait_for("another inspector", lambda: appliance.inspector() != pid and appliance.is_up())
        wait_for("it to protect again", lambda: protects(appliance))
        assert appliance.send("/evil?alone-2") is not Outcome.ANSWERED
        assert appliance.send("/fine") is Outcome.ANSWERED
    finally:
        manager.restart()
    wait_for("both events", lambda: alerted(manager, "alone-1") and alerted(manager, "alone-2"))


def protects(appliance: Appliance) -> bool:
    """Whether the inspector decides: a failure policy would pass both, or neither."""
    stopped = appliance.send("/evil?again") is not Outcome.ANSWERED
    return stopped and appliance.send("/fine") is Outcome.ANSWERED


def spooled(appliance: Appliance) -> bytes:
    return b"".join(path.read_bytes() for path in (appliance.state / "spool").glob("inspector-*/*.eve"))


def test_a_manager_that_is_away_is_logged_once_and_that_it_is_back(
    appliance: Appliance, manager: RunningManager
) -> None:
    log = appliance.directory / "appliance.log"
    begins = log.stat().st_size
    manager.stop()
    try:
        time.sleep(4)
    finally:
        manager.restart()

    def said() -> str:
        return log.read_bytes()[begins:].decode()

    wait_for("it is back", lambda: "the manager answers again" in said())
    assert said().count("tried again until it answers") <= 2, said()  # cut off, and refused
