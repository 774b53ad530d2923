"""Guests, their vNICs and the segment they share, as `guests.yaml` or the hypervisor states them."""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

OpenOrClosed = Literal["open", "closed"]


class FailurePolicy(msgspec.Struct, frozen=True):
    """What happens to traffic when it cannot be inspected; `open` passes it, `closed` drops it."""

    inspector_down: OpenOrClosed = "open"
    queue_full: OpenOrClosed = "open"
    memory: OpenOrClosed = "open"
    malformed: OpenOrClosed = "open"
    midstream: OpenOrClosed = "open"
    parser_error: OpenOrClosed = "open"


class Segment(msgspec.Struct, frozen=True):
    """The guests on one bridge.

    trunk: the MAC of the card that leads to them all, in topology trunk; a guest's tap is then CARD.VLAN.
    nics: the MACs of cards that are its other ports. Where cards are named control makes the bridge and joins
    them; where none is, the bridge is somebody else's.
    """

    name: str
    bridge: str
    zone: int = 1
    failure: FailurePolicy = msgspec.field(default_factory=FailurePolicy)
    trunk: str | None = None
    nics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vnic:
    """A guest's network interface; `tap` is the bridge port that it ends at on this side.

    addresses: what it may speak with, as an operator wrote down. announced: what it says of itself, shown to
    people and good for nothing else, for a guest says what it likes.
    """

    name: str
    tap: str
    mac: str
    addresses: tuple[str, ...] = ()
    announced: tuple[str, ...] = field(default=(), compare=False)

    @property
    def shown_addresses(self) -> tuple[str, ...]:
        """All that people may know it by."""
        return tuple(dict.fromkeys((*self.addresses, *self.announced)))


class Guest(msgspec.Struct, frozen=True):
    """A virtual machine under protection."""

    name: str
    segment: str
    vnics: tuple[Vnic, ...]


class Unplaced(msgspec.Struct, frozen=True):
    """A guest's vNIC that is behind no port of ours.

    uuid: the guest's. led_here: it ought to be behind one.
    """

    uuid: str
    led_here: bool
    why: str


class GuestInventory(msgspec.Struct, frozen=True):
    """The guests to protect, their segments, and who should be here and is not."""

    segments: tuple[Segment, ...]
    guests: tuple[Guest, ...]
    unplaced: tuple[Unplaced, ...] = ()
