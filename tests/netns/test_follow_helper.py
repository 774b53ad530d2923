"""An appliance in topology pair learns its guests from the host helper: both are the real programs, over TLS.

host namespace                         appliance namespace
web, db ── br0 ── uplink ═ eth0 ┐
           pair1 ── port1 ═ eth1 ├ inside          `sekisho run` runs in the host's namespace, its rules here
           pair2 ── port2 ═ eth2 ┘
"""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.netns import command_in, entered, list_objects, run_in
from manager_api import tls
from manager_api.settings import Settings
from tests.host_helper_fixture import ROOT
from tests.netns.follow_kit import (
    ADDRESSES,
    APPLIANCE,
    HOST,
    PATIENCE_S,
    SERVED_AT,
    Rig,
    certify_appliance,
    netns_of,
    pair_rig,
    pair_standing,
    wait_for,
    wire,
)
from tests.vm.capture import Capture

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tls.Authority:
    return tls.open_authority(Settings(tmp_path_factory.mktemp("ca")))


@pytest.fixture(scope="module")
def wires() -> Iterator[None]:
    with pair_standing():
        yield


@pytest.fixture
def rig(wires: None, authority: tls.Authority, tmp_path: Path) -> Iterator[Rig]:
    with pair_rig(tmp_path, authority) as rig:
        yield rig


def test_guests_are_followed_as_they_are_protected_removed_and_replaced(rig: Rig) -> None:
    rig.start_appliance()
    assert rig.known() == {}
    web = rig.protect("web")
    took = [rig.follows({web: "web"})]
    db = rig.protect("db")
    took.append(rig.follows({web: "web", db: "db"}))
    assert rig.sekisho("unprotect", "web").returncode == 0
    took.append(rig.follows({db: "db"}))
    # another guest behind the port that was web's
    rig.name_guests("web", "db", "other")
    wait_for("the host has it", lambda: '"other"' in rig.sekisho("list", "--json").stdout)
    assert rig.protect("other") == web
    took.append(rig.follows({web: "other", db: "db"}))
    # the host forgets a guest, as when it is undefined
    rig.name_guests("other")
    took.append(rig.follows({web: "other"}))
    print("seconds until followed:", [round(each, 2) for each in took])
    wait_for("the status says so", lambda: [g["name"] for g in rig.status()["guests"]] == ["other"])
    # its way is left to who needs one, and it is protected no longer than the operator wants
    rig.name_guests("web", "other")
    wait_for("the host has it", lambda: '"web"' in rig.sekisho("list", "--json").stdout)
    assert rig.protect("web") == db
    rig.follows({web: "other", db: "web"})
    assert rig.sekisho("unprotect", "db").returncode == 0
    assert "no guest 'db'" in rig.sekisho("unprotect", "db").stderr


def test_a_guest_is_led_only_when_its_rules_are_live(rig: Rig) -> None:
    rig.start_appliance()
    wait_for("it follows", lambda: rig.status()["helper"]["trouble"] is None)
    time.sleep(2)  # until it answered once
    port = rig.protect("web")
    assert rig.known() == {port: "web"}
    run_in(APPLIANCE, ["ip", "link", "set", "eth2", "nomaster"])
    try:
        done = rig.sekisho("protect", "db")
    finally:
        run_in(APPLIANCE, ["ip", "link", "set", "eth2", "master", "inside"])
    assert done.returncode == 1 and "did not take the guest up" in done.stderr
    assert json.loads(run_in(HOST, ["ip", "-j", "link", "show", "db0"]))[0]["master"] == "br0"
    assert rig.known() == {port: "web"}


