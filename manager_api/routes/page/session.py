"""Who looks at the page, and whether a form came from it."""

from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from manager_api import problems, web
from manager_api.auth import Managed, Role, Visitor, csrf_matches, require, visitor_of
from manager_api.problems import Problem

MACHINE_PATHS = ("/api/", "/healthz/")


class LoginNeeded(Exception):
    """The visitor has no session; answered by the login page."""


def _visitor(request: Request, manager: Managed) -> Visitor:
    found = visitor_of(request, manager)
    if found is None:
        raise LoginNeeded
    request.state.visitor = found
    return found


Person = Annotated[Visitor, Depends(_visitor)]


def same_origin(request: Request) -> None:
    """Raise the 403 problem unless the browser says that the form was on this page.

    Source: Fetch Metadata (W3C), and the Origin header (RFC 6454) for browsers without it.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        ours = site == "same-origin"
    else:
        ours = urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host")
    if not ours:
        raise Problem(403, "The form did not come from this page", "Open the page itself and try again.")


async def _sender(request: Request, visitor: Person) -> Visitor:
    """Return the operator who sent a form of this page. Raises Problem 403."""
    same_origin(request)
    form = await request.form(max_files=0, max_fields=1_000)
    if not csrf_matches(visitor, form.get("csrf")):
        raise Problem(403, "The form is out of date", "Go back, reload the page and send it again.")
    require(visitor.principal, Role.OPERATOR)
    return visitor


Sender = Annotated[Visitor, Depends(_sender)]


def install_errors(app: FastAPI) -> None:
    """Answer errors of pages with pages; the API's stay problem documents."""

    async def to_login(request: Request, _error: Exception) -> Response:
        if request.url.path.startswith("/live/"):
            return Response(status_code=401)
        wanted = request.url.path if request.method == "GET" else "/"
        return RedirectResponse(f"/login?next={quote(wanted, safe='/')}", 303)

    async def failed(request: Request, error: Exception) -> Response:
        answer = problems.answer_for(request, error)
        if request.url.path.startswith(MACHINE_PATHS):
            return answer
        problem = problems.read(answer)
        page = web.render(
            "error.html",
            request,
            getattr(request.state, "visitor", None),
            answer.status_code,
            problem=problem,
        )
        page.headers.update({k: v for k, v in answer.headers.items() if k in ("retry-after", "allow")})
        return page

    app.add_exception_handler(LoginNeeded, to_login)
    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, failed)
