"""An appliance becomes known: a one-time token for a certificate."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.orm import Session

from manager_api import tls
from manager_api.domain.policy import first_defaults
from manager_api.manager import Change, Manager
from manager_api.problems import Problem
from manager_api.store import accounts, appliances, rule_sets
from manager_api.store.models import Appliance, Certificate
from manager_api.store.settings_json import dump


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a new appliance is handed."""

    appliance_id: str
    certificate: str


def enrol(manager: Manager, token_secret: str, name: str, csr: str, address: str) -> Enrolled:
    """Enrol the appliance; raises Problem 403 (token), 409 (name), 422 (request for a certificate).

    The token is used up only if all went well.
    """
    with manager.changing(f"enrolment from {address}") as change:
        token = accounts.use_token(change.session, token_secret, change.at)
        if token is None:
            raise Problem(
                403,
                "The enrolment token is not valid",
                "It is unknown, was used already or has ended; `sekisho-manager token create` makes one.",
            )
        if token.appliance not in (None, name):
            raise Problem(
                403, "The enrolment token is for another appliance",
                f"It enrols {token.appliance!r} only; make one for {name!r}.",
            )  # fmt: skip
        appliance = _appliance_for(change, name, may_replace=token.appliance == name)
        certificate = sign(manager, change.session, csr, appliance.id, change.at)
        change.note("appliance.enrol", name, id=appliance.id, token=token.hint, made_by=token.created_by)
        change.publish(appliance, "enrolment")
        return Enrolled(appliance.id, certificate)


def renew(manager: Manager, appliance_id: str, name: str, csr: str) -> str:
    """Return a new certificate for an appliance that still holds a valid one; both stay valid."""
    with manager.changing(f"appliance:{name}") as change:
        certificate = sign(manager, change.session, csr, appliance_id, change.at)
        change.note("appliance.renew", name)
        return certificate


def sign(manager: Manager, session: Session, csr: str, appliance_id: str, at: datetime) -> str:
    """Return a certificate (PEM) for the request, written down as the appliance's. Raises Problem 422."""
    try:
        certificate = manager.authority.sign_appliance(csr, appliance_id)
    except tls.BadRequestForCertificate as error:
        raise Problem(
            422, "The request for a certificate is not acceptable",
            f"csr: {error}. Send a PEM request signed with an ECDSA P-256 key.",
        ) from error  # fmt: skip
    session.add(_row(certificate, appliance_id, at))
    return certificate.public_bytes(Encoding.PEM).decode()


def _row(certificate: x509.Certificate, appliance_id: str, at: datetime) -> Certificate:
    return Certificate(
        fingerprint=tls.fingerprint_of(certificate.public_bytes(Encoding.DER)),
        appliance_id=appliance_id,
        issued_at=at,
        expires_at=certificate.not_valid_after_utc,
    )


def _appliance_for(change: Change, name: str, *, may_replace: bool) -> Appliance:
    known = appliances.find(change.session, name)
    if known is not None:
        if not may_replace:
            raise Problem(
                409, "The appliance's name is taken",
                f"{name!r} is enrolled already. Choose another name, or make a token for it alone: "
                f"`sekisho-manager token create --appliance {name}`.",
            )  # fmt: skip
        appliances.revoke_certificates(change.session, known.id, change.at)
        known.revoked_at, known.enrolled_at, known.error = None, change.at, None
        return known
    defaults = first_defaults([version.name for version in rule_sets.all_live(change.session)])
    appliance = Appliance(
        id=str(uuid.uuid4()),
        name=name,
        enrolled_at=change.at,
        defaults=dump(defaults),
        wanted_version=0,
        status="{}",
    )
    change.session.add(appliance)
    change.session.flush()
    return appliance
