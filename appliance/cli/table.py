"""Plain tables: columns as wide as they need to be, nothing drawn."""

from collections.abc import Iterable, Sequence

import click


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the rows under their headings; styled cells keep their columns."""
    lines = [[click.style(heading, bold=True) for heading in headings], *map(list, rows)]
    widths = [max(len(click.unstyle(line[column])) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def red(text: str) -> str:
    """Return the text in the colour of what needs attention."""
    return click.style(text, fg="red")


def green(text: str) -> str:
    """Return the text in the colour of what is well."""
    return click.style(text, fg="green")


def in_bytes(count: int) -> str:
    """Return a byte count for people, three digits or so."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
