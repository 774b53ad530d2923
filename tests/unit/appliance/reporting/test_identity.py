"""Enrolment against a real manager: pinned, once, and nothing sent to a stranger."""

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.config import ManagerConfig
from appliance.model.faults import PolicyError, SystemFault
from appliance.reporting.client import ManagerClient
from appliance.reporting.enrolment import enrol
from appliance.reporting.identity import load_identity
from tests.manager_fixture import RunningManager, running_manager


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


def config_for(manager: RunningManager, **changes: str | None) -> ManagerConfig:
    token = manager.operator.post("/tokens", json={"for_s": 60}).json()["token"]
    settings = {"url": manager.url, "ca_fingerprint": f"sha256:{manager.fingerprint}", "token": token}
    return ManagerConfig(**{**settings, **changes})  # type: ignore[arg-type]


def test_enrols_once_and_then_speaks_with_its_certificate(manager: RunningManager, tmp_path: Path) -> None:
    async def scenario() -> None:
        identity = await enrol(config_for(manager, name="first"), tmp_path / "identity")
        assert load_identity(tmp_path / "identity") == identity
        client = ManagerClient.of(identity)
        signed = await client.policy(after=0, wait_s=0)
        assert signed is not None
        assert signed.verified(identity).version == 1
        assert await client.policy(after=1, wait_s=0) is None
        await client.close()

    asyncio.run(scenario())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "identity").iterdir()}
    assert modes["key.pem"] == 0o600
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o700


def test_another_authority_is_refused_and_the_token_not_used_up(
    manager: RunningManager, tmp_path: Path
) -> None:
    stranger = config_for(manager, ca_fingerprint="ab" * 32, name="second")
    with pytest.raises(PolicyError, match="someone stands between; nothing was sent"):
        asyncio.run(enrol(stranger, tmp_path / "a"))
    right = ManagerConfig(
        url=stranger.url, ca_fingerprint=manager.fingerprint, token=stranger.token, name="second"
    )
    asyncio.run(enrol(right, tmp_path / "b"))


def test_used_token_is_refused_with_the_managers_reason(manager: RunningManager, tmp_path: Path) -> None:
    config = config_for(manager, name="third")
    asyncio.run(enrol(config, tmp_path / "a"))
    with pytest.raises(PolicyError, match=r"403 .*token is not valid"):
        asyncio.run(enrol(config, tmp_path / "b"))


def test_missing_token_file_is_named(manager: RunningManager, tmp_path: Path) -> None:
    config = config_for(manager, token=None, token_file=str(tmp_path / "none"))
    with pytest.raises(PolicyError, match=r"token_file: .*none: no such file"):
        asyncio.run(enrol(config, tmp_path / "a"))


def test_manager_that_is_away_is_a_fault_that_may_pass(manager: RunningManager, tmp_path: Path) -> None:
    with pytest.raises(SystemFault, match=r"127\.0\.0\.1:1"):
        asyncio.run(enrol(config_for(manager, url="https://127.0.0.1:1"), tmp_path / "a"))


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b'{"appliance_id": 1}'])
def test_broken_identity_says_the_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(content)
    with pytest.raises(SystemFault, match="enrol again with a new token"):
        load_identity(tmp_path)


def test_policy_that_was_changed_on_its_way_is_refused(manager: RunningManager, tmp_path: Path) -> None:
    async def scenario() -> None:
        identity = await enrol(config_for(manager, name="fourth"), tmp_path / "identity")
        client = ManagerClient.of(identity)
        signed = await client.policy(after=0, wait_s=0)
        await client.close()
        assert signed is not None
        changed = signed.document.replace('"version":1', '"version":2')
        assert changed != signed.document
        with pytest.raises(PolicyError, match="does not match its digest"):
            type(signed)(changed, signed.digest, signed.signature).verified(identity)
        from appliance.reporting.identity import digest_of

        digest = digest_of(changed.encode())
        for signature in (signed.signature, "", "!!", "AAAA"):
            with pytest.raises(PolicyError, match="not signed by the manager"):
                type(signed)(changed, digest, signature).verified(identity)

    asyncio.run(scenario())


def test_a_policy_key_that_is_none_is_refused_and_says_what_to_do(
    manager: RunningManager, tmp_path: Path
) -> None:
    asyncio.run(enrol(config_for(manager, name="sixth"), tmp_path / "identity"))
    path = tmp_path / "identity" / "identity.json"
    good = json.loads(path.read_text())
    _, begin, key, end, _ = good["policy_key"].split("-----")
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    elliptic = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    cut = f"-----{begin}-----{key[:-9]}\n-----{end}-----\n"
    for bad in ("", "-----", cut, elliptic):
        path.write_text(json.dumps({**good, "policy_key": bad}))
        with pytest.raises(SystemFault, match=r"policy key: .*enrol again with a new token"):
            load_identity(tmp_path / "identity")
