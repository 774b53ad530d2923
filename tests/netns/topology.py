"""Two guests on a bridge whose traffic passes an NFQUEUE, and the engine's example programs on that queue."""

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pyroute2 import NetNS, netns

from appliance.lab import CLIENT, WEB, LabSettings
from appliance.lab import topology as lab_topology
from appliance.netns import command_in, run_in

ENGINE = Path(__file__).parents[2] / "engine"
PATIENCE_S = 20
"""How long what must happen may take on a busy machine."""
SILENCE_S = 1.5
"""How long is listened for what must not come."""


@dataclass(frozen=True)
class QueuedBridge:
    """Guests `web` and `client` on a bridge, in namespaces; forwarded IPv4 goes to queue `queue`."""

    settings: LabSettings
    queue: int = 7

    @property
    def netns(self) -> str:
        """The bridge's namespace, where the queue is."""
        return self.settings.bridge_netns

    @property
    def web(self) -> str:
        """The server's namespace."""
        return self.settings.guest_netns(WEB)

    @property
    def client(self) -> str:
        """The client's namespace."""
        return self.settings.guest_netns(CLIENT)

    def steer(self, *matches: str, bypass: bool = False) -> None:
        """Send forwarded frames to the queue; with matches (iptables words) each to its own, from `queue` on.

        Replaces what was steered before.
        """
        run_in(self.netns, ["iptables", "-w", "-t", "mangle", "-F", "FORWARD"])
        for number, match in enumerate(matches or ("",), self.queue):
            rule = f"-A FORWARD -m physdev --physdev-is-bridged {match} -j NFQUEUE --queue-num {number}"
            words = [*rule.split(), *(["--queue-bypass"] if bypass else [])]
            run_in(self.netns, ["iptables", "-w", "-t", "mangle", *words])

    def ports(self) -> dict[str, int]:
        """Return the interface number of each guest's port."""
        with NetNS(self.netns, flags=0) as handle:
            return {guest.name: handle.link_lookup(ifname=guest.tap)[0] for guest in (WEB, CLIENT)}

    def kernel_counters(self) -> dict[str, int]:
        """Return what the kernel counts for the queue; empty when nobody has bound it."""
        return kernel_counters_of(self.netns, self.queue)


def kernel_counters_of(netns_name: str, queue: int) -> dict[str, int]:
    """Return what the kernel counts for a queue of the namespace; empty when nobody has bound it."""
    names = (
        "queue",
        "port_id",
        "waiting",
        "copy_mode",
        "copy_range",
        "dropped",
        "user_dropped",
        "last_id",
    )
    for line in run_in(netns_name, ["cat", "/proc/net/netfilter/nfnetlink_queue"]).splitlines():
        row = dict(zip(names, map(int, line.split()), strict=False))
        if row["queue"] == queue:
            return row
    return {}


@contextlib.contextmanager
def queued_bridge(settings: LabSettings) -> Iterator[QueuedBridge]:
    """Yield the bridge, up and not yet steered; everything is gone afterwards."""
    try:
        lab_topology.build(settings)
        run_in(settings.bridge_netns, ["sh", "-c", "echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables"])
        yield QueuedBridge(settings)
    finally:
        lab_topology.remove(settings)


def build_example(package: str, name: str) -> Path:
    """Return the path of an engine example, built if it is not."""
    build = f"cargo build --locked --quiet --release -p {package} --example {name}"
    subprocess.run(["sh", "-c", f". ../tools/rust-env && {build}"], cwd=ENGINE, check=True, timeout=1800)
    return ENGINE / "target/release/examples" / name


@dataclass
class Program:
    """An example program that prints `ready`, runs until its input ends, and then prints its counters."""

    argv: list[str]
    netns: str
    lines: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        command = command_in(self.netns, self.argv)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._printed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.await_line(lambda line: line == "ready")
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._printed:
                self.lines.append(line.strip())
                self._printed.notify_all()

    def await_line(self, wanted: Callable[[str], bool], after: int = 0) -> str:
        """Return the first line, of those after the first `after`, that is wanted."""
        with self._printed:
            found = self._printed.wait_for(
                lambda: next(filter(wanted, self.lines[after:]), None), timeout=PATIENCE_S
            )
        assert found, f"{self.argv[0]} did not say it: {self.lines[-5:]}, exit {self.process.poll()}"
        return found

    def tell(self, line: str) -> None:
        """Write a line to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")

    def stats(self) -> dict[str, Any]:
        """Ask for its counters and return them."""
        before = len(self.lines)
        self.tell("stats")
        answer: dict[str, Any] = json.loads(self.await_line(lambda line: line.startswith("{"), before))
        return answer

    def stop(self) -> str:
        """End it as its user would; return its last line."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0
        self._reader.join(PATIENCE_S)
        return self.lines[-1]

    def counters(self) -> dict[str, int]:
        """Stop it; return the counters it prints at its end."""
        return {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", self.stop())}

    def reports(self) -> list[dict[str, Any]]:
        """Return the JSON lines it printed."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reader.join(PATIENCE_S)


def socket_in(
    name: str, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET, protocol: int = 0
) -> socket.socket:
    """Return a socket of the namespace, with a time limit on every operation."""
    made: list[socket.socket] = []

    def make() -> None:
        netns.setns(name)  # of this thread only
        made.append(socket.socket(family, kind, protocol))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join(PATIENCE_S)
    made[0].settimeout(PATIENCE_S)
    return made[0]


@contextlib.contextmanager
def tcp_pair(bridge: QueuedBridge, port: int = 6000) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the client's and the server's end of a connection across the bridge."""
    with socket_in(bridge.web) as listener, socket_in(bridge.client) as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((WEB.ipv4, port))
        listener.listen()
        client.connect((WEB.ipv4, port))
        server, _ = listener.accept()
        with server:
            server.settimeout(PATIENCE_S)
            yield client, server


@contextlib.contextmanager
def udp_pair(bridge: QueuedBridge, port: int = 6001) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the client's socket, connected to the server's."""
    with (
        socket_in(bridge.web, socket.SOCK_DGRAM) as server,
        socket_in(bridge.client, socket.SOCK_DGRAM) as client,
    ):
        server.bind((WEB.ipv4, port))
        client.connect((WEB.ipv4, port))
        yield client, server


def read_exactly(stream: socket.socket, count: int) -> bytes:
    """Return the next count bytes of the stream."""
    received = bytearray()
    while len(received) < count:
        part = stream.recv(1 << 20)
        assert part, "closed early"
        received += part
    return bytes(received)


def datagrams_until_silence(server: socket.socket) -> list[bytes]:
    """Return what arrives until nothing has come for a while."""
    server.settimeout(SILENCE_S)
    received = []
    with contextlib.suppress(TimeoutError):
        while True:
            received.append(server.recv(65535))
    return received


def eventually(check: Callable[[], bool]) -> None:
    """Return once check() is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
