"""Builds the appliance's disk image from Debian's packages and Sekisho's own: `make image`.

    debian packages ─ mmdebstrap ─► root ─► erofs ┐
    sekisho_*.deb ───────────────────┘            ├► GPT: GRUB │ kernel, initrd │ system ─► qcow2, .box
    the stock cloud kernel, unpacked ► initrd, ───┘
    image/root ─ files laid over the root

The system is read-only with a tmpfs above it: what lasts is on the data disk (image/init).
The same packages give the same bytes: times come from SOURCE_DATE_EPOCH, identifiers are fixed.

    python -m image.build OUT SEKISHO.deb     writes OUT/sekisho.{qcow2,box,vmlinuz,initrd,sbom.json}, sums
"""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from image import initrd, sbom

HERE = Path(__file__).resolve().parent
SUITE = "bookworm"
KERNEL = "linux-image-cloud-amd64"
PACKAGES = (
    "chrony,conntrack,e2fsprogs,iproute2,kmod,libpcre2-8-0,netbase,nftables,openssh-server,python3,systemd,"
    "systemd-resolved,systemd-sysv,udev,util-linux"
)
LEFT_OUT = (
    "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*/*",
    "/usr/share/lintian/*", "/usr/share/bash-completion/*", "/usr/share/zsh/*",
)  # fmt: skip
KEPT = ("/usr/share/doc/*/copyright",)
MODULES = (
    "crypto", "lib", "net", "fs/fat", "fs/isofs", "fs/nls", "fs/overlayfs", "fs/erofs", "drivers/ata",
    "drivers/block", "drivers/cdrom", "drivers/char", "drivers/net", "drivers/nvme", "drivers/scsi",
    "drivers/virtio", "drivers/watchdog",
)  # fmt: skip
"""Folders of the kernel's modules that a virtual machine of ours can need."""
LATER = ("systemd-resolved", "systemd-sysctl", "systemd-udev-trigger", "systemd-udevd")
"""What Debian has every service wait for; the rules do not, nor do they share the processor with it."""
BESIDE = ("systemd-journald",)
"""What the rules do not wait for either, though it may come up with them: its sockets keep what is said."""
COMMAND_LINE = (
    "console=tty0 console=ttyS0 quiet loglevel=3 net.ifnames=0 panic=10 tsc=reliable cryptomgr.notests "
    "sysctl.net.ipv6.conf.default.disable_ipv6=1"
)
"""The last three: where the hypervisor gives no clock (emulation), time is the processor's, not a slow
timer's; the kernel does not try its own ciphers, which the rules do not need, at each start; and data NICs
and their bridges speak no IPv6 of their own, while networkd turns it on where it has an address to set."""
GRUB_MODULES = ("biosdisk", "part_gpt", "squash4", "linux16", "normal")
GRUB_CONFIG = f"""set root=(hd0,gpt2)
linux16 /vmlinuz {COMMAND_LINE}
initrd16 /initrd
boot
"""
"""The kernel's 16-bit entry: for the 32-bit one GRUB moves all that the kernel will take, 54 MB, bytewise."""
SECTOR = 512
MIB = 1024 * 1024
GRUB_START = MIB // SECTOR
BOOT_START = 2 * MIB // SECTOR
DISK_ID = "5e1c5400-0000-4000-8000-00000000000{}"
BIOS_BOOT, LINUX = "21686148-6449-6E6F-744E-656564454649", "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


