"""An appliance in topology pair learns its guests from the host helper: both are the real programs, over TLS.

host namespace                         appliance namespace
web, db ── br0 ── uplink ═ eth0 ┐
           pair1 ── port1 ═ eth1 ├ inside          `sekisho run` runs in the host's namespace, its rules here
           pair2 ── port2 ═ eth2 ┘
"""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.netns import command_in, entered, list_objects, run_in
from host_helper.identity import keep, signing_request
from manager_api import tls
from manager_api.settings import Settings
from tests.host_helper_fixture import ROOT, HelperFolder
from tests.manager_fixture import csr_for, free_ports, private_pem

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

PREFIX = f"skt-fh-{os.getpid()}"
HOST, APPLIANCE = f"{PREFIX}-host", f"{PREFIX}-app"
MACS = {"web": "02:00:00:00:0a:01", "db": "02:00:00:00:0a:02", "other": "02:00:00:00:0a:03"}
PORTS = {"eth0": "02:00:00:00:0b:00", "eth1": "02:00:00:00:0b:01", "eth2": "02:00:00:00:0b:02"}
SERVED_AT = "127.0.0.1"
PATIENCE_S = 60.0
FOLLOWED_WITHIN_S = 5.0


def netns_of(guest: str) -> str:
    return f"{PREFIX}-{guest}"


def wait_for(what: str, holds: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)
    return found


