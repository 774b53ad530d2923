"""Who follows the list of guests, and what of it each has taken up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
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


class Followers:
    """Publishes the list, an edition at a time."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._listing: dict[str, Any] | None = None
        self._edition = 0
        self._followers: set[Follower] = set()

    async def publish(self, listing: dict[str, Any]) -> int:
        """Say the list to all who follow; return its edition."""
        async with self._changed:
            self._edition += 1
            self._listing = {**listing, "edition": self._edition}
            self._changed.notify_all()
            return self._edition

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
            self._changed.notify_all()

    async def taken_up(self, uuid: str, edition: int, within_s: float) -> bool:
        """Wait until an appliance protects the guest, as the edition says; False when none follows.

        Raises SystemFault when one does and takes longer.
        """

        def reached() -> bool:
            return any(
                (each.edition or 0) >= edition and uuid not in each.lacking for each in self._followers
            )

        if all(each.edition is None for each in self._followers):
            return False
        try:
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(reached)
        except TimeoutError:
            raise SystemFault(
                f"the appliance follows this helper, but did not take the guest up within {within_s:.0f} s; "
                "`sekisho status` there says why. The guest was not touched"
            ) from None
        return True
