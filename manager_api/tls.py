"""The manager's certificate authority: made at the first start, it signs the server and every appliance.

The appliance pins the authority by fingerprint when it enrols, so no public authority is involved and no
certificate has to be installed by hand. Names in certificates are what a client dialled, nothing else is
trusted in a request for a certificate.
"""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from manager_api.files import write_private
from manager_api.settings import Settings

CA_LIFETIME = timedelta(days=20 * 365)
SERVER_LIFETIME = timedelta(days=397)
APPLIANCE_LIFETIME = timedelta(days=3 * 365)
RENEW_BEFORE = timedelta(days=60)
CLOCK_SKEW = timedelta(hours=1)
MAX_CSR_BYTES = 16 * 1024
MANAGER_NAME = "sekisho-manager"
"""In its certificates; no appliance has it, whose names are ids that the manager made."""


class BadRequestForCertificate(ValueError):
    """A certificate signing request that is not signed; the message says why."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The certificate authority, ready to sign."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate's DER, 64 hex digits."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def sign_appliance(self, csr_pem: str, appliance_id: str) -> x509.Certificate:
        """Return a client certificate for the request's key; its name is appliance_id, whatever was asked.

        Raises BadRequestForCertificate.
        """
        public_key = _checked_public_key(csr_pem)
        return (
            self._builder(appliance_id, APPLIANCE_LIFETIME)
            .public_key(public_key)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def sign_host(self, csr_pem: str, names: Iterable[str]) -> x509.Certificate:
        """Return a server certificate for the request's key: a host helper's, valid for these names alone.

        Raises BadRequestForCertificate.
        """
        names = list(names)
        return (
            self._builder(names[0], APPLIANCE_LIFETIME)
            .public_key(_checked_public_key(csr_pem))
            .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def sign_server(self, key: ec.EllipticCurvePrivateKey, names: Iterable[str]) -> x509.Certificate:
        """Return a server certificate for key, valid for the names and addresses."""
        return (
            self._builder(MANAGER_NAME, SERVER_LIFETIME)
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def sign_client(self, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        """Return the manager's own client certificate for key, which hosts' helpers know it by."""
        return (
            self._builder(MANAGER_NAME, SERVER_LIFETIME)
            .public_key(key.public_key())
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def _builder(self, common_name: str, lifetime: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self.certificate.subject)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(min(now + lifetime, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )


def fingerprint_of(der: bytes) -> str:
    """Return the SHA-256 of a certificate's DER as 64 hex digits."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex()


def open_authority(settings: Settings) -> Authority:
    """Return the authority in the data directory, made there if it has none. Raises OSError, ValueError."""
    if settings.ca_key.exists():
        key = load_pem_private_key(settings.ca_key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{settings.ca_key}: not an elliptic-curve private key")
        return Authority(key, x509.load_pem_x509_certificate(settings.ca_certificate.read_bytes()))
    authority = _make_authority()
    # The certificate first: the key's presence says that the pair is complete.
    write_private(settings.ca_certificate, authority.pem.encode())
    write_private(settings.ca_key, _private_pem(authority.key))
    return authority


def ensure_server_certificate(settings: Settings, authority: Authority) -> x509.Certificate:
    """Return the server's certificate; made anew when missing, near its end, or lacking a name.

    Raises OSError, ValueError.
    """
    wanted = server_names(settings)
    return _ensure(
        settings.server_key,
        settings.server_certificate,
        authority,
        lambda key: authority.sign_server(key, wanted),
        lambda certificate: set(wanted) <= set(certificate_names(certificate)),
    )


def ensure_client_certificate(settings: Settings, authority: Authority) -> x509.Certificate:
    """Return the manager's client certificate; made anew when missing or near its end.

    Raises OSError, ValueError.
    """
    return _ensure(
        settings.client_key, settings.client_certificate, authority, authority.sign_client, lambda _: True
    )


def _ensure(
    key_path: Path,
    certificate_path: Path,
    authority: Authority,
    sign: Callable[[ec.EllipticCurvePrivateKey], x509.Certificate],
    suits: Callable[[x509.Certificate], bool],
) -> x509.Certificate:
    if key_path.exists() and certificate_path.exists():
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        fresh = certificate.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE
        ours = certificate.issuer == authority.certificate.subject and _signed_by(certificate, authority)
        if fresh and ours and suits(certificate):
            return certificate
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign(key)
    write_private(certificate_path, certificate.public_bytes(Encoding.PEM))
    write_private(key_path, _private_pem(key))
    return certificate


def server_names(settings: Settings) -> list[str]:
    """Return the names and addresses the server's certificate must hold."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *settings.names]
    if settings.listen not in ("0.0.0.0", "::"):
        names.append(settings.listen)
    return list(dict.fromkeys(n for n in names if n))


def certificate_names(certificate: x509.Certificate) -> list[str]:
    """Return the certificate's DNS names and addresses as text."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    ]


def people_context(settings: Settings) -> ssl.SSLContext:
    """Return the TLS settings of the port for people: no client certificate asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.server_certificate, settings.server_key)
    return context


def appliance_context(settings: Settings) -> ssl.SSLContext:
    """Return the TLS settings of the port for appliances: a certificate of our authority is required."""
    context = people_context(settings)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(settings.ca_certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def helper_context(settings: Settings) -> ssl.SSLContext:
    """Return the TLS settings to dial a helper with: only our authority is believed. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(settings.ca_certificate)
    context.load_cert_chain(settings.client_certificate, settings.client_key)
    return context


def _make_authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    # A fresh name each time: OpenSSL finds issuers by name, and two authorities of one name confuse it.
    name = _name(f"Sekisho manager {x509.random_serial_number() & 0xFFFFFFFF:08x}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False, content_commitment=False, key_encipherment=False,
                data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    return Authority(key, certificate)


def _checked_public_key(
    csr_pem: str,
) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey:
    if len(csr_pem) > MAX_CSR_BYTES:
        raise BadRequestForCertificate(f"it is longer than {MAX_CSR_BYTES} bytes")
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        public_key = csr.public_key()
        valid = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise BadRequestForCertificate("it is not a PEM certificate signing request") from error
    if not valid:
        raise BadRequestForCertificate("its signature was not made by its own key")
    match public_key:
        case ec.EllipticCurvePublicKey() if isinstance(public_key.curve, ec.SECP256R1 | ec.SECP384R1):
            return public_key
        case ed25519.Ed25519PublicKey():
            return public_key
        case rsa.RSAPublicKey() if 2048 <= public_key.key_size <= 8192:
            return public_key
        case rsa.RSAPublicKey():
            raise BadRequestForCertificate(f"its RSA key has {public_key.key_size} bits, not 2048 to 8192")
    raise BadRequestForCertificate("its key is none of ECDSA P-256 or P-384, Ed25519, RSA")


def _signed_by(certificate: x509.Certificate, authority: Authority) -> bool:
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def open_policy_key(settings: Settings) -> ed25519.Ed25519PrivateKey:
    """Return the policy-signing key, made if there is none. Raises OSError, ValueError."""
    if settings.policy_key.exists():
        key = load_pem_private_key(settings.policy_key.read_bytes(), password=None)
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise ValueError(f"{settings.policy_key}: not an Ed25519 private key")
        return key
    made = ed25519.Ed25519PrivateKey.generate()
    write_private(settings.policy_key, _private_pem(made))
    return made


def public_pem(key: ed25519.Ed25519PrivateKey) -> str:
    """Return the key's public half as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
