"""Traffic of a lab's client that notices what befalls it: each kind a thread, paced, until told to stop."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance import lab
from appliance.lab.wire import connect
from appliance.netns import entered

PATIENCE_S = 30.0
"""How long one answer may take: an established connection outlives a restart, however slowly."""
IMPATIENCE_S = 2.0
UDP_PORT = 6001
DATAGRAM_BYTES = 400


class Load(threading.Thread):
    """Does `step` again and again. done: how often it worked. error: what ended it early, if anything did."""

    pace_s = 0.0

    def __init__(self, settings: lab.LabSettings) -> None:
        super().__init__(daemon=True, name=type(self).__name__)
        self.settings, self.stopping = settings, threading.Event()
        self.netns = settings.guest_netns(lab.CLIENT)
        self.done = 0
        self.longest_s = 0.0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.begin()
            while not self.stopping.is_set():
                began = time.monotonic()
                self.step()
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.done += 1
                time.sleep(self.pace_s)
        except Exception as error:
            self.error = error

    def begin(self) -> None:
        """Make ready."""

    def step(self) -> None:
        """Do it once. Raises what a user of the network would see."""
        raise NotImplementedError

    def end(self) -> None:
        """Stop and wait for it."""
        self.stopping.set()
        self.join(PATIENCE_S + 5)

    def state(self) -> str:
        return f"{self.name}: {self.done} done, longest {self.longest_s:.2f} s, error {self.error!r}"


class KeepAlive(Load):
    """One connection for its whole life; every request must be answered, whole and in order."""

    pace_s = 0.01
    path = "/static/index.html"

    def begin(self) -> None:
        self.connection = connect(self.netns, lab.WEB.ipv4, lab.HTTP_PORT, PATIENCE_S)

    def step(self) -> None:
        self.ask(self.path)

    def ask(self, path: str) -> str:
        """Return the SHA-256 of the answer's body. Raises OSError."""
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._some()
        head, _, body = head.partition(b"\r\n\r\n")
        left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
        digest = hashlib.sha256(body)
        while left > 0:
            piece = self._some()
            digest.update(piece)
            left -= len(piece)
        assert left == 0, "bytes after the answer"
        if b"connection: close" in head.lower():  # nginx has enough after a thousand requests
            self.connection.close()
            KeepAlive.begin(self)
        return digest.hexdigest()

    def _some(self) -> bytes:
        piece: bytes = self.connection.recv(262_144)
        if not piece:
            raise ConnectionError("closed in the middle")
        return piece


class Undaunted(Load):
    """A keep-alive client that begins anew when it is cut off. cut: how often that was."""

    pace_s = 0.01

    def begin(self) -> None:
        self.cut = 0
        self.client: KeepAlive | None = None

    def step(self) -> None:
        try:
            if self.client is None:
                client = KeepAlive(self.settings)
                client.begin()
                client.connection.settimeout(IMPATIENCE_S)
                self.client = client
            self.client.step()
        except OSError:
            self.cut += 1
            if self.client is not None:
                self.client.connection.close()
            self.client = None


class Bulk(KeepAlive):
    """Downloads the same file again and again over one connection; all must be alike."""

    pace_s = 0.02

    def __init__(self, settings: lab.LabSettings, file: str = "4m.bin") -> None:
        super().__init__(settings)
        self.path = f"/download/{file}"
        self.digest: str | None = None

    def step(self) -> None:
        digest = self.ask(self.path)
        if self.digest not in (None, digest):
            raise ValueError("a download differs from the one before")
        self.digest = digest


class NewConnections(Load):
    """A connection a request. refused: those that did not come about, which a restart may cost."""

    pace_s = 0.05

    def __init__(self, settings: lab.LabSettings) -> None:
        super().__init__(settings)
        self.refused = 0

    def step(self) -> None:
        once = KeepAlive(self.settings)
        once.begin()
        with once.connection:
            once.step()


class Datagrams(Load):
    """Sends numbered datagrams to an echo and counts what comes back: UDP may lose some, and garbles none."""

    pace_s = 0.005

    def begin(self) -> None:
        self.echo = _udp_socket(self.settings.guest_netns(lab.WEB))
        self.echo.bind((lab.WEB.ipv4, UDP_PORT))
        self.socket = _udp_socket(self.netns)
        self.socket.connect((lab.WEB.ipv4, UDP_PORT))
        self.socket.settimeout(0.2)
        threading.Thread(target=self._echo, daemon=True).start()
        self.lost = 0

    def step(self) -> None:
        message = self.done.to_bytes(8) + bytes(DATAGRAM_BYTES - 8)
        self.socket.send(message)
        try:
            while (answer := self.socket.recv(2048)) != message:
                if len(answer) != DATAGRAM_BYTES or any(answer[8:]):
                    raise ValueError("a datagram came back garbled")
        except TimeoutError:
            self.lost += 1

    def _echo(self) -> None:
        self.echo.settimeout(0.5)
        while not self.stopping.is_set():
            try:
                message, peer = self.echo.recvfrom(2048)
            except TimeoutError:
                continue
            self.echo.sendto(message, peer)
        self.echo.close()


def _udp_socket(name: str) -> socket.socket:
    with entered(name):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@contextmanager
def under(*loads: Load) -> Iterator[None]:
    """Run the block once each load has done something, while they go on; an error of theirs fails it."""
    for load in loads:
        load.start()
    try:
        eventually("each load to begin", lambda: all(load.done for load in loads) or errors(loads))
        yield
    finally:
        for load in loads:
            load.end()
    assert not errors(loads), "\n".join(load.state() for load in loads)


def errors(loads: "tuple[Load, ...] | list[Load]") -> list[str]:
    return [load.state() for load in loads if load.error is not None]


def eventually(what: str, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.02)
