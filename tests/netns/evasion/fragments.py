"""Evasions by IP fragments, of TCP segments and of datagrams, over IPv4 and IPv6.

Linux drops a datagram whose fragments overlap, other than one that comes twice: over IPv4 as over IPv6, where
RFC 5722 asks for it. The engine does the same inline and, offline with `--ips`, too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations

from scapy.layers.inet import UDP, IPOption_LSRR, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Packet, Raw

from tests.netns.evasion.attacker import Connection
from tests.netns.evasion.evasion import Evasion, Play
from tests.netns.evasion.rig import LENGTH, PORT, Guest, network

REAL, DECOY, NEITHER = Guest.REAL, Guest.DECOY, Guest.NEITHER
V6 = {"version": 6}
UNIT = 8
HEADERS = "a first fragment without the whole TCP header is thrown away by hosts (RFC 8200, 4.5)"
DEFAULT = (
    "overlaps are resolved as by Windows, as Suricata's configuration has it; Linux throws all of it away"
)
REFUSED = "Suricata and the engine read past headers that this host does not accept"
PROTOCOLS = {"TCP": 6, "UDP": 17}


@dataclass(frozen=True, slots=True)
class Transport:
    """What is fragmented: the bytes that follow the IP header, header and text. sids: that see the text."""

    name: str
    header: int
    sids: frozenset[int]

    def prepare(self, c: Connection) -> None:
        if self.name == "TCP":
            c.open()

    def packet(self, c: Connection, data: bytes) -> Packet:
        if self.name == "TCP":
            return c.frame(0, data)
        return network(c.version) / UDP(sport=c.sport, dport=PORT) / Raw(data)

    def payload(self, c: Connection, data: bytes) -> bytes:
        """Return header and text, with the checksum of the whole."""
        frame = self.packet(c, data)
        return bytes(frame.__class__(bytes(frame)).payload.payload)

    def whole(self, c: Connection, data: bytes) -> None:
        c.wire.send(self.packet(c, data))


TCP_SEGMENT, DATAGRAM = Transport("TCP", 20, frozenset({1, 2})), Transport("UDP", 8, frozenset({3}))
_identification = iter(range(1, 1 << 16))


def new_id() -> int:
    return next(_identification)


def fragment(
    c: Connection,
    transport: Transport,
    number: int,
    payload: bytes,
    start: int,
    end: int,
    *,
    more: bool | None = None,
) -> None:
    """Send payload[start:end] as one fragment; more: whether others follow, else unless it ends there."""
    follows = end < len(payload) if more is None else more
    protocol = PROTOCOLS[transport.name]
    if c.version == 4:
        base = network(4, id=number, flags=int(follows), frag=start // UNIT, proto=protocol)
    else:
        base = network(6) / IPv6ExtHdrFragment(id=number, offset=start // UNIT, m=int(follows), nh=protocol)
    c.wire.send(base / Raw(payload[start:end]))


def cut(
    transport: Transport,
    size: int = 24,
    order: Callable[[list[tuple[int, int]]], Sequence[tuple[int, int]]] = list,
) -> Play:
    """One packet in fragments of this size, in this order."""

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        transport.prepare(c)
        payload, number = transport.payload(c, real), new_id()
        spans = [(at, min(at + size, len(payload))) for at in range(0, len(payload), size)]
        for start, end in order(spans):
            fragment(c, transport, number, payload, start, end)

    return play


def overlap(transport: Transport, old: tuple[int, int], new: tuple[int, int], *, then: bool) -> Play:
    """A decoy's fragment and a real one overlap, the rest follows; then: and the whole packet once more."""

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        transport.prepare(c)
        true, false, number = transport.payload(c, real), transport.payload(c, decoy), new_id()
        # Only the checksum differs outside of the mark: it must be the real text's.
        false = true[: transport.header] + false[transport.header :]
        fragment(c, transport, number, false, *old)
        fragment(c, transport, number, true, *new)
        low, high = min(old[0], new[0]), max(old[1], new[1])
        fragment(c, transport, number, true, high, len(true))
        fragment(c, transport, number, true, 0, low)
        if then:
            transport.whole(c, real)

    return play


def two_ends(transport: Transport) -> Play:
    """Two last fragments that say different lengths."""

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        transport.prepare(c)
        payload, number = transport.payload(c, real), new_id()
        fragment(c, transport, number, payload, 48, 64, more=False)
        fragment(c, transport, number, payload, 64, len(payload))
        fragment(c, transport, number, payload, 0, 48)

    return play


def gap(transport: Transport) -> Play:
    """The fragment with the mark in it never comes; then the whole packet does."""

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        transport.prepare(c)
        payload, number = transport.payload(c, decoy), new_id()
        fragment(c, transport, number, payload, 0, 40)
        fragment(c, transport, number, payload, 80, len(payload))
        transport.whole(c, real)

    return play


