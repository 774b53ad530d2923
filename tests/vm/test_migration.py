"""A protected guest migrates, running, to another host and its appliance, saved to a file and back.

Two real libvirtds, each with a host's name, files and network namespace of its own; the bridges that their
guests share are connected by a wire, the client is at the first one. The pair bridges have other names there.
"""

import contextlib
from collections.abc import Iterator

import libvirt
import pytest

from manager_api import tls
from manager_api.settings import Settings
from tests.vm.capture import Capture
from tests.vm.follower import following, let_follow
from tests.vm.hypervisor import master_of, tap_of, wait_for
from tests.vm.pair_kit import (
    HOST,
    PREFIX,
    WEB_MAC,
    Hosts,
    answers,
    host_in,
    joined,
    pair_way,
    pinging,
    rig_in,
    talking,
)

THERE = f"{PREFIX}-there"
AWAY = ("away1", "away2")
UPLINK_THERE = "52:54:00:00:0c:00"
APPLIANCE_THERE = ((UPLINK_THERE, "br0"), *((f"52:54:00:00:0c:0{n}", pair) for n, pair in enumerate(AWAY, 1)))


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("there")
    listen = let_follow(tls.open_authority(Settings(tmp_path_factory.mktemp("ca"))), folder)
    with contextlib.ExitStack() as ends:
        here = ends.enter_context(rig_in(tmp_path_factory.mktemp("here"), hostname="here"))
        way = pair_way(AWAY, APPLIANCE_THERE)
        there = ends.enter_context(host_in(folder, THERE, {"listen": listen}, "there", way))
        joined(here, there)
        follower = ends.enter_context(following(folder, THERE))
        assert here.sekisho("protect", "web").returncode == 0
        yield Hosts(here, there, follower)


def test_a_guest_that_is_saved_comes_back_led_through_with_its_connection(hosts: Hosts) -> None:
    here, web = hosts.here, hosts.here.web()
    wait_for("it is marked", lambda: "urn:sekisho:host" in web.XMLDesc())
    with talking() as say:
        web.save(str(here.folder / "web.saved"))
        here.libvirtd.connection.restore(str(here.folder / "web.saved"))
        tap = tap_of(web, WEB_MAC)
        assert master_of(HOST, tap) in ("pair1", "pair2"), (here.folder / "hook.log").read_text()
        say()
    assert here.guest("web")["vnics"][0]["led_through"]


def test_a_guest_that_was_unprotected_while_it_was_saved_comes_back_unprotected(hosts: Hosts) -> None:
    here, web = hosts.here, hosts.here.web()
    web.save(str(here.folder / "web.saved"))
    assert here.sekisho("unprotect", "web").returncode == 0
    here.libvirtd.connection.restore(str(here.folder / "web.saved"))
    assert master_of(HOST, tap_of(web, WEB_MAC)) == "br0"
    wait_for("libvirt knows it", lambda: "bridge='br0'" in web.XMLDesc())
    wait_for("it is not marked any more", lambda: "urn:sekisho:host" not in web.XMLDesc())
    assert not here.guest("web")["protected"]
    assert answers()
    assert here.sekisho("protect", "web").returncode == 0


def test_a_guest_that_migrates_is_protected_there_before_its_first_frame(hosts: Hosts) -> None:
    web = hosts.here.web()
    wait_for("it is marked", lambda: "urn:sekisho:host" in web.XMLDesc())
    hosts.follower.willing.clear()
    capture = Capture(THERE)
    flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    way = {libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{hosts.there.folder}/migration"}
    with talking() as say, pinging() as counts, capture.running():
        moved = web.migrate3(hosts.there.libvirtd.connection, way, flags)
        tap = tap_of(moved, WEB_MAC)
        assert master_of(THERE, tap) in AWAY, (hosts.there.folder / "hook.log").read_text()
        listed = hosts.there.guest("web")
        assert listed["protected"] and listed["vnics"][0]["held"]
        assert not capture.frames_from(WEB_MAC)["wire1", "out"], "before the appliance there knows it"
        hosts.follower.willing.set()
        say()
        wait_for("it is led through", lambda: hosts.there.guest("web")["vnics"][0]["led_through"])
    print(f"sent, answered, lost in a row: {counts}")
    seen = capture.frames_from(WEB_MAC)
    uplink = tap_of(hosts.there.libvirtd.connection.lookupByName("sekisho"), UPLINK_THERE)
    assert 0 < seen["wire1", "out"] <= seen[uplink, "in"], seen
    assert capture.lost == 0
    wait_for("libvirt knows it", lambda: f"bridge='{master_of(THERE, tap)}'" in moved.XMLDesc())
    wait_for("the host that it left forgets it", lambda: not hosts.here.protected())
