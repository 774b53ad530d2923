"""That nobody finds full what the kernel has for all, connections and fragments: looked after, and said."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from appliance.model.guest import Guest, GuestInventory
from appliance.reporting.journal import Journal
from appliance.steering.crowding import CROWDED, HOSTS, ROOMY, Address, Fill, Made, make_room, read_fill
from appliance.steering.fragments import Fragments, read_fragments

LOOK_S = 1.0
LOOK_OFTEN_S, BUSY = 0.1, 0.5
"""From this share on: a flood of connections may fill what is left within a second."""
REST = 10
"""After a look through the whole table that did not help, so many times as long as it took."""
SAY_EVERY_S = 60.0
NAMED = 10
"""At most so many of those who made room are told of, most first: each is an event."""


class Room(msgspec.Struct):
    """How full the table is; connections that were forgotten to make room, and packets refused, so far."""

    fill: Fill = msgspec.field(default_factory=Fill)
    given_up: int = 0
    refused: int = 0
    _rest_until: float = 0.0
    _unsaid: Counter[str] = msgspec.field(default_factory=Counter)
    _unsaid_refused: int = 0
    _unsaid_others: int = 0
    _said_at: float | None = None
    _fragments: Fragments = msgspec.field(default_factory=Fragments)
    _unsaid_fragments: int = 0
    _said_fragments_at: float | None = None

    async def keep(
        self, netns: str | None, journal: Journal, inventory: Callable[[], GuestInventory]
    ) -> None:
        """Make room whenever there is little, and note it. Raises SystemFault."""
        self.fill = await asyncio.to_thread(read_fill, netns)
        self._fragments = await asyncio.to_thread(read_fragments, netns)
        while True:
            await asyncio.sleep(LOOK_OFTEN_S if self.fill.share > BUSY else LOOK_S)
            self._count(await asyncio.to_thread(read_fill, netns))
            if self.fill.share >= CROWDED and time.monotonic() >= self._rest_until:
                await self._make(netns, inventory())
            self._say(journal)
            self._say_fragments(journal, await asyncio.to_thread(read_fragments, netns))

    def _count(self, fill: Fill) -> None:
        refused = max(0, fill.refused - self.fill.refused)
        self.refused += refused
        self._unsaid_refused += refused
        self.fill = fill

    async def _make(self, netns: str | None, inventory: GuestInventory) -> None:
        began, excess = time.monotonic(), self.fill.known - self.fill.at_most * ROOMY
        made = await asyncio.to_thread(_make, netns, inventory)
        ended = time.monotonic()
        self._count(await asyncio.to_thread(read_fill, netns))
        self.given_up += made.given_up.total()
        self._unsaid += made.given_up
        if made.given_up.total() < excess / 2:
            self._rest_until = ended + max(LOOK_S, REST * (ended - began))
            self._unsaid_others = made.others

    def _say(self, journal: Journal) -> None:
        """Note what happened: at once, and then once in a while."""
        now = time.monotonic()
        if not _is_due(self._said_at, now) or not (
            self._unsaid_refused or self._unsaid or self._unsaid_others
        ):
            return
        of = f"the kernel's table of connections ({self.fill.at_most} at most)"
        if self._unsaid_refused:
            message = f"{of} was full: {self._unsaid_refused} packets of new connections were dropped"
            journal.note("connections-full", message, 1, packets=self._unsaid_refused)
        for holder, count in self._unsaid.most_common(NAMED):
            message = f"{of} was nearly full: {count} connections of {holder} were forgotten"
            journal.note("connections-crowded", message, 1, holder=holder, connections=count)
        if self._unsaid_others > self.fill.at_most * CROWDED / 2:
            message = f"{of} is nearly full: {self._unsaid_others} of it are no guest's, and stay"
            journal.note("connections-crowded", message, 1, holder=None, connections=self._unsaid_others)
        self._said_at, self._unsaid_refused, self._unsaid_others = now, 0, 0
        self._unsaid.clear()

    def _say_fragments(self, journal: Journal, fragments: Fragments) -> None:
        before, self._fragments = self._fragments, fragments
        self._unsaid_fragments += fragments.found_no_room_since(before)
        now = time.monotonic()
        if self._unsaid_fragments and _is_due(self._said_fragments_at, now):
            message = (
                f"fragments whose rest does not come take all that the kernel has for them "
                f"({fragments.bytes} bytes): {self._unsaid_fragments} others were dropped, whosever they are"
            )
            journal.note("fragments-full", message, 1, fragments=self._unsaid_fragments)
            self._said_fragments_at, self._unsaid_fragments = now, 0

    def status(self) -> Mapping[str, Any]:
        """Return how full it is, for the status."""
        return {**msgspec.structs.asdict(self.fill), "refused": self.refused, "given_up": self.given_up}


def _is_due(said_at: float | None, now: float) -> bool:
    return said_at is None or now - said_at >= SAY_EVERY_S


def _make(netns: str | None, inventory: GuestInventory) -> Made:
    """Make room. Raises SystemFault."""
    zones = {segment.name: segment.zone for segment in inventory.segments}
    return make_room(netns, frozenset(zones.values()), pinned(inventory.guests, zones))


def pinned(guests: Iterable[Guest], zones: Mapping[str, int]) -> dict[Address, str]:
    """Return whose each pinned address is: on its segment, and in the host's zone if nobody else has it."""
    found: dict[Address, str] = {}
    everywhere: dict[str, set[str]] = {}
    for guest in guests:
        for address in (each for vnic in guest.vnics for each in vnic.addresses):
            found[zones[guest.segment], address] = guest.name
            everywhere.setdefault(address, set()).add(guest.name)
    unique = {address: names for address, names in everywhere.items() if len(names) == 1}
    return found | {(HOSTS, address): names.pop() for address, names in unique.items()}
