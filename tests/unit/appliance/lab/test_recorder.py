"""The recorder records complete requests only, however they are cut, and survives all others."""

import asyncio
import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.lab import recorder
from appliance.lab.recorder import Records, Service

PLAIN = b"GET /a HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n"


def served(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """Return the requests recorded and the bytes answered for a connection that sends pieces."""

    async def talk(descriptor: int) -> bytes:
        service = Service("raw", Records(descriptor), behind_nginx=False)
        reader = asyncio.StreamReader(limit=recorder.HEAD_BYTES)
        writer = Wire()
        for piece in pieces:
            reader.feed_data(piece)
        reader.feed_eof()
        await service.serve(reader, writer)  # type: ignore[arg-type]
        return writer.sent

    descriptor = os.memfd_create("records")
    try:
        answer = asyncio.run(talk(descriptor))
        lines = os.pread(descriptor, os.fstat(descriptor).st_size, 0).splitlines()
    finally:
        os.close(descriptor)
    return [base64.b64decode(json.loads(line)["request"]) for line in lines], answer


class Wire:
    """The writing side of a connection, kept in memory."""

    def __init__(self) -> None:
        self.sent = b""

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return "10.99.0.20", 4711

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("request_bytes", [PLAIN, POST, CHUNKED])
def test_every_split_records_the_whole_and_every_prefix_nothing(request_bytes: bytes) -> None:
    for cut in range(len(request_bytes)):
        assert served([request_bytes[:cut], request_bytes[cut:]])[0] == [request_bytes]
        assert served([request_bytes[:cut]]) == ([], b"")


def test_pipelined_requests_are_recorded_one_by_one() -> None:
    recorded, answer = served([PLAIN + POST + CHUNKED + PLAIN])
    assert recorded == [PLAIN, POST, CHUNKED, PLAIN]
    assert answer.count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize(
    "hostile",
    [
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nabc",
        b"GET /" + b"a" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50_000,
    ],
)
def test_hostile_requests_end_the_connection_unrecorded(hostile: bytes) -> None:
    assert served([hostile + PLAIN]) == ([], b"")


@given(st.lists(st.binary(max_size=200) | st.sampled_from([PLAIN, POST[:-5], CHUNKED, b"\r\n"]), max_size=8))
def test_any_bytes_are_survived(pieces: list[bytes]) -> None:
    recorded, answer = served(pieces)
    assert answer.count(b"HTTP/1.1 ") == len(recorded)


def test_a_full_file_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorder, "FILE_BYTES", 10)
    recorded, answer = served([PLAIN + PLAIN])
    assert recorded == []
    assert answer.startswith(b"HTTP/1.1 507 Insufficient Storage")
