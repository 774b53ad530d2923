"""Guests that are up in a few seconds: busybox on Debian's cloud kernel, all in the initial file system.

What they do is on the kernel's command line: `sekisho.role=echo sekisho.address=10.89.0.1/24` answers on TCP
port 7, from its first moment on the network on, and with `sekisho.calls=10.89.0.9:4444` calls that one again
and again. `sekisho.second=10.90.0.1/24 sekisho.pings=10.90.0.2` gives its second card an address the moment
there is one, and pings through it. `sekisho.role=bridge` joins all its cards in one bridge, as the appliance
does once its rules stand; with `sekisho.vlans=101,102` its second card is a trunk, of which these VLANs join.

In a machine that has none of this, $SEKISHO_TEST_TINY is a folder with what was made outside.
"""

import os
import shutil
import subprocess
from pathlib import Path

from tests.vm import image

MODULES = (
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "net/llc/llc",
    "net/802/stp",
    "net/bridge/bridge",
    "net/802/garp",
    "net/802/mrp",
    "net/8021q/8021q",
)
"""In the order they are loaded."""
INIT = """#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module.ko; done
for word in $(cat /proc/cmdline); do case $word in sekisho.role=*) role=${word#*=};;
  sekisho.address=*) address=${word#*=};; sekisho.calls=*) calls=${word#*=};;
  sekisho.second=*) second=${word#*=};; sekisho.pings=*) pings=${word#*=};;
  sekisho.vlans=*) vlans=$(echo ${word#*=} | tr , ' ');; esac; done
case $role in
  echo) nc -ll -p 7 -e cat & until cat /proc/net/tcp* | grep -q ':0007 '; do sleep 0.1; done
    ip address add $address dev eth0; ip link set eth0 up
    [ -z "$second" ] || while :; do [ ! -e /sys/class/net/eth1 ] || {
      ip address add $second dev eth1; ip link set eth1 up; ping -c 1 -W 1 $pings; }; sleep 0.1; done \
      >/dev/null 2>&1 &
    [ -z "$calls" ] || while :; do nc -w 1 ${calls%:*} ${calls#*:} </dev/null; sleep 0.1; done & ;;
  bridge) brctl addbr inside
    for vlan in $vlans; do ip link add link eth1 name eth1.$vlan type vlan id $vlan; done
    for card in /sys/class/net/eth*; do ip link set ${card##*/} up
      case $vlans${card##*/} in ?*eth1) ;; *) brctl addif inside ${card##*/};; esac; done
    ip link set inside up ;;
esac
echo ready
while :; do sleep 3600; done
"""


def make_initrd(path: Path) -> Path:
    """Write the initial file system; return the kernel that goes with it."""
    if made := os.environ.get("SEKISHO_TEST_TINY"):
        shutil.copy(Path(made, "initrd"), path)
        return Path(made, "vmlinuz")
    system = image.system()
    root = path.parent / "initrd-root"
    for name in ("bin", "dev", "proc", "sys", "modules"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    release = _release(system.disk)
    for module in MODULES:
        target = root / "modules" / f"{Path(module).name}.ko"
        _debugfs(system.disk, f"dump /usr/lib/modules/{release}/kernel/{module}.ko {target}")
        assert target.stat().st_size, f"{module}: not in {system.disk}"
    init = INIT.replace("{modules}", " ".join(Path(module).name for module in MODULES))
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    names = "\n".join(str(each.relative_to(root)) for each in sorted(root.rglob("*")))
    archive = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"],
        input=names.encode(),
        cwd=root,
        capture_output=True,
        check=True,
    )
    path.write_bytes(archive.stdout)
    return system.kernel


def _release(disk: Path) -> str:
    listing = _debugfs(disk, "ls -p /usr/lib/modules")
    (release,) = [line.split("/")[5] for line in listing.splitlines() if "amd64" in line]
    return release


def _debugfs(disk: Path, command: str) -> str:
    return subprocess.run(
        ["debugfs", "-R", command, str(disk)], capture_output=True, text=True, check=True
    ).stdout
