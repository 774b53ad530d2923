"""A KVM host in topology host loses power and comes back, with three guests that start with it.

Everything of the host is ended at once: libvirtd, its guests, the helper, the appliance. Its namespace goes,
and with it bridges, taps, rules and connections; what is on disk stays. Then it is started in the order that
the units declare: appliance, network, helper, libvirtd. The manager stays away. The client attacks and
knocks at a forbidden port from the first moment of the network on, every guest calls one from its own.
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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from appliance import lab
from appliance.netns import command_in, exists, run_in
from tests.host_helper_fixture import HelperFolder, hook_of
from tests.manager_fixture import running_manager
from tests.netns.control_fixture import Appliance, appliance_in, runs
from tests.vm.capture import Capture
from tests.vm.hypervisor import Hypervisor, hypervisor, wait_for

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

PATIENCE = float(os.environ.get("SEKISHO_TEST_PATIENCE", "1"))
REACHABLE_WITHIN_S = 60.0 * PATIENCE
PREFIX = f"skt-boot-{os.getpid()}"
CLIENT = f"{PREFIX}-client"
CLIENT_ADDRESS, CLIENT_MAC = "10.86.0.9", "52:54:00:00:0c:09"
GUESTS = {name: (f"52:54:00:00:0c:0{number}", f"10.86.0.{number}") for number, name in enumerate("abc", 1)}
"""MAC and address by name."""
ECHO, FORBIDDEN = 7, 4444
OFF_S = 3.0
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


@dataclass(slots=True)
class Host(HelperFolder):
    """The host, with what runs on it."""

    libvirtd: Hypervisor
    appliance: Appliance
    netns: str
    helper: subprocess.Popen[bytes] | None = None

    def bring_network_up(self) -> None:
        """Make the bridge, with the client at a port of it."""
        run_in(self.netns, ["ip", "link", "set", "lo", "up"])
        run_in(self.netns, ["ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0"])
        run_in(self.netns, ["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/br0/disable_ipv6"])
        peer = ["peer", "name", "eth0", "netns", CLIENT, "address", CLIENT_MAC]
        run_in(self.netns, ["ip", "link", "add", "client0", "type", "veth", *peer])
        run_in(self.netns, ["ip", "link", "set", "client0", "master", "br0", "up"])
        run_in(CLIENT, ["ip", "address", "add", f"{CLIENT_ADDRESS}/24", "dev", "eth0"])
        run_in(CLIENT, ["ip", "link", "set", "eth0", "up"])
        run_in(self.netns, ["ip", "link", "set", "br0", "up"])

    def start_helper(self) -> None:
        """Start it, and wait until it listens; libvirt may not be there yet."""
        self.helper = self.serve(self.netns)
        wait_for("the helper listens", (self.folder / "helper.sock").exists)

    def lose_power(self) -> None:
        """End everything at once, and forget what is not on disk."""
        control, helper = self.appliance.process, self.helper
        assert control is not None and helper is not None
        others = [self.appliance.inspector(), self.appliance.watchdog()]
        for process in (control, helper):
            process.send_signal(signal.SIGKILL)
        self.libvirtd.lose_power()
        for process in (control, helper):
            process.wait(timeout=60)
        wait_for("the appliance's parts are gone", lambda: not any(map(runs, others)))
        run_in(None, ["ip", "netns", "del", self.netns])
        wait_for("its wires are gone", lambda: "eth0" not in run_in(CLIENT, ["ip", "-br", "link"]))
        (self.folder / "helper.sock").unlink()

    def led_through(self) -> set[str]:
        """Return the guests of which the helper says so; none while it does not answer."""
        done = self.sekisho("list", "--json")
        listed = json.loads(done.stdout)["guests"] if done.returncode == 0 else []
        return {each["name"] for each in listed if each["vnics"][0]["led_through"]}


@contextlib.contextmanager
def pestering(said: list[list[Any]]) -> Iterator[None]:
    """Have the client ask, attack and knock at all guests; what came of it is appended, with the time."""
    pairs = [f"{name}={address}" for name, (_, address) in GUESTS.items()]
    argv = [sys.executable, "-c", PESTERER, str(ECHO), str(FORBIDDEN), EVIL.decode(), *pairs]
    process = subprocess.Popen(command_in(CLIENT, argv), stdout=subprocess.PIPE, text=True)

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


def _what(told: list[Any]) -> tuple[Any, ...]:
    return tuple(told[1:])


def reached(said: list[list[Any]]) -> dict[str, float]:
    """Return when each guest answered an ordinary request first."""
    first: dict[str, float] = {}
    for when, name, kind, became in said:
        if (kind, became) == ("hello", "answered"):
            first.setdefault(name, when)
    return first


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host whose three guests are protected and start with it; their manager is gone."""
    folder = tmp_path_factory.mktemp("boot")
    settings = lab.LabSettings(run_dir=folder, prefix=PREFIX)
    netns = settings.bridge_netns
    config = folder / "host.yaml"
    hook = hook_of(config)
    with contextlib.ExitStack() as ends:
        for name in (netns, CLIENT):
            run_in(None, ["ip", "netns", "add", name])
            ends.callback(lambda name=name: exists(name) and run_in(None, ["ip", "netns", "del", name]))
        run_in(CLIENT, ["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"])
        libvirtd = ends.enter_context(hypervisor(folder, netns, hook))
        segment = {"name": "vms", "bridge": "br0", "failure": CLOSED}
        document = {
            "libvirt": libvirtd.uri,
            "state_dir": "state",
            "socket": "helper.sock",
            "host": {"guests_file": "guests.yaml", "segments": [segment]},
        }
        config.write_text(yaml.safe_dump(document))
        (folder / "guests.yaml").write_text(yaml.safe_dump({"segments": [segment], "guests": []}))
        manager = ends.enter_context(running_manager(tmp_path_factory.mktemp("manager")))
        appliance = ends.enter_context(
            appliance_in(folder / "appliance", settings, manager, guests=str(folder / "guests.yaml"))
        )
        host = Host(folder, libvirtd, appliance, netns)
        ends.callback(lambda: host.helper and host.helper.kill())
        host.bring_network_up()
        appliance.start()
        host.start_helper()
        for name, (mac, address) in GUESTS.items():
            role = f"sekisho.role=echo sekisho.address={address}/24"
            role += f" sekisho.calls={CLIENT_ADDRESS}:{FORBIDDEN}"
            domain = libvirtd.define(name, role, [(mac, "br0")])
            domain.setAutostart(True)
            libvirtd.boot(domain)
            wait_for("libvirt is listened to", lambda: host.sekisho("list").returncode == 0)
            done = host.sekisho("protect", name)
            assert done.returncode == 0, done.stderr
        appliance.push(RULES)
        appliance.assign("prevent")
        for name in GUESTS:
            path = f"/appliances/{appliance.name}/guests/{name}/firewall"
            manager.operator.put(path, json=FIREWALL).raise_for_status()
        appliance.in_step()
        manager.stop()
        yield host
        for log in ("helper.log", "hook.log", "appliance/appliance.log"):
            if (folder / log).exists():
                print(f"{log}:\n{(folder / log).read_text()[-4000:]}")


