"""The captures that a new policy is tried with, and what the engine's trial says of a policy."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.daemon import CANARY
from tests.tools.cases import read_all

_engine = pytest.importorskip(
    "appliance._engine", reason="the packet engine is not built", exc_type=ImportError
)
SHIPPED = Path(__file__).resolve().parents[3] / "signatures"
ORDINARY = ("dns", "http", "ntp", "ping", "smb", "smtp", "ssh", "tls")


def verdict(directory: Path, rules: str | Path, mode: str = "prevent", **guest: Any) -> str | None:
    """Return why the trial refuses these rules for one guest, or None."""
    path = directory / "test.rules"
    path.write_text(rules if isinstance(rules, str) else rules.read_text())
    assigned = [{"rule_set": "test", "mode": mode, "sids": None}]
    web = {"name": "web", "segment": "lab", "zone": 1, "addresses": ["10.99.0.10"], "on_drop": "reset"}
    document = {
        "format": 1,
        "version": 1,
        "generation": 1,
        "rule_sets": [{"name": "test", "files": [str(path)]}],
        "ports": [{"tap": "web0", "ifindex": 4, "number": 1, "guest": "web"}],
        "guests": [{**web, "assignments": assigned, "overrides": [], **guest}],
        "segments": [{"name": "lab", "failure": {}}],
    }
    (directory / "engine.json").write_text(json.dumps(document))
    settings = {"queues": 1, "spool_max_bytes": 32 << 20, "memory_max_bytes": 16 << 20, "canary": str(CANARY)}
    inspector = _engine.Inspector(str(directory / "spool"), json.dumps(settings))
    try:
        report = json.loads(inspector.load(str(directory / "engine.json"), try_first=True))
    except _engine.PolicyError as error:
        return str(error)
    finally:
        inspector.stop()
    assert report["refused"] == [] and "web" in report["needs"]
    return None


def test_no_shipped_signature_would_drop_ordinary_traffic_and_each_set_sees_its_attack(
    tmp_path: Path,
) -> None:
    everything = "\n".join(path.read_text() for path in sorted(SHIPPED.glob("*.rules")))
    assert verdict(tmp_path, everything) is None


@pytest.mark.parametrize("name", ORDINARY)
def test_a_signature_that_would_drop_ordinary_traffic_is_named(tmp_path: Path, name: str) -> None:
    header = {
        "dns": "udp any any -> any 53", "ntp": "udp any any -> any 123", "ping": "icmp any any -> any any",
    }.get(name, f"{name} any any -> any any")  # fmt: skip
    why = verdict(tmp_path, f'drop {header} (msg:"all of it"; sid:7;)\n', "as-written")
    assert why is not None and f"ordinary traffic ({name}) of guest web" in why and '7 "all of it"' in why


def test_the_guests_own_requests_are_ordinary_traffic_too(tmp_path: Path) -> None:
    rule = 'alert http $HOME_NET any -> any any (flow:to_server; http.method; content:"GET"; sid:7;)\n'
    assert "ordinary traffic (http)" in str(verdict(tmp_path, rule))


@pytest.mark.parametrize("mode", ["detect", "as-written"])
def test_what_drops_nothing_is_not_refused(tmp_path: Path, mode: str) -> None:
    assert verdict(tmp_path, 'alert ip any any -> any any (msg:"all"; sid:7;)\n', mode) is None


def test_a_guest_whose_signature_is_off_is_not_refused(tmp_path: Path) -> None:
    off = [{"gid": 1, "sid": 7, "mode": "off"}]
    assert verdict(tmp_path, 'drop ip any any -> any any (msg:"all"; sid:7;)\n', overrides=off) is None


def test_a_shield_that_a_pass_rule_blinds_is_refused(tmp_path: Path) -> None:
    shield = (SHIPPED / "log4shell.rules").read_text()
    why = verdict(tmp_path, shield + '\npass ip any any -> any any (msg:"all is well"; sid:7;)\n')
    assert why is not None and "signature 9000001" in why and "`pass`" in why


def test_each_attack_is_the_capture_of_its_case() -> None:
    attacks = {path.name: path.read_bytes() for path in CANARY.glob("alert-*.pcap")}
    cases = {case.pcap.read_bytes(): case for case in read_all()}
    assert len(attacks) > 10
    for name, capture in attacks.items():
        assert capture in cases, name
        assert int(name.removeprefix("alert-").removesuffix(".pcap")) in cases[capture].alerts
