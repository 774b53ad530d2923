"""Who this appliance is to its manager: a key of its own, a certificate, and the keys it trusts.

Kept in STATE/identity; the private key is made here, is 0600 and never leaves. Enrolment trusts nothing but
the fingerprint an operator copied: the CA certificate is fetched without trust, compared with the
fingerprint, and only then is a verified connection made, over which the one-time token goes.
"""

import hashlib
import hmac
import ssl
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID

from appliance.config import ManagerConfig, fingerprint_hex
from appliance.durable import replace_file
from appliance.model.faults import PolicyError, SystemFault

if TYPE_CHECKING:
    import httpx  # imported when a manager is dialled: the rules stand before

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 64 * 1024


class EnrolAnswer(msgspec.Struct, frozen=True):
    """What the manager gives to a new appliance."""

    appliance_id: str
    certificate: str
    ca: str
    policy_key: str
    appliance_url: str


@dataclass(frozen=True, slots=True)
class Identity:
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
    context = _trusting((directory / "ca.pem").read_text())
    context.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
    return context


def load_identity(directory: Path) -> Identity | None:
    """Return the identity that enrolment left, or None before enrolment. Raises SystemFault when broken."""
    try:
        answer = msgspec.json.decode((directory / "identity.json").read_bytes(), type=EnrolAnswer)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise SystemFault(_broken(directory, str(error))) from None
    try:
        key = load_pem_public_key(answer.policy_key.encode())
    except ValueError as error:
        raise SystemFault(_broken(directory, f"policy key: {error}")) from None
    if not isinstance(key, Ed25519PublicKey):
        raise SystemFault(_broken(directory, "the policy key is no Ed25519 key"))
    if urlsplit(answer.appliance_url).scheme != "https":
        raise SystemFault(_broken(directory, "the manager's address is no https:// address"))
    return Identity(directory, answer.appliance_id, answer.appliance_url.rstrip("/"), key)


async def enrol(config: ManagerConfig, directory: Path) -> Identity:
    """Enrol with the one-time token and keep what the manager gives.

    Raises SystemFault when the manager cannot be reached (trying again may help) and PolicyError when it
    refuses or is not the one whose fingerprint was configured (trying again will not).
    """
    import httpx

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    token = _token(config)
    ca = await _pinned_ca(config)
    request = {"token": token, "name": config.name, "csr": _signing_request(directory, config.name)}
    async with httpx.AsyncClient(verify=_trusting(ca), timeout=TIMEOUT_S, trust_env=False) as client:
        try:
            response = await client.post(f"{config.url.rstrip('/')}/api/v1/enrol", json=request)
        except httpx.HTTPError as error:
            raise SystemFault(f"{config.url}: enrolment: {error or type(error).__name__}") from None
    if response.status_code >= 500 or response.status_code == 429:
        raise SystemFault(f"{config.url}: enrolment: the manager answers {response.status_code}")
    if response.status_code not in (200, 201):
        raise PolicyError(f"{config.url}: enrolment refused: {problem_text(response)}")
    return _keep(config, directory, ca, response.content)


def problem_text(response: "httpx.Response") -> str:
    """Return what an error answer says for people, at most a few hundred characters of it."""
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.MsgspecError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return f"status {response.status_code}"
    texts = [body[key] for key in ("title", "detail") if isinstance(body.get(key), str)]
    return f"{response.status_code} {': '.join(texts)}"[:500]


async def _pinned_ca(config: ManagerConfig) -> str:
    """Return the manager's CA certificate (PEM) if it is the one whose fingerprint was configured."""
    import httpx

    untrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    untrusting.check_hostname = False
    untrusting.verify_mode = ssl.CERT_NONE
    url = f"{config.url.rstrip('/')}/api/v1/ca"
    try:
        async with httpx.AsyncClient(verify=untrusting, timeout=TIMEOUT_S, trust_env=False) as client:
            response = await client.get(url)
            response.raise_for_status()
    except httpx.HTTPError as error:
        raise SystemFault(f"{url}: {error or type(error).__name__}") from None
    try:
        certificate = x509.load_pem_x509_certificate(response.content[:MAX_ANSWER_BYTES])
    except ValueError:
        raise SystemFault(f"{url}: the answer is no certificate") from None
    found = certificate.fingerprint(hashes.SHA256()).hex()
    wanted = fingerprint_hex(config.ca_fingerprint)
    if not hmac.compare_digest(found, wanted):
        raise PolicyError(
            f"{config.url}: its CA has the fingerprint {found}, not the configured manager.ca_fingerprint "
            f"{wanted}; either this is another manager, or someone stands between; nothing was sent"
        )
    return certificate.public_bytes(Encoding.PEM).decode()


def _trusting(ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca)
    return context


def _token(config: ManagerConfig) -> str:
    if config.token_file is not None:
        try:
            token = Path(config.token_file).read_text().strip()
        except FileNotFoundError:
            raise PolicyError(f"manager.token_file: {config.token_file}: no such file") from None
    else:
        token = config.token or ""
    if not token or len(token) > 200:
        raise PolicyError(
            "this appliance is not enrolled: manager.token or manager.token_file must hold a token"
        )
    return token


def _signing_request(directory: Path, name: str) -> str:
    """Return a PEM signing request for our key, which is made when there is none yet."""
    path = directory / "key.pem"
    if path.exists():
        key = load_pem_private_key(path.read_bytes(), password=None)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        replace_file(path, pem, mode=0o600)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SystemFault(_broken(directory, "key.pem is no elliptic-curve key"))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def _keep(config: ManagerConfig, directory: Path, ca: str, content: bytes) -> Identity:
    try:
        answer = msgspec.json.decode(content, type=EnrolAnswer)
        x509.load_pem_x509_certificate(answer.certificate.encode())
    except (msgspec.MsgspecError, ValueError) as error:
        raise SystemFault(f"{config.url}: enrolment: the answer cannot be used: {error}") from None
    replace_file(directory / "ca.pem", ca.encode())
    replace_file(directory / "certificate.pem", answer.certificate.encode())
    # Last, because its presence says that the identity is whole.
    replace_file(directory / "identity.json", content, mode=0o600)
    identity = load_identity(directory)
    assert identity is not None
    return identity


def _broken(directory: Path, why: str) -> str:
    return f"{directory}: {why}; move the directory away and enrol again with a new token"


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of the bytes, hex."""
    return hashlib.sha256(content).hexdigest()
