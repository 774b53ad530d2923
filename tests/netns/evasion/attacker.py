"""One connection of the attacker's, segment by segment; nothing is sent that the evasion does not send."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scapy.layers.inet import TCP
from scapy.packet import Packet, Raw

from tests.netns.evasion.rig import PORT, Wire, network

FIRST_SEQ = 1000
WINDOW = 65535
RESEND_S = 0.5
"""After so long a SYN is sent once more."""
Options = list[tuple[str, Any]]
MSS: Options = [("MSS", 1460)]


@dataclass(slots=True)
class Connection:
    """From the attacker to the guest. Places are stream offsets: 0 is the byte after the SYN.

    base: the attacker's initial sequence number. stamp: the value of its timestamps, None for none.
    """

    wire: Wire
    version: int = 4
    dport: int = PORT
    base: int = FIRST_SEQ
    stamp: int | None = None
    sport: int = 0
    their_next: int = 0
    their_stamp: int = 0
    syn_options: Options = field(default_factory=lambda: list(MSS))

    def __post_init__(self) -> None:
        self.sport = self.sport or self.wire.new_port()

    def frame(
        self,
        place: int,
        data: bytes = b"",
        flags: str = "PA",
        ip: Mapping[str, Any] | None = None,
        **tcp: Any,
    ) -> Packet:
        """Return a segment whose first byte stands at place; ip and tcp override fields of the headers."""
        fields: dict[str, Any] = {
            "seq": self.base + 1 + place,
            "ack": self.their_next,
            "window": WINDOW,
            "options": self._stamps(),
            **tcp,
        }
        fields.update({number: fields[number] % (1 << 32) for number in ("seq", "ack")})
        header = TCP(sport=self.sport, dport=self.dport, flags=flags, **fields)
        return network(self.version, **(ip or {})) / header / Raw(data)

    def _stamps(self, back: int = 0) -> Options:
        if self.stamp is None:
            return []
        return [("NOP", None), ("NOP", None), ("Timestamp", (self.stamp - back, self.their_stamp))]

    def put(self, place: int, data: bytes = b"", flags: str = "PA", **fields: Any) -> "Connection":
        """Send one segment."""
        self.wire.send(self.frame(place, data, flags, **fields))
        return self

    def stale(self, place: int, data: bytes, back: int) -> "Connection":
        """Send a segment whose timestamp lies `back` in the past."""
        return self.put(place, data, options=self._stamps(back))

    def pieces(self, data: bytes, spans: Iterable[tuple[int, int]], **fields: Any) -> "Connection":
        """Send these spans of data, each a segment at its own place."""
        for start, end in spans:
            self.put(start, data[start:end], **fields)
        return self

    def syn(self, data: bytes = b"", flags: str = "S", **fields: Any) -> "Connection":
        options = [*self.syn_options, *self._stamps()]
        return self.put(-1, data, flags, **{"ack": 0, "options": options, **fields})

    def answered(self, since: int) -> "Connection":
        """Learn the guest's sequence number from its SYN/ACK."""

        def ours(packet: Packet) -> bool:
            return packet[TCP].dport == self.sport and "S" in packet[TCP].flags and "A" in packet[TCP].flags

        answer = self.wire.await_segment(since, ours, RESEND_S)
        if answer is None:  # as any kernel, which leaves out data the second time
            answer = self.syn().wire.await_segment(since, ours)
        assert answer is not None, "the guest did not answer the SYN"
        self.their_next = answer[TCP].seq + 1
        for name, value in answer[TCP].options:
            if name == "Timestamp":
                self.their_stamp = value[0]
        return self

    def open(self, data: bytes = b"", *, last: bool = True) -> "Connection":
        """Shake hands. data: on the SYN. last: send the ACK that completes it."""
        since = len(self.wire.frames)
        self.syn(data).answered(since)
        return self.put(0, flags="A") if last else self

    @property
    def recorded_as(self) -> int:
        """The port under which the guest's recorder keeps what it receives."""
        return self.sport
