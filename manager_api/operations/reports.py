"""What appliances report: their status and their events."""

from collections.abc import Sequence
from typing import Any

from manager_api.bulletin import EVENTS_TOPIC
from manager_api.domain.events import read_event, storable, storable_json
from manager_api.manager import Manager, now
from manager_api.store import appliances, events
from manager_api.store.models import Appliance

MAX_DETAIL_BYTES = 64 * 1024


def take_status(manager: Manager, appliance_id: str, status: dict[str, Any]) -> None:
    """Write down what an appliance reports; guests seen for the first time begin with its defaults."""
    guests = {guest["name"]: guest for guest in status.pop("guests")}
    with manager.database.writing() as session:
        at = now()
        appliance = session.get(Appliance, appliance_id)
        if appliance is None:
            return
        appliance.last_seen_at = at
        appliance.live_version = status.pop("live_version")
        error = status.pop("error")
        appliance.error = storable(error, 4_000) if error else None
        detail = storable_json(status)
        appliance.status = detail if len(detail) <= MAX_DETAIL_BYTES else "{}"
        for name, row in appliances.ensure_guests(session, appliance_id, list(guests), at).items():
            reported = guests[name]
            row.last_seen_at = at
            row.segment = reported["segment"]
            row.vnics = storable_json(reported["vnics"])
            row.bytes = reported["bytes"]
            row.uninspected = storable_json(reported["uninspected"])


def take_events(manager: Manager, batch: events.Batch, eve: Sequence[dict[str, Any]]) -> int:
    """Store the events that are not there yet; return how many that were."""
    at = now()
    rows = [read_event(event, at, manager.settings.limits.event_bytes) for event in eve]
    with manager.database.writing() as session:
        stored = events.store(session, batch, rows, at)
    if stored:
        manager.bulletin.publish(EVENTS_TOPIC)
    return stored
