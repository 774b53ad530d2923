"""Tables of what was measured."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from statistics import median

from bench.goals import Goal
from bench.rows import Row, values
from bench.statistics import Ratio, ratio

MEASURED = "sekisho"
PEERS = ("no queue", "suricata")
"""Whom every figure of ours is set in relation to."""


def table(rows: list[Row], goals: list[Goal], machine: dict[str, str]) -> str:
    """Return Markdown: the machine; each figure of each path; the goals; what went by uninspected; notes."""
    about = "\n".join(f"- {key}: {value}" for key, value in machine.items())
    parts = [
        ("", about),
        (
            "Figures (medians; ratios are Sekisho's to another path's, by round, with 95 % interval)",
            _figures(rows),
        ),
        ("Goals", _markdown(("load", "rules", "unit", "ratio (95 %)", "goal", ""), _goals(rows, goals))),
        ("Let through uninspected (MB in all rounds, by reason)", _uninspected(rows)),
        ("Notes", _notes(rows)),
    ]
    shown = (f"## {title}\n\n{text}" if title else text for title, text in parts if text)
    return "\n\n".join(shown) + "\n"


def figures(rows: list[Row]) -> list[tuple[str, str, str]]:
    """Return each (load, rules, unit) that was measured, load by load, in the order in which they first come.

    A path that holds no rules belongs to all the rules of its load.
    """
    seen = dict.fromkeys((row.load, row.rules, row.unit) for row in rows)
    with_rules = {(load, unit) for load, rules, unit in seen if rules}
    loads = list(dict.fromkeys(load for load, _, _ in seen))
    kept = [each for each in seen if each[1] or (each[0], each[2]) not in with_rules]
    return sorted(kept, key=lambda each: loads.index(each[0]))


def paths(rows: list[Row]) -> list[str]:
    """Return the paths in the order in which they first come."""
    return list(dict.fromkeys(row.path for row in rows))


def _figures(rows: list[Row]) -> str:
    measured = paths(rows)
    peers = [peer for peer in PEERS if peer in measured and MEASURED in measured]
    headings = ["load", "rules", "unit", *measured, *(f"of {peer}" for peer in peers)]
    lines = []
    for load, rules, unit in figures(rows):
        of_path = {path: values(rows, path, load, unit, rules) for path in measured}
        middles = [middle(list(of_path[path].values())) for path in measured]
        ratios = [_in_words(ratio(of_path[MEASURED], of_path[peer])) for peer in peers]
        lines.append([load, rules, unit, *middles, *ratios])
    return _markdown(headings, lines)


def _goals(rows: list[Row], goals: list[Goal]) -> Iterator[Sequence[str]]:
    measured = {row.load for row in rows}
    for goal in goals:
        if goal.load in measured:
            found = goal.found(rows)
            yield goal.load, goal.rules, goal.unit, _in_words(found), str(goal), goal.judge(found)


def _uninspected(rows: list[Row]) -> str:
    total: dict[tuple[str, str, str], Counter[str]] = {}
    counted = set()
    for row in rows:
        # Every figure of one load in one round carries the same bytes.
        where = (row.load, row.rules, row.path)
        if row.uninspected and (*where, row.round) not in counted:
            counted.add((*where, row.round))
            total.setdefault(where, Counter()).update(row.uninspected)
    lines = [
        [*where, ", ".join(f"{reason} {octets / 1e6:.1f}" for reason, octets in sorted(by_reason.items()))]
        for where, by_reason in total.items()
    ]
    return _markdown(("load", "rules", "path", "MB"), lines) if lines else ""


def _notes(rows: list[Row]) -> str:
    whom: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.note:
            whom.setdefault(row.note, {})[f"{row.path}: {row.load}, {row.unit}"] = None
    return "\n".join(f"- {note} ({'; '.join(of)})" for note, of in whom.items())


def _in_words(found: Ratio | None) -> str:
    if found is None:
        return ""
    if not isfinite(found.high):
        return f"{found.value:.2f} (too few rounds)"
    return f"{found.value:.2f} ({found.low:.2f}…{found.high:.2f})"


def middle(found: list[float]) -> str:
    """Return the median in as many digits as can be meant; empty where there is none."""
    if not found:
        return ""
    return f"{median(found):.3g}" if abs(median(found)) < 100 else f"{median(found):.0f}"


def _markdown(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    body = [headings, ["---"] * len(headings), *lines]
    if len(body) == 2:
        return ""
    widths = [max(len(line[column]) for line in body) for column in range(len(headings))]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in body)
