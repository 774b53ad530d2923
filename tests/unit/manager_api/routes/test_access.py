"""Nothing is readable without a key, and each role may do what it may."""

import json

import pytest

from tests.manager_fixture import RunningManager

OPEN = {"/healthz/live", "/healthz/ready", "/api/v1/enrol", "/api/v1/ca"}


def test_every_path_but_health_and_enrolment_needs_a_key(manager: RunningManager) -> None:
    paths = manager.operator.get("/openapi.json").json()["paths"]
    tried = 0
    for path, methods in paths.items():
        if path in OPEN or not path.startswith("/api/"):
            continue
        concrete = path.removeprefix("/api/v1")
        for name in ("appliance", "guest", "name", "version", "event", "token", "key", "override", "host"):
            concrete = concrete.replace("{" + name + "}", "1")
        for method in methods:
            answer = manager.anyone.request(method, concrete, json={})
            assert answer.status_code == 401, (method, path)
            assert "www-authenticate" in answer.headers
            tried += 1
    assert tried > 30
    assert manager.anyone.get("/openapi.json").status_code == 401


def test_a_wrong_or_revoked_key_is_refused(manager: RunningManager) -> None:
    assert manager.client_with_key("skk_wrong").get("/events").status_code == 401
    made = manager.operator.post("/keys", json={"name": "leaked"}).json()
    client = manager.client_with_key(made["key"])
    assert client.get("/events").status_code == 200
    assert manager.operator.delete(f"/keys/{made['id']}").status_code == 204
    assert client.get("/events").status_code == 401


@pytest.mark.parametrize(
    ("role", "reads", "makes_tokens", "makes_keys"),
    [("viewer", 200, 403, 403), ("operator", 200, 201, 403), ("admin", 200, 201, 201)],
)
def test_a_role_may_do_what_it_may(
    manager: RunningManager, role: str, reads: int, makes_tokens: int, makes_keys: int
) -> None:
    client = manager.client_with_key(manager.cli("key", "create", role, "--role", role))
    assert client.get("/appliances").status_code == reads
    assert client.post("/tokens", json={}).status_code == makes_tokens
    assert client.post("/keys", json={"name": "x"}).status_code == makes_keys


def test_secrets_are_not_in_the_database(manager: RunningManager) -> None:
    token = manager.operator.post("/tokens", json={}).json()["token"]
    stored = b"".join(path.read_bytes() for path in manager.data_dir.glob("manager.sqlite*"))
    for secret in (token, manager.key, manager.password):
        assert secret
        assert secret.encode() not in stored


def test_the_log_and_answers_hold_no_secret(manager: RunningManager) -> None:
    log = (manager.data_dir.parent / "manager.log").read_text()
    assert manager.key not in log
    assert "PRIVATE KEY" not in log
    listed = manager.operator.get("/keys").text + manager.operator.get("/tokens").text
    assert '"key":null' in listed
    assert "skk_" not in json.dumps([k["key"] for k in manager.operator.get("/keys").json()])


def test_health_answers_without_a_key_and_says_nothing_else(manager: RunningManager) -> None:
    client = manager.anyone
    assert client.get(f"{manager.url}/healthz/live").json() == {"status": "live"}
    assert client.get(f"{manager.url}/healthz/ready").json() == {"status": "ready"}


def test_every_answer_carries_the_security_headers(manager: RunningManager) -> None:
    for answer in (
        manager.operator.get("/events"),
        manager.anyone.get("/events"),
        manager.anyone.get("/nothing"),
    ):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_every_route_is_described(manager: RunningManager) -> None:
    for path, methods in manager.operator.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (method, path)
            assert operation.get("description"), (method, path)
