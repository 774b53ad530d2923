"""What must be looked at for a guest, as the engine tells it from the guest's signatures."""

from collections.abc import Mapping
from typing import Any

import msgspec

PortRange = tuple[int, int]
EVERY_PORT: PortRange = (0, 65535)


class Ends(msgspec.Struct, frozen=True):
    """Connections of which the guest's own port, or its peer's, lies in one of the ranges (disjoint)."""

    own: tuple[PortRange, ...] = ()
    peer: tuple[PortRange, ...] = ()


class Roles(msgspec.Struct, frozen=True):
    """By which end of a connection the guest is."""

    server: Ends = Ends()
    client: Ends = Ends()


class Directions(msgspec.Struct, frozen=True):
    """By which way bytes travel."""

    to_server: Roles = Roles()
    to_client: Roles = Roles()


class Needs(msgspec.Struct, frozen=True):
    """One guest's. empty: TCP's acknowledgments without payload, of what `tcp` has."""

    tcp: Directions = Directions()
    udp: Directions = Directions()
    empty: Directions = Directions()


_EVERY = Ends(own=(EVERY_PORT,))
_BOTH = Roles(_EVERY, _EVERY)
_ALL = Directions(_BOTH, _BOTH)
NOTHING = Needs()
EVERYTHING = Needs(_ALL, _ALL, empty=_ALL)


def needs_of(text: str) -> Mapping[str, Needs]:
    """Return each guest's needs from what the engine says. Raises ValueError if that is not of this form."""
    return needs_from(msgspec.json.decode(text))


def needs_from(value: Any) -> Mapping[str, Needs]:
    """Return each guest's needs from the decoded form of that. Raises ValueError where it is not one."""
    return msgspec.convert(value, dict[str, Needs])
