"""The inspector as control sees it: a child process, and requests to it over a unix socket."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from appliance.control.protocol import MAX_ANSWER_BYTES, Answer, InspectorSettings, Request
from appliance.model.faults import PolicyError, SystemFault
from appliance.netns import command_in

START_TIMEOUT_S = 20.0
LOAD_TIMEOUT_S = 300.0
ANSWER_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
SOURCE_ROOT = Path(__file__).resolve().parents[2]


class InspectorProcess(msgspec.Struct):
    """One run of the inspector."""

    process: asyncio.subprocess.Process
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _state: Path
    _turn: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)

    @classmethod
    async def start(cls, settings: InspectorSettings, state: Path, netns: str | None) -> "InspectorProcess":
        """Start it in the state directory and the network namespace, and connect.

        Raises SystemFault when it does not come up.
        """
        path = state / settings.socket
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "appliance.inspector", msgspec.json.encode(settings).decode()]
        process = await asyncio.create_subprocess_exec(
            *command_in(netns, command),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            cwd=state,
            pass_fds=() if settings.heart is None else (settings.heart,),
            env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT)},
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                reader, writer = await _connect(process, str(path))
        except TimeoutError:
            await _end(process)
            raise SystemFault(f"the inspector did not come up within {START_TIMEOUT_S:.0f} s") from None
        except BaseException:
            await _end(process)
            raise
        return cls(process, reader, writer, state)

    async def load(self, path: Path, *, try_first: bool) -> dict[str, Any]:
        """Have it load a policy; return its report. Raises PolicyError (refused), SystemFault (dead).

        try_first: for one that was never live.
        """
        request = Request("load", str(path.relative_to(self._state)), try_first)
        answer = await self._ask(request, LOAD_TIMEOUT_S)
        if not answer.ok:
            raise PolicyError(answer.error or "refused without a reason")
        return answer.report or {}

    async def stats(self) -> dict[str, Any]:
        """Return its counters. Raises SystemFault."""
        return await self._told(Request("stats"))

    async def lose_sight(self) -> None:
        """Tell it that packets passed it by: streams go on behind them. Raises SystemFault."""
        await self._told(Request("lose_sight"))

    async def wait(self) -> int:
        """Return its exit status once it ends."""
        return await self.process.wait()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def stop(self) -> None:
        """Ask it to stop, and end it when it does not."""
        with contextlib.suppress(SystemFault):
            await self._ask(Request("stop"), STOP_TIMEOUT_S)
        self._writer.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.process.wait()
        except TimeoutError:
            await _end(self.process)

    async def _told(self, request: Request) -> dict[str, Any]:
        """Return the report on what it cannot refuse. Raises SystemFault."""
        answer = await self._ask(request, ANSWER_TIMEOUT_S)
        if not answer.ok:
            raise SystemFault(f"inspector: {answer.error}")
        return answer.report or {}

    async def _ask(self, request: Request, timeout_s: float) -> Answer:
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s):
                    self._writer.write(msgspec.json.encode(request) + b"\n")
                    await self._writer.drain()
                    line = await self._reader.readline()
            except TimeoutError:
                # An answer that comes late must not be taken for the next one's.
                await _end(self.process)
                raise SystemFault(f"inspector: no answer to {request.do} within {timeout_s:.0f} s") from None
            except (OSError, ValueError) as error:
                raise SystemFault(f"inspector: {request.do}: {error}") from None
        try:
            return msgspec.json.decode(line, type=Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SystemFault(f"inspector: {request.do}: it ended or answered nonsense ({error})") from None


async def _connect(
    process: asyncio.subprocess.Process, path: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        if process.returncode is not None:
            raise SystemFault(f"the inspector ended at its start with status {process.returncode}")
        try:
            return await asyncio.open_unix_connection(path, limit=MAX_ANSWER_BYTES)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(0.02)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
