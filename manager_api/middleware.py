"""Around every request: a bound on its body's size and time, and headers that browsers act on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from manager_api.problems import Problem, problem_response
from manager_api.settings import Limits

_HEADERS = {
    b"strict-transport-security": b"max-age=31536000",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    b"cache-control": b"no-store",
}


class Headers:
    """Adds the security headers to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in _HEADERS.items() if name not in present),
                ]
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class BodyLimit:
    """Refuses a body that is longer than its path allows, announced or not, or that comes too slowly."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit(scope["path"])
        if _announced(scope) > limit:
            response = problem_response(413, "The body is too long", _too_long(limit))
            await response(scope, receive, send)
            return
        await self.app(scope, _bounded(receive, limit, self.limits.body_timeout_s), send)

    def _limit(self, path: str) -> int:
        if path.startswith("/api/v1/rule-sets/"):
            return self.limits.rule_set_bytes
        if path == "/api/v1/appliance/events":
            return self.limits.events_bytes
        return self.limits.body_bytes


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:18])
    return 0


def _bounded(receive: Receive, limit: int, timeout_s: float) -> Callable[[], Awaitable[Any]]:
    """Return receive, counting; the time limit is on the body as a whole, not on what follows it."""
    received = 0
    complete = False
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s

    async def bounded() -> Any:
        nonlocal received, complete
        if complete:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise Problem(
                408,
                "The body came too slowly",
                f"It was not complete after {timeout_s:.0f} seconds. Send it again.",
                headers={"Connection": "close"},
            ) from None
        received += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if received > limit:
            raise Problem(413, "The body is too long", _too_long(limit), headers={"Connection": "close"})
        return message

    return bounded


def _too_long(limit: int) -> str:
    return f"At most {limit} bytes are accepted here. Send less at once."
