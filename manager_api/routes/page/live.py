"""What the page fetches while it is open: the overview again, and events as they arrive."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, StreamingResponse

from manager_api import web
from manager_api.auth import Managed, Visitor, visitor_of
from manager_api.bulletin import EVENTS_TOPIC
from manager_api.manager import Manager, now
from manager_api.problems import Problem
from manager_api.routes.page.filters import Filters, wanted_of
from manager_api.routes.page.session import Person
from manager_api.routes.page.views import overview_of
from manager_api.store import appliances, events

router = APIRouter(prefix="/live")
LOOK_AGAIN_S = 1.0
BEAT_EVERY_S = 15.0
# A burst is shown in steps: browsers redraw once a step, not once an event.
GATHER_S = 0.2
AT_ONCE = 100
_open_streams = 0


@router.get("/overview")
def overview(manager: Managed, person: Person) -> HTMLResponse:
    """The overview's changing part."""
    with manager.database.reading() as session:
        return HTMLResponse(
            web.fragment("parts/overview.html", person, seen=overview_of(manager, session, now()))
        )


@router.get("/events")
async def event_stream(
    request: Request, manager: Managed, person: Person, filters: Filters, after: int = 0
) -> Response:
    """Server-sent events: each holds the table rows of events that arrived, newest first."""
    if _open_streams >= manager.settings.limits.streams:
        raise Problem(
            503,
            "Too many live lists",
            "Close some; this one shows what it has.",
            headers={"Retry-After": "60"},
        )
    last = request.headers.get("last-event-id", "")
    begin = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else max(min(after, 2**62), 0)
    return StreamingResponse(_rows(request, manager, person, filters, begin), media_type="text/event-stream")


async def _rows(
    request: Request, manager: Manager, person: Visitor, filters: Filters, after: int
) -> AsyncIterator[str]:
    """Yield rows until the browser goes, the session ends or the manager does."""
    global _open_streams
    _open_streams += 1
    loop = asyncio.get_running_loop()
    try:
        with manager.bulletin.waiting(EVENTS_TOPIC) as arrived:
            yield "retry: 2000\n\n"
            beat = loop.time()
            while not manager.bulletin.closing and not await request.is_disconnected():
                arrived.clear()
                message, after = await run_in_threadpool(_message, manager, person, filters, after)
                if message:
                    yield message
                    await asyncio.sleep(GATHER_S)
                    continue
                if loop.time() - beat >= BEAT_EVERY_S:
                    beat = loop.time()
                    yield ": still here\n\n"
                    if await run_in_threadpool(visitor_of, request, manager) is None:
                        return
                try:
                    await asyncio.wait_for(arrived.wait(), LOOK_AGAIN_S)
                except TimeoutError:
                    continue
    finally:
        _open_streams -= 1


def _message(manager: Manager, person: Visitor, filters: Filters, after: int) -> tuple[str, int]:
    """Return the next message ("" if there is nothing new) and the id it reaches to."""
    with manager.database.reading() as session:
        rows = events.following(session, wanted_of(session, filters), after, AT_ONCE)
        if not rows:
            return "", after
        names = {a.id: a.name for a in appliances.everything(session)}
        html = web.fragment("parts/rows.html", person, events=rows[::-1], names=names)
    lines = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip())
    return f"id: {rows[-1].id}\n{lines}\n", rows[-1].id
