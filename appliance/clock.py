"""Whether the clock can be right: certificates are judged by it; a wrong one looks like a wrong manager."""

import time
from datetime import UTC, datetime
from pathlib import Path

_MADE_S = Path(__file__).stat().st_mtime
"""When this file was made; a package's files carry the time of the release."""


def unset_clock(now_s: float | None = None, made_s: float = _MADE_S) -> str | None:
    """Return in a sentence that the clock is unset, or None if it may be right. Unix times in seconds."""
    now_s = time.time() if now_s is None else now_s
    if now_s >= made_s:
        return None
    said, made = (datetime.fromtimestamp(each, UTC).date().isoformat() for each in (now_s, made_s))
    return (
        f"the clock is unset: it says {said}, before this program was made ({made}); no certificate can be "
        "checked until it is right. Give this machine a time server, or a hardware clock"
    )
