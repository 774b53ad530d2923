"""Two guests on a bridge whose traffic passes an NFQUEUE, and the engine's example programs on that queue."""

import contextlib
import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pyroute2 import NetNS, netns

from appliance.lab import LabSettings
from appliance.lab import topology as lab_topology
from appliance.lab.settings import CLIENT, WEB
from appliance.netns import command_in, run_in

ENGINE = Path(__file__).parents[2] / "engine"
PATIENCE_S = 20


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

    @property
    def web_address(self) -> str:
        """The server's IPv4 address."""
        return WEB.ipv4

    def steer(self, *, bypass: bool, match: tuple[str, ...] = ()) -> None:
        """Send forwarded frames to the queue instead of what was steered before."""
        target = ["-j", "NFQUEUE", "--queue-num", str(self.queue), *(["--queue-bypass"] if bypass else [])]
        rule = ["-A", "FORWARD", "-m", "physdev", "--physdev-is-bridged", *match, *target]
        run_in(self.netns, ["iptables", "-w", "-t", "mangle", "-F", "FORWARD"])
        run_in(self.netns, ["iptables", "-w", "-t", "mangle", *rule])

    def ports(self) -> dict[str, int]:
        """Return the interface number of each guest's port."""
        with NetNS(self.netns, flags=0) as handle:
            return {guest.name: handle.link_lookup(ifname=guest.tap)[0] for guest in (WEB, CLIENT)}

    def kernel_counters(self) -> dict[str, int]:
        """Return what the kernel counts for the queue; empty when nobody has bound it."""
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
        for line in run_in(self.netns, ["cat", "/proc/net/netfilter/nfnetlink_queue"]).splitlines():
            row = dict(zip(names, map(int, line.split()), strict=False))
            if row["queue"] == self.queue:
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
    script = f". ../tools/rust-env && cargo build --locked --quiet --release -p {package} --example {name}"
    subprocess.run(["sh", "-c", script], cwd=ENGINE, check=True, timeout=900)
    return ENGINE / "target/release/examples" / name


@dataclass
class Program:
    """An example program that prints `ready`, runs until its input ends, and then prints its counters."""

    argv: list[str]
    netns: str
    lines: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            command_in(self.netns, self.argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(PATIENCE_S), f"{self.argv[0]} did not get ready"
        assert "ready" in self.lines, f"{self.argv[0]} ended early: {self.lines}"
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line == "ready\n":
                self._ready.set()
        self._ready.set()

    def stop(self) -> dict[str, int]:
        """End it as its user would; return its counters."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0
        self._reader.join(PATIENCE_S)
        return {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", self.lines[-1])}

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def reports(self) -> list[dict[str, object]]:
        """Return the JSON lines it printed."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reader.join(PATIENCE_S)


def socket_in(name: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Return an IPv4 socket of the namespace, with a time limit on every operation."""
    made: list[socket.socket] = []

    def make() -> None:
        netns.setns(name)  # of this thread only
        made.append(socket.socket(socket.AF_INET, kind))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join(PATIENCE_S)
    made[0].settimeout(PATIENCE_S)
    return made[0]
