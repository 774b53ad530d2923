"""Many connections that are open at once, real ones: `python -m bench.inline.connections serve|open …`.

serve PORT: answers each request with a short response and keeps the connection.
open PORT COUNT ADDRESS…: opens COUNT of them, evenly to the addresses, has a request answered on each, prints
`open COUNT`, and keeps them until its standard input ends.
"""

import contextlib
import resource
import selectors
import socket
import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from bench.inline.cores import Cores, pinned
from bench.inline.programs import ROOT, running
from bench.inline.segment import Segment

REQUEST = b"GET /status HTTP/1.1\r\nHost: web\r\nUser-Agent: bench\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
AT_ONCE = 10
EACH = 12_500
"""Connections of one process: more descriptors are often not allowed."""


@contextlib.contextmanager
def opened(segment: Segment, port: int, count: int, cores: Cores, work: Path) -> Iterator[None]:
    """Keep `count` connections to the segment's servers open. Raises ProgramFailed."""
    program = pinned(cores.generator, [sys.executable, "-m", "bench.inline.connections"])
    addresses = [server.address for server in segment.servers]
    with contextlib.ExitStack() as stack:

        def start(netns: str, name: str, arguments: list[str], said: str) -> None:
            log = work / f"{name}.log"
            command = [*program, *arguments]
            stack.enter_context(running(netns, command, log, lambda text: said in text, cwd=ROOT))

        for server in segment.servers:
            for number in range(ceil(count / len(addresses) / EACH)):
                start(server.netns, f"serve-{server.number}-{number}", ["serve", str(port)], "ready")
        parts = ceil(count / EACH)
        for number in range(parts):
            part = str(count * (number + 1) // parts - count * number // parts)
            start(
                segment.client.netns, f"open-{number}", ["open", str(port), part, *addresses], f"open {part}"
            )
        yield


def serve(port: int) -> None:
    """Answer for ever."""
    chosen = selectors.DefaultSelector()
    listener = socket.create_server(("", port), backlog=4096, reuse_port=True)
    listener.setblocking(False)
    chosen.register(listener, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in chosen.select():
            if key.fileobj is listener:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        connection, _ = listener.accept()
                        chosen.register(connection, selectors.EVENT_READ)
                continue
            connection = key.fileobj  # type: ignore[assignment]
            if connection.recv(4096):
                connection.sendall(RESPONSE)
            else:
                chosen.unregister(connection)
                connection.close()


def open_all(port: int, count: int, addresses: list[str]) -> None:
    """Open and keep them."""
    chosen = selectors.DefaultSelector()
    kept: list[socket.socket] = []
    begun = 0
    while len(kept) < count:
        while begun < count and begun - len(kept) < AT_ONCE:
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex((addresses[begun % len(addresses)], port))
            chosen.register(connection, selectors.EVENT_WRITE)
            begun += 1
        for key, ready in chosen.select():
            connection = key.fileobj  # type: ignore[assignment]
            if ready & selectors.EVENT_WRITE:
                connection.sendall(REQUEST)
                chosen.modify(connection, selectors.EVENT_READ)
            elif connection.recv(4096):
                chosen.unregister(connection)
                kept.append(connection)
            else:
                raise SystemExit("a connection was closed by the other end")
    print(f"open {count}", flush=True)
    sys.stdin.read()


def main() -> None:
    """Be one of the two."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    what, port, *rest = sys.argv[1:]
    if what == "serve":
        serve(int(port))
    else:
        open_all(int(port), int(rest[0]), rest[1:])


if __name__ == "__main__":
    main()
