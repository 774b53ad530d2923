"""A host helper and an appliance that follows it, both the real programs, over TLS in namespaces.

`sekisho run` runs in the host's namespace, where the helper listens; its rules are in the appliance's.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance import steering
from appliance.control.generations import Generations
from appliance.model.policy import (
    Assignment,
    GuestPolicy,
    Mode,
    PolicyDocument,
    RuleFile,
    RuleSetContent,
    RuleSetRef,
)
from appliance.netns import command_in, run_in
from appliance.reporting.client import SignedPolicy
from appliance.reporting.identity import EnrolAnswer, digest_of
from appliance.rulesets.store import RuleSetStore
from manager_api import tls
from manager_api.domain import policy
from tests.host_helper_fixture import ROOT, HelperFolder, Place, certify_helper
from tests.manager_fixture import csr_for, free_ports, private_pem

PREFIX = f"skt-fh-{os.getpid()}"
MACS = {"web": "02:00:00:00:0a:01", "db": "02:00:00:00:0a:02", "other": "02:00:00:00:0a:03"}
ADDRESSES = {"web": "10.87.0.1", "db": "10.87.0.2", "other": "10.87.0.3"}
PLACE = Place(PREFIX, {name: (mac, ADDRESSES[name]) for name, mac in MACS.items()})
HOST, APPLIANCE = PLACE.host, PLACE.appliance
netns_of, wire, reaches = PLACE.netns_of, PLACE.wire, PLACE.reaches
CARDS = tuple((tap, f"eth{n}", f"02:00:00:00:0b:0{n}") for n, tap in enumerate(("uplink", "port1", "port2")))
"""The appliance's in topology pair: tap, name and MAC."""
PAIRS = ("pair1", "pair2")
SERVED_AT = "127.0.0.1"
PATIENCE = float(os.environ.get("SEKISHO_TEST_PATIENCE", "1"))
PATIENCE_S = 60.0 * PATIENCE
FOLLOWED_WITHIN_S = 5.0 * PATIENCE


def wait_for(what: str, holds: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)
    return found


@dataclass(slots=True)
class Rig(HelperFolder):
    """Helper and appliance, started and ended by the test. cards: the appliance's, as tap, name and MAC."""

    authority: tls.Authority
    port: int
    cards: tuple[tuple[str, str, str], ...]
    helper: subprocess.Popen[bytes] | None = None
    appliance: subprocess.Popen[bytes] | None = None

    def name_guests(self, *names: str, plugged: Mapping[str, str] | None = None) -> None:
        """Say which guests the host has. plugged: more vNICs of the first one, MACs by tap."""
        vnic = {name: {"name": "eth0", "tap": f"{name}0", "mac": MACS[name]} for name in names}
        guests: list[dict[str, Any]] = [
            {"name": name, "segment": "vms", "vnics": [each]} for name, each in vnic.items()
        ]
        for tap, mac in (plugged or {}).items():
            guests[0]["vnics"].append({"name": tap, "tap": tap, "mac": mac})
        cards = [{"name": tap, "tap": tap, "mac": mac} for tap, _, mac in self.cards]
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

    def leave_policy(self, rules: str) -> None:
        """Leave what enrolment and a manager leave that has every guest stop what the rules find."""
        state = self.folder / "appliance-state"
        key = ed25519.Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        answer = EnrolAnswer("appliance-1", "", "", public, "https://manager.invalid")
        (self.identity / "identity.json").write_bytes(msgspec.json.encode(answer))
        content = msgspec.json.encode(RuleSetContent("lab", (RuleFile("lab.rules", rules),)))
        digest = digest_of(content)
        RuleSetStore(state / "rule-sets").put(digest, content)
        stops = GuestPolicy(assignments=(Assignment("lab", Mode.PREVENT),))
        document = PolicyDocument(1, (RuleSetRef("lab", 1, digest),), stops)
        signed = policy.sign(policy.encode(document), key)
        generations = Generations(state / "live")
        generations.write(1, SignedPolicy(signed.document, signed.digest, signed.signature), {})
        generations.make_current(1)

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
        return dict(steering.loaded_taps(APPLIANCE))

    def follows(self, expected: dict[str, str]) -> float:
        """Wait until the rules know these guests by port; return the seconds it took."""
        began = time.monotonic()
        wait_for(f"{expected}; now {self.known()}", lambda: self.known() == expected, FOLLOWED_WITHIN_S)
        return time.monotonic() - began

    def protect(self, name: str) -> str:
        """Protect the guest; return the appliance's port that it is behind."""
        done = self.sekisho("protect", name)
        assert done.returncode == 0, done.stderr
        vnic = self.guest(name)["vnics"][0]
        card = next(card for _, card, mac in self.cards if mac == vnic["port"])
        return card if vnic["vlan"] is None else f"{card}.{vnic['vlan']}"


