"""All hosts' links: one a host that is registered, no more and no fewer."""

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable, Mapping

from manager_api.hosts.answers import Changed, Request
from manager_api.hosts.dialling import Unreached
from manager_api.hosts.link import HostAddress, HostState, Link

log = logging.getLogger("sekisho.manager")

LOOK_AGAIN_S = 5.0
"""Another manager on the same database may have registered a host."""
AT_ONCE = 8
"""Of each kind, that a host is asked for. Nothing waits behind them, to be done when nobody wants it now."""


class Busy(Exception):
    """So much is asked of the host already that this was not."""


class Links:
    """Follows the hosts. `state` may be called from any thread; the rest belongs to the server's loop."""

    def __init__(self, tls: Callable[[], ssl.SSLContext]) -> None:
        self._tls = tls
        self._links: dict[str, Link] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asking: Counter[tuple[str, str]] = Counter()

    def state(self, name: str, at: HostAddress | None = None) -> HostState:
        """Return what is known of the host; with an address, only what was heard from there."""
        link = self._links.get(name)
        return HostState() if link is None or at not in (None, link.at) else link.state

    async def ask(self, name: str, request: Request) -> Changed:
        """Return what the host's helper did. Raises Busy, Refused, Unreached, Nonsense."""
        link = self._links.get(name)
        if link is None:
            raise Unreached("this manager does not follow it yet; try again in a few seconds")
        kind = (name, request.do)
        if self._asking[kind] >= AT_ONCE:
            raise Busy(f"{AT_ONCE} others wait for its answer")
        self._asking[kind] += 1
        try:
            return await link.ask(request)
        finally:
            self._asking[kind] -= 1

    async def run(self, wanted: Callable[[], Mapping[str, HostAddress]], changed: asyncio.Event) -> None:
        """Follow the wanted hosts, asked about (in a thread) at each change, until cancelled."""
        try:
            while True:
                changed.clear()
                try:
                    self._follow(await asyncio.to_thread(wanted))
                except Exception:
                    log.exception("which hosts there are cannot be told; it is tried again")
                try:
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            self._follow({})

    def _follow(self, wanted: Mapping[str, HostAddress]) -> None:
        for name, link in list(self._links.items()):
            if wanted.get(name) != link.at or self._tasks[name].done():
                self._tasks.pop(name).cancel()
                del self._links[name]
        for name, at in wanted.items():
            if name not in self._links:
                self._links[name] = Link(name, at, self._tls)
                self._tasks[name] = asyncio.create_task(self._links[name].run())