def main(out: Path, package: Path) -> None:
    """Write the image and what lies beside it."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        work = Path(name)
        root = work / "root"
        _bootstrap(root, package)
        kernel, release, kernel_version = _kernel(work, root)
        run("cp", "-RPf", "--preserve=mode", f"{HERE / 'root'}/.", str(root))
        _settle(root)
        shutil.copy(kernel, out / "sekisho.vmlinuz")
        initrd.write(out / "sekisho.initrd", root, release)
        (out / "sekisho.sbom.json").write_text(
            json.dumps(sbom.of(root, {KERNEL: kernel_version}), indent=1) + "\n"
        )
        _disk(work, root, out)
    _box(out)
    names = sorted(path for path in out.iterdir() if path.name.startswith("sekisho."))
    sums = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in names)
    (out / "SHA256SUMS").write_text("".join(sums))
    for path in names:
        print(f"{path}  {path.stat().st_size / MIB:.1f} MiB")


def _bootstrap(root: Path, package: Path) -> None:
    """Make the root of Debian's packages and ours."""
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    included = [f"--dpkgopt=path-include={pattern}" for pattern in KEPT]
    run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={PACKAGES}",
        "--aptopt=Apt::Install-Recommends false", *excluded, *included,
        f'--customize-hook=cp "{package.resolve()}" "$1/tmp/sekisho.deb"',
        '--customize-hook=chroot "$1" dpkg --install /tmp/sekisho.deb',
        '--customize-hook=rm "$1/tmp/sekisho.deb"',
        SUITE, str(root),
    )  # fmt: skip


def _kernel(work: Path, root: Path) -> tuple[Path, str, str]:
    """Unpack the kernel's package, its modules into the root; return image, release and package version.

    Unpacked, not installed: the package would bring what builds initrds on every machine it runs on.
    """
    depends = run("apt-cache", "depends", KERNEL).splitlines()
    (name,) = [line.split()[-1] for line in depends if line.strip().startswith("Depends: linux-image")]
    run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name, cwd=work)
    (archive,) = work.glob("linux-image-*.deb")
    run("dpkg", "-x", str(archive), str(work / "kernel"))
    (modules,) = (work / "kernel/lib/modules").iterdir()
    target = root / "usr/lib/modules" / modules.name
    for folder in MODULES:
        if (source := modules / "kernel" / folder).exists():
            shutil.copytree(source, target / "kernel" / folder)
    for each in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(modules / each, target / each)
    run("depmod", "-b", str(root), modules.name)
    (kernel,) = (work / "kernel/boot").glob("vmlinuz-*")
    return kernel, modules.name, run("dpkg-deb", "-f", str(archive), "Version").strip()


def _settle(root: Path) -> None:
    """Leave in the root what every copy of the image may share, and no more."""
    for pattern in ("etc/ssh/ssh_host_*", "var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*", "tmp/*"):
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("sekisho\n")
    for name in ("etc/resolv.conf", "var/lib/dbus/machine-id"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/resolv.conf").symlink_to("/run/systemd/resolve/resolv.conf")
    (root / "data").mkdir(exist_ok=True)
    for name in (*LATER, *BESIDE):
        file = Path("systemd/system", f"{name}.service")
        unit = (root / "usr/lib" / file).read_text()
        if name in LATER:
            unit = unit.replace("[Unit]", "[Unit]\nAfter=sekisho.service")
        unit = re.sub(r"^(Before=.*)\bsysinit\.target", r"\1", unit, flags=re.MULTILINE)
        (root / "etc" / file).write_text(unit)
    systemctl = ("systemctl", "--quiet", f"--root={root}")
    run(*systemctl, "preset-all")


def _disk(work: Path, root: Path, out: Path) -> None:
    """Write the disk: GRUB for BIOS, the kernel, the system; then its compressed copy."""
    boot = work / "boot"
    boot.mkdir()
    shutil.copy(out / "sekisho.vmlinuz", boot / "vmlinuz")
    shutil.copy(out / "sekisho.initrd", boot / "initrd")
    _squash(boot, work / "boot.img")
    # Not compressed, for the disk's format compresses and is read by the host, not by an emulated processor;
    # nor copied by the kernel on its way from the disk, as squashfs would be.
    run("mkfs.erofs", "--quiet", "-x-1", "-U", DISK_ID.format(9), str(work / "system.img"), str(root))
    disk = work / "disk.img"
    system_start = BOOT_START + _sectors(work / "boot.img")
    end = system_start + _sectors(work / "system.img")
    with disk.open("wb") as file:
        file.truncate((end + GRUB_START) * SECTOR)
    run("sfdisk", "--quiet", str(disk), stdin=_table(system_start, end))
    _write_at(disk, BOOT_START, (work / "boot.img").read_bytes())
    _write_at(disk, system_start, (work / "system.img").read_bytes())
    _install_grub(work, disk)
    options = ("-c", "-O", "qcow2", "-o", "compression_type=zstd")
    run("qemu-img", "convert", *options, str(disk), str(out / "sekisho.qcow2"))


def _table(system_start: int, end: int) -> str:
    """Return sfdisk's input."""
    parts = ((BIOS_BOOT, GRUB_START, BOOT_START, "grub"), (LINUX, BOOT_START, system_start, "sekisho-boot"),
             (LINUX, system_start, end, "sekisho-system"))  # fmt: skip
    lines = [
        f'start={start}, size={stop - start}, type={kind}, uuid={DISK_ID.format(number)}, name="{name}"'
        for number, (kind, start, stop, name) in enumerate(parts, 1)
    ]
    return "\n".join(["label: gpt", f"label-id: {DISK_ID.format(0)}", *lines, ""])


def _install_grub(work: Path, disk: Path) -> None:
    """Put GRUB's first sector and its core where the BIOS and each other look for them.

    What grub-install does on a mounted disk: the first sector is told where the core begins (at 0x5c), and
    the core's own first sector where the rest of it is (at 0x1f4). Source: GRUB's boot.S and diskboot.S.
    """
    (work / "grub.cfg").write_text(GRUB_CONFIG)
    run(
        "grub-mkimage", "-O", "i386-pc", "-p", "(hd0,gpt2)/", "-c", str(work / "grub.cfg"),
        "-o", str(work / "core.img"), *GRUB_MODULES,
    )  # fmt: skip
    core = bytearray((work / "core.img").read_bytes())
    struct.pack_into("<Q", core, 0x1F4, GRUB_START + 1)
    _write_at(disk, GRUB_START, bytes(core))
    first = bytearray(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440])
    struct.pack_into("<Q", first, 0x5C, GRUB_START)
    _write_at(disk, 0, bytes(first))


