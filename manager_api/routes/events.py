"""Events, found by filters."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from manager_api.auth import Managed, Viewer
from manager_api.operations.guests import find_appliance
from manager_api.problems import not_found
from manager_api.routes.answers import EventAnswer, EventsAnswer, problems
from manager_api.routes.bodies import PRINTABLE, ApplianceQuery, Limit, Time
from manager_api.store import events

router = APIRouter(prefix="/events", tags=["events"], responses=problems(401, 403, 404))

Words = Annotated[str | None, Query(max_length=128, pattern=PRINTABLE)]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next` of the page before.")]


@router.get("", summary="Find events")
def find(
    manager: Managed,
    _who: Viewer,
    appliance: ApplianceQuery = None,
    guest: Words = None,
    sid: Annotated[int | None, Query(ge=0, lt=2**32)] = None,
    severity: Annotated[int | None, Query(ge=1, le=4, description="1 is the most severe.")] = None,
    event_type: Words = None,
    blocked: Annotated[bool | None, Query(description="Whether something was stopped.")] = None,
    cve: Annotated[str | None, Query(max_length=64, pattern=PRINTABLE, examples=["CVE-2021-44228"])] = None,
    text: Annotated[
        str | None, Query(max_length=128, pattern=PRINTABLE, description="In the message.")
    ] = None,
    src_ip: Words = None,
    dest_ip: Words = None,
    since: Annotated[Time | None, Query(description="The event's own time, inclusive.")] = None,
    until: Annotated[Time | None, Query(description="The event's own time, exclusive.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> EventsAnswer:
    """Newest arrival first. All filters given must hold."""
    with manager.database.reading() as session:
        wanted = events.Filter(
            appliance_id=None if appliance is None else find_appliance(session, appliance).id,
            guest=guest,
            sid=sid,
            severity=severity,
            event_type=event_type,
            blocked=blocked,
            cve=cve,
            text=text,
            src_ip=src_ip,
            dest_ip=dest_ip,
            since=since,
            until=until,
        )
        before = None if cursor is None else int(cursor)
        rows = events.find(session, wanted, before=before, limit=limit + 1)
    page = rows[:limit]
    more = str(page[-1].id) if len(rows) > limit else None
    return EventsAnswer(events=[EventAnswer.of(row) for row in page], next=more)


@router.get("/{event}", summary="One event")
def one(event: Annotated[int, Path(ge=1, lt=2**63)], manager: Managed, _who: Viewer) -> EventAnswer:
    """As long as it is kept."""
    with manager.database.reading() as session:
        row = events.get(session, event)
    if row is None:
        raise not_found("event", event, "It may have been pruned. GET /api/v1/events lists those there are.")
    return EventAnswer.of(row)
