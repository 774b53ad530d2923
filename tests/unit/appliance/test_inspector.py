"""The inspector's socket: what control may say, and that nothing else harms it.

The engine is replaced by one that accepts any policy: queues need root and a namespace, and the namespace
tests have both.
"""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

from appliance import _engine
from appliance.control.protocol import MAX_REQUEST_BYTES, decode_request
from appliance.inspector import Server, _listen
from appliance.model.faults import SystemFault


class Engine:
    def load(self, path: str, *, try_first: bool = False) -> str:
        if path == "refused":
            raise _engine.PolicyError("line 3: no")
        return json.dumps({"version": 1})

    def stats(self) -> str:
        return "{}"


class Source:
    starts = 0

    def check(self, policy_path: Path) -> None:
        if policy_path.name == "broken":
            raise SystemFault("the kernel says no")

    def start(self) -> None:
        self.starts += 1


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Path]]:
    monkeypatch.setattr("appliance.inspector.die_with_parent", lambda _pid: None)
    path = tmp_path / "inspector.sock"
    made = Server(_listen(path), Engine(), Source(), parent_pid=1)  # type: ignore[arg-type]
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made, path
    if not made.stopping:
        ask(path, b'{"do": "stop"}\n')
    thread.join(10)
    assert not thread.is_alive()


def ask(path: Path, *lines: bytes) -> list[dict[str, object]]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"".join(lines))
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            return [json.loads(answer) for answer in answers]


def test_socket_is_its_owners_alone(server: tuple[Server, Path]) -> None:
    assert server[1].stat().st_mode & 0o777 == 0o600


def test_queues_are_bound_once_and_only_after_a_policy_was_compiled(server: tuple[Server, Path]) -> None:
    made, path = server
    assert ask(path, b'{"do": "ping"}\n') == [{"ok": True, "report": {"started": False}}]
    assert ask(path, b'{"do": "load", "path": "refused"}\n') == [{"ok": False, "error": "line 3: no"}]
    assert ask(path, b'{"do": "load", "path": "broken"}\n') == [{"ok": False, "error": "the kernel says no"}]
    assert not made.started
    load = b'{"do": "load", "path": "good"}\n'
    assert [answer["ok"] for answer in ask(path, load, load, b'{"do": "stats"}\n')] == [True, True, True]
    assert made.source.starts == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b'{"do": "eat"}\n',
        b'{"do": "load"}\n',
        b'{"do": "ping", "path": "x"}\n',
        b'{"do": "ping", "more": 1}\n',
        b'{"do": "ping"}',
        b"x" * (MAX_REQUEST_BYTES + 10) + b"\n",
        b"[" * 60_000 + b"\n",
    ],
)
def test_bad_request_gets_an_error_and_the_next_client_is_served(
    server: tuple[Server, Path], line: bytes
) -> None:
    answers = ask(server[1], line)
    assert answers[0]["ok"] is False
    assert ask(server[1], b'{"do": "ping"}\n')[0]["ok"] is True


@given(st.binary(max_size=100))
def test_any_line_is_a_request_or_a_value_error(line: bytes) -> None:
    try:
        decode_request(line)
    except ValueError:
        return