def _box(out: Path) -> None:
    """Write the box for Vagrant's libvirt provider: the same disk, and how to start it."""
    size_gb = json.loads(run("qemu-img", "info", "--output=json", str(out / "sekisho.qcow2")))["virtual-size"]
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": -(-size_gb // 1024**3)}
    with tempfile.TemporaryDirectory(dir=out) as name:
        work = Path(name)
        (work / "metadata.json").write_text(json.dumps(metadata))
        shutil.copy(HERE / "Vagrantfile", work / "Vagrantfile")
        with tarfile.open(out / "sekisho.box", "w") as box:
            for path, called in (
                (work / "metadata.json", "metadata.json"),
                (work / "Vagrantfile", "Vagrantfile"),
                (out / "sekisho.qcow2", "box.img"),
            ):
                box.add(path, called, filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime, entry.mode = int(os.environ["SOURCE_DATE_EPOCH"]), 0o644
    return entry


def _squash(source: Path, target: Path) -> None:
    """What GRUB reads, which knows no erofs; uncompressed."""
    plain = ("-noI", "-noId", "-noD", "-noF", "-noX")
    run("mksquashfs", str(source), str(target), "-quiet", "-no-progress", "-noappend", "-no-xattrs", *plain)


def _sectors(path: Path) -> int:
    """Return how much of the disk a partition with this content takes, whole MiB."""
    return -(-path.stat().st_size // MIB) * MIB // SECTOR


def _write_at(disk: Path, sector: int, content: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(sector * SECTOR)
        file.write(content)


def run(*argv: str, stdin: str = "", cwd: Path | None = None) -> str:
    """Return what the program printed. Raises SystemExit with its last words."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        argv, input=stdin, cwd=cwd, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{argv[0]}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _arguments(arguments: Sequence[str]) -> tuple[Path, Path]:
    if len(arguments) != 2:
        raise SystemExit(__doc__)
    return Path(arguments[0]), Path(arguments[1])


if __name__ == "__main__":
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    main(*_arguments(sys.argv[1:]))
