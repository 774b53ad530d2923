"""Tells the service manager that guests are protected now, and from then on that we live.

Source: sd_notify(3), sd_watchdog_enabled(3). Without a service manager nothing happens.
"""

import contextlib
import os
import socket

UNWATCHED_EVERY_S = 10.0


def tell_ready() -> None:
    """Say that the service does its work, so that what is ordered after it may start."""
    _tell(b"READY=1")


def tell_alive() -> None:
    """Say that the caller's loop turns; a service that stays silent is started anew."""
    _tell(b"WATCHDOG=1")


def alive_every_s() -> float:
    """Return how often `tell_alive` is wanted: three times in what the service manager tolerates."""
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 3e6
    except (KeyError, ValueError):
        return UNWATCHED_EVERY_S


def _tell(message: bytes) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
        messenger.sendto(message, address)
