"""vNICs plugged into a protected guest that runs, and unplugged: real libvirtd, real, emulated guests.

The guest pings through its second card from the moment there is one.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from appliance.netns import run_in
from manager_api import tls
from manager_api.settings import Settings
from tests.vm.capture import Capture
from tests.vm.follower import Follower, following, let_follow
from tests.vm.hypervisor import master_of, tap_of, wait_for
from tests.vm.pair_kit import CLIENT, HOST, OTHER_MAC, PAIRS, WEB_MAC, Rig, answers, rig_in

SECOND, PINGED = "10.90.0.1", "10.90.0.2"
UNHEARD_S = 5.0
CARD = (
    f"<interface type='bridge'><mac address='{OTHER_MAC}'/><source bridge='br0'/>"
    "<model type='virtio'/></interface>"
)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The web guest is protected; the client has an address that its second card can ping."""
    folder = tmp_path_factory.mktemp("plug")
    listen = let_follow(tls.open_authority(Settings(tmp_path_factory.mktemp("ca"))), folder)
    role = f"sekisho.second={SECOND}/24 sekisho.pings={PINGED}"
    with rig_in(folder, {"listen": listen}, role) as rig:
        run_in(CLIENT, ["ip", "address", "add", f"{PINGED}/24", "dev", "eth0"])
        assert rig.sekisho("protect", "web").returncode == 0
        yield rig


@pytest.fixture
def follower(rig: Rig) -> Iterator[Follower]:
    """An appliance that follows; a helper that knows of none is there again after it."""
    with following(rig.folder, HOST) as follower:
        yield follower
    rig.stop_helper()
    rig.start_helper()


