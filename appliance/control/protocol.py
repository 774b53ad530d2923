"""What control and inspector say to each other, one JSON object a line each way (ARCHITECTURE.md)."""

from typing import Any, Literal

import msgspec

MAX_REQUEST_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 16 * 1024 * 1024


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One request; path and try_first belong to `load`. lose_sight: packets passed it by."""

    do: Literal["load", "lose_sight", "stats", "ping", "stop"]
    path: str | None = None
    try_first: bool = False


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer. error says why ok is false."""

    ok: bool
    error: str | None = None
    report: dict[str, Any] | None = None


class InspectorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the inspector is started with; nothing in it is secret.

    Paths are relative to the state directory, which it is started in: whoever it becomes need not be able
    to reach that directory by name. fail_open: when a queue is full. run_as: uid and gid it becomes.
    heart: descriptor of the socket on which its workers tell the watchdog that they live. canary: directory
    of the captures that new policies are tried with; None: they are not. latency_budget_ms: how long a packet
    may wait before guests that ask for more than their share are not inspected.
    """

    socket: str
    spool_dir: str
    spool_max_bytes: int
    memory_max_bytes: int
    source: Literal["native", "netfilterqueue"]
    queues: int
    first_queue: int
    fail_open: bool
    parent_pid: int
    run_as: tuple[int, int] | None = None
    heart: int | None = None
    canary: str | None = None
    latency_budget_ms: int = 20


def decode_request(line: bytes) -> Request:
    """Return the request. Raises ValueError saying what is wrong with it."""
    try:
        request = msgspec.json.decode(line, type=Request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a request: {error}") from None
    if (request.do == "load") != (request.path is not None):
        raise ValueError("not a request: `load` and only `load` has a path")
    return request
