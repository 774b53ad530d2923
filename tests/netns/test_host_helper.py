"""The host helper on real bridges: guests and appliance are namespaces, topology pair.

web, client ── br0 ── uplink ┐
               pair1 ── port1 ├ bridge in the appliance's namespace
               pair2 ── port2 ┘
"""

import contextlib
import json
import os
import signal
import socket
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

from appliance.netns import command_in, run_in
from host_helper.server import MAX_CONNECTIONS
from manager_api import tls
from manager_api.settings import Settings
from tests.host_helper_fixture import ROOT, HelperFolder, Place, certify_helper, echoing, talking
from tests.manager_fixture import csr_for, free_ports, private_pem

PREFIX = f"skt-hh-{os.getpid()}"
MACS = {"web": "02:00:00:00:0a:01", "client": "02:00:00:00:0a:02"}
ADDRESSES = {"web": "10.88.0.1", "client": "10.88.0.2"}
PLACE = Place(PREFIX, {name: (mac, ADDRESSES[name]) for name, mac in MACS.items()})
HOST, APPLIANCE = PLACE.host, PLACE.appliance
netns_of, reaches = PLACE.netns_of, PLACE.reaches
PATIENCE_S = 30.0


def wait_for(what: str, holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.05)
    return found


@dataclass(slots=True)
class Rig(HelperFolder):
    """A host with two guests and an appliance, and the helper that runs on it."""

    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    def configure(self, *, direct: bool = False, clients: dict[str, list[str]] | None = None) -> None:
        config: dict[str, Any] = {
            "guests": "host-guests.yaml",
            "state_dir": "state",
            "socket": "helper.sock",
            "pair": {
                "appliance": "sekisho",
                "segments": [{"bridge": "br0", "pairs": ["pair1", "pair2"], "direct_when_down": direct}],
            },
        }
        if clients is not None:
            (self.port,) = free_ports(1)
            config["listen"] = {"address": "127.0.0.1", "port": self.port, "clients": clients}
        (self.folder / "host.yaml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        self.process = self.serve(HOST)
        wait_for(f"the helper answers: {self.log()}", self._answers)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=PATIENCE_S)
            self.process = None

    def bridge_of(self, tap: str) -> str | None:
        (link,) = json.loads(run_in(HOST, ["ip", "-j", "link", "show", tap]))
        return link.get("master")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log()
        return self.sekisho("list").returncode == 0


@pytest.fixture(scope="module")
def wires() -> Iterator[None]:
    """The namespaces and what connects them; the pair bridges the helper makes."""
    with PLACE.standing():
        for pair in ("pair1", "pair2"):
            PLACE.bridge(HOST, pair)
        for tap, bridge, number in (("uplink", "br0", 0), ("port1", "pair1", 1), ("port2", "pair2", 2)):
            PLACE.wire(tap, bridge, APPLIANCE, f"eth{number}", f"02:00:00:00:0b:0{number}")
            run_in(APPLIANCE, ["ip", "link", "set", f"eth{number}", "master", "inside", "up"])
        yield


@pytest.fixture
def rig(wires: None, tmp_path: Path) -> Iterator[Rig]:
    """A helper's folder; both guests are on br0 and nothing runs yet."""
    run_in(APPLIANCE, ["ip", "link", "set", "inside", "up"])
    for name in MACS:
        run_in(HOST, ["ip", "link", "set", f"{name}0", "master", "br0"])
    PLACE.forget_places()
    vnic = {name: {"name": "eth0", "tap": f"{name}0", "mac": mac} for name, mac in MACS.items()}
    ports = [
        {"name": tap, "tap": tap, "mac": f"02:00:00:00:0b:0{number}"}
        for number, tap in enumerate(("uplink", "port1", "port2"))
    ]
    guests = [{"name": name, "segment": "vms", "vnics": [each]} for name, each in vnic.items()]
    guests.append({"name": "sekisho", "segment": "vms", "vnics": ports})
    document = {"segments": [{"name": "vms", "bridge": "br0"}], "guests": guests}
    (tmp_path / "host-guests.yaml").write_text(yaml.safe_dump(document))
    rig = Rig(tmp_path)
    rig.configure()
    yield rig
    rig.stop()
    print(rig.log() if (tmp_path / "helper.log").exists() else "")


@contextlib.contextmanager
def conversation() -> Iterator[Callable[[], None]]:
    """Give a function that says something over one TCP connection from client to web and hears it again."""
    with (
        echoing(netns_of("web")),
        talking(netns_of("client"), ADDRESSES["web"], connect_s=5, hear_s=20) as say,
    ):
        yield say


@contextlib.contextmanager
def appliance_rule(rule: str) -> Iterator[None]:
    """Let the appliance drop what the rule matches."""
    table = "table bridge broken { chain f { type filter hook forward priority 0; " + rule + " drop; }; }"
    run_in(APPLIANCE, ["nft", table])
    try:
        yield
    finally:
        run_in(APPLIANCE, ["nft", "delete table bridge broken"])


