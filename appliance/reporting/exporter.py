"""Serves the metrics over HTTP, on a local address or a unix socket, off the data path.

One request at a time, each bounded in time: who asks can hold up other askers for a moment, and nothing else.
"""

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import HTTPServer
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler

from appliance.config import MetricsConfig
from appliance.reporting.metrics import StatusCollector

log = logging.getLogger("sekisho")

REQUEST_TIMEOUT_S = 5.0


class _Server(HTTPServer):
    """HTTPServer that takes unix sockets and IPv6 as well, and asks no name server who it is."""

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "sekisho", 0

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, _ = self.socket.accept()
        # A unix socket's peer has no address, and the handler wants to name one.
        return connection, ("local", 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("metrics: a request failed", exc_info=True)


@contextlib.contextmanager
def exporter(config: MetricsConfig | None, status: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Serve what `status` returns in a thread of its own, for as long as the context lasts.

    config: None serves nothing. A place that cannot be listened at is logged: protection does without.
    """
    if config is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    handler = MetricsHandler.factory(registry)
    handler.timeout = REQUEST_TIMEOUT_S  # type: ignore[attr-defined]
    try:
        server = _listening(config, handler)
    except OSError as error:
        why = error.strerror or str(error)
        log.error("metrics.listen: cannot listen at %s: %s; no metrics are served", config.listen, why)
        yield
        return
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    log.info("metrics are served at %s", config.listen)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        if config.address is None:
            Path(config.listen).unlink(missing_ok=True)


def _listening(config: MetricsConfig, handler: Any) -> _Server:
    """Return the server, bound. Raises OSError."""
    address = config.address
    if address is None:
        # Left behind by a kill. Whoever may write in this directory may answer in our place anyway.
        if Path(config.listen).is_socket():
            Path(config.listen).unlink()
        where, family = config.listen, socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        where = address  # type: ignore[assignment]

    class Server(_Server):
        address_family = family

    return Server(where, handler)  # type: ignore[arg-type]
