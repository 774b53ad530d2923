"""`python -m appliance.firstboot`: at each boot, before the network, from what was kept of the seed.

The initrd copies it from the seed disk, where there is one, to the data disk; so a new seed changes the
machine at its next boot, and without one it stays what it was. What is missing is left in
/run/sekisho/missing for the console, last: whoever waits for the rest waits for that. Nothing here ends the
boot: a machine with a broken seed must be able to say so.
"""

import os
import sys
from pathlib import Path

from appliance.firstboot.rendering import File, missing, render
from appliance.firstboot.seed import Seed, read_seed
from appliance.model.faults import PolicyError

KEPT = Path("/data/seed/user-data")
TROUBLE = Path("/etc/sekisho/seed-trouble")
"""The initrd's word on a seed disk that it could not read."""
MISSING = Path("/run/sekisho/missing")


def main() -> None:
    """Write the machine's files."""
    MISSING.parent.mkdir(exist_ok=True)
    nics = _nics()
    seed: Seed | None = None
    lacking: tuple[str, ...] = ()
    try:
        if TROUBLE.exists():
            raise PolicyError(TROUBLE.read_text().strip())
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