def test_a_protected_guest_is_led_through_and_back_with_its_connection_open(rig: Rig) -> None:
    rig.start()
    with conversation() as say:
        done = rig.sekisho("protect", "web")
        assert done.returncode == 0, done.stderr
        assert "frames came out of the appliance" in done.stdout
        assert rig.bridge_of("web0") in ("pair1", "pair2")
        say()
        # client and web can reach one another in no other way now
        run_in(APPLIANCE, ["ip", "link", "set", "inside", "down"])
        run_in(APPLIANCE, ["ip", "link", "set", "inside", "up"])
        say()
        assert rig.guest("web")["vnics"][0]["led_through"] is True
        done = rig.sekisho("unprotect", "--all")
        assert done.returncode == 0, done.stderr
        assert rig.bridge_of("web0") == "br0"
        say()


def test_nothing_passes_a_protected_guest_but_through_the_appliance(rig: Rig) -> None:
    rig.start()
    assert rig.sekisho("protect", "web").returncode == 0
    assert reaches("client", "web")
    with appliance_rule("ether type ip"):
        assert not reaches("client", "web")


def test_an_appliance_that_lets_nothing_through_is_found_before_anything_is_moved(rig: Rig) -> None:
    rig.start()
    with conversation() as say, appliance_rule("ether type arp"):
        done = rig.sekisho("protect", "web")
        assert done.returncode == 1 and "not touched" in done.stderr
        assert rig.bridge_of("web0") == "br0"
        say()


def test_a_guest_whose_frames_do_not_come_out_is_connected_as_it_was(rig: Rig) -> None:
    rig.start()
    with conversation() as say, appliance_rule(f"ether saddr {MACS['web']}"):
        assert reaches("web", "client")
        done = rig.sekisho("protect", "web")
        assert done.returncode == 1 and "none came out" in done.stderr
        assert rig.bridge_of("web0") == "br0"
        assert rig.guest("web")["protected"] is False
        say()


