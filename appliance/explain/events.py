"""What the events on disk say of a flow: alerts and drops of the inspector, and what control noted.

Delivered events stay until their lane's file is full, so that the last hours or days are there; older ones
are at the manager.
"""

import contextlib
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from appliance.model.flow import End, FlowFilter

KINDS = (b'"alert"', b'"drop"')


class _Alert(msgspec.Struct):
    action: str = ""
    gid: int = 1
    signature_id: int = 0
    rev: int = 0
    signature: str = ""


class _Drop(msgspec.Struct):
    reason: str = ""


class _Record(msgspec.Struct):
    timestamp: str = ""
    event_type: str = ""
    flow_id: int | None = None
    src_ip: str | None = None
    src_port: int | None = None
    dest_ip: str | None = None
    dest_port: int | None = None
    proto: str = ""
    alert: _Alert | None = None
    drop: _Drop | None = None
    sekisho: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One alert or drop of the flow. reason: a drop's. is_drop: whether packets were dropped for it."""

    when_s: float
    source: End
    destination: End
    protocol: str
    flow_id: int | None
    is_drop: bool
    reason: str
    signature: _Alert | None
    guest: str | None
    mode: str

    @property
    def flow(self) -> str:
        """The flow as people write it."""
        return f"{self.source} -> {self.destination} {self.protocol}"


@dataclass(slots=True)
class Outage:
    """A time without an inspector. until_s: None while it lasts."""

    since_s: float
    until_s: float | None = None


@dataclass(slots=True)
class Told:
    """All that the events say. since_s: the oldest one's time. queue_full: when, which queue, how many."""

    verdicts: list[Verdict] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    queue_full: list[tuple[float, int, int]] = field(default_factory=list)
    since_s: float | None = None


def read_events(records: Iterable[bytes], flow: FlowFilter) -> Told:
    """Return what the records say of the flow and of the machine around it."""
    told = Told()
    notes: list[tuple[float, str, dict[str, Any]]] = []
    decode = msgspec.json.Decoder(_Record).decode
    for line in records:
        if b'"engine"' not in line and not any(kind in line for kind in KINDS):
            continue
        try:
            record = decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        when_s = _unix_s(record.timestamp)
        told.since_s = when_s if told.since_s is None else min(told.since_s, when_s)
        if record.event_type == "engine":
            notes.append((when_s, str(record.sekisho.get("notice")), record.sekisho))
        elif (verdict := _verdict(record, when_s, flow)) is not None:
            told.verdicts.append(verdict)
    notes.sort(key=lambda note: note[0])
    told.outages = list(_outages(notes))
    told.queue_full = [
        (when_s, details.get("queue", 0), details.get("packets", 0))
        for when_s, notice, details in notes
        if notice == "queue-full"
    ]
    return told


def _verdict(record: _Record, when_s: float, flow: FlowFilter) -> Verdict | None:
    if record.event_type not in ("alert", "drop") or record.src_ip is None or record.dest_ip is None:
        return None
    try:
        # EVE writes IPv6 addresses in full.
        source = End(str(ipaddress.ip_address(record.src_ip)), record.src_port)
        destination = End(str(ipaddress.ip_address(record.dest_ip)), record.dest_port)
    except ValueError:
        return None
    if not flow.fits(source, destination, record.flow_id):
        return None
    blocked = record.alert is not None and record.alert.action == "blocked"
    guest = record.sekisho.get("guest")
    return Verdict(
        when_s=when_s,
        source=source,
        destination=destination,
        protocol=record.proto.lower(),
        flow_id=record.flow_id,
        is_drop=record.event_type == "drop" or blocked,
        reason=record.drop.reason if record.drop else "rules",
        signature=record.alert,
        guest=guest if isinstance(guest, str) else None,
        mode=str(record.sekisho.get("mode", "")),
    )


def _outages(notes: Iterable[tuple[float, str, dict[str, Any]]]) -> Iterator[Outage]:
    """Yield the times between an inspector's end, or the switch to the failure policy, and the next one."""
    now: Outage | None = None
    for when_s, notice, _ in notes:
        if notice in ("inspector-down", "failure-policy") and now is None:
            now = Outage(when_s)
        elif notice in ("inspector-up", "inspection-restored") and now is not None:
            now.until_s = when_s
            yield now
            now = None
    if now is not None:
        yield now


def _unix_s(timestamp: str) -> float:
    with contextlib.suppress(ValueError):
        return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    return 0.0
