"""What was measured: one row a figure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one path under one load in one round.

    path: who was measured: "sekisho", "suricata", … load: what it was given. rules: which rules it held;
    empty for a path that holds none. value: in `unit`; None where it could not be measured, and then `note`
    says why. uninspected: bytes that the path let through uninspected meanwhile, by reason; empty where all
    were inspected, or there is no inspector.
    """

    path: str
    load: str
    rules: str
    value: float | None
    unit: str
    round: int
    note: str = ""
    uninspected: Mapping[str, int] = field(default_factory=dict)


def write(rows: list[Row], path: Path) -> None:
    """Replace `path` by the rows, as a JSON list of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def read(path: Path) -> list[Row]:
    """Return the rows that `write` left."""
    return [Row(**row) for row in json.loads(path.read_text())]


def values(rows: list[Row], path: str, load: str, unit: str, rules: str | None = None) -> dict[int, float]:
    """Return one path's figures by round; empty where there are none.

    rules: those of this name alone, or of a path that holds none; None: whatever they are.
    """
    mine = [row for row in rows if (row.path, row.load, row.unit) == (path, load, unit)]
    return {
        row.round: row.value
        for row in sorted(mine, key=lambda row: row.round)
        if row.value is not None and (rules is None or row.rules in (rules, ""))
    }
