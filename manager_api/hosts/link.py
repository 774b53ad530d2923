"""One host's helper, followed over TLS with the manager's certificate.

dial → a list now, at each change, and every ten seconds → kept in memory, read by everybody
silent, wrong or away → the last list stays, with the reason; dialled again with pauses of 0.2 to 15 s
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from manager_api.hosts.answers import (
    MAX_LINE_BYTES,
    Changed,
    Happened,
    Listing,
    Nonsense,
    Refused,
    Request,
    printable,
    read,
)

log = logging.getLogger("sekisho.manager")

UNREACHED = "not reached yet"
CLOSED = "it closed the connection"
DIAL_S = 10.0
SILENCE_S = 35.0
"""The helper says its list every ten seconds, changed or not."""
ANSWER_S = 120.0
"""To protect a guest is to wait for its appliance, and to see its frames come out of it, vNIC by vNIC."""
AT_ONCE = 4
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 15.0
EVENTS_KEPT = 1000


class Unreached(Exception):
    """The helper did not answer; the message says why."""


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

    def __init__(self, at: HostAddress, tls: Callable[[], ssl.SSLContext]) -> None:
        self.at = at
        self.state = HostState()
        self._tls = tls
        self._asking = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Follow until cancelled."""
        pause_s = RETRY_FIRST_S
        while True:
            events = asyncio.create_task(self._hear_events())
            try:
                async for line in self._answers(Request(do="guests", follow=True), SILENCE_S):
                    self._take(read(line, Listing))
                    pause_s = RETRY_FIRST_S
                why = CLOSED
            except (Refused, Nonsense, Unreached) as error:
                why = str(error)
            finally:
                events.cancel()
                await asyncio.gather(events, return_exceptions=True)
            if why != self.state.trouble:
                log.warning("host %s: %s", self.at, why)
            self.state = replace(self.state, trouble=why)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def ask(self, request: Request) -> Changed:
        """Return what the helper did. Raises Refused, Unreached, Nonsense."""
        async with self._asking, contextlib.aclosing(self._answers(request, ANSWER_S)) as answers:
            async for line in answers:
                return read(line, Changed)
        raise Unreached(CLOSED)

    def _take(self, listing: Listing) -> None:
        if listing.trouble is not None:  # it knows nothing now; that nobody is in the list means nothing
            why = f"the helper is cut off: {printable(listing.trouble)}"
            if self.state.listing is not None:
                self.state = replace(self.state, trouble=why)
                return
            self.state = replace(self.state, listing=listing, trouble=why)
            return
        if self.state.trouble is not None:
            log.info("host %s: %d guests", self.at, len(listing.guests))
        self.state = replace(self.state, listing=listing, heard_at=datetime.now(UTC), trouble=None)

    async def _hear_events(self) -> None:
        """Hear of events, again and again, until cancelled; the helper tells those it still holds first."""
        while True:
            try:
                async for line in self._answers(Request(do="events", after=0), None):
                    self._note(read(line, Happened))
                why = CLOSED
            except (Refused, Nonsense, Unreached) as error:
                why = str(error)
            self.state = replace(self.state, events_trouble=why)
            await asyncio.sleep(RETRY_MAX_S)

    def _note(self, event: Happened) -> None:
        # A helper that was started anew counts from one, so the number alone does not say which event it is.
        known = self.state.events
        if event not in known:
            known = (*known, event)[-EVENTS_KEPT:]
        self.state = replace(self.state, events=known, events_trouble=None)

    async def _answers(self, request: Request, silence_s: float | None) -> AsyncGenerator[bytes, None]:
        """Yield what the helper answers until it closes. Raises Unreached."""
        try:
            async with asyncio.timeout(DIAL_S):
                reader, writer = await asyncio.open_connection(
                    self.at.address, self.at.port, ssl=self._tls(), limit=MAX_LINE_BYTES
                )
        except (OSError, TimeoutError, ValueError) as error:
            raise Unreached(_reason(error)) from None
        try:
            writer.write(msgspec.json.encode(request) + b"\n")
            while True:
                async with asyncio.timeout(silence_s):
                    line = await reader.readline()
                if not line:
                    return
                yield line
        except ValueError:
            raise Unreached(f"it says more than {MAX_LINE_BYTES} bytes") from None
        except (OSError, TimeoutError) as error:
            raise Unreached(_reason(error)) from None
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "it does not answer"
        case ConnectionRefusedError():
            return "nobody listens there: sekisho-host does not run, or its host.yaml has no `listen`"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not for this address, or not of this manager: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {error.reason or error}"
        case socket.gaierror():
            return f"its address is not known: {error.strerror}"
    return printable(error.strerror or str(error) if isinstance(error, OSError) else str(error))
