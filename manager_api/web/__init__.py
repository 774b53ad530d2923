"""The page's templates and static files, and what the templates may call."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from manager_api.auth import Role, Visitor
from manager_api.domain.coverage import ALARMING, REASONS, uninspected_fraction, uninspected_shares

HERE = Path(__file__).parent
STATIC = HERE / "static"
_MAY = {"change": Role.OPERATOR, "administer": Role.ADMIN}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def render(
    template: str, request: Request, visitor: Visitor | None, status: int = 200, **values: Any
) -> HTMLResponse:
    """Return the template as a page; everything put into it is escaped."""
    return HTMLResponse(fragment(template, visitor, path=request.url.path, **values), status)


def fragment(template: str, visitor: Visitor | None, **values: Any) -> str:
    """Return the template as text."""
    role = visitor.principal.role if visitor is not None else None
    may = {f"may_{verb}": role is not None and role.includes(needed) for verb, needed in _MAY.items()}
    return _TEMPLATES.get_template(template).render(visitor=visitor, now=datetime.now(UTC), **may, **values)


def human_bytes(count: int) -> str:
    """Return a number of bytes as people read it, as in `1.4 GiB`."""
    size = float(count)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def percent(fraction: float) -> str:
    """Return a fraction as per cent; what is there but small does not become 0."""
    if 0 < fraction < 0.001:
        return "<0.1 %"
    return f"{fraction:.1%}".replace("%", " %")


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago at was, as in `12 s ago`."""
    if at is None:
        return "never"
    seconds = max(int((now - at).total_seconds()), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def _from_json(text: str) -> Any:
    return json.loads(text)


def _pretty(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False)


def _shares(guest: Any) -> list[dict[str, Any]]:
    """Return the bar's parts: where each begins and how wide it is, in per cent of all bytes."""
    by_reason: Mapping[str, int] = json.loads(guest.uninspected)
    parts, begin = [], 0.0
    for share in uninspected_shares(guest.bytes, by_reason):
        width = min(share.fraction * 100, 100 - begin)
        kind = (
            "alarming"
            if share.reason in ALARMING
            else "encrypted"
            if share.reason == "encrypted"
            else "other"
        )
        label = REASONS.get(share.reason, share.reason)
        parts.append(
            {"begin": begin, "width": width, "kind": kind, "label": label, "bytes": share.bytes,
             "fraction": share.fraction}
        )  # fmt: skip
        begin += width
    return parts


def _fraction(guest: Any) -> float:
    return uninspected_fraction(guest.bytes, json.loads(guest.uninspected))


_TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(
    bytes=human_bytes, percent=percent, ago=ago, from_json=_from_json, pretty=_pretty, shares=_shares,
    fraction=_fraction,
)  # fmt: skip
