"""The audit log."""

from fastapi import APIRouter

from manager_api.auth import Managed, Viewer
from manager_api.routes.answers import AuditAnswer, AuditsAnswer, problems
from manager_api.routes.bodies import Limit
from manager_api.routes.events import Cursor
from manager_api.store import audit

router = APIRouter(tags=["audit"], responses=problems(401, 403))


@router.get("/audit", summary="Who changed what, and when")
def find(manager: Managed, _who: Viewer, cursor: Cursor = None, limit: Limit = 100) -> AuditsAnswer:
    """Newest first."""
    with manager.database.reading() as session:
        rows = audit.newest(session, None if cursor is None else int(cursor), limit + 1)
    page = rows[:limit]
    more = str(page[-1].id) if len(rows) > limit else None
    return AuditsAnswer(entries=[AuditAnswer.of(row) for row in page], next=more)
