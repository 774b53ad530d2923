"""Programs that the lab runs."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(
    *argv: str, shown: bool = False, cwd: Path = ROOT, stdin: str = "", env: Mapping[str, str] | None = None
) -> str:
    """Return what a program printed, or show it. Raises SystemExit with its last words."""
    try:
        done = subprocess.run(
            argv, cwd=cwd, input=stdin, capture_output=not shown, text=True, env={**os.environ, **(env or {})}
        )
    except FileNotFoundError:
        raise SystemExit(f"{argv[0]} is not installed; vagrant/README.md says what is needed") from None
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv[:3])}: {(done.stderr or done.stdout or '').strip()[-2000:]}")
    return done.stdout or ""


def say(text: str) -> None:
    """Print a line at once."""
    print(f"sekisho: {text}", flush=True)