@contextlib.contextmanager
def plugged(rig: Rig, name: str = "web") -> Iterator[str]:
    """Plug the second card into the guest; give its tap. It is out again afterwards."""
    domain = rig.libvirtd.connection.lookupByName(name)
    domain.attachDeviceFlags(CARD, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    try:
        yield tap_of(domain, OTHER_MAC)
    finally:
        unplug(domain)


def unplug(domain: Any) -> None:
    if OTHER_MAC in domain.XMLDesc():
        domain.detachDeviceFlags(CARD, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    wait_for("the guest let go of it", lambda: OTHER_MAC not in domain.XMLDesc())


def second(rig: Rig) -> dict[str, Any] | None:
    """Return what is listed of the second card."""
    return next((vnic for vnic in rig.guest("web")["vnics"] if vnic["mac"] == OTHER_MAC), None)


def uplink(rig: Rig) -> str:
    """Return the appliance's tap on the bridge that guests share."""
    return tap_of(rig.libvirtd.connection.lookupByName("sekisho"), "52:54:00:00:0b:00")


def test_nothing_of_a_new_vnic_passes_before_the_appliance_knows_it(rig: Rig, follower: Follower) -> None:
    capture = Capture(HOST)
    follower.willing.clear()
    with capture.running(), plugged(rig) as tap:
        wait_for("it is beside the appliance", lambda: master_of(HOST, tap) in PAIRS)
        wait_for("it tried to speak", lambda: capture.frames_from(OTHER_MAC)[tap, "in"])
        time.sleep(UNHEARD_S)
        assert (vnic := second(rig)) is not None and vnic["held"] and vnic["port"]
        assert "held" in rig.sekisho("list").stdout
        silent = capture.frames_from(OTHER_MAC)
        assert {port for port, way in silent if way == "out"} <= {tap}, silent
        follower.willing.set()
        began = time.monotonic()
        wait_for("it is heard", lambda: capture.frames_from(OTHER_MAC)["client0", "out"])
        print(f"held back {silent[tap, 'in']}; heard {time.monotonic() - began:.2f} s after it was known")
        time.sleep(1)
        assert (vnic := second(rig)) is not None and not vnic["held"] and vnic["led_through"]
        seen = capture.frames_from(OTHER_MAC)
        assert seen["client0", "out"] <= seen[uplink(rig), "in"], seen
    assert capture.lost == 0


def test_a_vnic_that_is_unplugged_leaves_nothing_behind(rig: Rig, follower: Follower) -> None:
    with plugged(rig) as tap:
        wait_for(
            "it is led through", lambda: (vnic := second(rig)) and not vnic["held"] and vnic["led_through"]
        )
        pair = master_of(HOST, tap)
    wait_for("it is listed no more", lambda: second(rig) is None)
    wait_for("nor said to who follows", lambda: OTHER_MAC not in json.dumps(follower.listing))
    plain = OTHER_MAC.replace(":", "")
    wait_for("the kernel has nothing of it", lambda: plain not in run_in(HOST, ["nft", "list", "ruleset"]))
    ports = json.loads(run_in(HOST, ["ip", "-j", "link", "show", "master", pair]))
    assert len(ports) == 1, ports
    state = json.loads((rig.folder / "state/state.json").read_bytes())
    assert [list(each["home"]) for each in state["protected"].values()] == [[WEB_MAC]]
    # its place is another's at once: there is no third
    other = rig.libvirtd.define("other", "sekisho.role=none", [("52:54:00:00:0a:07", "br0")])
    try:
        done = rig.sekisho("protect", "other")
        assert done.returncode == 0, done.stderr
        other.create()
        wait_for("it is led through", lambda: rig.guest("other")["vnics"][0]["led_through"])
        assert master_of(HOST, tap_of(other, "52:54:00:00:0a:07")) == pair
        # and now there is none for a new vNIC, which is said by name
        with plugged(rig):
            wait_for("it is said", lambda: OTHER_MAC in (rig.guest("web")["trouble"] or ""))
            assert "none of its 2 pair bridges is free" in rig.sekisho("list").stdout
    finally:
        assert rig.sekisho("unprotect", "other").returncode == 0
        rig.libvirtd.remove(other)
    assert answers()


def test_an_unprotected_guests_new_vnic_waits_for_nobody(rig: Rig, follower: Follower) -> None:
    follower.willing.clear()
    role = f"sekisho.role=echo sekisho.address=10.89.0.7/24 sekisho.second={SECOND}/24 sekisho.pings={PINGED}"
    other = rig.libvirtd.define("other", role, [("52:54:00:00:0a:07", "br0")])
    capture = Capture(HOST)
    try:
        rig.libvirtd.boot(other)
        with capture.running(), plugged(rig, "other") as tap:
            wait_for("it is heard", lambda: capture.frames_from(OTHER_MAC)["client0", "out"])
            assert master_of(HOST, tap) == "br0"
            assert capture.frames_from(OTHER_MAC)[uplink(rig), "in"] == 0
    finally:
        rig.libvirtd.remove(other)


def test_a_tap_that_is_nobodys_passes_after_a_while(rig: Rig) -> None:
    run_in(HOST, ["ip", "link", "add", "vnet900", "type", "veth", "peer", "name", "stranger0"])
    admitted = ["nft", "list", "set", "bridge", "sekisho_hold", "admitted"]
    try:
        assert "vnet900" not in run_in(HOST, admitted)
        wait_for("it passes", lambda: "vnet900" in run_in(HOST, admitted))
    finally:
        run_in(HOST, ["ip", "link", "del", "vnet900"])


def test_new_vnics_wait_for_no_helper_that_ended(rig: Rig) -> None:
    names = ["nft", "list", "set", "bridge", "sekisho_hold", "names"]
    assert "vnet" in run_in(HOST, names)
    rig.stop_helper()
    assert "vnet" not in run_in(HOST, names)
    rig.start_helper()
    wait_for("new ones are held again", lambda: "vnet" in run_in(HOST, names))
    assert answers()


def test_new_vnics_wait_for_no_helper_that_was_killed(rig: Rig) -> None:
    capture = Capture(HOST)
    assert rig.helper is not None
    rig.helper.kill()
    rig.helper.wait()
    try:
        with capture.running(), plugged(rig):
            wait_for("it is heard", lambda: capture.frames_from(OTHER_MAC)["client0", "out"])
    finally:
        rig.start_helper()
