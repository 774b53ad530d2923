"""Topology trunk with a libvirt that keeps VLANs itself: two hosts and their guests in one emulated machine.

Debian 12's libvirt knows no VLANs on Linux bridges, nor do all kernels, so all of it is emulated in something
that is emulated (tests/vm/nested), and takes many minutes.
"""

import shutil
from pathlib import Path

from tests.vm import image, tiny
from tests.vm.machine import Machine

LIBVIRT = image.Recipe(
    f"{image.PACKAGES},libvirt-clients,libvirt-daemon-system,libvirt-daemon-driver-qemu,qemu-system-x86",
    "3G",
    image.TESTS.files,
    backports="libvirt*",
)
TINY = "tiny"


def test_guests_are_led_with_the_vlans_of_libvirt_and_migrate(tmp_path: Path) -> None:
    kernel = tiny.make_initrd(tmp_path / "initrd")
    beside = {f"{TINY}/initrd": tmp_path / "initrd", f"{TINY}/vmlinuz": kernel}
    try:
        with Machine(tmp_path, LIBVIRT, beside) as machine:
            machine.run(["modprobe", "-a", "tun", "nf_conntrack"])
            done = machine.python(
                "-m", "pytest", "-v", "-rA", "--tb=short", "-p", "no:cacheprovider", "tests/vm/nested",
                env={
                    "SEKISHO_TEST_VM": "nested",
                    "SEKISHO_TEST_TINY": f"/project/{TINY}",
                    "SEKISHO_TEST_PATIENCE": "5",
                },
                timeout_s=3000,
            )  # fmt: skip
    finally:
        shutil.rmtree(tmp_path / "initrd-root", ignore_errors=True)
    print(done.output)
    assert done.status == 0, done.output[-8000:]
    assert " skipped" not in done.output.splitlines()[-1]
