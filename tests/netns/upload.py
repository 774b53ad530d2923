"""A long upload, as one connection carries it."""

import contextlib
import socket
import threading
import time

from appliance.lab.wire import connect
from appliance.netns import entered

BYTES = 32 << 20
WITHIN_S = 60.0
"""A collapsed queue (1 to 2 Mbit/s) would need two to four minutes."""


def arrives_in_time(client: str, server: str, address: str, port: int) -> bool:
    """Whether all bytes of an upload from one namespace to another one's address arrive; prints how fast."""
    with entered(server):
        listener = socket.socket()
    with contextlib.closing(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        sender = connect(client, address, port, WITHIN_S)
        receiver, _ = listener.accept()
        with contextlib.closing(sender), contextlib.closing(receiver):
            receiver.settimeout(WITHIN_S)
            began = time.monotonic()
            sending = threading.Thread(target=sender.sendall, args=(bytes(BYTES),), daemon=True)
            sending.start()
            received = 0
            while received < BYTES and time.monotonic() < began + WITHIN_S:
                received += len(receiver.recv(1 << 20))
            repeated = int.from_bytes(
                sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[100:], "little"
            )
            rate = received * 8 / (time.monotonic() - began) / 1e6
            print(f"{rate:.0f} Mbit/s, {repeated} segments sent again")
    return received == BYTES
