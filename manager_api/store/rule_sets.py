"""Rule sets: versions that count up, contents kept once by digest."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from appliance.model.policy import Mode
from appliance.rulesets import Signature
from manager_api.domain.rule_sets import count_blocking
from manager_api.store.models import RuleSet, RuleSetBlob, RuleSetVersion


def add_version(
    session: Session,
    name: str,
    digest: str,
    content: bytes,
    signatures: Sequence[Signature],
    now: datetime,
    actor: str,
) -> RuleSetVersion:
    """Make content the live version of the rule set, and return it. The caller holds the lock `policy`."""
    rule_set = session.get(RuleSet, name)
    if rule_set is None:
        rule_set = RuleSet(name=name, live=0)
        session.add(rule_set)
    if session.get(RuleSetBlob, digest) is None:
        session.add(
            RuleSetBlob(digest=digest, content=content, signatures=msgspec.json.encode(list(signatures)))
        )
    session.flush()
    newest = session.scalar(select(func.max(RuleSetVersion.version)).where(RuleSetVersion.name == name)) or 0
    version = RuleSetVersion(
        name=name,
        version=newest + 1,
        digest=digest,
        loaded=len(signatures),
        blocks_as_written=count_blocking(signatures, Mode.AS_WRITTEN),
        blocks_prevent=count_blocking(signatures, Mode.PREVENT),
        created_at=now,
        created_by=actor,
    )
    session.add(version)
    rule_set.live = version.version
    return version


def live(session: Session, name: str) -> RuleSetVersion | None:
    """Return the live version of the rule set, or None if there is no such rule set."""
    return session.scalars(_live().where(RuleSet.name == name)).one_or_none()


def all_live(session: Session) -> list[RuleSetVersion]:
    """Return the live version of every rule set, by name."""
    return list(session.scalars(_live().order_by(RuleSet.name)))


def versions(session: Session, name: str) -> list[RuleSetVersion]:
    """Return the rule set's versions, newest first."""
    query = select(RuleSetVersion).where(RuleSetVersion.name == name)
    return list(session.scalars(query.order_by(RuleSetVersion.version.desc())))


def version(session: Session, name: str, number: int) -> RuleSetVersion | None:
    """Return one version of a rule set."""
    return session.get(RuleSetVersion, (name, number))


def content(session: Session, digest: str) -> bytes | None:
    """Return a content by its digest."""
    return session.scalar(select(RuleSetBlob.content).where(RuleSetBlob.digest == digest))


def signatures(session: Session, digest: str) -> tuple[Signature, ...]:
    """Return the signatures of a content; empty if there is no such content."""
    return _decode(session, digest)


def sids(session: Session, digest: str) -> frozenset[int]:
    """Return the sids of a content."""
    return frozenset(s.sid for s in signatures(session, digest))


def _live() -> Select[Any]:
    return select(RuleSetVersion).join(
        RuleSet, (RuleSet.name == RuleSetVersion.name) & (RuleSet.live == RuleSetVersion.version)
    )


# Decoding ET Open's 30,000 takes a third of a second; a content never changes under its digest.
_DECODED: OrderedDict[str, tuple[Signature, ...]] = OrderedDict()
_DECODED_MAX = 8
_DECODED_MUTEX = threading.Lock()


def _decode(session: Session, digest: str) -> tuple[Signature, ...]:
    with _DECODED_MUTEX:
        if digest in _DECODED:
            _DECODED.move_to_end(digest)
            return _DECODED[digest]
    encoded = session.scalar(select(RuleSetBlob.signatures).where(RuleSetBlob.digest == digest))
    if encoded is None:
        return ()
    decoded = msgspec.json.decode(encoded, type=tuple[Signature, ...])
    with _DECODED_MUTEX:
        _DECODED[digest] = decoded
        if len(_DECODED) > _DECODED_MAX:
            _DECODED.popitem(last=False)
    return decoded
