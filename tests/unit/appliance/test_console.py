"""What the consoles say of the appliance's state."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import unset_clock
from appliance.console.look import addresses, host_key
from appliance.console.words import glance, screen, state

ROOT = Path(__file__).resolve().parents[3]
UP = {"up": True}


@pytest.mark.parametrize(
    ("begins", "status", "age_s", "failures"),
    [
        ("NOT RUNNING", None, 0.0, ["open"]),
        ("NOT RUNNING", {"inspector": UP, "live_version": 3}, 60.0, ["open"]),
        ("FAILING OPEN:", {"inspector": {"up": False}, "live_version": 3}, 1.0, ["open"]),
        ("FAILING CLOSED:", {"inspector": {"up": True, "failure_policy": True}}, 1.0, ["closed"]),
        ("FAILING CLOSED AND OPEN:", {"inspector": {"up": False}}, 1.0, ["open", "closed"]),
        ("BYPASSED", {"inspector": UP, "live_version": 3, "bypass": [{"guest": "web"}]}, 1.0, []),
        ("NO POLICY", {"inspector": UP, "live_version": 0}, 1.0, ["open"]),
        ("PROTECTING 2 guests", {"inspector": UP, "live_version": 3, "guests": [{}, {}]}, 1.0, ["open"]),
    ],
)
def test_says_how_it_stands(
    begins: str, status: dict[str, Any] | None, age_s: float, failures: list[str]
) -> None:
    assert state(status, age_s, failures).startswith(begins)


PROTECTING = {
    "time_s": time.time(), "live_version": 3, "guests": [{}], "missing": ["br-shop does not exist"],
    "inspector": {"up": True, "failure_policy": False},
}  # fmt: skip


def glanced(folder: Path, **other: Any) -> str | None:
    (folder / "status.json").write_text(json.dumps(PROTECTING | other))
    return glance(folder / "status.json")


def test_at_a_glance_it_says_that_it_protects_and_what_is_missing(tmp_path: Path) -> None:
    shown = glanced(tmp_path, time_s=time.time())
    assert shown is not None and "PROTECTING 1 guests" in shown and "! br-shop does not exist" in shown


def test_at_a_glance_it_says_nothing_that_more_than_the_status_decides(tmp_path: Path) -> None:
    down = {"up": False, "failure_policy": False}
    assert glanced(tmp_path, time_s=time.time(), inspector=down) is None
    assert glanced(tmp_path, time_s=time.time(), inspector={"up": True, "failure_policy": True}) is None
    assert glanced(tmp_path, time_s=time.time() - 60) is None
    assert glanced(tmp_path, time_s=None) is None
    assert glance(tmp_path / "none") is None


def test_the_glance_waits_for_nothing_that_is_not_pythons_own() -> None:
    program = "import sys; had = set(sys.modules); import appliance.console.__main__\n"
    program += "print(*{name.split('.')[0] for name in set(sys.modules) - had})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) - sys.stdlib_module_names == {"appliance"}


def test_what_comes_from_outside_cannot_command_the_terminal() -> None:
    shown = screen("PROTECTING", [("called", "x\x1b]0;evil\x07")], ["\x1b[2J"])
    assert "\x1b" not in shown and "\x07" not in shown


def test_a_clock_before_the_release_is_unset() -> None:
    assert unset_clock(now_s=0, made_s=1_700_000_000) is not None
    assert unset_clock(now_s=1_700_000_001, made_s=1_700_000_000) is None


def test_addresses_that_ip_filtered_out_are_not_shown() -> None:
    address = '{"local":"10.0.2.15","prefixlen":24,"metric":1024}'
    listed = f'[{{"ifname":"eth0","addr_info":[{address},{{}},{{}}]}},{{"ifname":"eth1","addr_info":[]}}]'
    assert addresses(listed.encode()) == "eth0 10.0.2.15/24"


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_the_key_is_named_as_ssh_names_it(tmp_path: Path) -> None:
    key, on = tmp_path / "key", tmp_path / "on"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    said = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True)
    assert host_key(key.with_suffix(".pub"), on) == ""
    on.touch()
    assert host_key(key.with_suffix(".pub"), on) == said.stdout.split()[1]
