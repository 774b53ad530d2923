"""Every frame at the ports of a namespace's bridges, and at the bridges themselves."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.netns import entered

RECEIVE_BUFFER = 64 << 20
_SO_RCVBUFFORCE, _SOL_PACKET, _PACKET_STATISTICS = 33, 263, 6
_ETH_P_ALL = 0x0003


class Seen(NamedTuple):
    """A frame that went out to who is behind the port, or came from there."""

    port: str
    went_out: bool
    frame: bytes


@dataclass(slots=True)
class Capture:
    """What was seen while it was running. lost: frames that the kernel had no room for."""

    netns: str
    frames: list[Seen] = field(default_factory=list)
    lost: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with entered(self.netns):
            listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        over = threading.Event()
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
            listener.settimeout(0.2)
            thread = threading.Thread(target=self._read, args=(listener, over))
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()
                statistics = listener.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
                self.lost = struct.unpack("II", statistics)[1]

    def _read(self, listener: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                frame, (name, _, kind, *_) = listener.recvfrom(70_000)
                self.frames.append(Seen(name, kind == socket.PACKET_OUTGOING, frame))
