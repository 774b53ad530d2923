"""Registering hosts; what their helpers do is tests/netns/test_manager_hosts.py's."""

import time

import pytest

from manager_api.hosts.link import UNREACHED
from tests.manager_fixture import RunningManager


def test_a_host_is_registered_moved_and_forgotten(manager: RunningManager) -> None:
    put = manager.operator.put
    assert put("/hosts/kvm1", json={"address": "127.0.0.1", "port": 9}).status_code == 201
    moved = put("/hosts/kvm1", json={"address": "kvm1.invalid"})
    assert (moved.status_code, moved.json()["port"]) == (200, 8445)
    assert [each["address"] for each in manager.operator.get("/hosts").json()] == ["kvm1.invalid"]
    assert manager.operator.get("/hosts/kvm1").json()["guests"] == []
    assert manager.operator.delete("/hosts/kvm1").status_code == 204
    assert manager.operator.delete("/hosts/kvm1").status_code == 404
    actions = [e["action"] for e in manager.operator.get("/audit").json()["entries"]]
    assert actions[:3] == ["host.remove", "host.register", "host.register"]


@pytest.mark.parametrize(
    "address", ["", "a b", "kvm1/x", "-x", "kvm1\n", "x" * 256, "user@kvm1", "http://kvm1", "a" * 200 + "%"]
)
def test_what_is_no_address_is_refused(manager: RunningManager, address: str) -> None:
    assert manager.operator.put("/hosts/kvm1", json={"address": address}).status_code == 422


@pytest.mark.parametrize("address", ["kvm1", "kvm1.example.", "192.0.2.7", "2001:db8::7", "::1"])
def test_names_and_addresses_of_both_kinds_are_taken(manager: RunningManager, address: str) -> None:
    assert manager.operator.put("/hosts/kvm1", json={"address": address}).status_code in (200, 201)


def test_a_host_that_is_not_there_is_not_asked(manager: RunningManager) -> None:
    for path in ("/hosts/none", "/hosts/none/events"):
        assert manager.operator.get(path).status_code == 404
    assert manager.operator.post("/hosts/none/guests/shop/protect").status_code == 404


def test_a_helper_that_does_not_listen_is_told_in_words(manager: RunningManager) -> None:
    manager.operator.put("/hosts/kvm2", json={"address": "127.0.0.1", "port": 9}).raise_for_status()
    deadline = time.monotonic() + 10
    while (trouble := manager.operator.get("/hosts/kvm2").json()["trouble"]) == UNREACHED:
        assert time.monotonic() < deadline, trouble
        time.sleep(0.05)
    assert "nobody listens there" in trouble
    answer = manager.operator.post("/hosts/kvm2/guests/shop/protect")
    assert answer.status_code == 502 and "did not answer" in answer.json()["title"]


@pytest.mark.parametrize(("role", "registers", "protects"), [("viewer", 403, 403), ("operator", 403, 404)])
def test_only_operators_protect_and_only_admins_register(
    manager: RunningManager, role: str, registers: int, protects: int
) -> None:
    client = manager.client_with_key(manager.cli("key", "create", f"hosts-{role}", "--role", role))
    assert client.get("/hosts").status_code == 200
    assert client.put("/hosts/kvm3", json={"address": "kvm3"}).status_code == registers
    assert client.delete("/hosts/kvm3").status_code == registers
    assert client.post("/hosts/kvm3/guests/shop/protect").status_code == protects
