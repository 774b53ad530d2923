"""Secrets that are handed out once and kept as a digest only: enrolment tokens, API keys, sessions.

They carry 256 random bits, so a plain SHA-256 is as good as a slow hash: there is nothing to guess.
Passwords, which people choose, go through Argon2id (see passwords.py).
"""

import hashlib
import re
import secrets
from datetime import timedelta
from enum import Enum

_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Kind(Enum):
    """What a secret is for; it shows in its first letters, so that a leaked one is recognised."""

    ENROLMENT = "ske"
    API_KEY = "skk"
    SESSION = "sks"


def new_secret(kind: Kind) -> str:
    """Return a new secret, as in `ske_Zq…` (47 characters)."""
    return f"{kind.value}_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """Return what is kept of a secret: 64 hex digits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def hint_of(secret: str) -> str:
    """Return the few letters by which people tell secrets apart."""
    return secret[:8]


def parse_duration(text: str) -> timedelta:
    """Return `90s`, `30m`, `1h` or `7d` as a timedelta. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if not match or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m, 1h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