def test_a_dry_run_counts_the_connections_it_would_cut_into_and_changes_nothing(rig: Rig) -> None:
    rig.start()
    with conversation() as say:
        asked = subprocess.Popen(
            [sys.executable, "-m", "appliance.cli", "guest", "--socket", str(rig.folder / "helper.sock"),
             "protect", "web", "--dry-run"],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        while asked.poll() is None:
            say()
        output, _ = asked.communicate()
    assert "moves from bridge br0 to pair" in output
    assert "; 1 TCP connections" in output
    assert rig.bridge_of("web0") == "br0"


ANNOUNCE = """\
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mac = bytes.fromhex(sys.argv[1].replace(":", ""))
for last in range(40):
    sender = mac + bytes([10, 88, 1, last])
    arp = bytes.fromhex("0001080006040001") + sender + bytes(6) + bytes([10, 88, 0, 2])
    s.send(b"\\xff" * 6 + mac + bytes.fromhex("0806") + arp)
"""


def test_addresses_that_a_guest_announces_are_listed_and_bounded(rig: Rig) -> None:
    rig.start()
    run_in(netns_of("web"), [sys.executable, "-c", ANNOUNCE, MACS["web"]])
    known = rig.guest("web")["vnics"][0]["addresses"]
    assert "10.88.1.0" in known
    assert len([each for each in known if ":" not in each]) == 32
    assert "10.88.1.0" not in rig.guest("client")["vnics"][0]["addresses"]


def test_a_helper_that_was_killed_keeps_its_guests_protected(rig: Rig) -> None:
    rig.start()
    assert rig.sekisho("protect", "web").returncode == 0
    rig.stop(signal.SIGKILL)
    assert reaches("client", "web")
    # what a guest's restart does while nobody looks
    run_in(HOST, ["ip", "link", "set", "web0", "master", "br0"])
    rig.start()
    wait_for("web is led through again", lambda: rig.guest("web")["vnics"][0]["led_through"])


def test_guests_of_an_appliance_that_is_down_are_connected_directly_where_told(rig: Rig) -> None:
    rig.configure(direct=True)
    rig.start()
    assert rig.sekisho("protect", "web").returncode == 0
    with conversation() as say:
        run_in(APPLIANCE, ["ip", "link", "set", "inside", "down"])
        wait_for("web is on br0", lambda: rig.bridge_of("web0") == "br0")
        say()
        run_in(APPLIANCE, ["ip", "link", "set", "inside", "up"])
        wait_for("web is led through again", lambda: rig.guest("web")["vnics"][0]["led_through"])
        say()
    actions = [
        json.loads(line)["action"] for line in (rig.folder / "state/audit.jsonl").read_text().splitlines()
    ]
    assert [each for each in actions if each.startswith("direct")] == ["direct-on", "direct-off"]


def test_guests_of_an_appliance_that_is_down_stay_cut_off_otherwise(rig: Rig) -> None:
    rig.start()
    assert rig.sekisho("protect", "web").returncode == 0
    run_in(APPLIANCE, ["ip", "link", "set", "inside", "down"])
    try:
        rig.stop()
        rig.start()
        assert rig.bridge_of("web0") != "br0"
    finally:
        run_in(APPLIANCE, ["ip", "link", "set", "inside", "up"])


def test_withdrawing_is_refused_while_a_guest_is_protected_and_leaves_nothing_afterwards(rig: Rig) -> None:
    def withdraw(*options: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "host_helper.cli", "withdraw", *options]
        command = command_in(HOST, [*argv, "--config", str(rig.folder / "host.yaml")])
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    rig.start()
    assert rig.sekisho("protect", "web").returncode == 0
    refused = withdraw("--unless-protecting")
    assert refused.returncode == 1 and "guests are protected here: web" in refused.stderr
    assert rig.bridge_of("web0") != "br0"
    assert rig.sekisho("unprotect", "--all").returncode == 0
    rig.stop()
    assert "sekisho_host" in run_in(HOST, ["nft", "list", "tables"])
    run_in(HOST, ["ip", "link", "add", "pair9", "type", "bridge"])
    document = yaml.safe_load((rig.folder / "host.yaml").read_text())
    document["pair"]["segments"][0]["pairs"].append("pair9")
    (rig.folder / "host.yaml").write_text(yaml.safe_dump(document))
    done = withdraw("--unless-protecting")
    assert done.returncode == 0, done.stderr
    # the appliance is on the others
    assert done.stdout.endswith("somebody is on them: pair1, pair2\n")
    assert "pair9" not in run_in(HOST, ["ip", "-br", "link"])
    assert run_in(HOST, ["nft", "list", "tables"]) == ""


# Certificates.


def client_certificate(authority: tls.Authority, folder: Path, name: str) -> None:
    """Write what an enrolled appliance of this id holds."""
    key = ec.generate_private_key(ec.SECP256R1())
    signed = authority.sign_appliance(csr_for(key), name).public_bytes(Encoding.PEM)
    (folder / f"{name}.pem").write_bytes(private_pem(key) + signed)


ASK = """\
import json, socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.load_cert_chain(sys.argv[2])
with socket.create_connection(("127.0.0.1", int(sys.argv[3])), 10) as plain:
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as door:
        door.sendall(sys.argv[4].encode() + b"\\n")
        print(door.makefile().readline())
"""


def test_only_listed_certificates_may_ask_and_only_what_they_may(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority, stranger = (tls.open_authority(Settings(tmp_path_factory.mktemp("ca"))) for _ in range(2))
    rig.configure(clients={"appliance-1": ["guests", "events"]})
    identity = rig.folder / "state" / "identity"
    certify_helper(authority, identity, "127.0.0.1")
    (rig.folder / "ca.pem").write_text(authority.pem)
    for signer, name in ((authority, "appliance-1"), (authority, "somebody"), (stranger, "appliance-2")):
        client_certificate(signer, rig.folder, name)
    rig.start()

    def ask(name: str, **request: Any) -> dict[str, Any] | None:
        files = [str(rig.folder / "ca.pem"), str(rig.folder / f"{name}.pem")]
        argv = [sys.executable, "-c", ASK, *files, str(rig.port), json.dumps(request)]
        done = subprocess.run(command_in(HOST, argv), capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout) if done.stdout.strip() else None

    listed = ask("appliance-1", do="guests")
    assert listed is not None and listed["ok"] and len(listed["report"]["guests"]) == 3
    for name, request in (
        ("appliance-1", {"do": "protect", "guest": "web"}),
        ("appliance-1", {"do": "starting", "xml": "<domain/>"}),
        ("somebody", {"do": "guests"}),
    ):
        answer = ask(name, **request)
        assert answer is not None and not answer["ok"] and "may not ask" in answer["error"]
    assert ask("appliance-2", do="guests") is None
    assert rig.bridge_of("web0") == "br0"
    records = [json.loads(line) for line in (rig.folder / "state/audit.jsonl").read_text().splitlines()]
    refused = [(r["user"], r["action"]) for r in records if r.get("permitted") is False]
    assert ("certificate appliance-1", "call-protect") in refused
    assert ("certificate somebody", "call-guests") in refused


def test_the_unix_socket_is_roots_alone(rig: Rig) -> None:
    rig.start()
    path = rig.folder / "helper.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    for folder in (rig.folder, *rig.folder.parents):
        if folder.owner() == "root" and folder != Path("/") and folder.name != "tmp":
            folder.chmod(0o755)
    ask = "import socket\ns = socket.socket(1)\ns.connect('" + str(path) + "')\n"
    ask += 's.sendall(b\'{"do": "guests"}\\n\')\nprint(s.makefile().readline())'
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable, "-c", ask],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "may not ask" in done.stdout


def test_who_asked_for_events_and_went_holds_no_place(rig: Rig) -> None:
    rig.start()
    for _ in range(MAX_CONNECTIONS + 5):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.connect(str(rig.folder / "helper.sock"))
            listener.sendall(b'{"do": "events", "after": 1000000}\n')
    wait_for("others are heard", lambda: rig.sekisho("list").returncode == 0)
