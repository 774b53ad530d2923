"""Guests, the real rules of their signatures in the kernel and the real engine on the queues; no manager."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance import lab
from appliance.control.engine_policy import RuleSetFiles, render_engine_policy
from appliance.hypervisor import read_links
from appliance.model.policy import Assignment, GuestPolicy, Mode, PolicyDocument
from appliance.netns import command_in
from appliance.rulesets import NeedsReader
from tests.netns.kit import FIRST_QUEUE, ROOT, Bench, spooled
from tests.netns.topology import PATIENCE_S, eventually, kernel_counters_of, read_exactly, socket_in

RULE_SET = "any"
GOOD = b"GET /good HTTP/1.1\r\nHost: web\r\n\r\n"
EVIL = b"GET /evil HTTP/1.1\r\nHost: web\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(slots=True)
class Live:
    """A bench whose packets the engine judges."""

    bench: Bench
    directory: Path
    process: "subprocess.Popen[str]"
    workers: int
    generation: int = 0
    _needs: NeedsReader = field(init=False)

    def __post_init__(self) -> None:
        self._needs = NeedsReader(self.directory)

    def push(self, rules: str, mode: Mode = Mode.PREVENT, guests: Sequence[str] = ("web",)) -> None:
        """Make these rules the guests' policy, in the order in which control does: engine, then kernel."""
        self.push_to(rules, dict.fromkeys(guests, mode))

    def push_to(self, rules: str, modes: Mapping[str, Mode]) -> None:
        """The same, each guest in its own mode."""
        self.generation += 1
        file = self.directory / f"{self.generation}.rules"
        file.write_text(rules)
        assigned = {
            guest: GuestPolicy(assignments=(Assignment(RULE_SET, mode),)) for guest, mode in modes.items()
        }
        document = PolicyDocument(self.generation, guests=assigned)
        inventory = self.bench.inventory
        links = read_links(inventory, self.bench.netns)
        rule_sets = {RULE_SET: RuleSetFiles(RULE_SET, (str(file),))}
        policy = render_engine_policy(document, inventory, links, rule_sets, self.generation)
        path = self.directory / f"{self.generation}.json"
        path.write_text(json.dumps(policy))
        report = self._ask(f"load {path}")
        assert report["refused"] == []
        needs = self._needs.read(policy)
        self.bench.apply(document, self.workers, needs=needs, generation=self.generation)

    def stats(self) -> dict[str, Any]:
        """Return the engine's counters."""
        return self._ask("stats")

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def queued(self) -> int:
        """Return how many packets were ever queued, to whichever worker."""
        return sum(
            kernel_counters_of(self.bench.netns, FIRST_QUEUE + worker).get("last_id", 0)
            for worker in range(self.workers)
        )

    def alerts(self) -> list[int]:
        """Return the signatures that alerted, in order of time."""
        alerts = [event for event in spooled(self.directory / "spool") if event["event_type"] == "alert"]
        return [
            event["alert"]["signature_id"] for event in sorted(alerts, key=lambda it: str(it["timestamp"]))
        ]

    def await_alert(self, sid: int, count: int = 1) -> None:
        eventually(lambda: self.alerts().count(sid) >= count)


@contextlib.contextmanager
def live(bench: Bench, directory: Path, workers: int = 1) -> Iterator[Live]:
    """Run the engine on the bench's queues."""
    directory.mkdir(parents=True, exist_ok=True)
    program = [sys.executable, "-m", "tests.netns.inspector", str(directory / "spool")]
    closed = any(segment.failure.queue_full == "closed" for segment in bench.inventory.segments)
    words = [str(FIRST_QUEUE), str(workers), "closed" if closed else "open"]
    command = command_in(bench.netns, [*program, *words])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield Live(bench, directory, process, workers)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE_S)


Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(bench: Bench, port: int, handler: Handler) -> Iterator[None]:
    """Serve the port of the guest `web`, a thread a connection, until the block ends."""
    with socket_in(bench.guest(lab.WEB)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((lab.WEB.ipv4, port))
        listener.listen(64)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.settimeout(PATIENCE_S)
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                handler(connection)

        listener.settimeout(None)
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)


@contextlib.contextmanager
def client_of(bench: Bench, port: int) -> Iterator[socket.socket]:
    """Yield a connection from `client` to that port of `web`."""
    with socket_in(bench.guest(lab.CLIENT)) as connection:
        connection.connect((lab.WEB.ipv4, port))
        yield connection


class Web:
    """A server that answers whatever request it reads whole, and remembers its first line."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def __call__(self, connection: socket.socket) -> None:
        held = b""
        while True:
            while b"\r\n\r\n" not in held:
                piece = connection.recv(1 << 16)
                if not piece:
                    return
                held += piece
            head, held = held.split(b"\r\n\r\n", 1)
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            left = int(length[1]) if length else 0
            while left > len(held):
                left -= len(held)
                held = connection.recv(1 << 20)
                if not held:
                    return
            held = held[left:]
            self.lines.append(head.split(b"\r\n", 1)[0])
            connection.sendall(OK)


def ask(connection: socket.socket, request: bytes = GOOD) -> None:
    connection.sendall(request)
    assert read_exactly(connection, len(OK)) == OK


def is_stopped(connection: socket.socket, request: bytes = EVIL) -> bool:
    """Whether the request is answered by a reset."""
    try:
        connection.sendall(request)
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    return False
