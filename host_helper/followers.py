"""Who follows the list of guests, and what of it each has taken up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from appliance.model.faults import SystemFault

REPEAT_S = 10.0
"""So that who follows can tell a helper that has nothing new from one that is gone."""


class Follower:
    """One connection.

    edition: the last that it said it protects; None for one that only reads along. lacking: the UUIDs of
    guests in it whom it has no port for.
    """

    def __init__(self) -> None:
        self.edition: int | None = None
        self.lacking: frozenset[str] = frozenset()


_Led = tuple[str, str, str | None, int | None]
"""A guest's UUID and its vNIC's MAC, and the appliance's port and VLAN that it is behind."""


class Followers:
    """Publishes the list, an edition at a time. any_ever: whether one ever said that it protects."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._listing: dict[str, Any] | None = None
        self._edition = 0
        self._followers: set[Follower] = set()
        self._since: dict[_Led, int] = {}
        self.any_ever = False

    async def publish(self, listing: dict[str, Any]) -> int:
        """Say the list to all who follow, if it is another one; return its edition."""
        async with self._changed:
            if self._listing != {**listing, "edition": self._edition}:
                self._edition += 1
                self._listing = {**listing, "edition": self._edition}
                self._since = {led: self._since.get(led, self._edition) for led in _led(listing)}
                self._changed.notify_all()
            return self._edition

    def know(self, uuid: str, mac: str, port: str, vlan: int | None) -> bool:
        """Whether an appliance protects this vNIC of the guest at this port."""
        since = self._since.get((uuid, mac, port, vlan))
        return since is not None and self._reached(uuid, since)

    async def trouble(self, why: str) -> None:
        """Say the last list once more, with why there is no newer one."""
        await self.publish({**(self._listing or {"guests": []}), "trouble": why})

    async def follow(self, follower: Follower) -> AsyncIterator[dict[str, Any]]:
        """Yield the list now and each new edition, for ever; the old one again if none came for long."""
        known = 0
        self._followers.add(follower)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REPEAT_S), self._changed:
                        await self._changed.wait_for(lambda seen=known: self._edition > seen)  # type: ignore[misc]
                known = self._edition
                if self._listing is not None:
                    yield self._listing
        finally:
            self._followers.discard(follower)

    async def took_up(self, follower: Follower, edition: int, lacking: Iterable[str]) -> None:
        """Note that the follower protects what the edition says, but for some."""
        async with self._changed:
            follower.edition, follower.lacking = min(edition, self._edition), frozenset(lacking)
            self.any_ever = True
            self._changed.notify_all()

    async def taken_up(self, uuid: str, edition: int, within_s: float) -> bool:
        """Wait until an appliance protects the guest, as the edition says; False when none follows.

        Raises SystemFault when one does and takes longer.
        """
        if all(each.edition is None for each in self._followers):
            return False
        try:
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(lambda: self._reached(uuid, edition))
        except TimeoutError:
            raise SystemFault(
                f"the appliance follows this helper, but did not take the guest up within {within_s:.0f} s; "
                "`sekisho status` there says why. The guest was not touched"
            ) from None
        return True

    def _reached(self, uuid: str, edition: int) -> bool:
        return any((each.edition or 0) >= edition and uuid not in each.lacking for each in self._followers)


def _led(listing: dict[str, Any]) -> Iterator[_Led]:
    for guest in listing["guests"]:
        if guest["protected"]:
            for vnic in guest["vnics"]:
                yield guest["uuid"], vnic["mac"], vnic["port"], vnic["vlan"]
