"""Room in the kernel's table of connections, which all guests share.

While it is full (`nf_conntrack_max`) Linux drops every packet that would begin a connection, whosever it is;
by itself it gives up only what was never answered. So before what was answered fills it, those who hold most
of it make room: their connections that would end soonest are forgotten, what is over and then what has been
silent longest. If one goes on, it is known again from its next packet on, as midstream.

Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_core.c (early_drop).
"""

import heapq
import ipaddress
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from appliance import netlink

CROWDED, ROOMY = 0.75, 0.5
"""Of what the table holds: from where on there is to be room, and how far it is made. To look through all of
it takes a second or more, in which a flood goes on."""

CTNETLINK = 1 << 8
GET, DELETE, GET_STATS_CPU, GET_STATS = (CTNETLINK | number for number in (1, 2, 4, 5))
CTA_TUPLE_ORIG, CTA_STATUS, CTA_TIMEOUT, CTA_ID, CTA_ZONE = 1, 3, 7, 12, 18
STATS_ENTRIES, STATS_MAX_ENTRIES = 1, 2
STATS_INSERT_FAILED, STATS_DROP = 9, 10
"""A processor's: drop is also said of what was not inserted for another reason than room."""
CTA_IP = {4: (1, 2), 16: (3, 4)}
"""Where source and destination are, by how long an address is."""
ASSURED = 1 << 2
"""Of the status: packets went both ways, so Linux does not give the entry up by itself."""
NESTED = 0x8000
ANY_FAMILY = bytes(4)
HOSTS = 0
"""The zone of what leaves a bridge for its host."""

Address = tuple[int, str]
"""A conntrack zone (a segment) and an address there."""
Pair = tuple[int, bytes]
"""A zone, and both addresses as the kernel tells them."""


class Fill(msgspec.Struct, frozen=True):
    """How full the table is. refused: packets dropped because it was, as far as the kernel counts them."""

    known: int = 0
    at_most: int = 0
    refused: int = 0

    @property
    def share(self) -> float:
        """0 … 1; 0 too where there is no bound."""
        return self.known / self.at_most if self.at_most else 0.0


class Made(msgspec.Struct, frozen=True):
    """given_up: connections that were forgotten, by whose they were. others: those that are no guest's."""

    given_up: Counter[str] = msgspec.field(default_factory=Counter)
    others: int = 0


def read_fill(netns: str | None) -> Fill:
    """Return how full the namespace's table is. Raises SystemFault."""
    known, at_most, refused = 0, 0, 0
    for said in _statistics(netns, GET_STATS, 0):
        known, at_most = said.get(STATS_ENTRIES, 0), said.get(STATS_MAX_ENTRIES, 0)
    for said in _statistics(netns, GET_STATS_CPU, netlink.DUMP):
        refused += max(0, said.get(STATS_DROP, 0) - said.get(STATS_INSERT_FAILED, 0))
    return Fill(known, at_most, refused)


def _statistics(netns: str | None, kind: int, flags: int) -> Iterator[dict[int, int]]:
    for said in netlink.ask(netns, netlink.NETFILTER, kind, ANY_FAMILY, flags=flags):
        found = netlink.attributes(said[len(ANY_FAMILY) :])
        yield {number: int.from_bytes(value, "big") for number, value in found.items()}


def make_room(netns: str | None, zones: Collection[int], guests: Mapping[Address, str]) -> Made:
    """Have those who hold most forget connections until ROOMY is reached.

    zones: the segments'. guests: who has which address for sure. Raises SystemFault.
    """
    fill = read_fill(netns)
    if fill.share < CROWDED:
        return Made()
    answered = Answered.read(netns, {*zones, HOSTS})
    held = Holdings(answered.counts(), guests)
    others = answered.elsewhere + held.hosts
    level = water_level([*held.by_holder.values(), others], int(fill.at_most * ROOMY))
    given_up: Counter[str] = Counter()
    for holder, count in held.by_holder.items():
        if count > level:
            going = answered.soonest(held.pairs_to_take(holder, level), count - level)
            netlink.order(netns, netlink.NETFILTER, DELETE, map(answered.order, going))
            given_up[held.name(holder)] += len(going)
    return Made(+given_up, others)


