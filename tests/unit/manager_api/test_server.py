"""The manager as a process: it stops cleanly, starts again with what it had, and serves several at once."""

import json
import socket
import ssl
import stat
import threading
from pathlib import Path

import httpx
import pytest

from tests.manager_fixture import RunningManager, running_manager
from tests.postgresql_fixture import running_postgresql
from tests.unit.manager_api.conftest import rules


def test_sigterm_answers_waiting_polls_and_exits_with_0(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager:
        appliance = manager.enrol("lab")
        version = json.loads(appliance.client.get("/policy").json()["document"])["version"]
        answers: list[int] = []
        poll = threading.Thread(
            target=lambda: answers.append(
                appliance.client.get("/policy", params={"after": version, "wait": 60}).status_code
            )
        )
        poll.start()
        manager.operator.get("/appliances").raise_for_status()
        assert manager.stop() == 0
        poll.join(10)
        assert answers == [204]
        assert "Traceback" not in (tmp_path / "manager.log").read_text()


def test_a_restart_keeps_keys_policies_and_events_and_shows_no_second_password(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager:
        appliance = manager.enrol("lab")
        manager.operator.put("/rule-sets/kept", json=rules(1)).raise_for_status()
        body = {"epoch": "e", "lane": "w-1", "first": 0, "events": [{}, {}]}
        appliance.client.post("/events", json=body).raise_for_status()
        before, password = manager.fingerprint, manager.password
        manager.process.kill()
        manager.restart()
        assert manager.fingerprint == before == manager.cli("fingerprint").removeprefix("sha256:")
        assert password
        assert "password" not in (tmp_path / "manager.out").read_text()
        assert appliance.client.post("/events", json=body).json() == {"stored": 0, "duplicate": 2}
        assert manager.operator.get("/rule-sets/kept").json()["version"] == 1


def test_private_files_are_readable_by_their_owner_only(manager: RunningManager) -> None:
    for name in ("ca.key", "server.key", "policy.key", "manager.sqlite"):
        assert stat.S_IMODE((manager.data_dir / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(manager.data_dir.stat().st_mode) == 0o700


def test_a_port_that_is_taken_is_named_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with (
            pytest.raises(RuntimeError, match=f"port {port}") as failure,
            running_manager(tmp_path, extra=["--appliance-port", port]),
        ):
            pass
    assert "Traceback" not in str(failure.value)


def test_a_database_that_cannot_be_used_is_named_without_a_traceback(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="database") as failure,
        running_manager(tmp_path, database_url="postgresql://nobody@127.0.0.1:1/none"),
    ):
        pass
    assert "Traceback" not in str(failure.value)


@pytest.mark.parametrize(
    "noise", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 70_000, bytes(range(256)) * 20]
)
def test_noise_on_either_port_disturbs_nobody(manager: RunningManager, noise: bytes) -> None:
    for port in (manager.port, manager.appliance_port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(noise)
    assert manager.anyone.get(f"{manager.url}/healthz/live").status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"POST /api/v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /api/v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/enrol HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x00\x01\x02 / HTTP/1.1\r\n\r\n",
        b"GET /%ff%00%2e%2e/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /static/%2e%2e/%2e%2e/settings.py HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_hostile_request_head_is_refused(manager: RunningManager, head: bytes) -> None:
    raw = socket.create_connection(("127.0.0.1", manager.port), timeout=20)
    with manager.trust().wrap_socket(raw, server_hostname="127.0.0.1") as connection:
        try:
            connection.sendall(head)
            answer = connection.recv(65_536)
        except (ssl.SSLError, ConnectionError):  # hung up on before all of it was sent
            answer = b""
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert manager.anyone.get(f"{manager.url}/healthz/live").status_code == 200


def test_two_managers_share_one_postgresql(tmp_path: Path) -> None:
    with running_postgresql() as url:
        first_dir, second_dir = tmp_path / "one", tmp_path / "two"
        first_dir.mkdir()
        second_dir.mkdir()
        with running_manager(first_dir, database_url=url + "postgres") as first:
            # One authority and one policy key for both, as an operator would copy them.
            (second_dir / "manager").mkdir()
            for name in ("ca.key", "ca.pem", "policy.key"):
                (second_dir / "manager" / name).write_bytes((first.data_dir / name).read_bytes())
            with running_manager(second_dir, database_url=url + "postgres") as second:
                assert second.password is None
                appliance = first.enrol("lab")
                second.operator.put("/rule-sets/shared", json=rules(1, 2)).raise_for_status()
                elsewhere = second.appliance_client(appliance.certificate, appliance.key)
                elsewhere.put("/status", json={"guests": [{"name": "web"}]}).raise_for_status()
                version = json.loads(appliance.client.get("/policy").json()["document"])["version"]
                answers: list[httpx.Response] = []
                poll = threading.Thread(
                    target=lambda: answers.append(
                        appliance.client.get("/policy", params={"after": version, "wait": 30})
                    )
                )
                poll.start()
                body = {"assignments": [{"rule_set": "shared", "mode": "prevent"}]}
                second.operator.put("/guests/web/assignments", json=body).raise_for_status()
                poll.join(25)
                assert json.loads(answers[0].json()["document"])["version"] == version + 1
                batch = {"epoch": "e", "lane": "w-1", "first": 0, "events": [{"event_type": "alert"}]}
                assert appliance.client.post("/events", json=batch).json()["stored"] == 1
                assert elsewhere.post("/events", json=batch).json()["duplicate"] == 1