def test_a_vnic_that_is_plugged_in_says_nothing_before_the_appliance_knows_it(rig: Rig) -> None:
    rig.start_appliance()
    port = rig.protect("web")
    rig.follows({port: "web"})
    mac, speaks = "02:00:00:00:0a:05", netns_of("other")
    wire("vnet5", "br0", speaks, "eth5", mac)
    try:
        run_in(speaks, ["ip", "link", "set", "eth5", "up"])
        capture = Capture(HOST)
        with capture.running():
            say(speaks, "eth5", mac)
            wait_for("it is heard by nobody", lambda: capture.frames_from(mac)["vnet5", "in"])
            time.sleep(1)
            rig.name_guests("web", "db", plugged={"vnet5": mac})
            wait_for("it is the guest's", lambda: list(rig.known().values()) == ["web", "web"])
            assert {at for at, way in capture.frames_from(mac) if way == "out"} <= {"vnet5"}
            wait_for("it may pass", lambda: not any(vnic["held"] for vnic in rig.guest("web")["vnics"]))
            say(speaks, "eth5", mac)
            wait_for("it is heard", lambda: capture.frames_from(mac)["db0", "out"])
        seen = capture.frames_from(mac)
        assert seen["db0", "out"] == seen["uplink", "in"], seen
    finally:
        run_in(HOST, ["ip", "link", "del", "vnet5"])
    rig.name_guests("web", "db")
    rig.follows({port: "web"})


def say(netns: str, card: str, mac: str) -> None:
    """Ask who has an address, by a card that needs none itself."""
    sender = bytes.fromhex(mac.replace(":", ""))
    arp = bytes.fromhex("0001080006040001") + sender + socket.inet_aton("10.87.0.5")
    frame = b"\xff" * 6 + sender + b"\x08\x06" + arp + bytes(6) + socket.inet_aton(ADDRESSES["db"])
    with entered(netns), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as port:
        port.bind((card, 0))
        port.send(frame.ljust(60, b"\0"))


def test_guests_that_swap_their_ports_are_not_taken_for_one_another(rig: Rig) -> None:
    rig.start_appliance()
    web, db = rig.protect("web"), rig.protect("db")
    rig.follows({web: "web", db: "db"})
    for name in ("web", "db"):
        assert rig.sekisho("unprotect", name).returncode == 0
    # the ports change hands: the one that was free longest is taken first
    now = rig.protect("db"), rig.protect("web")
    rig.follows({now[0]: "db", now[1]: "web"})


def test_without_the_helper_the_last_guests_stay_protected_also_after_a_restart(rig: Rig) -> None:
    rig.start_appliance()
    port = rig.protect("web")
    rig.follows({port: "web"})
    rig.stop_helper()
    told = wait_for("it is said", lambda: rig.status()["helper"]["trouble"])
    assert rig.known() == {port: "web"}
    rig.stop_appliance()
    assert rig.known() == {}
    rig.start_appliance()
    assert rig.known() == {port: "web"}
    shown = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "status", "--config", str(rig.config)],
        capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S,
    )  # fmt: skip
    assert shown.returncode == 1 and "its last 1 guests stay protected" in shown.stdout, (told, shown)
    rig.start_helper()
    wait_for("followed again", lambda: rig.status()["helper"]["trouble"] is None)
    assert rig.sekisho("unprotect", "web").returncode == 0
    rig.follows({})


def test_ports_that_come_late_are_protected_from_the_first(rig: Rig) -> None:
    rig.start_appliance()
    port = rig.protect("web")
    rig.follows({port: "web"})
    rig.stop_helper()
    rig.stop_appliance()
    # as at boot: the cards are there, their bridge is not
    run_in(APPLIANCE, ["ip", "link", "set", port, "nomaster"])
    try:
        rig.start_appliance()
        assert rig.known() == {port: "web"}
    finally:
        run_in(APPLIANCE, ["ip", "link", "set", port, "master", "inside"])


def test_addresses_that_a_guest_announces_are_shown_and_bind_nobody(rig: Rig) -> None:
    rig.start_appliance()
    port = rig.protect("web")
    rig.follows({port: "web"})
    speak = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('10.87.0.2', 9))"
    run_in(netns_of("web"), [sys.executable, "-c", speak])

    def shown() -> bool:
        vnics = [vnic for guest in rig.status()["guests"] for vnic in guest["vnics"]]
        return any("10.87.0.1" in vnic["addresses"] for vnic in vnics)

    wait_for("it is shown", shown)
    (checked,) = [
        entry["set"]
        for entry in list_objects(APPLIANCE, "set", "bridge", "sekisho", "checked_ipv4")
        if "set" in entry
    ]
    assert "elem" not in checked


