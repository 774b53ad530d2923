"""How the appliance stands, in words and as a screen.

Imports little: these words are waited for, and what else the screen needs takes seconds under emulation.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STALE_AFTER_S = 15.0


def glance(path: Path) -> str | None:
    """Return what the status alone has to show, or None where more must be known to say how it stands."""
    try:
        status = json.loads(path.read_bytes())
        age_s, inspector = time.time() - status["time_s"], status["inspector"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if age_s > STALE_AFTER_S or not inspector["up"] or inspector["failure_policy"]:
        return None
    return screen(state(status, age_s, ()), (), troubles(status))


def state(status: Mapping[str, Any] | None, age_s: float, failures: Sequence[str]) -> str:
    """Return the appliance's state in words. failures: each segment's policy for `inspector_down`."""
    if status is None or age_s > STALE_AFTER_S:
        return "NOT RUNNING: what is not inspected passes or stops as each segment's failure policy says"
    inspector = status.get("inspector") or {}
    if not inspector.get("up") or inspector.get("failure_policy"):
        ways = sorted(set(failures)) or ["open"]
        return f"FAILING {' AND '.join(ways).upper()}: the inspector is down"
    if status.get("bypass"):
        return "BYPASSED: an operator lets traffic pass uninspected"
    if not status.get("live_version"):
        return "NO POLICY: firewall and signatures wait for the manager"
    return f"PROTECTING {len(status.get('guests', ()))} guests with policy version {status['live_version']}"


def screen(headline: str, rows: Sequence[tuple[str, str]], lacking: Sequence[str]) -> str:
    """Return the screen's text; what comes from outside is stripped of control characters."""
    lines = ["", f"  Sekisho   {headline}", ""]
    lines += [f"  {name:11} {value}" for name, value in rows if value]
    lines += ["", *(f"  ! {sentence}" for sentence in lacking)] if lacking else []
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in [*lines, ""])


def troubles(status: Mapping[str, Any]) -> list[str]:
    """Return what control says is wrong or missing, a sentence each."""
    error = status.get("error")
    return [*([str(error)] if error else ()), *status.get("missing", ())]
