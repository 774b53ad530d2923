"""Who gets in: enrolment tokens, API keys, people."""

from datetime import timedelta

from manager_api.manager import Manager
from manager_api.passwords import hash_password
from manager_api.problems import not_found
from manager_api.store import accounts
from manager_api.store.models import ApiKey, Token


def make_token(manager: Manager, actor: str, lifetime: timedelta, appliance: str | None) -> tuple[Token, str]:
    """Make an enrolment token; return it with its secret."""
    with manager.changing(actor) as change:
        token, secret = accounts.add_token(change.session, lifetime, appliance, change.at, actor)
        change.note("token.create", token.hint, expires_at=token.expires_at, appliance=appliance)
        return token, secret


def delete_token(manager: Manager, actor: str, token_id: int) -> None:
    """Forget an enrolment token, so that it cannot be used. Raises Problem 404."""
    with manager.changing(actor) as change:
        token = change.session.get(Token, token_id)
        if token is None:
            raise not_found("token", token_id, "GET /api/v1/tokens lists them.")
        change.session.delete(token)
        change.note("token.delete", token.hint)


def make_key(manager: Manager, actor: str, name: str, role: str) -> tuple[ApiKey, str]:
    """Make an API key; return it with its secret."""
    with manager.changing(actor) as change:
        key, secret = accounts.add_key(change.session, name, role, change.at, actor)
        change.note("key.create", name, role=role, hint=key.hint)
        return key, secret


def revoke_key(manager: Manager, actor: str, key_id: int) -> None:
    """Refuse an API key from now on. Raises Problem 404."""
    with manager.changing(actor) as change:
        key = change.session.get(ApiKey, key_id)
        if key is None:
            raise not_found("API key", key_id, "GET /api/v1/keys lists them.")
        if key.revoked_at is None:
            key.revoked_at = change.at
            change.note("key.revoke", key.name, hint=key.hint)


def set_person(manager: Manager, actor: str, name: str, password: str, role: str) -> bool:
    """Make the person, or give the one there is a new password and role; return whether one was made."""
    password_hash = hash_password(password)
    with manager.changing(actor) as change:
        made = accounts.set_password(change.session, name, role, password_hash, change.at)
        change.note("person.create" if made else "person.password", name, role=role)
        return made