def water_level(held: Iterable[int], room: int) -> int:
    """Return the most that anyone may hold so that all together hold no more than room."""
    amounts, level, left = sorted(held), 0, room
    for position, each in enumerate(amounts):
        level = left // (len(amounts) - position)
        if each > level:
            return level
        left -= each
    return max(amounts, default=0)


class Answered(msgspec.Struct):
    """The connections of some zones that were answered, one row an entry in each of the arrays.

    elsewhere: how many there are in other zones.
    """

    elsewhere: int = 0
    _numbers: dict[Pair, int] = msgspec.field(default_factory=dict)
    _pair: "array[int]" = msgspec.field(default_factory=lambda: array("I"))
    _timeout_s: "array[int]" = msgspec.field(default_factory=lambda: array("I"))
    _buffer: "array[int]" = msgspec.field(default_factory=lambda: array("I"))
    _begin: "array[int]" = msgspec.field(default_factory=lambda: array("I"))
    _buffers: list[bytes] = msgspec.field(default_factory=list)

    @classmethod
    def read(cls, netns: str | None, zones: Collection[int]) -> "Answered":
        """Have the kernel list them. Raises SystemFault."""
        answered = cls()
        for data, begin, end in netlink.listed(netns, netlink.NETFILTER, GET, ANY_FAMILY):
            answered._take(data, begin, end, zones)
        return answered

    def _take(self, data: bytes, begin: int, end: int, zones: Collection[int]) -> None:
        """Note an entry. Of each of a hundred thousand: so by offsets, which the attributes' lengths give."""
        at = begin + len(ANY_FAMILY)
        addresses, zone, status, timeout_s = b"", 0, 0, 0
        while at + netlink.ATTRIBUTE.size <= end:
            length, kind = netlink.ATTRIBUTE.unpack_from(data, at)
            kind &= netlink.TYPE_BITS
            if length < netlink.ATTRIBUTE.size or at + length > end:
                break
            if kind == CTA_TUPLE_ORIG:  # the addresses stand first in it
                size, _ = netlink.ATTRIBUTE.unpack_from(data, at + 4) if length >= 8 else (0, 0)
                addresses = data[at + 8 : at + 4 + min(size, length - 4)]
            elif kind == CTA_ZONE:
                zone = int.from_bytes(data[at + 4 : at + length], "big")
            elif kind == CTA_STATUS:
                status = int.from_bytes(data[at + 4 : at + length], "big")
            elif kind == CTA_TIMEOUT:
                timeout_s = int.from_bytes(data[at + 4 : at + 8], "big")
                break
            at += length + 3 & ~3
        if not status & ASSURED:
            return
        if zone not in zones:
            self.elsewhere += 1
            return
        if not self._buffers or self._buffers[-1] is not data:
            self._buffers.append(data)
        self._pair.append(self._numbers.setdefault((zone, addresses), len(self._numbers)))
        self._timeout_s.append(timeout_s)
        self._buffer.append(len(self._buffers) - 1)
        self._begin.append(begin)

    def counts(self) -> Counter[Pair]:
        """Return how many there are of each pair of ends."""
        by_number = Counter(self._pair)
        return Counter({pair: by_number[number] for pair, number in self._numbers.items()})

    def soonest(self, pairs: Collection[Pair], at_most: int) -> list[int]:
        """Return which rows of these pairs would end soonest."""
        wanted = {self._numbers[pair] for pair in pairs}
        rows = (row for row, number in enumerate(self._pair) if number in wanted)
        return heapq.nsmallest(at_most, rows, key=self._timeout_s.__getitem__)

    def order(self, row: int) -> bytes:
        """Return what is said to the kernel to have it forget this connection, and no other of these ends."""
        data = memoryview(self._buffers[self._buffer[row]])
        begin = self._begin[row]
        size = netlink.HEADER.unpack_from(data, begin - netlink.HEADER.size)[0] - netlink.HEADER.size
        said = netlink.attributes(data[begin + len(ANY_FAMILY) : begin + size])
        body = bytes(data[begin : begin + len(ANY_FAMILY)])
        for kind in (CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE):
            if kind in said:
                nested = NESTED if kind == CTA_TUPLE_ORIG else 0
                body += netlink.attribute(kind | nested, bytes(said[kind]))
        return body


