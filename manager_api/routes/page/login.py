"""Logging in and out."""

import math
import re
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from manager_api import web
from manager_api.auth import COOKIE, Managed, client_address, visitor_of
from manager_api.manager import now
from manager_api.passwords import matches
from manager_api.problems import Problem
from manager_api.routes.page.session import same_origin
from manager_api.store import accounts, audit

router = APIRouter()
# A path of this page: two slashes would be another host.
_OWN_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9/._~%-]{0,300}")


@router.get("/login")
def form(request: Request, manager: Managed, next: Annotated[str, Query(max_length=400)] = "/") -> Response:
    """The login page; someone with a session goes on."""
    if visitor_of(request, manager) is not None:
        return RedirectResponse(_own(next), 303)
    return web.render("login.html", request, None, next=_own(next), failed=False)


@router.post("/login")
def login(
    request: Request,
    manager: Managed,
    name: Annotated[str, Form(max_length=128)] = "",
    password: Annotated[str, Form(max_length=256)] = "",
    next: Annotated[str, Form(max_length=400)] = "/",
) -> Response:
    """Begin a session, or say no: the same no for a wrong name and a wrong password."""
    same_origin(request)
    address = client_address(request)
    keys = ((manager.logins_by_name, name), (manager.logins_by_address, address))
    if wait := max(throttle.wait_s(key) for throttle, key in keys):
        raise Problem(
            429, "Too many attempts", f"Wait {math.ceil(wait)} seconds before the next one.",
            headers={"Retry-After": str(math.ceil(wait))},
        )  # fmt: skip
    for throttle, key in keys:
        throttle.count(key)
    with manager.database.reading() as session:
        user = accounts.user_by_name(session, name)
    if not matches(password, user.password_hash if user else None) or user is None:
        return web.render("login.html", request, None, 401, next=_own(next), failed=True)
    with manager.database.writing() as session:
        secret = accounts.add_session(session, user, now())
        audit.record(session, now(), f"user:{user.name}", "login", address)
    manager.logins_by_name.forget(name)
    manager.logins_by_address.forget(address)
    response = RedirectResponse(_own(next), 303)
    response.set_cookie(
        COOKIE, secret, max_age=int(accounts.SESSION_LIFETIME.total_seconds()), secure=True, httponly=True,
        samesite="strict", path="/",
    )  # fmt: skip
    return response


@router.post("/logout")
def logout(request: Request, manager: Managed) -> Response:
    """End the session; needs no more than coming from this page."""
    same_origin(request)
    with manager.database.writing() as session:
        accounts.end_session(session, request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return response


def _own(path: str) -> str:
    return path if _OWN_PATH.fullmatch(path) and not path.startswith("/login") else "/"
