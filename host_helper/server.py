"""The helper's doors: a unix socket for this machine's root, and TLS for those whose certificate is listed.

One JSON object a line each way, as between control and inspector. Four things can be asked; on the unix
socket the hypervisor's hook may also say that a guest is about to run, or to come from another host.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

import msgspec

from appliance.control.audit import audit
from appliance.model.faults import PolicyError, SystemFault
from appliance.ready import tell_ready
from host_helper.config import Config
from host_helper.domain_xml import MAX_BYTES, at_home, guest_in
from host_helper.followers import Follower
from host_helper.helper import Helper

log = logging.getLogger("sekisho.host")

MAX_REQUEST_BYTES = 64 * 1024
MAX_LINE_BYTES = 2 * MAX_BYTES
MAX_CONNECTIONS = 64
IDLE_S = 600.0
_PEER_CREDENTIALS = struct.Struct("iII")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client asks.

    guest: its name or UUID; None with unprotect: all. after: the last event it knows. follow: the guests are
    listed now and again whenever something changed, for ever; who
    protects them answers `taken-up` with the edition of the list, and the UUIDs of those it has no port for.
    """

    do: Literal["guests", "events", "protect", "unprotect", "starting", "arriving", "taken-up"]
    guest: str | None = None
    dry_run: bool = False
    persistent: bool = False
    after: int = 0
    follow: bool = False
    edition: int = 0
    lacking: tuple[str, ...] = ()
    xml: str | None = None


class Server:
    """Serves one helper."""

    def __init__(self, config: Config, helper: Helper) -> None:
        self._config = config
        self._helper = helper
        self._open = 0

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError, ssl.SSLError when a door cannot be opened."""
        path = Path(self._config.socket)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            local = await asyncio.start_unix_server(self._local, path, limit=MAX_LINE_BYTES)
        finally:
            os.umask(before)
        async with contextlib.AsyncExitStack() as doors:
            await doors.enter_async_context(local)
            listen = self._config.listen
            if listen is not None:
                context = tls_context(self._config.state / "identity")
                remote = await asyncio.start_server(
                    self._remote, listen.address, listen.port, ssl=context, limit=MAX_REQUEST_BYTES
                )
                await doors.enter_async_context(remote)
                log.info("listening on %s port %d", listen.address, listen.port)
            tell_ready()
            await asyncio.Event().wait()

    async def _local(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = _uid(writer.get_extra_info("socket"))
        # the socket is root's alone; that its owner may have been changed is no reason to believe it
        allowed = ("guests", "events", "protect", "unprotect", "starting", "arriving") if uid == 0 else ()
        await self._serve(reader, writer, f"local uid {uid}", frozenset(allowed))

    async def _remote(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = _common_name(writer.get_extra_info("peercert"))
        assert self._config.listen is not None
        allowed = self._config.listen.clients.get(name, ())
        await self._serve(reader, writer, f"certificate {name}", frozenset(allowed))

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: str, allowed: frozenset[str]
    ) -> None:
        if self._open >= MAX_CONNECTIONS:
            writer.close()
            return
        self._open += 1
        try:
            while line := await asyncio.wait_for(reader.readline(), IDLE_S):
                await self._one(line, reader, writer, who, allowed)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it went, or said a line without end
        finally:
            self._open -= 1
            writer.close()

    async def _one(
        self,
        line: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        who: str,
        allowed: frozenset[str],
    ) -> None:
        try:
            request = msgspec.json.decode(line, type=Request)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            await _say(writer, {"ok": False, "error": f"not a request: {error}"})
            return
        permitted = request.do in allowed
        audit(self._config.state, f"call-{request.do}", who=who, guest=request.guest, permitted=permitted)
        if not permitted:
            await _say(writer, {"ok": False, "error": f"{who} may not ask for `{request.do}`"})
        elif request.do == "events":
            await self._events(request.after, reader, writer)
        elif request.do == "guests" and request.follow:
            await self._follow(reader, writer)
        else:
            await _answer(writer, lambda: self._do(request, who))

    async def _events(self, after: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say what happens until the client goes; it may go long before anything does."""

        async def say() -> None:
            async for event in self._helper.events(after):
                await _say(writer, {"ok": True, "report": event})

        async def hear() -> None:
            while await reader.readline():
                pass

        await _until_one_ends(say(), hear())

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say the list again and again, and hear what of it is protected, until the client goes."""
        follower = Follower()

        async def say() -> None:
            async for listing in self._helper.followers.follow(follower):
                await _say(writer, {"ok": True, "report": listing})

        async def hear() -> None:
            while line := await reader.readline():
                try:
                    said = msgspec.json.decode(line, type=Request)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    return
                if said.do == "taken-up":
                    await self._helper.followers.took_up(follower, said.edition, said.lacking)

        await _until_one_ends(say(), hear())

    async def _do(self, request: Request, who: str) -> dict[str, Any]:
        helper, flags = self._helper, {"dry_run": request.dry_run, "persistent": request.persistent}
        match request.do:
            case "guests":
                return await helper.guests()
            case "protect":
                if request.guest is None:
                    raise PolicyError("protect: which guest?")
                return await helper.protect(request.guest, who, **flags)
            case "unprotect":
                return await helper.unprotect(request.guest, who, **flags)
            case "starting" if request.xml is not None:
                await helper.starting(guest_in(request.xml, running=True))
                return {}
            case "arriving" if request.xml is not None:
                mark = await helper.arriving(guest_in(request.xml, running=False))
                return {"xml": at_home(request.xml, mark) if mark else None}
        raise PolicyError("not a request")


async def _until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    """Do all at once until the first is done, or fails."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _answer(writer: asyncio.StreamWriter, work: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    try:
        report = await work()
    except (PolicyError, SystemFault, OSError) as error:
        await _say(writer, {"ok": False, "error": str(error)})
    except Exception as error:
        log.exception("host helper")
        await _say(writer, {"ok": False, "error": f"an error nobody foresaw: {error!r}"})
    else:
        await _say(writer, {"ok": True, "report": report})


def tls_context(identity: Path) -> ssl.SSLContext:
    """Return the TLS settings: our certificate, and clients with one of the manager's authority only.

    Raises OSError, ssl.SSLError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity / "certificate.pem", identity / "key.pem")
    context.load_verify_locations(identity / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _say(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(msgspec.json.encode(answer) + b"\n")
    await writer.drain()


def _uid(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    return int(_PEER_CREDENTIALS.unpack(raw)[1])


def _common_name(certificate: dict[str, Any] | None) -> str:
    for pair in (certificate or {}).get("subject", ()):
        for key, value in pair:
            if key == "commonName":
                return str(value)
    return ""
