"""Every frame at the ports of a namespace's bridges, and at the bridges themselves."""

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.netns import entered

RECEIVE_BUFFER = 64 << 20
_SO_RCVBUFFORCE, _SOL_PACKET, _PACKET_STATISTICS = 33, 263, 6
_ETH_P_ALL = 0x0003
_ARP, _NOBODY = b"\x08\x06", bytes(4)


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

    def frames_from(self, mac: str) -> Counter[tuple[str, str]]:
        """Return how often frames from this MAC were seen, by port and whether `in` or `out` there.

        Without ARP that names no address: the helper says it in guests' names.
        """
        sender = bytes.fromhex(mac.replace(":", ""))
        return Counter(
            (port, "out" if went_out else "in")
            for port, went_out, frame in list(self.frames)
            if frame[6:12] == sender and not (frame[12:14] == _ARP and frame[28:32] == _NOBODY)
        )

    def _read(self, listener: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                frame, (name, _, kind, *_) = listener.recvfrom(70_000)
                self.frames.append(Seen(name, kind == socket.PACKET_OUTGOING, frame))
