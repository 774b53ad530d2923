"""Passwords of people: Argon2id, at most two at a time, since each takes 64 MiB."""

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH = 12
MAX_LENGTH = 256
_HASHER = PasswordHasher()
_AT_ONCE = threading.BoundedSemaphore(2)
# Checked when there is no such person, so that the time taken does not tell.
_NOBODY = _HASHER.hash(secrets.token_urlsafe(16))


def hash_password(password: str) -> str:
    """Return what is kept of a password."""
    with _AT_ONCE:
        return _HASHER.hash(password.encode("utf-8", "surrogatepass"))


def matches(password: str, kept: str | None) -> bool:
    """Whether password is the one that was kept; kept is None for a person there is not."""
    with _AT_ONCE:
        try:
            _HASHER.verify(kept or _NOBODY, password[:MAX_LENGTH].encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False
    return kept is not None


def new_password() -> str:
    """Return a password made for someone: 20 characters that are not confused when read."""
    alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return "".join(secrets.choice(alphabet) for _ in range(20))
