"""Tables of what was measured."""

from collections.abc import Iterator
from statistics import median

from bench.goals import Goal, against_suricata
from bench.rows import Row, values

HEADINGS = ("load", "rules", "unit", "sekisho", "suricata", "ratio (95 %)", "goal", "")


def table(rows: list[Row], goals: list[Goal], machine: dict[str, str]) -> str:
    """Return Markdown: the machine, then a line a figure with both engines, their ratio, and the goal."""
    about = "\n".join(f"- {key}: {value}" for key, value in machine.items())
    body = [HEADINGS, tuple("---" for _ in HEADINGS), *_lines(rows, goals)]
    widths = [max(len(line[column]) for line in body) for column in range(len(HEADINGS))]
    drawn = ("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in body)
    notes = sorted({f"- {row.path}: {row.note}" for row in rows if row.note})
    return "\n\n".join(filter(None, [about, "\n".join(drawn), "\n".join(notes)])) + "\n"


def _lines(rows: list[Row], goals: list[Goal]) -> Iterator[tuple[str, ...]]:
    by_figure = {(goal.load, goal.unit): goal for goal in goals}
    for load, unit in dict.fromkeys((row.load, row.unit) for row in rows):
        rules = next((row.rules for row in rows if row.load == load and row.rules), "")
        found = against_suricata(rows, load, unit)
        goal = by_figure.get((load, unit))
        yield (
            load,
            rules,
            unit,
            _middle(values(rows, "sekisho", load, unit)),
            _middle(values(rows, "suricata", load, unit)),
            f"{found.value:.2f} ({found.low:.2f}…{found.high:.2f})" if found else "",
            str(goal) if goal else "",
            goal.judge(found) if goal else "",
        )


def _middle(figures: list[float]) -> str:
    if not figures:
        return "not measured"
    return f"{median(figures):.3g}" if median(figures) < 100 else f"{median(figures):.0f}"
