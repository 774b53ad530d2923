"""How an appliance becomes known to its manager, once.

The private key is made here, is 0600 and never leaves. Enrolment trusts nothing but the fingerprint an
operator copied: the CA certificate is fetched without trust, compared with the fingerprint, and only then is
a verified connection made, over which the one-time token goes.
"""

import hmac
import ssl
from pathlib import Path

import httpx
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from appliance.config import ManagerConfig, fingerprint_hex
from appliance.durable import replace_file
from appliance.model.faults import PolicyError, SystemFault
from appliance.reporting.client import problem_text
from appliance.reporting.identity import EnrolAnswer, Identity, broken, load_identity, trusting

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 64 * 1024


async def enrol(config: ManagerConfig, directory: Path) -> Identity:
    """Enrol with the one-time token and keep what the manager gives.

    Raises SystemFault when the manager cannot be reached (trying again may help) and PolicyError when it
    refuses or is not the one whose fingerprint was configured (trying again will not).
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    token = _token(config)
    ca = await _pinned_ca(config)
    request = {"token": token, "name": config.name, "csr": _signing_request(directory, config.name)}
    async with httpx.AsyncClient(verify=trusting(ca), timeout=TIMEOUT_S, trust_env=False) as client:
        try:
            response = await client.post(f"{config.url.rstrip('/')}/api/v1/enrol", json=request)
        except httpx.HTTPError as error:
            raise SystemFault(f"{config.url}: enrolment: {error or type(error).__name__}") from None
    if response.status_code >= 500 or response.status_code == 429:
        raise SystemFault(f"{config.url}: enrolment: the manager answers {response.status_code}")
    if response.status_code not in (200, 201):
        raise PolicyError(f"{config.url}: enrolment refused: {problem_text(response)}")
    return _keep(config, directory, ca, response.content)


async def _pinned_ca(config: ManagerConfig) -> str:
    """Return the manager's CA certificate (PEM) if it is the one whose fingerprint was configured."""
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
        raise SystemFault(broken(directory, "key.pem is no elliptic-curve key"))
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
