"""The package sekisho-host in a Debian of its own: a folder with minbase, libvirt's test driver for guests.

What of it needs systemd is in the unit; that is judged by systemd-analyze, as it will be installed.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.vm.appliance import ROOT

INCLUDED = "python3,python3-libvirt,nftables,util-linux,init-system-helpers"
HOOK = "/etc/libvirt/hooks/qemu.d/sekisho-host"
UUID = "00000001-1111-4222-8333-123456789abc"
LISTED = "find /etc /usr /var/lib -xdev \\( -path /var/lib/dpkg -o -path /usr/share/doc \\) -prune -o -print"
ALONE = ("unshare", "--net", "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c")
LIST_GUESTS = """
sekisho-host serve >/dev/null 2>&1 & helper=$!
for _ in $(seq 100); do sekisho-host guest list 2>/dev/null && break; sleep 0.2; done
kill $helper; wait $helper
"""


@dataclass(frozen=True, slots=True)
class System:
    """The Debian; its network is a namespace of its own for each command."""

    root: Path

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        mounted = f'mount -t proc proc {self.root}/proc && exec chroot {self.root} sh -c "$0"'
        return subprocess.run([*ALONE, mounted, script], capture_output=True, text=True, timeout=300)

    def said(self, script: str) -> str:
        done = self.run(script)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout

    def protects(self, *names: str) -> None:
        """Leave the state of a helper that protects these guests."""
        uuids = {f"{UUID[:-1]}{number}": name for number, name in enumerate(names)}
        state = {"names": uuids, "protected": {uuid: {} for uuid in uuids}, "slots": {}}
        self.said("mkdir -p /var/lib/sekisho-host")
        (self.root / "var/lib/sekisho-host/state.json").write_text(json.dumps(state))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    built = max((ROOT / "dist").glob("sekisho-host_*.deb"), key=lambda path: path.stat().st_mtime)
    root = tmp_path_factory.mktemp("debian") / "root"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={INCLUDED}", "bookworm", str(root)]
    subprocess.run(command, check=True, capture_output=True)
    (root / "sekisho-host.deb").write_bytes(built.read_bytes())
    yield System(root)
    subprocess.run(["rm", "-rf", "--one-file-system", str(root)], check=True)


def test_it_is_installed_used_and_purged_without_a_trace(system: System) -> None:
    before = sorted(system.said(LISTED).split())
    system.said("dpkg -i /sekisho-host.deb")
    shown = system.said(f"readlink -f {HOOK}; stat -c %a /usr/share/sekisho-host/qemu; sekisho-host --help")
    assert shown.startswith("/usr/share/sekisho-host/qemu\n755\n")
    config = system.root / "etc/sekisho-host/host.yaml"
    document = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**document, "libvirt": "test:///default"}))
    assert re.search(r"test +running .* on no bridge", system.said(LIST_GUESTS))

    system.protects("web")
    refused = system.run("dpkg --remove sekisho-host")
    assert refused.returncode != 0
    assert "guests are protected here: web" in refused.stderr and "SEKISHO_UNPROTECT=1" in refused.stderr
    assert system.run(f"test -e {HOOK}").returncode == 0

    system.protects()
    system.said("dpkg --remove sekisho-host")
    assert system.run(f"test -e {HOOK} -o -e /opt/sekisho-host").returncode != 0
    assert config.exists()
    system.said("dpkg --purge sekisho-host")
    assert sorted(system.said(LISTED).split()) == before


def test_a_hook_without_a_helper_stops_no_guest(system: System) -> None:
    system.said("dpkg -i /sekisho-host.deb")
    done = system.run(f"echo '<domain/>' | {HOOK} web start begin -")
    assert done.returncode == 0 and "starts without its protection" in done.stderr
    assert system.run(f"echo '<domain/>' | {HOOK} web release end -").stderr == ""


def test_its_unit_is_shut_in() -> None:
    unit = str(ROOT / "debian/sekisho-host.service")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", unit],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-500:]