class Holdings:
    """Whose connections they are: a guest's that began them; else a guest's that they are to, if many did.

    All else of a segment is its strangers', together: one may forge any number of addresses, and must not
    thereby be many. In the host's own zone what a guest began is the guest's, and all else the host's.
    """

    def __init__(self, pairs: Counter[Pair], guests: Mapping[Address, str]) -> None:
        self._guests = guests
        self._ends = {pair: _ends(pair) for pair in pairs}
        inbound: Counter[Address] = Counter()
        self._of_address: Counter[Address] = Counter()
        for pair, count in pairs.items():
            inbound.update(dict.fromkeys(self._ends[pair][1:], count))
            self._of_address.update(dict.fromkeys(self._ends[pair], count))
        self.hosts = 0
        self.by_holder: Counter[str | int] = Counter()
        self._pairs: dict[str | int, Counter[Pair]] = defaultdict(Counter)
        for pair, count in pairs.items():
            few = any(count * 4 > inbound[receiver] for receiver in self._ends[pair][1:])
            holder = self._holder(pair, few=few)
            if holder is None:
                self.hosts += count
                continue
            self.by_holder[holder] += count
            self._pairs[holder][pair] = count

    def _holder(self, pair: Pair, *, few: bool) -> str | int | None:
        """Return a guest's name, the zone of strangers, or None. few: the source began a good part itself."""
        zone, _ = pair
        known = [self._guests.get(end) for end in self._ends[pair]]
        sender, receiver = known or (None, None)
        if sender is not None:
            return sender
        if zone == HOSTS:
            return None
        return zone if few or receiver is None else receiver

    def pairs_to_take(self, holder: str | int, level: int) -> Collection[Pair]:
        """Return of which pairs some may go so that level is left: of strangers, of those who have most."""
        pairs = self._pairs[holder]
        if isinstance(holder, str):
            return pairs
        held = self._held_by_address(holder)
        most = water_level(held.values(), level)
        return [pair for pair in pairs if held[self._address(pair)] > most]

    def name(self, holder: str | int) -> str:
        """Return who that is, in words."""
        if isinstance(holder, str):
            return f"guest {holder}"
        (((_, address), _),) = self._held_by_address(holder).most_common(1)
        return f"addresses that are no guest's, most of {address}"

    def _held_by_address(self, zone: int) -> Counter[Address]:
        held: Counter[Address] = Counter()
        for pair, count in self._pairs[zone].items():
            held[self._address(pair)] += count
        return held

    def _address(self, pair: Pair) -> Address:
        """Return the stranger of a pair; of two the one that more connections have."""
        strangers = [end for end in self._ends[pair] if end not in self._guests]
        return max(strangers, key=self._of_address.__getitem__, default=(pair[0], "?"))


def _ends(pair: Pair) -> tuple[Address, ...]:
    zone, raw = pair
    said = netlink.attributes(memoryview(raw))
    for length, kinds in CTA_IP.items():
        if all(len(said.get(kind, b"")) == length for kind in kinds):
            return tuple((zone, str(ipaddress.ip_address(bytes(said[kind])))) for kind in kinds)
    return ()
