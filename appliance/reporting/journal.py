"""Control's own events, in the same spool and form as the inspector's notices."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from appliance.logs import about

log = logging.getLogger("sekisho")

WRITER = "control"
LEVELS = {1: logging.ERROR, 2: logging.WARNING}


class Journal:
    """Appends control's events; a disk that refuses is logged and counted, never a reason to stop."""

    def __init__(self, spool_dir: Path, max_bytes: int) -> None:
        # Imported here so that reading the spool needs no compiled engine.
        from appliance import _engine

        self._spool = _engine.Spool(str(spool_dir), WRITER, max_bytes)
        self.failed = 0

    def note(self, notice: str, message: str, severity: int = 3, **details: Any) -> None:
        """Record an event; severity 1 (most severe) to 4. details go under the key `sekisho`."""
        fields = about(notice=notice, severity=severity, **details)
        log.log(LEVELS.get(severity, logging.INFO), "%s", message, extra=fields)
        record = {
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
            "event_type": "engine",
            "engine": {"message": message},
            "sekisho": {"notice": notice, "severity": severity, **details},
        }
        try:
            self._spool.append(msgspec.json.encode(record), severity)
        except OSError as error:
            self.failed += 1
            log.error("spool: %s", error)
