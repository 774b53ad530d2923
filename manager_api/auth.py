"""Who is asking: an API key, a person's session on the page, or an appliance's certificate."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from manager_api import tls
from manager_api.manager import Manager, now
from manager_api.problems import Problem
from manager_api.store import accounts, appliances

COOKIE = "__Host-sekisho"
_bearer = HTTPBearer(auto_error=False, description="An API key, as `sekisho-manager key create` prints it.")


class Role(Enum):
    """What someone may do; each may do what the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, needed: "Role") -> bool:
        """Whether this role may do what needed may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """Someone who is known; `actor` stands in the audit log."""

    actor: str
    role: Role


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person logged in on the page, with what the page's forms have to send back."""

    principal: Principal
    name: str
    csrf: str


@dataclass(frozen=True, slots=True)
class Peer:
    """The appliance at the other end of the connection."""

    id: str
    name: str


def manager_of(request: Request) -> Manager:
    """Return the manager that serves the request."""
    manager = request.app.state.manager
    assert isinstance(manager, Manager)
    return manager


Managed = Annotated[Manager, Depends(manager_of)]


def _by_key(
    manager: Managed, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    challenge = {"WWW-Authenticate": 'Bearer realm="sekisho"'}
    if credentials is None:
        raise Problem(
            401,
            "An API key is needed",
            "Send `Authorization: Bearer KEY`; `sekisho-manager key create NAME` makes one.",
            headers=challenge,
        )
    at = now()
    with manager.database.reading() as session:
        key = accounts.key_by_secret(session, credentials.credentials)
        if key is None:
            raise Problem(
                401,
                "The API key is not valid",
                "It is unknown or revoked; `sekisho-manager key create NAME` makes a new one.",
                headers=challenge,
            )
        principal = Principal(f"key:{key.name}", Role(key.role))
        due = key.last_used_at is None or at - key.last_used_at > accounts.USE_NOTED_EVERY
        key_id = key.id
    if due:
        with manager.database.writing() as session:
            accounts.note_use(session, key_id, at)
    return principal


def _needs(role: Role) -> Callable[[Principal], Principal]:
    def check(principal: Annotated[Principal, Depends(_by_key)]) -> Principal:
        require(principal, role)
        return principal

    return check


def require(principal: Principal, role: Role) -> None:
    """Raise the 403 problem unless the principal has the role."""
    if not principal.role.includes(role):
        raise Problem(
            403, "Not allowed",
            f"This needs the role {role.value}; {principal.actor} has the role {principal.role.value}.",
        )  # fmt: skip


Viewer = Annotated[Principal, Depends(_needs(Role.VIEWER))]
Operator = Annotated[Principal, Depends(_needs(Role.OPERATOR))]
Admin = Annotated[Principal, Depends(_needs(Role.ADMIN))]


def _peer(request: Request, manager: Managed) -> Peer:
    der = getattr(request.state, "peer_certificate", None)
    if der:
        with manager.database.reading() as session:
            found = appliances.by_certificate(session, tls.fingerprint_of(der), now())
            if found is not None:
                return Peer(found.id, found.name)
    raise Problem(
        403, "The appliance is not known",
        "Its certificate was revoked, has ended or belongs to no appliance; enrol again with a new token.",
    )  # fmt: skip


AppliancePeer = Annotated[Peer, Depends(_peer)]


def visitor_of(request: Request, manager: Manager) -> Visitor | None:
    """Return the person whose session the request's cookie names, or None."""
    secret = request.cookies.get(COOKIE)
    if not secret:
        return None
    with manager.database.reading() as session:
        found = accounts.session_by_secret(session, secret, now())
        if found is None:
            return None
        ours, user = found
        return Visitor(Principal(f"user:{user.name}", Role(user.role)), user.name, ours.csrf)


def csrf_matches(visitor: Visitor, sent: object) -> bool:
    """Whether a form sent back what the page of this session holds."""
    return isinstance(sent, str) and hmac.compare_digest(
        sent.encode("utf-8", "replace"), visitor.csrf.encode()
    )


def client_address(request: Request) -> str:
    """Return the address that the request came from; no header is believed."""
    return request.client.host if request.client else "unknown"
