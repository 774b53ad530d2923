"""The package's life on a machine with systemd: upgrade, downgrade, removal, purge, with guests behind it.

The appliance's image is that machine: its system is laid over with memory, so nothing of this lasts.
"""

import pytest

from appliance.lab.wire import Outcome
from tests.vm.appliance import wait_for
from tests.vm.packages import built, later
from tests.vm.test_image import Running, running

__all__ = ["running"]

STANDING = """
nft list ruleset; sysctl -a --pattern 'net\\.bridge|ip_forward|nf_call'; ip -d -o link show type bridge |
sed 's/ [a-z_]*timer *[0-9.]*//g'; bridge -d link
"""
"""What must be as it was before the package came."""
OURS = "/etc/sekisho /opt/sekisho /usr/bin/sekisho /lib/systemd/system/sekisho* /var/lib/sekisho/*"
"""What must be gone; the image mounts the folder of the last."""


@pytest.fixture(scope="module")
def packages(running: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The package that `make deb` built and one that says it is newer, in the machine; paths by name."""
    folder = tmp_path_factory.mktemp("packages")
    for name, path in (("built", built()), ("newer", later(folder))):
        running.machine.write(f"/data/{name}.deb", path.read_bytes())
    return {"built": "/data/built.deb", "newer": "/data/newer.deb"}


@pytest.mark.parametrize("to", ["newer", "built"])
def test_upgrade_and_downgrade_leave_the_guest_protected(
    running: Running, packages: dict[str, str], to: str
) -> None:
    running.blocks()
    before = running.machine.said("sha256sum /var/lib/sekisho/identity/key.pem /etc/sekisho/sekisho.yaml")
    running.machine.said(f"dpkg --force-downgrade --force-confold -i {packages[to]} 2>&1")
    assert running.machine.said("systemctl is-active sekisho").strip() == "active"
    assert "+later" in running.machine.said("dpkg-query -W sekisho") or to == "built"
    assert (
        running.machine.said("sha256sum /var/lib/sekisho/identity/key.pem /etc/sekisho/sekisho.yaml")
        == before
    )
    running.blocks()


def test_removal_is_refused_while_a_guest_is_protected(running: Running) -> None:
    done = running.machine.ssh("dpkg --remove sekisho 2>&1")
    assert done.returncode != 0
    assert b"guests are protected here: web" in done.stdout and b"SEKISHO_UNPROTECT=1" in done.stdout
    running.blocks()


def test_purge_leaves_nothing_behind_when_told_to_unprotect(
    running: Running, packages: dict[str, str]
) -> None:
    machine = running.machine
    machine.said("SEKISHO_UNPROTECT=1 dpkg --purge sekisho 2>&1")
    assert "sekisho" not in machine.said(f"nft list tables; ls -d {OURS} 2>/dev/null || true")
    wait_for("the guest speaks as if nothing were there", lambda: running.ask("/evil") is Outcome.ANSWERED)
    before = machine.said(STANDING)
    machine.said(f"dpkg -i {packages['built']} 2>&1")
    wait_for("it stands in the way again", lambda: "sekisho" in machine.said("nft list tables"))
    machine.said("SEKISHO_UNPROTECT=1 dpkg --purge sekisho 2>&1")
    assert machine.said(STANDING) == before