@dataclass(slots=True)
class Rig(HelperFolder):
    """Helper and appliance, started and ended by the test."""

    authority: tls.Authority
    port: int
    helper: subprocess.Popen[bytes] | None = None
    appliance: subprocess.Popen[bytes] | None = None

    def name_guests(self, *names: str, called: dict[str, str] | None = None) -> None:
        """Say which guests the host has; `called` renames one, which for a file is another guest."""
        vnic = {name: {"name": "eth0", "tap": f"{name}0", "mac": MACS[name]} for name in names}
        guests = [
            {"name": (called or {}).get(name, name), "segment": "vms", "vnics": [each]}
            for name, each in vnic.items()
        ]
        taps = zip(("uplink", "port1", "port2"), PORTS.values(), strict=True)
        cards = [{"name": tap, "tap": tap, "mac": mac} for tap, mac in taps]
        guests.append({"name": "sekisho", "segment": "vms", "vnics": cards})
        document = {"segments": [{"name": "vms", "bridge": "br0"}], "guests": guests}
        (self.folder / "host-guests.yaml").write_text(yaml.safe_dump(document))

    def start_helper(self) -> None:
        self.helper = self.serve(HOST)
        wait_for(f"the helper answers: {self.log()}", lambda: self.sekisho("list").returncode == 0)

    def stop_helper(self) -> None:
        if self.helper is not None:
            self.helper.terminate()
            self.helper.wait(timeout=PATIENCE_S)
            self.helper = None

    def start_appliance(self) -> None:
        with (self.folder / "appliance.log").open("ab") as log:
            argv = [sys.executable, "-m", "appliance.cli", "run", "--config", str(self.config)]
            self.appliance = subprocess.Popen(command_in(HOST, argv), stdout=log, stderr=log, cwd=ROOT)
        wait_for("the appliance runs", lambda: self.status().get("inspector", {}).get("up"))

    def stop_appliance(self, number: int = signal.SIGTERM) -> None:
        if self.appliance is not None:
            self.appliance.send_signal(number)
            self.appliance.wait(timeout=PATIENCE_S)
            self.appliance = None

    @property
    def config(self) -> Path:
        return self.folder / "sekisho.yaml"

    @property
    def identity(self) -> Path:
        return self.folder / "appliance-state" / "identity"

    def status(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return dict(json.loads((self.folder / "appliance-state/status.json").read_bytes()))
        return {}

    def known(self) -> dict[str, str]:
        """Return which guest the kernel's rules take each of the appliance's ports for."""
        entries = list_objects(APPLIANCE, "map", "bridge", "sekisho", "in_ports")
        elements = [element for entry in entries for element in entry.get("map", {}).get("elem", ())]
        return {key["elem"]["val"]: key["elem"]["comment"] for key, _ in elements}

    def follows(self, expected: dict[str, str]) -> float:
        """Wait until the rules know these guests by port; return the seconds it took."""
        began = time.monotonic()
        wait_for(f"{expected}; now {self.known()}", lambda: self.known() == expected, FOLLOWED_WITHIN_S)
        return time.monotonic() - began

    def protect(self, name: str) -> str:
        """Protect the guest; return the appliance's port that it is behind."""
        done = self.sekisho("protect", name)
        assert done.returncode == 0, done.stderr
        mac = self.guest(name)["vnics"][0]["port"]
        return next(port for port, each in PORTS.items() if each == mac)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tls.Authority:
    return tls.open_authority(Settings(tmp_path_factory.mktemp("ca")))


@pytest.fixture(scope="module")
def wires() -> Iterator[None]:
    names = [HOST, APPLIANCE, *map(netns_of, MACS)]
    try:
        for name in names:
            run_in(None, ["ip", "netns", "add", name])
        run_in(HOST, ["ip", "link", "set", "lo", "up"])
        for bridge in ("br0", "pair1", "pair2"):
            run_in(HOST, ["ip", "link", "add", bridge, "up", "type", "bridge", "forward_delay", "0"])
        run_in(APPLIANCE, ["ip", "link", "add", "inside", "up", "type", "bridge", "forward_delay", "0"])
        ends = zip(("uplink", "port1", "port2"), ("br0", "pair1", "pair2"), PORTS.items(), strict=True)
        for tap, bridge, (card, mac) in ends:
            _wire(tap, bridge, APPLIANCE, card, mac)
            run_in(APPLIANCE, ["ip", "link", "set", card, "master", "inside", "up"])
        for number, (name, mac) in enumerate(MACS.items(), 1):
            _wire(f"{name}0", "br0", netns_of(name), "eth0", mac)
            run_in(netns_of(name), ["ip", "link", "set", "eth0", "up"])
            run_in(netns_of(name), ["ip", "address", "add", f"10.87.0.{number}/24", "dev", "eth0"])
        yield
    finally:
        for name in names:
            with contextlib.suppress(Exception):
                run_in(None, ["ip", "netns", "del", name])


def _wire(tap: str, bridge: str, netns: str, inside: str, mac: str) -> None:
    peer = ["peer", "name", inside, "netns", netns, "address", mac]
    run_in(HOST, ["ip", "link", "add", tap, "type", "veth", *peer])
    run_in(HOST, ["ip", "link", "set", tap, "master", bridge, "up"])


@pytest.fixture
def rig(wires: None, authority: tls.Authority, tmp_path: Path) -> Iterator[Rig]:
    """A helper that runs, with guests web and db on br0, and an appliance that does not run yet."""
    for name in MACS:
        run_in(HOST, ["ip", "link", "set", f"{name}0", "master", "br0"])
    for netns, bridge in ((HOST, "br0"), (APPLIANCE, "inside")):
        run_in(netns, ["ip", "link", "set", bridge, "type", "bridge", "fdb_flush"])
    (port,) = free_ports(1)
    rig = Rig(tmp_path, authority, port)
    pair = {"appliance": "sekisho", "segments": [{"bridge": "br0", "pairs": ["pair1", "pair2"]}]}
    host = {
        "guests": "host-guests.yaml",
        "state_dir": "state",
        "socket": "helper.sock",
        "pair": pair,
        "listen": {"address": SERVED_AT, "port": port, "clients": {"appliance-1": ["guests"]}},
    }
    (tmp_path / "host.yaml").write_text(yaml.safe_dump(host))
    guests = {"segments": [{"name": "inner", "bridge": "inside"}], "guests": []}
    (tmp_path / "guests.yaml").write_text(yaml.safe_dump(guests))
    config = {
        "guests": "guests.yaml",
        "state_dir": "appliance-state",
        "netns": APPLIANCE,
        "helper": {"address": SERVED_AT, "port": port},
        "inspector": {"queues": 1, "first_queue": 40},
    }
    rig.config.write_text(yaml.safe_dump(config))
    certify_helper(authority, tmp_path / "state/identity")
    certify_appliance(authority, rig.identity, "appliance-1")
    rig.name_guests("web", "db")
    rig.start_helper()
    try:
        yield rig
    finally:
        rig.stop_appliance()
        rig.stop_helper()
        for name in ("helper.log", "appliance.log"):
            if (tmp_path / name).exists():
                print(f"{name}:\n{(tmp_path / name).read_text()[-3000:]}")


def certify_helper(authority: tls.Authority, identity: Path) -> None:
    signed = authority.sign_host(signing_request(identity, [SERVED_AT]), [SERVED_AT])
    keep(identity, signed.public_bytes(Encoding.PEM), authority.pem.encode())


def certify_appliance(authority: tls.Authority, identity: Path, name: str) -> None:
    """Leave what enrolment leaves."""
    key = ec.generate_private_key(ec.SECP256R1())
    identity.mkdir(parents=True, exist_ok=True)
    (identity / "key.pem").write_bytes(private_pem(key))
    signed = authority.sign_appliance(csr_for(key), name)
    (identity / "certificate.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (identity / "ca.pem").write_text(authority.pem)


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
    ],
    ids=["without-end", "no-list", "refusal"],
)
def test_a_helper_that_says_nonsense_changes_nothing(rig: Rig, line: bytes, told: str) -> None:
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
