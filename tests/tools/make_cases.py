"""Write the cases below tests/cases (or another folder): `python -m tests.tools.make_cases [DIR]`."""

import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.tools.cases import CASES, Case


def all_cases() -> Iterator[Case]:
    """Return the cases of every tests/cases/make_*.py; names are unique."""
    seen: set[str] = set()
    for path in sorted(CASES.glob("make_*.py")):
        for case in importlib.import_module(f"tests.cases.{path.stem}").cases():
            if case.name in seen:
                raise ValueError(f"{path.name}: a case named {case.name} exists already")
            seen.add(case.name)
            yield case


def main(argv: Sequence[str]) -> int:
    """Write every case; return 0."""
    below = Path(argv[0]) if argv else CASES
    for case in all_cases():
        case.write(below)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
