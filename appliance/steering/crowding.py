"""Room in the kernel's table of connections, which all guests share.

While it is full (`nf_conntrack_max`) Linux drops every packet that would begin a connection, whosever it is;
by itself it gives up only what was never answered. So before it is full, those who hold most of it make room:
their connections that would end soonest are forgotten, what is over and then what has been silent longest. If
one goes on, it is known again from its next packet on, as midstream.
"""

import heapq
import ipaddress
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from appliance import netlink
from appliance.model.faults import SystemFault
from appliance.netns import entered

KNOWN, AT_MOST = (Path("/proc/sys/net/netfilter") / f"nf_conntrack_{name}" for name in ("count", "max"))
STATISTICS = Path("/proc/thread-self/net/stat/nf_conntrack")
CROWDED, ROOMY = 0.9, 0.8
"""Of what the table holds: from where on there is to be room, and how far it is made."""

CTNETLINK = 1 << 8
GET, DELETE = (CTNETLINK | number for number in (1, 2))
CTA_TUPLE_ORIG, CTA_TIMEOUT, CTA_ID, CTA_ZONE = 1, 7, 12, 18
CTA_TUPLE_IP = 1
CTA_IP = {4: (1, 2), 16: (3, 4)}
"""Where source and destination are, by how long an address is."""
NESTED = 0x8000
ANY_FAMILY = bytes(4)

Address = tuple[int, str]
"""A conntrack zone (a segment) and an address there."""


class Fill(msgspec.Struct, frozen=True):
    """How full the table is. refused: packets dropped so far because it was full."""

    known: int = 0
    at_most: int = 0
    refused: int = 0

    @property
    def share(self) -> float:
        """0 … 1; 0 too where there is no bound."""
        return self.known / self.at_most if self.at_most else 0.0


def read_fill(netns: str | None) -> Fill:
    """Return how full the namespace's table is. Raises SystemFault."""
    try:
        with entered(netns):
            known, at_most = (int(path.read_text()) for path in (KNOWN, AT_MOST))
            return Fill(known, at_most, _refused())
    except (OSError, ValueError) as error:
        raise SystemFault(f"conntrack: cannot read how full its table is: {error}") from error


def _refused() -> int:
    """Return the kernel's `drop` over all processors, without what was not inserted for another reason."""
    names, *processors = (line.split() for line in STATISTICS.read_text().splitlines())
    drop, failed = names.index("drop"), names.index("insert_failed")
    return sum(max(0, int(each[drop], 16) - int(each[failed], 16)) for each in processors)


def make_room(netns: str | None, zones: Collection[int], guests: Mapping[Address, str]) -> Counter[str]:
    """Have those who hold most forget connections until ROOMY is reached; return how many, by who.

    guests: who has which address for sure. A connection counts for the guest that began it, else for the one
    that it is to; else for the address that more of them have. Of other zones than these nothing is taken.
    Raises SystemFault.
    """
    fill = read_fill(netns)
    pairs = Counter(pair for pair, _ in _entries(netns, zones))
    holders = _holders(pairs, guests)
    held: Counter[str] = Counter()
    for pair, count in pairs.items():
        held[holders[pair]] += count
    others = max(0, fill.known - held.total())
    level = water_level([*held.values(), others], int(fill.at_most * ROOMY))
    surplus = {holder: count - level for holder, count in held.items() if count > level}
    soonest: dict[str, list[tuple[int, bytes]]] = {holder: [] for holder in surplus}
    for pair, entry in _entries(netns, zones):
        # What began meanwhile is nobody's yet.
        if (mine := soonest.get(holders.get(pair, ""))) is not None:
            mine.append(_order(entry))
    given_up = {holder: heapq.nsmallest(surplus[holder], mine) for holder, mine in soonest.items()}
    netlink.order(netns, netlink.NETFILTER, DELETE, (body for each in given_up.values() for _, body in each))
    return Counter({holder: len(each) for holder, each in given_up.items() if each})


def water_level(held: Collection[int], room: int) -> int:
    """Return the most that anyone may hold so that all together hold no more than room."""
    level, left = 0, room
    for position, each in enumerate(sorted(held)):
        level = left // (len(held) - position)
        if each > level:
            return level
        left -= each
    return max(held, default=0)


Pair = tuple[int, bytes]
"""A zone, and both addresses as the kernel tells them."""


def _entries(netns: str | None, zones: Collection[int]) -> Iterator[tuple[Pair, memoryview]]:
    """Yield who speaks with whom, and the entry, of each connection in these zones."""
    for entry in netlink.listed(netns, netlink.NETFILTER, GET, ANY_FAMILY):
        said = netlink.attributes(entry[len(ANY_FAMILY) :], last=CTA_ZONE)
        zone = int.from_bytes(said.get(CTA_ZONE, b""), "big")
        if zone in zones and CTA_TUPLE_ORIG in said:
            addresses = netlink.attributes(said[CTA_TUPLE_ORIG], last=CTA_TUPLE_IP).get(CTA_TUPLE_IP, b"")
            yield (zone, bytes(addresses)), entry


def _holders(pairs: Counter[Pair], guests: Mapping[Address, str]) -> dict[Pair, str]:
    """Return for whom the connections of each pair count: a guest, or an address in words."""
    ends = {pair: _ends(pair) for pair in pairs}
    of_address: Counter[Address] = Counter()
    for pair, count in pairs.items():
        for end in set(ends[pair]):
            of_address[end] += count

    def holder(pair: Pair) -> str:
        known = [guests[end] for end in ends[pair] if end in guests]
        address = max(ends[pair], key=lambda end: of_address[end], default=(0, "?"))
        return f"guest {known[0]}" if known else address[1]

    return {pair: holder(pair) for pair in pairs}


def _ends(pair: Pair) -> tuple[Address, ...]:
    zone, raw = pair
    said = netlink.attributes(memoryview(raw))
    for length, kinds in CTA_IP.items():
        if all(len(said.get(kind, b"")) == length for kind in kinds):
            return tuple((zone, str(ipaddress.ip_address(bytes(said[kind])))) for kind in kinds)
    return ()


def _order(entry: memoryview) -> tuple[int, bytes]:
    """Return in how many seconds the kernel forgets it anyway, and what is said to have it forget it now."""
    said = netlink.attributes(entry[len(ANY_FAMILY) :])
    body = bytes(entry[: len(ANY_FAMILY)])
    for kind in (CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE):
        if kind in said:
            nested = NESTED if kind == CTA_TUPLE_ORIG else 0
            body += netlink.attribute(kind | nested, bytes(said[kind]))
    return int.from_bytes(said.get(CTA_TIMEOUT, b""), "big"), body
