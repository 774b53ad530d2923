"""Plots of what was measured, drawn by gnuplot."""

import shutil
import subprocess
from pathlib import Path
from statistics import median

from bench.render import figures, paths
from bench.rows import Row, values

PLOTS = {
    "bulk.svg": ("Gbit/s",),
    "rates.svg": ("1/s",),
    "latency.svg": ("µs p50", "µs p99"),
    "cost.svg": ("s of inspector per GB",),
}
"""A file for figures that can share an axis."""
WIDTH_PX = 1100
ROW_PX = 260


def draw(rows: list[Row], folder: Path) -> list[Path]:
    """Write the plots for which there are figures; return their paths. Raises CalledProcessError.

    Bars are medians, whiskers reach from the lowest round to the highest. Without gnuplot there are none.
    """
    drawn = []
    for name, units in PLOTS.items():
        chosen = [each for each in figures(rows) if each[2] in units]
        if chosen and shutil.which("gnuplot") is not None:
            drawn.append(folder / name)
            subprocess.run(["gnuplot"], input=script(rows, chosen, drawn[-1]), text=True, check=True)
    return drawn


def script(rows: list[Row], chosen: list[tuple[str, str, str]], out: Path) -> str:
    """Return gnuplot's input: one panel a figure, since their sizes differ, one bar a path."""
    height = ROW_PX * ((len(chosen) + 2) // 3)
    lines = [
        f"set terminal svg size {WIDTH_PX},{height} dynamic background 'white' font 'sans,11'",
        f"set output '{out}'",
        f"set multiplot layout {(len(chosen) + 2) // 3},3",
        "set style fill solid 0.6; unset key; set yrange [0:*]; set grid ytics",
        "set xtics rotate by -25 font ',9' nomirror",
    ]
    for load, rules, unit in chosen:
        of_path = {path: list(values(rows, path, load, unit, rules).values()) for path in paths(rows)}
        bars = {path: found for path, found in of_path.items() if found}
        if not bars:
            continue
        lines += ["$figures << EOD"]
        for at, (path, found) in enumerate(bars.items()):
            label = path.replace(", ", ",\\n")
            lines += [f'{at} {median(found)} {min(found)} {max(found)} "{label}"']
        heading = f"{load}\\n{rules}".replace('"', "'")
        lines += [
            "EOD",
            f'set title "{heading}" font ",11"; set ylabel "{unit}"; set xrange [-0.6:{len(bars) - 0.4}]',
            "plot $figures using 1:2:3:4:(0.7):xtic(5) with boxerrorbars lc rgb '#4878a8'",
        ]
    return "\n".join([*lines, "unset multiplot", ""])
