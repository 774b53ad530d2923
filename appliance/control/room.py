"""That nobody finds full what the kernel has for all, connections and fragments: looked after, and said."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from appliance.model.guest import GuestInventory
from appliance.reporting.journal import Journal
from appliance.steering.crowding import CROWDED, Fill, make_room, read_fill
from appliance.steering.fragments import Fragments, read_fragments

LOOK_S = 1.0
LOOK_OFTEN_S, BUSY = 0.1, 0.5
"""From this share on: a flood of connections may fill what is left within a second."""
SAY_EVERY_S = 60.0


class Room(msgspec.Struct):
    """How full the table is, and how many connections so far were forgotten to make room."""

    fill: Fill = msgspec.field(default_factory=Fill)
    given_up: int = 0
    _unsaid: Counter[str] = msgspec.field(default_factory=Counter)
    _unsaid_refused: int = 0
    _said_at: float | None = None
    _said_fragments_at: float | None = None

    async def keep(
        self, netns: str | None, journal: Journal, inventory: Callable[[], GuestInventory]
    ) -> None:
        """Make room whenever there is little, and note it. Raises SystemFault."""
        self.fill = await asyncio.to_thread(read_fill, netns)
        while True:
            await asyncio.sleep(LOOK_OFTEN_S if self.fill.share > BUSY else LOOK_S)
            before, self.fill = self.fill, await asyncio.to_thread(read_fill, netns)
            self._unsaid_refused += max(0, self.fill.refused - before.refused)
            if self.fill.share >= CROWDED:
                given_up = await asyncio.to_thread(_make, netns, inventory())
                self.given_up += given_up.total()
                self._unsaid += given_up
            self._say(journal)
            self._say_fragments(journal, await asyncio.to_thread(read_fragments, netns))

    def _say(self, journal: Journal) -> None:
        """Note what happened: at once, and then once in a while."""
        now = time.monotonic()
        if not _is_due(self._said_at, now):
            return
        of = f"the kernel's table of connections ({self.fill.at_most} at most)"
        if self._unsaid_refused:
            message = f"{of} was full: {self._unsaid_refused} packets of new connections were dropped"
            journal.note("connections-full", message, 1, packets=self._unsaid_refused)
        for holder, count in self._unsaid.most_common():
            message = f"{of} was nearly full: {count} connections of {holder}, who has most, were forgotten"
            journal.note("connections-crowded", message, 1, holder=holder, connections=count)
        if self._unsaid_refused or self._unsaid:
            self._said_at, self._unsaid_refused = now, 0
            self._unsaid.clear()

    def _say_fragments(self, journal: Journal, fragments: Fragments) -> None:
        now = time.monotonic()
        if fragments.are_refused and _is_due(self._said_fragments_at, now):
            message = (
                f"fragments whose rest does not come take all that the kernel has for them "
                f"({fragments.at_most} bytes): fragmented datagrams of all guests are dropped"
            )
            journal.note("fragments-full", message, 1, bytes=fragments.bytes)
            self._said_fragments_at = now

    def status(self) -> Mapping[str, Any]:
        """Return how full it is, for the status."""
        return {**msgspec.structs.asdict(self.fill), "given_up": self.given_up}


def _is_due(said_at: float | None, now: float) -> bool:
    return said_at is None or now - said_at >= SAY_EVERY_S


def _make(netns: str | None, inventory: GuestInventory) -> Counter[str]:
    """Make room, and return who forgot how many connections for it. Raises SystemFault."""
    zones = {segment.name: segment.zone for segment in inventory.segments}
    guests = {
        (zones[guest.segment], address): guest.name
        for guest in inventory.guests
        for vnic in guest.vnics
        for address in vnic.addresses
    }
    return make_room(netns, frozenset(zones.values()), guests)
