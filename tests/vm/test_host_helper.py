"""The host helper with a real libvirtd and real, emulated guests: topology pair."""

from collections.abc import Iterator

import libvirt
import pytest
import yaml

from appliance.netns import run_in
from tests.vm.hypervisor import master_of, tap_of, wait_for
from tests.vm.pair_kit import (
    HOST,
    OTHER_MAC,
    PAIRS,
    WEB,
    WEB_MAC,
    Rig,
    answers,
    pinging,
    rig_in,
    talking,
)

SECOND_MAC = "52:54:00:00:0a:0a"
BEHIND = (*PAIRS, "None")
"""Of a guest that starts: on no bridge it is for a moment, when libvirt is told where it is."""
LOST_AT_MOST = 20
"""In a row, at one every 50 ms: less than a second."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig_in(tmp_path_factory.mktemp("kvm")) as rig:
        yield rig


@pytest.mark.short
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


@pytest.mark.short
def test_a_guest_is_led_through_before_its_first_packet_each_time_it_starts(rig: Rig) -> None:
    assert rig.guest("web")["protected"], "left so by the test before"
    web = rig.web()
    web.destroy()
    web.create()
    tap = tap_of(web, WEB_MAC)
    assert master_of(HOST, tap) in BEHIND, (rig.folder / "hook.log").read_text()
    wait_for("libvirt knows it", lambda: f"bridge='{master_of(HOST, tap)}'" in web.XMLDesc())
    wait_for("web answers", answers)
    assert rig.guest("web")["vnics"][0]["led_through"]


def test_a_guest_that_is_reverted_to_a_snapshot_is_protected_as_it_is_now(rig: Rig) -> None:
    web, image = rig.web(), rig.folder / "disk.qcow2"
    run_in(None, ["qemu-img", "create", "-q", "-f", "qcow2", str(image), "8M"])
    disk = f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{image}'/>"
    disk += "<target dev='vda' bus='virtio'/></disk>"
    web.attachDeviceFlags(disk, libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert rig.sekisho("unprotect", "web").returncode == 0
    snapshot = web.snapshotCreateXML("<domainsnapshot><name>unprotected</name></domainsnapshot>")
    assert rig.sekisho("protect", "web").returncode == 0
    web.revertToSnapshot(snapshot)
    assert master_of(HOST, tap_of(web, WEB_MAC)) in BEHIND, (rig.folder / "hook.log").read_text()
    wait_for("web answers", answers)
    assert rig.guest("web")["vnics"][0]["led_through"]
    assert ("reverted", "web") in rig.events()
    snapshot.delete()
    # the guest has no driver for it, so it lets go of it only when it is off
    web.detachDeviceFlags(disk, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


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


def test_a_protected_guest_that_is_renamed_starts_protected_under_its_own_policy(rig: Rig) -> None:
    for name in ("shop", "web"):
        (web,) = [each for each in rig.libvirtd.connection.listAllDomains() if each.name() in ("web", "shop")]
        web.destroy()
        web.rename(name)
        web.create()
        assert master_of(HOST, tap_of(web, WEB_MAC)) in BEHIND, (rig.folder / "hook.log").read_text()
        wait_for("it answers", answers)
        wait_for("it is led through", lambda name=name: rig.guest(name)["vnics"][0]["led_through"])
        assert rig.guest(name)["known_as"] == "web" and rig.guest(name)["protected"]


def test_an_appliance_that_is_renamed_is_still_the_appliance(rig: Rig) -> None:
    appliance = rig.libvirtd.connection.lookupByName("sekisho")
    for name in ("gate", "sekisho"):
        appliance.destroy()
        appliance.rename(name)
        rig.libvirtd.boot(appliance)
        wait_for("web answers through it", answers)
        for _ in range(2):  # the second time by a helper that did not see the rename
            assert rig.guest(name)["appliance"]
            assert f"{name!r} is the appliance" in rig.sekisho("protect", name).stderr
            wait_for("web is led through it", lambda: rig.guest("web")["vnics"][0]["led_through"])
            rig.stop_helper()
            rig.start_helper()
    for command in ("unprotect", "protect"):
        assert rig.sekisho(command, "web").returncode == 0


def test_an_undefined_guest_leaves_its_way_to_another_and_is_forgotten_when_told(rig: Rig) -> None:
    libvirtd = rig.libvirtd
    libvirtd.define("first", "sekisho.role=none", [(OTHER_MAC, "br0")])
    assert rig.sekisho("protect", "first").returncode == 0
    way = rig.guest("first")["vnics"][0]["port"]
    assert way is not None
    libvirtd.remove(libvirtd.connection.lookupByName("first"))
    second = libvirtd.define("second", "sekisho.role=none", [(SECOND_MAC, "br0")])
    try:
        assert rig.sekisho("protect", "second").returncode == 0
        assert rig.guest("second")["vnics"][0]["port"] == way
        done = rig.sekisho("unprotect", "first")
        assert done.returncode == 0 and "first: is not led through any more" in done.stdout, done.stderr
        assert "no guest 'first'" in rig.sekisho("unprotect", "first").stderr
        assert rig.sekisho("unprotect", "second").returncode == 0
    finally:
        libvirtd.remove(second)


def test_a_guest_with_a_protected_ones_mac_is_not_led_through(rig: Rig) -> None:
    twin = rig.libvirtd.define("twin", "sekisho.role=none", [(WEB_MAC, "br0")])
    try:
        twin.create()
        assert master_of(HOST, tap_of(twin, WEB_MAC)) == "br0"
        assert rig.guest("twin")["protected"] is False
    finally:
        rig.libvirtd.remove(twin)
    wait_for("web answers", answers)


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


@pytest.mark.short
def test_protection_outlives_a_libvirtd_that_goes_and_discovery_comes_back_with_it(rig: Rig) -> None:
    rig.libvirtd.stop()
    wait_for("it is missed", lambda: "does not answer" in rig.sekisho("list").stderr)
    assert answers()
    rig.libvirtd.start()
    wait_for("the helper is back", lambda: rig.sekisho("list").returncode == 0)
    assert rig.guest("web")["vnics"][0]["led_through"]
    assert [what for what, name in rig.events() if not name][-2:] == ["disconnected", "connected"]


def test_a_guest_that_is_off_is_stored_as_led_when_told_and_as_before_when_let_go(rig: Rig) -> None:
    other = rig.libvirtd.define("other", "sekisho.role=none", [(OTHER_MAC, "br0")])
    before = other.XMLDesc()
    try:
        done = rig.sekisho("protect", "other", "--persistent")
        assert (done.returncode, "stored as it was" in done.stdout) == (0, False), done.stdout + done.stderr
        assert any(f"bridge='{pair}'" in other.XMLDesc() for pair in PAIRS)
        assert rig.sekisho("unprotect", "other").returncode == 0
        assert other.XMLDesc() == before
    finally:
        rig.libvirtd.remove(other)


def test_a_guest_that_is_stored_as_led_starts_past_an_appliance_that_is_down(rig: Rig) -> None:
    config = rig.folder / "host.yaml"
    was = config.read_text()
    document = yaml.safe_load(was)
    document["pair"]["segments"][0]["direct_when_down"] = True
    config.write_text(yaml.safe_dump(document))
    rig.stop_helper()
    rig.start_helper()
    web, appliance = rig.web(), rig.libvirtd.connection.lookupByName("sekisho")
    try:
        assert rig.sekisho("protect", "web", "--persistent").returncode == 0
        appliance.destroy()
        wait_for("web is connected past it", answers)
        web.destroy()
        rig.libvirtd.boot(web)
        assert master_of(HOST, tap_of(web, WEB_MAC)) == "br0", (rig.folder / "hook.log").read_text()
        wait_for("it answers", answers)
        wait_for("libvirt knows where it is", lambda: "bridge='br0'" in web.XMLDesc())
    finally:
        if not appliance.isActive():
            rig.libvirtd.boot(appliance)
        wait_for("web is led through it", lambda: rig.guest("web")["vnics"][0]["led_through"])
        config.write_text(was)
        rig.stop_helper()
        rig.start_helper()


@pytest.mark.short
def test_all_guests_are_connected_as_before_when_told(rig: Rig) -> None:
    would = rig.sekisho("unprotect", "--all", "--dry-run")
    assert f"would: web: {WEB_MAC} is connected to br0" in would.stdout
    assert rig.sekisho("unprotect", "--all").returncode == 0
    web = rig.web()
    assert master_of(HOST, tap_of(web, WEB_MAC)) == "br0"
    assert answers()
