"""Enrolment tokens and API keys. A secret is shown when it is made, and never again."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from manager_api.auth import Admin, Managed, Operator, Viewer
from manager_api.operations import access
from manager_api.routes.answers import KeyAnswer, TokenAnswer, problems
from manager_api.routes.bodies import KeyBody, TokenBody
from manager_api.store import accounts

router = APIRouter(tags=["access"], responses=problems(401, 403))
Id = Annotated[int, Path(ge=1, lt=2**63)]


@router.post("/tokens", status_code=201, summary="Make an enrolment token", responses=problems(422))
def make_token(body: TokenBody, manager: Managed, who: Operator) -> TokenAnswer:
    """It enrols one appliance, once."""
    return TokenAnswer.of(
        *access.make_token(manager, who.actor, timedelta(seconds=body.for_s), body.appliance)
    )


@router.get("/tokens", summary="Enrolment tokens")
def tokens(manager: Managed, _who: Viewer) -> list[TokenAnswer]:
    """Without their secrets, newest first."""
    with manager.database.reading() as session:
        return [TokenAnswer.of(row) for row in accounts.tokens(session)]


@router.delete(
    "/tokens/{token}", status_code=204, summary="Forget an enrolment token", responses=problems(404)
)
def delete_token(token: Id, manager: Managed, who: Operator) -> None:
    """It can no longer be used."""
    access.delete_token(manager, who.actor, token)


@router.post("/keys", status_code=201, summary="Make an API key", responses=problems(422))
def make_key(body: KeyBody, manager: Managed, who: Admin) -> KeyAnswer:
    """viewer reads; operator changes policy; admin also makes keys and revokes appliances."""
    return KeyAnswer.of(*access.make_key(manager, who.actor, body.name, body.role))


@router.get("/keys", summary="API keys")
def keys(manager: Managed, _who: Admin) -> list[KeyAnswer]:
    """Without their secrets, newest first."""
    with manager.database.reading() as session:
        return [KeyAnswer.of(row) for row in accounts.keys(session)]


@router.delete("/keys/{key}", status_code=204, summary="Revoke an API key", responses=problems(404))
def revoke_key(key: Id, manager: Managed, who: Admin) -> None:
    """It is refused from now on."""
    access.revoke_key(manager, who.actor, key)
