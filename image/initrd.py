"""The initrd: busybox, modules for disks, NICs and rules, and a script that lays a tmpfs over the system."""

import gzip
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
NEEDED = (
    "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "erofs", "overlay", "virtio_net",
    "ata_piix", "sr_mod", "isofs", "vfat", "nls_cp437", "nls_ascii",
    "bridge", "nfnetlink_queue", "nft_queue", "nf_conntrack_bridge", "nft_meta_bridge", "nft_ct", "nft_hash",
    "nft_objref",
)  # fmt: skip
"""For the system's and the data disk, NICs, a seed on a CD or disk, and what the rules ask the kernel for."""
INIT = Path(__file__).resolve().parent / "init"


def write(path: Path, root: Path, release: str) -> None:
    """Write it to path, with modules from the root. Raises CalledProcessError when one is not there."""
    files = {"bin/busybox": (BUSYBOX.read_bytes(), 0o755), "init": (INIT.read_bytes(), 0o755)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "lib/modules", release)
        folder.mkdir(parents=True)
        for module in _modules(root, release):
            shutil.copy(module, folder)
        subprocess.run(["depmod", "-b", name, release], check=True, stderr=subprocess.DEVNULL)
        for file in (*folder.glob("*.ko"), folder / "modules.dep", folder / "modules.alias"):
            files[f"lib/modules/{release}/{file.name}"] = (file.read_bytes(), 0o644)
    path.write_bytes(gzip.compress(_archive(files), mtime=0))


def _modules(root: Path, release: str) -> set[Path]:
    """Return the modules' files, and those of what they need."""
    argv = ["modprobe", "-d", str(root), "-S", release, "--show-depends", "-a", *NEEDED]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    lines = (line.split() for line in said.splitlines())
    return {Path(path) for kind, path, *_ in lines if kind == "insmod"}


def _archive(files: dict[str, tuple[bytes, int]]) -> bytes:
    """Return a cpio archive (newc) of the files and the folders they lie in. Source: cpio(5)."""
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    entries = [(name, b"", stat.S_IFDIR | 0o755) for name in [*folders, "dev", "proc", "sys"]]
    entries += [(name, content, stat.S_IFREG | mode) for name, (content, mode) in sorted(files.items())]
    entries.append(("TRAILER!!!", b"", 0))
    archive = bytearray()
    for number, (name, content, mode) in enumerate(entries, 1):
        encoded = name.encode() + b"\0"
        time = int(os.environ.get("SOURCE_DATE_EPOCH", 0))
        fields = (number, mode, 0, 0, 1, time, len(content), 0, 0, 0, 0, len(encoded), 0)
        archive += b"070701" + "".join(f"{field:08X}" for field in fields).encode() + encoded
        archive += bytes(-len(archive) % 4)
        archive += content + bytes(-len(content) % 4)
    return bytes(archive)
