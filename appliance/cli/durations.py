"""Durations as people type them."""

import re

import click

UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType[int]):
    """`90`, `30s`, `30m`, `2h`, `1d`: seconds as an int."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        read = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value).strip().lower())
        if read is None or int(read[1]) == 0:
            self.fail(f"{value!r} is no duration; write 90s, 30m, 2h or 1d", param, ctx)
        return int(read[1]) * UNITS_S[read[2]]


def in_words(seconds: float) -> str:
    """Return `1 h 5 min` for 3,900."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s" if rest else ""]
    return " ".join(part for part in parts[: 2 if hours else 3] if part) or "0 s"
