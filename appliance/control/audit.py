"""STATE/audit.jsonl: who switched protection off or on at this machine, and when; only ever appended to."""

import os
import pwd
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec


def audit(state: Path, action: str, *, who: str | None = None, **details: Any) -> None:
    """Append one record and fsync it. Raises OSError: an action that cannot be written down is not done.

    who: who asked for it, where that is not whoever runs this process.
    """
    record = {"time": datetime.now(UTC).isoformat(), "action": action, "user": who or _who(), **details}
    state.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(state / "audit.jsonl", flags, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(record) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _who() -> str:
    """Return the user; under sudo the one who called it, marked as said by the environment."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{name} (sudo: {behind})" if behind else name
