"""Asks the kernel over netlink itself, for what is asked every second.

A program costs a process, a library objects of every attribute. What is asked once may cost that; an idle
appliance may not. Here a question costs one socket and a walk through the answer's bytes.

Source: netlink(7), include/uapi/linux/netlink.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Self

from appliance.model.faults import SystemFault
from appliance.netns import entered

ROUTE, NETFILTER = 0, 12
REQUEST, ACK, DUMP = 1, 4, 0x300
ERROR, DONE = 2, 3
INTERRUPTED = 0x10
"""A dump during which what is dumped changed."""
TRIES = 5
ANSWER_S = 5.0
BUFFER_BYTES = 1 << 17
"""The kernel fills at most 32 KiB at a time."""
HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
CODE = struct.Struct("=i")
ORDERS = 100
"""In one message: some 16 KiB."""
TYPE_BITS = 0x3FFF
"""Of an attribute's type; the others say that it is nested, or in network order."""


class Interrupted(Exception):
    """What was asked for changed while the kernel told it."""


class Alarm:
    """A descriptor that becomes readable when the kernel tells a group of something in a network namespace.

    Raises SystemFault when the kernel refuses.
    """

    def __init__(self, netns: str | None, protocol: int, *groups: int) -> None:
        self._socket = _opened(netns, protocol)
        self._socket.setblocking(False)
        self._socket.bind((0, sum(1 << group - 1 for group in groups)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def hush(self) -> bool:
        """Make it unreadable until the next change; return whether there was one.

        Only that something came matters, so losses do not.
        """
        rang = False
        while True:
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                return rang
            except OSError:  # ENOBUFS: more came than the socket holds
                pass
            rang = True


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute as messages carry it."""
    head = ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind)
    return head + value + bytes(-len(value) % 4)


def attributes(data: memoryview) -> dict[int, memoryview]:
    """Return a message's or attribute's attributes by type; of two of one type the later."""
    found = {}
    at, end = 0, len(data)
    while at + ATTRIBUTE.size <= end:
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            break
        found[kind & TYPE_BITS] = data[at + ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def ask(netns: str | None, protocol: int, kind: int, body: bytes, *, flags: int = 0) -> list[memoryview]:
    """Return the bodies of the kernel's answers, empty if there is no such thing.

    flags: DUMP for a list, ACK for an order. Raises SystemFault.
    """
    try:
        for _ in range(TRIES):
            try:
                with _opened(netns, protocol) as asked:
                    asked.settimeout(ANSWER_S)
                    asked.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body)
                    return list(_answers(asked, is_list=bool(flags & DUMP)))
            except Interrupted:
                continue
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return []
        raise SystemFault(f"netlink: {error}") from error
    raise SystemFault(f"netlink: what was asked for changed {TRIES} times while the kernel told it")


def listed(netns: str | None, protocol: int, kind: int, body: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the bodies of a long list as the kernel tells it: what it said, and where in that each lies.

    What comes or goes meanwhile may be missing. Raises SystemFault.
    """
    try:
        with _opened(netns, protocol) as asked:
            asked.settimeout(ANSWER_S)
            asked.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | DUMP, 1, 0) + body)
            while True:
                data = asked.recv(BUFFER_BYTES)
                for begin, end, kind, _ in _messages(data):
                    if kind in (ERROR, DONE):
                        _check(data[begin:end])
                        return
                    yield data, begin, end
    except OSError as error:
        raise SystemFault(f"netlink: {error}") from error


def order(netns: str | None, protocol: int, kind: int, bodies: Iterable[bytes]) -> None:
    """Give one order after another and ask of none what became of it. Raises SystemFault."""
    try:
        with _opened(netns, protocol) as told:
            messages = (HEADER.pack(HEADER.size + len(each), kind, REQUEST, 1, 0) + each for each in bodies)
            while some := b"".join(islice(messages, ORDERS)):
                told.send(some)
    except OSError as error:
        raise SystemFault(f"netlink: {error}") from error


def _answers(asked: socket.socket, *, is_list: bool) -> Iterator[memoryview]:
    """Yield bodies up to the list's end. Raises Interrupted, OSError."""
    while True:
        data = memoryview(asked.recv(BUFFER_BYTES))
        for begin, end, kind, flags in _messages(data):
            if flags & INTERRUPTED:
                raise Interrupted
            if kind in (ERROR, DONE):
                _check(data[begin:end])
                return
            yield data[begin:end]
            if not is_list:
                return


def _messages(data: bytes | memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield where each message's body begins and ends, its type and flags."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, _, _ = HEADER.unpack_from(data, at)
        yield at + HEADER.size, min(at + length, len(data)), kind, flags
        at += max(length + 3 & ~3, HEADER.size)


def _check(said: bytes | memoryview) -> None:
    """Raise OSError if this end of an answer says that something was wrong."""
    code = -CODE.unpack_from(said)[0] if len(said) >= CODE.size else 0
    if code > 0:
        raise OSError(code, os.strerror(code))


def _opened(netns: str | None, protocol: int) -> socket.socket:
    try:
        with entered(netns):
            return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise SystemFault(f"netlink: no socket in network namespace {netns or '(ours)'}: {error}") from error
