"""The certificate authority: what it makes, keeps private, and refuses to sign."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from manager_api import tls
from manager_api.settings import Settings
from tests.manager_fixture import csr_for

AUTHORITY = tls._make_authority()


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    tls.ensure_server_certificate(settings, tls.open_authority(settings))
    tls.open_policy_key(settings)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_opens_the_same_authority_and_keys_again(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    first = tls.open_authority(settings)
    assert tls.open_authority(settings).fingerprint == first.fingerprint
    assert tls.public_pem(tls.open_policy_key(settings)) == tls.public_pem(tls.open_policy_key(settings))


def test_keeps_the_server_certificate_until_it_lacks_a_name(tmp_path: Path) -> None:
    authority = tls.open_authority(Settings(tmp_path))
    first = tls.ensure_server_certificate(Settings(tmp_path), authority)
    assert tls.ensure_server_certificate(Settings(tmp_path), authority) == first
    named = tls.ensure_server_certificate(Settings(tmp_path, names=("ips.example",)), authority)
    assert "ips.example" in tls.certificate_names(named)


def test_makes_a_new_server_certificate_when_the_authority_is_another(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    first = tls.ensure_server_certificate(settings, tls.open_authority(settings))
    settings.ca_key.unlink()
    assert tls.ensure_server_certificate(settings, tls.open_authority(settings)) != first


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["p256", "ed25519", "rsa2048"],
)
def test_signs_a_sound_key_under_the_appliance_id_whatever_was_asked(key: ec.EllipticCurvePrivateKey) -> None:
    certificate = AUTHORITY.sign_appliance(csr_for(key, "root"), "id-1")
    assert certificate.subject.rfc4514_string() == "CN=id-1"
    certificate.verify_directly_issued_by(AUTHORITY.certificate)


@pytest.mark.parametrize(
    ("reason", "key"),
    [
        ("1024 bits", rsa.generate_private_key(65537, 1024)),
        ("none of", ec.generate_private_key(ec.SECP192R1())),
        ("none of", dsa.generate_private_key(1024)),
    ],
    ids=["short-rsa", "short-curve", "dsa"],
)
def test_refuses_a_weak_key(reason: str, key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(tls.BadRequestForCertificate, match=reason):
        AUTHORITY.sign_appliance(csr_for(key), "id-1")


GOOD = csr_for(ec.generate_private_key(ec.SECP256R1()))


def test_refuses_every_prefix_of_a_good_request() -> None:
    for length in range(len(GOOD) - 1):
        with pytest.raises(tls.BadRequestForCertificate):
            AUTHORITY.sign_appliance(GOOD[:length], "id-1")


@given(st.text(max_size=200), st.integers(0, len(GOOD)))
def test_a_damaged_request_is_refused_or_signed_but_never_fails_otherwise(noise: str, at: int) -> None:
    try:
        AUTHORITY.sign_appliance(GOOD[:at] + noise + GOOD[at:], "id-1")
    except tls.BadRequestForCertificate:
        return
