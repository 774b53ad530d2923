"""A host in topology host that loses power and comes back, with three guests that start with it.

Everything of the host is ended at once: guests, helper, appliance. Its namespace goes, and with it bridges,
taps, rules and connections; what is on disk stays. Then it is started in the order that the units declare:
appliance, network, helper, guests. The manager stays away. The client asks, attacks and knocks at a forbidden
port from the first moment of the network on, every guest calls one of the client's from its own.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from appliance.netns import command_in, run_in
from tests.host_helper_fixture import HelperFolder
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import Appliance, runs, wait_for
from tests.vm.capture import Capture

PATIENCE = float(os.environ.get("SEKISHO_TEST_PATIENCE", "1"))
REACHABLE_WITHIN_S = 60.0 * PATIENCE
OFF_S = 3.0
CLIENT_ADDRESS, CLIENT_MAC = "10.86.0.9", "52:54:00:00:0c:09"
GUESTS = {name: (f"52:54:00:00:0c:0{number}", f"10.86.0.{number}") for number, name in enumerate("abc", 1)}
"""MAC and address by name."""
ECHO, FORBIDDEN = 7, 4444
EVIL = b"evil-7"
RULES = f"""\
alert tcp any any -> $HOME_NET {ECHO} (msg:"evil"; flow:to_server; content:"{EVIL.decode()}"; sid:1;)
"""
FIREWALL = {
    "rules": [{"action": "allow", "direction": "in", "protocol": "tcp", "ports": str(ECHO)}],
    "default_in": "deny",
    "default_out": "deny",
}
CLOSED = dict.fromkeys(
    ("inspector_down", "queue_full", "memory", "malformed", "midstream", "parser_error"), "closed"
)
PESTERER = """\
import json, os, socket, sys, threading, time
def told(*what): os.write(1, json.dumps([time.monotonic(), *what]).encode() + b'\\n')  # whole lines
def ask(name, address, port, kind, sends):
    while True:
        try:
            with socket.create_connection((address, port), 0.5) as c:
                c.sendall(sends)
                told(name, kind, 'answered' if c.recv(100) == sends else 'cut')
        except ConnectionRefusedError: told(name, kind, 'refused')
        except OSError: told(name, kind, 'nothing')
        time.sleep(0.05)
echo, forbidden, evil = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
asked = (echo, 'hello', b'hello'), (echo, 'attack', evil), (forbidden, 'knock', b'hello')
for each in sys.argv[4:]:
    for what in asked: threading.Thread(target=ask, args=(*each.split('='), *what)).start()
