"""The inspector's queues in its statistics."""

from collections.abc import Mapping
from typing import Any


def queues_of(stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the queues of an inspector that reads NFQUEUE itself; none before it has started."""
    packets_from = stats.get("packets_from") or {}
    return (packets_from.get("runtime") or {}).get("queues") or []


def dropped_by_full(queue: Mapping[str, Any]) -> int:
    """Return packets that the kernel dropped because the queue, or its socket, was full."""
    kernel = queue.get("kernel") or {}
    return int(kernel.get("dropped", 0)) + int(kernel.get("user_dropped", 0))
