"""The appliance's image, as an operator starts it: power, a seed disk, two data NICs; then traffic."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.lab.wire import Outcome, exchange
from tests.manager_fixture import RunningManager, running_manager
from tests.vm import appliance
from tests.vm.appliance import NAME, ROOT, WEB, ApplianceMachine, Wires, wait_for
from tests.vm.packages import later

RULES = """\
alert http any any -> $HOME_NET any (msg:"evil"; flow:to_server; http.uri; content:"/evil"; sid:1;)
"""
PROGRAMS = ("qemu-system-x86_64", "genisoimage", "ssh")


@dataclass(frozen=True, slots=True)
class Running:
    """The machine under a manager."""

    machine: ApplianceMachine
    manager: RunningManager
    wires: Wires

    def reported(self) -> dict[str, Any]:
        """Return what the manager knows of it, or nothing."""
        found = [each for each in self.manager.operator.get("/appliances").json() if each["name"] == NAME]
        return found[0] if found else {}

    def ask(self, path: str) -> Outcome:
        """Send one request from the client to the web guest."""
        request = f"GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n".encode()
        return exchange(self.wires.client, WEB, 80, request, (), 20.0).outcome

    def blocks(self) -> None:
        """Wait until an attack is stopped; then what is none must pass."""
        wait_for("the attack is stopped", lambda: self.ask("/evil") is not Outcome.ANSWERED)
        assert self.ask("/eve.md") is Outcome.ANSWERED


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A machine that enrolled and is switched on."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.fail(f"not installed: {', '.join(missing)}; `make test-vm` installs them")
    assert appliance.IMAGE.exists(), "`make image` makes it"
    folder = tmp_path_factory.mktemp("image")
    with seeded(folder, "skv") as running, enrolled(running):
        yield running


@contextlib.contextmanager
def seeded(folder: Path, prefix: str) -> Iterator[Running]:
    """Give a machine that is off, with a seed that names its manager."""
    with (
        running_manager(folder, extra=("--name", appliance.HOST)) as manager,
        appliance.wires(prefix) as wires,
    ):
        machine = ApplianceMachine(folder, wires)
        machine.write_seed(appliance.seed(manager, manager.cli("token", "create")))
        yield Running(machine, manager, wires)


@contextlib.contextmanager
def enrolled(running: Running) -> Iterator[None]:
    """Have it switched on, enrolled, and blocking the attack."""
    with running.machine.power():
        wait_for("it enrolled", lambda: running.reported())
        protect(running)
        yield


def protect(running: Running) -> None:
    """Have it block the attack."""
    body = {"files": [{"name": "lab.rules", "text": RULES}]}
    running.manager.operator.put("/rule-sets/lab", json=body).raise_for_status()
    prevent = {"assignments": [{"rule_set": "lab", "mode": "prevent"}]}
    running.manager.operator.put(f"/appliances/{NAME}/defaults", json=prevent).raise_for_status()
    wait_for("it runs what it should", lambda: running.reported().get("in_step"))


# Those with a machine of their own stand first: behind them one runs for all others.


def test_a_restart_without_the_seed_finds_identity_and_policy_on_the_data_disk(tmp_path: Path) -> None:
    key = "sha256sum /var/lib/sekisho/identity/key.pem"
    with seeded(tmp_path, "skr") as running:
        machine = running.machine
        with enrolled(running):
            before = machine.said(key)
            machine.said("sync")
        machine.remove_seed()
        with machine.power():
            wait_for("it protects again", lambda: "PROTECTING 1 guests" in machine.console)
            # it protects before anybody can log in
            wait_for("SSH to answer", lambda: machine.ssh("true").returncode == 0)
            assert machine.said(key) == before
            # it protects before its bridges have their ports
            wait_for("nothing to be missing", lambda: "!" not in machine.console.rpartition("PROTECTING")[2])
            assert "after a reboot: no protection for " in machine.said("sekisho status")
            running.blocks()


def test_a_newer_image_with_the_same_data_disk_protects_and_so_does_the_older_one_again(
    tmp_path: Path,
) -> None:
    build = [sys.executable, "-m", "image.build", tmp_path / "later", later(tmp_path)]
    subprocess.run(
        build, check=True, cwd=ROOT, env={**os.environ, "SOURCE_DATE_EPOCH": str(int(time.time()))}
    )
    version = "dpkg-query -W -f '${Version}' sekisho"
    with seeded(tmp_path, "sku") as running:
        machine = running.machine
        with enrolled(running):
            machine.said("sync")
        for image in (tmp_path / "later/sekisho.qcow2", appliance.IMAGE):
            machine.image = image
            heard = running.reported()["last_seen_at"]
            with machine.power():
                wait_for("it protects", lambda: "PROTECTING 1 guests" in machine.console)
                running.blocks()
                wait_for("SSH to answer", lambda: machine.ssh("true").returncode == 0)
                assert ("+later" in machine.said(version)) is (image != appliance.IMAGE)
                wait_for("it is heard of", lambda seen=heard: running.reported()["last_seen_at"] > seen)


def test_without_a_seed_the_console_explains_what_is_missing(tmp_path: Path) -> None:
    machine = ApplianceMachine(tmp_path)
    with machine.power(data_disk=False):
        wait_for("it says so", lambda: "there is no seed" in machine.console)
        wait_for("it says so", lambda: "there is no data disk" in machine.console)
        wait_for("it says how it stands", lambda: "NO POLICY" in machine.console)


def test_protects_between_its_data_nics_with_the_native_back_end(running: Running) -> None:
    running.blocks()
    assert '"backend": "nft-bridge"' in running.machine.said("sekisho status --json")


def test_the_console_says_that_it_protects_and_whom_it_follows(running: Running) -> None:
    wait_for("the console says so", lambda: "PROTECTING 1 guests" in running.machine.console)
    assert f"https://{appliance.HOST}:{running.manager.port}: connected" in running.machine.console
    assert running.manager.fingerprint in running.machine.console
    assert "eth0 10.0.2.15/24" in running.machine.console


def test_the_kernel_knows_a_connection_for_each_8_kib_of_memory(running: Running) -> None:
    known = "/proc/sys/net/netfilter/nf_conntrack_max"
    said = running.machine.said(f"cat {known}; grep MemTotal /proc/meminfo").split()
    assert int(said[0]) == pytest.approx(min(int(said[2]) / 8, 262_144), rel=0.1)
    assert f"of at most {int(said[0]):,} connections" in running.machine.said("sekisho status")


def test_connections_are_shown_with_their_age(running: Running) -> None:
    assert running.ask("/eve.md") is Outcome.ANSWERED
    shown = running.machine.said("sekisho flows").splitlines()[1:]
    assert shown and all(re.match(r"\S+ +\d+ (s|min|h|d)\b", line) for line in shown), shown


def test_fragments_whose_rest_never_comes_are_held_briefly_and_in_a_sixteenth_of_memory(
    running: Running,
) -> None:
    names = ("ipv4/ipfrag", "netfilter/nf_conntrack_frag6")
    paths = [f"/proc/sys/net/{name}_high_thresh" for name in names]
    paths += ["/proc/sys/net/ipv4/ipfrag_time", "/proc/sys/net/netfilter/nf_conntrack_frag6_timeout"]
    said = running.machine.said(f"cat {' '.join(paths)}; grep MemTotal /proc/meminfo").split()
    assert said[:4] == [str(int(said[5]) * 64)] * 2 + ["2", "2"]


def test_nothing_listens_but_ssh(running: Running) -> None:
    listening = running.machine.said("ss -Hlnut | awk '{print $1, $5}' | sort -u").splitlines()
    # What a DHCP client hears its answers with is no server.
    assert {line for line in listening if not line.endswith((":68", ":546"))} == {
        "tcp 0.0.0.0:22",
        "tcp [::]:22",
    }


def test_passwords_are_of_no_use_to_log_in(running: Running) -> None:
    offered = running.machine.said("sshd -T")
    assert "passwordauthentication no" in offered
    assert running.machine.said("cut -d: -f2 /etc/shadow | sort -u").split() in (
        ["!*"],
        ["!", "!*", "*"],
        ["!*", "*"],
        ["*"],
    )


def test_the_management_nic_is_in_no_bridge(running: Running) -> None:
    assert "master" not in running.machine.said("ip -o link show eth0")
    assert running.machine.said("ip -o link show master br-shop").count("\n") == 2


def test_secrets_are_roots_alone(running: Running) -> None:
    secrets = "/etc/sekisho/enrolment.token /var/lib/sekisho/identity/key.pem /data/seed/user-data"
    assert set(running.machine.said(f"stat -c '%a %U' {secrets}").splitlines()) == {"600 root"}


def test_units_are_sandboxed(running: Running) -> None:
    for unit in ("sekisho", "sekisho-firstboot", "sekisho-console"):
        said = running.machine.said(f"systemd-analyze security --no-pager {unit}.service").splitlines()[-1]
        assert float(said.split(": ")[1].split()[0]) < 3, said
