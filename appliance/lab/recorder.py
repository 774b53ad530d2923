"""The lab's service: records every complete HTTP request, executes nothing, answers all alike.

It is lenient on purpose, as a vulnerable application would be: a head ends at the first blank line,
its body is as long as Content-Length or the chunks say. Only *complete* requests are recorded, for
that is the claim of a test: what was stopped on the wire never became a request.

A record is one JSON line: `{"time_s", "service", "peer", "peer_port", "bytes", "request"}`, request
being the raw bytes in base64, cut at RECORD_BYTES (`bytes` is the whole length).
"""

import asyncio
import base64
import json
import os
import time
from dataclasses import dataclass

HEAD_BYTES = 64 * 1024
BODY_BYTES = 8 * 1024 * 1024
RECORD_BYTES = 256 * 1024
FILE_BYTES = 64 * 1024 * 1024
IDLE_TIMEOUT_S = 60
CONNECTIONS = 256

BODY = b"recorded\n"


class Unreadable(ValueError):
    """The peer's request cannot be read to its end; the connection ends."""


@dataclass(slots=True)
class Records:
    """Appends records to a file descriptor, up to FILE_BYTES; past it, `append` says no."""

    descriptor: int

    def append(self, service: str, peer: str, peer_port: int, request: bytes) -> bool:
        """Return whether the request was recorded."""
        line = json.dumps(
            {
                "time_s": time.time(),
                "service": service,
                "peer": peer,
                "peer_port": peer_port,
                "bytes": len(request),
                "request": base64.b64encode(request[:RECORD_BYTES]).decode(),
            }
        )
        if os.fstat(self.descriptor).st_size + len(line) > FILE_BYTES:
            return False
        os.write(self.descriptor, line.encode() + b"\n")
        return True


@dataclass(slots=True)
class Service:
    """One listening port. behind_nginx: the peer's address is taken from X-Real-IP and X-Real-Port."""

    name: str
    records: Records
    behind_nginx: bool
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests until it ends, idles or cannot be read."""
        self.connections += 1
        try:
            if self.connections <= CONNECTIONS:
                async with asyncio.timeout(None) as limit:
                    while await self._answer(reader, writer, limit):
                        pass
        except (Unreadable, OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the peer's fault or its end: nothing was recorded, there is nothing to say to it
        finally:
            self.connections -= 1
            writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: asyncio.Timeout
    ) -> bool:
        """Read, record and answer one request; return whether another may follow."""
        limit.reschedule(asyncio.get_running_loop().time() + IDLE_TIMEOUT_S)
        head = await read_head(reader)
        if not head:
            return False
        headers = parse_headers(head)
        body = await read_body(reader, headers)
        peer, peer_port = self._peer(writer, headers)
        recorded = self.records.append(self.name, peer, peer_port, head + body)
        status = b"200 OK" if recorded else b"507 Insufficient Storage"
        last = headers.get(b"connection", b"").lower() == b"close" or not recorded
        writer.write(
            b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s"
            % (status, len(BODY), b"close" if last else b"keep-alive", BODY)
        )
        await writer.drain()
        return not last

    def _peer(self, writer: asyncio.StreamWriter, headers: dict[bytes, bytes]) -> tuple[str, int]:
        peer, peer_port = writer.get_extra_info("peername")[:2]
        if self.behind_nginx:
            real_port = headers.get(b"x-real-port", b"")
            return headers.get(b"x-real-ip", b"?").decode("latin-1"), decimal(real_port)
        return str(peer).removeprefix("::ffff:"), int(peer_port)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Return the request line and headers with their blank line; empty at the connection's end.

    Raises Unreadable past HEAD_BYTES.
    """
    head = b""
    while True:
        try:
            line = await reader.readline()
        except ValueError as error:  # a line past the reader's limit
            raise Unreadable("line too long") from error
        if not line.endswith(b"\n"):
            return b""
        if not head and line in (b"\r\n", b"\n"):
            continue  # blank lines before a request line are skipped (RFC 9112, 2.2)
        head += line
        if len(head) > HEAD_BYTES:
            raise Unreadable("head too long")
        if line in (b"\r\n", b"\n"):
            return head


def parse_headers(head: bytes) -> dict[bytes, bytes]:
    """Return the headers, names in lower case; the last of equal names wins."""
    headers = {}
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


async def read_body(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> bytes:
    """Return the raw body, chunk sizes and all. Raises Unreadable, or IncompleteReadError at an early end."""
    if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
        return await _read_chunks(reader)
    return await reader.readexactly(_bounded(decimal(headers.get(b"content-length", b"0"))))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size_line = await _line(reader)
        try:
            size = int(size_line.split(b";")[0].strip(), 16)
        except ValueError as error:
            raise Unreadable("chunk size is not hexadecimal") from error
        body += size_line + await reader.readexactly(_bounded(size + len(body)) - len(body))
        if size == 0:
            return body + await _trailers(reader)
        body += await _line(reader)


async def _trailers(reader: asyncio.StreamReader) -> bytes:
    trailers = b""
    while len(trailers) < HEAD_BYTES:
        line = await _line(reader)
        trailers += line
        if line in (b"\r\n", b"\n"):
            return trailers
    raise Unreadable("trailers too long")


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readline()
    except ValueError as error:
        raise Unreadable("line too long") from error
    if not line.endswith(b"\n"):
        raise Unreadable("ended early")
    return line


def _bounded(size: int) -> int:
    if not 0 <= size <= BODY_BYTES:
        raise Unreadable(f"a body of {size} bytes")
    return size


def decimal(text: bytes) -> int:
    """Return the number that text spells, digits only. Raises Unreadable."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Unreadable("not a number")
    return int(text)


async def listen(records: Records, raw_port: int, nginx_port: int) -> None:
    """Serve both ports until cancelled: raw_port to everyone over IPv4 and IPv6, nginx_port on loopback."""
    raw = Service("raw", records, behind_nginx=False)
    proxied = Service("http", records, behind_nginx=True)
    servers = [
        await asyncio.start_server(raw.serve, ["0.0.0.0", "::"], raw_port, limit=HEAD_BYTES),
        await asyncio.start_server(proxied.serve, "127.0.0.1", nginx_port, limit=HEAD_BYTES),
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))
