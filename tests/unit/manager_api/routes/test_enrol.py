"""Enrolment and the port that requires a certificate."""

import base64
import hashlib
import json
import ssl

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from manager_api import tls
from tests.manager_fixture import EnrolledAppliance, RunningManager, csr_for, private_pem


def csr() -> str:
    return csr_for(ec.generate_private_key(ec.SECP256R1()))


def token(manager: RunningManager, **body: object) -> str:
    made: str = manager.operator.post("/tokens", json={"for_s": 60, **body}).json()["token"]
    return made


def test_the_authority_is_readable_without_a_key_to_be_compared(manager: RunningManager) -> None:
    answer = manager.anyone.get("/ca")
    assert answer.status_code == 200
    assert tls.fingerprint_of(ssl.PEM_cert_to_DER_cert(answer.text)) == manager.fingerprint


def test_a_token_enrols_one_appliance_once(manager: RunningManager) -> None:
    secret = token(manager)
    first = manager.anyone.post("/enrol", json={"token": secret, "name": "once", "csr": csr()})
    again = manager.anyone.post("/enrol", json={"token": secret, "name": "twice", "csr": csr()})
    assert (first.status_code, again.status_code) == (201, 403)
    assert again.headers["content-type"] == "application/problem+json"
    assert "token" in again.json()["detail"]


def test_a_token_stays_usable_when_the_request_for_a_certificate_was_bad(manager: RunningManager) -> None:
    secret = token(manager)
    bad = manager.anyone.post("/enrol", json={"token": secret, "name": "later", "csr": "nonsense"})
    good = manager.anyone.post("/enrol", json={"token": secret, "name": "later", "csr": csr()})
    assert (bad.status_code, good.status_code) == (422, 201)
    assert "csr" in bad.json()["detail"]


def test_refuses_a_name_that_is_taken_unless_the_token_is_for_it(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    taken = manager.anyone.post("/enrol", json={"token": token(manager), "name": "lab", "csr": csr()})
    assert taken.status_code == 409
    elsewhere = manager.anyone.post(
        "/enrol", json={"token": token(manager, appliance="lab"), "name": "other", "csr": csr()}
    )
    assert elsewhere.status_code == 403


def test_enrolling_again_keeps_the_appliance_and_ends_its_old_certificate(manager: RunningManager) -> None:
    first = manager.enrol("again")
    second = manager.enrol("again", token(manager, appliance="again"))
    assert second.id == first.id
    assert first.client.get("/policy").status_code == 403
    assert second.client.get("/policy").status_code == 200


def test_the_appliance_port_closes_on_a_client_without_our_certificate(
    manager: RunningManager, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("stranger")
    key = ec.generate_private_key(ec.SECP256R1())
    stranger = tls._make_authority().sign_appliance(csr_for(key), "stranger")
    (directory / "key").write_bytes(private_pem(key))
    (directory / "pem").write_bytes(stranger.public_bytes(tls.Encoding.PEM))
    bare = httpx.Client(base_url=manager.appliance_url, verify=manager.trust())
    other = manager.appliance_client(directory / "pem", directory / "key")
    for client in (bare, other):
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            client.get("/api/v1/appliance/policy")


def test_a_revoked_appliance_gets_403(manager: RunningManager) -> None:
    enrolled = manager.enrol("revoked")
    assert manager.operator.delete("/appliances/revoked").status_code == 204
    answer = enrolled.client.get("/policy")
    assert answer.status_code == 403
    assert "enrol again" in answer.json()["detail"]


def test_the_policy_is_signed_with_the_key_handed_out_at_enrolment(appliance: EnrolledAppliance) -> None:
    answer = appliance.client.get("/policy").json()
    assert hashlib.sha256(answer["document"].encode()).hexdigest() == answer["digest"]
    key = load_pem_public_key(appliance.policy_key.encode())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(answer["signature"]), answer["digest"].encode())
    assert json.loads(answer["document"])["version"] >= 1


def test_a_renewed_certificate_works_beside_the_old_one(
    manager: RunningManager, tmp_path_factory: pytest.TempPathFactory
) -> None:
    enrolled = manager.enrol("renewing")
    directory = tmp_path_factory.mktemp("renewed")
    key = ec.generate_private_key(ec.SECP256R1())
    renewed = enrolled.client.post("/renew", json={"csr": csr_for(key)}).json()
    (directory / "key").write_bytes(private_pem(key))
    (directory / "pem").write_text(renewed["certificate"])
    client = manager.appliance_client(directory / "pem", directory / "key")
    assert client.get("/policy").status_code == enrolled.client.get("/policy").status_code == 200


def test_slows_down_those_who_guess_tokens(manager: RunningManager) -> None:
    answers = [
        manager.anyone.post("/enrol", json={"token": f"ske_{n}", "name": "guess", "csr": csr()})
        for n in range(15)
    ]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0
