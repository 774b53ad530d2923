"""Hosts with a real libvirtd, the helper and real, emulated guests: topology pair, unless told otherwise.

The appliance here is a guest that joins its cards in a bridge; what it does to the frames between is others'
tests'. The client is a namespace on the bridge that the guests share.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from appliance.netns import command_in, run_in
from tests import host_helper_fixture
from tests.host_helper_fixture import ROOT, HelperFolder, hook_of
from tests.vm.follower import Follower
from tests.vm.hypervisor import Hypervisor, hypervisor, wait_for

PREFIX = f"skt-kvm-{os.getpid()}"
HOST, CLIENT = f"{PREFIX}-host", f"{PREFIX}-client"
WEB_MAC, OTHER_MAC = "52:54:00:00:0a:01", "52:54:00:00:0a:09"
APPLIANCE_NICS = (
    ("52:54:00:00:0b:00", "br0"),
    ("52:54:00:00:0b:01", "pair1"),
    ("52:54:00:00:0b:02", "pair2"),
)
WEB, CLIENT_ADDRESS = "10.89.0.1", "10.89.0.2"
PAIRS = ("pair1", "pair2")


@dataclass(frozen=True, slots=True)
class Way:
    """How guests are led.

    helper: of host.yaml. cards: the appliance's, (MAC, bridge). role: what it does. bridge: more of br0.
    """

    helper: Mapping[str, Any]
    cards: Sequence[tuple[str, str]]
    role: str = "sekisho.role=bridge"
    bridge: Sequence[str] = ()


def pair_way(pairs: Sequence[str], cards: Sequence[tuple[str, str]]) -> Way:
    return Way(
        {"pair": {"appliance": "sekisho", "segments": [{"bridge": "br0", "pairs": list(pairs)}]}}, cards
    )


PAIR = pair_way(PAIRS, APPLIANCE_NICS)

PINGER = """\
import socket, struct, sys, threading, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
heard = set()
def listen():
    while True:
        packet = s.recv(2000)
        if packet[20] == 0: heard.add(struct.unpack("!H", packet[26:28])[0])
threading.Thread(target=listen, daemon=True).start()
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
print('up', flush=True)
sent = 0
while not over.wait(0.05):
    body = struct.pack("!BBHHH", 8, 0, 0, 7, sent)
    total = sum(struct.unpack("!4H", body)); total = (total & 0xffff) + (total >> 16)
    s.sendto(struct.pack("!BBHHH", 8, 0, ~total & 0xffff, 7, sent), (sys.argv[1], 0))
    sent += 1
time.sleep(2)
run = longest = 0
for number in range(sent):
    run = 0 if number in heard else run + 1
    longest = max(longest, run)
