"""People, their sessions, API keys and enrolment tokens."""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session as Db

from manager_api.domain.secrets import Kind, digest_of, hint_of, new_secret
from manager_api.store.models import ApiKey, Session, Token, User

SESSION_LIFETIME = timedelta(hours=12)
KEPT_AFTER_END = timedelta(days=30)
# Writing down each use of a key would make every read a write.
USE_NOTED_EVERY = timedelta(minutes=1)


def add_key(db: Db, name: str, role: str, now: datetime, actor: str) -> tuple[ApiKey, str]:
    """Make an API key; return it with its secret, which is not kept."""
    secret = new_secret(Kind.API_KEY)
    key = ApiKey(
        name=name, role=role, digest=digest_of(secret), hint=hint_of(secret), created_at=now, created_by=actor
    )
    db.add(key)
    db.flush()
    return key, secret


def key_by_secret(db: Db, secret: str) -> ApiKey | None:
    """Return the key of that secret, unless it is revoked."""
    query = select(ApiKey).where(ApiKey.digest == digest_of(secret), ApiKey.revoked_at.is_(None))
    return db.scalars(query).one_or_none()


def keys(db: Db) -> list[ApiKey]:
    """Return all keys, newest first."""
    return list(db.scalars(select(ApiKey).order_by(ApiKey.id.desc())))


def note_use(db: Db, key_id: int, now: datetime) -> None:
    """Write down that the key was used."""
    db.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))


def add_token(
    db: Db, lifetime: timedelta, appliance: str | None, now: datetime, actor: str
) -> tuple[Token, str]:
    """Make an enrolment token; return it with its secret, which is not kept."""
    secret = new_secret(Kind.ENROLMENT)
    token = Token(
        digest=digest_of(secret), hint=hint_of(secret), appliance=appliance,
        created_at=now, created_by=actor, expires_at=now + lifetime,
    )  # fmt: skip
    db.add(token)
    db.flush()
    return token, secret


def use_token(db: Db, secret: str, now: datetime) -> Token | None:
    """Use up the token of that secret; None if it is unknown, used or over. Two cannot use one."""
    valid = (Token.digest == digest_of(secret)) & Token.used_at.is_(None) & (Token.expires_at > now)
    query = update(Token).where(valid).values(used_at=now).returning(Token.id)
    used = db.execute(query).scalar_one_or_none()
    return None if used is None else db.get(Token, used)


def tokens(db: Db) -> list[Token]:
    """Return all tokens that are remembered, newest first."""
    return list(db.scalars(select(Token).order_by(Token.id.desc()).limit(100)))


def user_by_name(db: Db, name: str) -> User | None:
    """Return the person of that name who may log in."""
    return db.scalars(select(User).where(User.name == name, User.disabled_at.is_(None))).one_or_none()


def set_password(db: Db, name: str, role: str, password_hash: str, now: datetime) -> bool:
    """Make the person, or give the one there is this password and role; return whether one was made.

    Sessions that the person has end.
    """
    user = db.scalars(select(User).where(User.name == name)).one_or_none()
    if user is None:
        db.add(User(name=name, role=role, password_hash=password_hash, created_at=now))
        return True
    user.password_hash, user.role, user.disabled_at = password_hash, role, None
    db.execute(delete(Session).where(Session.user_id == user.id))
    return False


def has_people(db: Db) -> bool:
    """Whether anyone may log in."""
    return bool(db.scalar(select(func.count()).select_from(User)))


def add_session(db: Db, user: User, now: datetime) -> str:
    """Begin a session; return its secret, which is not kept."""
    secret = new_secret(Kind.SESSION)
    csrf = digest_of(new_secret(Kind.SESSION))
    db.add(
        Session(
            digest=digest_of(secret),
            user_id=user.id,
            csrf=csrf,
            created_at=now,
            expires_at=now + SESSION_LIFETIME,
        )
    )
    return secret


def session_by_secret(db: Db, secret: str, now: datetime) -> tuple[Session, User] | None:
    """Return the session with its person, unless either is over."""
    query = (
        select(Session, User)
        .join(User, User.id == Session.user_id)
        .where(Session.digest == digest_of(secret), Session.expires_at > now, User.disabled_at.is_(None))
    )
    row = db.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def end_session(db: Db, secret: str) -> None:
    """End the session of that secret."""
    db.execute(delete(Session).where(Session.digest == digest_of(secret)))


def prune(db: Db, now: datetime) -> None:
    """Forget sessions that ended and tokens that ended long ago."""
    db.execute(delete(Session).where(Session.expires_at <= now))
    db.execute(delete(Token).where(Token.expires_at <= now - KEPT_AFTER_END))
