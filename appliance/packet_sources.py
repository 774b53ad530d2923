"""Where the inspector's packets come from: our own NFQUEUE reader, or the NetfilterQueue package.

The package copies at most 4,016 bytes of a packet and cannot ask the kernel to pass packets when a queue is
full, so it serves ordinary MTUs behind br_netfilter, where the kernel cuts large sends into single packets
before it queues them. A datagram that the kernel put together from fragments can still be longer: the engine
sees that its length field promises more than was copied, and applies the failure policy.
"""

import logging
import threading
import time
from pathlib import Path
from typing import Any, Protocol

import msgspec

from appliance.control.protocol import InspectorSettings
from appliance.model.faults import PolicyError, SystemFault

log = logging.getLogger("sekisho.inspector")

NETFILTERQUEUE_MAX_BYTES = 4_016
NETFILTERQUEUE_LENGTH = 1_024
IDLE_EVERY_S = 0.1


class Engine(Protocol):
    """What a source needs of `appliance._engine.Inspector`."""

    def start_native(
        self, first_queue: int, *, fail_open: bool, run_as: tuple[int, int] | None = None
    ) -> None: ...
    def start_external(self) -> None: ...
    def idle(self) -> None: ...
    def inspect(
        self, worker: int, packet: bytes, mark: int, in_dev: int, out_dev: int, src_mac: bytes
    ) -> tuple[bool, int]: ...


class Source(Protocol):
    """A packet source: asked before each policy is loaded, started once after the first."""

    def check(self, policy_path: Path) -> None:
        """Raise PolicyError when bytes of the policy's ports would be hidden from this source."""
        ...

    def start(self) -> None:
        """Bind the queues and begin. Raises OSError, SystemFault."""
        ...


class NativeSource:
    """The engine reads NFQUEUE itself."""

    def __init__(self, engine: Engine, settings: InspectorSettings) -> None:
        self._engine, self._settings = engine, settings

    def check(self, policy_path: Path) -> None:
        """Nothing is hidden from it: copies of 64 KiB, and what is longer is counted as truncated."""

    def start(self) -> None:
        """Bind the queues, give up rights and start one worker a queue. Raises OSError."""
        settings = self._settings
        self._engine.start_native(settings.first_queue, fail_open=settings.fail_open, run_as=settings.run_as)


class NetfilterQueueSource:
    """The NetfilterQueue package, one thread a queue; the engine inspects without the GIL.

    The process keeps its rights: the package answers packets with those of whoever asks.
    """

    def __init__(self, engine: Engine, settings: InspectorSettings) -> None:
        self._engine, self._settings = engine, settings
        self.errors = 0

    def check(self, policy_path: Path) -> None:
        """Refuse ports whose packets can be longer than what the package copies. Raises PolicyError."""
        mtus = _port_mtus()
        ports = _PolicyPorts.read(policy_path)
        for port in ports:
            if mtus.get(port.ifindex, 0) > NETFILTERQUEUE_MAX_BYTES:
                raise PolicyError(
                    f"port {port.tap}: its MTU is {mtus[port.ifindex]}, but the source netfilterqueue sees "
                    f"{NETFILTERQUEUE_MAX_BYTES} bytes of a packet at most; set the MTU to "
                    f"{NETFILTERQUEUE_MAX_BYTES} or less, or inspector.source to native"
                )

    def start(self) -> None:
        """Bind the queues and start one thread a queue. Raises OSError, SystemFault."""
        try:
            from netfilterqueue import NetfilterQueue
        except ImportError:
            raise SystemFault(
                "inspector.source is netfilterqueue, but the NetfilterQueue package is not installed; "
                "install sekisho[netfilterqueue] or set inspector.source to native"
            ) from None
        self._engine.start_external()
        threading.Thread(target=self._keep_time, name="idle", daemon=True).start()
        for worker in range(self._settings.queues):
            queue = NetfilterQueue()
            queue.bind(
                self._settings.first_queue + worker, self._handler(worker), max_len=NETFILTERQUEUE_LENGTH
            )
            name = f"queue-{self._settings.first_queue + worker}"
            threading.Thread(target=queue.run, name=name, daemon=True).start()

    def _keep_time(self) -> None:
        while True:
            time.sleep(IDLE_EVERY_S)
            self._engine.idle()

    def _handler(self, worker: int) -> Any:
        def handle(packet: Any) -> None:
            try:
                accept, mark = self._engine.inspect(
                    worker,
                    packet.get_payload(),
                    packet.get_mark(),
                    packet.physindev or packet.indev,
                    packet.physoutdev or packet.outdev,
                    (packet.get_hw() or b"")[:6],
                )
            except Exception as error:  # nothing may leave a packet without a verdict
                self.errors += 1
                if self.errors == 1:
                    log.error("inspect: %r", error)
                accept, mark = self._settings.fail_open, packet.get_mark()
            packet.set_mark(mark)
            if accept:
                packet.accept()
            else:
                packet.drop()

        return handle


class _PolicyPorts(msgspec.Struct):
    tap: str
    ifindex: int

    @classmethod
    def read(cls, policy_path: Path) -> "list[_PolicyPorts]":
        class Ports(msgspec.Struct):
            ports: list[_PolicyPorts] = []

        try:
            return msgspec.json.decode(policy_path.read_bytes(), type=Ports).ports
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise PolicyError(f"{policy_path}: {error}") from None


def _port_mtus() -> dict[int, int]:
    from pyroute2 import IPRoute

    with IPRoute() as links:
        return {link["index"]: link.get_attr("IFLA_MTU") or 0 for link in links.get_links()}


def make_source(engine: Engine, settings: InspectorSettings) -> Source:
    """Return the source that the settings name."""
    if settings.source == "netfilterqueue":
        return NetfilterQueueSource(engine, settings)
    return NativeSource(engine, settings)
