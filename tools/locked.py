"""Print the part of requirements.lock that our package needs with some of its extras, for `pip install -r`.

    python tools/locked.py [EXTRA…]

Needs are those of pyproject.toml and, beyond it, what the packages installed in this environment say of
themselves; all of them must be in the lock. Run in the virtual environment that the lock was installed to.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def closure(needs: Iterable[str]) -> set[str]:
    """Return the names of all packages that the requirements lead to, canonical."""
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [(Requirement(need), frozenset({""})) for need in needs]
    while waiting:
        requirement, extras = waiting.pop()
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in extras):
            continue
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if key not in found:
            found.add(key)
            own = frozenset({"", *requirement.extras})
            waiting += [(Requirement(text), own) for text in metadata.requires(requirement.name) or ()]
    return {name for name, _ in found}


def entries(lock: str) -> dict[str, str]:
    """Return each package's lines of the lock by its canonical name."""
    blocks = re.findall(r"^[a-zA-Z0-9].*(?:\n[ \t].*)*", lock, re.MULTILINE)
    return {str(canonicalize_name(block.partition("==")[0])): block for block in blocks}


def main(extras: Sequence[str]) -> None:
    """Print the entries. Raises SystemExit naming what the lock lacks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = list(project["dependencies"])
    for extra in extras:
        needs += project["optional-dependencies"][extra]
    locked = entries((ROOT / "requirements.lock").read_text())
    wanted = closure(needs)
    if missing := wanted - locked.keys():
        raise SystemExit(f"requirements.lock lacks {', '.join(sorted(missing))}")
    print("\n".join(locked[name] for name in sorted(wanted)))


if __name__ == "__main__":
    main(sys.argv[1:])
