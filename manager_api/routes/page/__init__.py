"""The page: HTML for people, over the same operations as the API."""

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from manager_api.routes.page import changes, hosts, live, login, views
from manager_api.routes.page.session import install_errors
from manager_api.web import STATIC


def install(app: FastAPI) -> None:
    """Add the page to the application."""
    pages = APIRouter(include_in_schema=False)
    for router in (login.router, views.router, hosts.router, live.router, changes.router):
        pages.include_router(router)
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    install_errors(app)
