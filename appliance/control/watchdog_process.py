"""The watchdog as control sees it: a child process that reports, and is itself watched."""

import asyncio
import contextlib
import os
import socket
import sys

import msgspec

from appliance.control.inspector_process import SOURCE_ROOT
from appliance.model.faults import SystemFault
from appliance.netns import command_in
from appliance.watchdog import Report, WatchdogSettings

START_MAX_S = 60.0
"""Until it says its first word: an interpreter starts, on a busy or emulated machine."""
SILENT_MAX_S = 5.0
"""It says something every second; after this long it hangs."""


def heart_sockets() -> tuple[socket.socket, socket.socket]:
    """Return where workers are heard and where they speak; both stay open as long as control runs.

    So inspector and watchdog may each end and begin without the other's knowing.
    """
    heard, spoken = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    # Before anything is said: what was sent without it carries no pid.
    heard.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return heard, spoken


class WatchdogProcess(msgspec.Struct):
    """One run of the watchdog."""

    process: asyncio.subprocess.Process
    has_begun: bool = False

    @classmethod
    async def start(cls, settings: WatchdogSettings, netns: str | None) -> "WatchdogProcess":
        """Start it in the network namespace. Raises OSError."""
        command = [sys.executable, "-m", "appliance.watchdog", msgspec.json.encode(settings).decode()]
        process = await asyncio.create_subprocess_exec(
            *command_in(netns, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            pass_fds=(settings.heart,),
            env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT)},
        )
        return cls(process)

    async def report(self) -> Report:
        """Return what it says next. Raises SystemFault once it has ended, or is silent for too long."""
        assert self.process.stdout is not None
        silent_max_s = SILENT_MAX_S if self.has_begun else START_MAX_S
        try:
            async with asyncio.timeout(silent_max_s):
                line = await self.process.stdout.readline()
        except TimeoutError:
            raise SystemFault(f"it said nothing for {silent_max_s:.0f} s") from None
        self.has_begun = True
        if not line:
            raise SystemFault("it ended")
        try:
            return msgspec.json.decode(line, type=Report)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SystemFault(f"it said nonsense ({error})") from None

    async def end(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
