"""The host helper, followed: over TLS with the certificate that the manager gave this appliance.

The certificate opens one door, and behind it is what the helper's `listen.clients` allows: to list guests.
The appliance asks for nothing else, and holds nothing that the hypervisor would take.

    dial → ask once → a list now, at each change, and every ten seconds → kept on disk, read by everybody
    its rules are live → the helper is told, and only then leads a guest here
    silent, wrong or away → the last list stays; dialled again with pauses of 0.2 to 15 s
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance.config import Config, HelperConfig
from appliance.hypervisor.inventory import with_listed
from appliance.hypervisor.links import places
from appliance.hypervisor.listing import Listing, keep, read_answer, read_kept, settled
from appliance.hypervisor.static import load_guests
from appliance.model.faults import PolicyError, SystemFault
from appliance.model.guest import GuestInventory

log = logging.getLogger("sekisho")

MAX_LINE_BYTES = 4 * 1024 * 1024
UNREACHED = "not reached yet"
MAX_LACKING = 1000
DIAL_S = 10.0
SILENCE_S = 35.0
"""The helper says its list every ten seconds, changed or not."""
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 15.0
REQUEST = b'{"do": "guests", "follow": true}\n'


class Follower(msgspec.Struct):
    """Keeps the helper's last list on disk.

    tls: makes the settings for a connection; raises OSError while there is no certificate. changed: called
    when the list, or how it stands with the helper, is another one. edition: of the list that is kept.
    """

    config: Config
    helper: HelperConfig
    tls: Callable[[], ssl.SSLContext]
    changed: Callable[[], None]
    trouble: str | None = UNREACHED
    edition: int = 0
    _kept: Listing | None = msgspec.field(default=None)
    _told: int = 0
    _writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Follow for ever."""
        pause_s = RETRY_FIRST_S
        self._kept = await asyncio.to_thread(read_kept, self.config.followed)
        while True:
            try:
                async for listing in self._lists():
                    await self._take(listing)
                    pause_s = RETRY_FIRST_S
                why = "it closed the connection"
            except TimeoutError:
                why = "it does not answer"
            except (PolicyError, SystemFault) as error:
                why = str(error)
            except OSError as error:
                why = _reason(error)
            self._stands(why)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    def status(self) -> dict[str, Any]:
        """Return how it stands, for the status."""
        return {
            "at": str(self.helper),
            "trouble": self.trouble,
            "guests": len(self._kept.guests) if self._kept else 0,
        }

    def took_up(self, edition: int, inventory: GuestInventory) -> None:
        """Tell the helper that what this edition says is protected now, and of whom that is not so."""
        if self._writer is None or edition <= self._told:
            return
        self._told = edition
        lacking = sorted({each.uuid for each in inventory.unplaced if each.led_here})[:MAX_LACKING]
        message = {"do": "taken-up", "edition": edition, "lacking": lacking}
        self._writer.write(msgspec.json.encode(message) + b"\n")

    async def _lists(self) -> AsyncIterator[Listing]:
        async with asyncio.timeout(DIAL_S):
            reader, writer = await asyncio.open_connection(
                self.helper.address, self.helper.port, ssl=self.tls(), limit=MAX_LINE_BYTES
            )
        try:
            writer.write(REQUEST)
            # a helper that was started anew counts from one
            self._writer, self._told, self.edition = writer, 0, 0
            while True:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        line = await reader.readline()
                except ValueError:
                    raise PolicyError(f"it says more than {MAX_LINE_BYTES} bytes") from None
                if not line:
                    return
                yield read_answer(line)
        finally:
            self._writer = None
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _take(self, listing: Listing) -> None:
        """Keep the list if it is new and can be used. Raises PolicyError, SystemFault, OSError."""
        if listing.trouble is not None:  # it knows nothing now; that nobody is in the list means nothing
            return self._stands(f"the helper is cut off: {_printable(listing.trouble)}")
        new = await asyncio.to_thread(self._settle, listing)
        if new != self._kept:
            await asyncio.to_thread(keep, self.config.followed, new)
            self._kept = new
        self._stands(None)
        if self.edition != listing.edition:
            self.edition = listing.edition
            self.changed()

    def _settle(self, listing: Listing) -> Listing:
        written = load_guests(Path(self.config.guests))
        known = places(self.config.netns)
        segments = {segment.bridge: segment.name for segment in written.segments}
        new = settled(listing, segments, known, self._kept)
        with_listed(written, new, known)  # what could not be used is not kept
        return new

    def _stands(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self.changed()


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{error.filename}: not there; the manager gives the certificate when this appliance enrols"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    return str(error) or type(error).__name__


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
