"""A lab with a ruleset loaded on its bridge, and what the tests of packets do with it."""

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from pyroute2 import IPRoute

from appliance import lab, steering
from appliance.hypervisor import load_guests, read_links
from appliance.lab.wire import Exchange, exchange
from appliance.model.guest import GuestInventory
from appliance.model.needs import Needs
from appliance.model.policy import Assignment, Firewall, Guard, GuestPolicy, Mode, PolicyDocument
from appliance.netns import command_in, entered, run_in

FIRST_QUEUE = 20
QUEUE_LENGTH = 16_384
"""Packets that the kernel holds for one worker: engine/nfqueue/src/config.rs."""
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
"""include/uapi/asm-generic/socket.h; Python has no names for them."""
BUFFER_BYTES = 128 << 20
"""Room for several queues' worth of small datagrams, at what the kernel counts for one."""
PREVENT = (Assignment("any", Mode.PREVENT),)
BACKEND = steering.Backend(name) if (name := os.environ.get("SEKISHO_TEST_BACKEND")) else None
"""The back end that tests run with; None: the one that this kernel's is."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet that the consumer took from a queue; data begins with its IP header."""

    queue: int
    mark: int
    data: bytes


def policy(
    *, inspected: bool = True, firewall: Firewall | None = None, guard: Guard | None = None
) -> PolicyDocument:
    """Return a policy for `web`; `client` has none."""
    assignments = PREVENT if inspected else ()
    web = GuestPolicy(assignments=assignments, firewall=firewall or Firewall(), guard=guard or Guard())
    return PolicyDocument(1, guests={"web": web})


@dataclass(slots=True)
class Bench:
    """The lab's bridge under a policy."""

    settings: lab.LabSettings
    inventory: GuestInventory
    live: PolicyDocument
    ruleset: steering.Ruleset | None = None

    @classmethod
    def of(cls, settings: lab.LabSettings) -> "Bench":
        return cls(settings, load_guests(settings.guests_yaml), PolicyDocument(0))

    @property
    def netns(self) -> str:
        return self.settings.bridge_netns

    def apply(
        self,
        document: PolicyDocument,
        workers: int = 1,
        *,
        closed: bool = False,
        needs: Mapping[str, Needs] | None = None,
        generation: int = 0,
    ) -> None:
        self.live = document
        inventory = self.inventory
        if closed:
            (segment,) = inventory.segments
            failure = replace(segment.failure, inspector_down="closed")
            inventory = replace(inventory, segments=(replace(segment, failure=failure),))
        links = read_links(inventory, self.netns)
        self.ruleset, _ = steering.apply(
            document,
            inventory,
            links,
            queues=steering.Queues(FIRST_QUEUE, workers),
            netns=self.netns,
            needs=needs,
            generation=generation,
            backend=BACKEND,
        )

    def get(
        self, path: str = "/x", *, port: int = lab.RAW_PORT, ip_version: int = 4, timeout_s: float = 1.0
    ) -> Exchange:
        """Send one request from client to web."""
        request = f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode()
        address = lab.WEB.ipv4 if ip_version == 4 else lab.WEB.ipv6
        return exchange(self.guest(lab.CLIENT), address, port, request, (), timeout_s)

    def guest(self, guest: lab.LabGuest) -> str:
        return self.settings.guest_netns(guest)

    def counters(self, guest: str = "web") -> steering.GuestCounters:
        read = steering.read_counters(self.live, self.inventory, self.netns)
        (counters,) = [each for each in read.guests if each.guest == guest]
        return counters

    def settled_counters(self, guest: str = "web") -> steering.GuestCounters:
        """Return them once they stand still.

        A connection's last packets pass after its exchange has returned, and the kernel lists one counter
        after the other.
        """
        deadline = time.monotonic() + 5
        last, counters = None, self.counters(guest)
        while counters != last:
            assert time.monotonic() < deadline, f"the counters do not stand still: {counters}"
            time.sleep(0.1)
            last, counters = counters, self.counters(guest)
        return counters

    def forget_macs(self) -> None:
        """Empty the bridge's table of addresses, which an earlier test's spoofed frames may have filled."""
        with entered(self.netns), IPRoute() as handle:
            (bridge,) = handle.link_lookup(ifname=self.settings.bridge)
            handle.link("set", index=bridge, kind="bridge", br_fdb_flush=1)

    def tell_bridges(self) -> None:
        """Tell the bridge again where guests are, as control does now and then."""
        assert self.ruleset is not None
        steering.tell(self.ruleset.homes, self.ruleset.spared, self.netns)

    def listing(self) -> str:
        """Return what is loaded, without what was counted."""
        return run_in(self.netns, ["nft", "--stateless", "list", "ruleset"])

    @contextlib.contextmanager
    def consumer(self, workers: int = 1, *options: str) -> Iterator[list[Seen]]:
        """Run a consumer on the queues; the list is filled with what it saw when the block ends."""
        numbers = ",".join(str(FIRST_QUEUE + worker) for worker in range(workers))
        command = [sys.executable, "-m", "tests.netns.consumer", numbers, *options]
        seen: list[Seen] = []
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(command_in(self.netns, command), stdout=output, cwd=ROOT)
            try:
                _wait_until_ready(process, output.fileno())
                yield seen
            finally:
                time.sleep(0.1)  # what is under way comes to rest
                process.kill()
                process.wait(timeout=10)
                output.seek(0)
                lines = [json.loads(line) for line in output if line.endswith("\n")]
                for line in lines[1:]:
                    seen.append(Seen(line["queue"], line["mark"], line["data"].encode("latin-1")))


def _wait_until_ready(process: "subprocess.Popen[bytes]", descriptor: int) -> None:
    deadline = time.monotonic() + 10
    path = Path(f"/proc/self/fd/{descriptor}")
    while b"ready" not in path.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("the consumer did not bind its queues")
        time.sleep(0.02)


def from_port(netns: str, port: int, timeout_s: float = 5.0) -> socket.socket:
    """Return a connection from this very port that ends with a reset, so that the port is free at once."""
    with entered(netns):
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    connection.bind(("", port))
    connection.connect((lab.WEB.ipv4, lab.RAW_PORT))
    return connection


def send_frames(netns: str, frames: list[bytes]) -> None:
    """Send raw Ethernet frames out of a guest's eth0; they arrive in this order."""
    program = (
        "import os, socket, sys\n"
        # sent from two processors they may overtake each other
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0))\n"
        "for line in sys.stdin: s.send(bytes.fromhex(line))\n"
    )
    run_in(netns, [sys.executable, "-c", program], "\n".join(frame.hex() for frame in frames))


def stands_still(pid: int) -> bool:
    """Whether every thread of the process stands still: a signal takes a moment to reach them all."""
    states = [
        (task / "stat").read_text().rpartition(")")[2].split()[0]
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    return set(states) == {"T"}


def spooled(spool: Path, writer: str = "*") -> list[dict[str, Any]]:
    """Return the events of these writers that are on disk whole, each lane's in order."""
    segments = sorted(spool.glob(f"{writer}/*.eve"))
    lines = (line for each in segments for line in each.read_bytes().splitlines(keepends=True))
    return [json.loads(line) for line in lines if line.endswith(b"\n")]
