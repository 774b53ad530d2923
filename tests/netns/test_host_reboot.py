"""A host in topology host loses power and comes back; its guests are namespaces, started as libvirt does it.

libvirt's hook is called with each guest's XML when its tap is there, and the guest has no network before the
hook has answered. The taps have the names that other guests' had before.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import yaml

from appliance import lab
from appliance.netns import command_in, exists, run_in
from tests.host_helper_fixture import ROOT
from tests.manager_fixture import running_manager
from tests.netns.control_fixture import appliance_in
from tests.netns.kit import BACKEND
from tests.netns.reboot_kit import CLIENT_ADDRESS, ECHO, FORBIDDEN, GUESTS, Host, comes_back_protected

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

PREFIX = f"skt-off-{os.getpid()}"
CLIENT = f"{PREFIX}-client"
GUEST = """\
import contextlib, socket, sys, threading, time
def answer(c):
    with c, contextlib.suppress(OSError):
        while data := c.recv(100): c.sendall(data)
def listen(s):
    while True: threading.Thread(target=answer, args=(s.accept()[0],), daemon=True).start()
threading.Thread(target=listen, args=(socket.create_server(('', int(sys.argv[1]))),), daemon=True).start()
print('up', flush=True)
while True:
    with contextlib.suppress(OSError): socket.create_connection((sys.argv[2], int(sys.argv[3])), 0.5).close()
    time.sleep(0.1)
"""


@dataclass(slots=True)
class Guests:
    """Three namespaces that answer and call; what they are plugged in with goes with the host."""

    host: Host
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, taps: Sequence[str]) -> None:
        """Start all, each with its tap."""
        guests = [
            {"name": name, "segment": "vms", "vnics": [{"name": "eth0", "tap": tap, "mac": mac}]}
            for (name, (mac, _)), tap in zip(GUESTS.items(), taps, strict=True)
        ]
        document = {"segments": [{"name": "vms", "bridge": "br0"}], "guests": guests}
        (self.host.folder / "host-guests.yaml").write_text(yaml.safe_dump(document))
        for name, tap in zip(GUESTS, taps, strict=True):
            self._start(name, tap)

    def end(self) -> None:
        """End all at once."""
        for process in self.running:
            process.kill()
            process.communicate()
        self.running.clear()

    def _start(self, name: str, tap: str) -> None:
        (mac, address), netns = GUESTS[name], f"{PREFIX}-{name}"
        peer = ["peer", "name", "eth0", "netns", netns, "address", mac]
        run_in(self.host.netns, ["ip", "link", "add", tap, "type", "veth", *peer])
        run_in(self.host.netns, ["ip", "link", "set", tap, "master", "br0", "up"])
        self._call_hook(name, tap, mac)
        argv = [sys.executable, "-c", GUEST, str(ECHO), CLIENT_ADDRESS, str(FORBIDDEN)]
        process = subprocess.Popen(command_in(netns, argv), stdout=subprocess.PIPE, text=True)
        self.running.append(process)
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        run_in(netns, ["ip", "address", "add", f"{address}/24", "dev", "eth0"])
        run_in(netns, ["ip", "link", "set", "eth0", "up"])

    def _call_hook(self, name: str, tap: str, mac: str) -> None:
        card = f"<mac address='{mac}'/><source bridge='br0'/><target dev='{tap}'/>"
        xml = f"<domain><name>{name}</name><uuid>{self.host.guest(name)['uuid']}</uuid><devices>"
        xml += f"<interface type='bridge'>{card}</interface></devices></domain>"
        hook = [
            sys.executable,
            "-m",
            "host_helper.cli",
            "hook",
            "--config",
            str(self.host.folder / "host.yaml"),
        ]
        done = subprocess.run(
            [*hook, name, "start", "begin", "-"], input=xml, capture_output=True, text=True, cwd=ROOT
        )
        # where the rules take longer than the hook may, the tap waits for them
        assert done.returncode == 0, done.stderr


@pytest.fixture
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guests]:
    """The guests of a host; all are protected and their manager is gone."""
    folder = tmp_path_factory.mktemp("off")
    settings = lab.LabSettings(run_dir=folder, prefix=PREFIX)
    with contextlib.ExitStack() as ends:
        for name in (settings.bridge_netns, CLIENT, *(f"{PREFIX}-{name}" for name in GUESTS)):
            run_in(None, ["ip", "netns", "add", name])
            ends.callback(lambda name=name: exists(name) and run_in(None, ["ip", "netns", "del", name]))
            run_in(name, ["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"])
        manager = ends.enter_context(running_manager(tmp_path_factory.mktemp("manager")))
        config = {"guests": str(folder / "guests.yaml")} | ({"backend": BACKEND.value} if BACKEND else {})
        appliance = ends.enter_context(appliance_in(folder / "appliance", settings, manager, **config))
        host = Host(folder, appliance, settings.bridge_netns, CLIENT)
        host.configure(guests="host-guests.yaml")
        guests = Guests(host)
        ends.callback(guests.end)
        ends.callback(lambda: host.helper and host.helper.kill())
        host.bring_network_up()
        appliance.start()
        (folder / "host-guests.yaml").write_text(yaml.safe_dump({"segments": [], "guests": []}))
        host.start_helper()
        guests.start(("vnet0", "vnet1", "vnet2"))
        for name in GUESTS:
            host.protect(name)
        host.have_policy(manager)
        yield guests
        print(host.logs())


def test_after_a_power_cut_nothing_passes_unfiltered_though_taps_have_other_guests_names(
    guests: Guests,
) -> None:
    guests.host.lose_power(guests.end)
    comes_back_protected(guests.host, lambda: guests.start(("vnet1", "vnet2", "vnet0")))
