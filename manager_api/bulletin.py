"""Tells waiting requests that something changed, within this process.

What other managers on the same database change is found by the waiting request itself, which looks again
once a second; see routes/appliance.py.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Bulletin:
    """Wakes those who wait on a topic. `publish` may be called from any thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._mutex = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

    @contextmanager
    def waiting(self, topic: str) -> Iterator[asyncio.Event]:
        """Give an event that is set at every change of topic from now on; the waiter clears it.

        Subscribe first, then read the state: a change between the two is not missed.
        """
        event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        with self._mutex:
            self._waiting.setdefault(topic, set()).add(event)
        if self._closing:
            event.set()
        try:
            yield event
        finally:
            with self._mutex:
                remaining = self._waiting[topic]
                remaining.discard(event)
                if not remaining:
                    del self._waiting[topic]

    @property
    def closing(self) -> bool:
        """Whether the manager is going down: waiters answer at once."""
        return self._closing

    def publish(self, *topics: str) -> None:
        """Wake all who wait on the topics."""
        with self._mutex:
            events = [event for topic in topics for event in self._waiting.get(topic, ())]
        self._wake(events)

    def close(self) -> None:
        """Wake everyone, now and from now on."""
        self._closing = True
        with self._mutex:
            events = [event for waiting in self._waiting.values() for event in waiting]
        self._wake(events)

    def _wake(self, events: list[asyncio.Event]) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        for event in events:
            self._loop.call_soon_threadsafe(event.set)


def policy_topic(appliance_id: str) -> str:
    """Return the topic of changes to one appliance's policy."""
    return f"policy/{appliance_id}"


EVENTS_TOPIC = "events"
HOSTS_TOPIC = "hosts"
