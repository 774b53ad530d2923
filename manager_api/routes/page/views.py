"""What the page shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy.orm import Session

from manager_api import web
from manager_api.auth import Managed
from manager_api.domain.coverage import Shield
from manager_api.manager import Manager, appliance_status, now
from manager_api.operations import guests as guest_operations
from manager_api.operations import hosts as host_operations
from manager_api.operations.overview import GuestState, guest_states, inspector_is_up, is_reporting
from manager_api.problems import not_found
from manager_api.routes.bodies import ApplianceName, GuestName
from manager_api.routes.etag import etag_of
from manager_api.routes.page.filters import Filters, query_of, wanted_of
from manager_api.routes.page.session import Person
from manager_api.store import accounts, appliances, audit, events, hosts, policies, rule_sets

router = APIRouter()
SHOWN = 50
Cursor = Annotated[int | None, Query(ge=1, lt=2**62)]


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the first page says at a glance. exposed: running guests that nobody protects, by host."""

    guests: list[GuestState]
    appliances: list[Any]
    reporting: dict[str, bool]
    counts: dict[str, int]
    stopped: dict[tuple[str, str], int]
    stopped_total: int
    alarms: list[str]
    exposed: dict[str, list[str]]


def overview_of(manager: Manager, session: Session, at: datetime) -> Overview:
    """Return how everything stands."""
    of = appliances.active(session)
    of.sort(key=lambda appliance: appliance.name)
    states = guest_states(session, of, at)
    states.sort(key=lambda s: (list(Shield).index(s.shield), s.appliance.name, s.guest.name))
    stopped = events.blocked_by_guest(session, at - timedelta(days=1))
    reporting = {a.id: is_reporting(a, at) for a in of}
    alarms = [f"{a.name}: {a.error}" for a in of if a.error]
    alarms += [
        f"{a.name} was last heard of {web.ago(a.last_seen_at, at)}; how its guests stand is not known"
        if a.last_seen_at
        else f"{a.name} has enrolled but not reported yet"
        for a in of
        if not reporting[a.id]
    ]
    for appliance in of:
        status = appliance_status(appliance)
        if reporting[appliance.id] and not inspector_is_up(status):
            alarms.append(f"{appliance.name}: the inspector is down; its segments' failure policy holds")
        alarms += [f"{appliance.name}: {sentence}" for sentence in status.get("missing") or ()]
    exposed = {}
    for row in hosts.everything(session):
        state = manager.hosts.state(row.name)
        alarms += host_operations.alarms(row.name, state)
        if found := host_operations.exposed_on(state):
            exposed[row.name] = [guest.name for guest in found]
    counts = {shield.value: sum(s.shield is shield for s in states) for shield in Shield}
    return Overview(states, of, reporting, counts, stopped, sum(stopped.values()), alarms, exposed)


@router.get("/")
def overview(request: Request, manager: Managed, person: Person) -> Response:
    """What is shielded, what is bypassed, what was stopped."""
    with manager.database.reading() as session:
        seen = overview_of(manager, session, now())
        newest = events.find(session, events.Filter(event_type="alert"), limit=SHOWN)
        return web.render(
            "overview.html", request, person, seen=seen, events=newest, newest=events.newest_id(session),
            names=_names(session), stream="event_type=alert",
        )  # fmt: skip


@router.get("/events")
def event_list(request: Request, manager: Managed, person: Person, filters: Filters) -> Response:
    """Events that a filter finds; the first page of them is live."""
    with manager.database.reading() as session:
        rows = events.find(session, wanted_of(session, filters), before=filters.before, limit=SHOWN + 1)
        return web.render(
            "events.html", request, person, events=rows[:SHOWN], newest=events.newest_id(session),
            names=_names(session), filters=filters, stream=None if filters.before else query_of(filters),
            query=query_of(filters), more=rows[SHOWN - 1].id if len(rows) > SHOWN else None,
        )  # fmt: skip


@router.get("/events/{event}")
def event(
    request: Request, manager: Managed, person: Person, event: Annotated[int, Path(ge=1, lt=2**62)]
) -> Response:
    """One event, whole, with the form that overrides its signature for its guest."""
    with manager.database.reading() as session:
        found = events.get(session, event)
        if found is None:
            raise not_found("event", event, "It may have been pruned.")
        return web.render("event.html", request, person, event=found, names=_names(session))


@router.get("/guests/{appliance}/{guest}")
def guest(
    request: Request, manager: Managed, person: Person, appliance: ApplianceName, guest: GuestName
) -> Response:
    """One guest: what stands before it, what is assigned and overridden, what was not inspected."""
    with manager.database.reading() as session:
        row, owner = guest_operations.find_guest(session, appliance, guest)
        state = next(s for s in guest_states(session, [owner], now()) if s.guest.id == row.id)
        return web.render(
            "guest.html", request, person, state=state,
            overrides=appliances.overrides_of(session, row.id),
            etag=etag_of(state.policy.assignments), rule_sets=rule_sets.all_live(session),
            events=events.find(session, events.Filter(appliance_id=owner.id, guest=row.name), limit=20),
            newest=events.newest_id(session), names=_names(session), guest_path=_path(state),
        )  # fmt: skip


@router.get("/rule-sets")
def rule_set_list(request: Request, manager: Managed, person: Person) -> Response:
    """Every rule set's live version, and where each is assigned."""
    with manager.database.reading() as session:
        live = rule_sets.all_live(session)
        states = guest_states(session, appliances.active(session), now())
        assigned: dict[str, list[tuple[GuestState, str]]] = {version.name: [] for version in live}
        for state in states:
            for assignment in state.policy.assignments:
                assigned.setdefault(assignment.rule_set, []).append((state, assignment.mode.value))
        return web.render("rule_sets.html", request, person, live=live, assigned=assigned)


@router.get("/appliances")
def appliance_list(request: Request, manager: Managed, person: Person) -> Response:
    """Every appliance: what it should run, what it runs; and the form for an enrolment token."""
    return appliances_page(request, manager, person)


def appliances_page(
    request: Request, manager: Manager, person: Person, secret: str | None = None
) -> Response:
    """Return the appliances' page, with a token that was just made."""
    at = now()
    with manager.database.reading() as session:
        rows = appliances.everything(session)
        return web.render(
            "appliances.html", request, person, appliances=rows, secret=secret,
            tokens=accounts.tokens(session)[:10],
            reporting={a.id: is_reporting(a, at) for a in rows}, fingerprint=manager.authority.fingerprint,
            history={a.id: policies.history(session, a.id, 5) for a in rows},
        )  # fmt: skip


@router.get("/audit")
def audit_log(request: Request, manager: Managed, person: Person, before: Cursor = None) -> Response:
    """Who changed what, and when."""
    with manager.database.reading() as session:
        entries = audit.newest(session, before, SHOWN + 1)
    more = entries[SHOWN - 1].id if len(entries) > SHOWN else None
    return web.render("audit.html", request, person, entries=entries[:SHOWN], more=more)


def _names(session: Session) -> dict[str, str]:
    return {a.id: a.name for a in appliances.everything(session)}


def _path(state: GuestState) -> str:
    return f"/guests/{state.appliance.name}/{quote(state.guest.name, safe='')}"
