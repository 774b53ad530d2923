"""The audit log: every change, by whom and when, in the transaction that makes it."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager_api.store.models import Audit


def record(session: Session, at: datetime, actor: str, action: str, target: str, **detail: Any) -> None:
    """Add one entry."""
    session.add(
        Audit(
            at=at,
            actor=actor[:160],
            action=action,
            target=target[:300],
            detail=json.dumps(detail, default=str),
        )
    )


def newest(session: Session, before: int | None, limit: int) -> list[Audit]:
    """Return up to limit entries, newest first, older than the entry `before`."""
    query = select(Audit).order_by(Audit.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Audit.id < before)
    return list(session.scalars(query))
