"""Where the manager keeps its things, and the bounds it works within."""

from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a peer may make the manager hold or do; bytes, seconds and counts."""

    body_bytes: int = MEBIBYTE
    rule_set_bytes: int = 64 * MEBIBYTE
    events_bytes: int = 16 * MEBIBYTE
    events_per_batch: int = 5_000
    event_bytes: int = 256 * 1024
    body_timeout_s: float = 60.0
    poll_max_s: float = 60.0
    streams: int = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """One manager. The data directory holds the database (unless a URL names another) and the keys."""

    data_dir: Path
    database_url: str | None = None
    listen: str = "127.0.0.1"
    port: int = 8443
    appliance_port: int = 8444
    names: tuple[str, ...] = ()
    events_max: int = 5_000_000
    events_max_age_days: float = 90.0
    limits: Limits = Limits()

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'manager.sqlite'}"

    @property
    def ca_key(self) -> Path:
        """The certificate authority's private key, PEM."""
        return self.data_dir / "ca.key"

    @property
    def ca_certificate(self) -> Path:
        """The certificate authority's certificate, PEM."""
        return self.data_dir / "ca.pem"

    @property
    def server_key(self) -> Path:
        """The server's private key, PEM."""
        return self.data_dir / "server.key"

    @property
    def server_certificate(self) -> Path:
        """The server's certificate, PEM."""
        return self.data_dir / "server.pem"

    @property
    def client_key(self) -> Path:
        """The private key that hosts' helpers are dialled with, PEM."""
        return self.data_dir / "client.key"

    @property
    def client_certificate(self) -> Path:
        """The certificate that hosts' helpers are dialled with, PEM."""
        return self.data_dir / "client.pem"

    @property
    def policy_key(self) -> Path:
        """The Ed25519 private key that policy documents are signed with, PEM."""
        return self.data_dir / "policy.key"
