"""Which connections are looked at: sets of a guest's port number, a transport and a port of the connection.

Names are `WAY_END_PORT`: `to_server`, `to_client` or, where the direction is not known or does not matter,
`any`, and `empty_to_server` and `empty_to_client` for acknowledgments without payload; `from` or `to` the
guest whose signatures look; that guest's `own` port or its `peer`'s.

    to_server_to_own    mark & OUT_PORT . tcp . destination port
    any_from_peer       mark & IN_PORT . udp . destination port
"""

from collections.abc import Container, Iterator, Mapping
from typing import Any, Literal, get_args

from appliance.firewall import nft
from appliance.firewall.nft import Set
from appliance.firewall.rules import FROM_PORT, TO_PORT
from appliance.model.links import Links
from appliance.model.marks import OUT_PORT_SHIFT
from appliance.model.needs import NOTHING, Directions, Ends, Needs, PortRange

Way = Literal["to_server", "to_client", "any", "empty_to_server", "empty_to_client"]
WAYS: tuple[Way, ...] = get_args(Way)
TYPE = ("mark", "inet_proto", "inet_service")


def lookups(way: Way, end: Literal["from", "to"], looked_at: Container[str]) -> Iterator[nft.Statement]:
    """Yield the comparisons of which one holds for a packet from or to a guest that looks at it.

    looked_at: the sets that hold anything; to ask the others would cost every packet.
    """
    guest, own, peer = (FROM_PORT, "sport", "dport") if end == "from" else (TO_PORT, "dport", "sport")
    for whose, port in (("own", own), ("peer", peer)):
        if f"{way}_{end}_{whose}" not in looked_at:
            continue
        key = nft.concat(guest, nft.meta("l4proto"), nft.payload("th", port))
        yield nft.match(key, f"@{way}_{end}_{whose}")


def look_sets(needs: Mapping[str, Needs], links: Links) -> Iterator[Set]:
    """Yield the sets. needs: by guest; one that is missing has none."""
    for way in WAYS:
        for end, shift in (("from", 0), ("to", OUT_PORT_SHIFT)):
            for whose in ("own", "peer"):
                elements: list[Any] = []
                for port in links.ports:
                    found = _ports(needs.get(port.guest, NOTHING), way, end, whose)
                    elements += [
                        nft.concat(port.number << shift, transport, _range(ports))
                        for transport, ranges in found
                        for ports in ranges
                    ]
                yield Set(f"{way}_{end}_{whose}", TYPE, tuple(elements), flags=("interval",))


def _ports(needs: Needs, way: Way, end: str, whose: str) -> Iterator[tuple[str, tuple[PortRange, ...]]]:
    """Yield the ranges by transport. Who opened a UDP exchange is not known, so it has no directions."""
    if way == "any":
        yield "tcp", _merged([*_all_ends(needs.tcp)], whose)
        yield "udp", _merged([*_all_ends(needs.udp)], whose)
        return
    directions = needs.empty if way.startswith("empty") else needs.tcp
    to_server = way.endswith("to_server")
    yield "tcp", _merged([_end(directions, end, to_server=to_server)], whose)


def _end(directions: Directions, end: str, *, to_server: bool) -> Ends:
    """What is sent to the server comes from the guest that is client, and goes to the one that is server."""
    roles = directions.to_server if to_server else directions.to_client
    return roles.client if (end == "from") == to_server else roles.server


def _all_ends(directions: Directions) -> Iterator[Ends]:
    for roles in (directions.to_server, directions.to_client):
        yield from (roles.server, roles.client)


def _merged(ends: list[Ends], whose: str) -> tuple[PortRange, ...]:
    """Return disjoint ranges: the kernel refuses elements that overlap."""
    merged: list[PortRange] = []
    for first, last in sorted(r for each in ends for r in (each.own if whose == "own" else each.peer)):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _range(ports: PortRange) -> Any:
    first, last = ports
    return first if first == last else {"range": [first, last]}
