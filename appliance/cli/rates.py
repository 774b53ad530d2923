"""The queues and the guests as tables: totals, or what happens a second."""

from collections.abc import Callable, Mapping
from typing import Any

from appliance.cli.table import green, in_bytes, red, table
from appliance.reporting.latency import Latency
from appliance.reporting.queues import dropped_by_full, queues_of

Status = Mapping[str, Any]


def rates(before: Status | None, now: Status) -> str:
    """Return both tables. before: an earlier status, to show what happened since a second; None: totals."""
    tables = [_guests(before, now)]
    if queues_of(now["inspector"]["stats"]):
        tables.insert(0, _queues(before, now))
    return "\n\n".join(tables)


def _queues(before: Status | None, now: Status) -> str:
    earlier = {each["queue"]: each for each in queues_of(before["inspector"]["stats"])} if before else {}
    seconds = _seconds(before, now)
    rows = []
    for queue in queues_of(now["inspector"]["stats"]):
        then = earlier.get(queue["queue"], {})
        dropped = dropped_by_full(queue)
        rows.append(
            (
                str(queue["queue"]),
                green("alive") if queue["alive"] else red("dead"),
                _since(queue["packets"], then.get("packets", 0), seconds),
                str((queue.get("kernel") or {}).get("waiting", "?")),
                red(str(dropped)) if dropped else "0",
                *(_times(queue.get(name), then.get(name)) for name in ("waited", "latency", "answering")),
            )
        )
    headings = ("queue", "state", _a_second("packets", seconds), "waiting", "dropped as full")
    return table((*headings, "waited p50/p99", "inspected p50/p99", "verdicts p50/p99"), rows)


def _guests(before: Status | None, now: Status) -> str:
    earlier = {each["name"]: each for each in before["guests"]} if before else {}
    seconds = _seconds(before, now)
    rows = []
    for guest in now["guests"]:
        then = earlier.get(guest["name"], {})
        dropped, uninspected = guest.get("dropped", {}), guest["uninspected"]
        rows.append(
            (
                guest["name"],
                guest["segment"],
                _since(guest["bytes"], then.get("bytes", 0), seconds, in_bytes),
                _since(guest.get("alerts", 0), then.get("alerts", 0), seconds),
                _by(dropped, then.get("dropped", {}), seconds, str),
                _by(uninspected, then.get("uninspected", {}), seconds, in_bytes),
            )
        )
    what = ("bytes", "alerts", "packets dropped, by what", "uninspected, by reason")
    return table(("guest", "segment", *(_a_second(each, seconds) for each in what)), rows)


def _seconds(before: Status | None, now: Status) -> float | None:
    return None if before is None else max(0.001, now["time_s"] - before["time_s"])


def _a_second(heading: str, seconds: float | None) -> str:
    return heading if seconds is None else f"{heading} /s"


def _since(now: int, then: int, seconds: float | None, show: Callable[[int], str] = str) -> str:
    """Return a total, or the rate since; what began to count anew in between has none yet."""
    if seconds is None:
        return show(now)
    return show(round((now - then) / seconds)) if now >= then else "?"


def _by(
    now: Mapping[str, int], then: Mapping[str, int], seconds: float | None, show: Callable[[int], str]
) -> str:
    shown = {what: _since(count, then.get(what, 0), seconds, show) for what, count in sorted(now.items())}
    nothing = show(0)
    return ", ".join(f"{what} {text}" for what, text in shown.items() if text != nothing) or "none"


def _times(now: Any, then: Any) -> str:
    latency = Latency.of(now).since(Latency.of(then))
    half, most = latency.quantile_s(0.5), latency.quantile_s(0.99)
    return "-" if half is None or most is None else f"{_in_us(half)}/{_in_us(most)}"


def _in_us(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"
