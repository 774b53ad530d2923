"""Policy versions: built from what is set, signed, kept, found again."""

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from appliance.model.policy import RuleSetRef
from manager_api.domain import policy
from manager_api.domain.policy import GuestSettings
from manager_api.store.models import Appliance, Guest, OverrideRow, PolicyVersion, RuleSet, RuleSetVersion
from manager_api.store.settings_json import defaults_of, settings_of

KEPT_VERSIONS = 200


def guests_settings(session: Session, appliance_id: str) -> dict[str, GuestSettings]:
    """Return what is set for each guest of the appliance, by name."""
    guests = list(session.scalars(select(Guest).where(Guest.appliance_id == appliance_id)))
    overrides: dict[int, list[OverrideRow]] = {}
    rows = session.scalars(
        select(OverrideRow).join(Guest).where(Guest.appliance_id == appliance_id).order_by(OverrideRow.id)
    )
    for row in rows:
        overrides.setdefault(row.guest_id, []).append(row)
    return {guest.name: settings_of(guest, overrides.get(guest.id, [])) for guest in guests}


def live_rule_sets(session: Session) -> dict[str, RuleSetRef]:
    """Return the live version of every rule set, by name."""
    rows = session.execute(
        select(RuleSetVersion.name, RuleSetVersion.version, RuleSetVersion.digest).join(
            RuleSet, (RuleSet.name == RuleSetVersion.name) & (RuleSet.live == RuleSetVersion.version)
        )
    )
    return {name: RuleSetRef(name, version, digest) for name, version, digest in rows}


def publish(
    session: Session, appliance: Appliance, key: Ed25519PrivateKey, now: datetime, actor: str, cause: str
) -> bool:
    """Build and sign the appliance's policy; return whether it differs from the wanted version.

    The caller holds the lock `policy`, so versions count up without a gap.
    """
    session.flush()
    defaults = defaults_of(appliance)
    guests = guests_settings(session, appliance.id)
    rule_sets = live_rule_sets(session)
    current = find(session, appliance.id, appliance.wanted_version)
    if current is not None:
        unchanged = policy.build(appliance.wanted_version, defaults, guests, rule_sets)
        if policy.encode(unchanged) == current.document:
            return False
    version = appliance.wanted_version + 1
    signed = policy.sign(policy.encode(policy.build(version, defaults, guests, rule_sets)), key)
    session.add(
        PolicyVersion(
            appliance_id=appliance.id, version=version, document=signed.document, digest=signed.digest,
            signature=signed.signature, created_at=now, created_by=actor, cause=cause,
        )
    )  # fmt: skip
    appliance.wanted_version = version
    return True


def find(session: Session, appliance_id: str, version: int) -> PolicyVersion | None:
    """Return one version of an appliance's policy."""
    return session.get(PolicyVersion, (appliance_id, version))


def wanted(session: Session, appliance_id: str, after: int) -> PolicyVersion | None:
    """Return the version the appliance should run, or None when that is not newer than after."""
    query = (
        select(PolicyVersion)
        .join(Appliance, Appliance.id == PolicyVersion.appliance_id)
        .where(
            PolicyVersion.appliance_id == appliance_id,
            PolicyVersion.version == Appliance.wanted_version,
            PolicyVersion.version != after,
            Appliance.revoked_at.is_(None),
        )
    )
    return session.scalars(query).one_or_none()


def history(session: Session, appliance_id: str, limit: int) -> list[PolicyVersion]:
    """Return the appliance's newest versions."""
    query = select(PolicyVersion).where(PolicyVersion.appliance_id == appliance_id)
    return list(session.scalars(query.order_by(PolicyVersion.version.desc()).limit(limit)))


def prune(session: Session) -> int:
    """Delete all but the newest versions of each appliance; return how many went."""
    gone = 0
    tops = session.execute(
        select(PolicyVersion.appliance_id, func.max(PolicyVersion.version)).group_by(
            PolicyVersion.appliance_id
        )
    )
    for appliance_id, top in tops.all():
        old = (PolicyVersion.appliance_id == appliance_id) & (PolicyVersion.version <= top - KEPT_VERSIONS)
        gone += len(session.execute(delete(PolicyVersion).where(old).returning(PolicyVersion.version)).all())
    return gone
