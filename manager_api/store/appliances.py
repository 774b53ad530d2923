"""Appliances, their certificates, their guests and what is set for those."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from manager_api.store.models import Appliance, Certificate, Guest, OverrideRow

MAX_GUESTS = 2_000


def find(session: Session, id_or_name: str) -> Appliance | None:
    """Return the appliance of that id, else of that name."""
    query = select(Appliance).where(or_(Appliance.id == id_or_name, Appliance.name == id_or_name))
    found = list(session.scalars(query))
    return next((a for a in found if a.id == id_or_name), found[0] if found else None)


def by_certificate(session: Session, fingerprint: str, now: datetime) -> Appliance | None:
    """Return the appliance that holds the certificate, unless either is revoked or it has expired."""
    query = (
        select(Appliance)
        .join(Certificate)
        .where(
            Certificate.fingerprint == fingerprint,
            Certificate.revoked_at.is_(None),
            Certificate.expires_at > now,
            Appliance.revoked_at.is_(None),
        )
    )
    return session.scalars(query).one_or_none()


def everything(session: Session) -> list[Appliance]:
    """Return all appliances by name, revoked ones too."""
    return list(session.scalars(select(Appliance).order_by(Appliance.name)))


def active(session: Session) -> list[Appliance]:
    """Return the appliances that are not revoked, by id (the order in which they are locked)."""
    query = select(Appliance).where(Appliance.revoked_at.is_(None)).order_by(Appliance.id)
    return list(session.scalars(query))


def revoke_certificates(session: Session, appliance_id: str, now: datetime) -> None:
    """Revoke every certificate of the appliance."""
    own = (Certificate.appliance_id == appliance_id) & Certificate.revoked_at.is_(None)
    session.execute(update(Certificate).where(own).values(revoked_at=now))


def guests_of(session: Session, appliance_id: str) -> list[Guest]:
    """Return the appliance's guests by name."""
    query = select(Guest).where(Guest.appliance_id == appliance_id).order_by(Guest.name)
    return list(session.scalars(query))


def guests_named(session: Session, name: str) -> list[tuple[Guest, Appliance]]:
    """Return the guests of that name with their appliances, those of revoked appliances left out."""
    query = (
        select(Guest, Appliance)
        .join(Appliance)
        .where(Guest.name == name, Appliance.revoked_at.is_(None))
        .order_by(Appliance.name)
    )
    return [(guest, appliance) for guest, appliance in session.execute(query)]


def guest(session: Session, appliance_id: str, name: str) -> Guest | None:
    """Return one guest of the appliance."""
    query = select(Guest).where(Guest.appliance_id == appliance_id, Guest.name == name)
    return session.scalars(query).one_or_none()


def ensure_guests(
    session: Session, appliance_id: str, names: Sequence[str], now: datetime
) -> dict[str, Guest]:
    """Return the guests of those names, new ones made; past MAX_GUESTS further names are left out."""
    known = {guest.name: guest for guest in guests_of(session, appliance_id)}
    for name in names:
        if name not in known and len(known) < MAX_GUESTS:
            known[name] = Guest(appliance_id=appliance_id, name=name, first_seen_at=now)
            session.add(known[name])
    return {name: known[name] for name in names if name in known}


def overrides_of(session: Session, guest_id: int) -> list[OverrideRow]:
    """Return the guest's overrides, oldest first."""
    query = select(OverrideRow).where(OverrideRow.guest_id == guest_id).order_by(OverrideRow.id)
    return list(session.scalars(query))


def any_expired_override(session: Session, now: datetime) -> bool:
    """Whether there is an override whose time is over."""
    return session.scalar(select(OverrideRow.id).where(OverrideRow.until <= now).limit(1)) is not None


def drop_expired_overrides(session: Session, now: datetime) -> list[tuple[OverrideRow, Guest]]:
    """Delete the overrides whose time is over; return them with their guests."""
    query = (
        select(OverrideRow, Guest).join(Guest).where(OverrideRow.until.is_not(None), OverrideRow.until <= now)
    )
    expired = [(row, guest) for row, guest in session.execute(query)]
    if expired:
        session.execute(delete(OverrideRow).where(OverrideRow.id.in_([row.id for row, _ in expired])))
    return expired