@contextlib.contextmanager
def pair_standing() -> Iterator[None]:
    """Have a host and an appliance wired for topology pair."""
    with PLACE.standing():
        for bridge in PAIRS:
            PLACE.bridge(HOST, bridge)
        for (tap, card, mac), bridge in zip(CARDS, ("br0", *PAIRS), strict=True):
            wire(tap, bridge, APPLIANCE, card, mac)
            run_in(APPLIANCE, ["ip", "link", "set", card, "master", "inside", "up"])
        yield


@contextlib.contextmanager
def pair_rig(
    folder: Path, authority: tls.Authority, clients: Mapping[str, list[str]] | None = None
) -> Iterator[Rig]:
    """Give what `rig_in` gives, in topology pair, with all guests on br0."""
    for name in MACS:
        run_in(HOST, ["ip", "link", "set", f"{name}0", "master", "br0"])
    PLACE.forget_places()
    pair = {"appliance": "sekisho", "segments": [{"bridge": "br0", "pairs": list(PAIRS)}]}
    with rig_in(folder, authority, CARDS, {"pair": pair}, {}, clients) as rig:
        yield rig


@contextlib.contextmanager
def rig_in(
    folder: Path,
    authority: tls.Authority,
    cards: tuple[tuple[str, str, str], ...],
    topology: Mapping[str, Any],
    segment: Mapping[str, Any],
    clients: Mapping[str, list[str]] | None = None,
) -> Iterator[Rig]:
    """Give a helper that runs, with guests web and db, and an appliance that does not run yet.

    topology: of host.yaml. segment: of the appliance's guests.yaml, beside name and bridge. clients: who else
    may ask the helper.
    """
    (port,) = free_ports(1)
    rig = Rig(folder, authority, port, cards)
    host = {
        "guests": "host-guests.yaml",
        "state_dir": "state",
        "socket": "helper.sock",
        "listen": {
            "address": SERVED_AT,
            "port": port,
            "clients": {"appliance-1": ["guests"], **(clients or {})},
        },
        **topology,
    }
    (folder / "host.yaml").write_text(yaml.safe_dump(host))
    guests = {"segments": [{"name": "inner", "bridge": "inside", **segment}], "guests": []}
    (folder / "guests.yaml").write_text(yaml.safe_dump(guests))
    config = {
        "guests": "guests.yaml",
        "state_dir": "appliance-state",
        "netns": APPLIANCE,
        "helper": {"address": SERVED_AT, "port": port},
        "inspector": {"queues": 1, "first_queue": 40},
    }
    rig.config.write_text(yaml.safe_dump(config))
    certify_helper(authority, folder / "state/identity", SERVED_AT)
    certify_appliance(authority, rig.identity, "appliance-1")
    rig.name_guests("web", "db")
    try:
        rig.start_helper()
        yield rig
    finally:
        rig.stop_appliance()
        rig.stop_helper()
        for name in ("helper.log", "appliance.log"):
            if (folder / name).exists():
                print(f"{name}:\n{(folder / name).read_text()[-3000:]}")


def certify_appliance(authority: tls.Authority, identity: Path, name: str) -> None:
    """Leave what enrolment leaves."""
    key = ec.generate_private_key(ec.SECP256R1())
    identity.mkdir(parents=True, exist_ok=True)
    (identity / "key.pem").write_bytes(private_pem(key))
    signed = authority.sign_appliance(csr_for(key), name)
    (identity / "certificate.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (identity / "ca.pem").write_text(authority.pem)
