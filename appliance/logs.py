"""Where the daemons' log goes: journald with fields where it listens, else lines on the terminal.

A guest decides how often the guard or the firewall has something to say of it, so what is said of each guest
is bounded: what is left out is counted, and the next line of that guest says how much it was. Events on disk
are not bounded by this.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from logging_journald import Facility, JournaldTransport, check_journal_stream

PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
"""Of syslog, as journald takes them."""
SEND_TIMEOUT_S = 1.0
"""A journald that hangs costs lines, not protection."""
GUEST_BURST = 20
GUEST_EVERY_S = 5.0


def set_up(identifier: str) -> None:
    """Send this process's log to journald, if our stderr is its, or else to stderr."""
    handler = _journald(identifier) or logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(GuestLimit())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def about(**details: Any) -> dict[str, Any]:
    """Return a log call's `extra` that makes the details fields of the record: SEKISHO_GUEST and so on."""
    return {"sekisho": details}


def _journald(identifier: str) -> logging.Handler | None:
    try:
        return JournaldHandler(identifier) if check_journal_stream() else None
    except (OSError, ValueError):
        return None


class JournaldHandler(logging.Handler):
    """Hands records to journald with their priority and fields."""

    def __init__(self, identifier: str) -> None:
        """Connect to journald. Raises OSError."""
        super().__init__()
        self._identifier = identifier
        self._transport = JournaldTransport()
        self._transport.socket.settimeout(SEND_TIMEOUT_S)

    def emit(self, record: logging.LogRecord) -> None:
        """Send it; if that fails it goes to stderr, which journald reads as well once it is back."""
        try:
            self._transport.send(self._fields(record))
        except OSError as error:
            print(f"{record.getMessage()} (journald: {os.strerror(error.errno or 0)})", file=sys.stderr)

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
        yield "MESSAGE", record.getMessage()
        yield "PRIORITY", PRIORITIES.get(record.levelno, PRIORITIES[logging.INFO])
        yield "SYSLOG_IDENTIFIER", self._identifier
        yield "SYSLOG_FACILITY", int(Facility.DAEMON)
        yield "LOGGER", record.name
        yield "CODE_FILE", record.pathname
        yield "CODE_LINE", record.lineno
        if record.exc_info:
            yield "TRACEBACK", logging.Formatter().formatException(record.exc_info)
        for name, value in _details(record).items():
            yield f"SEKISHO_{name.upper()}", value


def _details(record: logging.LogRecord) -> dict[str, Any]:
    details: dict[str, Any] = getattr(record, "sekisho", {})
    return details


class _Allowance(msgspec.Struct):
    tokens: float
    seen_s: float
    left_out: int = 0


class GuestLimit(msgspec.Struct):
    """A logging filter: 20 records at once of each guest, then one every 5 seconds.

    Records of no guest pass. clock: monotonic seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _guests: dict[str, _Allowance] = msgspec.field(default_factory=dict)

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is logged; the first one after some that were not says so."""
        guest = _details(record).get("guest")
        if guest is None:
            return True
        now_s = self.clock()
        allowance = self._guests.setdefault(guest, _Allowance(GUEST_BURST, now_s))
        refilled = allowance.tokens + (now_s - allowance.seen_s) / GUEST_EVERY_S
        allowance.tokens, allowance.seen_s = min(GUEST_BURST, refilled), now_s
        if allowance.tokens < 1:
            allowance.left_out += 1
            return False
        allowance.tokens -= 1
        if allowance.left_out:
            record.msg = (
                f"{record.getMessage()} ({allowance.left_out} lines about guest {guest} were left out)"
            )
            record.args = ()
            allowance.left_out = 0
        return True
