"""Runs the two ports on one event loop, with the background work, until told to stop."""

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance.ready import alive_every_s, tell_alive, tell_ready
from manager_api import apps, tls
from manager_api.manager import Manager, now
from manager_api.operations import hosts
from manager_api.operations.guests import expire_overrides
from manager_api.store import accounts, events, policies

_LOG = logging.getLogger("sekisho.manager")
HEAD_TIMEOUT_S = 20.0
KEEP_ALIVE_S = 75
GRACE_S = 5
CLOSE_GRACE_S = 0.5
EXPIRY_EVERY_S = 1.0
PRUNE_EVERY_S = 60.0
MAX_CONNECTIONS = 2_000


class Protocol(H11Protocol):
    """uvicorn's HTTP, with the peer's certificate in the request's state and a limit on a silent start.

    Without the limit a client that opens connections and sends nothing would hold them for ever.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls_object = transport.get_extra_info("ssl_object")
        certificate = tls_object.getpeercert(binary_form=True) if tls_object else None
        self.app_state = {**self.app_state, "peer_certificate": certificate}
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close once what is being answered is answered, without waiting for the peer to close."""
        super().shutdown()
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(CLOSE_GRACE_S, self.transport.abort)

    def _close_if_silent(self) -> None:
        if self.scope is None:
            self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: `serve` below has one for both."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers as they are."""
        yield


async def serve(manager: Manager, ready: Callable[[], None] = lambda: None) -> None:
    """Serve both ports until SIGTERM or SIGINT; ready is called once both accept connections.

    Raises OSError when a port cannot be bound.
    """
    settings = manager.settings
    people = _listen(settings.listen, settings.port)
    try:
        appliances = _listen(settings.listen, settings.appliance_port)
    except OSError:
        people.close()
        raise
    servers = [
        _server(apps.people_app(manager), tls.people_context(settings)),
        _server(apps.appliance_app(manager), tls.appliance_context(settings)),
    ]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = [
        asyncio.create_task(server.serve(sockets=[sock]))
        for server, sock in zip(servers, (people, appliances), strict=True)
    ]
    background = [
        asyncio.create_task(_repeat(EXPIRY_EVERY_S, lambda: expire_overrides(manager))),
        asyncio.create_task(_repeat(PRUNE_EVERY_S, lambda: prune(manager))),
        asyncio.create_task(hosts.follow(manager)),
        asyncio.create_task(_beat()),
    ]
    while not all(server.started for server in servers) and not any(task.done() for task in serving):
        await asyncio.sleep(0.01)
    ready()
    tell_ready()
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *serving], return_when=asyncio.FIRST_COMPLETED)
    manager.bulletin.close()
    for server in servers:
        server.should_exit = True
    for task in (stopping, *background):
        task.cancel()
    await asyncio.gather(*serving)
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*background)
    await asyncio.to_thread(manager.database.close)


def prune(manager: Manager) -> int:
    """Delete what is kept no longer, in short transactions; return how many events went."""
    settings = manager.settings
    oldest = now() - timedelta(days=settings.events_max_age_days)
    gone = 0
    while True:
        with manager.database.writing() as session:
            batch = events.prune(session, settings.events_max, oldest)
        gone += batch
        if batch < events.PRUNE_BATCH:
            break
    with manager.database.writing() as session:
        policies.prune(session)
        accounts.prune(session, now())
    if gone:
        _LOG.info("%d old events deleted", gone)
    return gone


async def _beat() -> None:
    """Tell the service manager that this loop turns; it starts us anew when it does not."""
    while True:
        tell_alive()
        await asyncio.sleep(alive_every_s())


async def _repeat(every_s: float, work: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await asyncio.to_thread(work)
        except Exception:
            _LOG.exception("background work failed; it is tried again in %s seconds", every_s)


def _server(app: FastAPI, context: ssl.SSLContext) -> Server:
    config = uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False,
        server_header=False, timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=32 * 1024, limit_concurrency=MAX_CONNECTIONS,
    )  # fmt: skip
    config.load()
    config.ssl = context
    return Server(config)


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError that names the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    return sock


def run(manager: Manager, ready: Callable[[], Any]) -> None:
    """Serve until told to stop."""
    asyncio.run(serve(manager, ready))
