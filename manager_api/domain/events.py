"""What the manager reads out of an EVE event, which comes from an appliance but quotes hostile traffic.

Nothing in an event is trusted to have the right type, and no text is kept that a database refuses.
Source for the names: Suricata's EVE JSON format; what is Sekisho's stands under `sekisho`.
"""

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

LEAST_SEVERE = 4
MAX_TEXT = 300
_CVE = re.compile(r"CVE[-_](\d{4})[-_](\d{4,7})", re.IGNORECASE)
_KEPT_WHEN_TRIMMED = (
    "timestamp", "event_type", "flow_id", "src_ip", "src_port", "dest_ip", "dest_port", "proto", "app_proto",
    "alert", "sekisho",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventRow:
    """The columns that events are looked up by, beside the event itself as JSON."""

    at: datetime
    event_type: str
    severity: int
    guest: str | None
    sid: int | None
    gid: int | None
    msg: str | None
    blocked: bool
    would_block: bool
    src_ip: str | None
    src_port: int | None
    dest_ip: str | None
    dest_port: int | None
    proto: str | None
    cves: str
    body: str


def read_event(event: Mapping[str, Any], received: datetime, max_bytes: int) -> EventRow:
    """Return the row for one EVE object; never raises, whatever the object holds.

    An event without a usable time gets received; one over max_bytes keeps its well-known keys only.
    """
    alert = _mapping(event.get("alert"))
    ours = _mapping(event.get("sekisho"))
    return EventRow(
        at=_time(event.get("timestamp"), received),
        event_type=_text(event.get("event_type")) or "unknown",
        severity=_severity(alert, event, ours),
        guest=_text(ours.get("guest")),
        sid=_integer(alert.get("signature_id"), 2**32),
        gid=_integer(alert.get("gid"), 2**32),
        msg=_text(alert.get("signature")) or _text(_mapping(event.get("engine")).get("message")),
        blocked=alert.get("action") == "blocked" or event.get("event_type") == "drop",
        would_block=_text(ours.get("would")) in ("drop", "reject"),
        src_ip=_address(event.get("src_ip")),
        src_port=_integer(event.get("src_port"), 65536),
        dest_ip=_address(event.get("dest_ip")),
        dest_port=_integer(event.get("dest_port"), 65536),
        proto=_text(event.get("proto")),
        cves=" ".join(sorted(set(_cves(alert))))[:MAX_TEXT],
        body=_body(event, max_bytes),
    )


def storable(text: str, limit: int = MAX_TEXT) -> str:
    """Return text without what databases refuse (NUL, lone surrogates), cut to limit characters."""
    return text[:limit].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def storable_json(value: object) -> str:
    """Return value as JSON text that databases and UTF-8 take; what came of JSON goes back to it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def _body(event: Mapping[str, Any], max_bytes: int) -> str:
    whole = storable_json(event)
    if len(whole) <= max_bytes:
        return whole
    kept = {key: event[key] for key in _KEPT_WHEN_TRIMMED if key in event}
    kept["sekisho"] = {**_mapping(event.get("sekisho")), "trimmed_from_bytes": len(whole)}
    trimmed = storable_json(kept)
    if len(trimmed) <= max_bytes:
        return trimmed
    return storable_json({"sekisho": {"trimmed_from_bytes": len(whole)}})


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return storable(value) if isinstance(value, str) and value else None


def _integer(value: object, below: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below else None


def _address(value: object) -> str | None:
    try:
        return str(ipaddress.ip_address(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def _severity(alert: Mapping[str, Any], event: Mapping[str, Any], ours: Mapping[str, Any]) -> int:
    for value in (alert.get("severity"), event.get("severity"), ours.get("severity")):
        if (number := _integer(value, 256)) is not None:
            return min(max(number, 1), LEAST_SEVERE)
    return LEAST_SEVERE


def _time(value: object, otherwise: datetime) -> datetime:
    """Return the event's time in UTC; one from the future would pin an event above all that follow."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
            at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            return otherwise
        if at <= otherwise + timedelta(days=1):
            return at
    return otherwise


def _cves(alert: Mapping[str, Any]) -> Iterator[str]:
    metadata = _mapping(alert.get("metadata"))
    sources = [alert.get("signature"), alert.get("cve"), metadata.get("cve"), alert.get("references")]
    for source in sources:
        for text in source if isinstance(source, list) else [source]:
            if isinstance(text, str):
                yield from (f"CVE-{m[1]}-{m[2]}" for m in _CVE.finditer(text[:2_000]))
