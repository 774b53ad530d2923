"""Topology trunk: a VLAN for each guest on a VLAN-filtering bridge, one card of the appliance for all.

    host namespace: br0, VLAN-filtering                    appliance namespace
    web ─ VLAN 101 ┐            ┌ trunk  ═ eth1 ─ eth1.101, eth1.102 ┐
    db  ─ VLAN 102 ┼─── br0 ────┤                                    ├ inside
    other ─ VLAN 1 ┘            └ uplink ═ eth0 ─────────────────────┘

Needs a kernel with VLAN filtering, as distributions have (tests/vm/test_trunk.py runs this there).
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.lab.wire import connect
from appliance.netns import run_in
from manager_api import tls
from manager_api.settings import Settings
from tests.host_helper_fixture import ROOT, echoing, talking
from tests.netns import upload
from tests.netns.follow_kit import (
    ADDRESSES,
    APPLIANCE,
    HOST,
    MACS,
    PATIENCE,
    PLACE,
    PREFIX,
    Rig,
    netns_of,
    reaches,
    rig_in,
    wait_for,
    wire,
)

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

UPLINK, TRUNK = "02:00:00:00:0b:00", "02:00:00:00:0b:01"
CARDS = (("uplink", "eth0", UPLINK), ("trunk", "eth1", TRUNK))
EVIL, UPLOAD_PORT = b"evil-7", 9996
RULES = f"""\
alert tcp any any -> $HOME_NET any (msg:"evil"; flow:to_server; content:"{EVIL.decode()}"; sid:1;)
"""
BRIDGE = ["ip", "link", "set", "br0", "type", "bridge"]


def filters_vlans() -> bool:
    name = f"{PREFIX[-8:]}probe"
    made = subprocess.run(
        ["ip", "link", "add", name, "type", "bridge", "vlan_filtering", "1"], capture_output=True
    )
    subprocess.run(["ip", "link", "del", name], capture_output=True)
    return made.returncode == 0


pytestmark = pytest.mark.skipif(not filters_vlans(), reason="this kernel's bridges do not tell VLANs apart")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tls.Authority:
    return tls.open_authority(Settings(tmp_path_factory.mktemp("ca")))


@pytest.fixture(scope="module")
def wires() -> Iterator[None]:
    with PLACE.standing():
        for tap, card, mac in CARDS:
            wire(tap, "br0", APPLIANCE, card, mac)
            run_in(APPLIANCE, ["ip", "link", "set", card, "up"])
        run_in(APPLIANCE, ["ip", "link", "set", "eth0", "master", "inside"])
        yield


@pytest.fixture
def rig(
    wires: None, authority: tls.Authority, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Rig]:
    """All ports are in VLAN 1, as a hypervisor leaves them. Parameter: more of the helper's segment."""
    run_in(HOST, [*BRIDGE, "vlan_filtering", "1", "fdb_flush"])
    run_in(APPLIANCE, ["ip", "link", "set", "inside", "type", "bridge", "fdb_flush"])
    run_in(APPLIANCE, ["ip", "link", "set", "inside", "up"])
    for tap in (*(f"{name}0" for name in MACS), *(tap for tap, _, _ in CARDS)):
        replug(tap)
    segment = {"bridge": "br0", "trunk": TRUNK, "vlans": [101, 199], **getattr(request, "param", {})}
    trunk = {"appliance": "sekisho", "segments": [segment]}
    with rig_in(tmp_path, authority, CARDS, {"trunk": trunk}, {"trunk": TRUNK}) as rig:
        yield rig


def replug(tap: str) -> None:
    """Do what a hypervisor does with a guest's tap when it starts the guest."""
    run_in(HOST, ["ip", "link", "set", tap, "nomaster"])
    run_in(HOST, ["ip", "link", "set", tap, "master", "br0"])


def answered(said: bytes) -> bytes:
    """Return what web answers to somebody who is not protected. Raises ConnectionError."""
    with connect(netns_of("other"), ADDRESSES["web"], 7, 10.0 * PATIENCE) as connection:
        connection.sendall(said)
        return connection.recv(100)


def vlans_of(tap: str) -> list[tuple[int, bool]]:
    """Return the port's VLANs, and whether each goes without a tag."""
    listed = json.loads(run_in(HOST, ["bridge", "-j", "vlan", "show", "dev", tap]))
    return [
        (vlan["vlan"], "PVID" in vlan.get("flags", ())) for each in listed for vlan in each.get("vlans", ())
    ]


def test_guests_meet_one_another_and_the_rest_in_the_appliance_alone(rig: Rig) -> None:
    rig.start_appliance()
    assert reaches("other", "web") and reaches("web", "db")
    web, db = rig.protect("web"), rig.protect("db")
    assert {web, db} == {"eth1.101", "eth1.102"}
    rig.follows({web: "web", db: "db"})
    assert vlans_of("web0") == [(101, True)] and vlans_of("db0") == [(102, True)]
    assert vlans_of("trunk") == [(101, False), (102, False)]
    ways = [("other", "web"), ("web", "other"), ("web", "db"), ("db", "web")]
    assert all(reaches(*way) for way in ways)
    run_in(APPLIANCE, ["ip", "link", "set", "inside", "down"])
    assert not any(reaches(*way) for way in ways)
    run_in(APPLIANCE, ["ip", "link", "set", "inside", "up"])
    assert all(reaches(*way) for way in ways)


