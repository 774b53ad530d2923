"""A KVM host in topology host loses power and comes back, with a real libvirtd and three emulated guests."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from appliance import lab
from appliance.netns import exists, run_in
from tests.host_helper_fixture import hook_of
from tests.manager_fixture import running_manager
from tests.netns.control_fixture import appliance_in
from tests.netns.reboot_kit import CLIENT_ADDRESS, FORBIDDEN, GUESTS, Host, comes_back_protected
from tests.vm.hypervisor import Hypervisor, hypervisor

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

PREFIX = f"skt-boot-{os.getpid()}"
CLIENT = f"{PREFIX}-client"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Hypervisor]]:
    """A host whose three guests are protected and start with it; their manager is gone."""
    folder = tmp_path_factory.mktemp("boot")
    settings = lab.LabSettings(run_dir=folder, prefix=PREFIX)
    netns = settings.bridge_netns
    with contextlib.ExitStack() as ends:
        for name in (netns, CLIENT):
            run_in(None, ["ip", "netns", "add", name])
            ends.callback(lambda name=name: exists(name) and run_in(None, ["ip", "netns", "del", name]))
        run_in(CLIENT, ["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"])
        libvirtd = ends.enter_context(hypervisor(folder, netns, hook_of(folder / "host.yaml")))
        manager = ends.enter_context(running_manager(tmp_path_factory.mktemp("manager")))
        appliance = ends.enter_context(
            appliance_in(folder / "appliance", settings, manager, guests=str(folder / "guests.yaml"))
        )
        host = Host(folder, appliance, netns, CLIENT)
        host.configure(libvirt=libvirtd.uri)
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
            host.protect(name)
        host.have_policy(manager)
        yield host, libvirtd
        print(host.logs())


def test_after_a_power_cut_nothing_passes_unfiltered_and_all_guests_are_reachable_within_a_minute(
    host: tuple[Host, Hypervisor],
) -> None:
    rebooted, libvirtd = host
    rebooted.lose_power(libvirtd.lose_power)
    comes_back_protected(rebooted, libvirtd.start)
