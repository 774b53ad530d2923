"""The host helper started for a test, and asked as an operator asks it; a host for it, in namespaces."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from appliance.netns import command_in, run_in
from host_helper.identity import keep, signing_request
from manager_api import tls

ROOT = Path(__file__).resolve().parents[1]
ASKED_S = 300.0
KNOCK = """\
import socket, sys
s = socket.socket()
s.settimeout(1.5)
try: s.connect((sys.argv[1], 9))
except ConnectionRefusedError: print('refused')
except OSError: pass
"""


TALKER = """\
import socket, sys
c = socket.create_connection((sys.argv[1], 7), float(sys.argv[2]))
c.settimeout(float(sys.argv[3]))
for line in sys.stdin: c.sendall(line.encode()); print(c.recv(100).decode(), end="", flush=True)
"""


@contextlib.contextmanager
def talking(netns: str, address: str, *, connect_s: float, hear_s: float) -> Iterator[Callable[[], None]]:
    """Give a function that says something over one TCP connection to an echo at port 7 and hears it."""
    command = command_in(netns, [sys.executable, "-c", TALKER, address, str(connect_s), str(hear_s)])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say() -> None:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("are you there\n")
        process.stdin.flush()
        assert process.stdout.readline() == "are you there\n"

    try:
        say()
        yield say
    finally:
        process.kill()
        process.communicate()


ECHO = """\
import socket, threading
def answer(connection):
    with connection:
        while data := connection.recv(100): connection.sendall(data)
listener = socket.create_server(('', 7))
print('up', flush=True)
while True: threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
"""


@contextlib.contextmanager
def echoing(netns: str) -> Iterator[None]:
    """Have somebody at port 7 who says again what is said to it."""
    command = command_in(netns, [sys.executable, "-c", ECHO])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        yield
    finally:
        process.kill()
        process.communicate()


def hook_of(config: Path) -> str:
    """Return libvirt's hook with this checkout's helper behind it; what it says is beside config."""
    return f"""#!/bin/sh
cd {ROOT} && exec 2>>{config.parent}/hook.log
PYTHONPATH={ROOT} exec {sys.executable} -m host_helper.cli hook --config {config} "$@"
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Namespaces of a host, an appliance, and guests on the host's bridge br0. guests: MAC and address."""

    prefix: str
    guests: Mapping[str, tuple[str, str]]

    @property
    def host(self) -> str:
        return f"{self.prefix}-host"

    @property
    def appliance(self) -> str:
        return f"{self.prefix}-app"

    def netns_of(self, guest: str) -> str:
        return f"{self.prefix}-{guest}"

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """Have it all there; the appliance is wired to nothing yet, and has a bridge `inside`."""
        names = [self.host, self.appliance, *map(self.netns_of, self.guests)]
        try:
            for name in names:
                run_in(None, ["ip", "netns", "add", name])
            run_in(self.host, ["ip", "link", "set", "lo", "up"])
            self.bridge(self.host, "br0")
            self.bridge(self.appliance, "inside")
            for name, (mac, address) in self.guests.items():
                self.wire(f"{name}0", "br0", self.netns_of(name), "eth0", mac)
                run_in(self.netns_of(name), ["ip", "link", "set", "eth0", "up"])
                run_in(self.netns_of(name), ["ip", "address", "add", f"{address}/24", "dev", "eth0"])
            yield
        finally:
            for name in names:
                with contextlib.suppress(Exception):
                    run_in(None, ["ip", "netns", "del", name])

    def bridge(self, netns: str, name: str) -> None:
        run_in(netns, ["ip", "link", "add", name, "up", "type", "bridge", "forward_delay", "0"])

    def wire(self, tap: str, bridge: str, netns: str, inside: str, mac: str) -> None:
        """Connect a card in the namespace with the host's bridge."""
        peer = ["peer", "name", inside, "netns", netns, "address", mac]
        run_in(self.host, ["ip", "link", "add", tap, "type", "veth", *peer])
        run_in(self.host, ["ip", "link", "set", tap, "master", bridge, "up"])

    def forget_places(self) -> None:
        """Have the bridges forget where guests are: nobody announced that they are back where they were."""
        for netns, bridge in ((self.host, "br0"), (self.appliance, "inside")):
            run_in(netns, ["ip", "link", "set", bridge, "type", "bridge", "fdb_flush"])

    def reaches(self, one: str, other: str) -> bool:
        """Whether the other's system refuses a connection, which it can only if it hears of it."""
        argv = [sys.executable, "-c", KNOCK, self.guests[other][1]]
        return run_in(self.netns_of(one), argv) == "refused\n"


def certify_helper(authority: tls.Authority, identity: Path, address: str) -> None:
    """Leave in the helper's folder what lets it serve at this address."""
    signed = authority.sign_host(signing_request(identity, [address]), [address])
    keep(identity, signed.public_bytes(Encoding.PEM), authority.pem.encode())


@dataclass(slots=True)
class HelperFolder:
    """Where a helper's host.yaml is, with `socket: helper.sock`, and its log."""

    folder: Path

    def serve(self, netns: str) -> subprocess.Popen[bytes]:
        """Start `sekisho-host serve`."""
        command = [
            sys.executable,
            "-m",
            "host_helper.cli",
            "serve",
            "--config",
            str(self.folder / "host.yaml"),
        ]
        with (self.folder / "helper.log").open("ab") as log:
            return subprocess.Popen(command_in(netns, command), stderr=log, cwd=ROOT)

    def guest_command(self, *argv: str) -> list[str]:
        """Return the command line of `sekisho guest`."""
        socket = str(self.folder / "helper.sock")
        return [sys.executable, "-m", "appliance.cli", "guest", "--socket", socket, *argv]

    def sekisho(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run `sekisho guest`."""
        command = self.guest_command(*argv)
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=ASKED_S)

    def guest(self, name: str) -> dict[str, Any]:
        """Return what the helper lists of a guest."""
        report = json.loads(self.sekisho("list", "--json").stdout)
        (found,) = [each for each in report["guests"] if each["name"] == name]
        return dict(found)

    def log(self) -> str:
        """Return the end of the helper's log."""
        return (self.folder / "helper.log").read_text()[-2000:]