def another_id(transport: Transport) -> Play:
    """Two packets' fragments interleaved, which differ in their identification alone."""

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        transport.prepare(c)
        true, false = transport.payload(c, real), transport.payload(c, decoy)
        one, other = new_id(), new_id()
        for start in range(0, len(true) - 24, 24):
            fragment(c, transport, one, true, start, start + 24)
            fragment(c, transport, other, false, start, start + 24)
        fragment(c, transport, one, true, (len(true) - 1) // 24 * 24, len(true))

    return play


def segments_in_fragments(c: Connection, real: bytes, decoy: bytes) -> None:
    c.open()
    for at in range(0, LENGTH, 12):
        frame = c.frame(at, real[at : at + 12])
        payload = bytes(frame.__class__(bytes(frame)).payload.payload)
        number = new_id()
        for start in reversed(range(0, len(payload), UNIT)):
            fragment(c, TCP_SEGMENT, number, payload, start, min(start + UNIT, len(payload)))


def behind(*headers: Callable[[], Packet]) -> Play:
    """The text in a segment behind these IPv6 extension headers."""

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        c.open()
        c.wire.send(_behind(c, real, headers))

    return play


def _behind(c: Connection, data: bytes, headers: Sequence[Callable[[], Packet]]) -> Packet:
    frame = network(6)
    for header in headers:
        frame = frame / header()
    packet: Packet = frame / c.frame(0, data)[IPv6].payload
    return packet


def decoy_behind(*headers: Callable[[], Packet]) -> Play:
    """The decoy behind headers that the guest does not accept, then the text."""

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        c.open()
        c.wire.send(_behind(c, decoy, headers))
        c.put(0, real)

    return play


def atomic() -> Packet:
    return IPv6ExtHdrFragment(id=new_id(), offset=0, m=0)


def options() -> Packet:
    return IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])


def hop_by_hop() -> Packet:
    return IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])


def routing() -> Packet:
    """Type 0, which no host follows any more (RFC 5095)."""
    return IPv6ExtHdrRouting(type=0, addresses=["fd99::77"], segleft=1)


def with_options(*given: Packet) -> Play:
    return lambda c, real, decoy: c.open().put(0, real, ip={"options": list(given)})


def decoy_with(**ip: object) -> Play:
    return lambda c, real, decoy: c.open().put(0, decoy, ip=ip).put(0, real)


def of(transport: Transport, version: int) -> Iterator[Evasion]:
    """The same evasions for each transport and version of IP."""
    kind = f"{transport.name} in IPv{version} fragments"
    make = partial(Evasion, open_to={"version": version}, sids=transport.sids)
    last_first = lambda spans: spans[::-1]  # noqa: E731
    doubled = lambda spans: [span for span in spans for _ in range(2)][:-1]  # noqa: E731
    head_last = lambda spans: [*spans[1:], spans[0]]  # noqa: E731
    then = transport.name == "TCP"
    after = Guest.REAL if then else Guest.NEITHER
    never = "" if then else "fragments that overlap make no datagram"
    tiny = transport.name == "TCP" and version == 6
    yield make(REAL, f"{kind}", cut(transport))
    if tiny:
        yield make(NEITHER, f"{kind} of 8 bytes", cut(transport, UNIT), blind=HEADERS, lossy=HEADERS)
    else:
        yield make(REAL, f"{kind} of 8 bytes", cut(transport, UNIT))
    yield make(REAL, f"{kind}, last first", cut(transport, 24, last_first))
    yield make(REAL, f"{kind}, first last", cut(transport, 24, head_last))
    yield make(REAL, f"{kind}, each twice", cut(transport, 24, doubled))
    for name, old, new in [
        ("new on old", (40, 88), (40, 88)),
        ("new inside old", (32, 96), (48, 80)),
        ("new around old", (48, 80), (32, 96)),
        ("new left of old", (48, 88), (32, 80)),
        ("new right of old", (32, 80), (48, 88)),
    ]:
        yield make(
            after, f"{kind}, {name}", overlap(transport, old, new, then=then), blind=DEFAULT, lossy=never
        )
    yield make(NEITHER, f"{kind}, two ends", two_ends(transport), blind=DEFAULT, lossy="it has two ends")
    yield make(REAL, f"{kind}, a gap", gap(transport))
    yield make(REAL, f"{kind}, two interleaved", another_id(transport))


EVASIONS = [
    *(row for transport in (TCP_SEGMENT, DATAGRAM) for version in (4, 6) for row in of(transport, version)),
    Evasion(REAL, "segments of 12 bytes in IPv4 fragments of 8", segments_in_fragments),
    Evasion(NEITHER, "segments of 12 bytes in IPv6 fragments of 8", segments_in_fragments, V6, blind=HEADERS, lossy=HEADERS),
    Evasion(REAL, "an atomic fragment", behind(atomic), V6),
    Evasion(REAL, "behind destination options", behind(options), V6),
    Evasion(REAL, "behind destination options, twice", behind(options, options), V6),
    Evasion(REAL, "behind hop-by-hop options", behind(hop_by_hop), V6),
    Evasion(REAL, "behind hop-by-hop options, an atomic fragment, destination options", behind(hop_by_hop, atomic, options), V6),
    Evasion(REAL, "decoy behind a routing header", decoy_behind(routing), V6, blind=REFUSED),
    Evasion(REAL, "decoy behind hop-by-hop options out of place", decoy_behind(options, hop_by_hop), V6, blind=REFUSED),
    Evasion(REAL, "with IP options", with_options(IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP())),
    Evasion(REAL, "with a recorded route", with_options(IPOption_RR(pointer=4, routers=["0.0.0.0"]))),
    Evasion(REAL, "decoy with a source route", decoy_with(options=[IPOption_LSRR(routers=["10.99.0.77"])]), blind=REFUSED),
    Evasion(REAL, "decoy of IP version 5", decoy_with(version=5)),
    Evasion(REAL, "decoy with an IP length past its end", decoy_with(len=1400)),
    Evasion(REAL, "decoy with an IP header too short", decoy_with(ihl=4)),
]  # fmt: skip


def more() -> Iterator[Evasion]:
    """Fragments of a text in every order."""
    for version in (4, 6):
        for order in permutations(range(5)):
            turn = lambda spans, order=order: [spans[at] for at in order if at < len(spans)]  # noqa: E731
            for transport in (TCP_SEGMENT, DATAGRAM):
                name = f"{transport.name} over IPv{version}, fragments in order {order}"
                yield Evasion(REAL, name, cut(transport, 24, turn), {"version": version}, sids=transport.sids)
