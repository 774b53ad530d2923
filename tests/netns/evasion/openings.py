"""Evasions by the way a connection comes about: the attacker is the server, and the guest connects to it.

What travels is the attacker's text, to the guest that opened the connection.
"""

import contextlib
from dataclasses import dataclass
from functools import partial

from scapy.layers.inet import TCP

from appliance.lab.settings import CLIENT, WEB
from tests.netns.evasion.attacker import MSS, Connection
from tests.netns.evasion.evasion import Evasion
from tests.netns.evasion.rig import ATTACKER_PORT, Guest
from tests.netns.topology import socket_in

REAL = Guest.REAL


@dataclass(slots=True)
class Called(Connection):
    """The attacker's end of a connection that the guest opens."""

    def await_syn(self) -> "Called":
        """Let the guest connect; return with its SYN on the wire."""
        since = len(self.wire.frames)
        guest = socket_in(self.wire.settings.guest_netns(WEB))
        guest.setblocking(False)
        guest.bind((WEB.ipv4, 0))
        self.sport, self.dport = ATTACKER_PORT, guest.getsockname()[1]
        with contextlib.suppress(BlockingIOError):
            guest.connect((CLIENT.ipv4, ATTACKER_PORT))
        syn = self.wire.await_segment(since, lambda packet: packet[TCP].sport == self.dport)
        assert syn is not None, "the guest did not connect"
        self.their_next = syn[TCP].seq + 1
        self.wire.recorder.keep(guest, self.dport)
        return self

    def answer(self, data: bytes = b"", flags: str = "SA", **fields: object) -> "Called":
        """Send the ordinary SYN/ACK, or what stands in its place."""
        self.put(-1, data, flags, options=list(MSS), **fields)
        return self

    def settled(self) -> "Called":
        self.wire.settle()
        return self

    @property
    def recorded_as(self) -> int:
        return self.dport


to_guest = partial(Evasion, connection=Called, sids=frozenset({1}))

EVASIONS = [
    to_guest(REAL, "the guest connects", lambda c, r, _: c.await_syn().answer().put(0, r)),
    to_guest(REAL, "SYN for SYN, then ACK", lambda c, r, _: c.await_syn().answer(flags="S", ack=0).settled().put(0, flags="A").put(0, r)),
    to_guest(REAL, "SYN for SYN, then the text at once", lambda c, r, _: c.await_syn().answer(flags="S", ack=0).put(0, r)),
    to_guest(REAL, "ACK, then SYN, then ACK", lambda c, r, _: c.await_syn().put(-1, flags="A").answer(flags="S", ack=0).settled().put(0, flags="A").put(0, r)),
    to_guest(REAL, "SYN for SYN, then SYN/ACK", lambda c, r, _: c.await_syn().answer(flags="S", ack=0).settled().answer().put(0, r)),
    to_guest(REAL, "SYN/ACK of another SYN first", lambda c, r, d: c.await_syn().answer(ack=c.their_next + 77, seq=77).settled().answer().put(0, r)),
    to_guest(REAL, "data on the SYN/ACK", lambda c, r, d: c.await_syn().answer(d).settled().put(0, r), lossy="the inspector drops data on a SYN"),
    to_guest(REAL, "data on the SYN for SYN", lambda c, r, d: c.await_syn().answer(d, "S", ack=0).settled().put(0, flags="A").put(0, r), lossy="the inspector drops data on a SYN"),
    to_guest(REAL, "data before the SYN/ACK", lambda c, r, d: c.await_syn().put(0, d).answer().put(0, r)),
    to_guest(REAL, "RST that acknowledges another SYN", lambda c, r, d: c.await_syn().put(0, flags="RA", ack=c.their_next + 77).answer().put(0, r)),
]  # fmt: skip
