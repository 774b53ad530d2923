"""Who the helper is to those who dial it: a key of its own, and a certificate of the manager's authority."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path

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

from appliance.durable import replace_file
from appliance.model.faults import PolicyError


def signing_request(directory: Path, names: Sequence[str]) -> str:
    """Return a request (PEM) for a certificate for names and addresses; the key is made if there is none.

    Raises OSError, ValueError.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / "key.pem"
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        replace_file(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PolicyError(f"{path}: no elliptic-curve key; move it away")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return (
        request.add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )


def keep(directory: Path, certificate: bytes, authority: bytes) -> None:
    """Keep what the manager signed. Raises PolicyError when it is for another key or of another authority."""
    try:
        ours, ca = x509.load_pem_x509_certificate(certificate), x509.load_pem_x509_certificate(authority)
        ours.verify_directly_issued_by(ca)
        key = load_pem_private_key((directory / "key.pem").read_bytes(), password=None)
    except FileNotFoundError:
        raise PolicyError(f"{directory}: there is no key; ask for a certificate first") from None
    except Exception as error:  # cryptography raises many kinds
        raise PolicyError(
            f"the certificate is not of this authority: {error or type(error).__name__}"
        ) from None
    if ours.public_key() != key.public_key():
        raise PolicyError("the certificate is for another key than this helper's")
    replace_file(directory / "ca.pem", authority)
    replace_file(directory / "certificate.pem", certificate)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