def test_after_a_power_cut_nothing_passes_unfiltered_and_all_guests_are_reachable_within_a_minute(
    host: Host,
) -> None:
    host.lose_power()
    time.sleep(OFF_S)
    said: list[list[Any]] = []
    capture = Capture(host.netns)
    began = time.monotonic()
    run_in(None, ["ip", "netns", "add", host.netns])
    host.appliance.start()
    with capture.running():
        host.bring_network_up()
        with pestering(said):
            host.start_helper()
            host.libvirtd.start()
            wait_for("all guests answer", lambda: len(reached(said)) == len(GUESTS))
            wait_for("the helper says so", lambda: host.led_through() == set(GUESTS))
            time.sleep(3)
            outcomes = Counter((kind, became) for _, _, kind, became in said)
            seen = passed(capture)
            # what was not seen would have been seen
            assert host.appliance.cli("bypass", "--guest", "a", "--for", "60s").returncode == 0
            wait_for("attacks pass when told", lambda: ("a", "attack", "answered") in map(_what, said))
            assert passed(capture)["attack"]
    times = {name: round(when - began, 1) for name, when in reached(said).items()}
    print(f"reachable after, in seconds: {times}; frames that passed: {dict(seen)}; {dict(outcomes)}")
    assert capture.lost == 0
    assert set(seen) == {"arp", "nd", "echo"}
    assert not [each for each in outcomes if each[0] != "hello" and each[1] in ("answered", "refused")]
    assert all(seconds < REACHABLE_WITHIN_S for seconds in times.values())
    assert "without its protection" not in (host.folder / "hook.log").read_text()
    (gap,) = [each["sekisho"] for each in host.appliance.noted("started") if not each["sekisho"]["first"]]
    assert not gap["rules_stood"] and gap["away_s"] >= OFF_S
    assert "no protection for" in host.appliance.cli("status").stdout
