"""Errors as RFC 9457 problem documents: what it is about, why, and the way out."""

import http
import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

_LOG = logging.getLogger("sekisho.manager")
MAX_ERRORS = 50
MEDIA_TYPE = "application/problem+json"


class Problem(HTTPException):
    """An answer other than success; `title` names the thing, `detail` says why and what to do."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(status, detail, headers)
        self.title = title
        self.members = members


def not_found(thing: str, name: object, way_out: str) -> Problem:
    """Return the 404 for a thing that has no such name."""
    return Problem(404, f"No such {thing}", f"There is no {thing} {name!r}. {way_out}")


def problem_response(
    status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """Return a problem document as a response."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return JSONResponse(body, status, dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make app answer every error as a problem document."""
    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, answer_for)


def answer_for(request: Request, error: Exception) -> JSONResponse:
    """Return the problem document for an error."""
    if isinstance(error, HTTPException):
        return _http_error(error)
    if isinstance(error, RequestValidationError):
        return _validation_error(error)
    return _unexpected(request, error)


def read(answer: JSONResponse) -> dict[str, Any]:
    """Return the members of a problem document."""
    members: dict[str, Any] = json.loads(bytes(answer.body))
    return members


def _http_error(error: HTTPException) -> JSONResponse:
    if isinstance(error, Problem):
        return problem_response(error.status_code, error.title, error.detail, error.headers, **error.members)
    phrase = http.HTTPStatus(error.status_code).phrase
    return problem_response(error.status_code, phrase, str(error.detail), error.headers)


def _validation_error(error: RequestValidationError) -> JSONResponse:
    errors = [
        {"at": "/".join(_place(part) for part in e["loc"]), "reason": str(e["msg"])[:500]}
        for e in error.errors()[:MAX_ERRORS]
    ]
    first = errors[0] if errors else {"at": "body", "reason": "not as described"}
    detail = f"{first['at']}: {first['reason']}. /api/v1/openapi.json describes what is accepted."
    return problem_response(422, "The request is not as described", detail, errors=errors)


def _place(part: object) -> str:
    return str(part)[:100].encode("ascii", "backslashreplace").decode()


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    # The traceback is logged by the server, to which the exception goes on.
    _LOG.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
    return problem_response(
        500, "The manager failed", "This is a fault of the manager; its log says more. Trying again may help."
    )
