"""Who this appliance is to its manager: a key of its own, a certificate, and the keys it trusts.

Kept in STATE/identity by `enrolment`; the private key is 0600 and never leaves.
"""

import hashlib
import ssl
from base64 import b64decode
from binascii import Error as Base64Error
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.model.faults import PolicyError, SystemFault

ED25519 = bytes.fromhex("302a300506032b6570032100")
"""What the 32 bytes of such a public key follow in its DER. Source: RFC 8410, 4."""


class EnrolAnswer(msgspec.Struct, frozen=True):
    """What the manager gives to a new appliance."""

    appliance_id: str
    certificate: str
    ca: str
    policy_key: str
    appliance_url: str


class Identity(msgspec.Struct, frozen=True):
    """An enrolled appliance: where its files are, and whom it trusts."""

    directory: Path
    appliance_id: str
    appliance_url: str
    policy_key: Ed25519PublicKey

    def tls(self) -> ssl.SSLContext:
        """Return the TLS context that shows our certificate and trusts the manager's CA alone."""
        return tls_of(self.directory)

    def verify_policy(self, digest: str, signature: str) -> None:
        """Check the manager's signature over a policy's digest. Raises PolicyError."""
        try:
            self.policy_key.verify(b64decode(signature, validate=True), digest.encode("ascii"))
        except (InvalidSignature, Base64Error, ValueError):
            raise PolicyError(
                "the policy is not signed by the manager that this appliance enrolled with"
            ) from None


def tls_of(directory: Path) -> ssl.SSLContext:
    """Return the TLS context that shows the directory's certificate and trusts its authority alone.

    Raises OSError, before enrolment too.
    """
    context = trusting((directory / "ca.pem").read_text())
    context.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
    return context


def load_identity(directory: Path) -> Identity | None:
    """Return the identity that enrolment left, or None before enrolment. Raises SystemFault when broken."""
    try:
        answer = msgspec.json.decode((directory / "identity.json").read_bytes(), type=EnrolAnswer)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise SystemFault(broken(directory, str(error))) from None
    try:
        key = _public_key(answer.policy_key)
    except ValueError as error:
        raise SystemFault(broken(directory, f"policy key: {error}")) from None
    if urlsplit(answer.appliance_url).scheme != "https":
        raise SystemFault(broken(directory, "the manager's address is no https:// address"))
    return Identity(directory, answer.appliance_id, answer.appliance_url.rstrip("/"), key)


def _public_key(pem: str) -> Ed25519PublicKey:
    """Return the key of this one kind. Raises ValueError.

    What reads any PEM brings all ciphers and SSH's formats along, a noticeable part of a start.
    """
    der = b64decode("".join(pem.split("-----")[2:3]))
    if not der.startswith(ED25519):
        raise ValueError("no Ed25519 key")
    return Ed25519PublicKey.from_public_bytes(der.removeprefix(ED25519))


def trusting(ca: str) -> ssl.SSLContext:
    """Return a TLS context that trusts this authority alone (PEM)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca)
    return context


def broken(directory: Path, why: str) -> str:
    """Return in a sentence what to do with an identity that cannot be used."""
    return f"{directory}: {why}; move the directory away and enrol again with a new token"


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of the bytes, hex."""
    return hashlib.sha256(content).hexdigest()