def test_the_appliance_knows_a_guest_before_its_first_frame_and_lets_it_go_after_the_last(rig: Rig) -> None:
    rig.start_appliance()
    done = rig.sekisho("protect", "web")
    assert "is led through the appliance" in done.stdout, done.stderr
    # the probe came through a port that only a followed guest has
    assert rig.known() == {"eth1.101": "web"}
    assert rig.sekisho("unprotect", "web").returncode == 0
    assert vlans_of("web0") == [(1, True)] and reaches("other", "web")
    rig.follows({})
    wait_for("its port is gone", lambda: "eth1.101" not in run_in(APPLIANCE, ["ip", "-br", "link"]))


def test_without_an_appliance_nothing_is_moved(rig: Rig) -> None:
    done = rig.sekisho("protect", "web")
    assert done.returncode == 1 and "not touched" in done.stderr
    assert vlans_of("web0") == [(1, True)] and reaches("other", "web")
    assert rig.guest("web")["protected"] is False


def test_a_bridge_that_tells_no_vlans_apart_is_refused_with_the_way_out(rig: Rig) -> None:
    run_in(HOST, [*BRIDGE, "vlan_filtering", "0"])
    done = rig.sekisho("protect", "web")
    assert done.returncode == 1 and "vlan_filtering 1" in done.stderr


def test_a_guest_with_vlans_of_its_own_is_refused(rig: Rig) -> None:
    rig.start_appliance()
    run_in(HOST, ["bridge", "vlan", "add", "dev", "web0", "vid", "20"])
    done = rig.sekisho("protect", "web")
    assert done.returncode == 1 and "VLANs of its own" in done.stderr


def test_a_dry_run_says_which_vlan_and_changes_nothing(rig: Rig) -> None:
    rig.start_appliance()
    done = rig.sekisho("protect", "web", "--dry-run")
    assert "tap web0 on br0 moves from VLAN 1 to 101, on trunk" in done.stdout
    assert vlans_of("web0") == [(1, True)]


def test_a_guest_that_starts_anew_is_put_back_before_and_after_it_runs(rig: Rig) -> None:
    rig.start_appliance()
    rig.protect("web")
    uuid = rig.guest("web")["uuid"]
    replug("web0")
    assert vlans_of("web0") == [(1, True)]
    card = f"<mac address='{MACS['web']}'/><source bridge='br0'/><target dev='web0'/>"
    xml = f"<domain><name>web</name><uuid>{uuid}</uuid><devices><interface type='bridge'>{card}"
    xml += "</interface></devices></domain>"
    hook = [sys.executable, "-m", "host_helper.cli", "hook", "--config", str(rig.folder / "host.yaml")]
    done = subprocess.run(
        [*hook, "web", "start", "begin", "-"], input=xml, capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert vlans_of("web0") == [(101, True)]
    replug("web0")  # and nobody called
    wait_for("it is led again", lambda: vlans_of("web0") == [(101, True)])
    assert reaches("other", "web")


def test_an_attack_is_stopped_on_its_way_through_the_trunk_and_a_long_upload_is_not(rig: Rig) -> None:
    """Without segmentation offload on the queue the upload would collapse."""
    rig.leave_policy(RULES)
    rig.start_appliance()
    rig.protect("web")
    with echoing(netns_of("web")):
        assert answered(b"fine") == b"fine"
        with pytest.raises(ConnectionError):
            answered(EVIL)
    assert upload.arrives_in_time(netns_of("other"), netns_of("web"), ADDRESSES["web"], UPLOAD_PORT)


@pytest.mark.parametrize("rig", [{"direct_when_down": True}], indirect=True)
def test_guests_pass_an_appliance_by_that_is_down_if_told_and_are_taken_back(rig: Rig) -> None:
    rig.start_appliance()
    rig.protect("web")
    with (
        echoing(netns_of("web")),
        talking(netns_of("other"), ADDRESSES["web"], connect_s=10, hear_s=60) as say,
    ):
        run_in(APPLIANCE, ["ip", "link", "set", "inside", "down"])
        wait_for("web is in the shared VLAN", lambda: vlans_of("web0") == [(1, True)])
        say()
        run_in(APPLIANCE, ["ip", "link", "set", "inside", "up"])
        wait_for("web is led through again", lambda: vlans_of("web0") == [(101, True)])
        say()
    said = (rig.folder / "state/audit.jsonl").read_text().splitlines()
    actions = [json.loads(line)["action"] for line in said]
    assert [each for each in actions if each.startswith("direct")] == ["direct-on", "direct-off"]


TAGGED = """\
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
own, victim, vlan = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[3])
for _ in range(20):
    s.send(victim + own + b"\\x81\\x00" + vlan.to_bytes(2, "big") + b"\\x08\\x00" + b"hop" * 20)
"""
HEARS = """\
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
s.settimeout(3)
print("up", flush=True)
try:
    while b"hop" not in s.recv(2000): pass
    print("heard")
except TimeoutError: print("nothing")
"""


@pytest.mark.parametrize("vlan", [1, 102])
def test_a_tag_that_a_guest_writes_leads_it_into_nobodys_vlan(rig: Rig, vlan: int) -> None:
    rig.start_appliance()
    rig.protect("web")
    rig.protect("db")
    run_in(APPLIANCE, ["ip", "link", "set", "inside", "down"])  # what gets through, goes round it
    try:
        victim = "db" if vlan == 102 else "other"
        listener = subprocess.Popen(
            ["ip", "netns", "exec", netns_of(victim), sys.executable, "-c", HEARS],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert listener.stdout is not None and listener.stdout.readline() == "up\n"
        macs = [MACS[name].replace(":", "") for name in ("web", victim)]
        run_in(netns_of("web"), [sys.executable, "-c", TAGGED, *macs, str(vlan)])
        assert listener.communicate(timeout=30)[0] == "nothing\n"
    finally:
        run_in(APPLIANCE, ["ip", "link", "set", "inside", "up"])
