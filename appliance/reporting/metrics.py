"""The appliance's status as Prometheus metrics; docs/observability.md says what each means.

Counts that the inspector makes itself (queues, stages) begin anew with each of its runs, as Prometheus
expects of a process that was restarted; all else goes on.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from appliance.reporting.latency import Latency
from appliance.reporting.queues import queues_of

STAGES = {"kernel-queue": "waited", "inspection": "latency", "verdict": "answering"}
"""A packet's way through the inspector, and where its statistics hold the times."""


class StatusCollector(Collector):
    """Turns the newest status into metrics each time that Prometheus asks."""

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; none before there is a status."""
        status = self._status()
        if status:
            yield from metrics(status)


def metrics(status: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield the metrics of a status as `appliance.control.status.status_body` makes it."""
    yield from _parts(status)
    yield from _guests(status["guests"])
    rules: Counter[tuple[str, ...]] = Counter()
    for rule in status["firewall"]:
        rules[rule["guest"], rule["direction"], rule["action"], rule["rule"]] += rule["packets"]
    labels = ("guest", "direction", "action", "rule")
    yield _counter("firewall_packets", "Packets that a firewall rule matched.", labels, rules)
    yield from _queues(queues_of(status["inspector"]["stats"]))


def _parts(status: Mapping[str, Any]) -> Iterator[Metric]:
    inspector, watchdog, spool = status["inspector"], status["watchdog"], status["spool"]
    yield _gauge("policy_version", "Version of the live policy.", (), {(): status["live_version"] or 0})
    refused = {(): int(status["error"] is not None)}
    yield _gauge("policy_refused", "Whether a newer policy was refused.", (), refused)
    up = {("inspector",): int(inspector["up"]), ("watchdog",): int(watchdog["up"])}
    yield _gauge("process_up", "Whether the process runs.", ("process",), up)
    restarts = {("inspector",): inspector["restarts"], ("watchdog",): watchdog["restarts"]}
    yield _counter("process_restarts", "Times the process ended unasked.", ("process",), restarts)
    in_force = {(): int(inspector["failure_policy"])}
    yield _gauge("failure_policy_in_force", "Whether it decides in place of the inspector.", (), in_force)
    uses = {(what,): count for what, count in inspector["failures"].items()}
    yield _counter("failure_policy_uses", "Times the inspector applied it.", ("failure",), uses)
    bypass = {(each["guest"],): 1 for each in status["bypass"]}
    yield _gauge("bypassed", "1 while the operator's bypass is on.", ("guest",), bypass)
    repairs = {(): status["steering"]["repairs"]}
    yield _counter("rules_repairs", "Times others changed our rules and they were put back.", (), repairs)
    yield from _connections(status["connections"])
    yield _gauge("spool_bytes", "Events on disk.", (), {(): spool["bytes"]})
    yield _gauge("spool_waiting_bytes", "Events not delivered yet.", (), {(): spool["waiting_bytes"]})
    yield _counter("spool_lost_events", "Events evicted undelivered.", (), {(): spool["lost"]})


def _connections(table: Mapping[str, int]) -> Iterator[Metric]:
    yield _gauge("connections", "Connections that the kernel knows.", (), {(): table["known"]})
    yield _gauge("connections_max", "How many it can know.", (), {(): table["at_most"]})
    given_up = "Connections forgotten to make room for others."
    yield _counter("connections_given_up", given_up, (), {(): table["given_up"]})
    refused = "Packets dropped because the kernel could know no more connections."
    yield _counter("connections_refused_packets", refused, (), {(): table["refused"]})


def _guests(guests: list[dict[str, Any]]) -> Iterator[Metric]:
    segment = ("guest", "segment")
    traffic = {(each["name"], each["segment"]): each for each in guests}
    packets = {key: each["packets"] for key, each in traffic.items()}
    yield _counter("guest_packets", "Packets with other ports, both ways.", segment, packets)
    counted = {key: each["bytes"] for key, each in traffic.items()}
    yield _counter("guest_bytes", "Bytes with other ports, both ways.", segment, counted)
    alerts = {(each["name"],): each["alerts"] for each in guests}
    yield _counter("alerts", "Signatures that matched.", ("guest",), alerts)
    for key, label, name, help_text in (
        ("uninspected", "reason", "uninspected_bytes", "Bytes that passed uninspected."),
        (
            "dropped",
            "by",
            "dropped_packets",
            "Packets dropped, but by firewall and guard.",
        ),
        ("violations", "violation", "guard_violations", "Frames that broke a rule of the guard."),
    ):
        found = {(each["name"], what): n for each in guests for what, n in each[key].items()}
        yield _counter(name, help_text, ("guest", label), found)


def _queues(queues: list[dict[str, Any]]) -> Iterator[Metric]:
    by_number = {(str(each["queue"]),): each for each in queues}
    for name, help_text in (("packets", "Packets inspected."), ("bytes", "Bytes inspected.")):
        found = {key: each[name] for key, each in by_number.items()}
        yield _counter(f"queue_{name}", help_text, ("queue",), found)
    kernel = {key: each.get("kernel") or {} for key, each in by_number.items()}
    waiting = {key: each.get("waiting", 0) for key, each in kernel.items()}
    yield _gauge("queue_waiting_packets", "Packets that wait for the inspector.", ("queue",), waiting)
    overflow = {
        (*key, what): each.get(name, 0)
        for key, each in kernel.items()
        for what, name in (("queue", "dropped"), ("socket", "user_dropped"))
    }
    full = "Packets that found the queue, or its socket, full."
    yield _counter("queue_overflow_packets", full, ("queue", "full"), overflow)
    panics = {key: each["panics"] for key, each in by_number.items()}
    yield _counter("queue_panics", "Packets on which the inspector failed.", ("queue",), panics)
    stages = HistogramMetricFamily(
        "sekisho_stage_seconds",
        "Time of a packet in the kernel's queue, in the inspector, and of a batch's verdicts.",
        labels=("queue", "stage"),
    )
    for key, each in by_number.items():
        for stage, name in STAGES.items():
            latency = Latency.of(each.get(name))
            if latency.count:
                buckets = [(f"{bound:.9f}".rstrip("0"), below) for bound, below in latency.below()]
                buckets.append(("+Inf", latency.count))
                stages.add_metric((*key, stage), buckets=buckets, sum_value=latency.total_s)
    yield stages


def _counter(name: str, help_text: str, labels: tuple[str, ...], values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(f"sekisho_{name}", help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, help_text: str, labels: tuple[str, ...], values: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(f"sekisho_{name}", help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
