"""A KVM host as operators have it: Debian with systemd, libvirt and QEMU, in an emulated machine of its own.

It has an uplink to nobody and a bridge br0 that its guests share. Guests in it are emulated by something that
is emulated: one takes minutes to come up.
"""

import base64
import contextlib
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.vm import appliance, image
from tests.vm.over_ssh import OverSsh

WAIT_S = 1800.0
READY_S = 300.0
MEMORY_MIB = 3072
NETWORK = """\
auto lo
iface lo inet loopback
auto enp0s2
iface enp0s2 inet static
  address 10.0.2.15/24
  gateway 10.0.2.2
auto br0
iface br0 inet static
  address 10.66.0.1/24
  pre-up ip link add br0 type bridge forward_delay 0
"""
PACKAGES = (
    "adduser,ca-certificates,curl,dbus,ifupdown,iproute2,jq,kmod,libnetfilter-queue1,libpcre2-8-0,"
    "libvirt-clients,libvirt-daemon-system,nftables,openssh-server,procps,python3,python3-libvirt,"
    "qemu-system-x86,systemd-sysv,udev"
)
KVM_HOST = image.Recipe(
    PACKAGES,
    "3G",
    {
        "etc/hostname": "kvm7\n",
        "etc/hosts": "127.0.0.1 localhost kvm7\n",
        "etc/fstab": "/dev/nvme0n1 / ext4 rw 0 1\n",
        "etc/network/interfaces": NETWORK,
        # guests of tests heed no power button
        "etc/default/libvirt-guests": "ON_SHUTDOWN=shutdown\nSHUTDOWN_TIMEOUT=1\n",
    },
)


wait_for = functools.partial(appliance.wait_for, timeout_s=WAIT_S, every_s=1.0)
"""Each look is a login, which the guests' processors pay for."""


@dataclass(slots=True)
class KvmHost(OverSsh):
    """The machine; its disk stays in the folder while it is off."""

    _process: "subprocess.Popen[bytes] | None" = None

    def _credential(self) -> str:
        """Return the key as a credential of systemd's, for QEMU to hand over."""
        public = base64.b64encode(self.key.with_suffix(".pub").read_bytes()).decode()
        lines = f"d /root/.ssh 0700 root root\nf~ /root/.ssh/authorized_keys 0600 root root - {public}\n"
        said = base64.b64encode(lines.encode()).decode()
        return f"type=11,value=io.systemd.credential.binary:tmpfiles.extra={said}"

    @contextlib.contextmanager
    def power(self) -> Iterator[None]:
        """Run it until the block ends, which is like a power failure."""
        self._switch_on()
        try:
            yield
        finally:
            self._switch_off()

    def lose_power(self) -> None:
        """Switch it off at once, and on again."""
        self._switch_off()
        self._switch_on()

    def _switch_off(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _switch_on(self) -> None:
        system = image.system(KVM_HOST)
        disk = self.folder / "disk.qcow2"
        if not disk.exists():
            base = ["-b", str(system.disk), "-F", "raw"]
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(disk)], check=True)
        self._process = subprocess.Popen(
            [
                "setpriv", "--pdeathsig", "KILL",
                "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
                "-m", str(MEMORY_MIB), "-nographic", "-nodefaults", "-no-reboot",
                "-kernel", str(system.kernel),
                "-append", "root=/dev/nvme0n1 rw console=ttyS0 mitigations=off",
                "-device", "nvme,id=disks,serial=disks",
                "-drive", f"if=none,id=system,format=qcow2,file={disk}",
                "-device", "nvme-ns,drive=system,bus=disks,nsid=1",
                "-netdev", f"user,id=uplink,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22",
                "-device", "virtio-net-pci,netdev=uplink,addr=2,romfile=",
                "-serial", f"file:{self.folder / 'console.log'}", "-smbios", self._credential(),
            ],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "qemu.log").open("wb"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        wait_for("it can be logged in to", lambda: self.ssh("true").returncode == 0, timeout_s=READY_S)
