"""Whether the manager lives, and whether it can do its work."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from manager_api.auth import Managed
from manager_api.problems import problem_response

router = APIRouter(prefix="/healthz", tags=["health"])


@router.get("/live", summary="Whether the process answers")
async def live() -> dict[str, str]:
    """Answers without a key, and says nothing but that it does."""
    return {"status": "live"}


@router.get(
    "/ready", summary="Whether the database answers too", responses={503: {"description": "it does not"}}
)
def ready(manager: Managed) -> JSONResponse:
    """Answers without a key."""
    if not manager.bulletin.closing and manager.database.is_alive():
        return JSONResponse({"status": "ready"})
    return problem_response(
        503,
        "The manager is not ready",
        "The database does not answer, or the manager is going down. Try again.",
        {"Retry-After": "5"},
    )
