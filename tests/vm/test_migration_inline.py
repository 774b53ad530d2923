"""A protected guest migrates, running, between two hosts in topology host, whose appliances really inspect.

Two real libvirtds, each with a host's name, files, helper and appliance of its own, in a network namespace;
their bridges are connected by a wire, the client is at the first one. The client attacks all the time.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import pytest

from appliance import lab
from appliance.netns import run_in
from tests.host_helper_fixture import hook_of, talking
from tests.manager_fixture import RunningManager, running_manager
from tests.netns.control_fixture import appliance_in, wait_for
from tests.netns.reboot_kit import (
    CLIENT_ADDRESS,
    CLIENT_MAC,
    CLOSED,
    GUESTS,
    RULES,
    Host,
    passed,
    pestering,
)
from tests.vm.capture import Capture
from tests.vm.hypervisor import Hypervisor, hypervisor

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

PREFIX = f"skt-move-{os.getpid()}"
CLIENT = f"{PREFIX}-client"
NAME = "a"
MAC, ADDRESS = GUESTS[NAME]
GOES_ON = CLOSED | {"midstream": "open"}
FLAGS = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where the guest comes from and where it goes."""

    here: Host
    there: Host
    domain: Any
    destination: Hypervisor


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """The guest runs here, protected; both appliances stop the attack."""
    with contextlib.ExitStack() as ends:
        netns = {name: lab.LabSettings(Path(), f"{PREFIX}-{name}").bridge_netns for name in ("here", "there")}
        for each in (*netns.values(), CLIENT):
            run_in(None, ["ip", "netns", "add", each])
            ends.callback(run_in, None, ["ip", "netns", "del", each])
        run_in(CLIENT, ["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"])
        wire_up(**netns)
        manager = ends.enter_context(running_manager(tmp_path_factory.mktemp("manager")))
        here, source = ends.enter_context(host_in(tmp_path_factory.mktemp("here"), "here", manager))
        there, destination = ends.enter_context(host_in(tmp_path_factory.mktemp("there"), "there", manager))
        domain = source.define(NAME, f"sekisho.role=echo sekisho.address={ADDRESS}/24", [(MAC, "br0")])
        source.boot(domain)
        here.protect(NAME)
        for host in (here, there):
            host.appliance.push(RULES)
            host.appliance.assign("prevent")
        yield Hosts(here, there, domain, destination)
        print(here.logs(), there.logs())


def wire_up(here: str, there: str) -> None:
    """Make both bridges, a wire between them, and the client's at the first one."""
    for netns in (here, there):
        run_in(netns, ["ip", "link", "set", "lo", "up"])
        run_in(netns, ["ip", "link", "add", "br0", "up", "type", "bridge", "forward_delay", "0"])
        run_in(netns, ["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/br0/disable_ipv6"])
    run_in(here, ["ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", there])
    peer = ["peer", "name", "eth0", "netns", CLIENT, "address", CLIENT_MAC]
    run_in(here, ["ip", "link", "add", "client0", "type", "veth", *peer])
    for netns, port in ((here, "wire0"), (there, "wire1"), (here, "client0")):
        run_in(netns, ["ip", "link", "set", port, "master", "br0", "up"])
    run_in(CLIENT, ["ip", "address", "add", f"{CLIENT_ADDRESS}/24", "dev", "eth0"])
    run_in(CLIENT, ["ip", "link", "set", "eth0", "up"])


@contextlib.contextmanager
def host_in(folder: Path, name: str, manager: RunningManager) -> Iterator[tuple[Host, Hypervisor]]:
    """Give a host of that name that runs, with nobody on it yet."""
    settings = lab.LabSettings(run_dir=folder, prefix=f"{PREFIX}-{name}")
    guests = str(folder / "guests.yaml")
    with (
        hypervisor(folder, settings.bridge_netns, hook_of(folder / "host.yaml"), name) as libvirtd,
        appliance_in(folder / "appliance", settings, manager, name=name, guests=guests) as appliance,
        contextlib.ExitStack() as ends,
    ):
        host = Host(folder, appliance, settings.bridge_netns, CLIENT)
        host.configure(GOES_ON, libvirt=libvirtd.uri)
        ends.callback(lambda: host.helper and host.helper.kill())
        appliance.start()
        host.start_helper()
        yield host, libvirtd


def test_a_guest_that_migrates_is_shielded_there_from_its_first_frame_and_goes_on(hosts: Hosts) -> None:
    here, there = hosts.here, hosts.there
    wait_for("it is marked", lambda: "urn:sekisho:host" in hosts.domain.XMLDesc())
    capture, said = Capture(there.netns), list[list[Any]]()

    def outcomes() -> Counter[tuple[str, str]]:
        return Counter((kind, became) for _, name, kind, became in said if name == NAME)

    with (
        talking(CLIENT, ADDRESS, connect_s=60, hear_s=60) as say,
        capture.running(),
        pestering(CLIENT, said),
    ):
        wait_for("it answers here", lambda: outcomes()["hello", "answered"])
        way = {libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{there.folder}/migration"}
        hosts.domain.migrate3(hosts.destination.connection, way, FLAGS)
        answered = outcomes()["hello", "answered"]
        say()
        wait_for("it answers there", lambda: outcomes()["hello", "answered"] > answered + 5)
        wait_for("the helper there says so", lambda: there.led_through() == {NAME})
        midstream = there.appliance.cli("flows", "--midstream").stdout
        assert f"{ADDRESS}:7" in midstream, midstream
        before_the_bypass = outcomes()
        seen = passed(capture)
        assert there.appliance.cli("bypass", "--guest", NAME, "--for", "60s").returncode == 0
        wait_for("attacks pass when told", lambda: outcomes()["attack", "answered"])
    print(f"{dict(before_the_bypass)}; frames that passed there: {dict(seen)}; lost: {capture.lost}")
    assert not before_the_bypass["attack", "answered"]
    assert seen["echo"] and not seen["attack"]
    wait_for("the host that it left forgets it", lambda: here.led_through() == set())
