"""The manager itself: what every request works with, and how a change is made."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from appliance.rulesets import CheckReport, check_files
from manager_api import tls
from manager_api.bulletin import Bulletin, policy_topic
from manager_api.hosts.links import Links
from manager_api.settings import Settings
from manager_api.store import audit, migrate, policies
from manager_api.store.database import Database, serialise
from manager_api.store.models import Appliance
from manager_api.throttle import Throttle

Check = Callable[[Sequence[tuple[str, bytes]]], CheckReport]


def now() -> datetime:
    """Return the time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Change:
    """One change being made: a transaction, alone on everything that policies are built from."""

    session: Session
    actor: str
    at: datetime
    policy_key: Ed25519PrivateKey
    topics: list[str] = field(default_factory=list)

    def note(self, action: str, target: str, **detail: Any) -> None:
        """Write the change down in the audit log."""
        audit.record(self.session, self.at, self.actor, action, target, **detail)

    def publish(self, appliance: Appliance, cause: str) -> None:
        """Give the appliance a new policy version, if what it should run is different now."""
        if appliance.revoked_at is None and policies.publish(
            self.session, appliance, self.policy_key, self.at, self.actor, cause
        ):
            self.topics.append(policy_topic(appliance.id))


@dataclass(frozen=True, slots=True)
class Manager:
    """Everything that requests share."""

    settings: Settings
    database: Database
    authority: tls.Authority
    policy_key: Ed25519PrivateKey
    hosts: Links
    check: Check = check_files
    bulletin: Bulletin = field(default_factory=Bulletin)
    logins_by_name: Throttle = field(default_factory=lambda: Throttle(8, 300))
    logins_by_address: Throttle = field(default_factory=lambda: Throttle(30, 300))
    enrolments: Throttle = field(default_factory=lambda: Throttle(10, 60))

    @contextmanager
    def changing(self, actor: str) -> Iterator[Change]:
        """Give a change; it is committed as a whole at the end, and then told to the appliances."""
        with self.database.writing() as session:
            serialise(session, "policy")
            change = Change(session, actor, now(), self.policy_key)
            yield change
        self.bulletin.publish(*change.topics)

    @property
    def policy_public_key(self) -> str:
        """The key that appliances check policies with, PEM."""
        return tls.public_pem(self.policy_key)


def open_manager(settings: Settings, check: Check = check_files) -> Manager:
    """Return the manager of the data directory; keys, certificates and tables are made where missing.

    Raises OSError, ValueError, sqlalchemy.exc.SQLAlchemyError.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = open_database(settings)
    authority = tls.open_authority(settings)
    tls.ensure_server_certificate(settings, authority)
    tls.ensure_client_certificate(settings, authority)
    hosts = Links(lambda: tls.helper_context(settings))
    return Manager(settings, database, authority, tls.open_policy_key(settings), hosts, check)


def open_database(settings: Settings) -> Database:
    """Return the manager's database, with every migration applied."""
    database = Database(settings.database)
    migrate.upgrade(database)
    if settings.database_url is None:
        settings.data_dir.joinpath("manager.sqlite").chmod(0o600)
    return database


def appliance_status(appliance: Appliance) -> dict[str, Any]:
    """Return what the appliance reported last, as it was accepted."""
    status = json.loads(appliance.status)
    return status if isinstance(status, dict) else {}
