"""One host's helper, followed over TLS with the manager's certificate.

    dial → a list now, at each change, and every ten seconds → kept in memory, read by everybody
    silent, wrong or away → the last list stays, with the reason; dialled again with pauses of 0.2 to 15 s

It is read no faster than a helper has reason to speak: whatever one says, the manager is there for others.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from manager_api.hosts.answers import Changed, Happened, Listing, Nonsense, Refused, Request, read
from manager_api.hosts.dialling import Unreached, dialled

log = logging.getLogger("sekisho.manager")

UNREACHED = "not reached yet"
CLOSED = "it closed the connection"
SILENCE_S = 35.0
"""The helper says its list every ten seconds, changed or not."""
ANSWER_S = 120.0
"""To protect a guest is to wait for its appliance, and to see its frames come out of it, vNIC by vNIC."""
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 15.0
STEADY_AFTER_S = 15.0
"""Who was heard for so long is dialled again at once."""
REST_S = 0.2
REST_FACTOR = 4
"""After a list: at least so long, and so many times what it took to read."""
EVENTS_KEPT = 1000
EVENTS_AT_ONCE = 100
EVENTS_REST_S = 0.5
TELL_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class HostAddress:
    """Where a helper listens."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"


@dataclass(frozen=True, slots=True)
class HostState:
    """What is known of a host, as a whole: it is replaced, never changed.

    listing: the last one, None before the first. trouble: why it may be old; None while the helper is heard.
    events: what happened to guests, oldest first. events_trouble: why they are not told.
    """

    listing: Listing | None = None
    heard_at: datetime | None = None
    trouble: str | None = UNREACHED
    events: tuple[Happened, ...] = ()
    events_trouble: str | None = None


class Link:
    """Follows one helper, and asks it. tls: gives the settings for a connection; raises OSError."""

    def __init__(self, name: str, at: HostAddress, tls: Callable[[], ssl.SSLContext]) -> None:
        self.name = name
        self.at = at
        self._tls = tls
        self._state = HostState()
        # A helper that was started anew counts from one, so a number alone does not say which event it is.
        self._events: dict[tuple[datetime, int], Happened] = {}
        self._told_at = float("-inf")

    @property
    def state(self) -> HostState:
        """What is known; may be asked from any thread."""
        return replace(self._state, events=tuple(self._events.copy().values()))

    async def run(self) -> None:
        """Follow until cancelled."""
        pause_s = RETRY_FIRST_S
        while True:
            began = time.monotonic()
            events = asyncio.create_task(self._hear_events())
            try:
                why = await self._hear_lists()
            except (Refused, Nonsense, Unreached) as error:
                why = str(error)
            finally:
                events.cancel()
                await asyncio.gather(events, return_exceptions=True)
            self._stands(why)
            if time.monotonic() - began >= STEADY_AFTER_S:
                pause_s = RETRY_FIRST_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def ask(self, request: Request) -> Changed:
        """Return what the helper did. Raises Refused, Unreached, Nonsense."""
        async with aclosing(self._answers(request, ANSWER_S)) as answers:
            async for line in answers:
                return read(line, Changed)
        raise Unreached(CLOSED)

    async def _hear_lists(self) -> str:
        async with aclosing(self._answers(Request(do="guests", follow=True), SILENCE_S)) as answers:
            async for line in answers:
                began = time.monotonic()
                # A long one takes seconds, which are not the loop's.
                self._take(await asyncio.to_thread(read, line, Listing))
                await asyncio.sleep(max(REST_S, REST_FACTOR * (time.monotonic() - began)))
        return CLOSED

    def _take(self, listing: Listing) -> None:
        if listing.trouble is None:
            self._state = replace(self._state, listing=listing, heard_at=datetime.now(UTC))
        elif self._state.listing is None:
            self._state = replace(self._state, listing=listing)
        # else it knows nothing now; that nobody is in the list means nothing
        self._stands(f"the helper is cut off: {listing.trouble}" if listing.trouble else None)

    async def _hear_events(self) -> None:
        """Hear of events, again and again, until cancelled; the helper tells those it still holds first."""
        while True:
            try:
                why = await self._hear_some_events()
            except (Refused, Unreached) as error:
                why = str(error)
            self._state = replace(self._state, events_trouble=why)
            await asyncio.sleep(RETRY_MAX_S)

    async def _hear_some_events(self) -> str:
        heard = 0
        async with aclosing(self._answers(Request(do="events", after=0), None)) as answers:
            async for line in answers:
                try:
                    self._note(read(line, Happened))
                except Nonsense as error:  # those behind it are none the worse
                    self._state = replace(self._state, events_trouble=str(error))
                heard += 1
                await asyncio.sleep(EVENTS_REST_S if heard % EVENTS_AT_ONCE == 0 else 0)
        return CLOSED

    def _note(self, event: Happened) -> None:
        self._events.setdefault((event.time, event.number), event)
        while len(self._events) > EVENTS_KEPT:
            del self._events[next(iter(self._events))]
        if self._state.events_trouble is not None:
            self._state = replace(self._state, events_trouble=None)

    def _stands(self, trouble: str | None) -> None:
        if trouble == self._state.trouble:
            return
        self._state = replace(self._state, trouble=trouble)
        if time.monotonic() - self._told_at >= TELL_EVERY_S:
            self._told_at = time.monotonic()
            level = logging.INFO if trouble is None else logging.WARNING
            log.log(level, "host %s at %s: %s", self.name, self.at, trouble or "its helper is heard")

    async def _answers(self, request: Request, silence_s: float | None) -> AsyncGenerator[bytes, None]:
        """Yield what the helper answers until it closes. Raises Unreached."""
        try:
            tls = self._tls()
        except OSError as error:
            raise Unreached(f"the manager's own certificate: {error}") from None
        async with dialled(self.at.address, self.at.port, tls) as (reader, writer):
            writer.write(msgspec.json.encode(request) + b"\n")
            while True:
                async with asyncio.timeout(silence_s):
                    line = await reader.readline()
                if not line:
                    return
                yield line
