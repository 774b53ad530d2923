"""`python -m appliance.firstboot`: at each boot, before the network, from the seed or what was kept of it.

The seed disk, where there is one, wins over what the data disk has kept; so a new seed changes the machine at
its next boot, and without one it stays what it was. What is missing is left in /run/sekisho/missing for the
console. Nothing here ends the boot: a machine with a broken seed must be able to say so.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.durable import replace_file
from appliance.firstboot.rendering import File, missing, render
from appliance.firstboot.seed import Seed, read_seed
from appliance.model.faults import PolicyError

KEPT = Path("/data/seed/user-data")
MOUNTED = Path("/run/sekisho/seed")
MISSING = Path("/run/sekisho/missing")
MAX_BYTES = 1024 * 1024
LABELS = ("cidata", "CIDATA")


def main() -> None:
    """Write the machine's files."""
    MISSING.parent.mkdir(exist_ok=True)
    nics = _nics()
    seed: Seed | None = None
    lacking: tuple[str, ...] = ()
    try:
        _keep_new_seed()
        seed = read_seed(KEPT) if KEPT.exists() else None
        lacking = missing(seed, nics)
    except (PolicyError, OSError) as error:
        lacking = (f"the seed is refused, and nothing of it in force: {error}",)
    for file in render(seed or Seed(), nics):
        _write(file)
    if not Path("/data").is_mount():
        lacking += ("there is no data disk: identity, policy and events are lost when this machine stops",)
    MISSING.write_text("".join(f"{sentence}\n" for sentence in lacking))
    for sentence in lacking:
        print(sentence, file=sys.stderr)


def _keep_new_seed() -> None:
    """Copy what a seed disk says to the data disk. Raises PolicyError, OSError."""
    with _seed_disk() as folder:
        if folder is None:
            return
        with (folder / "user-data").open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise PolicyError(f"user-data: longer than {MAX_BYTES} bytes")
    KEPT.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(KEPT, content, mode=0o600)


@contextmanager
def _seed_disk() -> Iterator[Path | None]:
    """Give the seed disk's folder, mounted read-only in our own mount namespace; None if there is none."""
    for label in LABELS:
        found = subprocess.run(["blkid", "-L", label], capture_output=True, text=True).stdout.strip()
        if found:
            break
    else:
        yield None
        return
    MOUNTED.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-o", "ro,nosuid,nodev,noexec", found, str(MOUNTED)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise PolicyError(f"seed disk {found}: {done.stderr.strip()}")
    try:
        yield MOUNTED
    finally:
        subprocess.run(["umount", str(MOUNTED)], check=False)


def _nics() -> dict[str, str]:
    """Return the machine's NICs: names by MAC; only what a device stands behind."""
    folders = [folder for folder in Path("/sys/class/net").iterdir() if (folder / "device").exists()]
    return {(folder / "address").read_text().strip(): folder.name for folder in sorted(folders)}


def _write(file: File) -> None:
    path = Path(file.path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if path.parent.name == ".ssh" else 0o755)
    path.touch(mode=file.mode)
    path.chmod(file.mode)
    path.write_text(file.text)


if __name__ == "__main__":
    os.umask(0o022)
    main()
