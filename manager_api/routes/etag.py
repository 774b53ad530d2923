"""Optimistic concurrency: an answer's ETag, sent back in If-Match, guards against lost changes."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header, Response

from manager_api.problems import Problem
from manager_api.store.settings_json import dump

IfMatch = Annotated[
    str | None,
    Header(
        max_length=200, description="The ETag that the change builds on; without it the change is made as is."
    ),
]


def etag_of(value: object) -> str:
    """Return the ETag of a policy part."""
    return f'"{hashlib.sha256(dump(value).encode()).hexdigest()[:32]}"'


def tag(response: Response, value: object) -> None:
    """Set the answer's ETag."""
    response.headers["ETag"] = etag_of(value)


def unchanged_since(if_match: str | None) -> Callable[[Any], None]:
    """Return a check that raises the 412 problem when the current value is not the one in If-Match."""

    def check(current: object) -> None:
        if if_match not in (None, "*", etag_of(current)):
            raise Problem(
                412, "It has changed in the meantime",
                "The ETag in If-Match is not the current one. Get it again and decide anew.",
                headers={"ETag": etag_of(current)},
            )  # fmt: skip

    return check
