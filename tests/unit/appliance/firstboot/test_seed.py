"""What a seed may say, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.config import read_config
from appliance.firstboot.rendering import missing, render
from appliance.firstboot.seed import Seed, read_seed
from appliance.hypervisor import parse_guests
from appliance.model.faults import PolicyError

MANAGEMENT, OUTER, INNER = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"
NICS = {MANAGEMENT: "eth0", OUTER: "eth1", INNER: "eth2"}
MANAGER = {"url": "https://192.0.2.1:8443", "ca_fingerprint": "ab" * 32, "token": "ske_secret"}
WHOLE: dict[str, Any] = {
    "name": "appliance-1",
    "manager": MANAGER,
    "management": {
        "nic": MANAGEMENT,
        "address": "192.0.2.5/24",
        "gateway": "192.0.2.1",
        "ntp": ["192.0.2.9"],
    },
    "segments": [{"name": "shop", "nics": [OUTER.upper(), INNER], "failure": {"inspector_down": "closed"}}],
    "guests": [
        {
            "name": "web",
            "segment": "shop",
            "nic": INNER,
            "mac": "52:54:00:AA:BB:CC",
            "addresses": ["192.0.2.10"],
        }
    ],
}


def seed_of(tmp_path: Path, sekisho: object, **others: object) -> Seed:
    path = tmp_path / "user-data"
    path.write_text("#cloud-config\n" + yaml.safe_dump({"sekisho": sekisho, **others}))
    return read_seed(path)


def test_a_whole_seed_makes_files_that_the_appliance_reads(tmp_path: Path) -> None:
    seed = seed_of(tmp_path, WHOLE, ssh_authorized_keys=["ssh-ed25519 AAAA me"], packages=["for others"])
    files = {file.path: file for file in render(seed, NICS)}
    inventory = parse_guests(files["/etc/sekisho/guests.yaml"].text.encode())
    assert [(s.name, s.bridge, s.failure.inspector_down) for s in inventory.segments] == [
        ("shop", "br-shop", "closed")
    ]
    assert [(g.name, g.vnics[0].tap, g.vnics[0].mac) for g in inventory.guests] == [
        ("web", "eth2", "52:54:00:aa:bb:cc")
    ]
    configuration = tmp_path / "sekisho.yaml"
    configuration.write_text(files["/etc/sekisho/sekisho.yaml"].text)
    manager = read_config(configuration).manager
    assert manager is not None and manager.name == "appliance-1"
    assert missing(seed, NICS) == ()
    for secret in ("sekisho.yaml", "enrolment.token"):
        assert files[f"/etc/sekisho/{secret}"].mode == 0o600
    assert files["/root/.ssh/authorized_keys"].text == "ssh-ed25519 AAAA me\n"


def test_the_host_helper_may_name_the_guests_instead_of_the_seed(tmp_path: Path) -> None:
    seed = seed_of(tmp_path, {**WHOLE, "guests": [], "helper": {"address": "192.0.2.7"}})
    files = {file.path: file for file in render(seed, NICS)}
    configuration = tmp_path / "sekisho.yaml"
    configuration.write_text(files["/etc/sekisho/sekisho.yaml"].text)
    assert str(read_config(configuration).helper) == "192.0.2.7 port 8445"
    assert missing(seed, NICS) == ()


def test_ssh_stays_off_without_a_key(tmp_path: Path) -> None:
    paths = {file.path for file in render(seed_of(tmp_path, WHOLE), NICS)}
    assert not paths & {"/run/sekisho/ssh", "/root/.ssh/authorized_keys"}


def test_data_nics_are_for_control_to_bridge_and_no_others(tmp_path: Path) -> None:
    files = {file.path: file.text for file in render(seed_of(tmp_path, WHOLE), NICS)}
    (shop,) = parse_guests(files["/etc/sekisho/guests.yaml"].encode()).segments
    assert shop.nics == (OUTER, INNER)
    networks = [text for path, text in files.items() if path.startswith("/run/systemd/network/")]
    assert [f"PermanentMACAddress={MANAGEMENT}" in text for text in networks] == [True]


def test_says_what_is_missing() -> None:
    assert "there is no seed" in missing(None, NICS)[0]
    said = " ".join(missing(Seed(), NICS))
    for what in ("sekisho.manager", "sekisho.management", "no data NICs", "nobody to protect"):
        assert what in said


def test_says_which_nic_the_machine_lacks(tmp_path: Path) -> None:
    lacking = missing(seed_of(tmp_path, WHOLE), {MANAGEMENT: "eth0", OUTER: "eth1"})
    assert lacking == (f"segment shop: this machine has no NIC {INNER}",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"segments": [{"name": "shop", "nics": [MANAGEMENT, INNER]}]}, "is the management NIC"),
        (
            {"segments": [{"name": "a", "nics": [OUTER, INNER]}, {"name": "b", "nics": [INNER]}]},
            "is in segment 'a'",
        ),
        ({"guests": [{**WHOLE["guests"][0], "nic": MANAGEMENT}]}, "is no NIC of segment"),
        ({"segments": [{"name": "shop\n[Link]", "nics": [OUTER, INNER]}]}, "a name is"),
        ({"management": {"nic": "eth0"}}, "is no MAC"),
        ({"management": {"nic": MANAGEMENT, "address": "here\nDHCP=yes"}}, "management"),
        ({"management": {"nic": MANAGEMENT, "ntp": ["a\nb"]}}, "management.ntp"),
        ({"manger": MANAGER}, "manger"),
        ({"manager": {"url": "https://x"}}, "ca_fingerprint"),
    ],
)
def test_refuses(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(PolicyError, match="user-data") as refused:
        seed_of(tmp_path, {**WHOLE, **change})
    assert reason in str(refused.value)


@pytest.mark.parametrize("text", ["", "- a list", "sekisho: 3", "ssh_authorized_keys: 3", "a: [*a]", "\x00"])
def test_nonsense_is_refused_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "user-data").write_text(text)
    with pytest.raises(PolicyError, match="user-data"):
        read_seed(tmp_path / "user-data")


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="is no public key"):
        seed_of(tmp_path, WHOLE, ssh_authorized_keys=["ssh-ed25519 AAAA\nssh-rsa other"])
