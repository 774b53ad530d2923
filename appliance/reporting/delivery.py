"""Brings what is in the spool to the manager, once, however often either side dies in between."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from appliance.model.faults import SystemFault
from appliance.reporting.client import ManagerClient, Refused
from appliance.reporting.spool import MAX_EVENTS, Batch, Gap, SpoolReader

log = logging.getLogger("sekisho")

LOOK_AGAIN_S = 0.25
DISK_AGAIN_S = 5.0
RETRY_MAX_S = 15.0


@dataclass(slots=True)
class Delivery:
    """One task that empties the spool.

    on_lost is called with what cannot be delivered any more (lane, first number, count, why), before the
    cursor moves past it: dying in between announces the loss twice, never not at all.
    """

    reader: SpoolReader
    client: ManagerClient
    on_lost: Callable[[str, int, int, str], None]
    delivered: int = 0
    error: str | None = None
    _max_events: int = field(default=MAX_EVENTS)

    async def run(self) -> None:
        """Deliver until cancelled. A manager that is away is waited for, and so is a disk that is full."""
        while True:
            try:
                pause_s = 0.0 if await self.step() else LOOK_AGAIN_S
            except OSError as fault:
                # How far we are is still known here; written down it is with what is delivered next.
                log.warning("spool: what is delivered cannot be noted: %s", fault)
                pause_s = DISK_AGAIN_S
            await asyncio.sleep(pause_s)

    async def step(self) -> bool:
        """Deal with one batch or gap; return whether there was one."""
        found = await asyncio.to_thread(self.reader.next, self._max_events)
        match found:
            case None:
                return False
            case Gap():
                self.on_lost(found.lane, found.first, found.count, "evicted: the spool was full")
            case Batch():
                if not await self._deliver(found):
                    return True
        await asyncio.to_thread(self.reader.advance, found)
        return True

    async def _deliver(self, batch: Batch) -> bool:
        """Post the batch; return False when it is to be tried again in smaller parts."""
        try:
            await self._post(batch)
        except Refused as refused:
            if len(batch.events) > 1:
                self._max_events = max(1, len(batch.events) // 2)
                return False
            self.on_lost(batch.lane, batch.first, 1, str(refused))
        else:
            self.delivered += len(batch.events)
            self._max_events = min(MAX_EVENTS, self._max_events * 2)
        return True

    async def _post(self, batch: Batch) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(SystemFault),
            wait=wait_random_exponential(multiplier=0.1, max=RETRY_MAX_S),
        )
        async for attempt in retrying:
            with attempt:
                try:
                    await self.client.post_events(batch)
                except SystemFault as fault:
                    self.error = str(fault)
                    raise
        self.error = None
