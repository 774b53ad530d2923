"""The inspector process: `python -m appliance.inspector SETTINGS`, SETTINGS being InspectorSettings as JSON.

Started by control in the bridge's network namespace. The packet work is done by the engine's threads; this
one answers control over a unix socket, one request at a time. The queues are bound only after a first policy
was compiled: packets are never made to wait for a compiler.
"""

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from appliance import _engine, logs
from appliance.control.protocol import MAX_REQUEST_BYTES, Answer, InspectorSettings, Request, decode_request
from appliance.model.faults import PolicyError, SystemFault
from appliance.packet_sources import Source, make_source
from appliance.process import be_first_to_go, die_with_parent

log = logging.getLogger("sekisho.inspector")


class Server(msgspec.Struct):
    """Answers control's requests; hostile or torn ones get an error and the connection is closed."""

    listener: socket.socket
    engine: _engine.Inspector
    source: Source
    parent_pid: int
    started: bool = False
    stopping: bool = False

    def run(self) -> None:
        """Serve one connection after another until told to stop."""
        while not self.stopping:
            connection, _ = self.listener.accept()
            with connection, connection.makefile("rb") as lines:
                while not self.stopping and self._serve_one(connection, lines):
                    pass

    def _serve_one(self, connection: socket.socket, lines: Any) -> bool:
        try:
            line = lines.readline(MAX_REQUEST_BYTES + 1)
            if not line:
                return False
            torn = not line.endswith(b"\n")
            answer = (
                Answer(False, f"no whole line within {MAX_REQUEST_BYTES} bytes")
                if torn
                else self._answer(line)
            )
            connection.sendall(msgspec.json.encode(answer) + b"\n")
        except OSError:  # control went away in the middle; it will be back or we will end with it
            return False
        return not torn

    def _answer(self, line: bytes) -> Answer:
        try:
            return self._do(decode_request(line))
        except (ValueError, OSError, SystemFault) as error:
            return Answer(False, str(error) or repr(error))

    def _do(self, request: Request) -> Answer:
        match request.do:
            case "load":
                assert request.path is not None
                return self._load(Path(request.path), try_first=request.try_first)
            case "stats":
                return Answer(True, report=msgspec.json.decode(self.engine.stats()))
            case "lose_sight":
                self.engine.lose_sight()
                return Answer(True)
            case "ping":
                return Answer(True, report={"started": self.started})
            case "stop":
                self.stopping = True
                return Answer(True)

    def _load(self, path: Path, *, try_first: bool) -> Answer:
        try:
            self.source.check(path)
            report = msgspec.json.decode(self.engine.load(str(path), try_first=try_first))
        except (PolicyError, _engine.PolicyError) as error:
            return Answer(False, str(error))
        if not self.started:
            self.source.start()
            # It gave up its rights, and with the change of user went the tie to the parent.
            die_with_parent(self.parent_pid)
            self.started = True
        return Answer(True, report=report)


def main(arguments: list[str]) -> None:
    """Run the inspector until control stops it or ends."""
    logs.set_up("sekisho-inspector")
    settings = msgspec.json.decode(arguments[0], type=InspectorSettings)
    die_with_parent(settings.parent_pid)
    be_first_to_go()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = _listen(Path(settings.socket))
    engine = _engine.Inspector(
        settings.spool_dir,
        msgspec.json.encode(
            {
                "queues": settings.queues,
                "spool_max_bytes": settings.spool_max_bytes,
                "memory_max_bytes": settings.memory_max_bytes,
                "heart": settings.heart,
                "canary": settings.canary,
                "latency_budget_ms": settings.latency_budget_ms,
            }
        ).decode(),
    )
    try:
        Server(listener, engine, make_source(engine, settings), settings.parent_pid).run()
    finally:
        engine.stop()


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(4)
    return listener


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
