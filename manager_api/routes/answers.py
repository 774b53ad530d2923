"""What answers carry, and how they are made from rows."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from manager_api.domain.coverage import Shield, uninspected_fraction
from manager_api.store.models import (
    ApiKey,
    Audit,
    Event,
    Guest,
    OverrideRow,
    PolicyVersion,
    RuleSetVersion,
    Token,
)


class Refused(BaseModel):
    """A signature that does not load."""

    file: str
    line: int
    sid: int | None
    reason: str


class Problem(BaseModel):
    """An error (RFC 9457): `title` names the thing, `detail` says why and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    refused: list[Refused] | None = Field(
        None, description="Of a rule set: every signature that does not load."
    )
    model_config = ConfigDict(extra="allow")


_PROBLEMS: dict[int, dict[str, Any]] = {
    code: {"model": Problem, "description": why, "content": {"application/problem+json": {}}}
    for code, why in {
        401: "no valid API key",
        403: "not allowed",
        404: "no such thing",
        409: "in conflict with what there is",
        412: "changed in the meantime (If-Match)",
        413: "the body is too long",
        502: "the host's helper did not answer",
        503: "the host's helper is asked for too much already",
        422: "not acceptable; the problem says what, why and what to do",
    }.items()
}


def problems(*codes: int, replaced: str | None = None) -> dict[int | str, dict[str, Any]]:
    """Return the errors of those codes, as a route declares them; replaced says when it answers 200."""
    ok: dict[int | str, dict[str, Any]] = {200: {"description": replaced}} if replaced else {}
    return ok | {code: _PROBLEMS[code] for code in codes}


class CanBlock(BaseModel):
    """How many signatures may drop a packet, by the mode they are assigned in."""

    off: int = 0
    detect: int = 0
    as_written: int = Field(serialization_alias="as-written")
    prevent: int


class RuleSetAnswer(BaseModel):
    """One version of a rule set."""

    name: str
    version: int
    digest: str
    signatures: int
    can_block: CanBlock
    created_at: datetime
    created_by: str
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "shipped", "version": 3, "digest": "9f86d081884c7d65…", "signatures": 124,
                    "can_block": {"off": 0, "detect": 0, "as-written": 17, "prevent": 124},
                    "created_at": "2027-01-31T08:00:00Z", "created_by": "key:ci",
                }
            ]
        }
    )  # fmt: skip

    @classmethod
    def of(cls, row: RuleSetVersion) -> "RuleSetAnswer":
        """Return the row as an answer."""
        return cls(
            name=row.name, version=row.version, digest=row.digest, signatures=row.loaded,
            can_block=CanBlock(as_written=row.blocks_as_written, prevent=row.blocks_prevent),
            created_at=row.created_at, created_by=row.created_by,
        )  # fmt: skip


class RuleRemark(BaseModel):
    """What a rule says and is not done."""

    file: str
    line: int
    sid: int | None
    reason: str


class PutRuleSetAnswer(RuleSetAnswer):
    """The version that is live now."""

    warnings: list[RuleRemark] = Field(
        default=[],
        description="What its signatures say and is not done, at most 1000; none where it was live before.",
    )


class ApplianceAnswer(BaseModel):
    """An appliance: what it should run, what it runs, and when it was heard of."""

    id: str
    name: str
    enrolled_at: datetime
    revoked_at: datetime | None
    last_seen_at: datetime | None
    wanted_version: int
    live_version: int | None
    error: str | None
    in_step: bool = Field(description="Whether it runs what it should.")
    inspector: dict[str, Any] | None = None
    spool: dict[str, Any] | None = None
    bypass: list[dict[str, Any]] = []


