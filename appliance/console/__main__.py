"""`python -m appliance.console TTY…`: shows it for ever.

The screen is written anew when it says something new, so that a serial line stays quiet.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.console.words import glance

STATUS = Path("/var/lib/sekisho/status.json")


def main(ttys: Sequence[str]) -> None:
    """Show what can be said at once, then all there is to see."""
    if (shown := glance(STATUS)) is not None:
        _show(ttys, shown)
    from appliance.console.look import screens

    for text in screens():
        if text != shown:
            _show(ttys, text)
            shown = text


def _show(ttys: Sequence[str], text: str) -> None:
    for tty in ttys:
        try:
            with Path(tty).open("w") as file:
                file.write("\x1b[H\x1b[2J" + text.replace("\n", "\r\n"))
        except OSError:  # a machine without this console
            continue


if __name__ == "__main__":
    main(sys.argv[1:])
