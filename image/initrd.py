"""The initrd: busybox, the few modules a disk needs, and a script that lays a tmpfs over the system."""

import gzip
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
NEEDED = (
    "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "squashfs", "overlay", "virtio_net",
    "ata_piix", "sr_mod", "isofs", "vfat", "nls_cp437", "nls_ascii",
)  # fmt: skip
"""For the system's and the data disk, NICs, and a seed on a CD or disk."""
INIT = Path(__file__).resolve().parent / "init"


def write(path: Path, root: Path, release: str) -> None:
    """Write it to path, with modules from the root. Raises CalledProcessError when one is not there."""
    files = {"bin/busybox": (BUSYBOX.read_bytes(), 0o755), "init": (INIT.read_bytes(), 0o755)}
    names = []
    for module in _modules(root, release):
        files[f"modules/{module.name}"] = (module.read_bytes(), 0o644)
        names.append(module.name)
    files["modules/order"] = (("\n".join(names) + "\n").encode(), 0o644)
    path.write_bytes(gzip.compress(_archive(files), mtime=0))


def _modules(root: Path, release: str) -> Iterator[Path]:
    """Yield the modules' files, each after those that it needs, each once."""
    seen = set()
    for name in NEEDED:
        argv = ["modprobe", "-d", str(root), "-S", release, "--show-depends", name]
        for line in subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines():
            kind, _, path = line.partition(" ")
            if kind == "insmod" and path not in seen:
                seen.add(path)
                yield Path(path.split()[0])


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
