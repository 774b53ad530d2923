"""Deterministic conversations as scapy packets: the same call gives the same bytes, times included."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import PcapWriter

CLIENT, SERVER = "203.0.113.7", "10.0.0.80"
CLIENT6, SERVER6 = "2001:db8:1::7", "2001:db8:2::80"
EPOCH_S = 1_700_000_000
STEP_S = 0.001


@dataclass(frozen=True)
class Path2:
    """The two ends of a conversation and the link they meet on.

    vlan: an 802.1Q identifier, or None. wrap6: makes what stands between IPv6 and transport.
    """

    client: str = CLIENT
    server: str = SERVER
    vlan: int | None = None
    wrap6: Callable[[], Packet] | None = None

    def frame(self, to_server: bool, transport: Packet) -> Packet:
        """Return transport in a frame from the client's side (or back)."""
        macs = ("02:00:00:00:00:07", "02:00:00:00:00:80")
        ends = (self.client, self.server)
        if not to_server:
            macs, ends = macs[::-1], ends[::-1]
        link = Ether(src=macs[0], dst=macs[1])
        if self.vlan is not None:
            link = link / Dot1Q(vlan=self.vlan)
        if ":" in self.client:
            network: Packet = IPv6(src=ends[0], dst=ends[1], hlim=64)
            if self.wrap6 is not None:
                network = network / self.wrap6()
        else:
            network = IP(src=ends[0], dst=ends[1], ttl=64, id=1)
        return link / network / transport


@dataclass
class Tcp:
    """One TCP connection; `packets` grows as the two ends speak."""

    path: Path2 = Path2()
    sport: int = 40000
    dport: int = 80
    packets: list[Packet] = field(default_factory=list)
    seqs: dict[bool, int] = field(default_factory=lambda: {True: 1000, False: 9000})

    def open(self) -> "Tcp":
        """Shake hands."""
        self._put(True, "S", options=[("MSS", 1460)])
        self.seqs[True] += 1
        self._put(False, "SA", options=[("MSS", 1460)])
        self.seqs[False] += 1
        self._put(True, "A")
        return self

    def say(
        self, data: bytes, *, to_server: bool = True, cuts: Sequence[int] = (), ack: bool = True
    ) -> "Tcp":
        """Send data, cut into segments at these offsets, each acknowledged unless ack is False."""
        for start, end in pairwise([0, *cuts, len(data)]):
            self._put(to_server, "PA", data[start:end])
            self.seqs[to_server] += end - start
            if ack:
                self._put(not to_server, "A")
        return self

    def pieces(self, data: bytes, spans: Iterable[tuple[int, int] | tuple[int, bytes]]) -> "Tcp":
        """Send to the server what each span says, in that order, then one acknowledgement of all of data.

        A span is (start, end) of data, or (start, bytes to claim there instead).
        """
        base = self.seqs[True]
        for start, what in spans:
            payload = what if isinstance(what, bytes) else data[start:what]
            self.seqs[True] = base + start
            self._put(True, "PA", payload)
        self.seqs[True] = base + len(data)
        self._put(False, "A")
        return self

    def close(self) -> "Tcp":
        """Close from the client's side."""
        self._put(True, "FA")
        self.seqs[True] += 1
        self._put(False, "FA")
        self.seqs[False] += 1
        self._put(True, "A")
        return self

    def _put(
        self, to_server: bool, flags: str, data: bytes = b"", options: Sequence[tuple[str, int]] = ()
    ) -> None:
        ports = (self.sport, self.dport) if to_server else (self.dport, self.sport)
        segment = TCP(
            sport=ports[0],
            dport=ports[1],
            seq=self.seqs[to_server],
            ack=self.seqs[not to_server] if "A" in flags else 0,
            flags=flags,
            window=64240,
            options=list(options),
        )
        self.packets.append(self.path.frame(to_server, segment / Raw(data) if data else segment))


def http(
    method: str = "GET", target: str = "/", *headers: tuple[str, str], body: bytes = b"", version: str = "1.1"
) -> bytes:
    """Return a request; Host comes first and Content-Length last, unless given."""
    lines = [f"{method} {target} HTTP/{version}"]
    names = {name.lower() for name, _ in headers}
    if "host" not in names:
        lines.append("Host: web")
    lines += [f"{name}: {value}" for name, value in headers]
    if body and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes, sizes: Sequence[int]) -> bytes:
    """Return body in chunked coding: chunks of these sizes first, the rest in a last one."""
    coded = b""
    for size in [*sizes, len(body)]:
        chunk, body = body[:size], body[size:]
        if chunk:
            coded += b"%x\r\n%s\r\n" % (len(chunk), chunk)
    return coded + b"0\r\n\r\n"


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"


def exchange(
    *requests: bytes,
    path: Path2 = Path2(),
    sport: int = 40000,
    dport: int = 80,
    response: bytes = OK,
    mss: int = 1400,
) -> list[Packet]:
    """Return one connection in which each request is answered before the next."""
    tcp = Tcp(path, sport, dport).open()
    for request in requests:
        tcp.say(request, cuts=range(mss, len(request), mss))
        tcp.say(response, to_server=False)
    return tcp.close().packets


def udp(
    data: bytes, *, path: Path2 = Path2(), sport: int = 40000, dport: int = 53, to_server: bool = True
) -> Packet:
    """Return one datagram."""
    ports = (sport, dport) if to_server else (dport, sport)
    return path.frame(to_server, UDP(sport=ports[0], dport=ports[1]) / Raw(data))


def ping(data: bytes, *, path: Path2 = Path2(), to_server: bool = True, kind: int = 8) -> Packet:
    """Return one ICMP echo."""
    return path.frame(to_server, ICMP(type=kind, id=7, seq=1) / Raw(data))


def fragments(packet: Packet, size: int) -> list[Packet]:
    """Return an IPv4 packet as fragments of this many payload bytes (a multiple of 8)."""
    return list(fragment(packet, fragsize=size))  # type: ignore[no-untyped-call]


def write(path: Path, packets: Iterable[Packet]) -> None:
    """Write packets as an Ethernet capture, a millisecond apart."""
    with PcapWriter(str(path), linktype=1, sync=True) as writer:
        for number, packet in enumerate(packets):
            again = Ether(bytes(packet))
            again.time = EPOCH_S + number * STEP_S
            writer.write(again)
