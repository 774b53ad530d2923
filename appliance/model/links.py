"""Bridges and bridge ports as the kernel has them."""

import msgspec

MAX_PORT_NUMBER = 1023


class BridgeLink(msgspec.Struct, frozen=True):
    """A segment's bridge. members: the names of all its ports, guests' or not."""

    name: str
    ifindex: int
    mac: str
    members: tuple[str, ...]


class Port(msgspec.Struct, frozen=True):
    """The bridge port that a guest's vNIC ends at.

    number: 1…1023, what packet marks call the port; it stays the port's as long as the port is known.
    ifindex and mtu are 0 while there is no such interface (the guest is off).
    """

    tap: str
    number: int
    guest: str
    segment: str
    ifindex: int = 0
    mtu: int = 0


class Links(msgspec.Struct, frozen=True):
    """What of an inventory the kernel has. missing: one sentence a bridge or tap that it has not."""

    bridges: tuple[BridgeLink, ...]
    ports: tuple[Port, ...]
    missing: tuple[str, ...] = ()
