"""Guests, their vNICs and the segment they share, as `guests.yaml` or the hypervisor states them."""

from dataclasses import dataclass, field
from typing import Literal

OpenOrClosed = Literal["open", "closed"]


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """What happens to traffic when it cannot be inspected; `open` passes it, `closed` drops it."""

    inspector_down: OpenOrClosed = "open"
    queue_full: OpenOrClosed = "open"
    memory: OpenOrClosed = "open"
    malformed: OpenOrClosed = "open"
    midstream: OpenOrClosed = "open"
    parser_error: OpenOrClosed = "open"


@dataclass(frozen=True, slots=True)
class Segment:
    """The guests on one bridge."""

    name: str
    bridge: str
    zone: int = 1
    failure: FailurePolicy = field(default_factory=FailurePolicy)


@dataclass(frozen=True, slots=True)
class Vnic:
    """A guest's network interface; `tap` is the bridge port that it ends at on this side."""

    name: str
    tap: str
    mac: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guest:
    """A virtual machine under protection."""

    name: str
    segment: str
    vnics: tuple[Vnic, ...]


@dataclass(frozen=True, slots=True)
class GuestInventory:
    """All that `guests.yaml` says."""

    segments: tuple[Segment, ...]
    guests: tuple[Guest, ...]
