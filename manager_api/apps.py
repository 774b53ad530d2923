"""The two applications: one for people and enrolment, one for appliances; they share the manager."""

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from manager_api import problems
from manager_api.auth import Viewer
from manager_api.manager import Manager
from manager_api.middleware import BodyLimit, Headers
from manager_api.routes import (
    access,
    appliance,
    appliances,
    audit,
    enrol,
    events,
    guests,
    health,
    hosts,
    page,
    rule_sets,
)

VERSION = "1"
_DESCRIPTION = """\
Rule sets, policy, appliances, KVM hosts and events of Sekisho.

Authenticate with `Authorization: Bearer KEY`; `sekisho-manager key create NAME` makes the first key.
Errors are problem documents (RFC 9457): `title` names the thing, `detail` says why and what to do.

Every change makes a new policy version for each appliance it touches; an appliance fetches it at once.
A guest's full name is `/appliances/APPLIANCE/guests/GUEST`; `/guests/GUEST` is short for it where only one
appliance has a guest of that name.
"""


def people_app(manager: Manager) -> FastAPI:
    """Return the application for people, programs of operators, and appliances that enrol."""
    app = _application(manager, "Sekisho manager", _DESCRIPTION)
    api = APIRouter(prefix="/api/v1")
    for router in (enrol.router, rule_sets.router, appliances.router, hosts.router, guests.lists):
        api.include_router(router)
    api.include_router(guests.router, prefix="/appliances/{appliance}/guests/{guest}")
    api.include_router(guests.router, prefix="/guests/{guest}")
    for router in (events.router, audit.router, access.router):
        api.include_router(router)

    @api.get("/openapi.json", include_in_schema=False)
    def description(_who: Viewer) -> dict[str, object]:
        return _described(app)

    app.include_router(api)
    app.include_router(health.router)
    page.install(app)
    return app


def appliance_app(manager: Manager) -> FastAPI:
    """Return the application for appliances, whose certificates TLS has already checked."""
    app = _application(manager, "Sekisho manager, appliances' port", "Needs a client certificate.")
    app.include_router(appliance.router, prefix="/api/v1")
    return app


def _application(manager: Manager, title: str, description: str) -> FastAPI:
    app = FastAPI(
        title=title,
        version=VERSION,
        description=description,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: f"{route.name}_{route.path_format}",
    )
    app.state.manager = manager
    problems.install(app)
    app.add_middleware(BodyLimit, limits=manager.settings.limits)
    app.add_middleware(Headers)
    return app


def _described(app: FastAPI) -> dict[str, object]:
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
    return app.openapi_schema
