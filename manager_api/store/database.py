"""Transactions on SQLite or PostgreSQL.

SQLite runs in WAL mode and syncs at each commit: events that were answered for must survive a power cut.
It has one writer at a time; writers of this process queue on a lock, since SQLite's own waiting polls and
would make a policy change wait behind it for tens of milliseconds. On PostgreSQL the same work is serialised
where it must be by `serialise`, a locked row.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, select, text
from sqlalchemy.orm import Session

from manager_api.store.models import Lock

BUSY_TIMEOUT_S = 15


class Database:
    """The database behind one URL; `reading` and `writing` each give one transaction."""

    def __init__(self, url: str) -> None:
        """Prepare for url; connects lazily. Raises sqlalchemy.exc.ArgumentError on a bad URL."""
        self._sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url) if self._sqlite else _postgresql_engine(url)
        self._writer = self.engine.execution_options(begin_for_writing=True)
        self._one_writer = threading.Lock() if self._sqlite else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session whose transaction is thrown away at the end."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session whose transaction is committed at the end, or rolled back by an exception."""
        with self._one_writer, Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def is_alive(self) -> bool:
        """Whether the database answers. Raises nothing of the database's."""
        try:
            with self.engine.connect() as connection:
                connection.execute(text("select 1"))
        except Exception:
            return False
        return True

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def serialise(session: Session, work: str) -> Lock:
    """Wait until this transaction is the only one doing work; return the row, whose value it may change."""
    return session.execute(select(Lock).where(Lock.name == work).with_for_update()).scalar_one()


def _postgresql_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+pg8000")
    return create_engine(parsed, pool_pre_ping=True, pool_size=20, max_overflow=20)


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        pool_size=20,
        max_overflow=20,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # The driver's own idea of when a transaction begins is switched off; `begin` below says it.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        for_writing = connection.get_execution_options().get("begin_for_writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if for_writing else "BEGIN")

    return engine
