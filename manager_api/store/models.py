"""The tables. Times are UTC; secrets are kept as digests; documents as JSON text.

A change here needs a migration in store/migrations/versions; a test compares the two.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcTime(TypeDecorator[datetime]):
    """A time that is aware and UTC on both sides; SQLite by itself would lose the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite counts rows up only in a column of the type INTEGER.
BigId = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: UtcTime()}  # noqa: RUF012 - as SQLAlchemy asks for it


class Lock(Base):
    """A row that a transaction locks to be the only one at its work; value counts what it hands out."""

    __tablename__ = "lock"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger, default=0)


class Appliance(Base):
    """An enrolled appliance, its defaults, what it runs and what it said last."""

    __tablename__ = "appliance"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    enrolled_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    wanted_version: Mapped[int] = mapped_column(Integer, default=0)
    live_version: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
    defaults: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, default="{}")


class Host(Base):
    """A KVM host whose helper the manager asks: where that listens."""

    __tablename__ = "host"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    address: Mapped[str] = mapped_column(String(255))
    port: Mapped[int] = mapped_column(Integer)
    added_at: Mapped[datetime]
    added_by: Mapped[str] = mapped_column(String(160))


class Certificate(Base):
    """A client certificate that we signed; fingerprint is the SHA-256 of its DER."""

    __tablename__ = "certificate"
    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    appliance_id: Mapped[str] = mapped_column(ForeignKey("appliance.id"), index=True)
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Guest(Base):
    """A guest of one appliance: what is set for it (null: as the defaults) and what was reported."""

    __tablename__ = "guest"
    __table_args__ = (UniqueConstraint("appliance_id", "name"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    appliance_id: Mapped[str] = mapped_column(ForeignKey("appliance.id"))
    name: Mapped[str] = mapped_column(String(128), index=True)
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]
    segment: Mapped[str | None] = mapped_column(String(128))
    vnics: Mapped[str] = mapped_column(Text, default="[]")
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    uninspected: Mapped[str] = mapped_column(Text, default="{}")
    assignments: Mapped[str | None] = mapped_column(Text)
    firewall: Mapped[str | None] = mapped_column(Text)
    guard: Mapped[str | None] = mapped_column(Text)
    on_drop: Mapped[str | None] = mapped_column(String(8))


class OverrideRow(Base):
    """One signature treated otherwise for one guest; peer "" means any."""

    __tablename__ = "override"
    __table_args__ = (UniqueConstraint("guest_id", "gid", "sid", "peer"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    guest_id: Mapped[int] = mapped_column(ForeignKey("guest.id"))
    gid: Mapped[int] = mapped_column(BigInteger)
    sid: Mapped[int] = mapped_column(BigInteger)
    mode: Mapped[str] = mapped_column(String(16))
    peer: Mapped[str] = mapped_column(String(64), default="")
    until: Mapped[datetime | None] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(160))


class RuleSet(Base):
    """A rule set by name; `live` is the number of the version that policies refer to."""

    __tablename__ = "rule_set"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    live: Mapped[int]


class RuleSetBlob(Base):
    """A rule set's content by its digest, with a summary of its signatures; shared by equal versions."""

    __tablename__ = "rule_set_blob"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    signatures: Mapped[bytes] = mapped_column(LargeBinary)


class RuleSetVersion(Base):
    """One accepted version of a rule set."""

    __tablename__ = "rule_set_version"
    name: Mapped[str] = mapped_column(ForeignKey("rule_set.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey("rule_set_blob.digest"), index=True)
    loaded: Mapped[int]
    blocks_as_written: Mapped[int]
    blocks_prevent: Mapped[int]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(160))


class PolicyVersion(Base):
    """One signed policy document of an appliance."""

    __tablename__ = "policy_version"
    appliance_id: Mapped[str] = mapped_column(ForeignKey("appliance.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    signature: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(160))
    cause: Mapped[str] = mapped_column(Text)


class Event(Base):
    """One event. (appliance, epoch, lane, number) names it for ever; id is the order of arrival."""

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("appliance_id", "epoch", "lane", "number"),
        Index("ix_event_guest_id", "guest", "id"),
        Index("ix_event_sid_id", "sid", "id"),
        Index("ix_event_event_type_id", "event_type", "id"),
        Index("ix_event_severity_id", "severity", "id"),
        Index("ix_event_blocked_id", "blocked", "id"),
        Index("ix_event_src_ip_id", "src_ip", "id"),
        Index("ix_event_dest_ip_id", "dest_ip", "id"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    appliance_id: Mapped[str] = mapped_column(ForeignKey("appliance.id"))
    epoch: Mapped[str] = mapped_column(String(64))
    lane: Mapped[str] = mapped_column(String(64))
    number: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime] = mapped_column(index=True)
    at: Mapped[datetime] = mapped_column(index=True)
    event_type: Mapped[str] = mapped_column(String(300))
    severity: Mapped[int] = mapped_column(Integer)
    guest: Mapped[str | None] = mapped_column(String(300))
    sid: Mapped[int | None] = mapped_column(BigInteger)
    gid: Mapped[int | None] = mapped_column(BigInteger)
    msg: Mapped[str | None] = mapped_column(Text)
    blocked: Mapped[bool] = mapped_column(Boolean)
    would_block: Mapped[bool] = mapped_column(Boolean)
    src_ip: Mapped[str | None] = mapped_column(String(64))
    src_port: Mapped[int | None] = mapped_column(Integer)
    dest_ip: Mapped[str | None] = mapped_column(String(64))
    dest_port: Mapped[int | None] = mapped_column(Integer)
    proto: Mapped[str | None] = mapped_column(String(300))
    cves: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)


class Token(Base):
    """A one-time enrolment token; appliance: the only name it may enrol, new or again."""

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(16))
    appliance: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(160))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class ApiKey(Base):
    """An API key of an operator or a program."""

    __tablename__ = "api_key"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    role: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(160))
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class User(Base):
    """A person who may log in on the page."""

    __tablename__ = "user_account"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class Session(Base):
    """A person's session on the page; csrf is what the page's forms have to send back."""

    __tablename__ = "session"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Audit(Base):
    """Who changed what, and when."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(160))
    action: Mapped[str] = mapped_column(String(64), index=True)
    target: Mapped[str] = mapped_column(String(300))
    detail: Mapped[str] = mapped_column(Text, default="{}")
