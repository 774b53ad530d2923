"""Real sockets inside the lab's namespaces."""

import contextlib
import enum
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.netns import entered

ANSWER_BYTES = 1024 * 1024
SEGMENT_GAP_S = 0.002
"""Between two segments of a request, so that the kernel does not put them into one packet."""


class Outcome(enum.Enum):
    """What became of a request, as its sender sees it."""

    ANSWERED = "answered"
    RESET = "reset"
    CLOSED = "closed"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came back. port is the sender's own, status 0 when nothing readable came."""

    outcome: Outcome
    status: int
    port: int
    took_s: float


def connect(name: str, address: str, port: int, timeout_s: float) -> socket.socket:
    """Return a connected TCP socket that lives in the named namespace. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with entered(name):
        connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect((address, port))
    except OSError:
        connection.close()
        raise
    return connection


def exchange(
    name: str, address: str, port: int, request: bytes, segments: Sequence[int], timeout_s: float
) -> Exchange:
    """Send the request from the namespace and wait for its answer.

    segments: sizes of the request's first TCP segments; what is left goes in one piece.
    """
    began = time.monotonic()

    def result(outcome: Outcome, own_port: int = 0, status: int = 0) -> Exchange:
        return Exchange(outcome, status, own_port, time.monotonic() - began)

    try:
        connection = connect(name, address, port, timeout_s)
    except TimeoutError:
        return result(Outcome.TIMEOUT)
    except ConnectionError:
        return result(Outcome.RESET)
    except OSError:
        return result(Outcome.UNREACHABLE)
    with contextlib.closing(connection):
        own_port = connection.getsockname()[1]
        try:
            _send(connection, request, segments)
            answer = _receive(connection)
        except TimeoutError:
            return result(Outcome.TIMEOUT, own_port)
        except ConnectionError:
            return result(Outcome.RESET, own_port)
    status = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    if status is None:
        return result(Outcome.CLOSED, own_port)
    return result(Outcome.ANSWERED, own_port, int(status[1]))


def _send(connection: socket.socket, request: bytes, segments: Sequence[int]) -> None:
    offset = 0
    for size in segments:
        connection.sendall(request[offset : offset + size])
        offset += size
        time.sleep(SEGMENT_GAP_S)
    connection.sendall(request[offset:])


def _receive(connection: socket.socket) -> bytes:
    """Return the answer's head, or what came until the peer closed."""
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < ANSWER_BYTES:
        piece = connection.recv(65536)
        if not piece:
            break
        answer += piece
    return answer