print(sent, len(heard), longest)
"""


@dataclass(slots=True)
class Rig(HelperFolder):
    """A host with libvirtd, the helper, an appliance and a web guest."""

    libvirtd: Hypervisor
    netns: str = HOST
    helper: subprocess.Popen[bytes] | None = None

    def start_helper(self) -> None:
        self.helper = self.serve(self.netns)
        wait_for("the helper answers", lambda: self.sekisho("list").returncode == 0)

    def stop_helper(self) -> None:
        if self.helper is not None:
            self.helper.send_signal(signal.SIGTERM)
            self.helper.wait(timeout=60)
            self.helper = None

    def events(self) -> list[tuple[str, str]]:
        """Return what happened so far: (what, name)."""
        done = subprocess.run(
            ["timeout", "3", *self.guest_command("events")], capture_output=True, text=True, cwd=ROOT
        )
        return [(each["what"], each["name"]) for each in map(json.loads, done.stdout.splitlines())]

    def protected(self) -> dict[str, object]:
        """Return whom the helper protects."""
        return dict(json.loads((self.folder / "state/state.json").read_bytes())["protected"])

    def web(self) -> Any:
        return self.libvirtd.connection.lookupByName("web")


@dataclass(slots=True)
class Hosts:
    """Where a guest comes from and where it goes, and who follows the helper there."""

    here: Rig
    there: Rig
    follower: Follower


@contextlib.contextmanager
def rig_in(
    folder: Path,
    more: Mapping[str, Any] | None = None,
    role: str = "",
    hostname: str = "",
    way: Way = PAIR,
) -> Iterator[Rig]:
    """Give a host whose web guest answers. more: of host.yaml. role: more of what web does."""
    with contextlib.ExitStack() as ends:
        run_in(None, ["ip", "netns", "add", CLIENT])
        ends.callback(run_in, None, ["ip", "netns", "del", CLIENT])
        rig = ends.enter_context(host_in(folder, HOST, more, hostname, way))
        peer = ["peer", "name", "eth0", "netns", CLIENT]
        run_in(HOST, ["ip", "link", "add", "client0", "type", "veth", *peer])
        run_in(HOST, ["ip", "link", "set", "client0", "master", "br0", "up"])
        run_in(CLIENT, ["ip", "link", "set", "eth0", "up"])
        run_in(CLIENT, ["ip", "address", "add", f"{CLIENT_ADDRESS}/24", "dev", "eth0"])
        echo = f"sekisho.role=echo sekisho.address={WEB}/24 {role}"
        rig.libvirtd.boot(rig.libvirtd.define("web", echo, [(WEB_MAC, "br0")]))
        wait_for("web answers", answers)
        yield rig


@contextlib.contextmanager
def host_in(
    folder: Path, netns: str, more: Mapping[str, Any] | None, hostname: str = "", way: Way = PAIR
) -> Iterator[Rig]:
    """Give a host in a namespace of its own, with its appliance and no other guest."""
    config = folder / "host.yaml"
    with contextlib.ExitStack() as ends:
        run_in(None, ["ip", "netns", "add", netns])
        ends.callback(run_in, None, ["ip", "netns", "del", netns])
        run_in(netns, ["ip", "link", "set", "lo", "up"])
        run_in(netns, ["ip", "link", "add", "br0", "up", "type", "bridge", "forward_delay", "0", *way.bridge])
        libvirtd = ends.enter_context(hypervisor(folder, netns, hook_of(config), hostname))
        document = {
            "libvirt": libvirtd.uri,
            "state_dir": "state",
            "socket": "helper.sock",
            **way.helper,
            **(more or {}),
        }
        config.write_text(yaml.safe_dump(document))
        rig = Rig(folder, libvirtd, netns)
        ends.callback(rig.stop_helper)
        rig.start_helper()
        libvirtd.boot(libvirtd.define("sekisho", way.role, way.cards))
        yield rig
        for name in ("helper.log", "hook.log"):
            if (folder / name).exists():
                print(f"{hostname} {name}:\n{(folder / name).read_text()[-4000:]}")


def joined(one: Rig, other: Rig) -> None:
    """Connect the bridges that the hosts' guests share, with a wire: wire0 to wire1."""
    run_in(
        one.netns,
        ["ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", other.netns],
    )
    for netns, end in ((one.netns, "wire0"), (other.netns, "wire1")):
        run_in(netns, ["ip", "link", "set", end, "master", "br0", "up"])


@contextlib.contextmanager
def pinging() -> Iterator[list[int]]:
    """Ping web every 50 ms; afterwards the list says how many were sent, answered, lost in a row at most."""
    command = command_in(CLIENT, [sys.executable, "-c", PINGER, WEB])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    counts: list[int] = []
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    try:
        yield counts
        output, _ = process.communicate(timeout=60)
        counts += map(int, output.split())
    finally:
        process.kill()
        process.wait()


def talking() -> contextlib.AbstractContextManager[Callable[[], None]]:
    """Give a function that says something over one TCP connection to web and hears it again."""
    return host_helper_fixture.talking(CLIENT, WEB, connect_s=60, hear_s=60)


def answers() -> bool:
    program = f"import socket; socket.create_connection(('{WEB}', 7), 2)"
    return (
        subprocess.run(command_in(CLIENT, [sys.executable, "-c", program]), capture_output=True).returncode
        == 0
    )
