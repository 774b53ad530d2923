"""Events: stored once each, found by filters, pruned by age and number."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, insert, select
from sqlalchemy.orm import Session

from manager_api.domain.events import EventRow
from manager_api.store.database import serialise
from manager_api.store.models import Event

PRUNE_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Where a batch of events comes from: the first event's number in a lane of an appliance's spool."""

    appliance_id: str
    epoch: str
    lane: str
    first: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events to find; None asks for nothing. Times: since inclusive, until exclusive."""

    appliance_id: str | None = None
    guest: str | None = None
    sid: int | None = None
    severity: int | None = None
    event_type: str | None = None
    blocked: bool | None = None
    cve: str | None = None
    text: str | None = None
    src_ip: str | None = None
    dest_ip: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def store(session: Session, batch: Batch, rows: Sequence[EventRow], now: datetime) -> int:
    """Insert those rows that are not there yet; return how many that were.

    One transaction at a time gives out ids, so that they become visible in their order: a reader that
    follows the list by id misses none.
    """
    numbers = range(batch.first, batch.first + len(rows))
    counter = serialise(session, "events")
    present = set(
        session.scalars(
            select(Event.number).where(
                Event.appliance_id == batch.appliance_id,
                Event.epoch == batch.epoch,
                Event.lane == batch.lane,
                Event.number.between(numbers.start, numbers.stop - 1),
            )
        )
    )
    fresh = [(number, row) for number, row in zip(numbers, rows, strict=True) if number not in present]
    named = {"appliance_id": batch.appliance_id, "epoch": batch.epoch, "lane": batch.lane, "received_at": now}
    values = [
        {**asdict(row), **named, "number": number, "id": counter.value + place}
        for place, (number, row) in enumerate(fresh, 1)
    ]
    if values:
        session.execute(insert(Event), values)
        counter.value += len(values)
    return len(values)


def find(session: Session, wanted: Filter, *, before: int | None = None, limit: int) -> list[Event]:
    """Return up to limit events, newest arrival first, that arrived before the event `before`."""
    query = _filtered(select(Event), wanted)
    if before is not None:
        query = query.where(Event.id < before)
    return list(session.scalars(query.order_by(Event.id.desc()).limit(limit)))


def following(session: Session, wanted: Filter, after: int, limit: int) -> list[Event]:
    """Return up to limit events that arrived after the event `after`, oldest first."""
    query = _filtered(select(Event), wanted).where(Event.id > after)
    return list(session.scalars(query.order_by(Event.id).limit(limit)))


def newest_id(session: Session) -> int:
    """Return the newest event's id; 0 if there is none."""
    return session.scalar(select(func.max(Event.id))) or 0


def get(session: Session, event_id: int) -> Event | None:
    """Return one event."""
    return session.get(Event, event_id)


def blocked_by_guest(session: Session, since: datetime) -> dict[tuple[str, str], int]:
    """Return how many flows were stopped since then, by (appliance id, guest).

    A stopped flow has one drop record, whatever the number of alerts beside it.
    """
    query = (
        select(Event.appliance_id, Event.guest, func.count())
        .where(Event.event_type == "drop", Event.guest.is_not(None), Event.received_at >= since)
        .group_by(Event.appliance_id, Event.guest)
    )
    return {(owner, guest): count for owner, guest, count in session.execute(query) if guest is not None}


def prune(session: Session, keep: int, oldest: datetime) -> int:
    """Delete one batch of events beyond the newest `keep` or received before oldest; return how many.

    Ids are dense, so the newest `keep` are told by subtraction, without counting the table.
    """
    surplus = Event.id <= newest_id(session) - keep
    old = Event.received_at < oldest
    ids = select(Event.id).where(surplus | old).order_by(Event.id).limit(PRUNE_BATCH)
    return len(session.execute(delete(Event).where(Event.id.in_(ids)).returning(Event.id)).all())


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    equal = {
        Event.appliance_id: wanted.appliance_id,
        Event.guest: wanted.guest,
        Event.sid: wanted.sid,
        Event.severity: wanted.severity,
        Event.event_type: wanted.event_type,
        Event.blocked: wanted.blocked,
        Event.src_ip: wanted.src_ip,
        Event.dest_ip: wanted.dest_ip,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.cve:
        query = query.where(Event.cves.icontains(wanted.cve, autoescape=True))
    if wanted.text:
        query = query.where(Event.msg.icontains(wanted.text, autoescape=True))
    if wanted.since:
        query = query.where(Event.at >= wanted.since)
    if wanted.until:
        query = query.where(Event.at < wanted.until)
    return query
