"""Two hosts of topology trunk whose libvirts know VLANs on Linux bridges; a guest goes to the other one."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from appliance.netns import run_in
from host_helper.domain_xml import guest_in
from host_helper.libvirt_source import KNOWS_VLANS
from manager_api import tls
from manager_api.settings import Settings
from tests.vm.capture import Capture
from tests.vm.follower import following, let_follow
from tests.vm.hypervisor import tap_of, wait_for
from tests.vm.pair_kit import (
    HOST,
    PREFIX,
    WEB,
    WEB_MAC,
    Hosts,
    Rig,
    Way,
    answers,
    host_in,
    joined,
    pinging,
    rig_in,
    talking,
)

THERE = f"{PREFIX}-there"
LOST_AT_MOST = 20
"""Pings in a row, one each 50 ms."""


def trunk_way(number: int, first: int) -> Way:
    """Return a trunk for two guests, in VLANs from `first` on."""
    uplink, trunk = (f"52:54:00:00:0{number}:0{card}" for card in range(2))
    segment = {"bridge": "br0", "trunk": trunk, "vlans": [first, first + 1]}
    return Way(
        {"trunk": {"appliance": "sekisho", "segments": [segment]}},
        ((uplink, "br0"), (trunk, "br0")),
        f"sekisho.role=bridge sekisho.vlans={first},{first + 1}",
        ("vlan_filtering", "1"),
    )


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    authority = tls.open_authority(Settings(tmp_path_factory.mktemp("ca")))
    folders = [tmp_path_factory.mktemp(name) for name in ("here", "there")]
    listens = [{"listen": let_follow(authority, folder)} for folder in folders]
    with contextlib.ExitStack() as ends:
        way = trunk_way(2, 101)
        here = ends.enter_context(rig_in(folders[0], listens[0], hostname="here", way=way))
        there = ends.enter_context(host_in(folders[1], THERE, listens[1], "there", trunk_way(3, 201)))
        joined(here, there)
        assert here.libvirtd.connection.getLibVersion() >= KNOWS_VLANS
        ends.enter_context(following(folders[0], HOST))
        yield Hosts(here, there, ends.enter_context(following(folders[1], THERE)))


def vlans_of(rig: Rig, domain: Any) -> list[tuple[int, bool]]:
    """Return the VLANs of web's tap, and whether each is without tags."""
    tap = tap_of(domain, WEB_MAC)
    listed = json.loads(run_in(rig.netns, ["bridge", "-j", "vlan", "show", "dev", tap]))
    return [(vlan["vlan"], "PVID" in vlan.get("flags", ())) for each in listed for vlan in each["vlans"]]


def noted(domain: Any) -> tuple[int | None, int | None]:
    """Return the VLANs that libvirt has for web: running, and stored."""
    texts = domain.XMLDesc(), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    vnics = [guest_in(text, running=True).vnic(WEB_MAC) for text in texts]
    return vnics[0].vlan if vnics[0] else None, vnics[1].vlan if vnics[1] else None


def protect(rig: Rig) -> None:
    wait_for("it is heard of", lambda: WEB in rig.guest("web")["vnics"][0]["addresses"])
    done = rig.sekisho("protect", "web", "--persistent")
    assert done.returncode == 0, done.stderr + rig.log()
    assert "definition" not in done.stdout, "libvirt refused"
    assert vlans_of(rig, rig.web()) == [(101, True)] and noted(rig.web())[1] == 101


def test_a_running_guest_is_put_into_a_vlan_that_libvirt_stores(hosts: Hosts) -> None:
    here, web = hosts.here, hosts.here.web()
    assert vlans_of(here, web) == [(1, True)]
    with talking() as say, pinging() as counts:
        protect(here)
        say()
    print(f"sent, answered, lost in a row: {counts}")
    assert here.guest("web")["vnics"][0]["led_through"]
    assert counts[2] < LOST_AT_MOST


def test_a_guest_that_starts_while_no_helper_runs_is_in_its_vlan(hosts: Hosts) -> None:
    here, web = hosts.here, hosts.here.web()
    here.stop_helper()
    web.destroy()
    here.libvirtd.boot(web)
    assert vlans_of(here, web) == [(101, True)] and noted(web) == (101, 101)
    wait_for("it answers, through the appliance", answers)
    here.start_helper()


def test_a_guest_that_was_unprotected_while_it_was_saved_comes_back_to_the_vlan_of_all(hosts: Hosts) -> None:
    here, web = hosts.here, hosts.here.web()
    with following(here.folder, HOST):
        web.save(str(here.folder / "web.saved"))
        assert here.sekisho("unprotect", "web").returncode == 0
        here.libvirtd.connection.restore(str(here.folder / "web.saved"))
        assert vlans_of(here, web) == [(1, True)] and noted(web) == (101, None)
        wait_for("it answers", answers)
        protect(here)


def test_a_guest_that_migrates_is_in_its_vlan_there_before_its_first_frame(hosts: Hosts) -> None:
    here, there, web = hosts.here, hosts.there, hosts.here.web()
    wait_for("it is led through", lambda: here.guest("web")["vnics"][0]["led_through"])
    wait_for("it is marked", lambda: "vlans='ours'" in web.XMLDesc().replace('"', "'"))
    hosts.follower.willing.clear()
    capture = Capture(THERE)
    flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    way = {libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{there.folder}/migration"}
    with talking() as say, pinging() as counts, capture.running():
        moved = web.migrate3(there.libvirtd.connection, way, flags)
        assert vlans_of(there, moved) == [(201, True)], (there.folder / "hook.log").read_text()
        listed = there.guest("web")
        assert listed["protected"] and listed["vnics"][0]["held"]
        assert not capture.frames_from(WEB_MAC)["wire1", "out"], "before the appliance there knows it"
        hosts.follower.willing.set()
        say()
        wait_for("it is led through", lambda: there.guest("web")["vnics"][0]["led_through"])
    print(f"sent, answered, lost in a row: {counts}")
    seen = capture.frames_from(WEB_MAC)
    uplink = tap_of(there.libvirtd.connection.lookupByName("sekisho"), "52:54:00:00:03:00")
    assert 0 < seen["wire1", "out"] <= seen[uplink, "in"], seen
    wait_for("the host that it left forgets it", lambda: not here.protected())


def test_of_what_is_unprotected_nothing_is_stored(hosts: Hosts) -> None:
    there, web = hosts.there, hosts.there.web()
    assert there.sekisho("unprotect", "web").returncode == 0
    assert vlans_of(there, web) == [(1, True)]
    stored = ElementTree.fromstring(web.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    assert stored.find("./devices/interface/vlan") is None
    wait_for("it answers", answers)