def test_what_an_appliance_holds_opens_nothing_but_the_list(rig: Rig) -> None:
    """Whoever takes the appliance over has its certificate, and tries."""
    rig.start_appliance()
    rig.follows({rig.protect("web"): "web"})
    held = [path.relative_to(rig.folder) for path in rig.identity.parent.rglob("*") if path.is_file()]
    keys = [path for path in held if b"PRIVATE KEY" in (rig.folder / path).read_bytes()]
    assert [path.name for path in keys] == ["key.pem"]
    for request in (
        {"do": "unprotect", "guest": "web"},
        {"do": "unprotect"},
        {"do": "protect", "guest": "db"},
        {"do": "starting", "xml": "<domain/>"},
        {"do": "events"},
    ):
        assert "may not ask" in rig_ask(rig, request)["error"]
    assert rig.guest("web")["protected"] and not rig.guest("db")["protected"]
    text = rig.config.read_text() + "".join(path.read_text() for path in rig.identity.parent.glob("*.json"))
    assert "qemu" not in text and "libvirt" not in text


def rig_ask(rig: Rig, request: dict[str, Any]) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(rig.identity / "ca.pem"))
    context.load_cert_chain(rig.identity / "certificate.pem", rig.identity / "key.pem")
    with (
        entered(HOST),
        socket.create_connection((SERVED_AT, rig.port), 10) as plain,
        context.wrap_socket(plain, server_hostname=SERVED_AT) as door,
    ):
        door.sendall(json.dumps(request).encode() + b"\n")
        return dict(json.loads(door.makefile().readline()))


SAYS_LINES = """\
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
context.load_verify_locations(sys.argv[4])
context.verify_mode = ssl.CERT_REQUIRED
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
lines = sys.stdin.buffer.read().split(b"\\0")
print("up", flush=True)
while True:
    try:
        door = context.wrap_socket(listening.accept()[0], server_side=True)
        door.recv(1000)
        for line in lines: door.sendall(line)
        door.recv(1000)
    except OSError: pass
"""


@contextlib.contextmanager
def in_its_place(rig: Rig, identity: Path, line: bytes) -> Iterator[None]:
    """Have somebody answer in the helper's place."""
    files = [str(identity / name) for name in ("certificate.pem", "key.pem")]
    authority = str(rig.identity / "ca.pem")
    process = subprocess.Popen(
        command_in(HOST, [sys.executable, "-c", SAYS_LINES, str(rig.port), *files, authority]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(line)
    process.stdin.close()
    assert process.stdout.readline() == b"up\n"
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"x" * 5_000_000, "it says more than"),
        (b'{"ok": true, "report": {"guests": [{}]}}\n', "does not say a list of guests"),
        (b'{"ok": false, "error": "no"}\n', "it refuses: no"),
        (b'{"ok": true, "report": {"guests": [], "trouble": "no libvirt"}}\n', "cut off: no libvirt"),
    ],
    ids=["without-end", "no-list", "refusal", "cut-off"],
)
def test_a_helper_that_says_nothing_of_use_changes_nothing(rig: Rig, line: bytes, told: str) -> None:
    rig.start_appliance()
    port = rig.protect("web")
    rig.follows({port: "web"})
    rig.stop_helper()
    with in_its_place(rig, rig.folder / "state/identity", line):
        wait_for(
            f"{told}: {rig.status()['helper']}", lambda: told in (rig.status()["helper"]["trouble"] or "")
        )
        assert rig.known() == {port: "web"}


def test_nobody_else_is_taken_for_the_helper(rig: Rig) -> None:
    """Another appliance has a certificate of the same authority, and must not name guests to this one."""
    rig.start_appliance()
    port = rig.protect("web")
    rig.follows({port: "web"})
    rig.stop_helper()
    certify_appliance(rig.authority, rig.folder / "another", "appliance-2")
    with in_its_place(rig, rig.folder / "another", b'{"ok": true, "report": {"guests": []}}\n'):
        wait_for("it is refused", lambda: "TLS" in (rig.status()["helper"]["trouble"] or ""))
        assert rig.known() == {port: "web"}