class GuestAnswer(BaseModel):
    """A guest: what stands before it and what of its traffic was not inspected."""

    name: str
    appliance: str
    segment: str | None
    vnics: list[Any]
    first_seen_at: datetime
    last_seen_at: datetime | None
    bytes: int
    uninspected: dict[str, int] = Field(description="Bytes by reason.")
    uninspected_fraction: float = Field(description="Of all bytes, 0 to 1.")
    shield: Shield
    signatures_evaluated: int
    signatures_can_block: int

    @classmethod
    def of(
        cls, guest: Guest, appliance: str, shield: Shield, evaluated: int, can_block: int
    ) -> "GuestAnswer":
        """Return the row as an answer."""
        uninspected = json.loads(guest.uninspected)
        return cls(
            name=guest.name, appliance=appliance, segment=guest.segment, vnics=json.loads(guest.vnics),
            first_seen_at=guest.first_seen_at, last_seen_at=guest.last_seen_at, bytes=guest.bytes,
            uninspected=uninspected, uninspected_fraction=uninspected_fraction(guest.bytes, uninspected),
            shield=shield, signatures_evaluated=evaluated, signatures_can_block=can_block,
        )  # fmt: skip


class OverrideAnswer(BaseModel):
    """One signature treated otherwise for one guest."""

    id: int
    gid: int
    sid: int
    mode: str
    peer: str | None
    until: datetime | None
    reason: str
    created_at: datetime
    created_by: str

    @classmethod
    def of(cls, row: OverrideRow) -> "OverrideAnswer":
        """Return the row as an answer."""
        return cls(
            id=row.id, gid=row.gid, sid=row.sid, mode=row.mode, peer=row.peer or None, until=row.until,
            reason=row.reason, created_at=row.created_at, created_by=row.created_by,
        )  # fmt: skip


class PolicyAnswer(BaseModel):
    """One policy version of an appliance."""

    version: int
    digest: str
    created_at: datetime
    created_by: str
    cause: str

    @classmethod
    def of(cls, row: PolicyVersion) -> "PolicyAnswer":
        """Return the row as an answer."""
        return cls(
            version=row.version, digest=row.digest, created_at=row.created_at,
            created_by=row.created_by, cause=row.cause,
        )  # fmt: skip


class EventAnswer(BaseModel):
    """One event; `eve` is the EVE JSON as the appliance sent it."""

    id: int
    appliance_id: str
    received_at: datetime
    eve: dict[str, Any]

    @classmethod
    def of(cls, row: Event) -> "EventAnswer":
        """Return the row as an answer."""
        return cls(
            id=row.id, appliance_id=row.appliance_id, received_at=row.received_at, eve=json.loads(row.body)
        )


class EventsAnswer(BaseModel):
    """A page of events, newest first; `next` is the cursor of the page after it, null at the end."""

    events: list[EventAnswer]
    next: str | None


class AuditAnswer(BaseModel):
    """One entry of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, row: Audit) -> "AuditAnswer":
        """Return the row as an answer."""
        return cls(
            id=row.id,
            at=row.at,
            actor=row.actor,
            action=row.action,
            target=row.target,
            detail=json.loads(row.detail),
        )


class AuditsAnswer(BaseModel):
    """A page of the audit log, newest first."""

    entries: list[AuditAnswer]
    next: str | None


class TokenAnswer(BaseModel):
    """An enrolment token; its secret is shown once, when it is made."""

    id: int
    hint: str
    appliance: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime
    used_at: datetime | None
    token: str | None = None

    @classmethod
    def of(cls, row: Token, secret: str | None = None) -> "TokenAnswer":
        """Return the row as an answer."""
        return cls(
            id=row.id, hint=row.hint, appliance=row.appliance, created_at=row.created_at,
            created_by=row.created_by, expires_at=row.expires_at, used_at=row.used_at, token=secret,
        )  # fmt: skip


class KeyAnswer(BaseModel):
    """An API key; its secret is shown once, when it is made."""

    id: int
    name: str
    role: str
    hint: str
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    revoked_at: datetime | None
    key: str | None = None

    @classmethod
    def of(cls, row: ApiKey, secret: str | None = None) -> "KeyAnswer":
        """Return the row as an answer."""
        return cls(
            id=row.id, name=row.name, role=row.role, hint=row.hint, created_at=row.created_at,
            created_by=row.created_by, last_used_at=row.last_used_at, revoked_at=row.revoked_at, key=secret,
        )  # fmt: skip
