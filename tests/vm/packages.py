"""The package that `make deb` built, and one that says it is newer."""

import re
import subprocess
from pathlib import Path

from tests.vm.appliance import ROOT


def built() -> Path:
    """Return the last one that was built."""
    return max((ROOT / "dist").glob("sekisho_*.deb"), key=lambda path: path.stat().st_mtime)


def later(folder: Path) -> Path:
    """Make the one that says it is newer, `+later`, in the folder."""
    tree, made = folder / "tree", folder / "later.deb"
    _run("dpkg-deb", "-R", built(), tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: (.*)$", r"Version: \1+later", control.read_text()))
    _run("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, made)
    return made


def _run(*argv: str | Path) -> None:
    subprocess.run(argv, check=True, capture_output=True)