"""


def passed(capture: Capture) -> Counter[str]:
    """Return how many frames of a kind passed between guests and others; the host's own are no one's."""
    guests = {bytes.fromhex(mac.replace(":", "")) for mac, _ in GUESTS.values()}
    senders = {*guests, bytes.fromhex(CLIENT_MAC.replace(":", ""))}
    return Counter(
        _kind(each.frame)
        for each in capture.frames
        if each.went_out
        and each.port.startswith(("vnet", "client"))
        and each.frame[6:12] in (senders if each.port.startswith("vnet") else guests)
    )


def _kind(frame: bytes) -> str:
    """Say in a word what a frame is."""
    ethertype = int.from_bytes(frame[12:14])
    if ethertype == 0x0806:
        return "arp"
    if ethertype == 0x86DD and frame[20] == socket.IPPROTO_ICMPV6 and frame[54] in range(133, 137):
        return "nd"
    if ethertype != 0x0800:
        return f"ethertype {ethertype:#06x} {frame[14:62].hex()}"
    header = 14 + (frame[14] & 15) * 4
    if frame[23] != socket.IPPROTO_TCP:
        return f"protocol {frame[23]}"
    if EVIL in frame:
        return "attack"
    ports = struct.unpack("!HH", frame[header : header + 4])
    return "echo" if ECHO in ports else f"tcp {min(ports)}"


@contextlib.contextmanager
def pestering(client: str, said: list[list[Any]]) -> Iterator[None]:
    """Have the client ask, attack and knock at all guests; what came of it is appended, with the time."""
    pairs = [f"{name}={address}" for name, (_, address) in GUESTS.items()]
    argv = [sys.executable, "-c", PESTERER, str(ECHO), str(FORBIDDEN), EVIL.decode(), *pairs]
    process = subprocess.Popen(command_in(client, argv), stdout=subprocess.PIPE, text=True)

    def listen() -> None:
        assert process.stdout is not None
        said.extend(map(json.loads, process.stdout))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield
    finally:
        process.kill()
        process.wait()
        thread.join()


def reached(said: list[list[Any]]) -> dict[str, float]:
    """Return when each guest answered an ordinary request first."""
    first: dict[str, float] = {}
    for when, name, kind, became in said:
        if (kind, became) == ("hello", "answered"):
            first.setdefault(name, when)
    return first


@dataclass(slots=True)
class Host(HelperFolder):
    """The host, with what runs on it."""

    appliance: Appliance
    netns: str
    client: str
    helper: subprocess.Popen[bytes] | None = None

    def configure(self, failure: Mapping[str, str] = CLOSED, **source: str) -> None:
        """Write the helper's configuration; source: where it has its guests from."""
        segment = {"name": "vms", "bridge": "br0", "failure": dict(failure)}
        document = {
            **source,
            "state_dir": "state",
            "socket": "helper.sock",
            "host": {"guests_file": "guests.yaml", "segments": [segment]},
        }
        (self.folder / "host.yaml").write_text(yaml.safe_dump(document))
        (self.folder / "guests.yaml").write_text(yaml.safe_dump({"segments": [segment], "guests": []}))

    def bring_network_up(self) -> None:
        """Make the bridge, with the client at a port of it."""
        run_in(self.netns, ["ip", "link", "set", "lo", "up"])
        run_in(self.netns, ["ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0"])
        run_in(self.netns, ["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/br0/disable_ipv6"])
        peer = ["peer", "name", "eth0", "netns", self.client, "address", CLIENT_MAC]
        run_in(self.netns, ["ip", "link", "add", "client0", "type", "veth", *peer])
        run_in(self.netns, ["ip", "link", "set", "client0", "master", "br0", "up"])
        run_in(self.client, ["ip", "address", "add", f"{CLIENT_ADDRESS}/24", "dev", "eth0"])
        run_in(self.client, ["ip", "link", "set", "eth0", "up"])
        run_in(self.netns, ["ip", "link", "set", "br0", "up"])

    def start_helper(self) -> None:
        """Start it, and wait until it listens; libvirt may not be there yet."""
        self.helper = self.serve(self.netns)
        wait_for("the helper listens", (self.folder / "helper.sock").exists)

    def protect(self, name: str) -> None:
        """Protect a guest that runs."""
        wait_for(f"{name} is protected: {self.log()}", lambda: self.sekisho("protect", name).returncode == 0)

    def have_policy(self, manager: RunningManager) -> None:
        """Have attacks stopped, and all that is not asked for denied; then the manager is gone."""
        self.appliance.push(RULES)
        self.appliance.assign("prevent")
        for name in GUESTS:
            path = f"/appliances/{self.appliance.name}/guests/{name}/firewall"
            manager.operator.put(path, json=FIREWALL).raise_for_status()
        self.appliance.in_step()
        manager.stop()

    def lose_power(self, end_guests: Callable[[], None]) -> None:
        """End everything at once, and forget what is not on disk."""
        control, helper = self.appliance.process, self.helper
        assert control is not None and helper is not None
        others = [self.appliance.inspector(), self.appliance.watchdog()]
        for process in (control, helper):
            process.send_signal(signal.SIGKILL)
        end_guests()
        for process in (control, helper):
            process.wait(timeout=60)
        wait_for("the appliance's parts are gone", lambda: not any(map(runs, others)))
        run_in(None, ["ip", "netns", "del", self.netns])
        wait_for("its wires are gone", lambda: "eth0" not in run_in(self.client, ["ip", "-br", "link"]))
        (self.folder / "helper.sock").unlink()

    def led_through(self) -> set[str]:
        """Return the guests of which the helper says so; none while it does not answer."""
        done = self.sekisho("list", "--json")
        listed = json.loads(done.stdout)["guests"] if done.returncode == 0 else []
        return {each["name"] for each in listed if any(vnic["led_through"] for vnic in each["vnics"])}

    def logs(self) -> str:
        """Return the ends of what its parts wrote."""
        found = [self.folder / name for name in ("helper.log", "hook.log", "appliance/appliance.log")]
        return "\n".join(f"{path}:\n{path.read_text()[-4000:]}" for path in found if path.exists())


def comes_back_protected(host: Host, start_guests: Callable[[], None]) -> None:
    """Start the host again, and see that only what is allowed passed, and all guests are reachable soon."""
    time.sleep(OFF_S)
    said: list[list[Any]] = []
    capture = Capture(host.netns)
    began = time.monotonic()
    run_in(None, ["ip", "netns", "add", host.netns])
    host.appliance.start()
    with capture.running():
        host.bring_network_up()
        with pestering(host.client, said):
            host.start_helper()
            start_guests()
            wait_for("all guests answer", lambda: len(reached(said)) == len(GUESTS), 4 * REACHABLE_WITHIN_S)
            wait_for("the helper says so", lambda: host.led_through() == set(GUESTS))
            time.sleep(3)
            outcomes, seen = Counter((kind, became) for _, _, kind, became in said), passed(capture)
            # what was not seen would have been seen
            assert host.appliance.cli("bypass", "--guest", "a", "--for", "60s").returncode == 0
            wait_for("attacks pass when told", lambda: ["a", "attack", "answered"] in [s[1:] for s in said])
            assert passed(capture)["attack"]
    times = {name: round(when - began, 1) for name, when in reached(said).items()}
    print(f"reachable after, in seconds: {times}; frames that passed: {dict(seen)}; {dict(outcomes)}")
    assert capture.lost == 0
    assert set(seen) <= {"arp", "nd", "echo"} and {"arp", "echo"} <= set(seen)
    assert not [each for each in outcomes if each[0] != "hello" and each[1] in ("answered", "refused")]
    assert all(seconds < REACHABLE_WITHIN_S for seconds in times.values())
    hook: Path = host.folder / "hook.log"
    assert not hook.exists() or "without its protection" not in hook.read_text()
    (gap,) = [each["sekisho"] for each in host.appliance.noted("started") if not each["sekisho"]["first"]]
    assert not gap["rules_stood"] and gap["away_s"] >= OFF_S
    assert "no protection for" in host.appliance.cli("status").stdout
