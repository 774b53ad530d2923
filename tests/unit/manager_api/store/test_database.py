"""The database, on SQLite and on a real PostgreSQL: migrations, one-time use, idempotence, pruning, races."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from manager_api.domain.events import read_event
from manager_api.store import accounts, events, migrate
from manager_api.store.database import Database
from manager_api.store.models import Appliance, Base
from tests.postgresql_fixture import running_postgresql

NOW = datetime(2026, 11, 22, 20, tzinfo=UTC)
BATCH = events.Batch("a-1", "e-1", "w-1", 0)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with running_postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    else:
        server = request.getfixturevalue("postgresql")
        name = f"t{abs(hash(request.node.nodeid)) % 10**12}"
        admin = create_engine(
            server.replace("postgresql:", "postgresql+pg8000:") + "postgres", isolation_level="AUTOCOMMIT"
        )
        with admin.connect() as connection:
            connection.exec_driver_sql(f"create database {name}")
        admin.dispose()
        opened = Database(server + name)
    migrate.upgrade(opened)
    with opened.writing() as session:
        session.add(Appliance(id="a-1", name="lab", enrolled_at=NOW, defaults="{}"))
    yield opened
    opened.close()


def test_a_database_of_a_newer_version_is_refused_with_the_way_out_and_left_alone(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    with pytest.raises(ValueError, match=r"newer version .*\(migration 9999\); install that version again"):
        migrate.upgrade(database)
    with database.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "9999"


def rows(count: int) -> list[object]:
    return [read_event({"event_type": "alert"}, NOW, 10_000) for _ in range(count)]


def test_the_migrations_make_what_the_models_say(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    migrate.upgrade(database)


def test_one_token_is_used_by_one_of_many_at_once(database: Database) -> None:
    with database.writing() as session:
        _, secret = accounts.add_token(session, timedelta(hours=1), None, NOW, "test")
    won = []

    def use() -> None:
        with database.writing() as session:
            if accounts.use_token(session, secret, NOW) is not None:
                won.append(1)

    run_all([use] * 8)
    assert won == [1]


@pytest.mark.parametrize(("valid", "at"), [(True, 59), (False, 61)])
def test_a_token_ends(database: Database, valid: bool, at: int) -> None:
    with database.writing() as session:
        _, secret = accounts.add_token(session, timedelta(seconds=60), None, NOW, "test")
    with database.writing() as session:
        assert (accounts.use_token(session, secret, NOW + timedelta(seconds=at)) is not None) is valid


def test_the_same_batch_from_many_at_once_is_stored_once(database: Database) -> None:
    stored = []

    def post() -> None:
        with database.writing() as session:
            stored.append(events.store(session, BATCH, rows(20), NOW))  # type: ignore[arg-type]

    run_all([post] * 6)
    assert sum(stored) == 20
    with database.reading() as session:
        assert len(events.find(session, events.Filter(), limit=100)) == 20


def test_a_reader_that_follows_misses_nothing_while_many_write(database: Database) -> None:
    writers = 4
    seen: list[int] = []
    done = threading.Event()

    def write(lane: int) -> None:
        for first in range(0, 50, 5):
            with database.writing() as session:
                batch = events.Batch("a-1", "e", f"w-{lane}", first)
                events.store(session, batch, rows(5), NOW)  # type: ignore[arg-type]

    def follow() -> None:
        last = 0
        while not done.is_set() or len(seen) < writers * 50:
            with database.reading() as session:
                found = events.following(session, events.Filter(), last, 1_000)
            seen.extend(event.id for event in found)
            last = seen[-1] if seen else 0

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    run_all([lambda lane=lane: write(lane) for lane in range(writers)])
    done.set()
    reader.join(60)
    assert seen == list(range(1, writers * 50 + 1))


def test_prunes_by_number_and_by_age_oldest_first(database: Database) -> None:
    with database.writing() as session:
        events.store(session, BATCH, rows(30), NOW - timedelta(days=2))  # type: ignore[arg-type]
        events.store(session, events.Batch("a-1", "e-1", "w-2", 0), rows(30), NOW)  # type: ignore[arg-type]
    with database.writing() as session:
        assert events.prune(session, 40, NOW - timedelta(days=9)) == 20
    with database.writing() as session:
        assert events.prune(session, 40, NOW - timedelta(days=1)) == 10
    with database.reading() as session:
        assert {e.lane for e in events.find(session, events.Filter(), limit=100)} == {"w-2"}


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    with database.reading() as session:
        appliance = session.get(Appliance, "a-1")
        assert appliance is not None
        assert appliance.enrolled_at == NOW
        assert appliance.enrolled_at.tzinfo is UTC


def test_a_failed_change_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(RuntimeError), database.writing() as session:
        accounts.add_key(session, "half", "viewer", NOW, "test")
        raise RuntimeError
    with database.reading() as session:
        assert accounts.keys(session) == []


def run_all(work: list[object]) -> None:
    threads = [threading.Thread(target=one) for one in work]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
