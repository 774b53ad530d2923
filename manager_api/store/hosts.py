"""The KVM hosts whose helpers the manager asks."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from manager_api.store.models import Host

MAX_HOSTS = 256


def everything(session: Session) -> list[Host]:
    """Return all hosts by name."""
    return list(session.scalars(select(Host).order_by(Host.name)))


def find(session: Session, name: str) -> Host | None:
    """Return the host of that name."""
    return session.get(Host, name)


def is_full(session: Session) -> bool:
    """Whether there is no room for another one."""
    return (session.scalar(select(func.count()).select_from(Host)) or 0) >= MAX_HOSTS


def put(session: Session, name: str, address: str, port: int, at: datetime, actor: str) -> tuple[Host, bool]:
    """Register a host, or say where the one there is listens now; return it, and whether it is new."""
    host = session.get(Host, name)
    is_new = host is None
    if host is None:
        host = Host(name=name, added_at=at, added_by=actor)
        session.add(host)
    host.address, host.port = address, port
    return host, is_new
