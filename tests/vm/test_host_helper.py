"""The host helper with a real libvirtd and real, emulated guests: topology pair.

The appliance here is a guest that joins its cards in a bridge; what it does to the frames between is others'
tests'. The client is a namespace on the bridge that the guests share.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import libvirt
import pytest
import yaml

from appliance.netns import command_in, run_in
from tests.host_helper_fixture import ROOT, HelperFolder, hook_of
from tests.vm.hypervisor import Hypervisor, hypervisor, master_of, tap_of, wait_for

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
EVERY_S = 0.05
LOST_AT_MOST = 20
"""In a row, at one every 50 ms: less than a second."""

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
TALKER = """\
import socket, sys
c = socket.create_connection((sys.argv[1], 7), 60)
c.settimeout(60)
for line in sys.stdin: c.sendall(line.encode()); print(c.recv(100).decode(), end="", flush=True)
"""


@dataclass(slots=True)
class Rig(HelperFolder):
    """A host with libvirtd, the helper, an appliance and a web guest."""

    libvirtd: Hypervisor
    helper: subprocess.Popen[bytes] | None = None

    def start_helper(self) -> None:
        self.helper = self.serve(HOST)
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

    def web(self) -> Any:
        return self.libvirtd.connection.lookupByName("web")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("kvm")
    config = folder / "host.yaml"
    hook = hook_of(config)
    with contextlib.ExitStack() as ends:
        for name in (HOST, CLIENT):
            run_in(None, ["ip", "netns", "add", name])
            ends.callback(run_in, None, ["ip", "netns", "del", name])
        run_in(HOST, ["ip", "link", "set", "lo", "up"])
        run_in(HOST, ["ip", "link", "add", "br0", "up", "type", "bridge", "forward_delay", "0"])
        peer = ["peer", "name", "eth0", "netns", CLIENT]
        run_in(HOST, ["ip", "link", "add", "client0", "type", "veth", *peer])
        run_in(HOST, ["ip", "link", "set", "client0", "master", "br0", "up"])
        run_in(CLIENT, ["ip", "link", "set", "eth0", "up"])
        run_in(CLIENT, ["ip", "address", "add", f"{CLIENT_ADDRESS}/24", "dev", "eth0"])
        libvirtd = ends.enter_context(hypervisor(folder, HOST, hook))
        document = {
            "libvirt": libvirtd.uri,
            "state_dir": "state",
            "socket": "helper.sock",
            "pair": {"appliance": "sekisho", "segments": [{"bridge": "br0", "pairs": list(PAIRS)}]},
        }
        config.write_text(yaml.safe_dump(document))
        rig = Rig(folder, libvirtd)
        ends.callback(rig.stop_helper)
        rig.start_helper()
        libvirtd.boot(libvirtd.define("sekisho", "sekisho.role=bridge", APPLIANCE_NICS))
        role = f"sekisho.role=echo sekisho.address={WEB}/24"
        libvirtd.boot(libvirtd.define("web", role, [(WEB_MAC, "br0")]))
        wait_for("web answers", answers)
        yield rig
        for name in ("helper.log", "hook.log"):
            if (folder / name).exists():
                print(f"{name}:\n{(folder / name).read_text()[-4000:]}")


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


@contextlib.contextmanager
def talking() -> Iterator[Any]:
    """Give a function that says something over one TCP connection to web and hears it again."""
    command = command_in(CLIENT, [sys.executable, "-c", TALKER, WEB])
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


def answers() -> bool:
    program = f"import socket; socket.create_connection(('{WEB}', 7), 2)"
    return (
        subprocess.run(command_in(CLIENT, [sys.executable, "-c", program]), capture_output=True).returncode
        == 0
    )


def test_a_running_guest_is_moved_with_its_connection_open_and_less_than_a_second_lost(rig: Rig) -> None:
    web = rig.web()
    for command, place in (("protect", PAIRS), ("unprotect", ("br0",)), ("protect", PAIRS)):
        with talking() as say, pinging() as counts:
            wait_for("it is heard of", lambda: WEB in rig.guest("web")["vnics"][0]["addresses"])
            done = rig.sekisho(command, "web")
            assert done.returncode == 0, done.stderr
            say()
        print(f"{command}: {done.stdout.strip()}; sent, answered, lost in a row: {counts}")
        assert counts[2] < LOST_AT_MOST
        tap = tap_of(web, WEB_MAC)
        assert master_of(HOST, tap) in place
        assert f"bridge='{master_of(HOST, tap)}'" in web.XMLDesc()
        assert "bridge='br0'" in web.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert rig.guest("web")["vnics"][0]["led_through"]


def test_a_guest_is_led_through_before_its_first_packet_each_time_it_starts(rig: Rig) -> None:
    assert rig.guest("web")["protected"], "left so by the test before"
    web = rig.web()
    web.destroy()
    web.create()
    tap = tap_of(web, WEB_MAC)
    assert master_of(HOST, tap) in PAIRS, (rig.folder / "hook.log").read_text()
    wait_for("libvirt knows it", lambda: f"bridge='{master_of(HOST, tap)}'" in web.XMLDesc())
    wait_for("web answers", answers)
    assert rig.guest("web")["vnics"][0]["led_through"]


def test_a_renamed_guest_stays_who_it_is_and_another_of_its_name_is_not_it(rig: Rig) -> None:
    connection = rig.libvirtd.connection
    other = rig.libvirtd.define("other", "sekisho.role=none", [(OTHER_MAC, "br0")])
    wait_for("other is known", lambda: ("defined", "other") in rig.events())
    other.rename("renamed")
    wait_for("it is renamed", lambda: ("renamed", "renamed") in rig.events())
    assert rig.guest("renamed")["known_as"] == "other"
    again = rig.libvirtd.define("other", "sekisho.role=none", [(OTHER_MAC, "br0")])
    try:
        known_as = rig.guest("other")["known_as"]
        assert known_as.startswith("other@")
        assert rig.guest("other")["uuid"] != rig.guest("renamed")["uuid"]
    finally:
        for each in (again, connection.lookupByName("renamed")):
            rig.libvirtd.remove(each)


def test_a_guest_with_a_protected_ones_mac_is_not_led_through(rig: Rig) -> None:
    twin = rig.libvirtd.define("twin", "sekisho.role=none", [(WEB_MAC, "br0")])
    try:
        twin.create()
        assert master_of(HOST, tap_of(twin, WEB_MAC)) == "br0"
        assert rig.guest("twin")["protected"] is False
    finally:
        rig.libvirtd.remove(twin)
    wait_for("web answers", answers)


def test_a_vnic_that_is_plugged_in_is_led_through_too(rig: Rig) -> None:
    card = f"<interface type='bridge'><mac address='{OTHER_MAC}'/><source bridge='br0'/>"
    card += "<model type='virtio'/></interface>"
    web = rig.web()
    web.attachDeviceFlags(card, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    wait_for("it is on a pair bridge", lambda: master_of(HOST, tap_of(web, OTHER_MAC)) in PAIRS)
    assert ("vnics-changed", "web") in rig.events()


def test_a_persistent_protection_is_in_the_stored_definition_until_it_is_taken_back(rig: Rig) -> None:
    web = rig.web()

    def stored() -> str:
        return str(web.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    assert rig.sekisho("protect", "web", "--persistent").returncode == 0
    assert any(f"bridge='{pair}'" in stored() for pair in PAIRS)
    assert rig.sekisho("unprotect", "web").returncode == 0
    assert "bridge='br0'" in stored() and not any(f"bridge='{pair}'" in stored() for pair in PAIRS)
    assert rig.sekisho("protect", "web").returncode == 0


def test_a_vnic_past_every_bridge_is_refused_by_name_and_shown(rig: Rig) -> None:
    xml = rig.libvirtd.xml("fast", "sekisho.role=none", [(OTHER_MAC, "br0")])
    fast = rig.libvirtd.connection.defineXML(
        xml.replace("<interface type='bridge'>", "<interface type='direct'>").replace(
            "<source bridge='br0'/>", "<source dev='client0' mode='bridge'/>"
        )
    )
    try:
        done = rig.sekisho("protect", "fast")
        assert done.returncode == 1 and OTHER_MAC in done.stderr and "macvtap" in done.stderr
        assert "unprotected: macvtap" in rig.sekisho("list").stdout
    finally:
        rig.libvirtd.remove(fast)


def test_protection_outlives_a_libvirtd_that_goes_and_discovery_comes_back_with_it(rig: Rig) -> None:
    rig.libvirtd.stop()
    wait_for("it is missed", lambda: "does not answer" in rig.sekisho("list").stderr)
    assert answers()
    rig.libvirtd.start()
    wait_for("the helper is back", lambda: rig.sekisho("list").returncode == 0)
    assert rig.guest("web")["vnics"][0]["led_through"]
    assert [what for what, name in rig.events() if not name][-2:] == ["disconnected", "connected"]


def test_all_guests_are_connected_as_before_when_told(rig: Rig) -> None:
    would = rig.sekisho("unprotect", "--all", "--dry-run")
    assert f"would: web: {WEB_MAC} is connected to br0" in would.stdout
    assert rig.sekisho("unprotect", "--all").returncode == 0
    web = rig.web()
    assert master_of(HOST, tap_of(web, WEB_MAC)) == "br0"
    assert answers()
